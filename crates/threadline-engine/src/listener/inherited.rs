//! Sockets from outside: passed by a service manager, a supervisor or the embedding program.
//!
//! They are bound already. Nothing here removes a Unix socket's file: it belongs to the process that has
//! bound it.

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::io::Errno;
use socket2::{Domain, SockRef, Type};

use super::{Address, Kind};
use crate::sys::report_asked_address;

/// Duplicates an inherited descriptor: its number may be standard input's, or used twice.
#[allow(unsafe_code)] // a descriptor number from outside can only be borrowed unsafely
pub(super) fn duplicate(number: i32) -> io::Result<OwnedFd> {
    if number < 0 {
        let message = "not a descriptor number: expected `fd:N`";
        return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
    }
    // SAFETY: the number is not -1. fcntl(2) with F_DUPFD_CLOEXEC takes any other: one that is not open
    // gives EBADF and nothing else happens. The borrow ends with the call.
    let fd = unsafe { BorrowedFd::borrow_raw(number) };
    match rustix::io::fcntl_dupfd_cloexec(fd, 3) {
        Err(Errno::BADF) => {
            let message =
                "not an open descriptor: the program that starts this one must pass it on";
            Err(io::Error::new(io::ErrorKind::NotFound, message))
        }
        other => Ok(other?),
    }
}

/// Finds out what a descriptor is, and makes it ready to be served.
pub(super) fn examine(fd: &OwnedFd) -> io::Result<(Kind, Address)> {
    let socket = SockRef::from(fd);
    let unfit = |message: &str| Err(io::Error::new(io::ErrorKind::InvalidInput, message));
    let kind = match (socket.r#type(), socket.domain()) {
        (Err(error), _) if error.raw_os_error() == Some(Errno::NOTSOCK.raw_os_error()) => {
            return unfit("not a socket: expected one that is bound");
        }
        (Ok(Type::STREAM), _) => Kind::Connections,
        (Ok(Type::DGRAM), Ok(Domain::IPV4 | Domain::IPV6)) => Kind::Datagrams,
        (Ok(Type::DGRAM), _) => return Err(no_unix_datagrams()),
        (Ok(_), _) => return unfit("a socket of another type than stream or datagram"),
        (Err(error), _) => return Err(error),
    };
    if kind == Kind::Connections && !socket.is_listener()? {
        // Accepting would fail at once, again and again.
        return unfit("a socket that does not listen: expected one that is bound and listening");
    }
    socket.set_nonblocking(true)?;
    let local = socket.local_addr()?;
    if let Some(ip) = local.as_socket() {
        match kind {
            Kind::Connections => socket.set_tcp_nodelay(true)?,
            Kind::Datagrams => report_asked_address(fd, ip.ip())?,
        }
        return Ok((kind, Address::Ip(ip)));
    }
    match (local.as_abstract_namespace(), local.as_pathname()) {
        (Some(name), _) => Ok((kind, Address::Abstract(name.to_vec()))),
        (None, Some(path)) => Ok((kind, Address::Unix(Path::to_owned(path)))),
        (None, None) => unfit("a socket of another family than IPv4, IPv6 and Unix"),
    }
}

/// Why datagrams are served over UDP alone.
pub(super) fn no_unix_datagrams() -> io::Error {
    let message = "datagrams over Unix sockets are not supported";
    io::Error::new(io::ErrorKind::Unsupported, message)
}
