//! User code that panics or blocks where it is not called but dropped, asked or formatted: hooks, session
//! values, captures, errors, protocols. It costs its connection at most; the process and the shard go on.

use std::fmt;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind, panic_any};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::common::{ANY, Client, Gate, PATIENCE, eventually, every_model, server, start};
use threadline::http::{Next, Request, Router};
use threadline::protocol::{AfterRefusal, Phase, Protocol, Refusal, Step, Turn};
use threadline::{Connection, Lines, Model, Route, Running, Timeouts};

/// Panics when it is dropped, with a payload that does so too.
struct Bomb(Arc<AtomicUsize>);

struct Payload;

impl Drop for Bomb {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::Relaxed);
        panic_any(Payload);
    }
}

impl Drop for Payload {
    fn drop(&mut self) {
        panic!("dropped, as asked");
    }
}

#[derive(Debug)]
struct Unspeakable(Arc<AtomicUsize>);

impl fmt::Display for Unspeakable {
    fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
        panic!("no words, as asked");
    }
}

impl std::error::Error for Unspeakable {}

impl Drop for Unspeakable {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::Relaxed);
        panic!("dropped, as asked");
    }
}

/// Connections come and go, one after another in the same slot, and others are served.
fn assert_serves(service: &Running, ask: impl Fn(&mut Client)) {
    let mut other = Client::to(service);
    assert_eq!(other.ask("before"), "before");
    for round in 1..=5 {
        let mut client = Client::to(service);
        ask(&mut client);
        drop(client);
        eventually("it is gone", || service.gauges().connections == 1);
        eventually("it is counted", || service.counts().closed == round);
    }
    assert_eq!(other.ask("after"), "after");
    assert_eq!(service.counts().engine_panics, 0);
    drop(other);
    eventually("all are gone", || service.gauges().connections == 0);
}

every_model! {
    fn a_session_value_that_panics_when_it_is_dropped_costs_nothing(model) {
        let dropped = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&dropped);
        let lines = Lines::new(move |line, session| {
            match line {
                "one" => session.insert(Bomb(Arc::clone(&count))),
                // In place of the first: its drop is in the call.
                "two" => (0..2).for_each(|_| session.insert(Bomb(Arc::clone(&count)))),
                _ => {}
            }
            Some(line.to_owned())
        });
        let service = start(server(model).shards(1).lines(ANY, lines));
        assert_serves(&service, |client| {
            assert_eq!(client.ask("one"), "one");
            assert_eq!(client.ask("two"), "two");
        });
        assert!(dropped.load(Ordering::Relaxed) >= 5 * 3);
    }

    fn code_that_is_never_run_may_panic_when_it_is_dropped(model) {
        let dropped = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&dropped);
        let lines = Lines::new(move |line, session| {
            if line == "panic" {
                let bomb = Bomb(Arc::clone(&count));
                session.upgrade_to_stream(move |_| {
                    drop(bomb);
                    Ok(())
                });
                panic!("as asked");
            }
            Some(line.to_owned())
        });
        let service = start(server(model).shards(1).lines(ANY, lines));
        assert_serves(&service, |client| {
            assert_eq!(client.ask("panic"), "error: internal error");
            client.assert_closed();
        });
        assert!(dropped.load(Ordering::Relaxed) >= 5);
    }

    fn code_that_a_connection_is_handed_over_to_may_panic(model) {
        let lines = Lines::new(move |line, session| {
            if line == "over" {
                session.upgrade_to_stream(|_| panic!("as asked"));
            }
            Some(line.to_owned())
        });
        let service = start(server(model).shards(1).lines(ANY, lines));
        assert_serves(&service, |client| {
            assert_eq!(client.ask("over"), "over");
            client.assert_closed();
        });
    }

    fn a_payload_that_panics_when_it_is_dropped_is_contained(model) {
        let lines = Lines::new(move |line, _| {
            if line == "panic" {
                panic_any(Payload);
            }
            Some(line.to_owned())
        });
        let service = start(server(model).shards(1).lines(ANY, lines));
        assert_serves(&service, |client| {
            assert_eq!(client.ask("panic"), "error: internal error");
            client.assert_closed();
        });
    }

    fn hooks_may_panic(model) {
        let connections = AtomicUsize::new(0);
        let lines = Lines::new(|line, _| Some(line.to_owned()))
            .on_open(move |_| {
                let number = connections.fetch_add(1, Ordering::Relaxed);
                assert!(number.is_multiple_of(2), "as asked");
                None
            })
            .on_close(|_| panic!("as asked"));
        let service = start(server(model).shards(1).lines(ANY, lines));
        for round in 0..3 {
            assert_eq!(Client::to(&service).ask("x"), "x", "{round}");
            // A connection that could not be set up is closed.
            Client::to(&service).assert_closed();
        }
        eventually("all are gone", || service.gauges().connections == 0);
        assert_eq!((service.counts().engine_panics, service.counts().closed), (0, 6));
    }

    fn an_error_of_a_stream_handler_may_panic_as_it_likes(model) {
        let dropped = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&dropped);
        let handler = move |_: Connection| Err(io::Error::other(Unspeakable(Arc::clone(&count))));
        let service = start(server(model).stream(ANY, handler));
        for round in 1..=3 {
            let mut client = Client::to(&service);
            client.send("x");
            client.assert_closed();
            eventually("it is gone", || service.gauges().connections == 0);
            assert_eq!(dropped.load(Ordering::Relaxed), round);
        }
        assert_eq!(service.drain().aborted, 0);
    }

    fn a_protocol_may_panic_when_it_turns_a_message_away(model) {
        let timeouts = Timeouts { head: Some(Duration::from_millis(50)), ..Timeouts::default() };
        let service = start(server(model).shards(1).protocol(ANY, Arc::new(Rude(timeouts))));
        assert_serves(&service, |client| {
            client.send("half");
            client.assert_closed();
        });
        // And when it turns a connection away.
        let service = start(
            server(model)
                .shards(1)
                .settings(|settings| settings.connections_per_peer_max = Some(1))
                .protocol(ANY, Arc::new(Rude(Timeouts::default()))),
        );
        let mut first = Client::to(&service);
        assert_eq!(first.ask("x"), "x");
        (0..3).for_each(|_| Client::to(&service).assert_closed());
        assert_eq!(first.ask("y"), "y");
        assert_eq!(service.counts().engine_panics, 0);
    }

    fn a_protocol_that_is_wrong_about_its_message_loses_its_connection(model) {
        let service =
            start(server(model).shards(1).protocol(ANY, Arc::new(Rude(Timeouts::default()))));
        for wrong in ["none\n", "much\n"] {
            let mut client = Client::to(&service);
            client.send(wrong);
            client.assert_closed();
        }
        eventually("all are gone", || service.gauges().connections == 0);
        assert_eq!(Client::to(&service).ask("x"), "x");
        assert_eq!(service.counts().engine_panics, 0);
    }

    fn what_is_there_when_a_service_stops_may_panic(model) {
        let dropped = Arc::new(AtomicUsize::new(0));
        let bomb = || Bomb(Arc::clone(&dropped));
        let (in_lines, in_stream, in_datagrams, in_hook) = (bomb(), bomb(), bomb(), bomb());
        let count = Arc::clone(&dropped);
        let lines = Lines::new(move |line, session| {
            let _ = &in_lines;
            session.insert(Bomb(Arc::clone(&count)));
            Some(line.to_owned())
        })
        .on_close(move |_| {
            let _ = &in_hook;
        });
        let (in_state, in_route, in_other, in_layer) = (bomb(), bomb(), bomb(), bomb());
        let router = Router::new()
            .state(in_state)
            .get("/", move || {
                let _ = &in_route;
            })
            .get("/other", move || {
                let _ = &in_other;
            })
            .layer(move |request: &Request<'_>, next: Next<'_>| {
                let _ = &in_layer;
                next.run(request)
            });
        let service = server(model)
            .lines(ANY, lines)
            .http(ANY, router)
            .stream(ANY, move |_| {
                let _ = &in_stream;
                Ok(())
            })
            .datagrams(ANY, move |_, _| {
                let _ = &in_datagrams;
                None
            });
        let service = start(service);
        let mut clients: Vec<_> = (0..4).map(|_| Client::to(&service)).collect();
        clients.iter_mut().for_each(|client| assert_eq!(client.ask("in"), "in"));
        // In the worst case: while the program's own thread unwinds.
        let unwound = catch_unwind(AssertUnwindSafe(move || {
            let _service = service;
            panic!("as asked");
        }));
        assert!(unwound.is_err());
        eventually("everything is dropped", || dropped.load(Ordering::Relaxed) == 12);
    }
}

/// Echoes lines, and panics or errs in whatever else it is asked.
struct Rude(Timeouts);

impl Protocol for Rude {
    fn name(&self) -> &'static str {
        "rude"
    }

    fn step(&self, input: &[u8], turn: &mut Turn<'_>) -> Step {
        if input == b"none\n" {
            return Step::Next { consumed: 0 };
        }
        if input == b"much\n" {
            return Step::Next { consumed: 6 };
        }
        match input.iter().position(|byte| *byte == b'\n') {
            Some(end) => {
                turn.out().extend_from_slice(&input[..=end]);
                Step::Next { consumed: end + 1 }
            }
            None => Step::Partial { phase: Phase::Head, want: 0 },
        }
    }

    fn refuse(&self, _: Refusal, _: &[u8], out: &mut Vec<u8>) -> AfterRefusal {
        out.extend_from_slice(b"half a word");
        panic!("as asked");
    }

    fn timeouts(&self) -> &Timeouts {
        &self.0
    }
}

/// Blocks in its drop until the gate opens.
struct Slow(Arc<Gate>);

impl Drop for Slow {
    fn drop(&mut self) {
        self.0.wait();
    }
}

/// The event loop has no other thread for it.
#[test]
fn a_session_value_that_blocks_when_it_is_dropped_holds_nobody_up() {
    for model in [Model::Adaptive, Model::Pool, Model::ThreadPerConnection] {
        let gate = Arc::new(Gate::default());
        let slow = Arc::clone(&gate);
        let lines = Lines::new(move |line, session| {
            if line == "slow" {
                session.insert(Slow(Arc::clone(&slow)));
            }
            Some(line.to_owned())
        });
        let service = start(server(model).shards(1).lines(ANY, lines));
        let mut other = Client::to(&service);
        assert_eq!(Client::to(&service).ask("slow"), "slow");
        gate.await_arrivals(1);
        assert_eq!(other.ask("x"), "x", "{model}");
        assert_eq!(Client::to(&service).ask("new"), "new", "{model}");
        gate.open();
    }
}

/// Code of the service's that runs where a name is made may use the engine.
#[test]
fn the_name_of_a_route_may_be_made_by_code_that_makes_routes() {
    struct Nested;

    impl From<Nested> for String {
        fn from(_: Nested) -> String {
            Route::new("inner").name().to_uppercase()
        }
    }

    let (tell, told) = std::sync::mpsc::channel();
    let thread = std::thread::spawn(move || {
        let _ = tell.send(Route::new(Nested).name().to_owned());
    });
    assert_eq!(told.recv_timeout(PATIENCE).as_deref(), Ok("INNER"));
    thread.join().expect("thread");
}
