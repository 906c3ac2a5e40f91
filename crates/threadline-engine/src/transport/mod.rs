//! Reading and writing of connected streams. The rest of the engine makes no system call on them.
//!
//! # Contract
//! All methods take `&self`. At most one thread reads and at most one thread writes; these may be different
//! threads at the same time. The connection's owner reads; an [`Outbox`](crate::connection::Outbox) serialises
//! the writes. All other methods may be called from any thread at any time.
//!
//! * [`Transport::read`] never blocks and never returns `EINTR`. It returns the range of the bytes in the
//!   caller's buffer, the end of input, or what it waits for. Readiness is edge-triggered: after
//!   [`Received::Wait`] the transport raises a new event, before it raises none. A reader therefore reads until
//!   `Wait`, or until [`Transport::is_emptied_by`] shows that the next read would return it.
//! * [`Transport::read_blocking`] blocks for at most [`Transport::set_read_limit`]; [`Transport::block`] enables
//!   it. It returns `EINTR` to the caller, which computes the remaining time. It is one system call on a plain
//!   socket, and is meant for connections that have a thread of their own.
//! * [`Transport::write`] never blocks. It writes fewer bytes than `most` allows only if there is no room; the
//!   transport then raises an event when there is room again. [`Transport::write_both`] does the same for bytes in
//!   two places.
//! * [`Transport::write_file`] sends a file from the page cache. A transport that needs the bytes, or a file
//!   system without support, returns [`FileSent::Unsupported`]; [`send_file`] then reads the file in parts and
//!   writes them.
//! * [`Transport::wait`] blocks until there is input or room, or until its limit.
//! * [`Transport::shut_down`] never blocks. `Shutdown::Write` sends the end of our output
//!   ([`Transport::close_write`]). `Shutdown::Both` also ends calls that block in another thread.
//! * [`Transport::reset`] ends both directions such that the peer sees the connection fail; what it has not
//!   received is lost. After [`Transport::reset_on_close`] a drop of the transport, or the end of the process,
//!   does the same.
//! * The descriptor ([`AsFd`]) is for registration with epoll, and for stream handlers that ask for it.
//!
//! # Later transports
//! **TLS** is another variant. One state serves both directions; a lock protects it for one record at a time,
//! never during a wait, so that one thread can read while another writes. Records are decrypted in place in
//! the caller's buffer, which is why [`Received::Data`] is a range. Plaintext that does not fit the buffer
//! stays in the transport and counts for [`Transport::buffered`]. A read may have to write first (key update,
//! handshake): it returns [`Need::Room`]. `write_file` is unsupported, unless the kernel encrypts.
//!
//! **io_uring** reports completion instead of readiness. Its transport owns the buffers of pending receives.
//! A completion is the readiness event; `read` returns what a completed receive has left, and `Wait` once that
//! is used up and the next receive is queued. `write` queues a send and counts its bytes as written, up to a
//! bound; the completion of a send is the event for room. The descriptor only serves for registration.

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

/// The transport of one connection. An enum: a plain socket costs no virtual call.
#[derive(Debug)]
pub(crate) enum Transport {
    Plain(Plain),
    /// A test plays the peer.
    #[cfg(feature = "testing")]
    Scripted(Box<Scripted>),
}

/// Result of a read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Received {
    /// The bytes at this range of the buffer; at least one, unless the buffer is empty.
    Data(Range<usize>),
    /// The end of input.
    End,
    /// No bytes yet. From a blocking read: its limit has passed.
    Wait(Need),
}

/// Whether a read blocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Patience {
    /// It returns at once.
    None,
    /// It blocks for at most [`Transport::set_read_limit`].
    Limit,
}

/// What a transport waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Need {
    /// Bytes of the peer, or the end of input.
    Input,
    /// Room for output.
    Room,
}

/// Result of a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sent {
    /// All bytes are written.
    All,
    /// Only this many bytes are written.
    Part(usize),
}

/// Result of writing a part of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FileSent {
    Sent(Sent),
    /// The caller has to read the file and write its bytes.
    Unsupported,
}

/// What the next read would return.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ahead {
    Data,
    /// The end of input, or an error.
    End,
    /// No bytes yet.
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
    /// Wraps a connected, non-blocking stream socket.
    pub(crate) fn plain(socket: impl Into<OwnedFd>) -> Self {
        Transport::Plain(Plain::new(socket.into()))
    }

    /// Reads without blocking.
    ///
    /// # Errors
    /// The connection has failed.
    #[inline(always)]
    pub(crate) fn read(&self, buffer: &mut [u8]) -> io::Result<Received> {
        self.read_with(buffer, Patience::None)
    }

    /// Reads; blocks until there are bytes or the limit has passed.
    ///
    /// # Errors
    /// [`io::ErrorKind::Interrupted`] if a signal has come; otherwise the connection has failed.
    #[inline(always)]
    pub(crate) fn read_blocking(&self, buffer: &mut [u8]) -> io::Result<Received> {
        self.read_with(buffer, Patience::Limit)
    }

    /// [`Transport::read`] or [`Transport::read_blocking`], chosen at run time: one inlined call is less code on
    /// the fast path than two.
    ///
    /// # Errors
    /// As for these two.
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

    /// Whether a read of `count` bytes into a buffer of `room` bytes has taken all input. Later input raises a
    /// new event; the event of a peer's close may already have been raised before the read.
    #[inline(always)]
    pub(crate) fn is_emptied_by(&self, count: usize, room: usize) -> bool {
        match self {
            Transport::Plain(_) => count < room,
            #[cfg(feature = "testing")]
            Transport::Scripted(_) => false,
        }
    }

    /// Enables [`Transport::read_blocking`].
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

    /// Sets the limit of a blocking read: at least 1 ms; `None` means no limit. This is a system call: callers
    /// make it only when the limit changes.
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

    /// Sets the limit of a blocking write: at least 1 ms; `None` means no limit. It applies to sendfile(2) after
    /// [`Transport::block`], and to writes that a stream handler makes on the descriptor itself.
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

    /// Writes the bytes that there is room for, at most `most`.
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

    /// Writes the bytes of `first`, then those of `second`, that there is room for, at most `most`, as one write.
    ///
    /// # Errors
    /// The connection has failed.
    pub(crate) fn write_both(&self, first: &[u8], second: &[u8], most: usize) -> io::Result<Sent> {
        match self {
            Transport::Plain(plain) => plain.write_both(first, second, most),
            #[cfg(feature = "testing")]
            Transport::Scripted(scripted) => match scripted.write(first, most)? {
                Sent::All => match scripted.write(second, most - first.len())? {
                    Sent::All => Ok(Sent::All),
                    Sent::Part(count) => Ok(Sent::Part(first.len() + count)),
                },
                part => Ok(part),
            },
        }
    }

    /// Writes as much of a file as there is room for, at most a [`PART`], and advances `offset`. [`send_file`] has
    /// a fallback where this is unsupported.
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

    /// Sends the end of our output: the peer reads it after all bytes that were written.
    pub(crate) fn close_write(&self) {
        let _ = self.shut_down(Shutdown::Write);
    }

    /// Shuts down one direction or both. Calls that block in other threads return.
    ///
    /// # Errors
    /// The connection has already ended.
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

    /// Whether a close of the transport resets the connection, as [`Transport::reset`] does.
    pub(crate) fn reset_on_close(&self, on: bool) {
        match self {
            Transport::Plain(plain) => plain.reset_on_close(on),
            #[cfg(feature = "testing")]
            Transport::Scripted(scripted) => scripted.reset_on_close(on),
        }
    }

    /// Resets the connection: the peer's next read fails, where the transport has resets (TCP), and so do
    /// reads and writes here.
    pub(crate) fn reset(&self) {
        match self {
            Transport::Plain(plain) => plain.reset(),
            #[cfg(feature = "testing")]
            Transport::Scripted(scripted) => scripted.reset(),
        }
    }

    /// The number of bytes that can be read without blocking.
    pub(crate) fn buffered(&self) -> u64 {
        match self {
            Transport::Plain(plain) => plain.buffered(),
            #[cfg(feature = "testing")]
            Transport::Scripted(scripted) => scripted.buffered(),
        }
    }

    /// What the next read would return. Consumes nothing.
    pub(crate) fn ahead(&self) -> Ahead {
        match self {
            Transport::Plain(plain) => plain.ahead(),
            #[cfg(feature = "testing")]
            Transport::Scripted(scripted) => scripted.ahead(),
        }
    }

    /// Whether the peer has closed its side, for transports whose events do not carry that; false for others.
    #[inline(always)]
    pub(crate) fn has_hung_up(&self) -> bool {
        match self {
            Transport::Plain(_) => false,
            #[cfg(feature = "testing")]
            Transport::Scripted(scripted) => scripted.has_hung_up(),
        }
    }

    /// The number of written bytes that the peer's system has not taken yet; 0 if unknown. It falls while the
    /// peer reads, long before there is room again.
    pub(crate) fn untaken_len(&self) -> usize {
        match self {
            Transport::Plain(plain) => plain.untaken_len(),
            #[cfg(feature = "testing")]
            Transport::Scripted(scripted) => scripted.untaken_len(),
        }
    }

    /// Whether there is room for output now, or the connection has failed, which a write then reports.
    pub(crate) fn has_room(&self) -> bool {
        match self {
            Transport::Plain(plain) => plain.has_room(),
            #[cfg(feature = "testing")]
            Transport::Scripted(scripted) => scripted.has_room(),
        }
    }

    /// Whether the connection has failed or both directions are closed.
    pub(crate) fn has_failed(&self) -> bool {
        match self {
            Transport::Plain(plain) => plain.has_failed(),
            #[cfg(feature = "testing")]
            Transport::Scripted(scripted) => scripted.has_failed(),
        }
    }

    /// Blocks until there is input (or its end) or room for output, or until the connection fails. Returns
    /// false if `limit` has passed first; `None` means no limit.
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

    /// The address that the peer connected to; `None` if it is not an IP address.
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

/// Moves the bytes that were read to the start of the buffer, and returns their number. For buffers of user
/// code.
pub(crate) fn to_start(buffer: &mut [u8], read: Range<usize>) -> usize {
    let count = read.len();
    if read.start > 0 {
        buffer.copy_within(read, 0);
    }
    count
}
