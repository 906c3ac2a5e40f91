//! What a request costs in allocations: none, on the way of a plain handler; and what is asked for
//! beyond that costs what it must.
//!
//! One test in a binary of its own: every allocation of the process counts.

use std::alloc::System;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use threadline::http::{Hint, Path, Request, Router, get};
use threadline::{Server, TestServer};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const REQUESTS: usize = 2_000;

#[test]
fn a_plain_handler_is_answered_without_an_allocation() {
    let agent = |request: &Request<'_>| {
        if request.header("user-agent") == Some("test") { "test" } else { "other" }
    };
    let router = Router::new()
        .route("/hello", get(|| "hello").hint(Hint::Inline))
        .route("/users/{id}", get(|Path(_): Path<u64>| "somebody").hint(Hint::Inline))
        .route("/agent", get(agent).hint(Hint::Inline))
        .route("/made", get(|| String::from("made")).hint(Hint::Inline));
    let server = TestServer::start_with(Server::new().shards(1), router).expect("a server");
    for (path, each) in [("/hello", 0), ("/users/1234", 0), ("/agent", 0), ("/made", 1)] {
        let allocations = count(&server, path);
        // The clock's text is made anew each second; timers and counters may grow once.
        let expected = each * REQUESTS..each * REQUESTS + REQUESTS / 20;
        assert!(expected.contains(&allocations), "{path}: {allocations} in {REQUESTS} requests");
    }
}

/// How many allocations so many requests on one connection cost, once everything has found its size.
fn count(server: &TestServer, path: &str) -> usize {
    let mut client = TcpStream::connect(server.address()).expect("connects");
    client.set_read_timeout(Some(Duration::from_secs(20))).expect("a timeout");
    let request = format!(
        "GET {path} HTTP/1.1\r\nhost: test\r\nuser-agent: test\r\naccept: */*\r\n\
         accept-language: en\r\ncookie: a=b\r\n\r\n"
    );
    let mut answer = [0; 4096];
    let mut ask = || {
        client.write_all(request.as_bytes()).expect("writes");
        let count = client.read(&mut answer).expect("answers");
        assert!(answer[..count].starts_with(b"HTTP/1.1 200"));
    };
    (0..500).for_each(|_| ask());
    let region = Region::new(ALLOCATOR);
    (0..REQUESTS).for_each(|_| ask());
    let change = region.change();
    change.allocations + change.reallocations
}
