//! tiny_http: plain threads without async, as many small tools and metrics endpoints use them.
//!
//! The library reads each connection on a thread of its own and queues requests; `--workers`
//! threads, four by default, take them from the queue and answer. Handlers block where they are.

use std::io;
use std::sync::Arc;
use std::thread;

use threadline_bench_peers::{
    HELLO, HICCUP, MIXED, Options, SLEEP, SLEPT, SPUN, announce, hiccup_is_due, spin,
};
use tiny_http::{Method, Request, Response, Server};

fn main() -> io::Result<()> {
    let options = Options::parse(4);
    let listener = options.listen()?;
    let address = listener.local_addr()?;
    let server = Arc::new(Server::from_listener(listener, None).map_err(io::Error::other)?);
    announce(address);
    let workers: Vec<_> = (0..options.workers)
        .map(|_| {
            let server = Arc::clone(&server);
            thread::spawn(move || server.incoming_requests().for_each(answer))
        })
        .collect();
    for worker in workers {
        worker.join().map_err(|_| io::Error::other("a worker panicked"))?;
    }
    Ok(())
}

fn answer(request: Request) {
    let body = match (request.method(), request.url()) {
        (Method::Get, "/") => HELLO,
        (Method::Get, "/sleep") => {
            thread::sleep(SLEEP);
            SLEPT
        }
        (Method::Get, "/mixed") => {
            if hiccup_is_due() {
                thread::sleep(HICCUP);
            }
            MIXED
        }
        (Method::Get, "/cpu") => {
            spin();
            SPUN
        }
        _ => {
            let _ = request.respond(Response::empty(404));
            return;
        }
    };
    // A client that breaks off is no news here. `from_string` says text/plain.
    let _ = request.respond(Response::from_string(body));
}
