//! How much of what a socket has taken is still on its way to the peer.

#![allow(unsafe_code)] // ioctl(2) with SIOCOUTQ: no safe wrapper among our dependencies

use std::os::fd::{AsFd, AsRawFd};

/// Bytes that the socket has taken and the peer's system has not: unsent or unacknowledged on TCP (tcp(7),
/// SIOCOUTQ), unread on Unix sockets. It falls while the peer reads, long before the kernel says that
/// there is room again. 0 if the socket cannot tell. About 0.1 us.
pub(crate) fn unsent_len(socket: impl AsFd) -> usize {
    let mut count: libc::c_int = 0;
    // SAFETY: the descriptor is open as long as it is borrowed; SIOCOUTQ, which is TIOCOUTQ, writes one
    // `int` to `count`, which outlives the call.
    let answer = unsafe { libc::ioctl(socket.as_fd().as_raw_fd(), libc::TIOCOUTQ, &raw mut count) };
    if answer == 0 { usize::try_from(count).unwrap_or(0) } else { 0 }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream};
    use std::os::unix::net::UnixStream;

    use super::*;

    fn falls_as_the_peer_reads(mut ours: impl Write + AsFd, mut theirs: impl Read) {
        assert_eq!(unsent_len(&ours), 0);
        let piece = vec![0; 1 << 16];
        while ours.write(&piece).is_ok() {}
        let full = unsent_len(&ours);
        assert!(full > 0);
        let mut buffer = vec![0; 1 << 20];
        while unsent_len(&ours) >= full {
            assert!(theirs.read(&mut buffer).expect("a socket") > 0);
        }
    }

    #[test]
    fn it_falls_as_the_peer_reads() {
        let (ours, theirs) = UnixStream::pair().expect("a pair of sockets");
        ours.set_nonblocking(true).expect("a socket");
        falls_as_the_peer_reads(ours, theirs);
        let listener = TcpListener::bind("127.0.0.1:0").expect("binds");
        let theirs = TcpStream::connect(listener.local_addr().expect("bound")).expect("connects");
        let (ours, _) = listener.accept().expect("a connection");
        ours.set_nonblocking(true).expect("a socket");
        falls_as_the_peer_reads(ours, theirs);
    }

    #[test]
    fn what_is_no_socket_has_nothing_to_send() {
        assert_eq!(unsent_len(std::fs::File::open("/dev/null").expect("a file")), 0);
    }
}
