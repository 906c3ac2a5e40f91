//! may_minihttp: stackful coroutines, the other way to blocking-style code at event-loop speed.
//!
//! Sleeping is may's own coroutine sleep, since a thread's would stop every coroutine of that
//! worker. `/cpu` spins where it is: may has no pool for such work. The stack size is the one its
//! own benchmark program sets.

use std::io;

use may::coroutine;
use may_minihttp::{HttpServer, HttpService, Request, Response};
use threadline_bench_peers::{
    HELLO, HICCUP, MIXED, Options, SLEEP, SLEPT, SPUN, announce, hiccup_is_due, spin,
};

const STACK_WORDS: usize = 0x1000;

#[derive(Clone)]
struct Workload;

impl HttpService for Workload {
    fn call(&mut self, request: Request, response: &mut Response) -> io::Result<()> {
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
