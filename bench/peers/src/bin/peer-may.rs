//! may_minihttp: stackful coroutines, the other way to blocking-style code at event-loop speed.
//!
//! Sleeping is may's own coroutine sleep, since a thread's would stop every coroutine of that
//! worker. `/cpu` spins where it is: may has no pool for such work. The stack size is the one its
//! own benchmark program sets.

use std::io;

use bytes::BytesMut;
use may::coroutine;
use may_minihttp::{HttpServer, HttpService, Request, Response};
use threadline_bench_peers::{
    HELLO, HICCUP, MIXED, Options, SLEEP, SLEPT, SPUN, announce, hiccup_is_due, spin,
};
use threadline_bench_workload::User;

const STACK_WORDS: usize = 0x1000;

#[derive(Clone)]
struct Workload;

/// The response's buffer as something to write to.
struct BytesMutWriter<'a>(&'a mut BytesMut);

impl io::Write for BytesMutWriter<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl HttpService for Workload {
    fn call(&mut self, request: Request, response: &mut Response) -> io::Result<()> {
        if let ("GET", Some(id)) = (request.method(), request.path().strip_prefix("/users/")) {
            let user = User::of(id.parse().expect("a number"));
            serde_json::to_writer(BytesMutWriter(response.body_mut()), &user)?;
            response.header("Content-Type: application/json");
            return Ok(());
        }
        let body = match (request.method(), request.path()) {
            ("GET", "/") => HELLO,
            ("GET", "/sleep") => {
                coroutine::sleep(SLEEP);
                SLEPT
            }
            ("GET", "/mixed") => {
                if hiccup_is_due() {
                    coroutine::sleep(HICCUP);
                }
                MIXED
            }
            ("GET", "/cpu") => {
                spin();
                SPUN
            }
            _ => {
                response.status_code(404, "Not Found");
                return Ok(());
            }
        };
        response.header("Content-Type: text/plain").body(body);
        Ok(())
    }
}

fn main() -> io::Result<()> {
    let options = Options::parse(1);
    may::config().set_workers(options.workers).set_pool_capacity(2000).set_stack_size(STACK_WORDS);
    let server = HttpServer(Workload).start(options.address)?;
    announce(options.address);
    server.join().map_err(|_| io::Error::other("the accepting coroutine panicked"))
}
