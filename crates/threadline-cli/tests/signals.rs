//! Signals: the first lets clients finish, the second ends the program on the spot; those that come
//! together are one.
//!
//! Whether a request is in flight is read from the status page, so a signal never comes too early by
//! chance; those that come early on purpose have a test of their own.

mod common;

use std::time::Duration;

use common::{Client, PATIENCE, Program, eventually};
use rustix::process::Signal;

/// More than a drain takes that waits for nobody, less than its deadline.
const FEW_SECONDS: Duration = Duration::from_secs(5);

/// Sends a slow request and waits until a thread is busy with it.
fn slow_in_flight(program: &Program, ms: u32) -> Client {
    let (mut slow, mut status) = (program.http(), program.http());
    slow.request(&format!("/slow/{ms}"));
    eventually("the request runs", || status.get("/status").body.contains(" 1 of them busy"));
    slow
}

fn a_signal_lets_a_reply_finish(signal: Signal) {
    let mut program = Program::demo(&[]);
    let mut slow = slow_in_flight(&program, 500);
    program.signal(signal);
    program.line("stopping");
    assert!(slow.is_silent(), "the signal was first");
    let reply = slow.reply();
    assert_eq!((reply.status, reply.body.as_str()), (200, "slept 500 ms\n"));
    assert_eq!(program.ends_within(PATIENCE), 0);
    program.line("INFO stopped");
}

#[test]
fn sigterm_lets_a_reply_finish() {
    a_signal_lets_a_reply_finish(Signal::TERM);
}

#[test]
fn sigint_lets_a_reply_finish() {
    a_signal_lets_a_reply_finish(Signal::INT);
}

#[test]
fn sighup_lets_a_reply_finish() {
    a_signal_lets_a_reply_finish(Signal::HUP);
}

#[test]
fn a_hang_up_that_is_ignored_at_the_start_stays_ignored() {
    for processes in [&[][..], &["--processes", "2"]] {
        let demo = ["demo", "--http=127.0.0.1:0", "--echo=127.0.0.1:0", "--chat=127.0.0.1:0"];
        let mut program = Program::nohup(&[&demo, processes].concat());
        let mut client = program.http();
        assert_eq!(client.get("/hello/you").status, 200);
        program.signal(Signal::HUP);
        // Each request is on a new connection: a service that drains would refuse it.
        for _ in 0..20 {
            assert_eq!(program.http().get("/hello/you").status, 200);
        }
        assert!(!program.log().contains("stopping"));
        program.signal(Signal::TERM);
        assert_eq!(program.ends_within(FEW_SECONDS), 0);
    }
}

#[test]
fn signals_that_come_together_are_one() {
    // As timeout(1) sends them: to the process, and at once to its group. Several times, as it depends on
    // chance which of them one thread has to handle at once.
    for _ in 0..8 {
        let mut program = Program::demo(&[]);
        let mut slow = slow_in_flight(&program, 300);
        for signal in [Signal::TERM, Signal::TERM, Signal::INT, Signal::HUP] {
            program.signal(signal);
        }
        assert_eq!(slow.reply().body, "slept 300 ms\n");
        assert_eq!(program.ends_within(PATIENCE), 0);
        assert!(!program.log().contains("asked twice"));
    }
}

#[test]
fn a_request_that_was_on_its_way_is_answered() {
    let mut program = Program::demo(&[]);
    let mut idle = program.http();
    assert_eq!(idle.get("/hello/you").status, 200);
    let mut fresh = program.http();
    program.signal(Signal::TERM);
    // One on a connection that was idle, one on a connection that may not have been accepted yet.
    idle.request("/slow/100");
    fresh.request("/slow/100");
    assert_eq!(idle.reply().body, "slept 100 ms\n");
    assert_eq!(fresh.reply().body, "slept 100 ms\n");
    assert_eq!(program.ends_within(PATIENCE), 0);
}

#[test]
fn new_clients_are_refused_while_it_drains() {
    let program = Program::demo(&[]);
    let address = program.address("http");
    let mut slow = slow_in_flight(&program, 1000);
    program.signal(Signal::TERM);
    program.line("stopping");
    eventually("the port is closed", || Client::try_connect(address).is_err());
    assert_eq!(slow.reply().body, "slept 1000 ms\n");
}

fn two_signals_end_at_once(signal: Signal, code: i32) {
    let mut program = Program::demo(&[]);
    let mut slow = slow_in_flight(&program, 60_000);
    program.signal(signal);
    program.line("stopping");
    assert_eq!(program.signal_until_it_ends(signal), code);
    program.line("asked twice");
    assert!(slow.try_reply().is_err(), "there was no time for a reply");
}

#[test]
fn two_sigterms_end_at_once() {
    two_signals_end_at_once(Signal::TERM, 128 + 15);
}

#[test]
fn two_sigints_end_at_once() {
    two_signals_end_at_once(Signal::INT, 128 + 2);
}

#[test]
fn two_sighups_end_at_once() {
    two_signals_end_at_once(Signal::HUP, 128 + 1);
}

#[test]
fn idle_connections_do_not_hold_up_the_end() {
    for model in ["adaptive", "event-loop", "pool", "thread-per-connection"] {
        let mut program = Program::demo(&["--model", model]);
        let (mut web, mut chat) = (program.http(), program.chat());
        assert_eq!(web.get("/hello/you").status, 200);
        assert!(chat.line().is_some_and(|line| line.starts_with("* welcome")));
        // The event loop itself would run the echo handler, and nothing beside it: not here.
        let echo = (model != "event-loop").then(|| {
            let mut echo = program.echo();
            echo.assert_echoes(b"hello");
            echo
        });
        program.signal(Signal::TERM);
        assert_eq!(program.ends_within(FEW_SECONDS), 0, "{model}");
        assert_eq!(web.line(), None);
        assert_eq!(chat.line(), None);
        assert_eq!(echo.and_then(|mut echo| echo.line()), None);
    }
}

#[test]
fn a_silent_echo_client_does_not_hold_up_the_end() {
    for model in ["adaptive", "pool", "thread-per-connection"] {
        let mut program = Program::start(&["echo", "127.0.0.1:0", "--model", model]);
        let mut silent = program.echo();
        program.signal(Signal::TERM);
        assert_eq!(program.ends_within(FEW_SECONDS), 0, "{model}");
        assert_eq!(silent.line(), None);
    }
}

#[test]
fn the_drain_ends_at_its_deadline() {
    let mut program = Program::demo(&["--drain", "1"]);
    let mut slow = slow_in_flight(&program, 60_000);
    program.signal(Signal::TERM);
    assert_eq!(program.ends_within(FEW_SECONDS), 3);
    program.line("stopped at the drain deadline aborted=1");
    let error =
        "threadline: stopped at the drain deadline: 1 connection cut off, 1 handler still running";
    program.line(error);
    assert!(slow.try_reply().is_err(), "it was cut off");
}

/// A drain of 0 cuts off what is in flight. Nothing is. A busy machine may not have let a thread go back to
/// its wait, or end, in the time that it has: one of a few tries must be clean.
#[test]
fn a_drain_without_time_is_clean_if_nothing_is_in_flight() {
    for model in ["adaptive", "event-loop", "pool", "thread-per-connection"] {
        for processes in [&[][..], &["--processes", "2"]] {
            let arguments = [&["--drain", "0", "--model", model], processes].concat();
            let drain = |_| {
                let mut program = Program::demo(&arguments);
                let (mut idle, _silent) = (program.http(), program.http());
                // A worker that has just started may not have its state yet: 503.
                eventually("it answers", || idle.get("/hello/you").status == 200);
                program.signal(Signal::TERM);
                program.ends_within(PATIENCE)
            };
            assert!((0..5).map(drain).any(|code| code == 0), "{model} {processes:?}");
        }
    }
}

#[test]
fn a_drain_without_time_cuts_off_what_is_in_flight() {
    let mut program = Program::demo(&["--drain", "0"]);
    let mut slow = slow_in_flight(&program, 60_000);
    program.signal(Signal::TERM);
    assert_eq!(program.ends_within(FEW_SECONDS), 3);
    assert!(slow.try_reply().is_err(), "it was cut off");
}
