//! A connection's descriptor, and how to write to it without waiting.

use std::fmt;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::sync::Arc;

use rustix::io::Errno;
use rustix::net::{SendFlags, Shutdown};

use super::outbox::Outbox;
use crate::log::limited;

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
    /// This many bytes are sent, and no more for now.
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

/// What is sent of the output that waits for one connection before others have their turn: 256 KB. A peer
/// that reads as fast as we write would keep the thread to itself. Of a file of 1 MB for each of 64
/// clients, parts of 64 KB to 1 MB were measured: this one had the most throughput, and the slowest
/// download took a quarter of the time that it took in one piece.
pub(crate) const PART: usize = 256 * 1024;

/// What is sent at once of a reply in memory: 4 MB, as much as a socket's buffer holds by the kernel's
/// default. What is left is copied, so this is larger.
pub(crate) const REPLY_PART: usize = 4 << 20;

/// Sends what the socket takes right now of a file, from `offset` on, which moves; at most a [`PART`].
pub(crate) fn send_file_now(
    fd: BorrowedFd<'_>,
    file: &File,
    offset: &mut u64,
    end: u64,
) -> io::Result<Sent> {
    let part_end = end.min(offset.saturating_add(PART as u64));
    let begin = *offset;
    while *offset < part_end {
        let count = (part_end - *offset) as usize;
        match rustix::fs::sendfile(fd, file, Some(offset), count) {
            // The file has become shorter: the client must not take what comes next for its rest.
            Ok(0) => return Err(unreadable(file, io::ErrorKind::UnexpectedEof.into())),
            Ok(_) | Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => break,
            Err(error) if is_of_peer(error) => return Err(error.into()),
            Err(error) => return Err(unreadable(file, error.into())),
        }
    }
    Ok(if *offset == end { Sent::All } else { Sent::Part((*offset - begin) as usize) })
}

/// Whether an error of sendfile(2) is the peer's doing, and not the file's.
fn is_of_peer(error: Errno) -> bool {
    matches!(
        error,
        Errno::PIPE
            | Errno::CONNRESET
            | Errno::CONNABORTED
            | Errno::NOTCONN
            | Errno::TIMEDOUT
            | Errno::HOSTUNREACH
            | Errno::NETUNREACH
            | Errno::NETDOWN
    )
}

/// A file that cannot be read to its end.
#[derive(Debug)]
struct Unreadable {
    path: PathBuf,
    error: io::Error,
}

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path.display(), self.error)
    }
}

impl std::error::Error for Unreadable {}

/// The error of a file that cannot be read to its end: its name is what the kernel knows.
#[cold]
fn unreadable(file: &File, error: io::Error) -> io::Error {
    let link = format!("/proc/self/fd/{}", file.as_raw_fd());
    let path = std::fs::read_link(link).unwrap_or_default();
    io::Error::new(error.kind(), Unreadable { path, error })
}

/// Says that a file could not be sent, if that is what `error` means. Not under a lock: what the log is
/// written to is user code.
#[cold]
pub(crate) fn tell_unreadable(error: &io::Error) {
    let source = error.get_ref().and_then(|source| source.downcast_ref());
    if let Some(Unreadable { path, error }) = source {
        limited!(warn, "a file cannot be sent to its end: the response is cut off", ?path, %error);
    }
}

/// Writes what the socket takes right now, at most so many bytes.
#[inline(always)]
pub(crate) fn send_now(fd: BorrowedFd<'_>, bytes: &[u8], most: usize) -> io::Result<Sent> {
    let end = bytes.len().min(most);
    let mut sent = 0;
    while sent < end {
        match rustix::net::send(fd, &bytes[sent..end], SendFlags::NOSIGNAL | SendFlags::DONTWAIT) {
            Ok(count) => sent += count,
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => break,
            Err(error) => return Err(error.into()),
        }
    }
    Ok(if sent == bytes.len() { Sent::All } else { Sent::Part(sent) })
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::io::Read;
    use std::os::unix::net::UnixStream;
    use std::thread;

    use rustix::fs::MemfdFlags;

    use super::*;

    /// A reader that keeps up has the whole file, in parts that are not too large.
    #[test]
    fn a_fast_reader_gets_a_part_at_a_time() {
        const LEN: u64 = 64 << 20;
        let (ours, mut theirs) = UnixStream::pair().expect("a pair of sockets");
        ours.set_nonblocking(true).expect("a socket");
        let reader = thread::spawn(move || {
            let mut buffer = vec![0; 1 << 20];
            let mut all = 0;
            while let count @ 1.. = theirs.read(&mut buffer).expect("a socket") {
                all += count as u64;
            }
            all
        });
        let memory = rustix::fs::memfd_create("file", MemfdFlags::CLOEXEC).expect("a file");
        let file = File::from(memory);
        file.set_len(LEN).expect("a sparse file");
        let mut offset = 0;
        while let Sent::Part(count) =
            send_file_now(ours.as_fd(), &file, &mut offset, LEN).expect("a reader")
        {
            assert!(count <= PART, "{count} bytes at once");
            thread::yield_now();
        }
        drop(ours);
        assert_eq!(reader.join().expect("reader"), LEN);
    }

    #[test]
    fn no_more_is_sent_than_asked_for() {
        let (ours, _theirs) = UnixStream::pair().expect("a pair of sockets");
        assert_eq!(send_now(ours.as_fd(), b"abc", 2).expect("room"), Sent::Part(2));
        assert_eq!(send_now(ours.as_fd(), b"abc", 3).expect("room"), Sent::All);
        assert_eq!(send_now(ours.as_fd(), b"", 0).expect("room"), Sent::All);
    }
}
