//! Connections whose peer is a test: see [`testing`](crate::testing).
//!
//! Both ends share a [`Link`]. The engine has a [`Scripted`] transport, the test has a
//! [`Peer`](crate::testing::Peer). The engine registers an eventfd with epoll. Each of its edges reports input
//! and room at the same time, whichever has changed; the contract of transports allows such spurious events.

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::net::{Shutdown, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::{Condvar, Mutex, MutexGuard};
use rustix::event::{EventfdFlags, eventfd};

use super::{Ahead, FileSent, Need, PART, Received, Sent, file};
use crate::sys::{Clock, Resting};
use crate::testing::{Clock as TestClock, Sleeper};

/// The engine's end.
#[derive(Debug)]
pub(crate) struct Scripted {
    link: Arc<Link>,
}

/// The shared state of both ends.
#[derive(Debug)]
pub(crate) struct Link {
    ready: OwnedFd,
    clock: Clock,
    local: SocketAddr,
    script: Mutex<Script>,
    /// Signals the engine's threads: the script or the time has changed.
    changed: Condvar,
    /// Signals the test: the engine has written or closed.
    answered: Condvar,
}

/// The state of a connection, and the disturbances that the test has ordered.
#[derive(Debug)]
pub(crate) struct Script {
    /// Pieces that the peer has sent. A read never crosses the end of a piece.
    input: VecDeque<VecDeque<u8>>,
    /// The peer has closed its sending side.
    input_ended: bool,
    /// The most bytes that a read returns.
    pub(crate) read_max: usize,
    /// The number of reads that will return `Wait` despite input.
    pub(crate) stalls: usize,
    /// The number of blocking calls that will return `EINTR`.
    pub(crate) interrupts: usize,
    /// An error that the engine has not seen yet.
    failure: Option<io::ErrorKind>,
    /// The peer has closed or reset the connection.
    gone: bool,
    /// Bytes that the engine has written and the peer has not taken.
    pub(crate) output: Vec<u8>,
    /// The number of bytes that the engine may still write; `usize::MAX` means no bound.
    room: usize,
    /// Whether `write_file` is supported.
    pub(crate) sends_files: bool,
    /// Directions that the engine has shut down.
    write_shut: bool,
    read_shut: bool,
    /// The engine has dropped its end.
    dropped: bool,
    /// A drop of the engine's end resets the connection.
    reset_on_close: bool,
    /// The engine has reset the connection.
    pub(crate) was_reset: bool,
    read_limit: Option<Duration>,
    /// Threads of the engine that block on this connection.
    resting: Resting,
}

impl Script {
    fn give(&mut self, buffer: &mut [u8]) -> Option<io::Result<Received>> {
        if let Some(failure) = self.failure.take() {
            return Some(Err(failure.into()));
        }
        if let Some(piece) = self.input.front_mut() {
            let count = piece.len().min(buffer.len()).min(self.read_max);
            for (to, from) in buffer.iter_mut().zip(piece.drain(..count)) {
                *to = from;
            }
            if piece.is_empty() {
                self.input.pop_front();
            }
            return Some(Ok(Received::Data(0..count)));
        }
        (self.input_ended || self.read_shut).then_some(Ok(Received::End))
    }

    fn ahead(&self) -> Ahead {
        match () {
            () if self.failure.is_some() => Ahead::End,
            () if !self.input.is_empty() => Ahead::Data,
            () if self.input_ended || self.read_shut => Ahead::End,
            () => Ahead::Nothing,
        }
    }

    fn has_room(&self) -> bool {
        self.room > 0 || self.gone || self.write_shut
    }

    /// The number of bytes, of `count`, that can be written.
    fn admit(&mut self, count: usize) -> io::Result<usize> {
        if let Some(failure) = self.failure.take() {
            return Err(failure.into());
        }
        if self.gone || self.write_shut {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        let count = count.min(self.room);
        if self.room != usize::MAX {
            self.room -= count;
        }
        Ok(count)
    }

    /// Whether the peer sends no more.
    pub(crate) fn has_hung_up(&self) -> bool {
        self.input_ended || self.read_shut
    }

    /// Whether nothing reaches the peer any more.
    pub(crate) fn has_failed(&self) -> bool {
        self.gone || (self.has_hung_up() && self.write_shut)
    }

    /// Whether the engine has closed its sending side.
    pub(crate) fn output_ended(&self) -> bool {
        self.write_shut || self.dropped
    }

    /// Whether the engine has dropped its end.
    pub(crate) fn is_dropped(&self) -> bool {
        self.dropped
    }

    pub(crate) fn send(&mut self, piece: &[u8]) {
        if !piece.is_empty() && !self.input_ended && !self.read_shut && !self.dropped {
            self.input.push_back(piece.iter().copied().collect());
        }
    }

    pub(crate) fn end_input(&mut self) {
        self.input_ended = true;
    }

    /// The peer closes the connection. The engine can still read what was sent before.
    pub(crate) fn close(&mut self) {
        (self.input_ended, self.gone) = (true, true);
    }

    /// The peer resets the connection. Unread input is lost.
    pub(crate) fn reset(&mut self) {
        self.close();
        self.input.clear();
        self.failure = Some(io::ErrorKind::ConnectionReset);
    }

    pub(crate) fn set_room(&mut self, room: usize) {
        self.room = room;
    }

    /// The number of bytes that the engine has not read.
    pub(crate) fn unread_len(&self) -> usize {
        self.input.iter().map(VecDeque::len).sum()
    }
}

impl Link {
    pub(crate) fn new(clock: &TestClock, local: SocketAddr) -> io::Result<Arc<Link>> {
        let script = Script {
            input: VecDeque::new(),
            input_ended: false,
            read_max: usize::MAX,
            stalls: 0,
            interrupts: 0,
            failure: None,
            gone: false,
            output: Vec::new(),
            room: usize::MAX,
            sends_files: true,
            write_shut: false,
            read_shut: false,
            dropped: false,
            reset_on_close: false,
            was_reset: false,
            read_limit: None,
            resting: Resting::default(),
        };
        let ready = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        let link = Arc::new(Link {
            ready,
            clock: Clock::Test(clock.clone()),
            local,
            script: Mutex::new(script),
            changed: Condvar::new(),
            answered: Condvar::new(),
        });
        let sleeper: Arc<dyn Sleeper> = Arc::<Link>::clone(&link);
        clock.wake_with_time(Arc::downgrade(&sleeper));
        Ok(link)
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, Script> {
        self.script.lock()
    }

    /// Waits until the script or the time changes.
    fn wait(&self, script: &mut MutexGuard<'_, Script>) {
        script.resting.begin(&self.clock);
        self.changed.wait(script);
    }

    /// Waits for the engine, in real time. Returns false after `limit`.
    pub(crate) fn wait_as_peer(
        &self,
        script: &mut MutexGuard<'_, Script>,
        limit: Duration,
    ) -> bool {
        !self.answered.wait_for(script, limit).timed_out()
    }

    /// Raises an event and wakes the threads that block here.
    pub(crate) fn tell_engine(&self, script: &mut Script) {
        // A write to an eventfd is an edge for input, a read is one for output. The last call is a write because
        // epoll checks again, when it reports an edge, whether the descriptor is readable.
        let _ = rustix::io::write(&self.ready, &1u64.to_ne_bytes());
        let _ = rustix::io::read(&self.ready, &mut [0; 8]);
        let _ = rustix::io::write(&self.ready, &1u64.to_ne_bytes());
        self.wake_engine(script);
    }

    fn wake_engine(&self, script: &mut Script) {
        script.resting.end(&self.clock);
        self.changed.notify_all();
    }

    /// Wakes the test after the engine has written or closed.
    fn tell_peer(&self) {
        self.note_move();
        self.answered.notify_all();
    }

    fn note_move(&self) {
        self.test_clock().note_move();
    }

    fn elapsed(&self) -> Duration {
        self.test_clock().elapsed()
    }

    fn test_clock(&self) -> &TestClock {
        match &self.clock {
            Clock::Test(clock) => clock,
            Clock::System => unreachable!("a link is made with the clock of a test"),
        }
    }
}

impl Sleeper for Link {
    fn time_has_passed(&self) {
        // Under the lock: a thread that has read the time but does not wait yet holds it.
        self.wake_engine(&mut self.script.lock());
    }
}

impl Scripted {
    pub(crate) fn new(link: Arc<Link>) -> Self {
        Scripted { link }
    }

    pub(super) fn read(&self, buffer: &mut [u8]) -> io::Result<Received> {
        let mut script = self.link.lock();
        self.link.note_move();
        if script.stalls > 0 && script.ahead() != Ahead::Nothing {
            script.stalls -= 1;
            // The contract promises an event after `Wait`.
            self.link.tell_engine(&mut script);
            return Ok(Received::Wait(Need::Input));
        }
        script.give(buffer).unwrap_or(Ok(Received::Wait(Need::Input)))
    }

    pub(super) fn set_read_limit(&self, limit: Option<Duration>) {
        self.link.lock().read_limit = limit;
    }

    pub(super) fn read_blocking(&self, buffer: &mut [u8]) -> io::Result<Received> {
        let began = self.link.elapsed();
        let mut script = self.link.lock();
        let limit = script.read_limit;
        loop {
            if script.interrupts > 0 {
                script.interrupts -= 1;
                return Err(io::ErrorKind::Interrupted.into());
            }
            if let Some(received) = script.give(buffer) {
                self.link.note_move();
                return received;
            }
            if limit.is_some_and(|limit| self.link.elapsed() - began >= limit) {
                return Ok(Received::Wait(Need::Input));
            }
            self.link.wait(&mut script);
        }
    }

    pub(super) fn write(&self, bytes: &[u8], most: usize) -> io::Result<Sent> {
        let mut script = self.link.lock();
        let count = script.admit(bytes.len().min(most))?;
        script.output.extend_from_slice(&bytes[..count]);
        self.link.tell_peer();
        Ok(if count == bytes.len() { Sent::All } else { Sent::Part(count) })
    }

    pub(super) fn write_file(
        &self,
        file: &File,
        offset: &mut u64,
        end: u64,
    ) -> io::Result<FileSent> {
        let mut script = self.link.lock();
        if !script.sends_files {
            return Ok(FileSent::Unsupported);
        }
        let most = usize::try_from(end - *offset).unwrap_or(usize::MAX).min(PART);
        let count = script.admit(most)?;
        let start = script.output.len();
        script.output.resize(start + count, 0);
        if let Err(error) = file.read_exact_at(&mut script.output[start..], *offset) {
            script.output.truncate(start);
            return Err(file::unreadable(file, error));
        }
        *offset += count as u64;
        self.link.tell_peer();
        Ok(FileSent::Sent(if *offset == end { Sent::All } else { Sent::Part(count) }))
    }

    pub(super) fn shut_down(&self, how: Shutdown) {
        let mut script = self.link.lock();
        script.read_shut |= how != Shutdown::Write;
        script.write_shut |= how != Shutdown::Read;
        // Both ends are notified, as by the kernel.
        self.link.tell_engine(&mut script);
        self.link.tell_peer();
    }

    pub(super) fn reset_on_close(&self, on: bool) {
        self.link.lock().reset_on_close = on;
    }

    pub(super) fn reset(&self) {
        self.link.lock().was_reset = true;
        self.shut_down(Shutdown::Both);
    }

    pub(super) fn buffered(&self) -> u64 {
        self.link.lock().unread_len() as u64
    }

    pub(super) fn ahead(&self) -> Ahead {
        self.link.lock().ahead()
    }

    pub(super) fn untaken_len(&self) -> usize {
        self.link.lock().output.len()
    }

    pub(super) fn has_room(&self) -> bool {
        self.link.lock().has_room()
    }

    pub(super) fn has_hung_up(&self) -> bool {
        self.link.lock().has_hung_up()
    }

    pub(super) fn has_failed(&self) -> bool {
        self.link.lock().has_failed()
    }

    pub(crate) fn link(&self) -> Weak<Link> {
        Arc::downgrade(&self.link)
    }

    pub(super) fn wait(&self, need: Need, limit: Option<Duration>) -> io::Result<bool> {
        let began = self.link.elapsed();
        let mut script = self.link.lock();
        loop {
            if script.interrupts > 0 {
                script.interrupts -= 1;
                return Err(io::ErrorKind::Interrupted.into());
            }
            let is_there = match need {
                Need::Input => script.ahead() != Ahead::Nothing,
                Need::Room => script.has_room(),
            };
            if is_there {
                return Ok(true);
            }
            if limit.is_some_and(|limit| self.link.elapsed() - began >= limit) {
                return Ok(false);
            }
            self.link.wait(&mut script);
        }
    }

    pub(super) fn local_addr(&self) -> SocketAddr {
        self.link.local
    }
}

impl AsFd for Scripted {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.link.ready.as_fd()
    }
}

impl Drop for Scripted {
    fn drop(&mut self) {
        {
            let mut script = self.link.lock();
            script.dropped = true;
            script.was_reset |= script.reset_on_close;
        }
        self.link.tell_peer();
    }
}
