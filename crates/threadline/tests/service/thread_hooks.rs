//! Hooks of threads: they run once at the start and once at the end of each thread that runs handlers.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::net::UdpSocket;
use std::sync::{Arc, Mutex};
use std::thread::{self, ThreadId};

use crate::common::{ANY, Client, Gate, PATIENCE, every_model, server, start};
use threadline::http::Router;
use threadline::{Address, Connection, Endpoint, Frames, Hint, Lines, Model, Server};

thread_local! {
    static ATTACHED: Cell<bool> = const { Cell::new(false) };
}

/// How often each hook has run, by thread.
#[derive(Default, Clone)]
struct Seen(Arc<Mutex<BTreeMap<String, (u32, u32)>>>);

impl Seen {
    fn hooks(&self, server: Server) -> Server {
        let (starts, stops) = (self.clone(), self.clone());
        server
            .on_thread_start(move || {
                assert!(!ATTACHED.replace(true), "once on each thread");
                starts.0.lock().expect("sound").entry(key()).or_default().0 += 1;
            })
            .on_thread_stop(move || {
                assert!(ATTACHED.replace(false), "after the start hook");
                stops.0.lock().expect("sound").entry(key()).or_default().1 += 1;
            })
    }

    /// Every thread that has started has ended, with one call of each hook. Returns their names.
    fn assert_balanced(&self) -> Vec<String> {
        let seen = self.0.lock().expect("sound");
        assert!(!seen.is_empty());
        assert!(seen.values().all(|calls| *calls == (1, 1)), "{seen:?}");
        seen.keys().cloned().collect()
    }
}

/// The thread's name and number.
fn key() -> String {
    let id: ThreadId = thread::current().id();
    format!("{} {id:?}", thread::current().name().unwrap_or("?"))
}

fn attached() -> String {
    let name = thread::current().name().unwrap_or("?").to_owned();
    assert!(ATTACHED.get(), "a handler runs on {name}, which is not attached");
    name
}

every_model! {
    fn every_thread_that_runs_a_handler_has_run_the_start_hook(model) {
        let seen = Seen::default();
        let stream = |mut connection: Connection| {
            attached();
            std::io::Write::write_all(&mut connection, b"stream\n")
        };
        let lines = Lines::new(|line, _| {
            attached();
            Some(line.to_owned())
        });
        let lines = lines.on_open(|_| {
            attached();
            None
        });
        let lines = lines.on_close(|_| _ = attached());
        let frames = Frames::new(|frame, _| {
            attached();
            Some(frame.to_vec())
        });
        let router = || {
            Router::new().get("/", || {
                attached();
                "fine"
            })
        };
        let datagrams = |datagram: &[u8], _| {
            attached();
            Some(datagram.to_vec())
        };
        let service = server(model)
            .drain_timeout(PATIENCE)
            .http(ANY, router())
            .lines(ANY, lines)
            .frames(ANY, frames)
            .stream(ANY, stream)
            .datagrams(ANY, datagrams)
            .endpoint(Endpoint::http(ANY, router()).isolated());
        let service = start(seen.hooks(service));
        let to = |number: usize| match service.addresses()[number] {
            Address::Ip(address) => address,
            ref other => panic!("not an IP address: {other}"),
        };
        let get = |number, path: &str| {
            let mut client = Client::connect(to(number));
            client.send(format!("GET {path} HTTP/1.1\r\nHost: t\r\n\r\n"));
            client.reply().body
        };
        assert_eq!(get(0, "/"), "fine");
        assert_eq!(get(5, "/"), "fine");
        assert_eq!(Client::connect(to(1)).ask("x"), "x");
        let mut frame = Client::connect(to(2));
        frame.send(b"\0\0\0\x01x");
        assert_eq!(frame.exactly(5), b"\0\0\0\x01x");
        let mut stream = Client::connect(to(3));
        stream.send("x");
        assert_eq!(stream.line().as_deref(), Some("stream"));
        let socket = UdpSocket::bind(ANY).expect("binds");
        socket.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        socket.send_to(b"x", to(4)).expect("sends");
        assert_eq!(socket.recv(&mut [0; 8]).expect("an answer"), 1);
        let drained = service.drain();
        assert!(drained.is_clean(), "{drained:?}");
        let threads = seen.assert_balanced();
        let some = |name: &str| threads.iter().any(|thread| thread.starts_with(name));
        assert!(some("tl-shard-") && some("tl-pool-"), "{threads:?}");
        assert_eq!(some("tl-connection"), model == Model::ThreadPerConnection, "{threads:?}");
        assert!(!some("tl-monitor"), "{threads:?}");
    }

    fn hooks_that_panic_do_not_end_their_thread(model) {
        let service = server(model).drain_timeout(PATIENCE);
        let service = service
            .on_thread_start(|| panic!("the start hook, as asked"))
            .on_thread_stop(|| std::panic::panic_any(Bomb))
            .lines(ANY, Lines::new(|line, _| Some(line.to_owned())));
        let service = start(service);
        assert_eq!(Client::to(&service).ask("x"), "x");
        assert!(service.counts().thread_hook_panics >= 1);
        assert!(service.drain().is_clean());
    }
}

/// Panics when it is dropped, as a value that a panic throws may.
struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        panic!("dropped");
    }
}

/// The spare that takes a shard over runs the next handler.
#[test]
fn a_spare_runs_the_hooks_too() {
    let (seen, gate) = (Seen::default(), Arc::new(Gate::default()));
    let wait = Arc::clone(&gate);
    let lines = Lines::new(move |line, _| {
        let name = attached();
        if line == "block" {
            threadline::pool::blocking(|| wait.wait());
        }
        Some(name)
    });
    let service = server(Model::Adaptive).shards(1).drain_timeout(PATIENCE);
    let service = start(seen.hooks(service.lines(ANY, lines.hint(Hint::Inline))));
    let mut free = Client::to(&service);
    // The first call may come before a spare stands ready, and go to the pool.
    crate::common::eventually("it runs inline", || free.ask("x").starts_with("tl-shard-"));
    let mut blocked = Client::to(&service);
    blocked.send("block\n");
    gate.await_arrivals(1);
    crate::common::eventually("a spare has the shard", || free.ask("x") == "tl-spare");
    gate.open();
    assert!(blocked.line().is_some());
    assert!(service.drain().is_clean());
    assert!(seen.assert_balanced().iter().any(|thread| thread.starts_with("tl-spare")));
}
