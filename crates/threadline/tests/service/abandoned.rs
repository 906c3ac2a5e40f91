//! Calls that wait for a pool thread whose clients have gone, or that wait too long: they are not run, and their
//! places in the queue are free although every thread hangs.

use std::fs;
use std::io::{self, Write};
use std::net::{Shutdown, UdpSocket};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use socket2::SockRef;
use tempfile::NamedTempFile;
use threadline::http::middleware::{AccessLog, LogFormat};
use threadline::http::{Deferred, Next, Request, Response, Router, get};
use threadline::{Class, Frames, Hint, Lines, Model, Running, Server};

use crate::common::{ANY, Client, Gate, PATIENCE, address, eventually, server, start};
use crate::http_client::ok;

/// The models in which calls of messages wait for the pool.
const POOLED: [Model; 2] = [Model::Pool, Model::Adaptive];

const FOR_EVER: Duration = Duration::from_secs(3600);

/// A service with two pool threads, whose routes are `/stuck`, which waits for the gate, and `/count`, which
/// counts.
fn narrow(model: Model) -> (Server, Router, Arc<Gate>, Arc<AtomicUsize>) {
    let (gate, count) = (Arc::new(Gate::default()), Arc::new(AtomicUsize::new(0)));
    let (wait, counted) = (Arc::clone(&gate), Arc::clone(&count));
    let stuck = move || {
        wait.wait();
        "free"
    };
    let count_one = move || {
        counted.fetch_add(1, Ordering::SeqCst);
        "counted"
    };
    // Calls of a route that is not known yet do not wait for the pool.
    let router = Router::new()
        .route("/stuck", get(stuck).hint(Hint::Blocking))
        .route("/count", get(count_one).hint(Hint::Blocking));
    let server = server(model).settings(|settings| settings.pool_threads_max = 2);
    (server, router, gate, count)
}

fn request(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: test\r\n\r\n")
}

/// Two clients whose handlers hang until the gate opens.
fn hang(service: &Running, gate: &Gate) -> [Client; 2] {
    let clients = std::array::from_fn(|_| {
        let mut client = Client::to(service);
        client.send(request("/stuck"));
        client
    });
    gate.await_arrivals(2);
    clients
}

fn eventually_waiting(service: &Running, count: usize) {
    eventually("so many calls wait", || service.gauges().pool_queue == count);
}

fn reset(client: Client) {
    SockRef::from(client.stream()).set_linger(Some(Duration::ZERO)).expect("linger");
}

#[test]
fn calls_of_clients_that_have_gone_are_not_run() {
    const CLIENTS: usize = 200;
    for model in POOLED {
        let (server, router, gate, count) = narrow(model);
        let server = server.settings(|settings| {
            settings.pool_queue_max = CLIENTS;
            settings.queue_wait_max = None;
        });
        let service = start(server.http(ANY, router));
        let hang = hang(&service, &gate);
        let clients: Vec<_> = (0..CLIENTS)
            .map(|number| {
                let mut client = Client::to(&service);
                match number % 4 {
                    // The end comes with the request.
                    0 => {
                        client.send(request("/count"));
                        client.stream().shutdown(Shutdown::Write).expect("half-closes");
                    }
                    // More has come than is read.
                    1 => client.send(request("/count").repeat(3)),
                    2 => {
                        client.send(request("/count"));
                        client.send(request("/count"));
                    }
                    _ => client.send(request("/count")),
                }
                client
            })
            .collect();
        eventually("they wait, or have gone already", || {
            service.gauges().pool_queue as u64 + service.counts().abandoned_calls == CLIENTS as u64
        });
        for (number, client) in clients.into_iter().enumerate() {
            if number % 3 == 0 { reset(client) } else { drop(client) }
        }
        // Both threads still hang.
        eventually_waiting(&service, 0);
        eventually("their connections are closed", || service.gauges().connections == 2);
        let mut late = Client::to(&service);
        late.send(request("/count"));
        eventually_waiting(&service, 1);
        gate.open();
        assert_eq!(late.reply(), ok("counted"));
        hang.into_iter().for_each(|mut client| assert_eq!(client.reply(), ok("free")));
        assert_eq!(count.load(Ordering::SeqCst), 1, "only the one that has waited");
        assert_eq!(service.counts().abandoned_calls, CLIENTS as u64);
    }
}

#[test]
fn a_half_closed_client_that_is_served_in_time_gets_its_replies() {
    for model in POOLED {
        let (server, router, gate, count) = narrow(model);
        // No deadline of the test may depend on the speed of the machine.
        let server = server.settings(|settings| settings.half_closed_wait_max = Some(FOR_EVER));
        let service = start(server.http(ANY, router));
        let _hang = hang(&service, &gate);
        let mut clients: Vec<_> = (1..4)
            .map(|requests| {
                let mut client = Client::to(&service);
                client.send(request("/count").repeat(requests));
                client.stream().shutdown(Shutdown::Write).expect("half-closes");
                client
            })
            .collect();
        eventually_waiting(&service, 3);
        gate.open();
        for (client, requests) in clients.iter_mut().zip(1..) {
            (0..requests).for_each(|_| assert_eq!(client.reply(), ok("counted")));
            client.assert_closed();
        }
        assert_eq!(count.load(Ordering::SeqCst), 6);
        assert_eq!(service.counts().abandoned_calls, 0);
    }
}

/// A Unix socket that is closed as a whole cannot be read either, and the kernel says so.
#[test]
fn a_closed_unix_socket_is_gone_at_once() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("socket");
    let (gate, count) = (Arc::new(Gate::default()), Arc::new(AtomicUsize::new(0)));
    let (wait, counted) = (Arc::clone(&gate), Arc::clone(&count));
    let lines = Lines::new(move |line, _| {
        if line == "stuck" {
            wait.wait();
        }
        counted.fetch_add(1, Ordering::SeqCst);
        Some(line.to_owned())
    });
    let server = server(Model::Pool).settings(|settings| {
        settings.pool_threads_max = 1;
        settings.half_closed_wait_max = Some(FOR_EVER);
    });
    let service = start(server.lines(format!("unix:{}", path.display()), lines));
    let connect = |line: &str| {
        let mut client = UnixStream::connect(&path).expect("connects");
        client.write_all(line.as_bytes()).expect("writes");
        client
    };
    let _stuck = connect("stuck\n");
    gate.await_arrivals(1);
    let [closes, half_closes] = ["one\n", "two\n"].map(connect);
    eventually_waiting(&service, 2);
    half_closes.shutdown(Shutdown::Write).expect("half-closes");
    drop(closes);
    eventually_waiting(&service, 1);
    assert_eq!(service.counts().abandoned_calls, 1);
    gate.open();
    eventually("the others are answered", || count.load(Ordering::SeqCst) == 2);
}

#[test]
fn a_request_that_waits_too_long_is_a_503_that_the_layers_see() {
    for model in POOLED {
        let (server, router, gate, count) = narrow(model);
        let log = NamedTempFile::new().expect("a file");
        let writer = log.reopen().expect("the file");
        let router = router.layer(AccessLog::to(writer, LogFormat::Json));
        let server = server.settings(|settings| {
            settings.queue_wait_max = Some(Duration::from_millis(100));
        });
        let service = start(server.http(ANY, router));
        let _hang = hang(&service, &gate);
        let mut client = Client::to(&service);
        client.send(request("/count?late"));
        let reply = client.reply();
        assert_eq!((reply.status, reply.closes), (503, false));
        assert_eq!((service.gauges().pool_queue, service.counts().timeouts_queue), (0, 1));
        eventually("the access log has it", || {
            let log = fs::read_to_string(log.path()).expect("text");
            log.lines().any(|line| line.contains("/count") && line.contains("503"))
        });
        gate.open();
        eventually("the threads are free", || service.gauges().pool_busy == 0);
        // On a busy machine it may take long again.
        eventually("the connection goes on", || client.get("/count") == ok("counted"));
        assert!(count.load(Ordering::SeqCst) >= 1);
    }
}

#[test]
fn lines_and_frames_that_wait_too_long_are_refused_in_their_own_words() {
    let gate = Arc::new(Gate::default());
    let (of_lines, of_frames) = (Arc::clone(&gate), Arc::clone(&gate));
    let lines = Lines::new(move |line, _| {
        of_lines.wait();
        Some(line.to_owned())
    });
    let frames = Frames::new(move |frame, _| {
        of_frames.wait();
        Some(frame.to_vec())
    });
    let server = server(Model::Pool).settings(|settings| {
        settings.pool_threads_max = 1;
        settings.queue_wait_max = Some(Duration::from_millis(100));
    });
    let service = start(server.lines(ANY, lines).frames(ANY, frames));
    let addresses = service.addresses();
    let client = |number: usize| match addresses[number] {
        threadline::Address::Ip(address) => Client::connect(address),
        ref other => panic!("not an IP address: {other}"),
    };
    let mut stuck = client(0);
    stuck.send("stuck\n");
    gate.await_arrivals(1);
    let (mut line, mut frame) = (client(0), client(1));
    line.send("late\n");
    frame.send(b"\0\0\0\x04late");
    assert_eq!(line.line().as_deref(), Some("error: overloaded, try again later"));
    assert_eq!(frame.exactly(4), [0; 4]);
    assert_eq!(service.counts().timeouts_queue, 2);
    gate.open();
    assert_eq!(stuck.line().as_deref(), Some("stuck"));
}

#[test]
fn streams_of_clients_that_have_gone_are_not_served() {
    for model in [Model::Pool, Model::Adaptive, Model::EventLoop] {
        let (gate, count) = (Arc::new(Gate::default()), Arc::new(AtomicUsize::new(0)));
        let (wait, counted) = (Arc::clone(&gate), Arc::clone(&count));
        let server = server(model).settings(|settings| settings.pool_threads_max = 1);
        let service = start(server.stream(ANY, move |mut connection| {
            counted.fetch_add(1, Ordering::SeqCst);
            wait.wait();
            let mut writer = connection.try_clone()?;
            io::copy(&mut connection, &mut writer).map(drop)
        }));
        let mut stuck = Client::to(&service);
        stuck.send("1");
        gate.await_arrivals(1);
        let clients: Vec<_> = (0..20)
            .map(|_| {
                let mut client = Client::to(&service);
                client.send("x");
                client
            })
            .collect();
        eventually_waiting(&service, 20);
        for (number, client) in clients.into_iter().enumerate() {
            if number % 2 == 0 { reset(client) } else { drop(client) }
        }
        eventually_waiting(&service, 0);
        eventually("their connections are closed", || service.gauges().connections == 1);
        let mut late = Client::to(&service);
        late.send("2");
        eventually_waiting(&service, 1);
        gate.open();
        stuck.stream().shutdown(Shutdown::Write).expect("half-closes");
        assert_eq!(stuck.rest(), b"1");
        late.stream().shutdown(Shutdown::Write).expect("half-closes");
        assert_eq!(late.rest(), b"2");
        assert_eq!(count.load(Ordering::SeqCst), 2);
        assert_eq!(service.counts().abandoned_calls, 20);
    }
}

/// Its reply passes through a layer, which may block: it waits for a thread, as long as it takes.
#[test]
fn the_reply_of_a_deferred_call_is_written_however_long_it_waits() {
    let (mut server, router, gate, _) = narrow(Model::Adaptive);
    server = server.settings(|settings| {
        settings.queue_wait_max = Some(Duration::from_millis(50));
        settings.half_closed_wait_max = Some(Duration::from_millis(50));
    });
    let calls = Arc::new(Mutex::new(Vec::new()));
    let kept = Arc::clone(&calls);
    let router = router
        .get("/later", move || {
            let kept = Arc::clone(&kept);
            Deferred::new(move |reply| kept.lock().expect("no panic").push(reply))
        })
        .layer(|request: &Request<'_>, next: Next<'_>| -> Response { next.run(request) });
    let service = start(server.http(ANY, router));
    let mut client = Client::to(&service);
    client.send(request("/later"));
    eventually("a call", || calls.lock().expect("no panic").len() == 1);
    let _hang = hang(&service, &gate);
    client.stream().shutdown(Shutdown::Write).expect("half-closes");
    let reply = calls.lock().expect("no panic").pop().expect("a call");
    reply.send("late").expect("awaited");
    let mut refused = Client::to(&service);
    refused.send(request("/count"));
    assert_eq!(refused.reply().status, 503, "the limit is over for others");
    gate.open();
    assert_eq!(client.reply(), ok("late"));
    assert_eq!(service.counts().abandoned_calls, 0);
}

#[test]
fn datagrams_that_wait_too_long_are_dropped() {
    for model in [Model::Pool, Model::Adaptive, Model::ThreadPerConnection] {
        let gate = Arc::new(Gate::default());
        let wait = Arc::clone(&gate);
        let server = server(model).settings(|settings| {
            settings.pool_threads_max = 1;
            settings.queue_wait_max = Some(Duration::from_millis(100));
        });
        let service = start(server.datagrams(ANY, move |datagram, _| {
            wait.wait();
            Some(datagram.to_vec())
        }));
        let client = UdpSocket::bind(ANY).expect("binds");
        client.connect(address(&service)).expect("connects");
        client.set_read_timeout(Some(PATIENCE)).expect("timeout");
        client.send(b"stuck").expect("sent");
        gate.await_arrivals(1);
        if model == Model::Adaptive {
            // The first was a trial, and the pool's thread is free.
            eventually("the route is known", || service.routes()[0].class() == Class::Blocking);
            client.send(b"stuck").expect("sent");
            gate.await_arrivals(2);
        }
        for round in 1..3 {
            (0..3).for_each(|_| _ = client.send(b"late").expect("sent"));
            eventually("they are dropped", || service.counts().timeouts_queue == 3 * round);
            assert_eq!(service.gauges().pool_queue, 0);
        }
        assert_eq!(service.counts().datagrams_dropped, 6);
        gate.open();
        let mut answer = [0; 10];
        let mut answered = || {
            let len = client.recv(&mut answer).expect("an answer");
            answer[..len].to_vec()
        };
        assert_eq!(answered(), b"stuck");
        if model == Model::Adaptive {
            assert_eq!(answered(), b"stuck");
        }
        client.send(b"again").expect("sent");
        assert_eq!(answered(), b"again");
    }
}
