//! Every deadline comes when it is due and not before, in simulated time.

use std::io::{Read, Write};
use std::sync::mpsc;
use std::time::Duration;

use threadline_engine::{Endpoint, Lines, Model, StreamOptions, Timeouts};

use crate::common::{Fixture, SECOND, eventually, every_model, messages, settings, start};
use crate::toy::{Toy, message, reply};

fn toy(model: Model, timeouts: Timeouts) -> Fixture {
    messages(settings(model), Toy::new().timeouts(timeouts))
}

/// Timeouts of which only those set by `set` are enabled.
fn only(set: impl FnOnce(&mut Timeouts)) -> Timeouts {
    let mut timeouts = Timeouts {
        head: None,
        body: None,
        body_rate: 0,
        idle: None,
        write: None,
        reply_rate: 0,
        deferred: None,
    };
    set(&mut timeouts);
    timeouts
}

every_model! {
    fn an_idle_connection_is_closed(model) {
        let idle = 75 * SECOND;
        let fixture = toy(model, only(|timeouts| timeouts.idle = Some(idle)));
        let (silent, used) = (fixture.connect(), fixture.connect());
        fixture.pass_nearly(idle);
        assert!(!silent.is_closed());
        used.send(message("in time"));
        used.expect(reply("in time"));
        fixture.pass_over(idle);
        silent.expect_closed();
        assert!(!used.is_closed(), "its time begins with its last message");
        fixture.pass(idle);
        used.expect_closed();
        assert_eq!(fixture.counts().timeouts_idle, 2);
    }

    fn without_deadlines_nobody_is_closed(model) {
        let fixture = toy(model, only(|_| ()));
        let (silent, head, body) = (fixture.connect(), fixture.connect(), fixture.connect());
        let unread = fixture.connect();
        head.send("1");
        body.send("10:abc");
        unread.room(0);
        unread.send(message("unread"));
        fixture.pass(10_000 * SECOND);
        assert!([&silent, &head, &body, &unread].iter().all(|peer| !peer.is_closed()));
        head.send("0:0123456789");
        head.expect("10:0123456789");
        body.send("defghij");
        body.expect("10:ABCDEFGHIJ");
        unread.room(usize::MAX);
        unread.expect(reply("unread"));
    }

    fn a_message_that_does_not_begin_properly_is_refused(model) {
        let limit = 10 * SECOND;
        let fixture = toy(model, only(|timeouts| timeouts.head = Some(limit)));
        let (silent, begun) = (fixture.connect(), fixture.connect());
        begun.send("1");
        fixture.pass_nearly(limit);
        // Further bytes do not extend the deadline.
        begun.send("2");
        fixture.engine.settle();
        assert_eq!(begun.untaken_len(), 0);
        fixture.pass_over(limit);
        begun.expect("late head");
        begun.expect_end();
        assert!(!silent.has_ended(), "the deadline is that of a message");
        assert_eq!(fixture.counts().timeouts_head, 1);
    }

    fn a_message_that_does_not_come_to_its_end_is_refused(model) {
        let limit = 30 * SECOND;
        let fixture = toy(model, only(|timeouts| timeouts.body = Some(limit)));
        let peer = fixture.connect();
        peer.send("100:abc");
        fixture.pass_nearly(limit);
        peer.send("def");
        fixture.engine.settle();
        assert_eq!(peer.untaken_len(), 0);
        fixture.pass_over(limit);
        peer.expect("late body");
        peer.expect_end();
        assert_eq!(fixture.counts().timeouts_body, 1);
    }

    fn the_rest_of_a_message_has_a_time_of_its_own(model) {
        let limit = 10 * SECOND;
        let fixture = toy(model, only(|timeouts| {
            (timeouts.head, timeouts.body) = (Some(limit), Some(limit));
        }));
        let peer = fixture.connect();
        peer.send("3");
        fixture.pass_nearly(limit);
        peer.send(":");
        fixture.pass_nearly(limit);
        peer.send("abc");
        peer.expect("3:ABC");
        assert_eq!((fixture.counts().timeouts_head, fixture.counts().timeouts_body), (0, 0));
    }

    fn received_bytes_extend_the_time_of_a_body(model) {
        let limit = 8 * SECOND;
        let fixture = toy(model, only(|timeouts| {
            (timeouts.body_rate, timeouts.body) = (100, Some(limit));
        }));
        let (slow, quick) = (fixture.connect(), fixture.connect());
        slow.send("10000:");
        quick.send("10000:".to_owned() + &"x".repeat(3000));
        fixture.pass_nearly(limit);
        assert!(!slow.has_ended());
        fixture.pass_over(limit);
        slow.expect("late body");
        slow.expect_end();
        // Some 12 s of the 38 for what it has sent have gone.
        assert_eq!(quick.untaken_len(), 0);
        fixture.pass(20 * SECOND);
        assert_eq!(quick.untaken_len(), 0);
        fixture.pass(15 * SECOND);
        quick.expect("late body");
        assert_eq!(fixture.counts().timeouts_body, 2);
    }

    fn a_peer_that_takes_nothing_is_cut_off(model) {
        let limit = 30 * SECOND;
        let fixture = toy(model, only(|timeouts| timeouts.write = Some(limit)));
        let peer = fixture.connect();
        peer.room(1);
        peer.send(message("a reply"));
        fixture.engine.settle();
        fixture.pass_nearly(limit);
        assert!(!peer.is_closed());
        fixture.pass_over(limit);
        peer.expect_closed();
        assert_eq!(fixture.counts().timeouts_write, 1);
    }

    fn every_byte_that_a_peer_takes_gives_it_more_time(model) {
        let limit = 30 * SECOND;
        let fixture = toy(model, only(|timeouts| timeouts.write = Some(limit)));
        let peer = fixture.connect();
        peer.room(3);
        peer.send(message("a reply"));
        fixture.engine.settle();
        for byte in b"7:A" {
            fixture.pass(limit * 2 / 3);
            // This makes no room: the engine only sees that the peer has taken a byte.
            peer.expect([*byte]);
        }
        fixture.pass(limit * 2 / 3);
        assert!(!peer.is_closed());
        peer.room(usize::MAX);
        peer.expect(" REPLY");
        fixture.pass(limit * 2);
        assert!(!peer.is_closed(), "nothing waits any more");
        assert_eq!(fixture.counts().timeouts_write, 0);
    }

    fn a_connection_lingers_for_so_long(model) {
        let fixture = toy(model, only(|_| ()));
        let peer = fixture.connect();
        peer.send(message("close"));
        peer.expect(reply("close"));
        peer.expect_end();
        let linger = 2 * SECOND;
        fixture.pass(linger / 2);
        peer.send("it is still busy");
        fixture.pass_nearly(linger / 2);
        assert!(!peer.is_closed());
        fixture.pass_over(linger);
        peer.expect_closed();
        assert_eq!(fixture.counts().lingered_too_long, 1);
    }

    fn an_answer_that_does_not_come_is_given_up(model) {
        let limit = 30 * SECOND;
        let (keep, kept) = mpsc::channel();
        let lines = Lines::new(move |_, session| {
            keep.send(session.defer::<String>()).expect("the test listens");
            None
        });
        let fixture = messages(settings(model), lines.timeouts(only(|timeouts| timeouts.deferred = Some(limit))));
        let peer = fixture.connect();
        peer.send("a\nb\n");
        let first = kept.recv_timeout(SECOND * 10).expect("a call");
        fixture.pass_nearly(limit);
        assert!(!first.is_closed() && peer.untaken_len() == 0);
        fixture.pass_over(limit);
        peer.expect("error: timed out\n");
        assert!(first.is_closed());
        let second = kept.recv_timeout(SECOND * 10).expect("a call");
        second.answer("in time".into()).expect("awaited");
        peer.expect("in time\n");
        assert_eq!(fixture.counts().timeouts_deferred, 1);
    }

    fn a_streams_first_byte_has_its_time_and_no_thread(model) {
        if model == Model::ThreadPerConnection {
            // Under this model the stream has a thread from the start.
            return;
        }
        let limit = 75 * SECOND;
        let fixture = start(settings(model), |address| {
            Endpoint::stream(address, StreamOptions::new(), |mut connection| {
                let mut byte = [0];
                connection.read_exact(&mut byte)?;
                connection.write_all(&byte)
            })
        });
        let (silent, late) = (fixture.connect(), fixture.connect());
        fixture.pass_nearly(limit);
        assert_eq!(fixture.engine.gauges().pool_busy, 0);
        late.send("x");
        late.expect("x");
        fixture.pass_over(limit);
        silent.expect_closed();
        late.expect_closed();
        assert_eq!(fixture.counts().timeouts_idle, 1);
    }

    fn a_stream_waits_for_bytes_and_room_as_long_as_said(model) {
        let limit = 20 * SECOND;
        let (tell, told) = mpsc::channel();
        let options = StreamOptions::new().read_timeout(Some(limit)).write_timeout(Some(limit));
        let fixture = start(settings(model), |address| {
            Endpoint::stream(address, options, move |mut connection| {
                let kind = |error: std::io::Error| error.kind();
                let mut byte = [0];
                connection.read_exact(&mut byte)?;
                tell.send(connection.read(&mut byte).map_err(kind)).expect("the test listens");
                let written = connection.write_all(&[0; 1000]).map_err(kind).map(|()| 0);
                tell.send(written).expect("the test listens");
                Ok(())
            })
        });
        let timed_out = Err(std::io::ErrorKind::TimedOut);
        let peer = fixture.connect();
        peer.room(100);
        peer.interrupt(1);
        peer.send("x");
        fixture.engine.settle();
        fixture.pass_nearly(limit);
        assert!(told.try_recv().is_err());
        fixture.pass(limit / 10);
        assert_eq!(told.recv_timeout(SECOND * 10), Ok(timed_out));
        fixture.pass(limit * 3 / 4);
        assert!(told.try_recv().is_err());
        // A byte that the peer takes extends the deadline.
        peer.take(1);
        fixture.pass(limit / 2);
        assert!(told.try_recv().is_err());
        fixture.pass(limit);
        assert_eq!(told.recv_timeout(SECOND * 10), Ok(timed_out));
        let counts = fixture.counts();
        assert_eq!((counts.timeouts_stream, counts.timeouts_write), (1, 1));
    }

    fn signals_do_not_prolong_a_streams_read(model) {
        let (limit, (tell, told)) = (60 * SECOND, mpsc::channel());
        let options = StreamOptions::new().read_timeout(Some(limit));
        let fixture = start(settings(model), |address| {
            Endpoint::stream(address, options, move |mut connection| {
                let kind = |error: std::io::Error| error.kind();
                connection.read_exact(&mut [0])?;
                for _ in 0..3 {
                    let read = connection.read(&mut [0]).map_err(kind);
                    tell.send(read).expect("the test listens");
                }
                Ok(())
            })
        });
        let peer = fixture.connect();
        peer.send("x");
        fixture.engine.settle();
        // Once it ends in spite of them, once a byte comes, and the next read has all of its time again.
        for round in 0..3 {
            for _ in 0..9 {
                fixture.pass(limit / 10);
                peer.interrupt(1);
                fixture.engine.settle();
            }
            assert!(told.try_recv().is_err(), "round {round}");
            let wanted = if round == 1 {
                peer.send("y");
                Ok(1)
            } else {
                fixture.pass(limit / 5);
                Err(std::io::ErrorKind::TimedOut)
            };
            assert_eq!(told.recv_timeout(SECOND * 10), Ok(wanted), "round {round}");
            fixture.engine.settle();
        }
    }

    fn a_drain_closes_what_is_idle_and_waits_for_the_rest(model) {
        let fixture = toy(model, only(|_| ()));
        let (idle, begun) = (fixture.connect(), fixture.connect());
        begun.send("4:ab");
        fixture.engine.settle();
        let (engine, clock) = (&fixture.engine, &fixture.clock);
        std::thread::scope(|scope| {
            let draining = scope.spawn(|| engine.drain(8 * SECOND));
            eventually("it drains", || fixture.network.try_connect().is_none());
            eventually("what is idle is closed", || {
                clock.advance(Duration::from_millis(50));
                engine.settle();
                // The engine closes its side first, and the connection after a silence.
                idle.is_closed()
            });
            assert!(clock.elapsed() < 4 * SECOND, "long before the deadline");
            assert!(!begun.has_ended());
            begun.send("cd");
            begun.expect("4:ABCD");
            eventually("the last one is closed", || {
                clock.advance(Duration::from_millis(50));
                engine.settle();
                begun.is_closed()
            });
            let drained = draining.join().expect("drained");
            assert_eq!((drained.aborted, drained.complete), (0, true));
        });
        assert!(clock.elapsed() < 8 * SECOND);
    }

    fn a_drain_cuts_off_what_does_not_end_in_time(model) {
        let fixture = toy(model, only(|_| ()));
        let begun = fixture.connect();
        begun.send("4:ab");
        fixture.engine.settle();
        let (engine, clock) = (&fixture.engine, &fixture.clock);
        std::thread::scope(|scope| {
            let draining = scope.spawn(|| engine.drain(8 * SECOND));
            eventually("it drains", || fixture.network.try_connect().is_none());
            for _ in 0..70 {
                clock.advance(SECOND / 10);
                engine.settle();
                assert!(!begun.is_closed(), "after {:?}", clock.elapsed());
            }
            clock.advance(SECOND * 6 / 10);
            begun.expect_closed();
            let drained = draining.join().expect("drained");
            assert_eq!((drained.aborted, drained.complete), (1, true));
        });
    }
}
