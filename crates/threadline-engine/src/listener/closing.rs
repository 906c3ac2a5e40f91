//! Keeping clients out just before a listener is closed.
//!
//! A port closes with the last copy of its listener, in whatever process it is, and the kernel then resets
//! what is in the queue. A draining shard and a supervisor call this, then the queue is served, then it is
//! closed. It must never act on a socket that other services use as well.

use std::os::fd::BorrowedFd;

use socket2::{Domain, SockFilter, SockRef, Type};

/// Lets no client begin a connection from here on. Connections that are in the queue stay there, and those
/// whose handshake is under way still get into it.
///
/// A connection that enters the queue after the last `accept` and before the close would be reset by the
/// kernel, although its client has been told that it is connected. A filter that drops the first packet
/// of each handshake prevents that; the client sends it again, to a closed port. (A filter that drops
/// everything would be inherited by a connection that is set up at that moment, and would cut it off.)
/// On a Unix socket `shutdown` of the reading side has the same effect; on TCP it would reset the queue.
/// A datagram socket takes nothing more. All of this acts on every process that has the socket, so it is
/// only for sockets that are this service's alone. Where the kernel does not allow it, the moment between
/// the last `accept` and the close remains.
pub(super) fn refuse_newcomers(socket: BorrowedFd<'_>) {
    /// Classic BPF, as in linux/filter.h. The packet begins with its TCP header, whose byte 13 has the
    /// flags (RFC 9293 §3.1).
    const DROP_SYN: [SockFilter; 5] = [
        // BPF_LD | BPF_B | BPF_ABS: the flags.
        SockFilter::new(0x30, 0, 0, 13),
        // BPF_ALU | BPF_AND | BPF_K: SYN and ACK of them.
        SockFilter::new(0x54, 0, 0, 0x12),
        // BPF_JMP | BPF_JEQ | BPF_K: SYN alone goes to the next line, all else to the last.
        SockFilter::new(0x15, 0, 1, 0x02),
        // BPF_RET | BPF_K: keeps no byte of the packet.
        SockFilter::new(0x06, 0, 0, 0),
        // BPF_RET | BPF_K: keeps all of it.
        SockFilter::new(0x06, 0, 0, u32::MAX),
    ];
    const DROP: [SockFilter; 1] = [SockFilter::new(0x06, 0, 0, 0)];
    let settings = SockRef::from(&socket);
    let refused = match (settings.domain(), settings.r#type()) {
        (Ok(Domain::UNIX), _) => settings.shutdown(std::net::Shutdown::Read),
        (_, Ok(Type::DGRAM)) => settings.attach_filter(&DROP),
        _ => settings.attach_filter(&DROP_SYN),
    };
    if let Err(error) = refused {
        tracing::debug!(%error, "cannot refuse new clients ahead of the close");
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::io::{ErrorKind, Read, Write};
    use std::net::{TcpListener, TcpStream};
    use std::os::fd::AsFd;
    use std::os::unix::net::{UnixListener, UnixStream};

    use super::*;

    #[test]
    fn the_queue_is_served_and_newcomers_are_not_let_in() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("binds");
        let address = listener.local_addr().expect("an address");
        let mut waiting: Vec<_> =
            (0..3).map(|_| TcpStream::connect(address).expect("room")).collect();
        refuse_newcomers(listener.as_fd());
        let newcomer = TcpStream::connect_timeout(&address, std::time::Duration::from_millis(50));
        assert_eq!(newcomer.expect_err("not let in").kind(), ErrorKind::TimedOut);
        for client in &mut waiting {
            client.write_all(b"x").expect("sent");
            let (mut accepted, _) = listener.accept().expect("it was in the queue");
            let mut byte = [0];
            accepted.read_exact(&mut byte).expect("its packets arrive");
            accepted.write_all(&byte).expect("sent");
            client.read_exact(&mut byte).expect("an answer");
        }
        listener.set_nonblocking(true).expect("nonblocking");
        assert_eq!(listener.accept().expect_err("empty").kind(), ErrorKind::WouldBlock);
    }

    #[test]
    fn a_unix_sockets_queue_is_served_and_newcomers_are_refused() {
        let path = std::env::temp_dir().join(format!("threadline-closing-{}", std::process::id()));
        let listener = UnixListener::bind(&path).expect("binds");
        let waiting = UnixStream::connect(&path).expect("room");
        refuse_newcomers(listener.as_fd());
        let refused = UnixStream::connect(&path).expect_err("not let in");
        assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
        let (mut accepted, _) = listener.accept().expect("it was in the queue");
        accepted.write_all(b"x").expect("sent");
        let mut byte = [0];
        (&waiting).read_exact(&mut byte).expect("an answer");
        listener.set_nonblocking(true).expect("nonblocking");
        assert_eq!(listener.accept().expect_err("empty").kind(), ErrorKind::WouldBlock);
        let _ = std::fs::remove_file(path);
    }
}
