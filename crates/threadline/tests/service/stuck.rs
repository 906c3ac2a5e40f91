//! What goes on while every pool thread is stuck in a handler: large bodies are received and answered, and large
//! replies that are made while they are sent arrive whole.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use socket2::SockRef;
use threadline::http::{Body, Request, Response, Router, get, post};
use threadline::{Hint, Model, Running};

use crate::common::{ANY, Client, Gate, eventually, server, start};
use crate::http_client::ok;

const THREADS: usize = 4;
/// More than is kept of a body in memory.
const BODY_LEN: usize = 1_500_000;

/// Serves `router` with all pool threads stuck.
fn stuck(model: Model, router: Router) -> (Running, Arc<Gate>, Vec<Client>) {
    let gate = Arc::new(Gate::default());
    let wait = Arc::clone(&gate);
    let stick = move || {
        wait.wait();
        "stuck"
    };
    let router = router.route("/stuck", get(stick).hint(Hint::Blocking));
    let service = start(server(model).pool_threads(THREADS).http(ANY, router));
    let clients = (0..THREADS).map(|_| {
        let mut client = Client::to(&service);
        client.send("GET /stuck HTTP/1.1\r\nHost: t\r\n\r\n");
        client
    });
    let clients = clients.collect();
    gate.await_arrivals(THREADS);
    (service, gate, clients)
}

fn release(gate: &Gate, mut clients: Vec<Client>) {
    gate.open();
    clients.iter_mut().for_each(|client| assert_eq!(client.reply(), ok("stuck")));
}

fn reset(client: Client) {
    let socket = SockRef::from(client.stream());
    socket.set_linger(Some(Duration::ZERO)).expect("closing resets the connection");
}

fn uploads() -> Router {
    let len = |request: &Request<'_>| request.bytes().map(|body| body.len().to_string());
    Router::new().route("/inline", post(len).hint(Hint::Inline)).route("/cold", post(len))
}

fn upload(path: &str) -> String {
    format!("POST {path} HTTP/1.1\r\nHost: t\r\nContent-Length: {BODY_LEN}\r\n\r\n")
}

#[test]
fn large_bodies_are_received_and_answered() {
    let (service, gate, clients) = stuck(Model::Adaptive, uploads());
    for path in ["/inline", "/cold", "/inline"] {
        let mut client = Client::to(&service);
        client.send(upload(path));
        client.send(vec![b'x'; BODY_LEN]);
        assert_eq!(client.reply(), ok(&BODY_LEN.to_string()), "{path}");
    }
    assert_eq!(service.counts().bodies_in_files, 3);
    assert_eq!(service.gauges().pool_busy, THREADS, "they are still stuck");
    eventually("the files are gone", || service.gauges().body_files == 0);
    release(&gate, clients);
}

#[test]
fn large_bodies_whose_clients_reset_free_everything() {
    for model in [Model::Adaptive, Model::Pool] {
        let (service, gate, clients) = stuck(model, uploads());
        let uploads: Vec<_> = (0..8)
            .map(|_| {
                let mut client = Client::to(&service);
                client.send(upload("/inline"));
                client.send(vec![b'x'; BODY_LEN - 1]);
                client
            })
            .collect();
        eventually("the bodies are in files", || service.gauges().body_files == uploads.len());
        uploads.into_iter().for_each(reset);
        eventually("all of it is free", || {
            let gauges = service.gauges();
            let held = (gauges.body_files, gauges.waiting_bytes, gauges.pool_queue);
            held == (0, 0, 0) && gauges.connections == THREADS
        });
        release(&gate, clients);
    }
}

const CHUNK_LEN: usize = 100_000;
const CHUNKS: usize = 300;

/// A reply of 30 MB that is made while it is sent.
fn made() -> Response {
    Response::bytes(Body::chunks((0..CHUNKS).map(|number| vec![number as u8; CHUNK_LEN])))
}

/// Asks for a reply that is made, and reads it.
fn assert_made(service: &Running, path: &str) {
    let mut client = Client::to(service);
    client.send(format!("GET {path} HTTP/1.0\r\nHost: t\r\n\r\n"));
    let reply = client.rest();
    let end = reply.windows(4).position(|part| part == b"\r\n\r\n").expect("a head") + 4;
    let content = &reply[end..];
    assert_eq!(content.len(), CHUNKS * CHUNK_LEN, "{path}");
    for (chunk, number) in content.chunks(CHUNK_LEN).zip(0_usize..) {
        assert!(chunk.iter().all(|byte| *byte == number as u8), "{path}: chunk {number}");
    }
}

fn made_replies() -> Router {
    Router::new()
        .get("/cold", made)
        .route("/inline", get(made).hint(Hint::Inline))
        .route("/computing", get(made).hint(Hint::Computing))
}

#[test]
fn large_replies_that_are_made_arrive_whole() {
    let (service, gate, clients) = stuck(Model::Adaptive, made_replies());
    thread::scope(|scope| {
        // More of one route at a time than are made at a time.
        for path in ["/inline"; 8].into_iter().chain(["/cold", "/computing"]) {
            let service = &service;
            scope.spawn(move || assert_made(service, path));
        }
    });
    assert_eq!(service.gauges().pool_busy, THREADS, "they are still stuck");
    release(&gate, clients);
}

#[test]
fn connections_that_hold_values_of_handlers_end() {
    let (service, gate, clients) =
        stuck(Model::Adaptive, uploads().route("/made", get(made).hint(Hint::Inline)));
    let mut half_sent = Client::to(&service);
    half_sent.send(upload("/inline"));
    half_sent.send(vec![b'x'; 500_000]);
    eventually("a part of the body waits in memory", || service.gauges().waiting_bytes >= 500_000);
    let mut unread = Client::to(&service);
    unread.send("GET /made HTTP/1.1\r\nHost: t\r\n\r\n");
    unread.exactly(1);
    [half_sent, unread].into_iter().for_each(reset);
    eventually("they have gone", || {
        let gauges = service.gauges();
        (gauges.connections, gauges.waiting_bytes, gauges.pool_queue) == (THREADS, 0, 0)
    });
    release(&gate, clients);
}

#[test]
fn sources_that_are_stuck_hold_up_only_those_of_their_route() {
    let source_gate = Arc::new(Gate::default());
    let wait = Arc::clone(&source_gate);
    let stuck_source = move || {
        let wait = Arc::clone(&wait);
        Response::bytes(Body::chunks((0..CHUNKS).map(move |number| {
            // Beyond what is made in the call.
            if number == CHUNKS / 2 {
                wait.wait();
            }
            vec![number as u8; CHUNK_LEN]
        })))
    };
    let router = made_replies().route("/source", get(stuck_source).hint(Hint::Inline));
    let (service, gate, clients) = stuck(Model::Adaptive, router);
    thread::scope(|scope| {
        for _ in 0..6 {
            scope.spawn(|| assert_made(&service, "/source"));
        }
        // Four have a place; the others wait for one without a thread.
        source_gate.await_arrivals(4);
        eventually("others wait", || service.gauges().calls_parked == 2);
        for path in ["/inline", "/cold", "/computing"] {
            assert_made(&service, path);
        }
        let mut client = Client::to(&service);
        client.send("GET /source HTTP/1.1\r\nHost: t\r\n\r\n");
        client.exactly(CHUNK_LEN);
        eventually("one more waits", || service.gauges().calls_parked == 3);
        reset(client);
        eventually("it has left", || service.gauges().calls_parked == 2);
        source_gate.open();
    });
    release(&gate, clients);
}
