//! slowhttptest in its four modes, and beside it a client that means well and is not hurt.

use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};

use super::{finish, installed, said, service_with, short_deadlines};

/// Runs an attack of 200 connections, asks all along, and says how often that was answered.
fn beside(mode: &[&str]) {
    let Some(slowhttptest) = installed("slowhttptest") else { return };
    let service = service_with(short_deadlines());
    let path = if mode.contains(&"-X") { "/files/big" } else { "/count" };
    let url = service.server.url(path);
    let child = Command::new(slowhttptest)
        .args(mode)
        .args(["-c", "200", "-r", "200", "-l", "4", "-p", "2", "-u", &url])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it starts");
    let over = AtomicBool::new(false);
    let answered = std::thread::scope(|scope| {
        let client = scope.spawn(|| {
            let mut answered = 0;
            while !over.load(Ordering::Relaxed) {
                assert_eq!(service.server.get("/hello").send().text(), "hello\n");
                answered += 1;
            }
            answered
        });
        let attack = finish(child);
        over.store(true, Ordering::Relaxed);
        let report = said(&attack);
        assert!(
            report.contains("service available:") || report.contains("Exit status"),
            "{report}"
        );
        client.join().expect("every request is answered")
    });
    assert!(answered > 0);
    let counts = service.server.running().counts();
    assert!(counts.accepted >= 200, "the attack came: {counts:?}");
    // Nobody is stuck: the service ends when it is told to.
    assert_eq!(service.server.get("/hello").send().text(), "hello\n");
}

#[test]
fn slow_heads() {
    beside(&["-H", "-i", "1"]);
}

#[test]
fn slow_bodies() {
    beside(&["-B", "-i", "1", "-s", "8192"]);
}

#[test]
fn many_ranges() {
    beside(&["-R", "-a", "10", "-b", "3000"]);
}

#[test]
fn slow_reading() {
    beside(&["-X", "-w", "10", "-y", "20", "-n", "1", "-z", "32", "-k", "3"]);
}
