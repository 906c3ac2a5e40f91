//! A connection whose other end is a test: see [`testing`](crate::testing).
//!
//! Both ends share a [`Link`]: the engine's is a [`Scripted`] transport, the test's a
//! [`Peer`](crate::testing::Peer). An eventfd is what the engine registers with epoll; each of its edges says
//! "input" and "room" alike. So events here are vaguer than those of sockets, which the contract of transports
//! allows: what there is, is found out by reading and writing.

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::net::{Shutdown, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::sync::Arc;
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

/// What both ends share.
#[derive(Debug)]
pub(crate) struct Link {
    ready: OwnedFd,
    clock: Clock,
    local: SocketAddr,
    script: Mutex<Script>,
    /// For the engine's threads: anything in the script has changed, or the time has.
    changed: Condvar,
    /// For the test: the engine has done something.
    answered: Condvar,
}

/// The state of a connection, and what is to happen on it.
#[derive(Debug)]
pub(crate) struct Script {
    /// Pieces that the peer has sent; a read gets no more than the first.
    input: VecDeque<VecDeque<u8>>,
    /// The peer sends no more.
    input_ended: bool,
    /// What a read gets at most.
    pub(crate) read_max: usize,
    /// So many reads find nothing, although there is something.
    pub(crate) stalls: usize,
    /// So many calls that wait are interrupted.
    pub(crate) interrupts: usize,
    /// The connection has failed, and the engine has not been told.
    failure: Option<io::ErrorKind>,
    /// The peer is gone, in whatever way.
    gone: bool,
    /// What the engine has written and the peer has not taken.
    pub(crate) output: Vec<u8>,
    /// How much more the engine may write; `usize::MAX` for ever.
    room: usize,
    /// Whether files are sent without the engine reading them.
    pub(crate) sends_files: bool,
    /// The engine has closed its sides.
    write_shut: bool,
    read_shut: bool,
    /// The engine has dropped its end.
    dropped: bool,
    read_limit: Option<Duration>,
    /// Threads of the engine that wait.
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

    /// How many bytes of so many can be written.
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

    /// Whether the engine has ended its output.
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

    /// The peer is gone; what it has sent can still be read.
    pub(crate) fn close(&mut self) {
        (self.input_ended, self.gone) = (true, true);
    }

    /// The connection has failed: what was on its way is lost.
    pub(crate) fn reset(&mut self) {
        self.close();
        self.input.clear();
        self.failure = Some(io::ErrorKind::ConnectionReset);
    }

    pub(crate) fn set_room(&mut self, room: usize) {
        self.room = room;
    }

    /// How many bytes the engine has not read.
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

    /// Waits for a change. The time counts as one.
    fn wait(&self, script: &mut MutexGuard<'_, Script>) {
        script.resting.begin(&self.clock);
        self.changed.wait(script);
    }

    /// As a peer waits: in real time, and not for ever. False once that is over.
    pub(crate) fn wait_as_peer(
        &self,
        script: &mut MutexGuard<'_, Script>,
        limit: Duration,
    ) -> bool {
        !self.answered.wait_for(script, limit).timed_out()
    }

    /// Something has changed for the engine: an edge, and its threads look again.
    pub(crate) fn tell_engine(&self, script: &mut Script) {
        // A write is an edge for those who are registered for input, a read for output. Last is a write, since
        // epoll asks what there is when it tells of an edge.
        let _ = rustix::io::write(&self.ready, &1u64.to_ne_bytes());
        let _ = rustix::io::read(&self.ready, &mut [0; 8]);
        let _ = rustix::io::write(&self.ready, &1u64.to_ne_bytes());
        self.wake_engine(script);
    }

    fn wake_engine(&self, script: &mut Script) {
        script.resting.end(&self.clock);
        self.changed.notify_all();
    }

    /// The engine has written or ended something.
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
        // A thread that is about to wait has the lock, and has seen the time before it moved.
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
            // There will be an event, as there always is after this answer.
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
        // As the kernel does: whoever waits on either end is told.
        self.link.tell_engine(&mut script);
        self.link.tell_peer();
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
        let script = self.link.lock();
        script.input_ended || script.read_shut
    }

    pub(super) fn has_failed(&self) -> bool {
        let script = self.link.lock();
        script.gone || ((script.input_ended || script.read_shut) && script.write_shut)
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
        self.link.lock().dropped = true;
        self.link.tell_peer();
    }
}
