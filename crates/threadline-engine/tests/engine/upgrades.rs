//! A connection that becomes another message protocol has that protocol's deadlines, after the
//! replies of the old protocol's open calls.

use std::time::Duration;

use threadline_engine::testing::Peer;
use threadline_engine::{Model, Timeouts};

use crate::common::{Fixture, SECOND, every_model, messages, settings};
use crate::numbered::{Calls, Numbered};
use crate::toy::{Toy, message, reply};

const LIMIT: Duration = SECOND.saturating_mul(20);

/// Timeouts of which none is enabled.
fn unlimited() -> Timeouts {
    Timeouts {
        head: None,
        body: None,
        body_rate: 0,
        idle: None,
        write: None,
        reply_rate: 0,
        deferred: None,
    }
}

/// Connections that are upgraded from a protocol with the timeouts `before` to one with `after`: in place, or by
/// a pool thread because the first one has hooks.
fn upgrading(model: Model, has_hooks: bool, before: Timeouts, after: Timeouts) -> (Fixture, Calls) {
    let (protocol, calls) = Numbered::new(4);
    let successor = Toy::new().timeouts(after);
    let protocol = protocol.timeouts(before).successor(successor).hooks(has_hooks);
    (messages(settings(model), protocol), calls)
}

/// Two upgraded peers that read one byte more: the last reply of the old protocol waits for the first, a reply of the
/// new one for the second.
fn stalled_at_upgrade(fixture: &Fixture) -> [Peer; 2] {
    let [waits, later] = std::array::from_fn(|_| fixture.connect());
    waits.room(1);
    waits.send("up\n");
    later.send("up\n");
    later.expect("up\n");
    fixture.engine.settle();
    later.room(1);
    later.send(message("abc"));
    fixture.engine.settle();
    [waits, later]
}

every_model! {
    fn output_has_the_new_protocols_deadline(model) {
        for has_hooks in [false, true] {
            let after = Timeouts { write: Some(LIMIT), ..unlimited() };
            let (fixture, _) = upgrading(model, has_hooks, unlimited(), after);
            let [waits, later] = stalled_at_upgrade(&fixture);
            fixture.pass_nearly(LIMIT);
            assert!(!waits.is_closed() && !later.is_closed());
            fixture.pass_over(LIMIT);
            waits.expect_closed();
            later.expect_closed();
            assert_eq!(fixture.counts().timeouts_write, 2);
        }
    }

    fn the_old_protocols_write_deadline_is_over(model) {
        for has_hooks in [false, true] {
            let before = Timeouts { write: Some(LIMIT), ..unlimited() };
            let (fixture, _) = upgrading(model, has_hooks, before, unlimited());
            let [waits, later] = stalled_at_upgrade(&fixture);
            fixture.pass(10 * LIMIT);
            assert!(!waits.is_closed() && !later.is_closed());
            for peer in [&waits, &later] {
                peer.room(usize::MAX);
            }
            waits.expect("up\n");
            later.expect(reply("abc"));
            assert_eq!(fixture.counts().timeouts_write, 0);
        }
    }

    fn messages_have_the_new_protocols_deadlines(model) {
        for has_hooks in [false, true] {
            let (head, body) = (Some(LIMIT), Some(2 * LIMIT));
            let before = Timeouts { head: Some(LIMIT / 4), ..unlimited() };
            let after = Timeouts { head, body, ..unlimited() };
            let (fixture, _) = upgrading(model, has_hooks, before, after);
            let [in_head, in_body] = std::array::from_fn(|_| fixture.connect());
            // The first message of the new protocol has begun already, or begins later.
            in_head.send("up\n1");
            in_body.send("up\n");
            in_body.expect("up\n");
            in_head.expect("up\n");
            in_body.send("100:abc");
            fixture.engine.settle();
            fixture.pass_nearly(LIMIT);
            assert!(in_head.untaken_len() == 0 && !in_head.has_ended());
            fixture.pass_over(LIMIT);
            in_head.expect("late head");
            fixture.pass(LIMIT / 2);
            assert!(in_body.untaken_len() == 0 && !in_body.has_ended());
            fixture.pass_over(2 * LIMIT);
            in_body.expect("late body");
            let counts = fixture.counts();
            assert_eq!((counts.timeouts_head, counts.timeouts_body), (1, 1));
        }
    }

    fn nothing_limits_messages_if_the_new_protocol_does_not(model) {
        for has_hooks in [false, true] {
            let before = Timeouts { head: Some(LIMIT), idle: Some(LIMIT), ..unlimited() };
            let (fixture, _) = upgrading(model, has_hooks, before, unlimited());
            let [begun, silent] = std::array::from_fn(|_| fixture.connect());
            for peer in [&begun, &silent] {
                peer.send("up\n");
                peer.expect("up\n");
            }
            begun.send("3");
            fixture.pass(10 * LIMIT);
            assert!(!begun.has_ended() && !silent.has_ended());
            begun.send(":abc");
            begun.expect(reply("abc"));
            silent.send(message("abc"));
            silent.expect(reply("abc"));
        }
    }

    fn an_upgrade_comes_after_the_replies_of_open_calls(model) {
        for has_hooks in [false, true] {
            let (fixture, calls) = upgrading(model, has_hooks, unlimited(), unlimited());
            let peer = fixture.connect();
            let mut open = vec![];
            // Under this model there is one call at a time: the one that the upgrading message opens itself.
            if model != Model::ThreadPerConnection {
                peer.send("1\n");
                open.push(("1", calls.next("1")));
            }
            peer.send("both\n");
            open.push(("both", calls.next("both")));
            peer.send(message("abc"));
            for (line, call) in open {
                fixture.engine.settle();
                assert!(!call.is_closed() && peer.untaken_len() == 0);
                call.answer("a".into()).expect("awaited");
                peer.expect(format!("{line}=a\n"));
            }
            peer.expect(reply("abc"));
            peer.send(message("def"));
            peer.expect(reply("def"));
        }
    }

    fn an_answer_can_upgrade_its_connection(model) {
        for has_hooks in [false, true] {
            let (fixture, calls) = upgrading(model, has_hooks, unlimited(), unlimited());
            let peer = fixture.connect();
            peer.send("1\n");
            let one = calls.next("1");
            let other = (model != Model::ThreadPerConnection).then(|| {
                peer.send("2\n");
                calls.next("2")
            });
            fixture.engine.settle();
            one.answer("up".into()).expect("awaited");
            peer.expect("1=up\n");
            peer.send(message("abc"));
            if let Some(other) = other {
                fixture.engine.settle();
                assert_eq!(peer.untaken_len(), 0, "the old protocol has one more reply");
                other.answer("b".into()).expect("awaited");
                peer.expect("2=b\n");
            }
            peer.expect(reply("abc"));
        }
    }
}
