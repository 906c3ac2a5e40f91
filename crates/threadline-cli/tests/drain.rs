//! Drains under load: no request in flight is lost, the exit code is right, the deadline is kept.
//!
//! Each round starts the demonstration, loads it with clients that never pause, leaves uploads half-way
//! and a slow request in flight, and asks it to stop. Two rounds by default; `THREADLINE_DRAIN_ROUNDS=50`
//! makes it a soak test. Run with `--nocapture`, each case prints what has happened.
//!
//! What a loss is. A request has been sent when its last byte is written to a connection that the kernel
//! has set up. It is lost unless one of these follows:
//!
//! * a whole response of status 200, with the content that was asked for;
//! * a close without a byte and without a reset, on a connection that has answered before: it was closed
//!   between two messages, and HTTP clients repeat the request (RFC 9112 §9.3.1). Only in a drain;
//! * where other processes have the listening socket too, and only there: a close or a reset without a byte
//!   on a new connection. The kernel has set it up after the last `accept` and before the last copy of the
//!   socket was closed. These are counted as `late`, and there must be few ([`LATE_MAX`]).
//!
//! A refused connection is no loss once the service was asked to stop, and a failure before.

mod common;

use std::io::ErrorKind;
use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use common::{Client, PATIENCE, Program, eventually};
use rustix::process::{Pid, Signal, kill_process};

/// Clients that ask all the time.
const CLIENTS: usize = 8;
/// How many connections of a round may be set up too late, on average: a quarter of the clients. Each client
/// connects once at most between the last `accept` and the last close, but how long that moment is depends
/// on the machine.
const LATE_MAX: usize = CLIENTS / 4;
/// What a drain may take.
const LIMIT: Duration = Duration::from_secs(8);

fn rounds() -> usize {
    let rounds = std::env::var("THREADLINE_DRAIN_ROUNDS").ok();
    rounds.map_or(2, |rounds| rounds.parse().expect("THREADLINE_DRAIN_ROUNDS: a number"))
}

/// What is drained, and how it listens.
#[derive(Debug, Clone, Copy)]
struct Case {
    model: &'static str,
    processes: Option<&'static str>,
    /// By `fd:3`: the test gives up its own copy, but the program cannot know that.
    inherited: bool,
}

const PLAIN: Case = Case { model: "adaptive", processes: None, inherited: false };

#[test]
fn adaptive() {
    drains_without_loss(PLAIN);
}

#[test]
fn event_loop() {
    drains_without_loss(Case { model: "event-loop", ..PLAIN });
}

#[test]
fn pool() {
    drains_without_loss(Case { model: "pool", ..PLAIN });
}

#[test]
fn thread_per_connection() {
    drains_without_loss(Case { model: "thread-per-connection", ..PLAIN });
}

#[test]
fn two_processes() {
    drains_without_loss(Case { processes: Some("2"), ..PLAIN });
}

#[test]
fn inherited_descriptor() {
    drains_without_loss(Case { inherited: true, ..PLAIN });
}

#[test]
fn two_processes_with_an_inherited_descriptor() {
    drains_without_loss(Case { processes: Some("2"), inherited: true, ..PLAIN });
}

/// What has become of the requests of all rounds.
#[derive(Debug, Default)]
struct Tally {
    answered: AtomicUsize,
    uploads: AtomicUsize,
    closed_between: AtomicUsize,
    refused: AtomicUsize,
    late: AtomicUsize,
}

impl Tally {
    fn count(counter: &AtomicUsize) {
        counter.fetch_add(1, Ordering::Relaxed);
    }
}

fn drains_without_loss(case: Case) {
    let tally = Tally::default();
    let mut slowest = Duration::ZERO;
    for round in 0..rounds() {
        slowest = slowest.max(one_round(case, round, &tally));
    }
    println!("{case:?}: {} rounds, slowest drain {slowest:?}, {tally:?}", rounds());
    let late = tally.late.into_inner();
    assert!(late <= rounds() * LATE_MAX, "{late} new connections were reset");
}

fn start(case: Case) -> (Program, SocketAddr) {
    let mut arguments = vec!["demo", "--echo=127.0.0.1:0", "--chat=127.0.0.1:0", "--shards=2"];
    arguments.extend(["--model", case.model]);
    if let Some(processes) = case.processes {
        arguments.extend(["--processes", processes]);
    }
    if case.inherited {
        let listener = TcpListener::bind("127.0.0.1:0").expect("binds");
        let address = listener.local_addr().expect("an address");
        arguments.push("--http=fd:3");
        (Program::inheriting(listener, 3, &arguments), address)
    } else {
        arguments.push("--http=127.0.0.1:0");
        let program = Program::start(&arguments);
        let address = program.address("http");
        (program, address)
    }
}

/// Returns how long the drain took.
fn one_round(case: Case, round: usize, tally: &Tally) -> Duration {
    let (mut program, address) = start(case);
    let stopping = AtomicBool::new(false);
    let uploads = uploads();
    let (uploads_max, half_way) = (uploads.len(), AtomicUsize::new(0));
    // In every other round all processes have the signal at once, as service managers do it.
    let workers = if round % 2 == 1 { workers(&program, case) } else { Vec::new() };
    let whole_group = !workers.is_empty();
    let answered_before = tally.answered.load(Ordering::Relaxed);
    thread::scope(|scope| {
        let may_be_late = case.inherited || whole_group;
        let (stopping, half_way) = (&stopping, &half_way);
        for _ in 0..CLIENTS {
            scope.spawn(move || ask_until_refused(address, stopping, may_be_late, tally));
        }
        for upload in uploads {
            scope.spawn(move || {
                upload.send(address, half_way, stopping);
                Tally::count(&tally.uploads);
            });
        }
        let mut slow = Client::connect(address);
        assert_eq!(slow.get("/hello/x").status, 200, "it has a connection");
        slow.request("/slow/150");
        eventually("uploads are half-way", || half_way.load(Ordering::SeqCst) == uploads_max);
        eventually("it is busy", || {
            tally.answered.load(Ordering::Relaxed) > answered_before + 20 * CLIENTS
        });
        stopping.store(true, Ordering::SeqCst);
        let asked = Instant::now();
        for worker in workers {
            kill_process(worker, Signal::TERM).expect("a worker");
        }
        program.signal(Signal::TERM);
        program.line("stopping");
        assert_eq!(slow.reply().body, "slept 150 ms\n");
        drop(slow);
        assert_eq!(program.ends_within(PATIENCE), 0, "{case:?}, round {round}");
        let took = asked.elapsed();
        assert!(took <= LIMIT, "{case:?}, round {round}: the drain took {took:?}");
        took
    })
}

/// The pids of the workers.
fn workers(program: &Program, case: Case) -> Vec<Pid> {
    let count = case.processes.map_or(0, |count| count.parse().expect("a number"));
    let lines = if count > 0 { program.lines("worker started", count) } else { Vec::new() };
    let pid = |line: &String| {
        let pid = line.rsplit_once("pid=").and_then(|(_, pid)| pid.parse().ok());
        pid.and_then(Pid::from_raw).unwrap_or_else(|| panic!("no pid in {line}"))
    };
    lines.iter().map(pid).collect()
}

/// Asks one request after the other, on one connection for as long as the service keeps it. Ends in any
/// case, or a test that fails would wait for it.
fn ask_until_refused(address: SocketAddr, stopping: &AtomicBool, may_be_late: bool, tally: &Tally) {
    let began = Instant::now();
    while began.elapsed() < 2 * PATIENCE {
        let mut client = match Client::try_connect(address) {
            Ok(client) => client,
            Err(error) => {
                assert!(stopping.load(Ordering::SeqCst), "refused while it served: {error}");
                return Tally::count(&tally.refused);
            }
        };
        let mut number = 0;
        while began.elapsed() < 2 * PATIENCE {
            let path = format!("/hello/{number}");
            let sent = client.try_request(&path);
            match sent.and_then(|()| client.try_reply()) {
                Ok(reply) => {
                    assert_eq!((reply.status, reply.body), (200, format!("hello, {number}\n")));
                    Tally::count(&tally.answered);
                    if reply.head.to_lowercase().contains("\r\nconnection: close\r\n") {
                        break;
                    }
                    number += 1;
                }
                Err(error) => {
                    assert!(stopping.load(Ordering::SeqCst), "closed while it served: {error}");
                    assert!(client.has_received_nothing_of_this_reply(), "cut off: {error}");
                    match error.kind() {
                        ErrorKind::UnexpectedEof if number > 0 => {
                            Tally::count(&tally.closed_between);
                        }
                        ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset
                            if number == 0 && may_be_late =>
                        {
                            Tally::count(&tally.late);
                        }
                        _ => panic!("request {number} of a connection is lost: {error}"),
                    }
                    break;
                }
            }
        }
    }
}

/// An upload that is half-way when the service is asked to stop.
struct Upload {
    before: String,
    after: Vec<String>,
    length: usize,
}

fn uploads() -> [Upload; 4] {
    let head = |framing: &str| format!("POST /count HTTP/1.1\r\nhost: test\r\n{framing}\r\n\r\n");
    let chunk = |length: usize| format!("{length:x}\r\n{}\r\n", "x".repeat(length));
    // Small bodies are whole before their handler is called, large ones are read by it.
    let with_length = |length: usize| Upload {
        before: head(&format!("content-length: {length}")) + &"x".repeat(length / 2),
        after: vec!["x".repeat(length / 4); 2],
        length,
    };
    let in_chunks = |length: usize| Upload {
        before: head("transfer-encoding: chunked") + &chunk(length / 2),
        after: vec![chunk(length / 4), chunk(length / 4), "0\r\n\r\n".into()],
        length,
    };
    [with_length(1_000), with_length(400_000), in_chunks(1_000), in_chunks(400_000)]
}

impl Upload {
    fn send(self, address: SocketAddr, half_way: &AtomicUsize, stopping: &AtomicBool) {
        let mut client = Client::connect(address);
        client.send(&self.before);
        half_way.fetch_add(1, Ordering::SeqCst);
        eventually("the service is asked to stop", || stopping.load(Ordering::SeqCst));
        self.after.iter().for_each(|part| client.send(part));
        let reply = client.reply();
        assert_eq!((reply.status, reply.body), (200, format!("{} bytes\n", self.length)));
    }
}
