//! Sending files: by the kernel where the transport supports it, otherwise by reading and writing. Also the
//! errors of files that cannot be read to their end.

use std::fmt;
use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use super::{FileSent, PART, Sent, Transport};
use crate::log::limited;

/// Size of a piece where the file is read and written: 64 KB.
const PIECE: usize = 64 * 1024;

/// Sends as much of a file as there is room for, at most a [`PART`], and advances `offset`.
///
/// # Errors
/// The connection has failed, or the file cannot be read to its end ([`tell_unreadable`]).
pub(crate) fn send_file(
    transport: &Transport,
    file: &File,
    offset: &mut u64,
    end: u64,
) -> io::Result<Sent> {
    match transport.write_file(file, offset, end)? {
        FileSent::Sent(sent) => Ok(sent),
        FileSent::Unsupported => {
            send_pieces(file, offset, end, |piece| transport.write(piece, PIECE))
        }
    }
}

/// Reads a file in pieces and writes them. Bytes that were read but not written are read again next time.
fn send_pieces(
    file: &File,
    offset: &mut u64,
    end: u64,
    mut write: impl FnMut(&[u8]) -> io::Result<Sent>,
) -> io::Result<Sent> {
    let begin = *offset;
    let part_end = end.min(begin.saturating_add(PART as u64));
    let mut buffer = vec![0; PIECE.min(part_end.saturating_sub(begin) as usize)];
    while *offset < part_end {
        let most = buffer.len().min((part_end - *offset) as usize);
        let count = match file.read_at(&mut buffer[..most], *offset) {
            Ok(0) => return Err(unreadable(file, io::ErrorKind::UnexpectedEof.into())),
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(unreadable(file, error)),
        };
        match write(&buffer[..count])? {
            Sent::All => *offset += count as u64,
            Sent::Part(count) => {
                *offset += count as u64;
                break;
            }
        }
    }
    Ok(if *offset == end { Sent::All } else { Sent::Part((*offset - begin) as usize) })
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
pub(super) fn unreadable(file: &File, error: io::Error) -> io::Error {
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
    use std::io::{Read, Write};
    use std::os::unix::net::UnixStream;
    use std::thread;

    use rustix::fs::MemfdFlags;

    use super::*;

    fn memory() -> File {
        File::from(rustix::fs::memfd_create("file", MemfdFlags::CLOEXEC).expect("a file"))
    }

    /// A fast reader gets the whole file, at most a part per call.
    #[test]
    fn a_fast_reader_gets_a_part_at_a_time() {
        const LEN: u64 = 64 << 20;
        let (ours, mut theirs) = UnixStream::pair().expect("a pair of sockets");
        ours.set_nonblocking(true).expect("a socket");
        let ours = Transport::plain(ours);
        let reader = thread::spawn(move || {
            let mut buffer = vec![0; 1 << 20];
            let mut all = 0;
            while let count @ 1.. = theirs.read(&mut buffer).expect("a socket") {
                all += count as u64;
            }
            all
        });
        let file = memory();
        file.set_len(LEN).expect("a sparse file");
        let mut offset = 0;
        while let Sent::Part(count) = send_file(&ours, &file, &mut offset, LEN).expect("a reader") {
            assert!(count <= PART, "{count} bytes at once");
            thread::yield_now();
        }
        drop(ours);
        assert_eq!(reader.join().expect("reader"), LEN);
    }

    /// For several sizes of partial writes.
    #[test]
    fn a_file_that_is_sent_in_pieces_arrives_as_it_is() {
        let content: Vec<u8> = (0..PART * 2 + 777).map(|at| (at % 251) as u8).collect();
        let mut file = memory();
        file.write_all(&content).expect("writes");
        let (start, end) = (3, content.len() as u64 - 5);
        for takes in [1000, PIECE - 1, PIECE] {
            let (mut taken, mut offset) = (Vec::new(), start);
            loop {
                let before = offset;
                let sent = send_pieces(&file, &mut offset, end, |piece| {
                    let count = piece.len().min(takes);
                    taken.extend_from_slice(&piece[..count]);
                    Ok(if count == piece.len() { Sent::All } else { Sent::Part(count) })
                });
                let moved = (offset - before) as usize;
                assert!(moved <= PART, "{moved} bytes at once");
                match sent.expect("a peer") {
                    Sent::All => break,
                    Sent::Part(count) => assert_eq!(count, moved),
                }
            }
            assert!(taken == content[start as usize..end as usize], "{takes} bytes at a time");
        }
    }

    /// sendfile(2) fails with EINVAL for some files of procfs.
    #[test]
    fn what_the_kernel_cannot_send_is_read_and_written() {
        let (ours, mut theirs) = UnixStream::pair().expect("a pair of sockets");
        let ours = Transport::plain(ours);
        let file = File::open("/proc/self/status").expect("a file");
        assert_eq!(send_file(&ours, &file, &mut 0, 5).expect("a peer"), Sent::All);
        let mut begin = [0; 5];
        theirs.read_exact(&mut begin).expect("bytes");
        assert_eq!(&begin, b"Name:");
        let folder = File::open("/proc").expect("a folder");
        let error = send_file(&ours, &folder, &mut 0, 5).expect_err("no file");
        assert_eq!(error.kind(), io::ErrorKind::IsADirectory);
        assert!(error.to_string().starts_with("/proc: "), "{error}");
    }

    #[test]
    fn a_file_that_is_shorter_than_said_is_an_error() {
        let mut file = memory();
        file.write_all(b"short").expect("writes");
        let mut offset = 2;
        let sent = send_pieces(&file, &mut offset, 9, |_| Ok(Sent::All));
        assert_eq!(sent.expect_err("too short").kind(), io::ErrorKind::UnexpectedEof);
        assert_eq!(offset, 5, "what there was");
        let sent = send_pieces(&file, &mut 2, 2, |_| panic!("nothing is to be sent"));
        assert_eq!(sent.expect("an empty range"), Sent::All);
    }
}
