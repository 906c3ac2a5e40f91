//! Plain sockets.

use std::io;
use std::os::fd::BorrowedFd;

use rustix::io::Errno;
use rustix::net::SendFlags;

use super::Sent;

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
    use std::os::fd::AsFd;
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn no_more_is_sent_than_asked_for() {
        let (ours, _theirs) = UnixStream::pair().expect("a pair of sockets");
        assert_eq!(send_now(ours.as_fd(), b"abc", 2).expect("room"), Sent::Part(2));
        assert_eq!(send_now(ours.as_fd(), b"abc", 3).expect("room"), Sent::All);
        assert_eq!(send_now(ours.as_fd(), b"", 0).expect("room"), Sent::All);
    }
}
