//! Sockets from outside: passed by a service manager, a supervisor or the embedding program.
//!
//! They are bound already. A descriptor that is passed by its number becomes this service's own, so that it
//! can be closed: a copy that stays open would keep the port open. Nothing here removes a Unix socket's file: it belongs to the process that has
//! bound it.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, FromRawFd, OwnedFd};
use std::path::Path;

use rustix::io::{Errno, FdFlags, fcntl_dupfd_cloexec, fcntl_getfd, fcntl_setfd};
use rustix::stdio::{dup2_stderr, dup2_stdin, dup2_stdout};
use socket2::{Domain, SockRef, Type};

use super::{Address, Kind};
use crate::sys::report_asked_address;

/// Takes over the descriptor of that number, which this process has inherited, so that it can be closed:
/// a copy that stays open would keep the port open when the service has stopped listening. Child
/// processes do not inherit it any more. Of the standard streams, which must stay open, those that are
/// the same socket become `/dev/null`.
///
/// A descriptor that closes itself on `exec` was opened by this process: it has an owner that will close
/// it, and is only duplicated. Rust's standard library opens all of its descriptors so. Do not name a
/// descriptor here that other code has opened without that flag and still uses.
///
/// # Errors
/// [`io::ErrorKind::NotFound`] if there is no such descriptor, and the system's errors.
#[allow(unsafe_code)] // a descriptor number from outside can be borrowed and owned in no other way
pub fn take_inherited(number: i32) -> io::Result<OwnedFd> {
    if number < 0 {
        let message = "not a descriptor number: expected `fd:N`";
        return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
    }
    // SAFETY: fcntl(2) with F_GETFD, F_SETFD and F_DUPFD_CLOEXEC takes any number: one that is not open
    // gives EBADF and nothing else happens. The borrow ends in this function, before the number is owned.
    let fd = unsafe { BorrowedFd::borrow_raw(number) };
    let flags = match fcntl_getfd(fd) {
        Err(Errno::BADF) => {
            let message =
                "not an open descriptor: the program that starts this one must pass it on";
            return Err(io::Error::new(io::ErrorKind::NotFound, message));
        }
        flags => flags?,
    };
    if flags.contains(FdFlags::CLOEXEC) {
        return Ok(fcntl_dupfd_cloexec(fd, 3)?);
    }
    let owned = if number < 3 {
        fcntl_dupfd_cloexec(fd, 3)?
    } else {
        fcntl_setfd(fd, flags | FdFlags::CLOEXEC)?;
        // SAFETY: it is open, see above. Without the flag it is none of those that Rust code has opened
        // and owns, and the caller names it to give it away. It has the flag now, so this line is
        // reached once for each descriptor.
        unsafe { OwnedFd::from_raw_fd(number) }
    };
    release_standard_streams(&owned)?;
    Ok(owned)
}

/// Replaces those standard streams that are the same socket. A supervisor such as inetd passes a socket
/// as all three.
fn release_standard_streams(socket: &OwnedFd) -> io::Result<()> {
    let socket = rustix::fs::fstat(socket)?;
    let is_same = |stream: BorrowedFd<'_>| {
        let stat = rustix::fs::fstat(stream);
        stat.is_ok_and(|stat| (stat.st_dev, stat.st_ino) == (socket.st_dev, socket.st_ino))
    };
    let null = || std::fs::File::options().read(true).write(true).open("/dev/null");
    if is_same(io::stdin().as_fd()) {
        dup2_stdin(null()?)?;
    }
    if is_same(io::stdout().as_fd()) {
        dup2_stdout(null()?)?;
    }
    if is_same(io::stderr().as_fd()) {
        dup2_stderr(null()?)?;
    }
    Ok(())
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

#[cfg(all(test, not(loom)))]
mod tests {
    use std::net::{TcpListener, TcpStream};
    use std::os::fd::{AsRawFd, IntoRawFd};

    use super::*;

    fn is_open(number: i32) -> bool {
        std::fs::symlink_metadata(format!("/proc/self/fd/{number}")).is_ok()
    }

    #[test]
    fn an_inherited_descriptor_is_owned_and_closed_with_its_owner() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("binds");
        // As after an exec.
        fcntl_setfd(&listener, FdFlags::empty()).expect("flags");
        let number = listener.into_raw_fd();
        let taken = take_inherited(number).expect("taken over");
        assert_eq!(taken.as_raw_fd(), number, "no copy");
        assert!(fcntl_getfd(&taken).expect("flags").contains(FdFlags::CLOEXEC));
        let address = TcpListener::from(taken.try_clone().expect("a copy")).local_addr();
        drop(taken);
        let refused = TcpStream::connect(address.expect("an address"));
        assert_eq!(refused.expect_err("closed").kind(), io::ErrorKind::ConnectionRefused);
    }

    #[test]
    fn a_descriptor_that_this_process_has_opened_keeps_its_owner() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("binds");
        let taken = take_inherited(listener.as_raw_fd()).expect("duplicated");
        assert_ne!(taken.as_raw_fd(), listener.as_raw_fd());
        drop(taken);
        assert!(is_open(listener.as_raw_fd()));
        assert!(TcpStream::connect(listener.local_addr().expect("an address")).is_ok());
    }

    #[test]
    fn a_number_that_is_not_open_is_an_error() {
        for number in [-1, i32::MIN] {
            let error = take_inherited(number).expect_err("no descriptor's");
            assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
        }
        let error = take_inherited(1 << 20).expect_err("not open");
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
    }
}
