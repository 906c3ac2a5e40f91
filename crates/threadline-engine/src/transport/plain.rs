//! Plain sockets.

use std::fs::File;
use std::io::{self, IoSlice};
use std::net::{Shutdown, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::{Errno, ioctl_fionbio, ioctl_fionread};
use rustix::net::{RecvFlags, SendFlags};
use socket2::SockRef;

use super::unsent::unsent_len;
use super::{Ahead, FileSent, Need, PART, Patience, Received, Sent, file};

/// A limit of zero would mean none to the kernel.
const SHORTEST_LIMIT: Duration = Duration::from_millis(1);

/// A connected stream socket.
#[derive(Debug)]
pub(crate) struct Plain {
    socket: OwnedFd,
}

impl Plain {
    pub(super) fn new(socket: OwnedFd) -> Self {
        Plain { socket }
    }

    #[inline(always)]
    pub(super) fn read(&self, buffer: &mut [u8], patience: Patience) -> io::Result<Received> {
        // MSG_DONTWAIT, because the socket itself may be blocking.
        let flags = match patience {
            Patience::None => RecvFlags::DONTWAIT,
            Patience::Limit => RecvFlags::empty(),
        };
        loop {
            // recv(2) is cheaper than read(2), which checks for files first.
            match rustix::net::recv(&self.socket, &mut *buffer, flags) {
                Ok((0, _)) => return Ok(Received::End),
                Ok((count, _)) => return Ok(Received::Data(0..count)),
                // A blocking read reports its timeout by EAGAIN, too.
                Err(Errno::AGAIN) => return Ok(Received::Wait(Need::Input)),
                Err(Errno::INTR) if patience == Patience::None => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    pub(super) fn block(&self) -> io::Result<()> {
        Ok(ioctl_fionbio(&self.socket, false)?)
    }

    pub(super) fn set_read_limit(&self, limit: Option<Duration>) -> io::Result<()> {
        let limit = limit.map(|limit| limit.max(SHORTEST_LIMIT));
        SockRef::from(&self.socket).set_read_timeout(limit)
    }

    pub(super) fn set_write_limit(&self, limit: Option<Duration>) -> io::Result<()> {
        let limit = limit.map(|limit| limit.max(SHORTEST_LIMIT));
        SockRef::from(&self.socket).set_write_timeout(limit)
    }

    #[inline(always)]
    pub(super) fn write(&self, bytes: &[u8], most: usize) -> io::Result<Sent> {
        let end = bytes.len().min(most);
        let mut sent = 0;
        while sent < end {
            let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
            match rustix::net::send(&self.socket, &bytes[sent..end], flags) {
                Ok(count) => sent += count,
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => break,
                Err(error) => return Err(error.into()),
            }
        }
        Ok(if sent == bytes.len() { Sent::All } else { Sent::Part(sent) })
    }

    pub(super) fn write_both(&self, first: &[u8], second: &[u8], most: usize) -> io::Result<Sent> {
        let (all, end) = (first.len() + second.len(), (first.len() + second.len()).min(most));
        let mut sent = 0;
        // Once the first is out, there is one place only.
        while sent < first.len().min(end) {
            let second_end = end.saturating_sub(first.len());
            let parts = [IoSlice::new(&first[sent..]), IoSlice::new(&second[..second_end])];
            let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
            match rustix::net::sendmsg(&self.socket, &parts, &mut Default::default(), flags) {
                Ok(count) => sent += count,
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return Ok(Sent::Part(sent)),
                Err(error) => return Err(error.into()),
            }
        }
        let done = sent.saturating_sub(first.len());
        match self.write(&second[done..], end - sent)? {
            Sent::All => Ok(Sent::All),
            Sent::Part(count) if sent + count == all => Ok(Sent::All),
            Sent::Part(count) => Ok(Sent::Part(sent + count)),
        }
    }

    pub(super) fn write_file(
        &self,
        file: &File,
        offset: &mut u64,
        end: u64,
    ) -> io::Result<FileSent> {
        let part_end = end.min(offset.saturating_add(PART as u64));
        let begin = *offset;
        while *offset < part_end {
            let count = (part_end - *offset) as usize;
            match rustix::fs::sendfile(&self.socket, file, Some(offset), count) {
                // The file has become shorter: the client must not take what comes next for its rest.
                Ok(0) => return Err(file::unreadable(file, io::ErrorKind::UnexpectedEof.into())),
                Ok(_) | Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => break,
                // Some file systems do not support it (sendfile(2), "NOTES").
                Err(Errno::INVAL | Errno::NOSYS) if *offset == begin => {
                    return Ok(FileSent::Unsupported);
                }
                Err(error) if is_of_peer(error) => return Err(error.into()),
                Err(error) => return Err(file::unreadable(file, error.into())),
            }
        }
        let all = *offset == end;
        let sent = if all { Sent::All } else { Sent::Part((*offset - begin) as usize) };
        Ok(FileSent::Sent(sent))
    }

    pub(super) fn shut_down(&self, how: Shutdown) -> io::Result<()> {
        let how = match how {
            Shutdown::Read => rustix::net::Shutdown::Read,
            Shutdown::Write => rustix::net::Shutdown::Write,
            Shutdown::Both => rustix::net::Shutdown::Both,
        };
        Ok(rustix::net::shutdown(&self.socket, how)?)
    }

    /// A close sends a reset from now on, or no longer does (`SO_LINGER` of 0, socket(7)).
    pub(super) fn reset_on_close(&self, on: bool) {
        // Only TCP has resets: on other sockets the option does nothing.
        let _ = SockRef::from(&self.socket).set_linger(on.then_some(Duration::ZERO));
    }

    /// Resets the connection now. Threads that are blocked on it wake up.
    pub(super) fn reset(&self) {
        // `AF_UNSPEC` disconnects: the kernel sends the reset and throws away what it has not sent
        // (connect(2)). Before Linux 6.6 it may refuse while a thread reads; the close sends the reset then.
        if rustix::net::connect_unspec(&self.socket).is_err() {
            let is_tcp = self.local_addr().is_some();
            let how = if is_tcp { Shutdown::Read } else { Shutdown::Both };
            let _ = self.shut_down(how);
        }
    }

    pub(super) fn buffered(&self) -> u64 {
        ioctl_fionread(&self.socket).unwrap_or_default()
    }

    pub(super) fn ahead(&self) -> Ahead {
        let peek = RecvFlags::PEEK | RecvFlags::DONTWAIT;
        match rustix::net::recv(&self.socket, &mut [0; 1][..], peek) {
            Ok((1.., _)) => Ahead::Data,
            Err(Errno::AGAIN) => Ahead::Nothing,
            Ok(_) | Err(_) => Ahead::End,
        }
    }

    pub(super) fn untaken_len(&self) -> usize {
        unsent_len(&self.socket)
    }

    pub(super) fn has_room(&self) -> bool {
        self.is_now(PollFlags::OUT)
    }

    pub(super) fn has_failed(&self) -> bool {
        // poll(2) always reports ERR and HUP.
        self.is_now(PollFlags::empty())
    }

    fn is_now(&self, what: PollFlags) -> bool {
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        poll(&mut [PollFd::new(&self.socket, what)], Some(&now)) != Ok(0)
    }

    pub(super) fn wait(&self, need: Need, limit: Option<Duration>) -> io::Result<bool> {
        let what = match need {
            Need::Input => PollFlags::IN,
            Need::Room => PollFlags::OUT,
        };
        let limit = limit.map(timespec);
        Ok(poll(&mut [PollFd::new(&self.socket, what)], limit.as_ref())? > 0)
    }

    pub(super) fn local_addr(&self) -> Option<SocketAddr> {
        rustix::net::getsockname(&self.socket).ok()?.try_into().ok()
    }
}

impl AsFd for Plain {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
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

/// Converts a duration for the kernel.
fn timespec(time: Duration) -> Timespec {
    Timespec {
        tv_sec: i64::try_from(time.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: i64::from(time.subsec_nanos()),
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::io::Write;
    use std::os::unix::net::UnixStream;

    use super::*;

    /// A non-blocking socket and its peer.
    fn pair() -> (Plain, UnixStream) {
        let (ours, theirs) = UnixStream::pair().expect("a pair of sockets");
        ours.set_nonblocking(true).expect("a socket");
        (Plain::new(ours.into()), theirs)
    }

    #[test]
    fn no_more_is_sent_than_asked_for() {
        let (ours, _theirs) = pair();
        assert_eq!(ours.write(b"abc", 2).expect("room"), Sent::Part(2));
        assert_eq!(ours.write(b"abc", 3).expect("room"), Sent::All);
        assert_eq!(ours.write(b"", 0).expect("room"), Sent::All);
    }

    #[test]
    fn a_read_says_what_there_is() {
        let (ours, mut theirs) = pair();
        let mut buffer = [0; 8];
        assert_eq!(
            ours.read(&mut buffer, Patience::None).expect("a peer"),
            Received::Wait(Need::Input)
        );
        assert_eq!((ours.ahead(), ours.buffered()), (Ahead::Nothing, 0));
        theirs.write_all(b"abc").expect("writes");
        assert_eq!((ours.ahead(), ours.buffered()), (Ahead::Data, 3));
        assert_eq!(ours.read(&mut buffer, Patience::None).expect("a peer"), Received::Data(0..3));
        assert_eq!(&buffer[..3], b"abc");
        drop(theirs);
        assert_eq!(ours.ahead(), Ahead::End);
        assert_eq!(ours.read(&mut buffer, Patience::None).expect("a peer"), Received::End);
    }

    /// Also on a blocking socket, `Patience::None` returns at once.
    #[test]
    fn a_blocking_read_waits_as_long_as_said() {
        let (ours, mut theirs) = pair();
        ours.block().expect("a socket");
        ours.set_read_limit(Some(Duration::ZERO)).expect("a socket");
        let mut buffer = [0; 8];
        assert_eq!(
            ours.read(&mut buffer, Patience::Limit).expect("a peer"),
            Received::Wait(Need::Input)
        );
        ours.set_read_limit(None).expect("a socket");
        assert_eq!(
            ours.read(&mut buffer, Patience::None).expect("a peer"),
            Received::Wait(Need::Input)
        );
        theirs.write_all(b"a").expect("writes");
        assert_eq!(ours.read(&mut buffer, Patience::Limit).expect("a peer"), Received::Data(0..1));
        ours.shut_down(Shutdown::Read).expect("a peer");
        assert_eq!(ours.read(&mut buffer, Patience::Limit).expect("a peer"), Received::End);
    }
}
