//! Few descriptors: clients beyond the limit wait in the kernel's queue, and are served when there is
//! room. The program neither spins nor fills its log meanwhile.
//!
//! Two limits are met. With 64 descriptors the program's own bound, 80 % of them, comes first; with so
//! few that the rest does not suffice for what it has open already, accept(2) itself fails.

mod common;

use std::fs;
use std::io::{ErrorKind, Read};
use std::ops::RangeInclusive;
use std::time::{Duration, Instant};

use common::{Client, PATIENCE, Program, eventually};
use rustix::process::{Pid, Signal};

const CLIENTS: usize = 200;
/// Clock ticks of /proc in a second: fixed at 100 for user space, proc_pid_stat(5).
const TICKS_PER_SECOND: u32 = 100;

/// Processor time of a process so far, user and system.
fn cpu_time(pid: Pid) -> Duration {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).expect("procfs");
    let (_, rest) = stat.rsplit_once(") ").expect("a name");
    // utime and stime are the fields 14 and 15; the state, behind the name, is 3.
    let fields = rest.split(' ').skip(11).take(2);
    let ticks: u32 = fields.map(|field| field.parse::<u32>().expect("ticks")).sum();
    Duration::from_secs(1) * ticks / TICKS_PER_SECOND
}

#[test]
fn too_few_descriptors_to_listen_are_an_error_with_a_hint() {
    let mut program = Program::limited(40, &["echo", "127.0.0.1:0", "--shards", "100"]);
    assert_eq!(program.ends_within(PATIENCE), 1);
    let line = program.line("cannot listen on ");
    assert!(line.contains("Too many open files"), "{line}");
    assert!(line.ends_with(": raise the descriptor limit (ulimit -n)"), "{line}");
}

/// Clients that have each sent a byte and have not looked for it yet.
fn crowd(program: &Program) -> Vec<Client> {
    let mut clients: Vec<_> = (0..CLIENTS).map(|_| program.echo()).collect();
    clients.iter_mut().for_each(|client| client.send("x"));
    clients
}

/// How many have an answer waiting.
fn served(clients: &[Client]) -> usize {
    clients.iter().filter(|client| !client.is_silent()).count()
}

/// Reads for so long in vain: the wait is the kernel's.
fn assert_unserved_for(client: &Client, wait: Duration) {
    let mut stream = client.stream();
    stream.set_read_timeout(Some(wait)).expect("timeout");
    let nothing = stream.read(&mut [0]).expect_err("nobody is there to answer");
    assert_eq!(nothing.kind(), ErrorKind::WouldBlock);
    stream.set_read_timeout(Some(PATIENCE)).expect("timeout");
}

/// The whole story, for an echo service that has room for `room` clients. Returns its log.
fn those_beyond_the_limit_wait(descriptors: usize, room: RangeInclusive<usize>) -> String {
    let mut program = Program::limited(descriptors, &["echo", "127.0.0.1:0", "--shards", "1"]);
    program.line("ready");
    let mut clients = crowd(&program);
    eventually("the room is filled", || served(&clients) >= *room.start());

    let (began, cpu_before) = (Instant::now(), cpu_time(program.pid()));
    // The queue is first come, first served.
    assert_unserved_for(clients.last().expect("200 clients"), Duration::from_secs(1));
    let (wall, cpu) = (began.elapsed(), cpu_time(program.pid()) - cpu_before);
    assert!(cpu * 10 < wall * 3, "{cpu:?} of {wall:?} used while nothing could be done");
    let count = served(&clients);
    assert!(room.contains(&count), "{count} are served, not {room:?}");
    let lines = program.log().lines().count();
    assert!(lines < 12, "the log:\n{}", program.log());

    // Those who were served make room, until all the others have had their turn.
    let mut rounds = 0;
    while !clients.is_empty() {
        let (done, waiting): (Vec<_>, Vec<_>) = clients.into_iter().partition(|c| !c.is_silent());
        clients = waiting;
        let began = Instant::now();
        drop(done);
        rounds += 1;
        eventually("the next are served", || clients.is_empty() || served(&clients) > 0);
        // A second, and another for a machine that is busy.
        assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
        assert!(rounds < CLIENTS, "somebody was served at each turn");
    }
    program.echo().assert_echoes(b"as new");
    program.signal(Signal::TERM);
    assert_eq!(program.ends_within(PATIENCE), 0);
    program.log()
}

#[test]
fn clients_beyond_the_connection_limit_wait() {
    // 80 % of 64. The program has nine open itself; the lower bound is for what it may inherit.
    let log = those_beyond_the_limit_wait(64, 46..=51);
    assert!(!log.contains("cannot accept"), "{log}");
}

#[test]
fn clients_beyond_the_descriptor_limit_wait() {
    let log = those_beyond_the_limit_wait(16, 1..=8);
    assert!(log.contains("cannot accept"), "{log}");
}

#[test]
fn the_log_says_once_that_descriptors_have_run_out() {
    let program = Program::limited(16, &["echo", "127.0.0.1:0", "--shards", "1"]);
    program.line("ready");
    let clients = crowd(&program);
    let line = program.line("cannot accept");
    assert!(line.contains("WARN") && line.contains("open files"), "{line}");
    // The queue is first come, first served.
    assert_unserved_for(clients.last().expect("200 clients"), Duration::from_secs(1));
    assert_eq!(program.log().matches("cannot accept").count(), 1, "{}", program.log());
    drop(clients);
    program.line("accepting again");
    program.echo().assert_echoes(b"as new");
}

#[test]
fn the_log_stays_short_while_clients_come_and_go_at_the_descriptor_limit() {
    let program = Program::limited(16, &["echo", "127.0.0.1:0", "--shards", "1"]);
    program.line("ready");
    let mut clients = crowd(&program);
    program.line("cannot accept");
    while !clients.is_empty() {
        eventually("the next is served", || served(&clients) > 0);
        clients.retain(Client::is_silent);
    }
    let lines = program.log().lines().count();
    assert!(lines < 30, "{lines} lines for {CLIENTS} clients");
}

/// Each keep-alive client is answered, although there is no room for all at once: those who
/// have their answer and say nothing more give way.
fn idle_web_clients_make_room(descriptors: usize, clients: usize) {
    let demo = ["demo", "--http=127.0.0.1:0", "--echo=127.0.0.1:0", "--chat=127.0.0.1:0"];
    let program = Program::limited(descriptors, &[&demo[..], &["--shards", "1"]].concat());
    program.line("ready");
    let mut clients: Vec<_> = (0..clients).map(|_| program.http()).collect();
    clients.iter_mut().for_each(|client| client.request("/hello/x"));
    for client in &mut clients {
        assert_eq!(client.reply().body, "hello, x\n");
    }
    assert_eq!(program.http().get("/hello/you").status, 200);
}

#[test]
fn idle_web_clients_make_room_at_the_connection_limit() {
    idle_web_clients_make_room(128, CLIENTS);
}

#[test]
fn idle_web_clients_make_room_at_the_descriptor_limit() {
    idle_web_clients_make_room(20, 20);
}

#[test]
fn too_few_descriptors_to_start_are_an_error_and_no_crash() {
    let mut program = Program::limited(8, &["echo", "127.0.0.1:0", "--shards", "1"]);
    assert_eq!(program.ends_within(PATIENCE), 1);
    program.log_ends();
    let log = program.log();
    assert_eq!(log.lines().count(), 1, "{log}");
    assert!(log.contains("Too many open files"), "{log}");
}
