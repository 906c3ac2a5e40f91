//! Calls whose clients have gone, or that have waited too long, leave the pool's queue whichever way they have
//! come there: through a gate, from trials, or beside others. Every thread of the pool hangs.

use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use socket2::SockRef;
use threadline::http::{Request, Router, get, post};
use threadline::{Address, Class, Hint, Model, Running};

use crate::common::{ANY, Client, Gate, PATIENCE, eventually, server, start};
use crate::http_client::ok;

const LIMIT: Duration = Duration::from_millis(200);

/// The client has gone for good.
fn reset(client: Client) {
    SockRef::from(client.stream()).set_linger(Some(Duration::ZERO)).expect("linger");
    drop(client);
}

fn request(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: t\r\n\r\n")
}

fn address(service: &Running, number: usize) -> SocketAddr {
    match service.addresses()[number] {
        Address::Ip(address) => address,
        ref other => panic!("not an IP address: {other}"),
    }
}

#[test]
fn streamed_calls_leave_the_queue_and_those_after_them_too() {
    for model in [Model::Pool, Model::Adaptive] {
        let gate = Arc::new(Gate::default());
        let wait = Arc::clone(&gate);
        let stuck = move || {
            wait.wait();
            "free"
        };
        let count = |request: &Request<'_>| request.bytes().map(|body| body.len().to_string());
        let router = Router::new()
            .route("/stuck", get(stuck).hint(Hint::Blocking))
            .route("/upload", post(count).streamed());
        let server = server(model).pool_threads(2).settings(|settings| {
            settings.streamed_max = Some(1);
            settings.queue_wait_max = None;
        });
        let service = start(server.http(ANY, router));
        let mut stuck: Vec<_> = (0..2).map(|_| Client::to(&service)).collect();
        stuck.iter_mut().for_each(|client| client.send(request("/stuck")));
        gate.await_arrivals(2);
        let mut uploads = Vec::new();
        for waiting in 0..4 {
            let mut client = Client::to(&service);
            client.send("POST /upload HTTP/1.1\r\nHost: t\r\nContent-Length: 9\r\n\r\n123");
            eventually("it waits", || {
                let gauges = service.gauges();
                gauges.pool_queue + gauges.calls_parked == waiting + 1
            });
            uploads.push(client);
        }
        // Each that goes has the next one put in the pool's queue.
        for (client, left) in uploads.into_iter().zip((0..4).rev()) {
            reset(client);
            eventually(&format!("{model}: {left} are left"), || {
                let gauges = service.gauges();
                gauges.pool_queue + gauges.calls_parked == left
            });
            // Under `Pool` a thread of the pool finds out that it is to be streamed.
            if model == Model::Adaptive {
                assert_eq!(service.gauges().streamed, left.min(1));
            }
        }
        assert_eq!(service.counts().abandoned_calls, 4, "{model}");
        gate.open();
        stuck.iter_mut().for_each(|client| assert_eq!(client.reply(), ok("free")));
    }
}

#[test]
fn trials_that_wait_for_a_pool_thread_leave_the_queue() {
    let gate = Arc::new(Gate::default());
    let mut router = Router::new();
    for number in 0..6 {
        let wait = Arc::clone(&gate);
        router = router.get(&format!("/{number}"), move || wait.wait());
    }
    let server = server(Model::Adaptive).pool_threads(1).settings(|settings| {
        settings.trial_threads_max = 1;
        settings.queue_wait_max = None;
    });
    let service = start(server.http(ANY, router));
    let mut clients: Vec<_> = (0..6).map(|_| Client::to(&service)).collect();
    for (number, client) in clients.iter_mut().enumerate() {
        client.send(request(&format!("/{number}")));
        if number < 2 {
            gate.await_arrivals(number + 1);
        }
    }
    eventually("four wait", || service.gauges().pool_queue == 4);
    clients.drain(2..).for_each(reset);
    eventually("they have left", || service.gauges().pool_queue == 0);
    assert_eq!(service.counts().abandoned_calls, 4);
    gate.open();
}

/// A datagram service, stuck with all the threads it can get, and a client.
fn stuck_datagrams() -> (Running, Arc<Gate>, UdpSocket) {
    let gate = Arc::new(Gate::default());
    let wait = Arc::clone(&gate);
    let server = server(Model::Adaptive).shards(1).pool_threads(1).settings(|settings| {
        settings.queue_wait_max = Some(LIMIT);
        // The second service stays on trial threads.
        settings.proving_streak = 10_000;
    });
    let server = server.datagrams(ANY, move |datagram, _| {
        wait.wait();
        Some(datagram.to_vec())
    });
    let service = start(server.datagrams(ANY, |datagram, _| Some(datagram.to_vec())));
    let client = UdpSocket::bind(ANY).expect("binds");
    client.set_read_timeout(Some(PATIENCE)).expect("timeout");
    (service, gate, client)
}

#[test]
fn datagrams_that_waited_for_trials_are_dropped_when_they_are_late() {
    for _ in 0..5 {
        let (service, gate, client) = stuck_datagrams();
        for _ in 0..20 {
            client.send_to(b"x", address(&service, 0)).expect("sent");
        }
        // Two as trials; and one of the others, which go to the pool when the route is classified.
        gate.await_arrivals(3);
        eventually("they are dropped", || service.counts().timeouts_queue == 17);
        assert_eq!(service.gauges().pool_queue, 0);
        assert_eq!(service.counts().datagrams_dropped, 17);
        gate.open();
    }
}

#[test]
fn datagrams_of_another_service_do_not_keep_late_ones_in_the_queue() {
    let (service, gate, client) = stuck_datagrams();
    let [stuck, other] = [0, 1].map(|number| address(&service, number));
    client.send_to(b"x", stuck).expect("sent");
    gate.await_arrivals(1);
    eventually("it is classified", || service.routes()[0].class() == Class::Blocking);
    client.send_to(b"x", stuck).expect("sent");
    gate.await_arrivals(2);
    (0..5).for_each(|_| _ = client.send_to(b"late", stuck).expect("sent"));
    let mut buffer = [0; 64];
    for _ in 0..200 {
        client.send_to(b"fast", other).expect("sent");
        assert_eq!(client.recv(&mut buffer).expect("an answer"), 4);
    }
    eventually("they are dropped", || service.counts().timeouts_queue == 5);
    assert_eq!((service.gauges().pool_queue, service.counts().datagrams_dropped), (0, 5));
    gate.open();
}
