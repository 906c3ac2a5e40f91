//! Messages get their replies in order, and connections end, however the bytes arrive and leave.

use threadline_engine::testing::Peer;
use threadline_engine::{Frames, Lines, Model};

use crate::common::{Fixture, every_model, messages, settings};
use crate::toy::{Toy, message, reply};

/// A protocol, bytes to send and the expected replies.
struct Exchange {
    fixture: Fixture,
    sent: Vec<u8>,
    replies: Vec<u8>,
}

/// Three short messages of each protocol, one of them empty.
fn exchanges(model: Model) -> [Exchange; 3] {
    let lines = Lines::new(|line, _| Some(line.to_uppercase()));
    let frames = Frames::new(|frame, _| Some(frame.to_ascii_uppercase()));
    let encoded = |contents: [&[u8]; 3]| contents.map(Frames::encode).concat();
    [
        Exchange {
            fixture: messages(settings(model), lines),
            sent: b"ab\r\n\ncde\n".to_vec(),
            replies: b"AB\n\nCDE\n".to_vec(),
        },
        Exchange {
            fixture: messages(settings(model), frames),
            sent: encoded([b"ab", b"", b"cde"]),
            replies: encoded([b"AB", b"", b"CDE"]),
        },
        Exchange {
            fixture: messages(settings(model), Toy::new()),
            sent: ["ab", "", "cdefghijkl"].map(message).concat().into(),
            replies: ["ab", "", "cdefghijkl"].map(reply).concat().into(),
        },
    ]
}

fn toy(model: Model) -> Fixture {
    messages(settings(model), Toy::new())
}

/// Expects the replies, and the end after the peer has closed its side.
fn expect_all(peer: &Peer, replies: &[u8]) {
    peer.expect(replies);
    peer.close_write();
    peer.expect_end();
}

every_model! {
    fn messages_may_be_cut_anywhere(model) {
        for Exchange { fixture, sent, replies } in exchanges(model) {
            let cuts = (0..=sent.len()).flat_map(|first| (first..=sent.len()).map(move |second| (first, second)));
            let peers: Vec<_> = cuts.map(|(first, second)| {
                let peer = fixture.connect();
                peer.send_pieces([&sent[..first], &sent[first..second], &sent[second..]]);
                peer
            }).collect();
            peers.iter().for_each(|peer| expect_all(peer, &replies));
        }
    }

    fn pieces_may_come_apart_in_time(model) {
        for Exchange { fixture, sent, replies } in exchanges(model) {
            let peer = fixture.connect();
            for byte in &sent {
                peer.send([*byte]);
                fixture.engine.settle();
            }
            expect_all(&peer, &replies);
        }
    }

    fn reads_may_be_short_stalled_and_interrupted(model) {
        for Exchange { fixture, sent, replies } in exchanges(model) {
            for most in 1..5 {
                let peer = fixture.connect();
                peer.reads_at_most(most);
                peer.stall_reads(3);
                peer.interrupt(3);
                peer.send(&sent);
                peer.expect(&replies);
                // Between messages and in the middle of one.
                peer.stall_reads(1);
                peer.interrupt(1);
                let (begin, end) = sent.split_at(1);
                peer.send(begin);
                fixture.engine.settle();
                peer.stall_reads(1);
                peer.interrupt(1);
                peer.send(end);
                expect_all(&peer, &replies);
            }
        }
    }

    fn a_long_message_is_read_to_its_end(model) {
        let fixture = toy(model);
        let content = "long ".repeat(100_000);
        let peer = fixture.connect();
        peer.send(message(&content));
        peer.expect(reply(&content));
        peer.reads_at_most(1000);
        peer.send(message(&content));
        expect_all(&peer, reply(&content).as_bytes());
    }

    fn pipelined_messages_are_answered_in_order(model) {
        let fixture = toy(model);
        let contents: Vec<_> = (0..1000).map(|number| format!("message {number}")).collect();
        let sent: String = contents.iter().map(|content| message(content)).collect();
        let replies: String = contents.iter().map(|content| reply(content)).collect();
        let (all, bytewise, other) = (fixture.connect(), fixture.connect(), fixture.connect());
        all.send(&sent);
        bytewise.reads_at_most(7);
        bytewise.send(&sent);
        other.send(message("in between"));
        other.expect(reply("in between"));
        expect_all(&all, replies.as_bytes());
        expect_all(&bytewise, replies.as_bytes());
        assert!(fixture.counts().yields > 0, "others had their turn");
    }

    fn a_peer_that_does_not_read_gets_no_more_replies(model) {
        let fixture = toy(model);
        let peer = fixture.connect();
        peer.room(4);
        peer.send_pieces((0..200).map(|number| message(&format!("{number:03}"))));
        fixture.engine.settle();
        assert_eq!(peer.untaken_len(), 4, "as much as there is room for");
        // The engine answers at most one turn's messages and does not read the rest.
        assert!(peer.unread_len() > 0, "the rest waits");
        for number in 0..200 {
            // One byte at a time.
            for byte in reply(&format!("{number:03}")).as_bytes() {
                peer.room(1);
                peer.expect([*byte]);
            }
        }
        peer.room(usize::MAX);
        expect_all(&peer, b"");
    }

    fn a_reply_that_does_not_fit_waits_while_others_are_served(model) {
        let fixture = toy(model);
        let (slow, quick) = (fixture.connect(), fixture.connect());
        let content = "x".repeat(3_000_000);
        slow.room(1_000_000);
        slow.send(message(&content));
        slow.send(message("next"));
        for round in 0..20 {
            let content = format!("round {round}");
            quick.send(message(&content));
            quick.expect(reply(&content));
        }
        let begin = slow.take(1_000_000);
        slow.room(usize::MAX);
        let rest = reply(&content).split_off(begin.len());
        slow.expect(rest + &reply("next"));
    }

    fn a_reset_in_the_middle_of_a_message_ends_that_connection_alone(model) {
        let fixture = toy(model);
        let other = fixture.connect();
        for sent in ["", "1", "10:", "10:abc", &message("whole")] {
            let peer = fixture.connect();
            peer.send(sent);
            fixture.engine.settle();
            peer.reset();
            peer.expect_closed();
        }
        other.send(message("still"));
        other.expect(reply("still"));
        fixture.engine.settle();
        assert_eq!(fixture.connections(), 1);
        assert_eq!(fixture.counts().engine_panics, 0);
    }

    fn a_reset_while_a_reply_waits_ends_that_connection_alone(model) {
        let fixture = toy(model);
        let other = fixture.connect();
        let peer = fixture.connect();
        peer.room(3);
        peer.send(message("a reply that waits"));
        fixture.engine.settle();
        assert_eq!(peer.take_now(100), b"18:");
        peer.reset();
        peer.expect_closed();
        other.send(message("still"));
        other.expect(reply("still"));
        fixture.engine.settle();
        assert_eq!(fixture.connections(), 1);
    }

    fn a_peer_that_closes_its_side_gets_all_replies(model) {
        let fixture = toy(model);
        let peer = fixture.connect();
        peer.room(2);
        peer.send(message("one") + &message("two"));
        peer.close_write();
        fixture.engine.settle();
        peer.room(usize::MAX);
        peer.expect(reply("one") + &reply("two"));
        peer.expect_end();
        peer.expect_closed();
    }

    fn the_start_of_a_message_at_the_end_is_the_protocols(model) {
        let fixture = toy(model);
        for begin in ["1", "12:", "3:ab"] {
            let peer = fixture.connect();
            peer.send(message("one") + begin);
            peer.close_write();
            peer.expect(reply("one") + "cut");
            peer.expect_end();
        }
    }

    fn after_its_last_reply_a_connection_lingers(model) {
        let fixture = toy(model);
        let peer = fixture.connect();
        peer.send(message("close") + &message("too late"));
        peer.expect(reply("close"));
        peer.expect_end();
        peer.send("thrown away");
        fixture.engine.settle();
        assert!(!peer.is_closed() && peer.unread_len() == 0);
        peer.close_write();
        peer.expect_closed();
        assert_eq!(fixture.counts().lingered_too_long, 0);
    }

    fn what_a_lingering_connection_may_send_is_bounded(model) {
        let mut settings = settings(model);
        settings.linger_bytes_max = 1000;
        let fixture = messages(settings, Toy::new());
        let peer = fixture.connect();
        peer.send(message("close"));
        peer.expect(reply("close"));
        peer.expect_end();
        peer.send([0; 1000]);
        fixture.engine.settle();
        assert!(!peer.is_closed());
        peer.send([0; 1]);
        peer.expect_closed();
        assert_eq!(fixture.counts().lingered_too_long, 1);
    }

    fn a_last_reply_that_waits_goes_out_before_the_end(model) {
        let fixture = toy(model);
        let peer = fixture.connect();
        peer.room(0);
        peer.send(message("close"));
        fixture.engine.settle();
        assert!(!peer.has_ended());
        peer.room(3);
        peer.expect("5:C");
        fixture.engine.settle();
        assert!(!peer.has_ended());
        peer.room(usize::MAX);
        peer.expect("LOSE");
        peer.expect_end();
    }
}
