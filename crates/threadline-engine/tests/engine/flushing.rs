//! Replies of earlier messages: sent before a call that may block, and together with the next one otherwise.

use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use threadline_engine::testing::Peer;
use threadline_engine::{Hint, Lines, Model, Settings};

use crate::common::{Fixture, every_model, messages, settings};

const PATIENCE: Duration = Duration::from_secs(10);

/// Replies in upper case. For the line `stop` the handler says so, and waits for the test.
struct Stopping {
    lines: Lines,
    stopped: Receiver<()>,
    goes_on: Sender<()>,
}

fn stopping(hint: Hint) -> Stopping {
    let (tell, stopped) = mpsc::channel();
    let (goes_on, go_on) = mpsc::channel();
    let go_on = Arc::new(Mutex::new(go_on));
    let lines = Lines::new(move |line, _| {
        if line == "stop" {
            tell.send(()).expect("the test listens");
            go_on.lock().expect("no panic").recv_timeout(PATIENCE).expect("the test goes on");
        }
        Some(line.to_uppercase())
    });
    Stopping { lines: lines.hint(hint), stopped, goes_on }
}

/// A call that waits for the test does not make its route slow.
fn patient(model: Model) -> Settings {
    let mut settings = settings(model);
    settings.proving_limit = PATIENCE * 10;
    settings
}

/// Whether earlier replies wait. A call that has gone to the pool because no spare was ready has none.
fn wait_together(fixture: &Fixture, peer: &Peer) -> bool {
    peer.untaken_len() == 0 || fixture.counts().calls_without_spare > 0
}

every_model! {
    fn a_reply_is_sent_before_a_call_that_may_block(model) {
        for hint in [Hint::Prove, Hint::Blocking] {
            let Stopping { lines, stopped, goes_on } = stopping(hint);
            let fixture = messages(settings(model), lines);
            let peer = fixture.connect();
            peer.send("one\ntwo\nstop\nthree\n");
            stopped.recv_timeout(PATIENCE).expect("called");
            assert_eq!(peer.take_now(100), b"ONE\nTWO\n", "{hint:?}");
            goes_on.send(()).expect("the handler waits");
            peer.expect("STOP\nTHREE\n");
        }
    }

    fn replies_of_proven_calls_are_sent_together(model) {
        let Stopping { lines, stopped, goes_on } = stopping(Hint::Inline);
        let fixture = messages(patient(model), lines);
        let peer = fixture.connect();
        for _ in 0..3 {
            peer.send("one\ntwo\nstop\nthree\n");
            stopped.recv_timeout(PATIENCE).expect("called");
            assert!(wait_together(&fixture, &peer), "they wait for the next");
            goes_on.send(()).expect("the handler waits");
            peer.expect("ONE\nTWO\nSTOP\nTHREE\n");
        }
    }

    fn fast_calls_prove_their_route_under_every_model(model) {
        let Stopping { lines, stopped, goes_on } = stopping(Hint::Prove);
        let mut settings = patient(model);
        settings.proving_streak = 3;
        let fixture = messages(settings, lines);
        let peer = fixture.connect();
        for number in 0..3 {
            peer.send(format!("{number}\n"));
            peer.expect(format!("{number}\n"));
        }
        fixture.engine.settle();
        peer.send("one\nstop\n");
        stopped.recv_timeout(PATIENCE).expect("called");
        assert!(wait_together(&fixture, &peer), "they wait for the next");
        goes_on.send(()).expect("the handler waits");
        peer.expect("ONE\nSTOP\n");
    }

    fn a_peer_that_takes_nothing_does_not_hold_up_its_next_call(model) {
        let Stopping { lines, stopped, goes_on } = stopping(Hint::Prove);
        let fixture = messages(settings(model), lines);
        let peer = fixture.connect();
        peer.room(1);
        peer.send("one\nstop\nthree\nfour\n");
        stopped.recv_timeout(PATIENCE).expect("called");
        assert_eq!(peer.take_now(100), b"O");
        goes_on.send(()).expect("the handler waits");
        // It gets no more replies than it takes.
        fixture.engine.settle();
        peer.room(usize::MAX);
        peer.expect("NE\nSTOP\nTHREE\nFOUR\n");
    }

    fn a_peer_that_is_gone_ends_the_connection_after_the_call(model) {
        let Stopping { lines, stopped, goes_on } = stopping(Hint::Prove);
        let fixture = messages(settings(model), lines);
        let peer = fixture.connect();
        peer.room(0);
        peer.send("one\nstop\nthree\n");
        stopped.recv_timeout(PATIENCE).expect("called");
        peer.reset();
        goes_on.send(()).expect("the handler waits");
        peer.expect_closed();
    }
}
