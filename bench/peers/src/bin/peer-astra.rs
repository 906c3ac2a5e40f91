//! astra: blocking handlers on hyper, the peer closest in intent to threadline.
//!
//! A pool of up to `--workers` threads, 1200 by default, polls connections and runs handlers in
//! the same place, so handlers just block. The content length is set by hand: astra's bodies do
//! not tell hyper their size, and replies would be chunked.

use std::io;
use std::thread;

use astra::{Body, Request, Response, ResponseBuilder, Server};
use threadline_bench_peers::{
    BLOCKING_THREADS, HELLO, HICCUP, MIXED, Options, SLEEP, SLEPT, SPUN, announce, hiccup_is_due,
    spin,
};

fn main() -> io::Result<()> {
    let options = Options::parse(BLOCKING_THREADS);
    let server = Server::bind(options.address)
        .max_workers(options.workers)
        .http1_only()
        .http1_pipeline_flush(true);
    announce(server.local_addr()?);
    server.serve(|request, _| answer(&request))
}

fn answer(request: &Request) -> Response {
    let body = match (request.method().as_str(), request.uri().path()) {
        ("GET", "/") => HELLO,
        ("GET", "/sleep") => {
            thread::sleep(SLEEP);
            SLEPT
        }
        ("GET", "/mixed") => {
            if hiccup_is_due() {
                thread::sleep(HICCUP);
            }
            MIXED
        }
        ("GET", "/cpu") => {
            spin();
            SPUN
        }
        _ => return reply(404, ""),
    };
    reply(200, body)
}

fn reply(status: u16, body: &'static str) -> Response {
    ResponseBuilder::new()
        .status(status)
        .header("content-type", "text/plain")
        .header("content-length", body.len())
        .body(Body::new(body))
        .expect("constant parts make a valid reply")
}
