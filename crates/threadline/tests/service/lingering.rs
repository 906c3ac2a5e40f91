//! What a client gets whose connection we close first, although it has sent more than was read.
//!
//! The kernel resets a connection that is closed with unread input, and drops what it has not sent yet: 1 MB is
//! more than is on the way at once.

use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::sync::Mutex;
use std::sync::mpsc::channel;
use std::thread;

use crate::common::{ANY, Client, Gate, eventually, every_model, server, start};
use threadline::http::{Response, Router};
use threadline::{Connection, Lines, Model, StreamOptions};

const REPLY: usize = 1 << 20;
const ROUNDS: usize = 10;

/// Reads one byte, writes a large reply, and returns.
fn hasty(mut connection: Connection) -> io::Result<()> {
    connection.read_exact(&mut [0])?;
    connection.write_all(&vec![b'r'; REPLY])
}

/// Sends far more than is read, and expects the whole reply.
fn expect_reply(client: &mut Client) {
    client.send(vec![b'x'; 100_000]);
    expect_end(client);
}

fn expect_end(client: &mut Client) {
    let mut reply = Vec::new();
    let read = client.stream().read_to_end(&mut reply);
    assert!(read.is_ok() && reply.len() == REPLY, "{read:?} after {} bytes", reply.len());
}

every_model! {
    fn a_stream_handlers_reply_arrives_whole(model) {
        let service = start(server(model).stream(ANY, hasty));
        for _ in 0..ROUNDS {
            expect_reply(&mut Client::to(&service));
        }
        eventually("all are gone", || service.gauges().connections == 0);
        let counts = service.counts();
        assert_eq!((counts.accepted, counts.closed), (ROUNDS as u64, ROUNDS as u64));
    }

    fn so_it_does_after_an_upgrade(model) {
        let lines = Lines::new(|_, session| {
            session.upgrade_to_stream(hasty);
            None
        });
        let upgrade = || Response::upgrade("hasty", hasty);
        let router = Router::new().get("/", upgrade);
        let service = start(server(model).lines(ANY, lines).http(ANY, router));
        let threadline::Address::Ip(web) = service.addresses()[1] else { panic!("an IP address") };
        for _ in 0..ROUNDS {
            let mut client = Client::to(&service);
            client.send("go on\n");
            expect_reply(&mut client);
            let mut client = Client::connect(web);
            client.send("GET / HTTP/1.1\r\nHost: t\r\nConnection: upgrade\r\nUpgrade: hasty\r\n\r\n");
            while client.line().is_some_and(|line| !line.is_empty()) {}
            client.send(vec![b'x'; 100_000]);
            assert_eq!(client.exactly(REPLY), [b'r'; REPLY]);
            assert_eq!(client.stream().read(&mut [0]).expect("no reset"), 0);
        }
    }

    fn so_it_does_where_another_thread_has_the_connection(model) {
        let (give, connections) = channel();
        let give = Mutex::new(give);
        let handler = move |connection: Connection| {
            give.lock().expect("lock").send(connection).map_err(io::Error::other)
        };
        let service = start(server(model).stream(ANY, handler));
        let writer = thread::spawn(move || connections.into_iter().try_for_each(hasty));
        for _ in 0..ROUNDS {
            expect_reply(&mut Client::to(&service));
        }
        drop(service);
        writer.join().expect("writer").expect("clients that read");
    }

    fn so_it_does_in_a_drain(model) {
        let gate = std::sync::Arc::new(Gate::default());
        let of_handler = std::sync::Arc::clone(&gate);
        let handler = move |connection: Connection| {
            of_handler.wait();
            hasty(connection)
        };
        let service = start(server(model).stream(ANY, handler));
        let mut client = Client::to(&service);
        client.send(vec![b'x'; 100_000]);
        gate.await_arrivals(1);
        let draining = thread::spawn(move || service.drain());
        gate.open();
        expect_end(&mut client);
        let drained = draining.join().expect("drain");
        assert!(drained.complete, "{drained:?}");
    }

    fn a_client_that_has_sent_its_end_gets_everything(model) {
        let handler = |mut connection: Connection| {
            connection.read_to_end(&mut Vec::new())?;
            connection.write_all(&vec![b'r'; REPLY])
        };
        let service = start(server(model).stream(ANY, handler));
        for _ in 0..ROUNDS {
            let mut client = Client::to(&service);
            client.send(vec![b'x'; 100_000]);
            client.stream().shutdown(Shutdown::Write).expect("half-closes");
            expect_end(&mut client);
        }
    }

    fn what_a_client_is_told_that_is_turned_away_arrives(model) {
        let web = Router::new().get("/", || "hello");
        let limit = |settings: &mut threadline::Settings| settings.connections_per_peer_max = Some(1);
        let service = start(server(model).settings(limit).http(ANY, web));
        let mut first = Client::to(&service);
        assert_eq!(first.get("/").status, 200);
        for _ in 0..50 {
            let mut client = Client::to(&service);
            // It may have been turned away already.
            client.try_send("GET / HTTP/1.1\r\nHost: t\r\n\r\n".repeat(100));
            let mut told = Vec::new();
            client.stream().read_to_end(&mut told).expect("no reset");
            assert!(told.starts_with(b"HTTP/1.1 503 "), "{}", String::from_utf8_lossy(&told));
        }
        assert_eq!(first.get("/").status, 200);
    }
}

/// The pool has no place for what is to be done next: the reply before it still arrives.
#[test]
fn the_last_reply_arrives_where_the_pool_is_full() {
    for model in [Model::Pool, Model::EventLoop, Model::Adaptive] {
        let gate = std::sync::Arc::new(Gate::default());
        let of_handler = std::sync::Arc::clone(&gate);
        let blocks = move |_: Connection| {
            of_handler.wait();
            Ok(())
        };
        let small = |settings: &mut threadline::Settings| {
            (settings.pool_threads_max, settings.pool_queue_max) = (1, 1);
        };
        let greeting =
            Lines::new(|line, _| Some(line.to_owned())).on_open(|_| Some("hello".into()));
        let service = start(
            server(model)
                .settings(small)
                .stream_with(ANY, StreamOptions::new().start_at_accept(), blocks)
                .lines(ANY, greeting),
        );
        let threadline::Address::Ip(lines) = service.addresses()[1] else {
            panic!("an IP address")
        };
        let _first = Client::to(&service);
        gate.await_arrivals(1);
        let _second = Client::to(&service);
        eventually("the queue is full", || service.gauges().pool_queue == 1);
        for _ in 0..ROUNDS {
            let mut client = Client::connect(lines);
            client.try_send("x\n".repeat(1000));
            let mut told = String::new();
            client.stream().read_to_string(&mut told).expect("no reset");
            assert_eq!(told, "error: overloaded, try again later\n", "{model:?}");
        }
        gate.open();
    }
}

/// How a connection is refused for which there is no thread.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Unserved {
    /// The client has closed its sending side, and no thread comes.
    HalfClosed,
    /// No thread comes in time.
    TooLong,
    /// The queue is full.
    Full,
}

/// Nobody has read what it has sent: that is no reason for a reset.
#[test]
fn a_client_that_is_not_served_for_want_of_a_thread_gets_an_end() {
    for model in [Model::Pool, Model::EventLoop, Model::Adaptive] {
        for why in [Unserved::HalfClosed, Unserved::TooLong, Unserved::Full] {
            not_served(model, why);
        }
    }
}

fn not_served(model: Model, why: Unserved) {
    let gate = std::sync::Arc::new(Gate::default());
    let of_handler = std::sync::Arc::clone(&gate);
    let blocks = move |_: Connection| {
        of_handler.wait();
        Ok(())
    };
    let soon = |if_it_is: Unserved| {
        let long = if why == if_it_is { 50 } else { 3_600_000 };
        Some(std::time::Duration::from_millis(long))
    };
    let small = move |settings: &mut threadline::Settings| {
        settings.pool_threads_max = 1;
        settings.pool_queue_max = if why == Unserved::Full { 1 } else { 100 };
        settings.half_closed_wait_max = soon(Unserved::HalfClosed);
        settings.queue_wait_max = soon(Unserved::TooLong);
    };
    let greeting = Lines::new(|line, _| Some(line.to_owned())).on_open(|_| Some("hello".into()));
    let service = start(server(model).settings(small).stream(ANY, blocks).lines(ANY, greeting));
    let mut first = Client::to(&service);
    first.send("x");
    gate.await_arrivals(1);
    let mut second = Client::to(&service);
    if why == Unserved::Full {
        second.send("x");
        eventually("the queue is full", || service.gauges().pool_queue == 1);
    }
    for (number, address) in service.addresses().iter().enumerate() {
        let threadline::Address::Ip(address) = *address else { panic!("an IP address") };
        for _ in 0..ROUNDS {
            let mut client = Client::connect(address);
            // It may be told already.
            client.try_send(vec![b'x'; 1000]);
            if why == Unserved::HalfClosed {
                client.stream().shutdown(Shutdown::Write).expect("half-closes");
            }
            let mut told = Vec::new();
            let read = client.stream().read_to_end(&mut told);
            assert!(read.is_ok(), "{model:?}, {why:?}: {read:?} after {told:?}");
            // One that waits for its opening hook is told why.
            let is_told = number == 1 && why != Unserved::HalfClosed;
            let expected = if is_told { "error: overloaded, try again later\n" } else { "" };
            assert_eq!(String::from_utf8_lossy(&told), expected, "{model:?}, {why:?}");
        }
    }
    gate.open();
}
