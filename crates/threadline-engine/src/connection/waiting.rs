//! Reading and writing a connection while the calling thread waits: for bodies that are too large to
//! be whole before their handler runs.
//!
//! Only for code that may wait where it is ([`Turn::waiting`](crate::Turn::waiting)), or in user code
//! on a shard's thread, whose shard another thread takes meanwhile.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::fd::BorrowedFd;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::{Errno, ioctl_fionread};
use rustix::net::RecvFlags;
use threadline_pool::about_to_block;

use super::outbox::Content;
use super::session::Session;
use super::socket::{Sent, Socket, send_file_now, send_now};

impl Session {
    /// Reads what has come, and waits for it if need be; 0 at the end of input.
    ///
    /// # Errors
    /// [`io::ErrorKind::TimedOut`] if nothing comes for so long; `None` waits for ever.
    pub fn receive(&mut self, buffer: &mut [u8], limit: Option<Duration>) -> io::Result<usize> {
        let fd = self.fd().ok_or(io::ErrorKind::NotConnected)?;
        loop {
            match rustix::net::recv(fd, &mut *buffer, RecvFlags::DONTWAIT) {
                Ok((count, _)) => return Ok(count),
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => wait_for(fd, PollFlags::IN, limit)?,
                Err(error) => {
                    let error = error.into();
                    self.home.counters.count_vanished(&error);
                    return Err(error);
                }
            }
        }
    }

    /// How many bytes [`Session::receive`] gives without waiting.
    pub(crate) fn unread_len(&self) -> u64 {
        self.fd().and_then(|fd| ioctl_fionread(fd).ok()).unwrap_or_default()
    }

    /// Writes all of `bytes`, behind what waits already, and waits for the peer to read if need be.
    ///
    /// # Errors
    /// [`io::ErrorKind::TimedOut`] if the peer takes no byte for so long; `None` waits for ever.
    pub fn send(&mut self, bytes: &[u8], limit: Option<Duration>) -> io::Result<()> {
        let mut sent = 0;
        loop {
            let part = match &self.socket {
                Socket::Own(fd) => send_now(fd_of(fd), &bytes[sent..], usize::MAX),
                Socket::Shared(outbox) => outbox.send_part(&bytes[sent..]),
                Socket::Gone => return Err(io::ErrorKind::NotConnected.into()),
            };
            match part.inspect_err(|error| self.home.counters.count_vanished(error))? {
                Sent::All => return Ok(()),
                Sent::Part(count) => sent += count,
            }
            let fd = self.fd().ok_or(io::ErrorKind::NotConnected)?;
            wait_for(fd, PollFlags::OUT, limit).inspect_err(|error| {
                if error.kind() == io::ErrorKind::TimedOut {
                    self.home.counters.timeouts_write.increment();
                }
            })?;
        }
    }

    /// Sends a part of a file behind `head`, by the kernel and without waiting for the peer: what it
    /// does not take at once waits with the connection, without a thread. The file itself may be
    /// waited for.
    ///
    /// # Errors
    /// If the peer is gone or the file cannot be read.
    pub fn send_file(&mut self, head: &[u8], file: File, range: Range<u64>) -> io::Result<()> {
        self.reply(head)?;
        let mut offset = range.start;
        let mut sent = Sent::Part(0);
        if !self.output_waits()
            && let Some(fd) = self.fd()
        {
            sent = send_file_now(fd, &file, &mut offset, range.end)?;
        }
        if sent != Sent::All {
            self.outbox().queue_file(Content::File { file, offset, end: range.end })?;
        }
        Ok(())
    }
}

fn fd_of(fd: &impl std::os::fd::AsFd) -> BorrowedFd<'_> {
    fd.as_fd()
}

/// Waits until the socket can be read or written.
fn wait_for(fd: BorrowedFd<'_>, what: PollFlags, limit: Option<Duration>) -> io::Result<()> {
    about_to_block();
    let limit = limit.map(|limit| Timespec {
        tv_sec: i64::try_from(limit.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: i64::from(limit.subsec_nanos()),
    });
    match poll(&mut [PollFd::from_borrowed_fd(fd, what)], limit.as_ref()) {
        Ok(0) => Err(io::ErrorKind::TimedOut.into()),
        // Interrupted: the caller tries again, and waits again.
        Ok(_) | Err(Errno::INTR) => Ok(()),
        Err(error) => Err(error.into()),
    }
}
