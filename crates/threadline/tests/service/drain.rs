//! Going down: nothing that is in flight is lost, and nothing idle holds it up.

use std::io::Read;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::common::{ANY, Client, Gate, PATIENCE, address, every_model, server, start};
use threadline::http::{Request, Response, Router, Status, post};
use threadline::pool::ThreadPool;
use threadline::pool::schedule::{Every, Scheduler};
use threadline::{Drain, DrainOrder, Frames, Lines, Sender};

every_model! {
    fn idle_connections_do_not_hold_it_up(model) {
        let lines = Lines::new(|line, _| Some(line.to_owned()));
        let stream = |mut connection: threadline::Connection| {
            connection.read_to_end(&mut Vec::new()).map(drop)
        };
        let service = start(
            server(model).drain_timeout(PATIENCE).lines(ANY, lines).stream(ANY, stream),
        );
        let mut spoke = Client::to(&service);
        assert_eq!(spoke.ask("x"), "x");
        let mut silent = Client::to(&service);
        let threadline::Address::Ip(stream) = service.addresses()[1] else { panic!("IP") };
        // A stream handler that sits in a read.
        let mut reading = Client::connect(stream);
        reading.send("some");
        let began = Instant::now();
        let drained = service.drain();
        assert!(began.elapsed() < PATIENCE / 2, "took {:?}", began.elapsed());
        assert!(drained.complete && drained.aborted == 0, "{drained:?}");
        spoke.assert_closed();
        silent.assert_closed();
        reading.assert_closed();
    }

    fn a_call_in_flight_is_finished(model) {
        let gate = Arc::new(Gate::default());
        let wait = Arc::clone(&gate);
        let lines = Lines::new(move |line, _| {
            if line == "wait" {
                wait.wait();
            }
            Some(line.to_owned())
        });
        let service = start(server(model).drain_timeout(PATIENCE).lines(ANY, lines));
        let mut client = Client::to(&service);
        client.send("wait\nand this\n");
        gate.await_arrivals(1);
        let address = address(&service);
        let draining = std::thread::spawn(move || service.drain());
        // Once nobody listens any more, the drain is on its way. A shard that must not be handed on
        // learns of it only when its handler returns.
        if model != threadline::Model::EventLoop {
            crate::common::eventually("it refuses new clients", || {
                std::net::TcpStream::connect(address).is_err()
            });
        }
        gate.open();
        assert_eq!(client.line().as_deref(), Some("wait"));
        assert_eq!(client.line().as_deref(), Some("and this"), "it had arrived before");
        let drained = draining.join().expect("drain");
        assert!(drained.complete && drained.aborted == 0, "{drained:?}");
    }

    fn under_load_no_reply_is_lost(model) {
        let lines = Lines::new(|line, _| Some(line.to_owned()));
        let service = start(server(model).lines(ANY, lines));
        let stop = Arc::new(AtomicBool::new(false));
        let clients: Vec<_> = (0..16)
            .map(|_| {
                let (mut client, stop) = (Client::to(&service), Arc::clone(&stop));
                std::thread::spawn(move || {
                    let mut answered = 0u64;
                    // Each question is answered, until the client has stopped of its own accord.
                    while !stop.load(Ordering::Relaxed) {
                        assert_eq!(client.ask(&answered.to_string()), answered.to_string());
                        answered += 1;
                    }
                    answered
                })
            })
            .collect();
        crate::common::eventually("it is busy", || {
            service.counts().calls_inline + service.counts().calls_pooled > 2_000
        });
        let address = address(&service);
        let draining = std::thread::spawn(move || service.drain());
        crate::common::eventually("it refuses new clients", || {
            std::net::TcpStream::connect(address).is_err()
        });
        stop.store(true, Ordering::Relaxed);
        let answered: u64 = clients.into_iter().map(|c| c.join().expect("no reply lost")).sum();
        assert!(answered > 2_000 - 16, "{answered}");
        let drained = draining.join().expect("drain");
        assert!(drained.complete && drained.aborted == 0, "{drained:?}");
    }

    fn what_has_not_finished_at_the_deadline_is_cut_off_and_counted(model) {
        let lines = Lines::new(|line, _| Some(line.to_owned()));
        let service = start(server(model).drain_timeout(Duration::from_secs(3)).lines(ANY, lines));
        let (mut idle, mut half) = (Client::to(&service), Client::to(&service));
        assert_eq!(idle.ask("x"), "x");
        assert_eq!(half.ask("x"), "x");
        half.send("half a li");
        let began = Instant::now();
        let drained = service.drain();
        assert!(began.elapsed() < PATIENCE / 2);
        assert_eq!((drained.aborted, drained.complete), (1, true), "the idle one has lost nothing");
        half.assert_closed();
        idle.assert_closed();
    }

    fn a_handler_that_does_not_return_does_not_move_the_deadline(model) {
        let gate = Arc::new(Gate::default());
        let wait = Arc::clone(&gate);
        let lines = Lines::new(move |line, _| {
            wait.wait();
            Some(line.to_owned())
        });
        let limit = Duration::from_secs(4);
        let service = start(server(model).drain_timeout(limit).lines(ANY, lines));
        let mut client = Client::to(&service);
        client.send("wait\n");
        gate.await_arrivals(1);
        let began = Instant::now();
        let drained = service.drain();
        // Connections, pool and threads have one limit together. If each had its own it would take 12 s; a
        // busy machine may be late by seconds.
        assert!(began.elapsed() < PATIENCE / 2, "took {:?}", began.elapsed());
        assert_eq!((drained.aborted, drained.complete), (1, false));
        gate.open();
    }

    fn messages_that_are_half_way_are_received_and_answered(model) {
        let lines = Lines::new(|line, _| Some(line.to_owned()));
        let frames = Frames::new(|frame, _| Some(frame.to_vec()));
        let begun = Arc::new(Gate::default());
        let (first, arrived) = (Arc::clone(&begun), Arc::clone(&begun));
        begun.open();
        let streamed = move |request: &Request<'_>| {
            let (mut reader, mut body) = (request.reader(), vec![0; 1]);
            reader.read_exact(&mut body).expect("the first byte");
            first.wait();
            reader.read_to_end(&mut body).map_err(|error| error.to_string()).map(|_| body)
        };
        let answer = move |request: &Request<'_>| match streamed(request) {
            Ok(body) => Response::text(body.len().to_string()),
            Err(error) => Response::error(Status::BAD_REQUEST, error),
        };
        let router = Router::new()
            .route("/streamed", post(answer).body_len_max(1 << 20).streamed())
            .post("/whole", |body: Vec<u8>| body.len().to_string());
        let service = server(model).drain_timeout(PATIENCE);
        let service = start(service.lines(ANY, lines).frames(ANY, frames).http(ANY, router));
        let connect = |number: usize| {
            let threadline::Address::Ip(address) = service.addresses()[number] else { panic!("IP") };
            Client::connect(address)
        };
        let head = |path: &str, framing: &str| {
            format!("POST {path} HTTP/1.1\r\nHost: t\r\n{framing}\r\n\r\n")
        };
        let chunk = |length: usize| format!("{length:x}\r\n{}\r\n", "x".repeat(length));
        let large = 200_000;
        // What is sent before the drain, what after, and what the body's length is.
        let uploads = [
            ("POST /who".to_owned(), "le HTTP/1.1\r\nHost: t\r\nContent-Length: 1\r\n\r\nx".into(), 1),
            (head("/whole", "Content-Length: 10") + "12345", "67890".to_owned(), 10),
            (head("/whole", "Content-Length: 10"), "1234567890".to_owned(), 10),
            (head("/whole", "Transfer-Encoding: chunked") + "5\r\n123", "45\r\n0\r\n\r\n".into(), 5),
            (head("/whole", "Transfer-Encoding: chunked") + &chunk(5), chunk(9) + "0\r\n\r\n", 14),
            (
                head("/streamed", &format!("Content-Length: {large}")) + &"x".repeat(large / 2),
                "x".repeat(large / 2),
                large,
            ),
            (
                head("/streamed", "Transfer-Encoding: chunked") + &chunk(large / 2),
                chunk(large / 2) + "0\r\n\r\n",
                large,
            ),
        ];
        let (mut line, mut frame) = (connect(0), connect(1));
        line.send("half a ");
        frame.send([0, 0, 0, 6, b'a', b' ', b'f']);
        let mut clients: Vec<_> = uploads
            .into_iter()
            .map(|(before, after, length)| {
                let mut client = connect(2);
                client.send(before);
                (client, after, length)
            })
            .collect();
        let mut idle = connect(0);
        assert_eq!(idle.ask("x"), "x");
        // An event loop waits for the whole body, whatever its length.
        if model != threadline::Model::EventLoop {
            arrived.await_arrivals(2);
        }
        let draining = std::thread::spawn(move || service.drain());
        idle.assert_closed(); // so they have been silent for longer than the drain allows idle ones
        line.send("line\n");
        assert_eq!(line.line().as_deref(), Some("half a line"));
        frame.send("rame");
        assert_eq!(frame.exactly(4 + 6), b"\0\0\0\x06a frame"[..10].to_vec());
        for (client, after, length) in &mut clients {
            client.send(after);
            let reply = client.reply();
            assert_eq!((reply.status, reply.body), (200, length.to_string()));
        }
        let drained = draining.join().expect("drain");
        assert!(drained.is_clean(), "{drained:?}");
    }

    fn those_who_wait_in_the_backlog_are_served(model) {
        let router = Router::new().get("/", || "served");
        let service = start(server(model).drain_timeout(PATIENCE).http(ANY, router));
        let mut clients: Vec<_> = (0..40).map(|_| Client::to(&service)).collect();
        clients.iter_mut().for_each(|client| client.send("GET / HTTP/1.1\r\nHost: t\r\n\r\n"));
        let draining = std::thread::spawn(move || service.drain());
        clients.iter_mut().for_each(|client| assert_eq!(client.reply().body, "served"));
        drop(clients);
        assert!(draining.join().expect("drain").is_clean());
    }

    fn those_who_wait_at_the_connection_limit_are_served(model) {
        let gate = Arc::new(Gate::default());
        let wait = Arc::clone(&gate);
        let router = Router::new().get("/", move || {
            wait.wait();
            "served"
        });
        let service = server(model).shards(1).drain_timeout(PATIENCE);
        let service = start(service.settings(|s| s.connections_max = 2).http(ANY, router));
        let mut clients: Vec<_> = (0..12).map(|_| Client::to(&service)).collect();
        clients.iter_mut().for_each(|client| client.send("GET / HTTP/1.1\r\nHost: t\r\n\r\n"));
        gate.await_arrivals(1);
        let draining = std::thread::spawn(move || service.drain());
        gate.open();
        let answered: Vec<_> = clients
            .into_iter()
            .map(|mut client| std::thread::spawn(move || client.reply().body))
            .collect();
        answered.into_iter().for_each(|reply| assert_eq!(reply.join().expect("a reply"), "served"));
        assert!(draining.join().expect("drain").is_clean());
    }

    fn datagrams_that_have_come_are_answered(model) {
        const COUNT: u8 = 200;
        let gate = Arc::new(Gate::default());
        let wait = Arc::clone(&gate);
        let service = server(model).shards(1).drain_timeout(PATIENCE);
        let service = start(service.datagrams(ANY, move |datagram, _| {
            wait.wait();
            Some(datagram.to_vec())
        }));
        let socket = std::net::UdpSocket::bind(ANY).expect("binds");
        socket.set_read_timeout(Some(PATIENCE)).expect("timeout");
        let address = address(&service);
        for number in 0..COUNT {
            socket.send_to(&[number], address).expect("sends");
        }
        gate.await_arrivals(1);
        let draining = std::thread::spawn(move || service.drain());
        gate.open();
        let mut seen = [false; COUNT as usize];
        for _ in 0..COUNT {
            let mut answer = [0];
            socket.recv(&mut answer).expect("an answer");
            seen[usize::from(answer[0])] = true;
        }
        assert!(seen.iter().all(|seen| *seen));
        assert!(draining.join().expect("drain").is_clean());
    }

    fn a_request_that_crosses_the_close_meets_no_reset(model) {
        let lines = Lines::new(|line, _| Some(line.to_owned()));
        let service = server(model).drain_timeout(PATIENCE).lines(ANY, lines);
        // Time enough for the client to notice the close and to send something all the same.
        let service = start(service.settings(|s| s.drain_idle = Duration::from_secs(1)));
        let mut client = Client::to(&service);
        assert_eq!(client.ask("x"), "x");
        let draining = std::thread::spawn(move || service.drain());
        client.assert_closed();
        client.send("too late\n");
        assert!(draining.join().expect("drain").is_clean());
        assert_eq!(client.stream().take_error().expect("a socket").map(|e| e.kind()), None);
        assert_eq!(client.stream().peek(&mut [0]).expect("no reset"), 0);
    }

    fn a_client_that_never_pauses_does_not_hold_it_up(model) {
        let lines = Lines::new(|line, _| Some(line.to_owned()));
        let limit = Duration::from_secs(4);
        let service = start(server(model).drain_timeout(limit).lines(ANY, lines));
        let mut clients: Vec<_> = (0..4).map(|_| Client::to(&service)).collect();
        clients.iter_mut().for_each(|client| assert_eq!(client.ask("x"), "x"));
        let talking: Vec<_> = clients
            .into_iter()
            .map(|mut client| {
                std::thread::spawn(move || {
                    // Each question is answered, or the service has closed between two of them.
                    while client.try_send("question\n") {
                        match client.line() {
                            Some(line) => assert_eq!(line, "question"),
                            None => break,
                        }
                    }
                })
            })
            .collect();
        let drained = service.drain();
        assert!(drained.is_clean(), "{drained:?}");
        talking.into_iter().for_each(|client| client.join().expect("only whole answers"));
    }

    fn open_push_connections_do_not_hold_it_up(model) {
        let senders = Arc::new(std::sync::Mutex::new(Vec::<Sender>::new()));
        let keep = Arc::clone(&senders);
        let lines = Lines::new(move |_, session| {
            keep.lock().expect("lock").push(session.sender());
            Some("subscribed".into())
        });
        let service = start(server(model).drain_timeout(PATIENCE).lines(ANY, lines));
        let mut client = Client::to(&service);
        assert_eq!(client.ask("x"), "subscribed");
        let began = Instant::now();
        let drained = service.drain();
        assert!(drained.complete && drained.aborted == 0, "{drained:?}");
        assert!(began.elapsed() < PATIENCE / 2);
        client.assert_closed();
        assert!(senders.lock().expect("lock")[0].is_closed());
    }
}

#[test]
fn dropping_a_service_ends_its_threads() {
    let service = start(
        server(threadline::Model::Adaptive).lines(ANY, Lines::new(|line, _| Some(line.into()))),
    );
    let mut client = Client::to(&service);
    assert_eq!(client.ask("x"), "x");
    drop(service);
    client.assert_closed();
}

every_model! {
    fn jobs_of_a_users_pool_are_finished_too(model) {
        let (gate, pool) = (Arc::new(Gate::default()), two_threads());
        let (wait, jobs) = (Arc::clone(&gate), pool.clone());
        // The handler submits when the drain has begun: the pool still takes jobs then.
        let lines = Lines::new(move |line, _| {
            wait.wait();
            let line = line.to_owned();
            jobs.submit(move || assert_eq!(line, "work")).is_ok().then(|| "accepted".to_owned())
        });
        let service = server(model).drain_timeout(PATIENCE).lines(ANY, lines);
        let service = start(service.drains(pool.clone()));
        let mut client = Client::to(&service);
        client.send("work\n");
        gate.await_arrivals(1);
        let draining = std::thread::spawn(move || service.drain());
        gate.open();
        assert_eq!(client.line().as_deref(), Some("accepted"));
        let drained = draining.join().expect("drain");
        assert!(drained.is_clean(), "{drained:?}");
        assert_eq!(pool.stats().completed, 1);
        assert!(pool.submit(|| ()).is_err(), "it takes no more");
    }

    fn what_a_users_pool_does_not_finish_is_counted(model) {
        let (gate, pool) = (Arc::new(Gate::default()), two_threads());
        for _ in 0..3 {
            let wait = Arc::clone(&gate);
            assert!(pool.submit(move || wait.wait()).is_ok());
        }
        gate.await_arrivals(2);
        let lines = Lines::new(|line, _| Some(line.to_owned()));
        let service = server(model).drain_timeout(Duration::from_secs(3)).lines(ANY, lines);
        let drained = start(service.drains(pool)).drain();
        assert_eq!((drained.unfinished, drained.aborted, drained.complete), (3, 0, true));
        assert!(!drained.is_clean());
        gate.open();
    }
}

/// Two threads, so that a third job waits.
fn two_threads() -> ThreadPool {
    ThreadPool::builder().threads_max(2).build().expect("a pool")
}

/// A service without clients.
fn quiet() -> threadline::Server {
    let lines = Lines::new(|line, _| Some(line.to_owned()));
    server(threadline::Model::Adaptive).lines(ANY, lines)
}

#[test]
fn a_schedulers_runs_are_finished_and_no_more_are_started() {
    let (gate, pool) = (Arc::new(Gate::default()), two_threads());
    let scheduler = Scheduler::new(&pool).expect("a scheduler");
    let wait = Arc::clone(&gate);
    let every = Every::fixed_rate(Duration::from_millis(1));
    let job = scheduler.every(every, move || wait.wait()).expect("a job");
    gate.await_arrivals(1);
    let service = start(quiet().drain_timeout(PATIENCE).drains(scheduler.clone()));
    let address = address(&service);
    let draining = std::thread::spawn(move || service.drain());
    crate::common::eventually("nobody listens while a run goes on", || {
        std::net::TcpStream::connect(address).is_err()
    });
    assert!(!draining.is_finished());
    gate.open();
    assert!(draining.join().expect("drain").is_clean());
    assert_eq!((job.history().runs, scheduler.list().len()), (1, 0));
    assert!(pool.submit(|| ()).is_ok(), "the pool was not given to the service");
}

#[test]
fn schedulers_come_first_then_connections_then_pools() {
    struct Turn(&'static str, DrainOrder, Arc<std::sync::Mutex<Vec<&'static str>>>);
    impl Drain for Turn {
        fn order(&self) -> DrainOrder {
            self.1
        }
        fn drain(&self, limit: Duration) -> u64 {
            assert!(limit <= PATIENCE);
            self.2.lock().expect("lock").push(self.0);
            0
        }
    }
    let turns = Arc::new(std::sync::Mutex::new(Vec::new()));
    let turn = |name, order| Turn(name, order, Arc::clone(&turns));
    let service = start(
        quiet()
            .drain_timeout(PATIENCE)
            .drains(turn("pool", DrainOrder::AfterConnections))
            .drains(turn("scheduler", DrainOrder::BeforeConnections))
            .drains(turn("second pool", DrainOrder::AfterConnections)),
    );
    assert!(service.drain().is_clean());
    assert_eq!(*turns.lock().expect("lock"), ["scheduler", "pool", "second pool"]);
}

#[test]
fn a_run_that_does_not_end_leaves_time_for_the_connections() {
    let (gate, pool) = (Arc::new(Gate::default()), two_threads());
    let scheduler = Scheduler::new(&pool).expect("a scheduler");
    let wait = Arc::clone(&gate);
    scheduler.after(Duration::ZERO, move || wait.wait()).expect("a job");
    gate.await_arrivals(1);
    let limit = Duration::from_secs(4);
    let service = start(quiet().drain_timeout(limit).drains(scheduler).drains(pool));
    let mut client = Client::to(&service);
    assert_eq!(client.ask("x"), "x");
    let began = Instant::now();
    let drained = service.drain();
    // Scheduler, connections and pool have one limit together, not 12 s.
    assert!(began.elapsed() < PATIENCE / 2, "took {:?}", began.elapsed());
    client.assert_closed();
    // It counts as a run and as a job of the pool.
    assert_eq!((drained.unfinished, drained.aborted, drained.complete), (2, 0, true));
    gate.open();
}
