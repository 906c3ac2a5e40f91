//! Replies that are made while they are sent, and replies that are not copied, for peers that stall.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use threadline_engine::testing::Peer;
use threadline_engine::{Bytes, Fill, Lines, Model, SendError, Source};

use crate::common::{Fixture, SECOND, eventually, every_model, messages, settings};

const PIECE: usize = 1000;

/// Makes pieces of the letters of the alphabet, one after the other.
struct Letters {
    made: usize,
    pieces: usize,
    /// What happens in place of the piece with that number.
    fails: Option<(usize, Failure)>,
    alive: Arc<AtomicUsize>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Failure {
    Error,
    Panic,
}

impl Source for Letters {
    fn fill(&mut self, piece: &mut Vec<u8>) -> io::Result<Fill> {
        match self.fails {
            Some((at, Failure::Error)) if at == self.made => {
                return Err(io::Error::other("wanted"));
            }
            Some((at, Failure::Panic)) if at == self.made => panic!("as the test wants"),
            _ => {}
        }
        piece.extend(letters(self.made..self.made + 1));
        self.made += 1;
        Ok(if self.made == self.pieces { Fill::End } else { Fill::More })
    }

    fn memory(&self) -> usize {
        10_000
    }
}

impl Drop for Letters {
    fn drop(&mut self) {
        self.alive.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The content of these pieces.
fn letters(pieces: std::ops::Range<usize>) -> Vec<u8> {
    pieces.flat_map(|number| [b'a' + (number % 26) as u8; PIECE]).collect()
}

/// For `made N` a reply of N pieces, for `error N` and `panic N` one that fails at its piece N; for `last N` the
/// connection closes behind it; other lines come back.
fn making(alive: &Arc<AtomicUsize>) -> Lines {
    let alive = Arc::clone(alive);
    Lines::new(move |line, session| {
        let Some((what, number)) = line.split_once(' ') else { return Some(line.to_owned()) };
        let number: usize = number.parse().expect("a number");
        let (pieces, fails) = match what {
            "error" => (number * 2, Some((number, Failure::Error))),
            "panic" => (number * 2, Some((number, Failure::Panic))),
            _ => (number, None),
        };
        alive.fetch_add(1, Ordering::Relaxed);
        let source = Letters { made: 0, pieces, fails, alive: Arc::clone(&alive) };
        if session.send_source(b"head\n", source).is_err() || what == "last" {
            session.close_after_reply();
        }
        None
    })
}

/// Waits for what the test gives it.
struct Slow(std::sync::mpsc::Receiver<Option<&'static str>>);

impl Source for Slow {
    fn fill(&mut self, piece: &mut Vec<u8>) -> io::Result<Fill> {
        let Ok(Some(text)) = self.0.recv() else { return Ok(Fill::End) };
        piece.extend_from_slice(text.as_bytes());
        Ok(Fill::More)
    }
}

struct Making {
    fixture: Fixture,
    alive: Arc<AtomicUsize>,
}

impl Making {
    fn new(model: Model) -> Making {
        let alive = Arc::default();
        let fixture = messages(settings(model), making(&alive));
        Making { fixture, alive }
    }

    /// A peer that has sent these lines, and has room for that many bytes.
    fn ask(&self, lines: &str, room: usize) -> Peer {
        let peer = self.fixture.connect();
        peer.room(room);
        peer.send(lines);
        self.fixture.engine.settle();
        peer
    }

    fn assert_no_thread_is_held(&self) {
        eventually("no pool thread is busy", || self.fixture.engine.gauges().pool_busy == 0);
    }

    fn waiting(&self) -> usize {
        self.fixture.engine.gauges().waiting_bytes
    }
}

every_model! {
    fn a_source_whose_peer_stalls_waits_without_a_thread(model) {
        let making = Making::new(model);
        // Far more than may wait.
        let peer = making.ask("made 2000\nnext\n", 1005);
        making.assert_no_thread_is_held();
        assert!((10_000..20_000).contains(&making.waiting()), "{} bytes", making.waiting());
        peer.expect("head\n");
        let mut got = peer.take(1000);
        // One byte, some, more than are made at once, and the rest.
        for room in [1, 700, 5000, 300_000, 400_000] {
            peer.room(room);
            got.extend(peer.take(room));
            making.fixture.engine.settle();
            making.assert_no_thread_is_held();
            assert!(making.waiting() < 10_000 + 700_000, "{} bytes", making.waiting());
        }
        peer.room(usize::MAX);
        got.extend(peer.take(2000 * PIECE - got.len()));
        assert!(got == letters(0..2000));
        peer.expect("next\n");
        making.fixture.engine.settle();
        assert_eq!((making.waiting(), making.alive.load(Ordering::Relaxed)), (0, 0));
    }

    fn a_source_whose_peer_keeps_up_is_sent_to_its_end(model) {
        let making = Making::new(model);
        let peer = making.ask("made 2000\nnext\nmade 1\nlast 3\nnever\n", usize::MAX);
        peer.expect("head\n");
        assert!(peer.take(2000 * PIECE) == letters(0..2000));
        peer.expect("next\nhead\n");
        peer.expect(letters(0..1));
        peer.expect("head\n");
        peer.expect(letters(0..3));
        peer.expect_end();
    }

    fn the_connection_closes_behind_a_source_that_waits(model) {
        let making = Making::new(model);
        let peer = making.ask("last 100\n", 10);
        peer.room(usize::MAX);
        peer.expect("head\n");
        peer.expect(letters(0..100));
        peer.expect_end();
    }

    fn a_source_that_fails_is_cut_off(model) {
        let making = Making::new(model);
        for (what, at) in [("error", 0), ("error", 3), ("panic", 0), ("panic", 3), ("error", 500), ("panic", 500)] {
            for room in [10, usize::MAX] {
                let peer = making.ask(&format!("{what} {at}\nnever\n"), room);
                peer.room(usize::MAX);
                let got = peer.take_to_end();
                let expected = [&b"head\n"[..], &letters(0..at)].concat();
                assert!(got.starts_with(&expected), "{what} {at}: {} bytes", got.len());
                let behind = String::from_utf8_lossy(&got[expected.len()..]);
                assert!(!behind.contains("never"), "{what} {at}: {behind}");
                peer.close();
                peer.expect_closed();
            }
        }
        eventually("the sources are dropped", || making.alive.load(Ordering::Relaxed) == 0);
        assert_eq!(making.waiting(), 0);
    }

    fn a_peer_that_never_reads_a_source_is_closed_by_the_deadline(model) {
        let making = Making::new(model);
        let limit = SECOND * 30;
        let peer = making.ask("made 2000\n", 10);
        making.fixture.pass_nearly(limit);
        assert!(!peer.is_closed());
        making.fixture.pass_over(limit);
        peer.expect_closed();
        assert!(peer.was_reset());
        assert_eq!(making.fixture.counts().timeouts_write, 1);
        eventually("the source is dropped", || making.alive.load(Ordering::Relaxed) == 0);
        assert_eq!(making.waiting(), 0);
    }

    fn a_peer_that_reads_a_reply_too_slowly_is_closed(model) {
        let making = Making::new(model);
        // 1 KB a second by default: one byte now and then moves the stall deadline, but not this one.
        let slow = making.ask("made 2000\n", 10);
        let fast = making.ask("made 2000\n", 10);
        slow.expect("head\naaaaa");
        fast.expect("head\n");
        let mut got = fast.take(5);
        let pass = |got: &mut Vec<u8>, seconds: u32| {
            for _ in 0..seconds / 5 {
                if !slow.has_ended() {
                    slow.room(1);
                    slow.expect("a");
                }
                fast.room(6000);
                got.extend(fast.take(6000));
                making.fixture.pass(SECOND * 5);
            }
        };
        pass(&mut got, 25);
        assert!(!slow.is_closed());
        pass(&mut got, 15);
        slow.expect_closed();
        assert_eq!(making.fixture.counts().timeouts_write, 1);
        pass(&mut got, 60);
        fast.room(usize::MAX);
        got.extend(fast.take(2000 * PIECE - got.len()));
        assert!(got == letters(0..2000));
    }

    fn the_time_that_a_source_takes_is_not_its_peers(model) {
        let (give, pieces) = std::sync::mpsc::channel();
        let pieces = std::sync::Mutex::new(Some(Slow(pieces)));
        let lines = Lines::new(move |_, session| {
            let source = pieces.lock().expect("lock").take().expect("asked once");
            session.send_source(b"head\n", source).expect("a peer");
            None
        });
        let fixture = messages(settings(model), lines);
        let peer = fixture.connect();
        peer.room(5);
        give.send(Some("one")).expect("a source");
        peer.send("go\n");
        peer.expect("head\n");
        fixture.engine.settle();
        peer.room(usize::MAX);
        peer.expect("one");
        if model == Model::EventLoop {
            // Its loop waits for the source: nobody looks at deadlines.
            give.send(None).expect("a source");
            return;
        }
        let clock = &fixture.clock;
        for _ in 0..20 {
            clock.advance(SECOND * 5);
            fixture.engine.settle_shards();
        }
        give.send(Some("two")).expect("a source");
        peer.expect("two");
        give.send(None).expect("a source");
        assert_eq!(fixture.counts().timeouts_write, 0);
    }

    fn a_drain_waits_for_a_source(model) {
        let making = Making::new(model);
        let peer = making.ask("made 1000\n", 10);
        making.fixture.engine.stop_listening();
        making.fixture.pass(SECOND * 2);
        peer.room(usize::MAX);
        peer.expect("head\n");
        assert!(peer.take(1000 * PIECE) == letters(0..1000));
        making.fixture.pass(SECOND);
        peer.close();
        peer.expect_closed();
    }

    fn what_is_pushed_comes_behind_a_source(model) {
        let (tell, senders) = std::sync::mpsc::channel();
        let alive: Arc<AtomicUsize> = Arc::default();
        let source_of = Arc::clone(&alive);
        let lines = Lines::new(move |_, session| {
            tell.send(session.sender()).expect("the test listens");
            source_of.fetch_add(1, Ordering::Relaxed);
            let alive = Arc::clone(&source_of);
            let source = Letters { made: 0, pieces: 600, fails: None, alive };
            session.send_source(b"", source).expect("a peer");
            None
        });
        let fixture = messages(settings(model), lines);
        let peer = fixture.connect();
        peer.room(10);
        peer.send("go\n");
        let sender = senders.recv_timeout(SECOND * 10).expect("a sender");
        fixture.engine.settle();
        sender.send("pushed").expect("open");
        assert_eq!(sender.send(vec![0; 1 << 20]), Err(SendError::TooLarge), "beyond the bound");
        peer.room(usize::MAX);
        assert!(peer.take(600 * PIECE) == letters(0..600));
        peer.expect("pushed");
    }

    fn large_replies_are_counted_and_sent_from_where_they_are(model) {
        let kept: Arc<[u8]> = Arc::from(vec![b's'; 100_000]);
        let shared = Arc::downgrade(&kept);
        let lines = Lines::new(move |line, session| {
            let bytes = match line {
                "static" => Bytes::Static(&[b'c'; 100_000]),
                "shared" => Bytes::Shared(shared.upgrade().expect("kept")),
                _ => Bytes::Owned(vec![b'o'; 100_000]),
            };
            session.send_bytes(b"head\n", bytes).expect("a peer");
            None
        });
        let fixture = messages(settings(model), lines);
        let waiting = || fixture.engine.gauges().waiting_bytes;
        let mut kept = Some(kept);
        for (what, letter, counted) in [("static", b'c', 0), ("owned", b'o', 100_000), ("shared", b's', 0)] {
            // In the head, between the two, and in the content.
            for room in [0, 2, 5, 3000] {
                let peer = fixture.connect();
                peer.room(room);
                peer.send(format!("{what}\n"));
                fixture.engine.settle();
                assert_eq!(waiting(), counted + 5_usize.saturating_sub(room), "{what}, {room}");
                if what == "shared" && room == 3000 {
                    kept = None;
                    fixture.pass(SECOND * 5);
                    assert_eq!(waiting(), 100_000, "nobody else holds it");
                }
                peer.room(usize::MAX);
                peer.expect("head\n");
                assert!(peer.take(100_000).iter().all(|byte| *byte == letter), "{what}, {room}");
                fixture.engine.settle();
                assert_eq!(waiting(), 0);
            }
        }
        assert!(kept.is_none());
    }

    fn shared_bytes_count_once_for_all_who_wait_with_them(model) {
        let kept: Arc<[u8]> = Arc::from(vec![b's'; 90_000]);
        let shared = Arc::downgrade(&kept);
        let lines = Lines::new(move |_, session| {
            let bytes = Bytes::Shared(shared.upgrade().expect("kept"));
            session.send_bytes(b"head\n", bytes).expect("a peer");
            None
        });
        let fixture = messages(settings(model), lines);
        let waiting = || fixture.engine.gauges().waiting_bytes;
        let mut peers = Vec::new();
        for _ in 0..3 {
            let peer = fixture.connect();
            peer.room(5);
            peer.send("go\n");
            peer.expect("head\n");
            peers.push(peer);
        }
        fixture.engine.settle();
        fixture.pass(SECOND * 5);
        assert_eq!(waiting(), 0, "the program has them too");
        drop(kept);
        fixture.pass(SECOND * 5);
        assert_eq!(waiting(), 90_000, "a third for each");
        let gone = peers.pop().expect("three");
        gone.reset();
        gone.expect_closed();
        fixture.pass(SECOND * 5);
        assert_eq!(waiting(), 90_000, "a half for each");
        for peer in peers {
            peer.room(usize::MAX);
            assert!(peer.take(90_000).iter().all(|byte| *byte == b's'));
        }
        fixture.engine.settle();
        assert_eq!(waiting(), 0);
    }
}
