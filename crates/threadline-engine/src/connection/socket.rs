//! A connection's descriptor, and how to write to it without waiting.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use rustix::io::Errno;
use rustix::net::{SendFlags, Shutdown};

use super::outbox::Outbox;

/// Who holds the descriptor.
#[derive(Debug)]
pub(crate) enum Socket {
    /// The connection alone: every write goes straight to the kernel.
    Own(OwnedFd),
    /// Shared with what waits to be written, by us or by a [`Sender`](super::Sender).
    Shared(Arc<Outbox>),
    /// Handed to a stream handler.
    Gone,
}

/// What became of a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sent {
    /// The kernel has all of it.
    All,
    /// The kernel took this many bytes and no more for now.
    Part(usize),
}

impl Socket {
    pub(crate) fn shutdown(&self, how: Shutdown) {
        if let Some(fd) = self.fd() {
            let _ = rustix::net::shutdown(fd, how);
        }
    }

    pub(crate) fn fd(&self) -> Option<BorrowedFd<'_>> {
        match self {
            Socket::Own(fd) => Some(fd.as_fd()),
            Socket::Shared(outbox) => Some(outbox.as_fd()),
            Socket::Gone => None,
        }
    }
}

/// How much of a file one system call sends: 1 MB, so that the descriptor is looked at in between.
const FILE_PART: u64 = 1 << 20;

/// Sends what the socket takes right now of a file, from `offset` on, which moves.
pub(crate) fn send_file_now(
    fd: BorrowedFd<'_>,
    file: &File,
    offset: &mut u64,
    end: u64,
) -> io::Result<()> {
    while *offset < end {
        let count = (end - *offset).min(FILE_PART) as usize;
        match rustix::fs::sendfile(fd, file, Some(offset), count) {
            // The file has become shorter: the client must not take what comes next for its rest.
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(_) | Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => return Ok(()),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// Writes what the socket takes right now.
#[inline(always)]
pub(crate) fn send_now(fd: BorrowedFd<'_>, bytes: &[u8]) -> io::Result<Sent> {
    let mut sent = 0;
    while sent < bytes.len() {
        match rustix::net::send(fd, &bytes[sent..], SendFlags::NOSIGNAL | SendFlags::DONTWAIT) {
            Ok(count) => sent += count,
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => return Ok(Sent::Part(sent)),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(Sent::All)
}
