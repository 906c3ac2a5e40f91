//! Accepting connections.

use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::{SocketFlags, acceptfrom_with};

/// The next connection of a listening socket, and its peer's address if that is an IP address. Reads and
/// writes of it do not wait.
pub(crate) fn accept(listener: impl AsFd) -> Result<(OwnedFd, Option<SocketAddr>), Errno> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let (socket, peer) = acceptfrom_with(listener, flags)?;
    Ok((socket, peer.and_then(|peer| peer.try_into().ok())))
}
