//! Sending files, and the errors of files that cannot be read to their end.

use std::fmt;
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::path::PathBuf;

use rustix::io::Errno;

use super::{PART, Sent};
use crate::log::limited;

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

#[cfg(all(test, not(loom)))]
mod tests {
    use std::io::Read;
    use std::os::fd::AsFd;
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
}
