//! Reading and writing a connection while the calling thread waits: for bodies that are too large to
//! be whole before their handler runs, and for stream handlers.
//!
//! Only for code that may wait where it is ([`Turn::waiting`](crate::Turn::waiting)), or in user code
//! on a shard's thread, whose shard another thread takes meanwhile. Each wait has its own deadline, which
//! is measured from the moment when the wait begins.

use std::fs::File;
use std::io;
use std::net::Shutdown;
use std::ops::Range;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use threadline_pool::about_to_block;

use super::outbox::{Content, Filled, LOOKS, Outbox};
use super::session::Session;
use super::socket::Socket;
use crate::route::Route;
use crate::sys::Clock;
use crate::transport::{
    Need, REPLY_PART, Received, Sent, Transport, send_file, tell_unreadable, to_start,
};

/// Stands for the route of a source that no handler has sent.
static NO_ROUTE: LazyLock<Arc<Route>> = LazyLock::new(|| Route::new("source"));

/// The shortest wait: `poll` counts in milliseconds or more.
const WAIT_MIN: Duration = Duration::from_millis(1);

impl Session {
    /// Reads what has come, and waits for it if need be; 0 at the end of input.
    ///
    /// # Errors
    /// [`io::ErrorKind::TimedOut`] if nothing comes for so long; `None` waits for ever.
    pub fn receive(&mut self, buffer: &mut [u8], limit: Option<Duration>) -> io::Result<usize> {
        self.send_unsent().inspect_err(|error| self.failed(error))?;
        let transport = self.transport().ok_or(io::ErrorKind::NotConnected)?;
        loop {
            match transport.read(buffer) {
                Ok(Received::Data(range)) => return Ok(to_start(buffer, range)),
                Ok(Received::End) => return Ok(0),
                Ok(Received::Wait(need)) => wait_while(transport, need, limit, &self.home.clock)?,
                Err(error) => {
                    self.home.counters.count_vanished(&error);
                    return Err(error);
                }
            }
        }
    }

    /// Whether the peer is gone: the connection was reset, or both sides are closed.
    pub(crate) fn has_failed(&self) -> bool {
        self.transport().is_none_or(Transport::has_failed)
    }

    /// How many bytes [`Session::receive`] gives without waiting.
    pub(crate) fn unread_len(&self) -> u64 {
        self.transport().map_or(0, Transport::buffered)
    }

    /// Writes all of `bytes`, behind what waits already, and waits for the peer to read if need be.
    ///
    /// # Errors
    /// [`io::ErrorKind::TimedOut`] if the peer takes no byte for so long; `None` waits for ever. The
    /// connection is closed then.
    pub fn send(&mut self, bytes: &[u8], limit: Option<Duration>) -> io::Result<()> {
        self.send_unsent().inspect_err(|error| self.failed(error))?;
        let sent = match &self.socket {
            Some(Socket::Own(transport)) => self.send_alone(transport, bytes, limit),
            Some(Socket::Shared(outbox)) => send_in_turn(outbox, bytes, limit),
            None => Err(io::ErrorKind::NotConnected.into()),
        };
        sent.inspect_err(|error| self.failed(error))
    }

    /// Writes where nobody else does.
    fn send_alone(
        &self,
        transport: &Transport,
        bytes: &[u8],
        limit: Option<Duration>,
    ) -> io::Result<()> {
        let mut left = bytes;
        while let Sent::Part(count) = transport.write(left, usize::MAX)? {
            left = &left[count..];
            wait_for_room(transport, limit, &self.home.clock).inspect_err(|error| {
                if error.kind() == io::ErrorKind::TimedOut {
                    self.home.counters.timeouts_write.increment();
                    // The close throws away what the peer does not take.
                    transport.reset_on_close(true);
                    self.shut_down(Shutdown::Both);
                }
            })?;
        }
        Ok(())
    }

    /// Waits until all output is out, and ends what senders there are: the connection gets another owner.
    ///
    /// # Errors
    /// As those of [`Session::send`].
    pub(crate) fn send_last(&self, limit: Option<Duration>) -> io::Result<()> {
        let Some(Socket::Shared(outbox)) = &self.socket else { return Ok(()) };
        retire(outbox, limit).inspect_err(|error| self.failed(error))
    }

    fn failed(&self, error: &io::Error) {
        self.home.counters.count_vanished(error);
        tell_unreadable(error);
    }

    /// Sends a part of a file behind `head`, by the kernel and without waiting for the peer: what it
    /// does not take at once waits with the connection, without a thread. The file itself may be
    /// waited for.
    ///
    /// # Errors
    /// If the peer is gone or the file cannot be read.
    pub fn send_file(&mut self, head: &[u8], file: File, range: Range<u64>) -> io::Result<()> {
        self.start_file(head, file, range).inspect_err(tell_unreadable)
    }

    fn start_file(&mut self, head: &[u8], file: File, range: Range<u64>) -> io::Result<()> {
        self.send_unsent()?;
        let (mut offset, end) = (range.start, range.end.max(range.start));
        let mut head_left = head;
        if let Some(Socket::Own(transport)) = &self.socket {
            match transport.write(head, REPLY_PART)? {
                Sent::Part(count) => head_left = &head[count..],
                Sent::All if send_file(transport, &file, &mut offset, end)? == Sent::All => {
                    return Ok(());
                }
                Sent::All => head_left = &[],
            }
        }
        let outbox = self.outbox().ok_or(io::ErrorKind::NotConnected)?;
        outbox.reply_file(head_left, Content::File { file, offset, end })
    }
}

/// Writes behind what waits, as one piece: nothing that others push gets into it.
fn send_in_turn(outbox: &Outbox, bytes: &[u8], limit: Option<Duration>) -> io::Result<()> {
    if let Some(number) = outbox.reply(bytes)? {
        while !outbox.flush_through(number)? {
            go_on(outbox, limit)?;
        }
    }
    Ok(())
}

fn retire(outbox: &Outbox, limit: Option<Duration>) -> io::Result<()> {
    while !outbox.retire()? {
        go_on(outbox, limit)?;
    }
    Ok(())
}

/// If a source is next in the queue, asks it for more. Otherwise waits for room.
fn go_on(outbox: &Outbox, limit: Option<Duration>) -> io::Result<()> {
    if !outbox.wants_fill() {
        return wait_with(outbox, limit);
    }
    match outbox.fill(usize::MAX, &NO_ROUTE)? {
        Filled::CutOff => {
            // What was to come behind it must not be taken for its rest.
            outbox.close();
            Err(io::ErrorKind::BrokenPipe.into())
        }
        Filled::Stalled | Filled::Enough | Filled::Ended => Ok(()),
    }
}

fn wait_with(outbox: &Outbox, limit: Option<Duration>) -> io::Result<()> {
    wait_while_taken(outbox.transport(), limit, outbox.clock(), || outbox.taken()).inspect_err(
        |error| {
            if error.kind() == io::ErrorKind::TimedOut {
                outbox.time_out();
            }
        },
    )
}

/// Waits until the transport has what a read needs.
fn wait_while(
    transport: &Transport,
    need: Need,
    limit: Option<Duration>,
    clock: &Clock,
) -> io::Result<()> {
    about_to_block();
    let began = clock.instant();
    loop {
        let left = limit.map(|limit| limit.saturating_sub(clock.instant() - began));
        if wait_once(transport, need, left)? {
            return Ok(());
        }
        if left.is_some_and(|left| left.is_zero()) {
            return Err(io::ErrorKind::TimedOut.into());
        }
    }
}

/// Waits until there is room for output again.
///
/// # Errors
/// [`io::ErrorKind::TimedOut`] if the peer takes no byte for so long; `None` waits for ever.
pub(crate) fn wait_for_room(
    transport: &Transport,
    limit: Option<Duration>,
    clock: &Clock,
) -> io::Result<()> {
    // While this thread waits, nobody writes: what the peer takes is missing in the transport.
    wait_while_taken(transport, limit, clock, || -(transport.untaken_len() as i64))
}

/// As [`wait_for_room`], where `taken` tells by a number that grows how much the peer has taken: the kernel
/// says that there is room only when a third of the socket's buffer is free.
fn wait_while_taken(
    transport: &Transport,
    limit: Option<Duration>,
    clock: &Clock,
    taken: impl Fn() -> i64,
) -> io::Result<()> {
    about_to_block();
    // What is seen first is known since that moment.
    let (mut since, mut before) = (clock.instant(), i64::MIN);
    loop {
        let step =
            limit.map(|limit| (limit / LOOKS).min(limit.saturating_sub(clock.instant() - since)));
        if wait_once(transport, Need::Room, step)? {
            return Ok(());
        }
        let now = taken();
        if now > before {
            since = clock.instant();
        } else if limit.is_some_and(|limit| clock.instant() - since >= limit) {
            return Err(io::ErrorKind::TimedOut.into());
        }
        before = now;
    }
}

/// False if the time is over, or a signal has come.
fn wait_once(transport: &Transport, need: Need, limit: Option<Duration>) -> io::Result<bool> {
    match transport.wait(need, limit.map(|limit| limit.max(WAIT_MIN))) {
        Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(false),
        other => other,
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::io::{Read, Write};
    use std::os::unix::net::UnixStream;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::thread;
    use std::time::Instant;

    use super::*;
    use crate::connection::{Home, SessionParts, Watch};
    use crate::deadline::WriteLimit;
    use crate::sys::{Epoll, Interest, Waker};

    const LIMIT: Duration = Duration::from_millis(200);

    /// One whose buffers are full.
    fn full() -> (Transport, UnixStream) {
        let (mut ours, theirs) = UnixStream::pair().expect("a pair of sockets");
        ours.set_nonblocking(true).expect("a socket");
        while ours.write(&[0; 4096]).is_ok() {}
        (Transport::plain(ours), theirs)
    }

    #[test]
    fn a_peer_that_reads_nothing_is_waited_for_as_long_as_said() {
        let (ours, _theirs) = full();
        assert!(!ours.has_room());
        let began = Instant::now();
        let error = wait_for_room(&ours, Some(LIMIT), &Clock::System).expect_err("nobody reads");
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert!(began.elapsed() >= LIMIT);
    }

    #[test]
    fn a_peer_that_reads_a_little_is_waited_for_for_longer() {
        // Long enough for a busy machine, and shorter than it takes until there is room.
        let limit = LIMIT * 8;
        let (ours, mut theirs) = full();
        let done = AtomicBool::new(false);
        thread::scope(|scope| {
            let waiting = scope.spawn(|| {
                let waited = wait_for_room(&ours, Some(limit), &Clock::System);
                done.store(true, Ordering::Relaxed);
                waited
            });
            // A write at a time, long before there is room by the kernel's rule.
            let mut read = 0;
            while !done.load(Ordering::Relaxed) {
                theirs.read_exact(&mut [0; 4096]).expect("bytes");
                read += 1;
                thread::sleep(limit / 16);
            }
            assert!(waiting.join().expect("waiting").is_ok(), "gave up after {read} reads");
        });
        assert!(ours.has_room());
    }

    #[test]
    fn a_peer_that_is_gone_is_not_waited_for() {
        let (ours, theirs) = full();
        drop(theirs);
        assert!(wait_for_room(&ours, None, &Clock::System).is_ok(), "the next write says so");
        assert!(ours.has_room());
    }

    #[test]
    fn input_is_waited_for_as_long_as_said() {
        let (ours, mut theirs) = UnixStream::pair().expect("a pair of sockets");
        let ours = Transport::plain(ours);
        let began = Instant::now();
        let error =
            wait_while(&ours, Need::Input, Some(LIMIT), &Clock::System).expect_err("nothing comes");
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert!(began.elapsed() >= LIMIT);
        theirs.write_all(b"x").expect("writes");
        assert!(wait_while(&ours, Need::Input, None, &Clock::System).is_ok());
    }

    fn session(transport: Transport) -> Session {
        let (epoll, waker) = (Epoll::new().expect("epoll"), Waker::new().expect("an eventfd"));
        let home = Home::alone(epoll, waker, Clock::System);
        home.epoll.add(&transport, 1, Interest::Input).expect("registered");
        let (home, watch) = (Arc::new(home), Watch::Input);
        let write_limit = WriteLimit::NONE;
        let socket = Socket::Own(transport);
        let parts = SessionParts { socket, peer: None, home, key: 1, watch, write_limit };
        Session::new(parts)
    }

    #[test]
    fn a_write_that_waits_too_long_closes_the_connection_and_is_counted_once() {
        for has_sender in [false, true] {
            let (ours, mut theirs) = full();
            let mut session = session(ours);
            let home = Arc::clone(&session.home);
            let sender = has_sender.then(|| session.sender());
            let large = vec![0; 1 << 20];
            let kind = |sent: io::Result<()>| sent.map_err(|error| error.kind());
            assert_eq!(kind(session.send(&large, Some(LIMIT))), Err(io::ErrorKind::TimedOut));
            assert!(kind(session.send(b"more", Some(LIMIT))).is_err());
            assert!(sender.is_none_or(|sender| sender.is_closed()));
            assert_eq!(home.counters.timeouts_write.get(), 1);
            theirs.read_to_end(&mut Vec::new()).expect("the end");
        }
    }

    #[test]
    fn a_peer_that_reads_gets_all_of_a_write() {
        for has_sender in [false, true] {
            let (ours, mut theirs) = UnixStream::pair().expect("a pair of sockets");
            ours.set_nonblocking(true).expect("a socket");
            let mut session = session(Transport::plain(ours));
            let sender = has_sender.then(|| session.sender());
            let reader = thread::spawn(move || {
                let mut all = Vec::new();
                theirs.read_to_end(&mut all).map(|_| all)
            });
            for byte in [b'a', b'b'] {
                session.send(&vec![byte; 3 << 20], Some(LIMIT * 50)).expect("a reader");
            }
            session.send_last(Some(LIMIT * 50)).expect("a reader");
            drop((session, sender));
            let all = reader.join().expect("reader").expect("reads");
            assert!(all.iter().eq([b'a'; 3 << 20].iter().chain(&[b'b'; 3 << 20])));
        }
    }

    #[test]
    fn a_range_that_ends_before_it_begins_is_empty() {
        let (ours, mut theirs) = UnixStream::pair().expect("a pair of sockets");
        ours.set_nonblocking(true).expect("a socket");
        let mut session = session(Transport::plain(ours));
        let file = File::open("/proc/self/exe").expect("this program");
        let range = Range { start: 10, end: 5 };
        session.send_file(b"head", file, range).expect("a peer");
        assert!(!session.output_waits());
        drop(session);
        let mut all = Vec::new();
        theirs.read_to_end(&mut all).expect("reads");
        assert_eq!(all, b"head");
    }
}
