//! Output that waits: replies, pushes and files for peers that read slowly or not at all.

use std::fs::File;
use std::io::Write;
use std::ops::Range;
use std::sync::mpsc::{self, Receiver};

use threadline_engine::testing::Peer;
use threadline_engine::{Lines, SendError, Sender, SlowReceiver};

use crate::common::{Fixture, SECOND, every_model, messages, settings};

/// Replies in upper case. For the line `join` the test gets a sender to the connection.
fn pushing() -> (Lines, Receiver<Sender>) {
    let (tell, senders) = mpsc::channel();
    let lines = Lines::new(move |line, session| {
        if line == "join" {
            tell.send(session.sender()).expect("the test listens");
        }
        Some(line.to_uppercase())
    });
    (lines, senders)
}

/// A peer, and a sender to its connection.
fn join(fixture: &Fixture, senders: &Receiver<Sender>) -> (Peer, Sender) {
    let peer = fixture.connect();
    peer.send("join\n");
    peer.expect("JOIN\n");
    (peer, senders.recv_timeout(SECOND * 10).expect("a sender"))
}

fn file(content: &[u8]) -> File {
    let mut file = tempfile::tempfile().expect("a file");
    file.write_all(content).expect("writes");
    file
}

/// Answers every line with itself and a part of a file.
fn sending(content: Vec<u8>, range: Range<u64>) -> Lines {
    Lines::new(move |line, session| {
        let sent = session.send_file(line.as_bytes(), file(&content), range.clone());
        if sent.is_err() {
            session.close_after_reply();
        }
        None
    })
}

every_model! {
    fn a_push_reaches_a_connection_whatever_it_waits_for(model) {
        let (lines, senders) = pushing();
        let fixture = messages(settings(model), lines);
        let (peer, sender) = join(&fixture, &senders);
        fixture.engine.settle();
        sender.send("parked\n").expect("open");
        peer.expect("parked\n");
        peer.send("in the middle ");
        fixture.engine.settle();
        sender.send("of a message\n").expect("open");
        peer.expect("of a message\n");
        peer.send("of it\n");
        peer.expect("IN THE MIDDLE OF IT\n");
        // The idle deadline does not apply to a connection with a sender.
        fixture.pass(1000 * SECOND);
        sender.send("late\n").expect("open");
        peer.expect("late\n");
        peer.close();
        peer.expect_closed();
        assert_eq!((sender.send("x"), sender.is_closed()), (Err(SendError::Closed), true));
    }

    fn what_is_pushed_waits_for_room_in_order(model) {
        let (lines, senders) = pushing();
        let fixture = messages(settings(model), lines);
        let (peer, sender) = join(&fixture, &senders);
        peer.room(2);
        for number in 0..100 {
            sender.send(format!("{number:03}\n")).expect("open");
        }
        assert_eq!(sender.waiting(), 398);
        peer.send("reply\n");
        fixture.engine.settle();
        let all: String = (0..100).map(|number| format!("{number:03}\n")).collect();
        let mut got = Vec::new();
        while got.len() < all.len() {
            peer.room(7);
            let count = 7.min(all.len() - got.len());
            got.extend(peer.take(count));
        }
        assert_eq!(String::from_utf8_lossy(&got), all);
        peer.room(usize::MAX);
        peer.expect("REPLY\n");
    }

    fn a_slow_receiver_is_closed_or_misses_the_oldest(model) {
        let (lines, senders) = pushing();
        let fixture = messages(settings(model), lines);
        for policy in [SlowReceiver::Close, SlowReceiver::DropOldest] {
            let (peer, sender) = join(&fixture, &senders);
            sender.limit(10, policy);
            peer.room(1);
            sender.send("first\n").expect("room");
            assert_eq!(sender.send("2222\n"), Ok(()));
            let third = sender.send("3333\n");
            match policy {
                SlowReceiver::Close => {
                    assert_eq!(third, Err(SendError::TooSlow));
                    peer.expect("f");
                    peer.expect_end();
                    peer.expect_closed();
                }
                SlowReceiver::DropOldest => {
                    assert_eq!((third, sender.dropped()), (Ok(()), 1));
                    peer.room(usize::MAX);
                    peer.expect("first\n3333\n");
                }
            }
        }
        let counts = fixture.counts();
        assert_eq!((counts.slow_receivers_closed, counts.pushes_dropped), (1, 1));
    }

    fn a_sender_ends_its_connection_when_it_is_told_to(model) {
        let (lines, senders) = pushing();
        let fixture = messages(settings(model), lines);
        let [finished, closed] = std::array::from_fn(|_| {
            let (peer, sender) = join(&fixture, &senders);
            fixture.engine.settle();
            peer.room(1);
            (peer, sender)
        });
        for (_, sender) in [&finished, &closed] {
            sender.send("last\n").expect("open");
        }
        finished.1.finish();
        closed.1.close();
        closed.0.expect("l");
        closed.0.expect_end();
        closed.0.expect_closed();
        assert!(!finished.0.has_ended());
        finished.0.room(usize::MAX);
        finished.0.expect("last\n");
        finished.0.expect_end();
        finished.0.close();
        finished.0.expect_closed();
    }

    fn a_peer_that_stays_after_a_finished_push_is_closed_in_time(model) {
        let (lines, senders) = pushing();
        let fixture = messages(settings(model), lines);
        let (peer, sender) = join(&fixture, &senders);
        fixture.engine.settle();
        sender.finish();
        peer.expect_end();
        fixture.engine.settle();
        assert!(!peer.is_closed());
        fixture.pass(8 * SECOND);
        peer.expect_closed();
        assert_eq!(fixture.counts().lingered_too_long, 1);
    }

    fn a_file_goes_out_as_it_is_with_and_without_help(model) {
        let content: Vec<u8> = (0..600_000).map(|at| (at % 251) as u8).collect();
        let range = 1000..550_000;
        let part = content[1000..550_000].to_vec();
        let fixture = messages(settings(model), sending(content, range));
        for is_read in [false, true] {
            let peer = fixture.connect();
            if is_read {
                peer.no_files();
            }
            peer.send("head\nnext\n");
            peer.expect([b"head", &part[..], b"next", &part[..]].concat());
            // In small parts, with the head cut too.
            peer.room(2);
            peer.send("head\nnext\n");
            peer.expect("he");
            peer.room(2);
            peer.expect("ad");
            let mut rest = &part[..];
            while !rest.is_empty() {
                let count = rest.len().min(70_001);
                peer.room(count);
                assert!(peer.take(count) == rest[..count], "{} bytes to go", rest.len());
                rest = &rest[count..];
            }
            peer.room(usize::MAX);
            peer.expect([b"next", &part[..]].concat());
        }
    }

    fn a_file_that_is_shorter_than_said_ends_its_connection(model) {
        let fixture = messages(settings(model), sending(vec![b'x'; 100_000], 0..100_001));
        for is_read in [false, true] {
            let peer = fixture.connect();
            if is_read {
                peer.no_files();
            }
            peer.room(10);
            peer.send("head\n");
            peer.expect("headxxxxxx");
            peer.room(usize::MAX);
            let rest = peer.take_to_end();
            assert!(rest.len() < 100_000, "no more than there is");
            assert!(rest.iter().all(|byte| *byte == b'x'));
        }
    }

    fn an_empty_part_of_a_file_is_its_head_alone(model) {
        let fixture: Fixture = messages(settings(model), sending(b"abc".to_vec(), 2..2));
        let peer = fixture.connect();
        peer.no_files();
        peer.send("head\nnext\n");
        peer.expect("headnext");
    }
}

/// Lines that answer with content whose end is that of the connection: the line `whole` says when all of it is
/// sent, `sender` leaves that to the test.
fn until_close() -> (Lines, Receiver<Sender>) {
    let (tell, senders) = mpsc::channel();
    let lines = Lines::new(move |line, session| {
        session.begin_until_close();
        match line {
            "whole" => session.end_until_close(),
            "sender" => {
                tell.send(session.sender()).expect("the test listens");
                return Some("content".to_owned());
            }
            _ => {}
        }
        session.close_after_reply();
        Some("content".to_owned())
    });
    (lines, senders)
}

every_model! {
    fn content_that_ends_with_the_connection_is_reset_unless_it_is_whole(model) {
        for (line, is_reset) in [("whole", false), ("part", true)] {
            let (lines, _senders) = until_close();
            let fixture = messages(settings(model), lines);
            let peer = fixture.connect();
            peer.send(format!("{line}\n"));
            peer.expect("content\n");
            peer.expect_end();
            assert_eq!(peer.was_reset(), is_reset, "{line}");
        }
    }

    fn a_sender_finishes_such_content_or_resets(model) {
        let ends: [(fn(Sender), bool); 4] = [
            (Sender::finish, false),
            (|sender| sender.finish_with("").expect("open"), false),
            (|sender| sender.close(), true),
            (|sender| sender.abort(), true),
        ];
        for (number, (end, is_reset)) in ends.into_iter().enumerate() {
            let (lines, senders) = until_close();
            let fixture = messages(settings(model), lines);
            let peer = fixture.connect();
            peer.send("sender\n");
            peer.expect("content\n");
            fixture.engine.settle();
            end(senders.recv_timeout(SECOND * 10).expect("a sender"));
            peer.expect_end();
            assert_eq!(peer.was_reset(), is_reset, "way {number}");
        }
    }

    fn what_a_reply_ends_with_finds_room_beside_all_that_waits(model) {
        let (lines, senders) = pushing();
        let fixture = messages(settings(model), lines);
        let (peer, sender) = join(&fixture, &senders);
        fixture.engine.settle();
        peer.room(3);
        sender.limit(10, SlowReceiver::DropOldest);
        sender.send("0123456789").expect("open");
        assert_eq!(sender.send("0123456789"), Err(SendError::TooLarge));
        assert_eq!(sender.clone().finish_with("end"), Ok(()));
        assert_eq!(sender.clone().finish_with("end"), Err(SendError::Closed));
        assert_eq!(sender.send("more"), Err(SendError::Closed));
        peer.room(usize::MAX);
        peer.expect("0123456789end");
        peer.expect_end();
    }
}
