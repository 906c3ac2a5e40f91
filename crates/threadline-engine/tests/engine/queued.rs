//! Calls that wait for a pool thread: they are not run once their client has gone or has waited too long, and their
//! place in the queue is free at once, although every thread hangs.
//!
//! Each test has one pool thread, which the handler of the line `wait` holds until the test lets it continue.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, SyncSender};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use threadline_engine::testing::Peer;
use threadline_engine::{
    Address, Endpoint, Engine, Hint, Lines, Model, Settings, StreamOptions, ThreadHook,
};

use crate::common::{Fixture, SECOND, eventually, messages, settings, start, start_all};
use crate::numbered::Numbered;
use crate::ownership::{Gate, gated};

/// The models in which calls of messages wait for the pool.
const POOLED: [Model; 2] = [Model::Pool, Model::Adaptive];

const REFUSED: &str = "error: overloaded, try again later\n";

/// One shard and one pool thread.
fn narrow(model: Model) -> Settings {
    let mut settings = settings(model);
    (settings.shards, settings.pool_threads_max) = (1, 1);
    settings
}

/// A service whose only pool thread is held by the handler of the first peer.
fn stuck(settings: Settings) -> (Fixture, Gate, Peer, SyncSender<()>) {
    let (lines, gate) = gated(Hint::Blocking);
    let fixture = messages(settings, lines);
    let first = fixture.connect();
    first.send("wait\n");
    let (_, open) = gate.next();
    (fixture, gate, first, open)
}

/// A peer whose message waits for a thread.
fn queued(fixture: &Fixture, message: &str) -> Peer {
    let before = waiting(&fixture.engine);
    let peer = fixture.connect();
    peer.send(message);
    eventually("it waits", || waiting(&fixture.engine) == before + 1);
    peer
}

fn waiting(engine: &Engine) -> usize {
    engine.gauges().pool_queue
}

/// Lets time pass while handlers run.
fn pass(fixture: &Fixture, time: Duration) {
    const STEPS: u32 = 40;
    fixture.engine.settle_shards();
    for _ in 0..STEPS {
        fixture.clock.advance(time / STEPS);
        fixture.engine.settle_shards();
    }
}

/// Lets 95 % of a limit pass, and asserts that nothing has left the queue.
fn pass_nearly(fixture: &Fixture, limit: Duration) {
    let before = waiting(&fixture.engine);
    pass(fixture, limit * 19 / 20);
    assert_eq!(waiting(&fixture.engine), before, "too early");
}

/// Lets the rest of a limit pass, and the time by which it may be late.
fn pass_over(fixture: &Fixture, limit: Duration) {
    pass(fixture, limit / 20 + limit / 4 + SECOND / 10);
}

#[test]
fn a_call_whose_client_resets_is_dropped_at_once() {
    for model in POOLED {
        let (fixture, _gate, first, open) = stuck(narrow(model));
        let peers: Vec<_> = (0..6).map(|_| queued(&fixture, "wait in vain\n")).collect();
        let last = queued(&fixture, "last\n");
        for peer in &peers[..3] {
            peer.reset();
        }
        // On a simulated connection a close cannot be told from a failure: nothing reaches the peer.
        for peer in &peers[3..] {
            peer.close();
        }
        fixture.engine.settle_shards();
        assert_eq!((waiting(&fixture.engine), fixture.connections()), (1, 2));
        open.send(()).expect("it waits");
        first.expect("WAIT\n");
        last.expect("LAST\n");
        let counts = fixture.counts();
        assert_eq!((counts.abandoned_calls, counts.timeouts_queue), (6, 0));
        assert_eq!(counts.calls_pooled, 2, "the others were not called");
    }
}

#[test]
fn the_place_of_a_call_that_was_dropped_is_free_while_the_thread_hangs() {
    for model in POOLED {
        let mut settings = narrow(model);
        settings.pool_queue_max = 1;
        let (fixture, _gate, _first, open) = stuck(settings);
        for _ in 0..3 {
            let abandoned = queued(&fixture, "wait in vain\n");
            let refused = fixture.connect();
            refused.send("x\n");
            refused.expect(REFUSED);
            abandoned.reset();
            fixture.engine.settle_shards();
        }
        let last = queued(&fixture, "last\n");
        open.send(()).expect("it waits");
        last.expect("LAST\n");
        assert_eq!(fixture.counts().abandoned_calls, 3);
    }
}

#[test]
fn a_half_closed_client_gets_its_reply_for_a_second() {
    for model in POOLED {
        let (fixture, gate, _first, open) = stuck(narrow(model));
        // The end comes with the message, after it, and after more that is not read yet.
        let together = fixture.connect();
        together.send("wait 1\n");
        together.close_write();
        eventually("it waits", || waiting(&fixture.engine) == 1);
        let after = queued(&fixture, "2\n");
        after.close_write();
        let unread = queued(&fixture, "3\n");
        unread.send("4\n");
        fixture.engine.settle_shards();
        unread.close_write();
        pass_nearly(&fixture, SECOND);
        open.send(()).expect("it waits");
        let (line, open) = gate.next();
        assert_eq!(line, "wait 1");
        pass_over(&fixture, SECOND);
        assert_eq!(waiting(&fixture.engine), 0);
        assert_eq!(fixture.counts().abandoned_calls, 2);
        for peer in [&after, &unread] {
            peer.expect_end();
            peer.expect_closed();
        }
        open.send(()).expect("it waits");
        together.expect("WAIT 1\n");
        together.expect_closed();
        assert_eq!(fixture.counts().calls_pooled, 2);
    }
}

/// Most connections have spoken before, and their timers are set for later.
#[test]
fn the_second_of_a_half_closed_client_is_counted_from_its_close() {
    for model in POOLED {
        let (fixture, gate, first, open) = stuck(narrow(model));
        let peer = queued(&fixture, "1\n");
        open.send(()).expect("it waits");
        first.expect("WAIT\n");
        peer.expect("1\n");
        fixture.engine.settle();
        pass(&fixture, 20 * SECOND);
        first.send("wait\n");
        let (_, open) = gate.next();
        peer.send("2\n");
        eventually("it waits", || waiting(&fixture.engine) == 1);
        pass_nearly(&fixture, 5 * SECOND);
        peer.close_write();
        pass_nearly(&fixture, SECOND);
        pass_over(&fixture, SECOND);
        assert_eq!((waiting(&fixture.engine), fixture.counts().abandoned_calls), (0, 1));
        peer.expect_closed();
        open.send(()).expect("it waits");
    }
}

#[test]
fn how_long_a_half_closed_client_is_waited_for_is_a_setting() {
    for (limit, other) in [(Some(4 * SECOND), 4), (None, 10)] {
        let mut settings = narrow(Model::Adaptive);
        settings.half_closed_wait_max = limit;
        let (fixture, _gate, _first, open) = stuck(settings);
        let peer = queued(&fixture, "1\n");
        peer.close_write();
        pass_nearly(&fixture, other * SECOND);
        pass_over(&fixture, other * SECOND);
        assert_eq!(waiting(&fixture.engine), 0);
        let counts = fixture.counts();
        let expected = if limit.is_some() { (1, 0) } else { (0, 1) };
        assert_eq!((counts.abandoned_calls, counts.timeouts_queue), expected);
        open.send(()).expect("it waits");
    }
}

#[test]
fn a_call_that_waits_too_long_is_refused_and_its_connection_goes_on() {
    for model in POOLED {
        let (fixture, _gate, _first, open) = stuck(narrow(model));
        let peer = queued(&fixture, "1\n");
        // It came while the call waited.
        peer.send("2\n");
        pass_nearly(&fixture, 10 * SECOND);
        pass_over(&fixture, 10 * SECOND);
        peer.expect(REFUSED);
        assert_eq!(fixture.counts().timeouts_queue, 1);
        // The next message waits, as long as any.
        assert_eq!(waiting(&fixture.engine), 1);
        pass_nearly(&fixture, 7 * SECOND);
        open.send(()).expect("it waits");
        peer.expect("2\n");
        peer.send("3\n");
        peer.expect("3\n");
        let counts = fixture.counts();
        assert_eq!((counts.timeouts_queue, counts.abandoned_calls, counts.calls_pooled), (1, 0, 3));
    }
}

#[test]
fn how_long_a_call_waits_is_a_setting() {
    for (limit, passed) in [(Some(3 * SECOND), 3 * SECOND), (None, 1000 * SECOND)] {
        let mut settings = narrow(Model::Pool);
        settings.queue_wait_max = limit;
        let (fixture, _gate, _first, open) = stuck(settings);
        let peer = queued(&fixture, "1\n");
        pass_nearly(&fixture, passed);
        pass_over(&fixture, passed);
        if limit.is_some() {
            peer.expect(REFUSED);
        } else {
            assert_eq!(waiting(&fixture.engine), 1);
        }
        open.send(()).expect("it waits");
        if limit.is_none() {
            peer.expect("1\n");
        }
    }
}

/// The hook of a new pool thread holds it before its first job: what is passed unread to it waits.
#[test]
fn a_message_that_was_passed_unread_is_refused_or_dropped_too() {
    for (end, sent) in [("time", "3\n"), ("time", "3"), ("reset", "3\n"), ("close", "3\n")] {
        let (let_start, start_of_thread) = mpsc::channel::<()>();
        let (start_of_thread, holds) =
            (Mutex::new(start_of_thread), Arc::new(AtomicBool::new(false)));
        let of_hook = Arc::clone(&holds);
        let mut settings = narrow(Model::Pool);
        settings.pool_threads_max = 8;
        settings.on_thread_start = ThreadHook::new(move || {
            if of_hook.load(Ordering::SeqCst) {
                let _ = start_of_thread.lock().expect("no panic").recv();
            }
        });
        let (lines, gate) = gated(Hint::Blocking);
        let fixture = messages(settings, lines);
        let regular = fixture.connect();
        for line in ["1\n", "2\n"] {
            regular.send(line);
            regular.expect(line);
            fixture.engine.settle();
        }
        // One thread, or one more if it came for an event without a message.
        let threads = fixture.engine.gauges().pool_threads;
        let stuck: Vec<_> = (0..threads)
            .map(|_| {
                let peer = fixture.connect();
                peer.send("wait\n");
                (peer, gate.next().1)
            })
            .collect();
        let calls = fixture.counts().calls_pooled;
        holds.store(true, Ordering::SeqCst);
        let before = fixture.counts().passed_unread;
        regular.send(sent);
        eventually("it waits", || waiting(&fixture.engine) == 1);
        eventually("it was not read", || fixture.counts().passed_unread == before + 1);
        match end {
            "reset" => regular.reset(),
            "close" => regular.close_write(),
            _ => {
                pass_nearly(&fixture, 10 * SECOND);
                pass_over(&fixture, 10 * SECOND);
            }
        }
        match (end, sent) {
            ("time", "3\n") => regular.expect(REFUSED),
            // It is not a message yet.
            ("time", _) => {
                regular.send("4\n");
                eventually("it waits", || waiting(&fixture.engine) == 1);
            }
            ("reset", _) => fixture.engine.settle_shards(),
            _ => pass(&fixture, 2 * SECOND),
        }
        let counts = fixture.counts();
        let is_refused = u64::from(end == "time");
        assert_eq!((counts.timeouts_queue, counts.abandoned_calls), (is_refused, 1 - is_refused));
        assert_eq!(waiting(&fixture.engine), usize::from(sent == "3"));
        assert_eq!(counts.calls_pooled, calls);
        let_start.send(()).expect("it waits");
        for (peer, open) in stuck {
            open.send(()).expect("it waits");
            peer.expect("WAIT\n");
        }
        if sent == "3" {
            regular.expect("34\n");
        }
    }
}

/// Its end is read by the shard, although its messages keep going to the pool.
#[test]
fn a_client_that_goes_between_its_calls_has_abandoned_none() {
    for model in POOLED {
        let lines = Lines::new(|line, _| Some(line.to_uppercase())).hint(Hint::Blocking);
        let fixture = messages(narrow(model), lines);
        for end in [Peer::close, Peer::close_write, Peer::reset] {
            let peer = fixture.connect();
            for (line, reply) in [("a\n", "A\n"), ("b\n", "B\n"), ("c\n", "C\n")] {
                peer.send(line);
                peer.expect(reply);
                fixture.engine.settle();
            }
            let passed = fixture.counts().passed_unread;
            end(&peer);
            peer.expect_closed();
            assert_eq!(fixture.counts().passed_unread, passed);
        }
        assert_eq!(fixture.counts().abandoned_calls, 0);
    }
}

/// A service with an opening and a closing hook, whose only pool thread hangs.
fn with_hooks(model: Model) -> (Fixture, Peer, SyncSender<()>, Receiver<&'static str>) {
    let (lines, gate) = gated(Hint::Blocking);
    let (tell, told) = mpsc::channel();
    let tell_close = tell.clone();
    let lines = lines
        .on_open(move |_| {
            tell.send("opened").expect("the test listens");
            None
        })
        .on_close(move |_| tell_close.send("closed").expect("the test listens"));
    let fixture = messages(narrow(model), lines);
    let first = fixture.connect();
    first.send("wait\n");
    let (_, open) = gate.next();
    assert_eq!(told.recv_timeout(SECOND * 10), Ok("opened"));
    (fixture, first, open, told)
}

#[test]
fn hooks_of_clients_that_have_gone_or_waited_too_long_do_not_run() {
    for model in POOLED {
        let (fixture, first, open, told) = with_hooks(model);
        let [resets, closes, stays] = std::array::from_fn(|_| fixture.connect());
        eventually("they wait", || waiting(&fixture.engine) == 3);
        resets.reset();
        closes.close_write();
        fixture.engine.settle_shards();
        assert_eq!(waiting(&fixture.engine), 2);
        pass_nearly(&fixture, SECOND);
        pass_over(&fixture, SECOND);
        closes.expect_closed();
        assert_eq!((waiting(&fixture.engine), fixture.counts().abandoned_calls), (1, 2));
        pass(&fixture, 12 * SECOND);
        stays.expect(REFUSED);
        stays.expect_end();
        assert_eq!((waiting(&fixture.engine), fixture.counts().timeouts_queue), (0, 1));
        open.send(()).expect("it waits");
        first.expect("WAIT\n");
        fixture.engine.settle();
        assert!(told.try_recv().is_err(), "no other hook has run");
    }
}

#[test]
fn stream_handlers_of_clients_that_have_gone_or_waited_too_long_do_not_run() {
    for model in [Model::Pool, Model::Adaptive, Model::EventLoop] {
        let (tell, begun) = mpsc::channel();
        let fixture = start(narrow(model), |address| {
            Endpoint::stream(address, StreamOptions::new(), move |mut connection| {
                let (open, opened) = mpsc::sync_channel::<()>(1);
                tell.send(open).expect("the test listens");
                let _ = opened.recv();
                let mut writer = connection.try_clone()?;
                std::io::copy(&mut connection, &mut writer).map(drop)
            })
        });
        let next = || begun.recv_timeout(SECOND * 10).expect("a handler begins");
        let first = fixture.connect();
        first.send("1");
        let open = next();
        let [resets, closes, late] = std::array::from_fn(|_| queued(&fixture, "x"));
        resets.reset();
        closes.close_write();
        fixture.engine.settle_shards();
        assert_eq!(waiting(&fixture.engine), 2);
        pass_nearly(&fixture, SECOND);
        pass_over(&fixture, SECOND);
        closes.expect_closed();
        pass(&fixture, 12 * SECOND);
        // An end, and not a reset, although nobody has read what they have sent.
        late.expect_end();
        late.close_write();
        late.expect_closed();
        assert_eq!([closes.was_reset(), late.was_reset()], [false, false]);
        let counts = fixture.counts();
        assert_eq!((counts.abandoned_calls, counts.timeouts_queue), (2, 1));
        // Within the time it has what a stream has otherwise.
        let half_closes = queued(&fixture, "2");
        half_closes.send("3");
        half_closes.close_write();
        open.send(()).expect("it waits");
        first.expect("1");
        first.close();
        next().send(()).expect("it waits");
        half_closes.expect("23");
        half_closes.expect_closed();
        fixture.engine.settle();
        assert_eq!((fixture.connections(), fixture.counts().calls_pooled), (0, 2));
    }
}

#[test]
fn replies_of_deferred_calls_wait_unless_their_client_has_reset() {
    for model in POOLED {
        let (lines, gate) = gated(Hint::Blocking);
        let (numbered, calls) = Numbered::new(1);
        let numbered = numbered.blocking_answers();
        type Serve = Box<dyn FnOnce(Address) -> Endpoint>;
        let serve: [Serve; 2] = [
            Box::new(move |address| Endpoint::messages(address, Arc::new(numbered))),
            Box::new(move |address| Endpoint::messages(address, Arc::new(lines))),
        ];
        let fixture = start_all(narrow(model), serve);
        let peers = ["1", "2", "3"].map(|line| {
            let peer = fixture.connect();
            peer.send(format!("{line}\n"));
            (peer, calls.next(line))
        });
        let first = fixture.network.connect_to(2);
        first.send("wait\n");
        let (_, open) = gate.next();
        let [resets, closes, stays] = peers.map(|(peer, call)| {
            call.answer("late".into()).expect("awaited");
            peer
        });
        eventually("they wait", || waiting(&fixture.engine) == 3);
        resets.reset();
        closes.close_write();
        fixture.engine.settle_shards();
        assert_eq!(waiting(&fixture.engine), 2, "what it has held is dropped elsewhere");
        pass(&fixture, 100 * SECOND);
        assert_eq!(waiting(&fixture.engine), 2);
        open.send(()).expect("it waits");
        closes.expect("2=late\n");
        stays.expect("3=late\n");
        closes.expect_closed();
        let counts = fixture.counts();
        assert_eq!((counts.abandoned_calls, counts.timeouts_queue), (1, 0));
    }
}

#[test]
fn a_connection_that_becomes_a_stream_waits_unless_its_client_has_reset() {
    for model in POOLED {
        let (tell, begun) = mpsc::channel();
        let (tell_stream, streams) = mpsc::channel();
        let tell = Mutex::new(tell);
        let lines = Lines::new(move |line, session| {
            let (open, opened) = mpsc::sync_channel::<()>(1);
            tell.lock().expect("no panic").send(open).expect("the test listens");
            let _ = opened.recv();
            if line == "stream" {
                let tell = tell_stream.clone();
                session.upgrade_to_stream(move |connection| {
                    tell.send(connection.peer_addr()).expect("the test listens");
                    Ok(())
                });
            }
            Some(line.to_uppercase())
        });
        let fixture = messages(narrow(model), lines.hint(Hint::Blocking));
        let next = || begun.recv_timeout(SECOND * 10).expect("a handler begins");
        let [resets, closes, last] = std::array::from_fn(|_| fixture.connect());
        resets.send("stream\n");
        let open = next();
        closes.send("stream\n");
        eventually("it waits", || waiting(&fixture.engine) == 1);
        last.send("last\n");
        eventually("it waits", || waiting(&fixture.engine) == 2);
        // The call of each is before the upgrade of the one before it.
        open.send(()).expect("it waits");
        resets.expect("STREAM\n");
        next().send(()).expect("it waits");
        closes.expect("STREAM\n");
        let open = next();
        eventually("the upgrades wait", || waiting(&fixture.engine) == 2);
        resets.reset();
        closes.close_write();
        fixture.engine.settle_shards();
        pass(&fixture, 100 * SECOND);
        assert_eq!(fixture.counts().abandoned_calls, 1);
        open.send(()).expect("it waits");
        last.expect("LAST\n");
        closes.expect_closed();
        let streamed = streams.recv_timeout(SECOND * 10).expect("a stream");
        assert_eq!(streamed, Some(closes.address()));
        fixture.engine.settle();
        assert!(streams.try_recv().is_err(), "the other was not called");
    }
}

/// Clients come and go at any moment of their calls' way. Whatever the order, each that stays is answered, and
/// nothing is left of the others.
#[test]
fn clients_that_go_while_threads_come_for_their_calls_cost_the_others_nothing() {
    for model in POOLED {
        let mut settings = settings(model);
        (settings.pool_threads_max, settings.pool_queue_max) = (2, 100_000);
        let lines = Lines::new(|line, _| Some(line.to_uppercase())).hint(Hint::Blocking);
        let fixture = messages(settings, lines);
        let stays = fixture.connect();
        for round in 0..300 {
            let goes: Vec<_> = (0..4).map(|_| fixture.connect()).collect();
            goes.iter().for_each(|peer| peer.send("a\nb\n"));
            stays.send("x\ny\n");
            for (number, peer) in goes.iter().enumerate() {
                match (round + number) % 4 {
                    0 => peer.reset(),
                    1 => peer.close(),
                    2 => peer.send("c\n"),
                    _ => peer.close_write(),
                }
            }
            stays.expect("X\nY\n");
        }
        fixture.engine.settle();
        assert_eq!((fixture.connections(), waiting(&fixture.engine)), (1, 0));
        assert_eq!(fixture.counts().engine_panics, 0);
    }
}
