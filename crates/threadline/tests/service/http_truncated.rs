//! Content that is cut off is never framed as whole, on HTTP/1.1 and on HTTP/1.0.

use std::fs::File;
use std::io::{self, Read, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use crate::common::{ANY, Client, Gate, PATIENCE, address, eventually, every_model, server, start};
use threadline::http::{Body, BodySender, Deferred, Path, Response, Router, Status};
use threadline::pool::ThreadPool;
use threadline::{Model, Running};

/// How a reply has ended for its client.
#[derive(Debug, PartialEq, Eq)]
enum End {
    Whole,
    CutOff,
}

/// Asks for a path, and says what has come as the client's library would.
fn fetch(client: &mut Client, version: &str, path: &str) -> (End, String) {
    client.send(format!("GET {path} HTTP/{version}\r\nHost: t\r\nConnection: close\r\n\r\n"));
    let mut bytes = Vec::new();
    let ended = client.stream().read_to_end(&mut bytes);
    let is_reset = match ended {
        Ok(_) => false,
        Err(error) if error.kind() == io::ErrorKind::ConnectionReset => true,
        Err(error) => panic!("{path}: {error}"),
    };
    let all = String::from_utf8(bytes).expect("text");
    // What is not there is not taken for whole either.
    let Some((head, content)) = all.split_once("\r\n\r\n") else { return (End::CutOff, all) };
    if head.starts_with("HTTP/1.1 500 ") {
        // It broke before anything was sent.
        return (End::CutOff, all);
    }
    let len = head.lines().find_map(|line| line.strip_prefix("content-length: "));
    let is_whole = match len {
        Some(len) => content.len() == len.parse::<usize>().expect("a number"),
        None if head.contains("transfer-encoding: chunked") => content.ends_with("0\r\n\r\n"),
        None => !is_reset,
    };
    (if is_whole { End::Whole } else { End::CutOff }, content.to_owned())
}

fn fetch_from(service: &Running, version: &str, path: &str) -> (End, String) {
    fetch(&mut Client::to(service), version, path)
}

/// What a producer does with its sender, after it has sent `part`.
fn produce(how: &str, sender: BodySender) {
    if how != "never-run" {
        sender.send("part").expect("open");
    }
    match how {
        "finish" => sender.finish().expect("open"),
        "finish-empty-piece" => {
            sender.send("").expect("open");
            sender.finish().expect("open");
        }
        "abort" => sender.abort(),
        "drop" => drop(sender),
        "panic" => panic!("as the test wants"),
        "panic-elsewhere" => {
            let panics = move || {
                let _sender = sender;
                panic!("as the test wants");
            };
            assert!(thread::spawn(panics).join().is_err());
        }
        "panic-caught" => {
            let caught = catch_unwind(AssertUnwindSafe(|| {
                sender.send("more").expect("open");
                panic!("as the test wants");
            }));
            assert!(caught.is_err());
            drop(sender);
        }
        "never-run" => drop(move || sender.send("part")),
        "full-pool" => {
            let pool =
                ThreadPool::builder().threads_max(1).queue_len_max(1).build().expect("a pool");
            let gate = Arc::new(Gate::default());
            let holds = Arc::clone(&gate);
            pool.try_submit(move || holds.wait()).expect("room");
            gate.await_arrivals(1);
            pool.try_submit(|| ()).expect("room");
            assert!(pool.try_submit(move || sender.finish().expect("open")).is_err());
            gate.open();
        }
        "cleared-queue" => {
            let (queue, jobs) = channel();
            queue.send(sender).expect("a queue");
            drop(jobs);
        }
        other => panic!("unknown: {other}"),
    }
}

const CUT_OFF: [&str; 8] = [
    "abort",
    "drop",
    "panic",
    "panic-elsewhere",
    "panic-caught",
    "never-run",
    "full-pool",
    "cleared-queue",
];

/// `/push/{where}/{how}`: a producer that runs in the call, or on another thread.
fn pushing() -> Router {
    let push = |Path((place, how)): Path<(String, String)>| {
        let body = Body::push(move |sender| match &*place {
            "here" => produce(&how, sender),
            _ => drop(thread::spawn(move || produce(&how, sender))),
        });
        Response::new(Status::OK).with_body(body)
    };
    Router::new().get("/push/{place}/{how}", push)
}

/// Gives some bytes, and then does as it says.
struct Failing {
    left: usize,
    how: String,
}

impl Read for Failing {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.left > 0 {
            let count = buffer.len().min(self.left).min(1000);
            buffer[..count].fill(b'x');
            self.left -= count;
            return Ok(count);
        }
        match &*self.how {
            "fails" => Err(io::Error::other("as the test wants")),
            "panics" => panic!("as the test wants"),
            _ => Ok(0),
        }
    }
}

/// A body that breaks after 5 000 bytes, or at once.
fn broken(kind: &str, how: &str, left: usize) -> Body {
    let reader = Failing { left, how: how.to_owned() };
    match kind {
        "reader" => Body::reader(reader),
        "sized" => Body::sized_reader(reader, 10_000),
        "chunks" => Body::chunks((0..).map(move |number| {
            assert!(number < left / 1000, "as the test wants");
            vec![b'x'; 1000]
        })),
        // Changed on its way, by a layer that does not know how long it is to be.
        "changed" => {
            let reader = Body::sized_reader(reader, 10_000).into_reader().expect("a reader");
            Body::reader(reader)
        }
        "file" | "changed-file" => {
            let mut file = tempfile::NamedTempFile::new().expect("a file");
            file.write_all(&vec![b'x'; left]).expect("written");
            let file = File::open(file.path()).expect("opened");
            let body = Body::file_range(file, 0..10_000);
            if kind == "file" { body } else { Body::reader(body.into_reader().expect("a reader")) }
        }
        other => panic!("unknown: {other}"),
    }
}

const BROKEN: [(&str, &str); 10] = [
    ("reader", "fails"),
    ("reader", "panics"),
    ("sized", "fails"),
    ("sized", "panics"),
    ("sized", "ends"),
    ("chunks", "panics"),
    ("changed", "fails"),
    ("changed", "ends"),
    ("file", "ends"),
    ("changed-file", "ends"),
];

fn breaking() -> Router {
    let make = |Path((kind, how, left)): Path<(String, String, usize)>| {
        Response::text("").with_body(broken(&kind, &how, left))
    };
    let later = move |Path(what): Path<(String, String, usize)>| {
        Deferred::new(move |reply| {
            thread::spawn(move || reply.send(make(Path(what))));
        })
    };
    Router::new().get("/now/{kind}/{how}/{left}", make).get("/later/{kind}/{how}/{left}", later)
}

/// A service whose pushed bodies the test has: `/finite` and `/endless`.
fn kept(model: Model, drain: Duration) -> (Running, Receiver<BodySender>) {
    let (give, senders) = channel();
    let give = Arc::new(Mutex::new(give));
    let push = move |give: &Arc<Mutex<Sender<BodySender>>>| {
        let give = Arc::clone(give);
        Body::push(move |sender| {
            give.lock().expect("no panic").send(sender).expect("the test listens");
        })
    };
    let finite = Arc::clone(&give);
    let router = Router::new()
        .get("/finite", move || Response::text("").with_body(push(&finite)))
        .get("/endless", move || Response::text("").with_body(push(&give).endless()));
    (start(server(model).drain_timeout(drain).http(ANY, router)), senders)
}

/// Asks for a pushed body, and has its first part.
fn open(
    service: &Running,
    senders: &Receiver<BodySender>,
    path: &str,
    version: &str,
) -> (BodySender, thread::JoinHandle<(End, String)>) {
    let (address, path, version) = (address(service), path.to_owned(), version.to_owned());
    let client = thread::spawn(move || fetch(&mut Client::connect(address), &version, &path));
    let sender = senders.recv_timeout(PATIENCE).expect("it begins");
    sender.send("part").expect("open");
    (sender, client)
}

const VERSIONS: [&str; 2] = ["1.1", "1.0"];

fn framed(content: &str, version: &str) -> String {
    if version == "1.0" {
        content.to_owned()
    } else {
        format!("{:x}\r\n{content}\r\n", content.len())
    }
}

every_model! {
    fn pushed_content_that_is_not_finished_is_cut_off(model) {
        let service = start(server(model).http(ANY, pushing()));
        for version in VERSIONS {
            for place in ["here", "elsewhere"] {
                for how in CUT_OFF {
                    let path = format!("/push/{place}/{how}");
                    let (end, content) = fetch_from(&service, version, &path);
                    assert_eq!(end, End::CutOff, "{path} over {version}: {content:?}");
                }
                for how in ["finish", "finish-empty-piece"] {
                    let path = format!("/push/{place}/{how}");
                    let (end, content) = fetch_from(&service, version, &path);
                    assert_eq!(end, End::Whole, "{path} over {version}: {content:?}");
                    let expected = framed("part", version);
                    assert_eq!(content.strip_suffix("0\r\n\r\n").unwrap_or(&content), expected);
                }
            }
        }
    }

    fn rfc9112_8_what_has_been_pushed_before_an_abort_arrives(model) {
        let (service, senders) = kept(model, PATIENCE);
        let (sender, client) = open(&service, &senders, "/finite", "1.1");
        let large = "y".repeat(100_000);
        sender.send(&large).expect("open");
        sender.abort();
        let expected = framed("part", "1.1") + &framed(&large, "1.1");
        assert_eq!(client.join().expect("a client"), (End::CutOff, expected));
    }

    fn a_body_that_breaks_is_cut_off(model) {
        let service = start(server(model).http(ANY, breaking()));
        for version in VERSIONS {
            for when in ["now", "later"] {
                for (kind, how) in BROKEN {
                    for left in [0, 5_000] {
                        let path = format!("/{when}/{kind}/{how}/{left}");
                        let (end, content) = fetch_from(&service, version, &path);
                        assert_eq!(end, End::CutOff, "{path} over {version}: {content:?}");
                    }
                }
                let path = format!("/{when}/reader/ends/5000");
                assert_eq!(fetch_from(&service, version, &path).0, End::Whole, "{path} over {version}");
            }
        }
    }

    fn an_endless_body_ends_with_its_sender_but_not_with_a_panic(model) {
        let (service, senders) = kept(model, PATIENCE);
        for version in VERSIONS {
            let (sender, client) = open(&service, &senders, "/endless", version);
            drop(sender);
            assert_eq!(client.join().expect("a client").0, End::Whole, "{version}");
            for panics in [false, true] {
                let (sender, client) = open(&service, &senders, "/endless", version);
                if panics {
                    let panics = move || {
                        let _sender = sender;
                        panic!("as the test wants");
                    };
                    assert!(thread::spawn(panics).join().is_err());
                } else {
                    sender.abort();
                }
                assert_eq!(client.join().expect("a client").0, End::CutOff, "{version}");
            }
        }
    }

    fn a_drain_waits_for_a_body_to_be_finished(model) {
        let (service, senders) = kept(model, PATIENCE);
        let opened: Vec<_> = VERSIONS.map(|version| open(&service, &senders, "/finite", version)).into();
        assert!(opened.iter().all(|(sender, _)| !sender.is_draining()));
        let drain = thread::spawn(move || service.drain());
        let mut clients = Vec::new();
        for (sender, client) in opened {
            eventually("it learns of the drain", || sender.is_draining());
            sender.send("last").expect("open still");
            sender.finish().expect("open still");
            clients.push(client);
        }
        for (client, version) in clients.into_iter().zip(VERSIONS) {
            let (end, content) = client.join().expect("a client");
            assert_eq!(end, End::Whole, "{version}: {content:?}");
            assert!(content.starts_with(&(framed("part", version) + &framed("last", version))));
        }
        let drained = drain.join().expect("drains");
        assert!(drained.is_clean(), "{drained:?}");
    }

    fn a_drain_ends_endless_bodies_whole_and_at_once(model) {
        let (service, senders) = kept(model, PATIENCE);
        let opened = VERSIONS.map(|version| open(&service, &senders, "/endless", version));
        let drain = thread::spawn(move || service.drain());
        for ((sender, client), version) in opened.into_iter().zip(VERSIONS) {
            let (end, content) = client.join().expect("a client");
            assert_eq!(end, End::Whole, "{version}: {content:?}");
            eventually("it is closed", || sender.is_closed());
            assert!(sender.send("more").is_err());
        }
        let drained = drain.join().expect("drains");
        assert!(drained.is_clean(), "{drained:?}");
    }

    fn at_the_deadline_of_a_drain_what_is_not_finished_is_cut_off(model) {
        let (service, senders) = kept(model, Duration::from_millis(300));
        let opened = VERSIONS.map(|version| open(&service, &senders, "/finite", version));
        let drained = service.drain();
        assert_eq!(drained.aborted, 2, "{drained:?}");
        for ((sender, client), version) in opened.into_iter().zip(VERSIONS) {
            let (end, content) = client.join().expect("a client");
            assert_eq!(end, End::CutOff, "{version}: {content:?}");
            drop(sender);
        }
    }
}
