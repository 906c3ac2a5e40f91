//! Panics, resets and floods: one client's trouble is nobody else's.

use std::net::{Shutdown, TcpStream};
use std::sync::Arc;

use crate::common::{
    ANY, Client, Gate, address, descriptors, eventually, every_model, server, start,
};
use threadline::http::Router;
use threadline::protocol::{AfterRefusal, Protocol, Refusal, Step, Turn};
use threadline::{Lines, Model, Timeouts};

/// Closes so that the peer gets a reset.
fn reset(client: &Client) {
    socket2::SockRef::from(client.stream())
        .set_linger(Some(std::time::Duration::ZERO))
        .expect("linger");
}

/// Panics when it is dropped, and throws another one of its kind.
struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        std::panic::panic_any(Bomb);
    }
}

/// A protocol that panics outside of any handler.
struct Brittle(Timeouts);

impl Protocol for Brittle {
    fn name(&self) -> &'static str {
        "brittle"
    }

    fn step(&self, input: &[u8], turn: &mut Turn<'_>) -> Step {
        assert_ne!(input[0], b'!', "as asked");
        turn.out().extend_from_slice(input);
        Step::Next { consumed: input.len() }
    }

    fn refuse(&self, _: Refusal, _: &[u8], _: &mut Vec<u8>) -> AfterRefusal {
        AfterRefusal::Close
    }

    fn timeouts(&self) -> &Timeouts {
        &self.0
    }
}

every_model! {
    fn a_protocol_that_panics_loses_that_connection_and_no_other(model) {
        let brittle = Brittle(Timeouts::default());
        let service = start(server(model).shards(1).protocol(ANY, Arc::new(brittle)));
        let mut other = Client::to(&service);
        assert_eq!(other.ask("before"), "before");
        for _ in 0..5 {
            let mut client = Client::to(&service);
            client.send("!");
            client.assert_closed();
        }
        assert_eq!(other.ask("after"), "after");
        assert_eq!(service.counts().engine_panics, 0);
    }

    fn a_panic_ends_its_connection_and_nothing_else(model) {
        let lines = Lines::new(|line, _| {
            assert_ne!(line, "panic", "as asked");
            Some(line.to_owned())
        });
        let service = start(server(model).lines(ANY, lines));
        let mut other = Client::to(&service);
        assert_eq!(other.ask("before"), "before");
        for _ in 0..20 {
            let mut client = Client::to(&service);
            client.send("fine\npanic\nnever read\n");
            assert_eq!(client.line().as_deref(), Some("fine"));
            assert_eq!(client.line().as_deref(), Some("error: internal error"));
            client.assert_closed();
        }
        assert_eq!(other.ask("after"), "after");
    }

    fn what_a_handler_throws_may_panic_when_it_is_dropped(model) {
        let lines = Lines::new(|line, _| {
            if line == "panic" {
                std::panic::panic_any(Bomb);
            }
            Some(line.to_owned())
        });
        let router = Router::new().get("/", || -> String { std::panic::panic_any(Bomb) });
        let service = start(server(model).lines(ANY, lines));
        let http = start(server(model).http(ANY, router));
        for _ in 0..5 {
            let mut client = Client::to(&service);
            assert_eq!((client.ask("fine"), client.ask("panic")), ("fine".into(), "error: internal error".into()));
            client.assert_closed();
            let mut client = Client::to(&http);
            client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
            assert_eq!(client.line().as_deref(), Some("HTTP/1.1 500 Internal Server Error"));
        }
        assert_eq!((service.counts().engine_panics, http.counts().engine_panics), (0, 0));
        assert_eq!(Client::to(&service).ask("after"), "after");
    }

    fn a_reset_in_the_middle_of_a_call_is_survived(model) {
        let gate = Arc::new(Gate::default());
        let wait = Arc::clone(&gate);
        let lines = Lines::new(move |line, _| {
            if line == "wait" {
                wait.wait();
            }
            Some(line.to_owned())
        });
        let service = start(server(model).shards(1).lines(ANY, lines));
        let mut client = Client::to(&service);
        client.send("wait\n");
        gate.await_arrivals(1);
        reset(&client);
        drop(client);
        gate.open();
        eventually("it is gone", || service.gauges().connections == 0);
        assert_eq!(Client::to(&service).ask("x"), "x");
    }

    fn resets_at_any_time_leak_nothing(model) {
        let service = start(server(model).lines(ANY, Lines::new(|line, _| Some(line.repeat(1000)))));
        for round in 0..200 {
            let mut client = Client::to(&service);
            match round % 4 {
                0 => {}
                1 => client.send("half a li"),
                2 => client.send("whole line\n"),
                _ => client.send("many lines\n".repeat(1000)),
            }
            reset(&client);
        }
        eventually("all are gone", || service.gauges().connections == 0);
        assert_eq!(Client::to(&service).ask("x").len(), 1000);
    }
}

#[test]
fn twenty_thousand_connections_leave_no_descriptor_and_no_thread() {
    let service =
        start(server(Model::Adaptive).lines(ANY, Lines::new(|line, _| Some(line.to_owned()))));
    let address = address(&service);
    let connect = move |count: usize| {
        for number in 0..count {
            let stream = TcpStream::connect(address).expect("connects");
            // Some say something, some half-close, all go without waiting.
            match number % 3 {
                0 => drop(std::io::Write::write_all(&mut &stream, b"hello\n")),
                1 => drop(stream.shutdown(Shutdown::Write)),
                _ => {}
            }
            // A reset at close: 20 000 ports in TIME_WAIT would be too many.
            let socket = socket2::SockRef::from(&stream);
            socket.set_linger(Some(std::time::Duration::ZERO)).expect("linger");
        }
    };
    connect(100);
    eventually("all are gone", || service.gauges().connections == 0);
    let before = descriptors();
    let clients: Vec<_> = (0..4).map(|_| std::thread::spawn(move || connect(5_000))).collect();
    clients.into_iter().for_each(|client| client.join().expect("client"));
    // The last of them may wait in the kernel still when their clients have gone.
    eventually("all have come and gone", || {
        let counts = service.counts();
        counts.accepted > 20_000 && counts.accepted == counts.closed
    });
    eventually("none is left", || service.gauges().connections == 0);
    // Other tests of this process open descriptors of their own: far fewer than a leak would.
    assert!(descriptors() < before + 2_000, "{before} before, {} after", descriptors());
    let gauges = service.gauges();
    // Two run the shards, two are promised to them; a few more if a handler was slow on a busy machine.
    assert!(gauges.loop_threads <= 12, "{gauges:?}");
}
