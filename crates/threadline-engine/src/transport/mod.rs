//! A connection's bytes. Nothing else in the engine makes a system call on a connected stream.
//!
//! # Reading and writing
//! All methods take `&self`. One thread at a time reads and one at a time writes, and these may be two
//! threads at once: the connection's owner reads, an [`Outbox`](crate::connection::Outbox) orders the
//! writes. [`Transport::shut_down`] and the questions may come from any thread at any time.
//!
//! * [`Transport::read`] never waits and never ends with `EINTR`. It says where in the caller's buffer the
//!   bytes are, that the peer sends no more, or what has to happen before there is more. After
//!   [`Received::Wait`] there will be a new readiness event; before it none is promised, since events are
//!   edge-triggered. So a reader stops at `Wait`, or where [`Transport::is_emptied_by`] spares it that read.
//! * [`Transport::read_blocking`] waits, after [`Transport::block`], up to [`Transport::set_read_limit`].
//!   `EINTR` comes back to the caller, who knows how much of its time is left. One system call on a plain
//!   socket. It is for connections with a thread of their own.
//! * [`Transport::write`] never waits. It takes less than all of its bytes only if there is no room, or more
//!   than `most` were given; in the first case an event follows once there is room.
//! * [`Transport::write_file`] sends a file from the page cache. A transport that has to see the bytes, or a
//!   file system that cannot do it, answers [`FileSent::Unsupported`]; [`send_file`] then reads the file in
//!   parts and writes them.
//! * [`Transport::wait`] blocks until there is input or room, or a limit is reached.
//! * [`Transport::shut_down`] never waits. `Shutdown::Write` ends our side for the peer to read as the end of
//!   input ([`Transport::close_write`]); `Shutdown::Both` is also how another thread reaches one that is
//!   blocked here.
//! * The descriptor ([`AsFd`]) is for registering with epoll, and for stream handlers who ask for it. Nothing
//!   in the engine reads or writes it elsewhere.
//!
//! # What is to come
//! **TLS** becomes a variant. Its one state serves both directions and is locked for one record at a time,
//! never while the caller waits, so that one thread can read and another write. A record is decrypted in place
//! in the caller's buffer: that is why [`Received::Data`] is a range. What does not fit the buffer stays with
//! the transport and counts as [`Transport::buffered`]. Reading may have to write first (key update,
//! handshake), which is [`Need::Room`]. `write_file` is unsupported there, unless the kernel does TLS.
//!
//! **io_uring** tells of completion instead of readiness. Its transport owns the buffers of the receives that
//! are under way: a completion is the readiness event, `read` gives what a completed receive has left and
//! `Wait` once that is used up and the next receive is queued. `write` queues a send and counts what is under
//! way as taken, up to a bound; its end is the event that says that there is room. The descriptor is then for
//! registering only.

mod file;
mod plain;
#[cfg(feature = "testing")]
mod scripted;
mod unsent;

use std::fs::File;
use std::io;
use std::net::{Shutdown, SocketAddr};
use std::ops::Range;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

pub(crate) use file::{send_file, tell_unreadable};
use plain::Plain;
#[cfg(feature = "testing")]
pub(crate) use scripted::{Link, Script, Scripted};

/// The bytes of one connection. An enum, so that a read or write of a plain socket is no virtual call.
#[derive(Debug)]
pub(crate) enum Transport {
    Plain(Plain),
    /// The other end is a test.
    #[cfg(feature = "testing")]
    Scripted(Box<Scripted>),
}

/// What came of a read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Received {
    /// Bytes, at this place in the buffer; at least one, if the buffer has room.
    Data(Range<usize>),
    /// The peer sends no more.
    End,
    /// No more for now. Of a blocking read: its limit has passed.
    Wait(Need),
}

/// Whether a read waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Patience {
    /// It does not.
    None,
    /// Up to [`Transport::set_read_limit`].
    Limit,
}

/// What a transport waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Need {
    /// Bytes, or the end, of the peer.
    Input,
    /// Room for output.
    Room,
}

/// What became of a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sent {
    /// The transport has all of it.
    All,
    /// This many bytes are sent, and no more for now.
    Part(usize),
}

/// What became of a part of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FileSent {
    Sent(Sent),
    /// The bytes have to be read and written one by one.
    Unsupported,
}

/// What the next read would find.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ahead {
    Data,
    /// The end of input, or an error.
    End,
    /// Nothing for now.
    Nothing,
}

/// What is sent of the output that waits for one connection before others have their turn: 256 KB. A peer
/// that reads as fast as we write would keep the thread to itself. Of a file of 1 MB for each of 64
/// clients, parts of 64 KB to 1 MB were measured: this one had the most throughput, and the slowest
/// download took a quarter of the time that it took in one piece.
pub(crate) const PART: usize = 256 * 1024;

/// What is sent at once of a reply in memory: 4 MB, as much as a socket's buffer holds by the kernel's
/// default. What is left is copied, so this is larger.
pub(crate) const REPLY_PART: usize = 4 << 20;

impl Transport {
    /// A connected stream socket that does not block.
    pub(crate) fn plain(socket: impl Into<OwnedFd>) -> Self {
        Transport::Plain(Plain::new(socket.into()))
    }

    /// Reads what has come, without waiting.
    ///
    /// # Errors
    /// The connection has failed.
    #[inline(always)]
    pub(crate) fn read(&self, buffer: &mut [u8]) -> io::Result<Received> {
        self.read_with(buffer, Patience::None)
    }

    /// Reads what comes next, and waits for it.
    ///
    /// # Errors
    /// [`io::ErrorKind::Interrupted`] if a signal has come; otherwise the connection has failed.
    #[inline(always)]
    pub(crate) fn read_blocking(&self, buffer: &mut [u8]) -> io::Result<Received> {
        self.read_with(buffer, Patience::Limit)
    }

    /// [`Transport::read`] or [`Transport::read_blocking`]. Where both are possible, one call is less code on
    /// the fast path than two.
    ///
    /// # Errors
    /// As theirs.
    #[inline(always)]
    pub(crate) fn read_with(&self, buffer: &mut [u8], patience: Patience) -> io::Result<Received> {
        match self {
            Transport::Plain(plain) => plain.read(buffer, patience),
            #[cfg(feature = "testing")]
            Transport::Scripted(scripted) => match patience {
                Patience::None => scripted.read(buffer),
                Patience::Limit => scripted.read_blocking(buffer),
            },
        }
    }

    /// Whether a read that gave so many bytes, of the `room` that there was, has taken all there was. What
    /// comes later makes a new event; but the event of the peer's close may have come before that read.
    #[inline(always)]
    pub(crate) fn is_emptied_by(&self, count: usize, room: usize) -> bool {
        match self {
            Transport::Plain(_) => count < room,
            #[cfg(feature = "testing")]
            Transport::Scripted(_) => false,
        }
    }

    /// Lets [`Transport::read_blocking`] wait from here on.
    ///
    /// # Errors
    /// The system's.
    pub(crate) fn block(&self) -> io::Result<()> {
        match self {
            Transport::Plain(plain) => plain.block(),
            #[cfg(feature = "testing")]
            Transport::Scripted(_) => Ok(()),
        }
    }

    /// How long a blocking read may take from now on; `None`: for ever. 1 ms at least. A system call, so the
    /// caller sets it only where it changes.
    ///
    /// # Errors
    /// The system's.
    pub(crate) fn set_read_limit(&self, limit: Option<Duration>) -> io::Result<()> {
        match self {
            Transport::Plain(plain) => plain.set_read_limit(limit),
            #[cfg(feature = "testing")]
            Transport::Scripted(scripted) => {
                scripted.set_read_limit(limit);
                Ok(())
            }
        }
    }

    /// How long a write that blocks may take from now on; `None`: for ever. 1 ms at least. None of the writes
    /// here blocks, but that of a file by sendfile(2) after [`Transport::block`], and what a stream handler
    /// does with the descriptor.
    ///
    /// # Errors
    /// The system's.
    pub(crate) fn set_write_limit(&self, limit: Option<Duration>) -> io::Result<()> {
        match self {
            Transport::Plain(plain) => plain.set_write_limit(limit),
            #[cfg(feature = "testing")]
            Transport::Scripted(_) => Ok(()),
        }
    }

    /// Writes what there is room for right now, at most so many bytes.
    ///
    /// # Errors
    /// The connection has failed.
    #[inline(always)]
    pub(crate) fn write(&self, bytes: &[u8], most: usize) -> io::Result<Sent> {
        match self {
            Transport::Plain(plain) => plain.write(bytes, most),
            #[cfg(feature = "testing")]
            Transport::Scripted(scripted) => scripted.write(bytes, most),
        }
    }

    /// Writes what there is room for right now of a file, from `offset` on, which moves; at most a [`PART`].
    /// For [`send_file`], which can do without it.
    ///
    /// # Errors
    /// The connection has failed, or the file cannot be read.
    fn write_file(&self, file: &File, offset: &mut u64, end: u64) -> io::Result<FileSent> {
        match self {
            Transport::Plain(plain) => plain.write_file(file, offset, end),
            #[cfg(feature = "testing")]
            Transport::Scripted(scripted) => scripted.write_file(file, offset, end),
        }
    }

    /// Closes our side: the peer reads the end of input once it has read what was written.
    pub(crate) fn close_write(&self) {
        let _ = self.shut_down(Shutdown::Write);
    }

    /// Ends one direction or both, also for threads that are blocked here: their reads end.
    ///
    /// # Errors
    /// The connection is gone already.
    pub(crate) fn shut_down(&self, how: Shutdown) -> io::Result<()> {
        match self {
            Transport::Plain(plain) => plain.shut_down(how),
            #[cfg(feature = "testing")]
            Transport::Scripted(scripted) => {
                scripted.shut_down(how);
                Ok(())
            }
        }
    }

    /// How many bytes can be read without waiting.
    pub(crate) fn buffered(&self) -> u64 {
        match self {
            Transport::Plain(plain) => plain.buffered(),
            #[cfg(feature = "testing")]
            Transport::Scripted(scripted) => scripted.buffered(),
        }
    }

    /// What the next read would find; takes nothing.
    pub(crate) fn ahead(&self) -> Ahead {
        match self {
            Transport::Plain(plain) => plain.ahead(),
            #[cfg(feature = "testing")]
            Transport::Scripted(scripted) => scripted.ahead(),
        }
    }

    /// Whether the peer sends no more, on transports whose events do not say so; false on the others.
    #[inline(always)]
    pub(crate) fn has_hung_up(&self) -> bool {
        match self {
            Transport::Plain(_) => false,
            #[cfg(feature = "testing")]
            Transport::Scripted(scripted) => scripted.has_hung_up(),
        }
    }

    /// How many of the bytes that were written the peer's system has not taken yet, as far as that is known:
    /// it falls while the peer reads, long before there is room.
    pub(crate) fn untaken_len(&self) -> usize {
        match self {
            Transport::Plain(plain) => plain.untaken_len(),
            #[cfg(feature = "testing")]
            Transport::Scripted(scripted) => scripted.untaken_len(),
        }
    }

    /// Whether there is room for output at this moment, or the connection has failed, which a write will say.
    pub(crate) fn has_room(&self) -> bool {
        match self {
            Transport::Plain(plain) => plain.has_room(),
            #[cfg(feature = "testing")]
            Transport::Scripted(scripted) => scripted.has_room(),
        }
    }

    /// Whether the connection has failed, or both sides are closed.
    pub(crate) fn has_failed(&self) -> bool {
        match self {
            Transport::Plain(plain) => plain.has_failed(),
            #[cfg(feature = "testing")]
            Transport::Scripted(scripted) => scripted.has_failed(),
        }
    }

    /// Blocks until there is input (or its end) or room for output, or the connection has failed. False if
    /// `limit` has passed first; `None` waits for ever.
    ///
    /// # Errors
    /// [`io::ErrorKind::Interrupted`] if a signal has come; otherwise the system's.
    pub(crate) fn wait(&self, need: Need, limit: Option<Duration>) -> io::Result<bool> {
        match self {
            Transport::Plain(plain) => plain.wait(need, limit),
            #[cfg(feature = "testing")]
            Transport::Scripted(scripted) => scripted.wait(need, limit),
        }
    }

    /// The address that the peer connected to; `None` if that is no IP address.
    pub(crate) fn local_addr(&self) -> Option<SocketAddr> {
        match self {
            Transport::Plain(plain) => plain.local_addr(),
            #[cfg(feature = "testing")]
            Transport::Scripted(scripted) => Some(scripted.local_addr()),
        }
    }
}

impl AsFd for Transport {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Transport::Plain(plain) => plain.as_fd(),
            #[cfg(feature = "testing")]
            Transport::Scripted(scripted) => scripted.as_fd(),
        }
    }
}

/// Moves what was read to the start of the buffer, for readers whose buffers belong to user code. Returns
/// the number of bytes.
pub(crate) fn to_start(buffer: &mut [u8], read: Range<usize>) -> usize {
    let count = read.len();
    if read.start > 0 {
        buffer.copy_within(read, 0);
    }
    count
}
