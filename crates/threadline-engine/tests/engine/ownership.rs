//! Shards, pool threads, spares and hooks pass a connection on, and no event is lost.

use std::sync::mpsc::{self, Receiver, Sender, SyncSender};
use std::sync::{Arc, Mutex};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use threadline_engine::{Endpoint, Hint, Lines, MessageService, Model, Protocol, StreamOptions};

use crate::common::{Fixture, SECOND, eventually, every_model, messages, settings, start};
use crate::toy::{Toy, message, reply};

/// The handlers that have begun, each with a channel that lets it continue.
pub(crate) struct Gate {
    begun: Receiver<(String, SyncSender<()>)>,
}

impl Gate {
    pub(crate) fn next(&self) -> (String, SyncSender<()>) {
        self.begun.recv_timeout(SECOND * 10).expect("a handler begins")
    }
}

/// Replies in upper case. A handler of a line that begins with `wait` blocks until the test lets it continue.
pub(crate) fn gated(hint: Hint) -> (Lines, Gate) {
    let (tell, begun) = mpsc::channel();
    let tell: Mutex<Sender<(String, SyncSender<()>)>> = Mutex::new(tell);
    let lines = Lines::new(move |line, _| {
        if line.starts_with("wait") {
            let (open, opened) = mpsc::sync_channel(1);
            let told = tell.lock().expect("no panic").send((line.to_owned(), open));
            told.expect("the test listens");
            let _ = opened.recv();
        }
        Some(line.to_uppercase())
    });
    (lines.hint(hint), Gate { begun })
}

pub(crate) fn of_one_shard(model: Model, protocol: impl Protocol) -> Fixture {
    let mut settings = settings(model);
    settings.shards = 1;
    messages(settings, protocol)
}

every_model! {
    fn what_comes_while_a_handler_runs_is_answered_after_it(model) {
        let (lines, gate) = gated(Hint::Blocking);
        let fixture = of_one_shard(model, lines);
        let peer = fixture.connect();
        peer.send("wait 1\n");
        let (_, open) = gate.next();
        peer.send_pieces(["two\nth", "ree\n", "wait 4\nfive\n"]);
        if model != Model::EventLoop {
            // The shard has seen the events while another thread has the connection.
            fixture.engine.settle_shards();
        }
        assert_eq!(peer.untaken_len(), 0);
        open.send(()).expect("it waits");
        peer.expect("WAIT 1\nTWO\nTHREE\n");
        gate.next().1.send(()).expect("it waits");
        peer.expect("WAIT 4\nFIVE\n");
    }

    fn a_peer_that_goes_while_its_handler_runs_is_noticed_after_it(model) {
        for resets in [false, true] {
            let (lines, gate) = gated(Hint::Blocking);
            let fixture = of_one_shard(model, lines);
            let peer = fixture.connect();
            peer.send("wait\n");
            let (_, open) = gate.next();
            if resets { peer.reset() } else { peer.close() }
            open.send(()).expect("it waits");
            peer.expect_closed();
            fixture.engine.settle();
            assert_eq!(fixture.connections(), 0);
        }
    }

    fn a_reply_to_a_handler_that_took_long_may_wait_for_room(model) {
        let (lines, gate) = gated(Hint::Blocking);
        let fixture = of_one_shard(model, lines);
        let peer = fixture.connect();
        peer.room(2);
        peer.send("wait\nnext\n");
        gate.next().1.send(()).expect("it waits");
        peer.expect("WA");
        fixture.engine.settle();
        peer.room(1);
        peer.expect("I");
        peer.room(usize::MAX);
        peer.expect("T\nNEXT\n");
    }

    fn a_peer_that_goes_does_not_wait_for_an_answer(model) {
        let (keep, kept) = mpsc::channel();
        let lines = Lines::new(move |_, session| {
            keep.send(session.defer::<String>()).expect("the test listens");
            None
        });
        let fixture = messages(settings(model), lines);
        let peer = fixture.connect();
        peer.send("later\n");
        let deferred = kept.recv_timeout(SECOND * 10).expect("a call");
        fixture.engine.settle();
        assert!(!deferred.is_closed());
        peer.close();
        peer.expect_closed();
        eventually("nobody waits", || deferred.is_closed());
        assert!(deferred.answer("too late".into()).is_err());
    }

    /// The shard sleeps: a freed slot alone does not wake it.
    fn an_answer_is_written_although_another_connection_has_just_ended(model) {
        let (keep, kept) = mpsc::channel();
        let lines = Lines::new(move |line, session| {
            if line == "stream" {
                session.upgrade_to_stream(|_connection| Ok(()));
                return Some("bye".to_owned());
            }
            keep.send(session.defer::<String>()).expect("the test listens");
            None
        });
        let fixture = of_one_shard(model, lines);
        let waits = fixture.connect();
        waits.send("later\n");
        let deferred = kept.recv_timeout(SECOND * 10).expect("a call");
        let ends = fixture.connect();
        ends.send("stream\n");
        ends.expect("bye\n");
        ends.expect_end();
        ends.close();
        ends.expect_closed();
        eventually("its slot is free", || fixture.connections() == 1);
        deferred.answer("in time".into()).expect("awaited");
        waits.expect("in time\n");
    }

    fn hooks_run_once_and_around_all_messages(model) {
        let (tell, told) = mpsc::channel();
        let tell_end = tell.clone();
        let lines = Lines::new(move |line, _| {
            tell.send(line.to_owned()).expect("the test listens");
            Some(line.to_owned())
        })
        .on_open(|_| Some("welcome".into()))
        .on_close(move |_| tell_end.send("closed".into()).expect("the test listens"));
        let fixture = messages(settings(model), lines);
        for way in 0..3 {
            let peer = fixture.connect();
            // Before the hook has run, as far as the peer knows.
            peer.send("one\n");
            peer.expect("welcome\none\n");
            match way {
                0 => peer.close_write(),
                1 => peer.close(),
                _ => peer.reset(),
            }
            peer.expect_closed();
            fixture.engine.settle();
            assert_eq!(told.try_iter().collect::<Vec<_>>(), ["one", "closed"]);
        }
    }

    fn a_connection_that_becomes_another_protocol_stays_what_it_is(model) {
        let toy = MessageService::new(Arc::new(Toy::new()));
        let lines = Lines::new(move |line, session| {
            if line == "toy" {
                session.upgrade(toy.clone());
            }
            Some(line.to_uppercase())
        });
        let fixture = messages(settings(model), lines);
        // The first message of the new protocol follows the last of the old one, with a cut at any place.
        let sent = format!("one\ntoy\n{}{}", message("abc"), message("close"));
        let replies = format!("ONE\nTOY\n{}{}", reply("abc"), reply("close"));
        for cut in 0..=sent.len() {
            let peer = fixture.connect();
            peer.send_pieces([&sent[..cut], &sent[cut..]]);
            peer.expect(&replies);
            peer.expect_end();
        }
        let peer = fixture.connect();
        peer.send("toy\n");
        peer.expect("TOY\n");
        fixture.pass_nearly(75 * SECOND);
        fixture.pass_over(75 * SECOND);
        peer.expect_closed();
        assert_eq!(fixture.counts().timeouts_idle, 1);
    }

    fn streams_and_messages_live_side_by_side(model) {
        let lines = Lines::new(|line, session| {
            if line == "stream" {
                session.upgrade_to_stream(|mut connection| {
                    let mut writer = connection.try_clone()?;
                    std::io::copy(&mut connection, &mut writer).map(drop)
                });
            }
            Some(line.to_uppercase())
        });
        let fixture = messages(settings(model), lines);
        let (stream, other) = (fixture.connect(), fixture.connect());
        stream.send_pieces(["str", "eam\nbehind", " it"]);
        stream.expect("STREAM\nbehind it");
        stream.interrupt(2);
        stream.reads_at_most(2);
        stream.room(3);
        stream.send("in parts");
        other.send("one\n");
        other.expect("ONE\n");
        stream.expect("in ");
        fixture.engine.settle();
        stream.room(usize::MAX);
        stream.expect("parts");
        stream.close_write();
        stream.expect_end();
        stream.expect_closed();
        fixture.engine.settle();
        assert_eq!(fixture.connections(), 1);
    }
}

#[test]
fn a_stream_whose_peer_goes_before_its_first_byte_takes_no_thread() {
    for model in [Model::Adaptive, Model::EventLoop, Model::Pool] {
        let fixture = start(settings(model), |address| {
            Endpoint::stream(address, StreamOptions::new(), |_connection| Ok(()))
        });
        let [closes, ends, sends] = std::array::from_fn(|_| fixture.connect());
        fixture.engine.settle();
        closes.close();
        ends.close_write();
        closes.expect_closed();
        ends.expect_closed();
        assert_eq!(fixture.counts().calls_pooled, 0);
        sends.send("x");
        sends.close_write();
        sends.expect_closed();
        assert_eq!(fixture.counts().calls_pooled, 1);
    }
}

#[test]
fn a_blocked_inline_handler_gives_its_shard_away() {
    let (lines, gate) = gated(Hint::Inline);
    let fixture = of_one_shard(Model::Adaptive, lines);
    let (blocked, other, third) = (fixture.connect(), fixture.connect(), fixture.connect());
    blocked.send("wait\n");
    let (_, open) = gate.next();
    other.send("one\n");
    other.expect("ONE\n");
    assert_eq!(fixture.counts().handoffs, 1);
    third.send("two\n");
    third.expect("TWO\n");
    blocked.send("behind\n");
    fixture.engine.settle_shards();
    assert_eq!(blocked.untaken_len(), 0);
    open.send(()).expect("it waits");
    blocked.expect("WAIT\nBEHIND\n");
    // The first thread is a spare now, and the second thread runs the shard.
    blocked.send("again\n");
    blocked.expect("AGAIN\n");
}

#[test]
fn as_many_handlers_may_block_as_there_are_spares() {
    let (lines, gate) = gated(Hint::Inline);
    let fixture = of_one_shard(Model::Adaptive, lines);
    let peers: Vec<_> = (0..8).map(|_| fixture.connect()).collect();
    for (number, peer) in peers.iter().enumerate() {
        peer.send(format!("wait {number}\n"));
    }
    let begun: Vec<_> = peers.iter().map(|_| gate.next()).collect();
    let last = fixture.connect();
    last.send("last\n");
    last.expect("LAST\n");
    for (line, open) in begun.into_iter().rev() {
        open.send(()).expect("it waits");
        let number: usize = line["wait ".len()..].parse().expect("a number");
        peers[number].expect(line.to_uppercase() + "\n");
    }
    let counts = fixture.counts();
    assert!(counts.handoffs > 0 && counts.engine_panics == 0, "{counts:?}");
}

#[test]
fn without_a_spare_calls_go_to_the_pool() {
    let (lines, gate) = gated(Hint::Inline);
    let mut settings = settings(Model::Adaptive);
    (settings.shards, settings.spare_threads_max) = (1, 0);
    let fixture = messages(settings, lines);
    let peers: Vec<_> = (0..6).map(|_| fixture.connect()).collect();
    for peer in &peers {
        peer.send("wait\n");
    }
    let begun: Vec<_> = peers.iter().map(|_| gate.next()).collect();
    let last = fixture.connect();
    last.send("last\n");
    last.expect("LAST\n");
    assert!(fixture.counts().calls_without_spare > 0);
    begun.into_iter().for_each(|(_, open)| open.send(()).expect("it waits"));
    peers.iter().for_each(|peer| peer.expect("WAIT\n"));
}

#[test]
fn a_route_proves_itself_on_the_pool_and_runs_inline_then() {
    let mut settings = settings(Model::Adaptive);
    // Every call counts as fast, also on a busy machine.
    settings.proving_limit = SECOND * 1000;
    let fixture = messages(settings, Toy::new());
    let peer = fixture.connect();
    eventually("it runs inline", || {
        peer.send(message("abc"));
        peer.expect(reply("abc"));
        fixture.counts().calls_inline > 0
    });
    assert!(fixture.counts().calls_pooled >= 32, "{:?}", fixture.counts());
}

#[test]
fn what_does_not_fit_the_pools_queue_is_refused() {
    let (lines, gate) = gated(Hint::Blocking);
    let mut settings = settings(Model::Pool);
    (settings.pool_threads_max, settings.pool_queue_max) = (1, 1);
    let fixture = messages(settings, lines);
    let [running, queued, refused] = std::array::from_fn(|_| fixture.connect());
    running.send("wait 1\n");
    let (_, open) = gate.next();
    queued.send("queued\n");
    eventually("it is queued", || fixture.engine.gauges().pool_queue == 1);
    refused.send("refused\n");
    refused.expect("error: overloaded, try again later\n");
    open.send(()).expect("it waits");
    running.expect("WAIT 1\n");
    queued.expect("QUEUED\n");
    refused.send("again\n");
    refused.expect("AGAIN\n");
    assert_eq!(fixture.counts().refused_overload, 1);
}

/// Parked connections are upgraded to another message protocol without additional threads.
#[test]
fn ten_thousand_connections_become_another_protocol() {
    let count = raise_descriptor_limit(10_000);
    let toy = MessageService::new(Arc::new(Toy::new().hint(Hint::Inline)));
    let lines = Lines::new(move |line, session| {
        session.upgrade(toy.clone());
        Some(line.to_owned())
    });
    let mut settings = settings(Model::Adaptive);
    settings.connections_max = count;
    let fixture = messages(settings, lines.hint(Hint::Inline));
    let peers: Vec<_> = (0..count).map(|_| fixture.connect()).collect();
    fixture.engine.settle();
    let threads = |fixture: &Fixture| {
        let gauges = fixture.engine.gauges();
        (gauges.pool_threads, gauges.pool_busy)
    };
    let before = threads(&fixture);
    peers.iter().for_each(|peer| peer.send("go\n"));
    peers.iter().for_each(|peer| peer.expect("go\n"));
    fixture.engine.settle();
    assert_eq!(threads(&fixture), before);
    peers.iter().for_each(|peer| peer.send(message("abc")));
    peers.iter().for_each(|peer| peer.expect(reply("abc")));
    assert_eq!(fixture.connections(), count);
}

/// Raises the descriptor limit to the hard limit. Returns how many simulated connections fit, at most `wanted`.
///
/// # Panics
/// If fewer than 500 fit.
fn raise_descriptor_limit(wanted: usize) -> usize {
    // Each simulated connection has one eventfd. The engines of tests that run at the same time need a few dozen
    // descriptors each.
    const OTHERS: u64 = 400;
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current != maximum {
        setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum })
            .expect("up to the maximum");
    }
    let fit = maximum.map_or(wanted, |limit| wanted.min(limit.saturating_sub(OTHERS) as usize));
    assert!(
        fit >= 500,
        "the hard descriptor limit is {maximum:?}: this test needs 500 connections and {OTHERS} descriptors"
    );
    fit
}
