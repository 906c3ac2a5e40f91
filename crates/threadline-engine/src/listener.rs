//! Addresses and the sockets bound to them.
//!
//! A TCP or UDP address gets one socket for each shard, with `SO_REUSEPORT`, so that the kernel
//! spreads clients and shards share nothing. Where a listener is handed in from outside (socket
//! activation, a supervisor) or cannot be had twice (Unix sockets), all shards share it, and the
//! kernel wakes one of them (`EPOLLEXCLUSIVE`).

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr, ToSocketAddrs};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;

use socket2::{Domain, SockAddr, SockRef, Socket, Type};

use crate::sys::Interest;

/// Where a service listens.
///
/// | text | meaning |
/// | --- | --- |
/// | `127.0.0.1:8080`, `[::1]:8080`, `localhost:8080` | that address; port 0 lets the kernel choose |
/// | `:8080` or `[::]:8080` | all addresses, IPv4 and IPv6 |
/// | `unix:/run/app.sock` | a Unix socket; a stale file is replaced |
/// | `fd:3` | a socket that this process has inherited |
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Address {
    /// An IP address and port.
    Ip(SocketAddr),
    /// A path of a Unix stream socket.
    Unix(PathBuf),
    /// The number of an inherited descriptor, which must be a socket.
    Fd(i32),
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Address::Ip(address) => address.fmt(f),
            Address::Unix(path) => write!(f, "unix:{}", path.display()),
            Address::Fd(number) => write!(f, "fd:{number}"),
        }
    }
}

impl From<SocketAddr> for Address {
    fn from(address: SocketAddr) -> Self {
        Address::Ip(address)
    }
}

/// A text that is no address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadAddress {
    text: String,
    why: String,
}

impl fmt::Display for BadAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "bad address '{}': {}; use HOST:PORT (127.0.0.1:8080, [::1]:8080), :PORT, unix:PATH or \
             fd:NUMBER",
            self.text, self.why
        )
    }
}

impl std::error::Error for BadAddress {}

impl FromStr for Address {
    type Err = BadAddress;

    fn from_str(text: &str) -> Result<Self, BadAddress> {
        let bad = |why: &str| BadAddress { text: text.to_owned(), why: why.to_owned() };
        if let Some(path) = text.strip_prefix("unix:") {
            return match path {
                "" => Err(bad("the path is empty")),
                path => Ok(Address::Unix(path.into())),
            };
        }
        if let Some(number) = text.strip_prefix("fd:") {
            return match number.parse() {
                Ok(number @ 0..) => Ok(Address::Fd(number)),
                _ => Err(bad("that is no descriptor number")),
            };
        }
        if let Ok(address) = text.parse() {
            return Ok(Address::Ip(address));
        }
        let (host, port) = text.rsplit_once(':').ok_or_else(|| bad("the port is missing"))?;
        let port = port.parse().map_err(|_| bad("the port is no number from 0 to 65535"))?;
        if host.is_empty() {
            return Ok(Address::Ip((Ipv6Addr::UNSPECIFIED, port).into()));
        }
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let mut found =
            (host, port).to_socket_addrs().map_err(|_| bad("the host name is not known"))?;
        found.next().map(Address::Ip).ok_or_else(|| bad("the host name has no address"))
    }
}

/// A bound address that is not yet served: its sockets listen, clients wait in the backlog.
#[derive(Debug)]
pub struct Listener {
    sockets: Sockets,
    kind: Kind,
    address: Address,
    /// Made by us, so removed by us.
    remove: Option<Arc<RemoveOnDrop>>,
}

#[derive(Debug)]
enum Sockets {
    /// One for each shard.
    Each(Vec<OwnedFd>),
    /// One for all.
    Common(Arc<OwnedFd>),
}

/// What comes out of a socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Connections,
    Datagrams,
}

/// Removes a Unix socket's file.
#[derive(Debug)]
struct RemoveOnDrop(PathBuf);

impl Drop for RemoveOnDrop {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

impl Listener {
    /// Binds a stream address for `shards` shards.
    ///
    /// # Errors
    /// The system's, with the address in the message. `AddrInUse` also when another service that
    /// shares its port (`SO_REUSEPORT`) is there: two services would silently split the clients.
    pub fn bind(address: &Address, shards: usize, backlog: i32) -> io::Result<Listener> {
        let bound = match address {
            Address::Ip(ip) => bind_each(*ip, shards, Type::STREAM, Some(backlog)),
            Address::Unix(path) => bind_unix(path, backlog),
            Address::Fd(number) => inherited(*number).and_then(Listener::from_fd),
        };
        bound.map_err(|error| with_address(error, address))
    }

    /// Binds a datagram address for `shards` shards.
    ///
    /// # Errors
    /// As [`Listener::bind`]; Unix datagram sockets are not supported.
    pub fn bind_datagrams(address: &Address, shards: usize) -> io::Result<Listener> {
        let bound = match address {
            Address::Ip(ip) => bind_each(*ip, shards, Type::DGRAM, None),
            Address::Unix(_) => Err(io::Error::new(
                io::ErrorKind::Unsupported,
                "datagrams over Unix sockets are not supported",
            )),
            Address::Fd(number) => inherited(*number).and_then(Listener::from_fd),
        };
        bound.map_err(|error| with_address(error, address))
    }

    /// Takes over a socket that is bound already, and listening if it is a stream socket.
    ///
    /// # Errors
    /// If the descriptor is no socket.
    pub fn from_fd(fd: OwnedFd) -> io::Result<Listener> {
        let socket = SockRef::from(&fd);
        let kind =
            if socket.r#type()? == Type::DGRAM { Kind::Datagrams } else { Kind::Connections };
        socket.set_nonblocking(true)?;
        let address = match socket.local_addr()?.as_socket() {
            Some(ip) => {
                if kind == Kind::Connections {
                    socket.set_tcp_nodelay(true)?;
                }
                Address::Ip(ip)
            }
            None => {
                let path = socket.local_addr()?.as_pathname().map(Path::to_owned);
                Address::Unix(path.unwrap_or_default())
            }
        };
        Ok(Listener { sockets: Sockets::Common(Arc::new(fd)), kind, address, remove: None })
    }

    /// Where it listens: the port that the kernel chose, if it was asked to.
    pub fn address(&self) -> &Address {
        &self.address
    }

    pub(crate) fn kind(&self) -> Kind {
        self.kind
    }

    /// One source for each of `shards` shards.
    pub(crate) fn into_sources(self, service: u32, shards: usize) -> Vec<Source> {
        let Listener { sockets, kind, remove, .. } = self;
        let source = |fd, common| Source { fd, kind, service, common, _remove: remove.clone() };
        match sockets {
            // Bound for another number of shards: share what there is.
            Sockets::Each(mut each) if each.len() != shards => {
                let fd = Arc::new(each.swap_remove(0));
                (0..shards).map(|_| source(Arc::clone(&fd), true)).collect()
            }
            Sockets::Each(each) => each.into_iter().map(|fd| source(Arc::new(fd), false)).collect(),
            Sockets::Common(fd) => (0..shards).map(|_| source(Arc::clone(&fd), true)).collect(),
        }
    }
}

impl AsFd for Listener {
    /// A descriptor to pass on to a worker process. Only for listeners that were bound for one shard.
    fn as_fd(&self) -> BorrowedFd<'_> {
        match &self.sockets {
            Sockets::Each(each) => each[0].as_fd(),
            Sockets::Common(fd) => fd.as_fd(),
        }
    }
}

/// One shard's share of a listener.
#[derive(Debug)]
pub(crate) struct Source {
    fd: Arc<OwnedFd>,
    pub(crate) kind: Kind,
    pub(crate) service: u32,
    common: bool,
    _remove: Option<Arc<RemoveOnDrop>>,
}

impl Source {
    pub(crate) fn interest(&self) -> Interest {
        if self.common { Interest::SharedSource } else { Interest::Source }
    }

    pub(crate) fn socket(&self) -> Arc<OwnedFd> {
        Arc::clone(&self.fd)
    }
}

impl AsFd for Source {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

fn bind_each(
    address: SocketAddr,
    shards: usize,
    kind: Type,
    backlog: Option<i32>,
) -> io::Result<Listener> {
    if address.port() != 0 {
        // A socket that does not share its port finds out whether anybody else is there.
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
    let kind = if backlog.is_some() { Kind::Connections } else { Kind::Datagrams };
    let sockets = Sockets::Each(each.into_iter().map(OwnedFd::from).collect());
    Ok(Listener { sockets, kind, address: Address::Ip(address), remove: None })
}

fn open(address: SocketAddr, kind: Type, share_port: bool) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), kind.cloexec().nonblocking(), None)?;
    if kind == Type::STREAM {
        // A restart must not wait for old connections to time out.
        socket.set_reuse_address(true)?;
        // Accepted sockets inherit it (Linux), which saves a system call a connection.
        socket.set_tcp_nodelay(true)?;
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

fn bind_unix(path: &Path, backlog: i32) -> io::Result<Listener> {
    let kind = Type::STREAM.cloexec().nonblocking();
    let address = SockAddr::unix(path)?;
    let socket = Socket::new(Domain::UNIX, kind, None)?;
    if let Err(error) = socket.bind(&address) {
        let stale = error.kind() == io::ErrorKind::AddrInUse && is_stale(&address)?;
        if !stale {
            return Err(error);
        }
        std::fs::remove_file(path)?;
        socket.bind(&address)?;
    }
    socket.listen(backlog)?;
    Ok(Listener {
        sockets: Sockets::Common(Arc::new(socket.into())),
        kind: Kind::Connections,
        address: Address::Unix(path.to_owned()),
        remove: Some(Arc::new(RemoveOnDrop(path.to_owned()))),
    })
}

/// Whether a socket file is there and nobody listens on it.
fn is_stale(address: &SockAddr) -> io::Result<bool> {
    let probe = Socket::new(Domain::UNIX, Type::STREAM.cloexec(), None)?;
    Ok(probe.connect(address).is_err_and(|e| e.kind() == io::ErrorKind::ConnectionRefused))
}

/// Duplicates an inherited descriptor: its number may be standard input's, or used twice.
#[allow(unsafe_code)] // a descriptor number from outside can only be borrowed unsafely
fn inherited(number: i32) -> io::Result<OwnedFd> {
    // SAFETY: fcntl(2) with F_DUPFD_CLOEXEC takes any number: one that is not open gives EBADF and
    // nothing else happens. The borrow ends with the call.
    let fd = unsafe { BorrowedFd::borrow_raw(number) };
    Ok(rustix::io::fcntl_dupfd_cloexec(fd, 3)?)
}

fn with_address(error: io::Error, address: &Address) -> io::Error {
    let hint = match error.kind() {
        io::ErrorKind::AddrInUse => {
            ": somebody listens there already, another program or this one; stop it or choose another \
             address"
        }
        io::ErrorKind::PermissionDenied => {
            ": ports below 1024 need CAP_NET_BIND_SERVICE; choose a higher one"
        }
        io::ErrorKind::AddrNotAvailable => ": this machine has no such address",
        _ => "",
    };
    io::Error::new(error.kind(), format!("cannot listen on {address}: {error}{hint}"))
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read() {
        let ip = |text: &str| Ok(Address::Ip(text.parse().expect("an address")));
        assert_eq!("127.0.0.1:80".parse(), ip("127.0.0.1:80"));
        assert_eq!("[::1]:80".parse(), ip("[::1]:80"));
        assert_eq!(":80".parse(), ip("[::]:80"));
        assert_eq!("unix:/run/x".parse(), Ok(Address::Unix("/run/x".into())));
        assert_eq!("fd:3".parse(), Ok(Address::Fd(3)));
    }

    #[test]
    fn bad_addresses_say_what_to_write() {
        for text in ["", "8080", "127.0.0.1", "127.0.0.1:99999", "unix:", "fd:x", "fd:-1", "a b:1"]
        {
            let error = text.parse::<Address>().expect_err(text).to_string();
            assert!(error.contains("use HOST:PORT"), "{error}");
        }
    }

    #[test]
    fn a_second_service_on_the_same_port_is_refused() {
        let any = "127.0.0.1:0".parse().expect("an address");
        let first = Listener::bind(&any, 2, 16).expect("first");
        let error = Listener::bind(first.address(), 2, 16).expect_err("second");
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
        assert!(error.to_string().contains("somebody listens there already"));
    }

    #[test]
    fn a_stale_unix_socket_is_replaced_and_a_live_one_is_not() {
        let path = std::env::temp_dir().join(format!("threadline-{}.sock", std::process::id()));
        drop(std::os::unix::net::UnixListener::bind(&path).expect("stale"));
        let address = Address::Unix(path.clone());
        let live = Listener::bind(&address, 1, 16).expect("replaces the stale one");
        let error = Listener::bind(&address, 1, 16).expect_err("live");
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
        drop(live);
        assert!(!path.exists());
    }
}
