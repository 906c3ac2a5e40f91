//! How much the kernel takes of what a peer does not read (`TCP_NOTSENT_LOWAT`).
//!
//! Without a bound the kernel's buffer grows to 4 MB for each peer that reads nothing: memory that no budget of the
//! process counts. The option is set on listeners, from which connections inherit it; one that has come before is
//! set up when it is accepted.

use std::io;
use std::os::fd::OwnedFd;

use socket2::SockRef;

/// Sets how many bytes that have not been sent yet a socket takes. `None` leaves the kernel's default.
pub(super) fn set(socket: &OwnedFd, unsent_max: Option<u32>) -> io::Result<()> {
    unsent_max.map_or(Ok(()), |max| SockRef::from(socket).set_tcp_notsent_lowat(max))
}

/// Sets the listener's option on a connection, unless it has it. Returns whether later connections need no look:
/// this one had the option, or the kernel refuses to set it.
pub(super) fn pass_on(connection: &OwnedFd, unsent_max: Option<u32>) -> bool {
    let Some(max) = unsent_max else { return true };
    let has = SockRef::from(connection).tcp_notsent_lowat();
    has.is_ok_and(|has| has == max) || set(connection, unsent_max).is_err()
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::io::Write;
    use std::net::{TcpListener, TcpStream};

    use super::*;

    const MAX: Option<u32> = Some(64 * 1024);

    fn accept(listener: &TcpListener) -> (TcpStream, OwnedFd) {
        let client = TcpStream::connect(listener.local_addr().expect("bound")).expect("connects");
        (client, listener.accept().expect("a client").0.into())
    }

    #[test]
    fn connections_inherit_it_and_one_that_came_before_gets_it() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("binds");
        let (_client, early) = accept(&listener);
        assert!(!pass_on(&early, MAX) && pass_on(&early, MAX));
        set(&listener.try_clone().expect("clones").into(), MAX).expect("sets");
        let (_client, late) = accept(&listener);
        assert!(pass_on(&late, MAX) && pass_on(&late, None));
    }

    #[test]
    fn a_peer_that_reads_nothing_costs_little_of_the_kernel() {
        let taken = |max| {
            let listener = TcpListener::bind("127.0.0.1:0").expect("binds");
            let (_client, accepted) = accept(&listener);
            set(&accepted, max).expect("sets");
            let mut stream = TcpStream::from(accepted);
            stream.set_nonblocking(true).expect("a socket");
            let piece = [0; 1 << 14];
            std::iter::from_fn(|| stream.write(&piece).ok()).sum::<usize>()
        };
        let (bounded, unbounded) = (taken(MAX), taken(None));
        assert!(bounded < unbounded, "{bounded} of {unbounded} bytes");
    }
}
