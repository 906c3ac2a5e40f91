//! Few descriptors: clients beyond the limit wait in the kernel's queue, and are served when there is
//! room. The program neither spins nor fills its log meanwhile.
//!
//! Two limits are met. With 64 descriptors the program's own bound, 80 % of them, comes first; with so
//! few that the rest does not suffice for what it has open already, accept(2) itself fails.

mod common;

use std::fs;
use std::io::{ErrorKind, Read};
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

/// Waits for the first read of `client` to give up after `wait`: a wait that the kernel ends.
fn assert_unserved_for(client: &Client, wait: Duration) {
    let mut stream = client.stream();
    stream.set_read_timeout(Some(wait)).expect("timeout");
    let nothing = stream.read(&mut [0]).expect_err("nobody is there to answer");
    assert_eq!(nothing.kind(), ErrorKind::WouldBlock);
    stream.set_read_timeout(Some(PATIENCE)).expect("timeout");
}

/// The whole story, for an echo service that has room for `room` clients.
fn those_beyond_the_limit_wait(descriptors: usize, room: std::ops::RangeInclusive<usize>) {
    let mut program = Program::limited(descriptors, &["echo", "127.0.0.1:0"]);
    program.line("ready");
    let mut clients = crowd(&program);
    eventually("the room is filled", || served(&clients) >= *room.start());

    let (began, cpu_before) = (Instant::now(), cpu_time(program.pid()));
    let waits = clients.iter().find(|client| client.is_silent()).expect("one waits");
    assert_unserved_for(waits, Duration::from_secs(1));
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
    let more = program.log().lines().count() - lines;
    eprintln!("ROUNDS {rounds} MORE {more} {}", program.log());
    assert!(more <= 4 * rounds + 4, "{more} more lines in {rounds} rounds:\n{}", program.log());
    program.signal(Signal::TERM);
    assert_eq!(program.ends_within(PATIENCE), 0);
}

#[test]
fn clients_beyond_the_connection_limit_wait() {
    // 80 % of 64, if nothing else has so many open.
    those_beyond_the_limit_wait(64, 40..=51);
}

#[test]
fn clients_beyond_the_descriptor_limit_wait() {
    those_beyond_the_limit_wait(16, 1..=12);
}

#[test]
fn the_log_says_once_that_descriptors_have_run_out() {
    let program = Program::limited(16, &["echo", "127.0.0.1:0", "--shards", "1"]);
    program.line("ready");
    let clients = crowd(&program);
    let line = program.line("cannot accept");
    assert!(line.contains("WARN") && line.contains("open files"), "{line}");
    let waits = clients.iter().find(|client| client.is_silent()).expect("one waits");
    assert_unserved_for(waits, Duration::from_secs(1));
    assert_eq!(program.log().matches("cannot accept").count(), 1, "{}", program.log());
    drop(clients);
    program.line("accepting again");
    program.echo().assert_echoes(b"as new");
}

#[test]
fn idle_web_clients_make_room_for_new_ones() {
    let demo = ["demo", "--http=127.0.0.1:0", "--echo=127.0.0.1:0", "--chat=127.0.0.1:0"];
    let program = Program::limited(64, &demo);
    program.line("ready");
    let mut clients: Vec<_> = (0..CLIENTS).map(|_| program.http()).collect();
    clients.iter_mut().for_each(|client| client.request("/hello/x"));
    // All at once are too many; those who have their answer and say nothing more give way.
    for client in &mut clients {
        assert_eq!(client.reply().body, "hello, x\n");
    }
    assert_eq!(program.http().get("/hello/you").status, 200);
}

#[test]
fn too_few_descriptors_to_start_are_an_error_and_no_crash() {
    let mut program = Program::limited(8, &["echo", "127.0.0.1:0"]);
    assert_eq!(program.ends_within(PATIENCE), 1);
    program.log_ends();
    let log = program.log();
    assert_eq!(log.lines().count(), 1, "{log}");
    assert!(log.contains("Too many open files"), "{log}");
}
