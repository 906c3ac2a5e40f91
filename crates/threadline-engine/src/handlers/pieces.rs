//! However the bytes of a connection are cut, lines and frames get the same answers, and the same end.
//!
//! The protocols alone, fed as a conversation feeds them: every cut of a few short streams, and the end of
//! input after every byte. `crates/threadline/tests/service` has the same over sockets.

use std::any::Any;
use std::os::unix::net::UnixStream;
use std::sync::Arc;

use crate::connection::{Home, Session, SessionParts, Socket, Watch};
use crate::protocol::{Protocol, Step, Turn};
use crate::route::Route;
use crate::sys::{Clock, Epoll, Waker};
use crate::transport::Transport;
use crate::turn::{Entry, Place};
use crate::{Counts, Frames, Invalid, Lines};

/// Where user code runs at once.
#[derive(Debug)]
struct Here;

impl Place for Here {
    fn enter(&mut self, _route: &Arc<Route>, _unsent_len: usize) -> Entry {
        Entry::Here
    }

    fn leave(&mut self, _route: &Route) {}
}

/// What a client gets, whether the connection ended before the client did, and what was counted.
#[derive(Debug, PartialEq, Eq)]
struct Outcome {
    replies: Vec<u8>,
    closed: bool,
    malformed: u64,
    too_long: u64,
}

struct Connection<'p> {
    protocol: &'p dyn Protocol,
    session: Session,
    _peer: UnixStream,
    home: Arc<Home>,
    kept: Vec<u8>,
    seen: usize,
    want: usize,
    memo: Option<Box<dyn Any + Send>>,
    out: Vec<u8>,
    closed: bool,
    draining: bool,
}

impl<'p> Connection<'p> {
    fn new(protocol: &'p dyn Protocol) -> Self {
        let home = Arc::new(Home::alone(
            Epoll::new().expect("an epoll instance"),
            Waker::new().expect("an eventfd"),
            Clock::System,
        ));
        let (socket, peer) = UnixStream::pair().expect("a pair");
        let parts = SessionParts {
            write_limit: crate::deadline::WriteLimit::NONE,
            socket: Socket::Own(Transport::plain(socket)),
            peer: None,
            home: Arc::clone(&home),
            key: 0,
            watch: Watch::Nothing,
        };
        let (kept, out, session) = (Vec::new(), Vec::new(), Session::new(parts));
        let (seen, want, memo, closed, draining) = (0, 0, None, false, false);
        let _peer = peer;
        Connection { protocol, session, _peer, home, kept, seen, want, memo, out, closed, draining }
    }

    fn ask(&mut self, ask: impl FnOnce(&dyn Protocol, &[u8], &mut Turn<'_>) -> Step) -> Step {
        let mut turn = Turn {
            session: &mut self.session,
            out: &mut self.out,
            place: &mut Here,
            seen: self.seen,
            memo: &mut self.memo,
            receive: &mut None,
            draining: self.draining,
            counters: &self.home.counters,
            budget: &mut 64,
            took: None,
        };
        ask(self.protocol, &self.kept, &mut turn)
    }

    fn feed(&mut self, piece: &[u8]) {
        if self.closed {
            return;
        }
        self.kept.extend_from_slice(piece);
        while self.kept.len() > self.seen && self.kept.len() >= self.want {
            match self.ask(|protocol, input, turn| protocol.step(input, turn)) {
                Step::Next { consumed } => {
                    self.kept.drain(..consumed);
                    (self.seen, self.want) = (0, 0);
                }
                Step::Partial { want, .. } => (self.seen, self.want) = (self.kept.len(), want),
                Step::Close => {
                    self.closed = true;
                    return;
                }
                other => panic!("{other:?}"),
            }
        }
    }

    fn end(mut self) -> Outcome {
        if !self.closed && !self.kept.is_empty() {
            match self.ask(|protocol, input, turn| protocol.end_of_input(input, turn)) {
                Step::Next { consumed } => assert_eq!(consumed, self.kept.len()),
                Step::Close => {}
                other => panic!("{other:?}"),
            }
        }
        let mut counts = Counts::default();
        self.home.counters.add_to(&mut counts);
        let (malformed, too_long) = (counts.malformed, counts.too_long_messages);
        Outcome { replies: self.out, closed: self.closed, malformed, too_long }
    }
}

fn outcome<'w>(protocol: &dyn Protocol, pieces: impl IntoIterator<Item = &'w [u8]>) -> Outcome {
    let mut connection = Connection::new(protocol);
    pieces.into_iter().for_each(|piece| connection.feed(piece));
    connection.end()
}

/// The stream in pieces: bit `n` of `cuts` says whether it is cut after byte `n`.
fn cut(stream: &[u8], cuts: u32) -> Vec<&[u8]> {
    let (mut pieces, mut start) = (Vec::new(), 0);
    for at in 1..stream.len() {
        if cuts & 1 << (at - 1) != 0 {
            pieces.push(&stream[start..at]);
            start = at;
        }
    }
    pieces.push(&stream[start..]);
    pieces
}

/// Every prefix of the stream, as if the client sent no more, in every cut.
fn every_cut_agrees(protocol: &dyn Protocol, stream: &[u8]) {
    for end in 0..=stream.len() {
        let prefix = &stream[..end];
        let whole = outcome(protocol, [prefix]);
        for cuts in 0..1_u32 << end.saturating_sub(1).min(9) {
            // Of a longer prefix, the cuts in its last bytes.
            let cuts = cuts << end.saturating_sub(10);
            let pieces = cut(prefix, cuts);
            assert_eq!(outcome(protocol, pieces.clone()), whole, "{pieces:?}");
        }
        assert_eq!(outcome(protocol, prefix.chunks(1)), whole, "{prefix:?}");
    }
}

fn echo() -> Lines {
    Lines::new(|line, _| Some(format!("<{line}>"))).length_max(4)
}

#[test]
fn lines_are_the_same_however_they_are_cut() {
    for stream in [
        "ab\ncd\r\n\ne",
        // As long as allowed, with both ends.
        "abcd\r\nabcd\n",
        "abcd\r\r\nx",
        "abcde\r\nx",
        "abcde",
        "a\r\rb\n\r\r\n",
        "\u{e4}\u{e4}\r\n\u{e4}",
        "\n\r\n",
    ] {
        every_cut_agrees(&echo(), stream.as_bytes());
        every_cut_agrees(&echo().on_invalid(Invalid::Answer), stream.as_bytes());
    }
    every_cut_agrees(&echo(), b"\xff\nab");
    every_cut_agrees(&echo().on_invalid(Invalid::Replace), b"a\xff\nb\xc3");
}

#[test]
fn a_line_as_long_as_allowed_may_have_its_end_in_two_pieces() {
    let whole = outcome(&echo(), [&b"abcd\r\n"[..]]);
    assert_eq!((&*whole.replies, whole.closed, whole.too_long), (&b"<abcd>\n"[..], false, 0));
    assert_eq!(outcome(&echo(), [&b"abcd\r"[..], b"\n"]), whole);
    let too_long = outcome(&echo(), [&b"abcd\r"[..], b"e"]);
    assert!(too_long.closed && too_long.too_long == 1, "{too_long:?}");
}

#[test]
fn a_line_that_is_not_utf8_gets_what_was_asked_for() {
    let told = "error: the line is not UTF-8\n";
    for (invalid, replies, closed, malformed) in [
        (Invalid::Close, told.to_owned(), true, 1),
        (Invalid::Answer, format!("{told}<b>\n"), false, 1),
        (Invalid::Replace, "<\u{fffd}>\n<b>\n".to_owned(), false, 0),
    ] {
        let outcome = outcome(&echo().on_invalid(invalid), [&b"\xff\nb\n"[..]]);
        assert_eq!(String::from_utf8_lossy(&outcome.replies), replies);
        assert_eq!((outcome.closed, outcome.malformed), (closed, malformed), "{invalid:?}");
    }
}

#[test]
fn a_frame_as_long_as_allowed_passes_and_is_waited_for_as_a_whole() {
    let echo = Frames::new(|frame, _| Some(frame.to_vec())).length_max(3);
    let whole = outcome(&echo, [&b"\0\0\0\x03xyz"[..]]);
    assert_eq!((&*whole.replies, whole.closed, whole.too_long), (&b"\0\0\0\x03xyz"[..], false, 0));
    let longer = outcome(&echo, [&b"\0\0\0\x04"[..]]);
    assert_eq!((&*longer.replies, longer.closed, longer.too_long), (&b"\0\0\0\0"[..], true, 1));
    let mut connection = Connection::new(&echo);
    connection.feed(b"\0");
    assert_eq!(connection.want, 4, "its length");
    connection.feed(b"\0\0\x02");
    assert_eq!(connection.want, 6, "its length and content");
}

#[test]
fn the_last_line_need_not_have_its_end() {
    for (stream, replies) in [
        ("ab\ncd", "<ab>\n<cd>\n"),
        ("abcd\r", "<abcd>\n"),
        ("\r", "<>\n"),
        ("ab\n", "<ab>\n"),
        ("", ""),
    ] {
        let outcome = outcome(&echo(), [stream.as_bytes()]);
        assert_eq!(
            (String::from_utf8_lossy(&outcome.replies), outcome.closed),
            (replies.into(), false)
        );
    }
    let cut_off = outcome(&echo(), [&b"a\xc3"[..]]);
    assert_eq!(cut_off.replies, b"error: the line is not UTF-8\n");
    assert_eq!(cut_off.malformed, 1);
}

#[test]
fn what_a_drain_may_have_cut_off_is_not_run() {
    let handler = |_: &str, _: &mut Session| -> Option<String> { panic!("must not run") };
    let (lines, frames) = (Lines::new(handler), Frames::new(|_, _| panic!("must not run")));
    for (protocol, told) in [
        (&lines as &dyn Protocol, &b"error: shutting down, the line is not whole\n"[..]),
        (&frames, b"\0\0\0\0"),
    ] {
        let mut connection = Connection::new(protocol);
        connection.feed(b"\0\0");
        connection.draining = true;
        let outcome = connection.end();
        assert_eq!((&*outcome.replies, outcome.malformed), (told, 0));
    }
}

#[test]
fn frames_are_the_same_however_they_are_cut() {
    let echo = Frames::new(|frame, _| Some(frame.to_vec())).length_max(3);
    for stream in [
        &b"\0\0\0\x01a\0\0\0\0\0\0\0\x03xyz"[..],
        b"\0\0\0\x03xyz\0\0\0\x04xyzw",
        b"\xff\xff\xff\xffabc",
        b"\0\0\0\x02ab\0",
    ] {
        every_cut_agrees(&echo, stream);
    }
}

#[test]
fn a_frame_that_is_cut_off_is_malformed() {
    let echo = Frames::new(|frame, _| Some(frame.to_vec()));
    for cut_off in [&b"\0"[..], b"\0\0\0", b"\0\0\0\x02", b"\0\0\0\x02a"] {
        let outcome = outcome(&echo, [&b"\0\0\0\x01x"[..], cut_off]);
        assert_eq!((&*outcome.replies, outcome.malformed), (&b"\0\0\0\x01x\0\0\0\0"[..], 1));
    }
    let whole = outcome(&echo, [&b"\0\0\0\x01x"[..]]);
    assert_eq!((&*whole.replies, whole.malformed), (&b"\0\0\0\x01x"[..], 0));
}
