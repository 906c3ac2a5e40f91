//! The outbox alone, on a pair of sockets: no shard runs here, the test is the shard.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;

use rustix::fs::MemfdFlags;

use super::*;
use crate::connection::sender::SendError;
use crate::inbox::Note;
use crate::sys::{Epoll, Interest, Waker};

const KEY: u64 = 7;
const LIMIT: Ticks = 80;
const LINGER: Ticks = 30;
/// More than a socket holds.
const LARGE: usize = 2 << 20;

struct Fixture {
    outbox: Arc<Outbox>,
    home: Arc<Home>,
    peer: UnixStream,
}

fn with(watch: Watch, limit: Option<Ticks>) -> Fixture {
    let (ours, peer) = UnixStream::pair().expect("a pair of sockets");
    ours.set_nonblocking(true).expect("a socket");
    peer.set_nonblocking(true).expect("a socket");
    let epoll = Epoll::new().expect("an epoll instance");
    let home = Arc::new(Home::alone(epoll, Waker::new().expect("an eventfd"), Clock::System));
    if watch == Watch::Input {
        home.epoll.add(&ours, KEY, Interest::Input).expect("registered");
    }
    let stall = limit.unwrap_or(Ticks::MAX);
    let (transport, limit) = (Transport::plain(ours), WriteLimit { stall, reply_rate: 0 });
    let outbox = Outbox::new(transport, Arc::clone(&home), KEY, watch, limit);
    Fixture { outbox, home, peer }
}

fn fixture() -> Fixture {
    with(Watch::Input, Some(LIMIT))
}

impl Fixture {
    fn sender(&self) -> Sender {
        let sender = self.outbox.sender(1);
        self.outbox.end_turn();
        sender
    }

    fn notes(&self) -> Vec<Note> {
        let mut notes = Vec::new();
        self.home.inbox.take(&mut notes);
        notes
    }

    fn look(&self, now: Ticks) -> Option<Ticks> {
        self.outbox.look(now, Owner::Parked, LINGER)
    }

    /// What the peer can read at this moment, up to a limit in bytes; the flag says whether it is the end.
    fn read(&mut self, most: usize) -> (Vec<u8>, bool) {
        let mut all = vec![0; most];
        let mut count = 0;
        while count < most {
            match self.peer.read(&mut all[count..]) {
                Ok(0) => {
                    all.truncate(count);
                    return (all, true);
                }
                Ok(more) => count += more,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => panic!("{error}"),
            }
        }
        all.truncate(count);
        (all, false)
    }

    /// All that is sent, with the help of a shard that flushes.
    fn read_through(&mut self) -> Vec<u8> {
        let mut all = Vec::new();
        while self.outbox.waits() {
            all.extend(self.read(usize::from(u16::MAX)).0);
            self.outbox.flush().expect("an open socket");
        }
        all.extend(self.read(LARGE * 4).0);
        all
    }

    fn counts(&self) -> (u64, u64) {
        let counters = &self.home.counters;
        (counters.timeouts_write.get(), counters.lingered_too_long.get())
    }
}

fn memory_file(len: usize) -> File {
    let file = File::from(rustix::fs::memfd_create("file", MemfdFlags::CLOEXEC).expect("a file"));
    (&file).write_all(&vec![b'f'; len]).expect("memory");
    file
}

fn content(len: usize) -> Content {
    Content::File { file: memory_file(len), offset: 0, end: len as u64 }
}

/// The number of each run of equal bytes.
fn runs(bytes: &[u8]) -> Vec<(u8, usize)> {
    bytes.chunk_by(|a, b| a == b).map(|run| (run[0], run.len())).collect()
}

#[test]
fn what_the_socket_takes_at_once_does_not_wait() {
    let mut fixture = fixture();
    assert_eq!(fixture.outbox.reply(b"abc").expect("open"), None);
    assert!(!fixture.outbox.waits());
    assert_eq!(fixture.sender().send("def"), Ok(()));
    assert_eq!(fixture.read(100), (b"abcdef".to_vec(), false));
    assert_eq!(fixture.notes(), [], "the shard has heard nothing of it");
    assert!(fixture.home.outputs.get(KEY).is_none());
}

#[test]
fn what_waits_is_sent_in_order_and_the_shard_is_told_once() {
    let mut fixture = fixture();
    assert_eq!(fixture.outbox.reply(&[b'a'; LARGE]).expect("open"), Some(0));
    let sender = fixture.sender();
    sender.limit(2 * LARGE, SlowReceiver::Close);
    let begun = sender.waiting();
    assert!(0 < begun && begun < LARGE);
    assert_eq!(fixture.outbox.reply(b"bb").expect("open"), Some(1));
    assert_eq!(sender.send("c"), Ok(()));
    assert_eq!(sender.waiting(), begun + 3);
    assert_eq!(fixture.notes(), [Note::OutputWaits(KEY)]);
    assert!(Arc::ptr_eq(&fixture.home.outputs.get(KEY).expect("registered"), &fixture.outbox));
    assert!(!fixture.outbox.flush_through(0).expect("open"), "nobody reads");
    assert_eq!(runs(&fixture.read_through()), [(b'a', LARGE), (b'b', 2), (b'c', 1)]);
    assert!(fixture.outbox.flush_through(1).expect("open"));
    assert_eq!(sender.waiting(), 0);
    // The next look finds nothing, and the next output asks for looks again.
    assert_eq!(fixture.look(Clock::System.ticks()), None);
    assert_eq!(fixture.outbox.reply(&[b'a'; LARGE]).expect("open"), Some(3));
    assert_eq!(fixture.notes(), [Note::OutputWaits(KEY)]);
}

/// What the peer has taken is told by that.
#[test]
fn every_byte_that_goes_out_of_the_queue_is_counted() {
    let mut fixture = fixture();
    fixture.outbox.reply(&[b'a'; LARGE]).expect("open");
    let sender = fixture.sender();
    let begun = sender.waiting();
    fixture.outbox.reply(&[b'b'; 1000]).expect("open");
    fixture.outbox.reply_file(b"h", content(LARGE)).expect("open");
    assert_eq!(fixture.outbox.queue.lock().sent, 0);
    fixture.read_through();
    let all = begun + 1000 + 1 + LARGE;
    assert_eq!(fixture.outbox.queue.lock().sent, all as u64);
    assert_eq!(fixture.outbox.taken(), all as i64, "the peer has it all");
}

#[test]
fn the_default_bound_is_256_kb() {
    let fixture = fixture();
    let sender = fixture.sender();
    sender.send(vec![b'a'; LARGE]).expect("taken whatever its size");
    assert_eq!(fixture.outbox.queue.lock().bytes_max, 262_144);
    assert_eq!(sender.send("b"), Err(SendError::TooSlow));
}

#[test]
fn a_message_is_through_when_it_is_out_and_not_when_all_is() {
    let mut fixture = fixture();
    let first = fixture.outbox.reply(&[b'a'; LARGE]).expect("open").expect("it waits");
    let second = fixture.outbox.reply(&[b'b'; LARGE]).expect("open").expect("it waits");
    let mut all = 0;
    while !fixture.outbox.flush_through(first).expect("open") {
        all += fixture.read(4096).0.len();
    }
    assert!(fixture.outbox.waits() && all < LARGE + LARGE / 2, "{all} bytes have been read");
    assert!(!fixture.outbox.flush_through(second).expect("open"));
    fixture.read_through();
    assert!(fixture.outbox.flush_through(second).expect("open"));
}

#[test]
fn a_peer_that_takes_nothing_is_closed_after_the_limit_and_counted_once() {
    let mut fixture = fixture();
    let number = fixture.outbox.reply(&[b'a'; LARGE]).expect("open").expect("it waits");
    let now = Clock::System.ticks();
    let step = LIMIT / LOOKS;
    assert_eq!(fixture.look(now), Some(now + step));
    assert_eq!(fixture.look(now + step), Some(now + 2 * step));
    // Never early: the tick of the last byte had begun.
    assert_eq!(fixture.look(now + LIMIT - 1), Some(now + LIMIT + 1));
    assert_eq!(fixture.look(now + LIMIT), Some(now + LIMIT + 1));
    assert_eq!(fixture.counts(), (0, 0));
    assert_eq!(fixture.look(now + LIMIT + 1), None);
    assert_eq!(fixture.counts(), (1, 0));
    assert!(fixture.sender().is_closed() && !fixture.outbox.waits());
    assert_eq!(fixture.sender().send("x"), Err(SendError::Closed));
    // Those who wait for room are told why, and do not count it again.
    let kind = |error: io::Error| error.kind();
    assert_eq!(fixture.outbox.flush_through(number).map_err(kind), Err(io::ErrorKind::TimedOut));
    assert_eq!(fixture.outbox.reply(b"x").map_err(kind), Err(io::ErrorKind::TimedOut));
    fixture.outbox.time_out();
    assert_eq!(fixture.look(now + 10 * LIMIT), None);
    assert_eq!(fixture.counts(), (1, 0));
    // The peer has what was sent, and the end.
    assert!(fixture.read(LARGE).1);
}

#[test]
fn a_caller_that_has_waited_too_long_closes_it_too() {
    let fixture = fixture();
    fixture.outbox.reply(&[b'a'; LARGE]).expect("open");
    fixture.outbox.time_out();
    fixture.outbox.time_out();
    assert_eq!(fixture.counts(), (1, 0));
    assert_eq!(fixture.look(Clock::System.ticks()), None);
}

#[test]
fn every_byte_that_the_peer_takes_restarts_the_limit() {
    let mut fixture = fixture();
    fixture.outbox.reply(&[b'a'; LARGE]).expect("open");
    let mut now = Clock::System.ticks();
    fixture.look(now);
    for _ in 0..3 {
        let before = fixture.outbox.taken();
        // A part of what the socket holds, so that the kernel does not call that room.
        while fixture.outbox.taken() == before {
            assert_eq!(fixture.read(1).0.len(), 1);
        }
        now += LIMIT;
        assert_eq!(fixture.look(now), Some(now + LIMIT / LOOKS));
    }
    assert_eq!(fixture.look(now + LIMIT), Some(now + LIMIT + 1));
    assert_eq!(fixture.look(now + LIMIT + 1), None);
    assert_eq!(fixture.counts(), (1, 0));
}

#[test]
fn a_peer_that_waits_for_us_has_not_stalled() {
    let mut fixture = fixture();
    fixture.outbox.reply(&[b'a'; LARGE]).expect("open");
    let now = Clock::System.ticks();
    fixture.look(now);
    // There is room, but the owner is late.
    while !fixture.read(LARGE).0.is_empty() {}
    for later in [1, 2, 10, 100] {
        assert!(fixture.look(now + later * LIMIT).is_some(), "{later}");
    }
    assert_eq!(fixture.read(LARGE), (vec![], false), "a parked connection's owner writes itself");
    // A busy owner is helped.
    fixture.outbox.look(now + 200 * LIMIT, Owner::Busy, LINGER);
    assert!(!fixture.read(LARGE).0.is_empty());
    assert_eq!(fixture.counts(), (0, 0));
}

#[test]
fn a_look_at_a_queue_that_is_in_use_is_put_off() {
    let fixture = fixture();
    fixture.outbox.reply(&[b'a'; LARGE]).expect("open");
    let now = Clock::System.ticks();
    let guard = fixture.outbox.queue.lock();
    assert_eq!(fixture.look(now + 100 * LIMIT), Some(now + 100 * LIMIT + LIMIT / LOOKS));
    fixture.outbox.flush_for_owner();
    drop(guard);
    assert_eq!(fixture.counts(), (0, 0));
}

#[test]
fn looks_are_never_farther_apart_than_some_seconds_nor_nearer_than_a_tick() {
    for (limit, step) in [(1, 1), (8, 1), (16, 2), (8 * 256, 256), (1 << 20, 256)] {
        let fixture = with(Watch::Input, Some(limit));
        fixture.outbox.reply(&[b'a'; LARGE]).expect("open");
        let now = Clock::System.ticks();
        assert_eq!(fixture.look(now), Some(now + step), "{limit}");
    }
}

#[test]
fn without_a_limit_nobody_looks() {
    let fixture = with(Watch::Input, None);
    fixture.outbox.reply(&[b'a'; LARGE]).expect("open");
    assert_eq!(fixture.notes(), []);
    assert!(fixture.home.outputs.get(KEY).is_some(), "room is waited for all the same");
    assert_eq!(fixture.look(Clock::System.ticks() + (1 << 20)), None);
    assert_eq!(fixture.counts(), (0, 0));
}

#[test]
fn what_waits_for_a_busy_owner_is_written_unless_a_disk_may_be_slow() {
    for (watch, file, written) in [
        (Watch::Input, false, true),
        (Watch::Input, true, false),
        (Watch::Nothing, false, true),
        (Watch::Nothing, true, true),
    ] {
        let mut fixture = with(watch, Some(LIMIT));
        if file {
            fixture.outbox.reply_file(b"", content(LARGE)).expect("open");
        } else {
            fixture.outbox.reply(&[b'a'; LARGE]).expect("open");
        }
        while !fixture.read(LARGE).0.is_empty() {}
        fixture.outbox.flush_for_owner();
        assert_eq!(!fixture.read(LARGE).0.is_empty(), written, "{watch:?}, a file: {file}");
        if watch == Watch::Input {
            fixture.outbox.look(Clock::System.ticks(), Owner::Busy, LINGER);
            assert_eq!(!fixture.read(LARGE).0.is_empty(), written, "{watch:?}, a file: {file}");
        }
    }
}

#[test]
fn a_busy_owner_is_helped_up_to_its_first_file() {
    let mut fixture = fixture();
    fixture.outbox.reply(&[b'a'; LARGE]).expect("open");
    fixture.outbox.reply_file(b"h", content(5)).expect("open");
    let mut all = Vec::new();
    for _ in 0..100 {
        all.extend(fixture.read(LARGE).0);
        fixture.outbox.flush_for_owner();
    }
    assert_eq!(runs(&all), [(b'a', LARGE), (b'h', 1)]);
    fixture.outbox.look(Clock::System.ticks(), Owner::Busy, LINGER);
    assert_eq!(fixture.read(1).0, b"");
    assert_eq!(fixture.read_through(), b"fffff");
}

#[test]
fn a_file_goes_behind_its_head_and_what_waits() {
    let mut fixture = fixture();
    fixture.outbox.reply_file(b"hh", content(3)).expect("open");
    assert!(!fixture.outbox.waits());
    assert_eq!(fixture.read(100).0, b"hhfff");
    fixture.outbox.reply_file(b"hh", content(LARGE)).expect("open");
    fixture.sender().send("p").expect("open");
    fixture.outbox.reply_file(b"h", content(5)).expect("open");
    assert_eq!(fixture.sender().waiting(), 2, "files are not in memory");
    let expected = [(b'h', 2), (b'f', LARGE), (b'p', 1), (b'h', 1), (b'f', 5)];
    assert_eq!(runs(&fixture.read_through()), expected);
    assert_eq!(fixture.notes(), [Note::OutputWaits(KEY)]);
}

#[test]
fn older_pushes_make_room_and_replies_do_not() {
    let mut fixture = fixture();
    fixture.outbox.reply(&[b'a'; LARGE]).expect("open");
    let sender = fixture.sender();
    let begun = sender.waiting();
    sender.limit(10, SlowReceiver::DropOldest);
    for message in ["11111", "22222"] {
        assert_eq!(sender.send(message), Ok(()));
    }
    assert_eq!((sender.waiting(), sender.dropped()), (begun + 10, 0), "exactly full");
    assert_eq!(sender.send("3"), Ok(()));
    assert_eq!((sender.waiting(), sender.dropped()), (begun + 6, 1));
    assert_eq!(sender.send("4444444444"), Ok(()), "in place of two");
    assert_eq!((sender.waiting(), sender.dropped()), (begun + 10, 3));
    assert_eq!(sender.send("55555555555"), Err(SendError::TooLarge));
    assert_eq!(sender.dropped(), 3, "there never was room for it");
    assert_eq!(fixture.home.counters.pushes_dropped.get(), 3);
    assert_eq!(runs(&fixture.read_through()), [(b'a', LARGE), (b'4', 10)]);
}

/// While a large reply waits, pushes are neither refused nor do they close the connection.
#[test]
fn replies_do_not_count_against_the_bound_of_pushes() {
    for policy in [SlowReceiver::Close, SlowReceiver::DropOldest] {
        let mut fixture = fixture();
        let sender = fixture.sender();
        sender.limit(10, policy);
        fixture.outbox.reply(&[b'a'; LARGE]).expect("open");
        fixture.outbox.reply_file(b"hh", content(5)).expect("open");
        assert_eq!(sender.send("ppppp"), Ok(()));
        fixture.outbox.reply(&[b'b'; 100]).expect("open");
        assert_eq!(sender.send("qqqqq"), Ok(()), "exactly full");
        assert_eq!((sender.dropped(), sender.is_closed()), (0, false));
        let expected = [(b'a', LARGE), (b'h', 2), (b'f', 5), (b'p', 5), (b'b', 100), (b'q', 5)];
        assert_eq!(runs(&fixture.read_through()), expected);
        assert_eq!(sender.waiting(), 0);
        // The bytes that were pushed are counted down as they go.
        fixture.outbox.reply(&[b'a'; LARGE]).expect("open");
        assert_eq!((sender.send("ppppp"), sender.send("qqqqq")), (Ok(()), Ok(())));
        let beyond = sender.send("r");
        match policy {
            SlowReceiver::Close => assert_eq!(beyond, Err(SendError::TooSlow)),
            SlowReceiver::DropOldest => assert_eq!((beyond, sender.dropped()), (Ok(()), 1)),
        }
    }
}

#[test]
fn a_push_that_is_begun_is_not_dropped() {
    let mut fixture = fixture();
    let sender = fixture.sender();
    sender.send(vec![b'a'; LARGE]).expect("open");
    let begun = sender.waiting();
    sender.limit(begun, SlowReceiver::DropOldest);
    assert_eq!(sender.send("b"), Err(SendError::TooLarge));
    // A whole one that waits may go, until some of it is out.
    sender.limit(begun + 2 * LARGE, SlowReceiver::DropOldest);
    sender.send(vec![b'c'; LARGE]).expect("open");
    let mut all = Vec::new();
    while sender.waiting() > LARGE / 2 {
        all.extend(fixture.read(4096).0);
        fixture.outbox.flush().expect("open");
    }
    sender.limit(sender.waiting(), SlowReceiver::DropOldest);
    assert_eq!(sender.send("b"), Err(SendError::TooLarge));
    all.extend(fixture.read_through());
    assert_eq!(runs(&all), [(b'a', LARGE), (b'c', LARGE)]);
}

#[test]
fn a_slow_receiver_is_closed_beyond_its_bound() {
    let mut fixture = fixture();
    let sender = fixture.sender();
    sender.send(vec![b'a'; LARGE]).expect("taken whatever its size");
    sender.limit(sender.waiting() + 1, SlowReceiver::Close);
    assert_eq!(sender.send("b"), Ok(()));
    assert_eq!(sender.send("c"), Err(SendError::TooSlow));
    assert_eq!(sender.send("d"), Err(SendError::Closed));
    assert_eq!(fixture.home.counters.slow_receivers_closed.get(), 1);
    assert_eq!((fixture.counts(), sender.waiting()), ((0, 0), 0));
    let kind = fixture.outbox.reply(b"x").map_err(|error| error.kind());
    assert_eq!(kind, Err(io::ErrorKind::BrokenPipe));
    assert!(fixture.read(LARGE * 2).1);
}

#[test]
fn a_finished_connection_is_closed_on_our_side_once_all_is_out() {
    let mut fixture = fixture();
    fixture.outbox.reply(&[b'a'; LARGE]).expect("open");
    let sender = fixture.sender();
    fixture.sender().finish();
    assert_eq!(sender.send("late"), Err(SendError::Closed));
    assert!(!sender.is_closed(), "what waits is still sent");
    assert_eq!(runs(&fixture.read_through()), [(b'a', LARGE)]);
    assert_eq!(fixture.read(1), (vec![], true));
}

#[test]
fn a_peer_that_stays_after_the_end_is_closed_once_the_time_to_linger_is_over() {
    for (limit, first) in [(Some(LIMIT), LIMIT / LOOKS), (None, LINGER)] {
        let fixture = with(Watch::Input, limit);
        fixture.sender().finish();
        assert_eq!(fixture.notes(), [Note::OutputWaits(KEY)]);
        fixture.sender().finish();
        let ended = fixture.outbox.queue.lock().ended.expect("it has ended");
        assert_eq!(fixture.look(ended), Some(ended + first));
        assert_eq!(fixture.look(ended + LINGER - 1), Some(ended + LINGER));
        assert_eq!(fixture.counts(), (0, 0));
        assert_eq!(fixture.look(ended + LINGER), None);
        assert_eq!(fixture.counts(), (0, 1));
        assert!(fixture.sender().is_closed());
        assert_eq!(fixture.look(ended + LINGER), None);
        assert_eq!(fixture.counts(), (0, 1));
    }
}

#[test]
fn what_the_owner_ends_itself_is_not_ended_twice() {
    let fixture = fixture();
    let sender = fixture.sender();
    fixture.sender().finish();
    fixture.outbox.leave_end_to_owner();
    assert_eq!(fixture.look(Clock::System.ticks() + 10 * LINGER), None);
    assert_eq!((sender.send("x"), sender.is_closed()), (Err(SendError::Closed), true));
    fixture.outbox.end_turn();
    assert_eq!(fixture.counts(), (0, 0));
}

#[test]
fn a_sender_that_is_finished_in_its_own_turn_does_not_cut_the_reply_off() {
    let mut fixture = fixture();
    fixture.outbox.sender(1).finish();
    assert_eq!(fixture.read(1), (vec![], false));
    fixture.outbox.reply(b"reply").expect("open");
    fixture.outbox.end_turn();
    assert_eq!(fixture.read(100), (b"reply".to_vec(), true));
}

#[test]
fn a_pushed_reply_ends_with_its_last_sender() {
    let mut fixture = fixture();
    assert!(!fixture.outbox.has_sender());
    let one = fixture.sender();
    assert!(fixture.outbox.has_sender());
    let two = one.clone();
    assert!(fixture.outbox.begin_push());
    drop(one);
    assert!(fixture.outbox.has_sender());
    two.send("x").expect("open");
    assert_eq!(fixture.read(100), (b"x".to_vec(), false));
    drop(two);
    assert!(!fixture.outbox.has_sender());
    assert_eq!(fixture.read(1), (vec![], true));
}

#[test]
fn a_pushed_reply_that_has_ended_before_it_begins_is_seen() {
    let mut fixture = fixture();
    assert!(!fixture.outbox.begin_push(), "nobody pushes");
    assert_eq!(fixture.read(1), (vec![], false), "its owner ends it");
    let fixture = self::fixture();
    let _other = fixture.sender();
    fixture.sender().finish();
    assert!(!fixture.outbox.begin_push(), "it is finished");
}

#[test]
fn a_sender_that_goes_ends_nothing_where_nothing_is_pushed() {
    let mut fixture = fixture();
    drop(fixture.sender());
    assert_eq!(fixture.read(1), (vec![], false));
}

#[test]
fn a_connection_that_gets_another_owner_takes_no_more_pushes_and_stays_open() {
    let mut fixture = fixture();
    let sender = fixture.sender();
    sender.send(vec![b'a'; LARGE]).expect("open");
    assert!(!fixture.outbox.retire().expect("open"));
    assert_eq!((sender.send("late"), sender.is_closed()), (Err(SendError::Closed), true));
    let mut all = Vec::new();
    while !fixture.outbox.retire().expect("open") {
        all.extend(fixture.read(4096).0);
    }
    all.extend(fixture.read(LARGE).0);
    assert_eq!(runs(&all), [(b'a', LARGE)]);
    assert_eq!(fixture.read(1), (vec![], false), "not shut down");
    let kind = |error: io::Error| error.kind();
    assert_eq!(fixture.outbox.reply(b"x").map_err(kind), Err(io::ErrorKind::BrokenPipe));
    assert_eq!(fixture.outbox.retire().map_err(kind), Err(io::ErrorKind::BrokenPipe));
}

#[test]
fn an_outbox_that_is_gone_is_not_found() {
    let fixture = fixture();
    fixture.outbox.reply(&[b'a'; LARGE]).expect("open");
    let sender = fixture.sender();
    assert!(fixture.home.outputs.get(KEY).is_some());
    let Fixture { outbox, home, peer } = fixture;
    drop(outbox);
    assert_eq!(home.outputs.len(), 0, "nor is anything kept of it");
    assert_eq!((sender.send("x"), sender.is_closed()), (Err(SendError::Closed), true));
    assert_eq!((sender.waiting(), sender.dropped()), (0, 0));
    sender.close();
    drop(peer);
}

#[test]
fn a_sender_can_close() {
    let mut fixture = fixture();
    fixture.outbox.reply(&[b'a'; LARGE]).expect("open");
    let sender = fixture.sender();
    sender.close();
    assert!(sender.is_closed() && sender.waiting() == 0);
    assert!(fixture.read(LARGE).1, "what the socket had, and the end");
    assert_eq!(fixture.counts(), (0, 0));
}

/// Whether or not all was out when the sender came to its end.
#[test]
fn a_sender_of_a_connection_that_was_handed_over_does_not_end_it() {
    for waits in [false, true] {
        let mut fixture = fixture();
        let (closes, finishes, last) = (fixture.sender(), fixture.sender(), fixture.sender());
        if waits {
            assert!(fixture.outbox.reply(&vec![b'x'; LARGE]).expect("a peer").is_some());
        }
        assert!(fixture.outbox.begin_push(), "the last sender's drop would end it");
        let mut is_out = fixture.outbox.retire().expect("open");
        assert_eq!(is_out, !waits);
        closes.close();
        finishes.finish();
        drop((closes, last));
        while !is_out {
            fixture.read(4096);
            is_out = fixture.outbox.retire().expect("open");
        }
        let (_, ended) = fixture.read(LARGE * 2);
        assert!(!ended, "the new owner has lost it");
    }
}

#[test]
fn memory_of_output_is_counted_until_all_of_it_is_out() {
    let mut fixture = fixture();
    fixture.outbox.reply(b"fits").expect("open");
    assert_eq!(fixture.home.waiting.used(), 0, "it does not wait");
    fixture.outbox.reply(&vec![b'a'; LARGE]).expect("open");
    let counted = fixture.home.waiting.used();
    assert!((1..=LARGE).contains(&counted));
    fixture.outbox.reply_file(b"head", content(10)).expect("open");
    assert_eq!(fixture.home.waiting.used(), counted + 4, "a file is not in memory");
    fixture.read(1 << 20);
    fixture.outbox.flush().expect("open");
    assert_eq!(fixture.home.waiting.used(), counted + 4, "the rest holds all of the memory");
    fixture.read_through();
    assert_eq!(fixture.home.waiting.used(), 0);
}

#[test]
fn memory_of_output_that_is_never_sent_is_given_back() {
    for is_closed in [true, false] {
        let fixture = fixture();
        let sender = fixture.sender();
        sender.limit(LARGE * 2, SlowReceiver::DropOldest);
        fixture.outbox.reply(&vec![b'a'; LARGE]).expect("open");
        let counted = fixture.home.waiting.used();
        for _ in 0..5 {
            sender.send(vec![b'b'; LARGE]).expect("room");
        }
        assert_eq!(fixture.home.waiting.used(), counted + 2 * LARGE, "the oldest are dropped");
        if is_closed {
            fixture.outbox.close();
            assert_eq!(fixture.home.waiting.used(), 0);
        }
        let Fixture { outbox, home, .. } = fixture;
        drop(outbox);
        assert_eq!(home.waiting.used(), 0);
    }
}
