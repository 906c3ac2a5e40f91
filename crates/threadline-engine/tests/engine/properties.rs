//! Cuts, stalls, interrupts and short reads and writes do not change the replies of a connection.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;
use proptest::test_runner::{Config, TestRunner};
use threadline_engine::testing::Peer;
use threadline_engine::{Frames, Lines};

use crate::common::{Fixture, every_model, messages, settings};
use crate::toy::{Toy, message, reply};

const CASES: u32 = 48;

/// A generated connection.
#[derive(Debug, Clone)]
struct Script {
    contents: Vec<String>,
    cuts: Vec<Index>,
    /// One for each piece, repeated from the first if there are more pieces.
    happenings: Vec<Happening>,
    /// Successive bounds of the room for output; after the last there is no bound.
    rooms: Vec<usize>,
    /// The piece before which the peer resets the connection.
    resets_after: Option<Index>,
}

/// The disturbances before a piece is sent.
#[derive(Debug, Clone)]
struct Happening {
    stalls: usize,
    interrupts: usize,
    reads_at_most: usize,
    settles: bool,
}

prop_compose! {
    fn happening()(
        stalls in 0..3_usize,
        interrupts in 0..3_usize,
        reads_at_most in prop_oneof![1..20_usize, Just(usize::MAX)],
        settles in proptest::bool::weighted(0.2),
    ) -> Happening {
        Happening { stalls, interrupts, reads_at_most, settles }
    }
}

prop_compose! {
    fn script(resets: bool)(
        contents in vec("[ -~]{0,40}", 1..80),
        cuts in vec(any::<Index>(), 0..20),
        happenings in vec(happening(), 1..20),
        rooms in vec(1..60_usize, 0..20),
        reset in any::<Index>(),
    ) -> Script {
        Script { contents, cuts, happenings, rooms, resets_after: resets.then_some(reset) }
    }
}

impl Script {
    fn pieces<'b>(&self, bytes: &'b [u8]) -> Vec<&'b [u8]> {
        let mut ends: Vec<_> = self.cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
        ends.push(bytes.len());
        ends.sort_unstable();
        let mut start = 0;
        let piece = |end| &bytes[std::mem::replace(&mut start, end)..end];
        ends.into_iter().map(piece).collect()
    }

    /// Plays the script. Returns the replies, and whether the peer has reset the connection.
    fn play(&self, fixture: &Fixture, sent: &[u8], replies_len: usize) -> (Vec<u8>, bool) {
        let peer = fixture.connect();
        let mut rooms = self.rooms.iter().copied();
        let mut room = rooms.next();
        peer.room(room.unwrap_or(usize::MAX));
        let pieces = self.pieces(sent);
        let last = self.resets_after.map_or(pieces.len(), |at| at.index(pieces.len() + 1));
        for (piece, happening) in pieces.iter().zip(self.happenings.iter().cycle()).take(last) {
            peer.stall_reads(happening.stalls);
            peer.interrupt(happening.interrupts);
            peer.reads_at_most(happening.reads_at_most);
            peer.send(piece);
            if happening.settles {
                fixture.engine.settle();
            }
        }
        if self.resets_after.is_some() {
            return (reset(&peer), true);
        }
        let mut got = Vec::new();
        while let Some(count) = room {
            got.extend(peer.take(count.min(replies_len - got.len())));
            room = rooms.next();
            peer.room(room.unwrap_or(usize::MAX));
        }
        peer.close_write();
        got.extend(peer.take_to_end());
        peer.expect_closed();
        (got, false)
    }
}

/// The replies alone: whether a peer is invited to go on depends on how its bytes come.
fn without_invitations(got: &[u8]) -> Vec<u8> {
    let text = String::from_utf8(got.to_vec()).expect("text").replace("go on ", "");
    // A reset may have cut the last one. Replies have no small letters.
    let cut = text.find('g').unwrap_or(text.len());
    text[..cut].to_owned().into_bytes()
}

fn reset(peer: &Peer) -> Vec<u8> {
    peer.reset();
    peer.expect_closed();
    peer.take_now(usize::MAX)
}

/// Plays scripts with each of several protocols.
fn hold(model: threadline_engine::Model, resets: bool) {
    let dir = tempfile::tempdir().expect("a directory");
    let mut in_files = settings(model);
    (in_files.body_memory_len_max, in_files.body_dir) = (10, dir.path().to_owned());
    let fixtures = [
        messages(settings(model), Toy::new().receiving()),
        messages(in_files, Toy::new().receiving()),
        messages(settings(model), Lines::new(|line, _| Some(line.to_uppercase()))),
        messages(settings(model), Frames::new(|frame, _| Some(frame.to_ascii_uppercase()))),
        messages(settings(model), Toy::new()),
    ];
    type Encode = fn(&str) -> (Vec<u8>, Vec<u8>);
    let toy: Encode = |content| (message(content).into(), reply(content).into());
    let encode: [Encode; 5] = [
        toy,
        toy,
        |content| (format!("{content}\n").into(), format!("{}\n", content.to_uppercase()).into()),
        |content| {
            let loud = content.to_uppercase();
            (Frames::encode(content.as_bytes()), Frames::encode(loud.as_bytes()))
        },
        toy,
    ];
    let mut runner = TestRunner::new(Config { cases: CASES, ..Config::default() });
    let held = runner.run(&script(resets), |script| {
        for (fixture, encode) in fixtures.iter().zip(encode) {
            // These close a connection of the toy protocol.
            let contents =
                script.contents.iter().filter(|text| !["close", "quit"].contains(&text.as_str()));
            let (sent, replies): (Vec<_>, Vec<_>) = contents.map(|content| encode(content)).unzip();
            let (sent, replies) = (sent.concat(), replies.concat());
            let (got, was_reset) = script.play(fixture, &sent, replies.len());
            let got = without_invitations(&got);
            let is_right = if was_reset { replies.starts_with(&got) } else { replies == got };
            prop_assert!(is_right, "{:?}\nfor\n{:?}", got.escape_ascii(), sent.escape_ascii());
        }
        Ok(())
    });
    if let Err(error) = held {
        panic!("{error}");
    }
    for fixture in fixtures {
        fixture.engine.settle();
        assert_eq!((fixture.connections(), fixture.counts().engine_panics), (0, 0));
    }
}

every_model! {
    fn the_way_of_the_bytes_does_not_matter(model) {
        hold(model, false);
    }

    fn a_reset_at_any_time_ends_the_connection_and_nothing_else(model) {
        hold(model, true);
    }
}
