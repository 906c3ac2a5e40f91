//! TCP and UDP: a socket for each shard, all bound to the same address by `SO_REUSEPORT`.
//!
//! The kernel spreads clients over them, and shards share nothing.

use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::os::fd::OwnedFd;

use socket2::{Domain, Socket, Type};

use crate::sys::report_asked_address;

/// Sockets for `shards` shards, and the address with the port that the kernel chose. Stream sockets
/// listen, with that `backlog`.
pub(super) fn bind_each(
    address: SocketAddr,
    shards: usize,
    kind: Type,
    backlog: Option<i32>,
) -> io::Result<(Vec<OwnedFd>, SocketAddr)> {
    if address.port() != 0 {
        // A socket that does not share its port finds out whether another one is there.
        open(address, kind, false)?;
    }
    let mut each = Vec::with_capacity(shards);
    let mut address = address;
    for _ in 0..shards.max(1) {
        let socket = open(address, kind, true)?;
        // The kernel has chosen a port: the others take the same.
        address.set_port(local_ip(&socket)?.port());
        each.push(socket);
    }
    for socket in each.iter().filter(|_| backlog.is_some()) {
        socket.listen(backlog.unwrap_or_default())?;
    }
    Ok((each.into_iter().map(OwnedFd::from).collect(), address))
}

fn open(address: SocketAddr, kind: Type, share_port: bool) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), kind.cloexec().nonblocking(), None)?;
    if kind == Type::STREAM {
        // A restart must not wait for old connections to time out.
        socket.set_reuse_address(true)?;
        // Accepted sockets inherit it (Linux), which saves a system call a connection.
        socket.set_tcp_nodelay(true)?;
    } else {
        report_asked_address(&socket, address.ip())?;
    }
    if share_port {
        socket.set_reuse_port(true)?;
    }
    if address.ip() == IpAddr::V6(Ipv6Addr::UNSPECIFIED) {
        socket.set_only_v6(false)?;
    }
    socket.bind(&address.into())?;
    Ok(socket)
}

fn local_ip(socket: &Socket) -> io::Result<SocketAddr> {
    let address = socket.local_addr()?;
    address.as_socket().ok_or_else(|| io::ErrorKind::AddrNotAvailable.into())
}
