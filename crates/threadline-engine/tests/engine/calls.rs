//! Deferred calls: several of a connection at once, their order, deadlines, drains and evictions.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::time::Duration;

use threadline_engine::{Drained, Model, Timeouts};

use crate::common::{Fixture, SECOND, eventually, every_model, messages, settings};
use crate::numbered::{Calls, Numbered};

/// How long a call may take.
const LIMIT: Duration = SECOND.saturating_mul(30);

fn numbered(model: Model, calls_max: usize) -> (Fixture, Calls) {
    let (protocol, calls) = Numbered::new(calls_max);
    (messages(settings(model), protocol), calls)
}

/// The number of calls that a connection may have open.
fn calls_max(model: Model, of_protocol: usize) -> usize {
    if model == Model::ThreadPerConnection { 1 } else { of_protocol.max(1) }
}

every_model! {
    fn replies_come_in_the_order_of_the_answers(model) {
        if model == Model::ThreadPerConnection {
            // It has one call at a time.
            return;
        }
        let (fixture, calls) = numbered(model, 4);
        let peer = fixture.connect();
        peer.send("1\n2\n3\n");
        let [one, two, three] = ["1", "2", "3"].map(|line| calls.next(line));
        peer.send("now between\n");
        peer.expect("between\n");
        two.answer("b".into()).expect("awaited");
        peer.expect("2=b\n");
        peer.send("4\n");
        let four = calls.next("4");
        drop(four);
        peer.expect("4 dropped\n");
        three.answer("c".into()).expect("awaited");
        peer.expect("3=c\n");
        one.answer("a".into()).expect("awaited");
        peer.expect("1=a\n");
        peer.send("now after\n");
        peer.expect("after\n");
        let counts = fixture.counts();
        assert_eq!((counts.calls_deferred, counts.deferred_dropped), (4, 1));
        assert_eq!(counts.timeouts_deferred, 0);
    }

    fn at_most_as_many_calls_are_open_as_the_protocol_says(model) {
        for of_protocol in [0, 1, 2, 3] {
            let (fixture, calls) = numbered(model, of_protocol);
            let count = calls_max(model, of_protocol);
            let peer = fixture.connect();
            // In one piece and in several.
            let lines: Vec<_> = (0..count + 2).map(|number| number.to_string()).collect();
            peer.send(format!("{}\n{}\n", lines[0], lines[1]));
            peer.send_pieces(lines[2..].iter().map(|line| format!("{line}\n")));
            peer.send("now after\n");
            let mut open: Vec<_> = lines[..count].iter().map(|line| calls.next(line)).collect();
            for (number, line) in lines.iter().enumerate() {
                fixture.engine.settle();
                assert!(calls.is_empty(), "no more than {count} calls are open");
                assert_eq!(peer.untaken_len(), 0);
                open.remove(0).answer("x".into()).expect("awaited");
                peer.expect(format!("{line}=x\n"));
                if let Some(next) = lines.get(number + count) {
                    open.push(calls.next(next));
                } else {
                    break;
                }
            }
            fixture.engine.settle();
            peer.expect("after\n");
            assert_eq!(open.len(), count - 1);
        }
    }

    fn answers_that_wait_for_room_are_written_first_in_first_out(model) {
        if model == Model::ThreadPerConnection {
            return;
        }
        // A protocol that writes its answers on a thread that may block has each of them offloaded, and no
        // answer overtakes the one that was.
        for blocking in [false, true] {
            let (protocol, calls) = Numbered::new(4);
            let protocol = if blocking { protocol.blocking_answers() } else { protocol };
            let fixture = messages(settings(model), protocol);
            let peer = fixture.connect();
            peer.send("1\n2\n3\n");
            let [one, two, three] = ["1", "2", "3"].map(|line| calls.next(line));
            fixture.engine.settle();
            peer.room(0);
            peer.send("now x\n");
            fixture.engine.settle();
            for (call, answer) in [(two, "b"), (three, "c"), (one, "a")] {
                call.answer(answer.into()).expect("awaited");
            }
            fixture.engine.settle();
            assert_eq!(peer.untaken_len(), 0);
            peer.room(usize::MAX);
            peer.expect("x\n2=b\n3=c\n1=a\n");
        }
    }

    fn the_end_of_input_waits_for_open_calls(model) {
        let (fixture, calls) = numbered(model, 4);
        let peer = fixture.connect();
        peer.send("1\n2\nnow x\npart");
        peer.close_write();
        let one = calls.next("1");
        if model == Model::ThreadPerConnection {
            fixture.engine.settle();
            assert!(!peer.has_ended());
            one.answer("a".into()).expect("awaited");
            peer.expect("1=a\n");
            calls.next("2").answer("b".into()).expect("awaited");
            peer.expect("2=b\nx\n");
        } else {
            let two = calls.next("2");
            peer.expect("x\n");
            for (call, reply) in [(two, "2=a\n"), (one, "1=a\n")] {
                fixture.engine.settle();
                assert!(!peer.has_ended() && !call.is_closed() && peer.untaken_len() == 0);
                call.answer("a".into()).expect("awaited");
                peer.expect(reply);
            }
        }
        peer.expect("rest: part");
        peer.expect_end();
    }

    fn a_call_has_its_deadline_while_a_message_arrives(model) {
        // The head may take longer than the call, or as long as it likes.
        for head in [None, Some(10 * LIMIT)] {
            let timeouts = Timeouts { head, idle: None, deferred: Some(LIMIT), ..Timeouts::default() };
            let (protocol, calls) = Numbered::new(4);
            let fixture = messages(settings(model), protocol.timeouts(timeouts));
            let peer = fixture.connect();
            peer.send("1\nnow l");
            let call = calls.next("1");
            fixture.pass_nearly(LIMIT);
            assert!(!call.is_closed() && peer.untaken_len() == 0);
            fixture.pass_over(LIMIT);
            peer.expect("1 late\n");
            assert!(call.is_closed());
            assert_eq!(call.answer("too late".into()).map_err(|error| error.0), Err("too late".into()));
            peer.send("ater\n");
            peer.expect("later\n");
            let counts = fixture.counts();
            assert_eq!((counts.calls_deferred, counts.timeouts_deferred), (1, 1));
            assert_eq!((counts.deferred_dropped, counts.timeouts_head), (0, 0));
        }
    }

    fn a_message_that_has_begun_does_not_end_open_calls(model) {
        if model == Model::ThreadPerConnection {
            // The message is not read before the call is answered.
            return;
        }
        let timeouts = Timeouts { head: Some(LIMIT / 3), deferred: None, ..Timeouts::default() };
        let (protocol, calls) = Numbered::new(4);
        let fixture = messages(settings(model), protocol.timeouts(timeouts));
        let peer = fixture.connect();
        peer.send("1\npart");
        let call = calls.next("1");
        fixture.pass(LIMIT);
        assert_eq!(peer.untaken_len(), 0);
        call.answer("a".into()).expect("what has been accepted is not lost");
        peer.expect("1=a\n");
        fixture.pass(LIMIT);
        peer.expect("late head");
    }

    fn each_call_has_its_own_deadline(model) {
        if model == Model::ThreadPerConnection {
            return;
        }
        let timeouts = Timeouts { deferred: Some(LIMIT), ..Timeouts::default() };
        let (protocol, calls) = Numbered::new(4);
        let fixture = messages(settings(model), protocol.timeouts(timeouts));
        let peer = fixture.connect();
        peer.send("1\n");
        let _one = calls.next("1");
        fixture.pass(LIMIT / 2);
        peer.send("2\n3\n");
        let (_two, three) = (calls.next("2"), calls.next("3"));
        fixture.pass(LIMIT * 3 / 4);
        peer.expect("1 late\n");
        assert_eq!(peer.untaken_len(), 0);
        three.answer("c".into()).expect("awaited");
        peer.expect("3=c\n");
        fixture.pass_over(LIMIT * 2);
        peer.expect("2 late\n");
        assert_eq!(fixture.counts().timeouts_deferred, 2);
    }

    fn an_open_call_has_no_idle_deadline(model) {
        let timeouts = Timeouts { idle: Some(LIMIT / 3), deferred: None, ..Timeouts::default() };
        let (protocol, calls) = Numbered::new(4);
        let fixture = messages(settings(model), protocol.timeouts(timeouts));
        let peer = fixture.connect();
        peer.send("1\n");
        let call = calls.next("1");
        fixture.pass(10 * LIMIT);
        assert!(!call.is_closed());
        call.answer("a".into()).expect("awaited");
        peer.expect("1=a\n");
        fixture.pass_over(LIMIT / 3);
        fixture.pass(LIMIT / 3);
        peer.expect_closed();
        assert_eq!(fixture.counts().timeouts_idle, 1);
    }

    fn a_drain_waits_for_an_open_call(model) {
        for of_protocol in [1, 4] {
            let (fixture, calls) = numbered(model, of_protocol);
            let (idle, peer) = (fixture.connect(), fixture.connect());
            peer.send("1\n");
            let call = calls.next("1");
            fixture.engine.settle();
            let (engine, clock) = (&fixture.engine, &fixture.clock);
            let drained = drain(&fixture, 8 * SECOND, || {
                for _ in 0..40 {
                    clock.advance(SECOND / 10);
                    engine.settle();
                    assert!(!peer.has_ended() && !call.is_closed(), "after {:?}", clock.elapsed());
                }
                idle.expect_closed();
                call.answer("a".into()).expect("awaited");
                peer.expect("1=a\n");
            });
            peer.expect_closed();
            assert_eq!((drained.aborted, drained.complete), (0, true));
            assert!(clock.elapsed() < 8 * SECOND);
        }
    }

    fn a_drain_cuts_off_a_call_that_is_not_answered_in_time(model) {
        let (fixture, calls) = numbered(model, 4);
        let peer = fixture.connect();
        peer.send("1\n");
        let call = calls.next("1");
        fixture.engine.settle();
        let (engine, clock) = (&fixture.engine, &fixture.clock);
        let drained = drain(&fixture, 8 * SECOND, || {
            for _ in 0..70 {
                clock.advance(SECOND / 10);
                engine.settle();
                assert!(!peer.is_closed(), "after {:?}", clock.elapsed());
            }
            clock.advance(SECOND * 6 / 10);
            peer.expect_closed();
        });
        assert_eq!(drained.aborted, 1);
        assert!(call.answer("too late".into()).is_err());
    }
}

/// Drains the engine, and runs `meanwhile` once new clients are refused. Then time passes until the drain has ended,
/// also if `meanwhile` has panicked.
fn drain(fixture: &Fixture, limit: Duration, meanwhile: impl FnOnce()) -> Drained {
    std::thread::scope(|scope| {
        let draining = scope.spawn(|| fixture.engine.drain(limit));
        eventually("it drains", || fixture.network.try_connect().is_none());
        let done = catch_unwind(AssertUnwindSafe(meanwhile));
        eventually("the drain ends", || {
            fixture.clock.advance(Duration::from_millis(50));
            fixture.engine.settle_shards();
            draining.is_finished()
        });
        let drained = draining.join().expect("drained");
        done.unwrap_or_else(|panic| resume_unwind(panic));
        drained
    })
}
