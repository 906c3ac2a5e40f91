//! What goes on while every pool thread is stuck in a handler: large bodies are received and answered.

use std::sync::Arc;
use std::time::Duration;

use socket2::SockRef;
use threadline::http::{Request, Router, get, post};
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
        for client in uploads {
            let reset = SockRef::from(client.stream()).set_linger(Some(Duration::ZERO));
            reset.expect("closing resets the connection");
        }
        eventually("all of it is free", || {
            let gauges = service.gauges();
            let held = (gauges.body_files, gauges.waiting_bytes, gauges.pool_queue);
            held == (0, 0, 0) && gauges.connections == THREADS
        });
        release(&gate, clients);
    }
}
