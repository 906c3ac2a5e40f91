//! Readiness by epoll(7).
//!
//! Connections are registered once, edge-triggered, and never re-armed on the fast path. Listeners
//! and datagram sockets are level-triggered, so that a bounded burst may leave the rest for the
//! next turn. `EPOLLOUT` is asked for only while output waits: on Unix sockets an always-armed
//! `EPOLLOUT` would fire at every read of the peer.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use rustix::buffer::spare_capacity;
use rustix::event::epoll;
use rustix::io::Errno;
use rustix::time::Timespec;

/// One epoll instance.
#[derive(Debug)]
pub(crate) struct Epoll {
    fd: OwnedFd,
}

/// What the kernel said of one descriptor.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Event {
    /// As it was registered.
    pub(crate) key: u64,
    flags: epoll::EventFlags,
}

/// What the kernel writes to. Belongs to a thread: its events may hold pointers, and so cannot go to
/// another thread with the shard, as our own [`Event`]s do.
pub(crate) struct EventBuffer(Vec<epoll::Event>);

impl std::fmt::Debug for EventBuffer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EventBuffer").field("capacity", &self.0.capacity()).finish()
    }
}

impl EventBuffer {
    pub(crate) fn new(batch: usize) -> Self {
        EventBuffer(Vec::with_capacity(batch))
    }
}

/// What a descriptor is registered for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Interest {
    /// A connection: input and the peer's close, once per edge.
    Input,
    /// As `Input`, and room for output.
    InputAndOutput,
    /// Room for output only, once per edge.
    Output,
    /// A socket of this shard alone that hands out connections or datagrams.
    Source,
    /// A listener that several shards share: the kernel wakes one of them.
    SharedSource,
}

/// What an event says.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Readiness(epoll::EventFlags);

impl Readiness {
    /// Bytes, a close or an error wait to be read.
    pub(crate) fn input(self) -> bool {
        use epoll::EventFlags as F;
        self.0.intersects(F::IN | F::RDHUP | F::HUP | F::ERR)
    }

    /// The socket takes output again (or has failed, which a write will tell).
    pub(crate) fn output(self) -> bool {
        use epoll::EventFlags as F;
        self.0.intersects(F::OUT | F::HUP | F::ERR)
    }

    /// The peer has closed at least its sending side. No further edge will announce it, so a short
    /// read must be followed by another.
    pub(crate) fn hang_up(self) -> bool {
        use epoll::EventFlags as F;
        self.0.intersects(F::RDHUP | F::HUP | F::ERR)
    }

    /// The connection has failed, or both of its directions are closed: nothing that is sent reaches the peer.
    pub(crate) fn failure(self) -> bool {
        use epoll::EventFlags as F;
        self.0.intersects(F::HUP | F::ERR)
    }
}

impl From<&Event> for Readiness {
    fn from(event: &Event) -> Self {
        Readiness(event.flags)
    }
}

impl Interest {
    fn flags(self) -> epoll::EventFlags {
        use epoll::EventFlags as F;
        match self {
            Interest::Input => F::IN | F::RDHUP | F::ET,
            Interest::InputAndOutput => F::IN | F::OUT | F::RDHUP | F::ET,
            Interest::Output => F::OUT | F::ET,
            Interest::Source => F::IN,
            Interest::SharedSource => F::IN | F::EXCLUSIVE,
        }
    }
}

impl Epoll {
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Epoll { fd: epoll::create(epoll::CreateFlags::CLOEXEC)? })
    }

    pub(crate) fn add(&self, source: impl AsFd, key: u64, interest: Interest) -> io::Result<()> {
        let data = epoll::EventData::new_u64(key);
        Ok(epoll::add(&self.fd, source, data, interest.flags())?)
    }

    /// Changes the interest. The kernel looks at readiness anew, so an edge that came before the
    /// call is not lost.
    pub(crate) fn modify(&self, source: impl AsFd, key: u64, interest: Interest) -> io::Result<()> {
        let data = epoll::EventData::new_u64(key);
        Ok(epoll::modify(&self.fd, source, data, interest.flags())?)
    }

    pub(crate) fn remove(&self, source: impl AsFd) -> io::Result<()> {
        Ok(epoll::delete(&self.fd, source)?)
    }

    /// Puts what is ready in `batch`, in place of what was there, through the caller's `buffer`,
    /// whose capacity bounds it. Without `sleep` it only looks. A signal ends the wait with nothing.
    pub(crate) fn wait(
        &self,
        buffer: &mut EventBuffer,
        batch: &mut Vec<Event>,
        sleep: bool,
    ) -> io::Result<()> {
        let no_wait = Timespec { tv_sec: 0, tv_nsec: 0 };
        let timeout = if sleep { None } else { Some(&no_wait) };
        buffer.0.clear();
        batch.clear();
        match epoll::wait(&self.fd, spare_capacity(&mut buffer.0), timeout) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        let event = |raw: &epoll::Event| Event { key: raw.data.u64(), flags: raw.flags };
        batch.extend(buffer.0.iter().map(event));
        Ok(())
    }
}
