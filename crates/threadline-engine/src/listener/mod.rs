//! Bound sockets, before and while they are served.
//!
//! - `address`: where to listen, as text
//! - `ip`: TCP and UDP, a socket for each shard, so that shards share nothing
//! - `unix`: Unix sockets, and what may be at their paths
//! - `inherited`: sockets from outside (socket activation, a supervisor)
//! - `keep_alive`: TCP keep-alive, which connections inherit from their listener
//! - `unsent`: the bound on the kernel's buffers, likewise
//! - `closing`: keeping clients out just before a listener is closed
//!
//! A Unix or inherited socket cannot be had twice: all shards share it, and the kernel wakes one of them
//! (`EPOLLEXCLUSIVE`).

mod address;
mod closing;
mod inherited;
mod ip;
mod keep_alive;
mod unix;
mod unsent;

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use rustix::io::Errno;
use socket2::Type;

use crate::sys::{self, Bound, Interest};
#[cfg(feature = "testing")]
use crate::testing::{Backlog, Share};
use crate::transport::Transport;

pub use address::{Address, BadAddress};
pub use inherited::take_inherited;
pub use keep_alive::TcpKeepAlive;
use unix::SocketFile;

/// What TCP connections inherit from their listener.
#[derive(Debug, Clone, Copy)]
pub(crate) struct TcpOptions {
    pub(crate) keep_alive: Option<TcpKeepAlive>,
    pub(crate) unsent_max: Option<u32>,
}

/// A bound address that is not yet served: its sockets listen, clients wait in the backlog.
#[derive(Debug)]
pub struct Listener {
    sockets: Sockets,
    kind: Kind,
    address: Address,
    /// No other process has it, except worker processes of this one.
    ours_alone: bool,
    /// Of a Unix socket that this process has bound.
    file: Option<Arc<SocketFile>>,
}

#[derive(Debug)]
enum Sockets {
    /// One for each shard.
    Each(Vec<OwnedFd>),
    /// One for all.
    Common(Arc<OwnedFd>),
    /// None: a test makes the clients.
    #[cfg(feature = "testing")]
    Scripted(Arc<Backlog>),
}

/// What comes out of a socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Connections,
    Datagrams,
}

impl Listener {
    /// Binds a stream address for `shards` shards.
    ///
    /// # Errors
    /// The system's, with the address in the message. `AddrInUse` also when another service that
    /// shares its port (`SO_REUSEPORT`) is there: two services would silently split the clients. At the
    /// path of a Unix socket only a stale socket is replaced; anything else is an error that says what is
    /// there, `AlreadyExists` if it is not a socket.
    pub fn bind(address: &Address, shards: usize, backlog: i32) -> io::Result<Listener> {
        Listener::bind_with_mode(address, shards, backlog, None)
    }

    /// As [`Listener::bind`]; a Unix socket's file gets these permissions, whatever the umask is.
    pub(crate) fn bind_with_mode(
        address: &Address,
        shards: usize,
        backlog: i32,
        mode: Option<u32>,
    ) -> io::Result<Listener> {
        let bound = match address {
            Address::Ip(ip) => Listener::bind_ip(*ip, shards, Some(backlog)),
            Address::Unix(path) => {
                unix::bind_path(path, backlog, mode).map(|(socket, file)| Listener {
                    sockets: Sockets::Common(socket),
                    kind: Kind::Connections,
                    address: address.clone(),
                    ours_alone: true,
                    file: Some(Arc::new(file)),
                })
            }
            Address::Abstract(name) => unix::bind_name(name, backlog).map(|socket| Listener {
                sockets: Sockets::Common(Arc::new(socket)),
                kind: Kind::Connections,
                address: address.clone(),
                ours_alone: true,
                file: None,
            }),
            Address::Fd(number) => take_inherited(*number).and_then(Listener::from_fd),
        };
        bound.map_err(|error| with_address(error, address))
    }

    /// Binds a datagram address for `shards` shards.
    ///
    /// # Errors
    /// As [`Listener::bind`]; Unix datagram sockets are not supported.
    pub fn bind_datagrams(address: &Address, shards: usize) -> io::Result<Listener> {
        let bound = match address {
            Address::Ip(ip) => Listener::bind_ip(*ip, shards, None),
            Address::Unix(_) | Address::Abstract(_) => Err(inherited::no_unix_datagrams()),
            Address::Fd(number) => take_inherited(*number).and_then(Listener::from_fd),
        };
        bound.map_err(|error| with_address(error, address))
    }

    /// Takes over a socket that is bound already, and listening if it is a stream socket. A Unix socket's
    /// file stays when the listener is dropped: it belongs to the process that has bound it.
    ///
    /// # Errors
    /// If the descriptor is not such a socket.
    pub fn from_fd(fd: OwnedFd) -> io::Result<Listener> {
        let (kind, address) = inherited::examine(&fd)?;
        let sockets = Sockets::Common(Arc::new(fd));
        Ok(Listener { sockets, kind, address, ours_alone: false, file: None })
    }

    fn bind_ip(address: SocketAddr, shards: usize, backlog: Option<i32>) -> io::Result<Listener> {
        let (kind, of_socket) = match backlog {
            Some(_) => (Kind::Connections, Type::STREAM),
            None => (Kind::Datagrams, Type::DGRAM),
        };
        let (each, address) = ip::bind_each(address, shards, of_socket, backlog)?;
        let address = Address::Ip(address);
        let sockets = Sockets::Each(each);
        Ok(Listener { sockets, kind, address, ours_alone: true, file: None })
    }

    /// Where it listens: the port that the kernel chose, if it was asked to.
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// Has the kernel refuse new clients from here on, while those in the queue can still be accepted.
    /// For a supervisor whose worker processes are about to accept them and to end. Does nothing for a
    /// socket that was passed in from outside, since others may serve it.
    pub fn refuse_newcomers(&self) {
        if self.ours_alone {
            self.all().iter().for_each(|fd| closing::refuse_newcomers(fd.as_fd()));
        }
    }

    fn all(&self) -> &[OwnedFd] {
        match &self.sockets {
            Sockets::Each(each) => each,
            Sockets::Common(fd) => std::slice::from_ref(fd),
            #[cfg(feature = "testing")]
            Sockets::Scripted(_) => &[],
        }
    }

    pub(crate) fn kind(&self) -> Kind {
        self.kind
    }

    /// Sets the options that all connections inherit which come; nothing for other sockets than TCP.
    pub(crate) fn set_options(&self, options: TcpOptions) {
        if !self.is_tcp() {
            return;
        }
        let address = &self.address;
        for socket in self.all() {
            // Errors are those of a protocol like MPTCP, by an older kernel. It is served all the same.
            if let Err(error) = keep_alive::set(socket, options.keep_alive) {
                tracing::warn!(%error, "TCP keep-alive cannot be set on {address}");
            }
            if let Err(error) = unsent::set(socket, options.unsent_max) {
                tracing::warn!(%error, "the kernel's buffers cannot be bounded on {address}");
            }
        }
    }

    fn is_tcp(&self) -> bool {
        self.kind == Kind::Connections && matches!(self.address, Address::Ip(_))
    }

    /// One source for each of `shards` shards.
    pub(crate) fn into_sources(self, service: u32, shards: usize) -> Vec<Source> {
        let inherits = !self.is_tcp();
        let bound = match &self.address {
            Address::Ip(address) => Bound::to(address.ip()),
            _ => Bound::ToOne,
        };
        let Listener { sockets, kind, ours_alone, file, .. } = self;
        let source = |fd, common| {
            let (_file, is_over) = (file.clone(), false);
            Source {
                fd,
                kind,
                service,
                common,
                ours_alone,
                bound,
                inherits,
                is_over,
                _file,
                #[cfg(feature = "testing")]
                share: None,
            }
        };
        match sockets {
            // Bound for another number of shards: share what there is.
            Sockets::Each(mut each) if each.len() != shards => {
                let fd = Arc::new(each.swap_remove(0));
                (0..shards).map(|_| source(Arc::clone(&fd), true)).collect()
            }
            Sockets::Each(each) => each.into_iter().map(|fd| source(Arc::new(fd), false)).collect(),
            Sockets::Common(fd) => (0..shards).map(|_| source(Arc::clone(&fd), true)).collect(),
            #[cfg(feature = "testing")]
            Sockets::Scripted(backlog) => (backlog.share(shards).into_iter())
                .map(|share| {
                    let source = source(share.ready(), false);
                    Source { share: Some(share), ..source }
                })
                .collect(),
        }
    }

    #[cfg(feature = "testing")]
    pub(crate) fn scripted(backlog: Arc<Backlog>, address: SocketAddr) -> Self {
        Listener {
            sockets: Sockets::Scripted(backlog),
            kind: Kind::Connections,
            address: Address::Ip(address),
            ours_alone: true,
            file: None,
        }
    }
}

impl AsFd for Listener {
    /// A descriptor to pass on to a worker process. Only for listeners that were bound for one shard.
    fn as_fd(&self) -> BorrowedFd<'_> {
        match &self.sockets {
            Sockets::Each(each) => each[0].as_fd(),
            Sockets::Common(fd) => fd.as_fd(),
            #[cfg(feature = "testing")]
            Sockets::Scripted(_) => panic!("a test's listener cannot be passed on"),
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
    /// No other process has it.
    pub(crate) ours_alone: bool,
    /// To how many addresses.
    pub(crate) bound: Bound,
    /// Connections have the options that the listener has now, as far as there are any.
    inherits: bool,
    /// It was shut down by another process that has it too: nothing comes any more.
    pub(crate) is_over: bool,
    _file: Option<Arc<SocketFile>>,
    /// Of a listener whose clients a test makes.
    #[cfg(feature = "testing")]
    share: Option<Share>,
}

impl Source {
    pub(crate) fn interest(&self) -> Interest {
        if self.common { Interest::SharedSource } else { Interest::Source }
    }

    pub(crate) fn socket(&self) -> Arc<OwnedFd> {
        Arc::clone(&self.fd)
    }

    /// As [`Listener::refuse_newcomers`], for this share.
    pub(crate) fn refuse_newcomers(&self) {
        #[cfg(feature = "testing")]
        if let Some(share) = &self.share {
            return share.refuse_newcomers();
        }
        if self.ours_alone {
            closing::refuse_newcomers(self.fd.as_fd());
        }
    }

    /// Takes the next connection out of the queue, with its peer's address.
    ///
    /// It gets the listener's options, if it has come before the listener had them: to an inherited socket,
    /// or before the engine was prepared. Connections are accepted in the order in which they have come, so
    /// the first one that has the options ends the search.
    pub(crate) fn accept(
        &mut self,
        options: TcpOptions,
    ) -> Result<(Transport, Option<SocketAddr>), Errno> {
        #[cfg(feature = "testing")]
        if let Some(share) = &self.share {
            return share.accept();
        }
        let (socket, peer) = sys::accept(&self.fd)?;
        if !self.inherits {
            let has_keep_alive = keep_alive::pass_on(&socket, options.keep_alive);
            self.inherits = unsent::pass_on(&socket, options.unsent_max) && has_keep_alive;
        }
        Ok((Transport::plain(socket), peer))
    }
}

impl AsFd for Source {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// Why an address cannot be listened on: inside of the [`io::Error`] of [`Listener::bind`], for callers
/// that want the system's error number, which an error with a message of its own cannot have.
#[derive(Debug)]
pub struct ListenError {
    address: Address,
    cause: io::Error,
    hint: &'static str,
}

impl ListenError {
    /// The number of the system's error, as [`io::Error::raw_os_error`] has it; `None` if the system has
    /// refused nothing.
    pub fn raw_os_error(&self) -> Option<i32> {
        self.cause.raw_os_error()
    }
}

impl fmt::Display for ListenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ListenError { address, cause, hint } = self;
        write!(f, "cannot listen on {address}: {cause}{hint}")
    }
}

impl std::error::Error for ListenError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        // The message has the cause's: the chain goes on after it.
        self.cause.source()
    }
}

fn with_address(error: io::Error, address: &Address) -> io::Error {
    let hint = match (address, error.kind()) {
        (Address::Ip(_), io::ErrorKind::AddrInUse) => {
            ": another program, or this one, listens there already; stop it or choose another address"
        }
        (Address::Ip(_), io::ErrorKind::PermissionDenied) => {
            ": ports below 1024 need CAP_NET_BIND_SERVICE; choose a higher one"
        }
        (Address::Ip(_), io::ErrorKind::AddrNotAvailable) => ": this machine has no such address",
        _ => "",
    };
    io::Error::new(error.kind(), ListenError { address: address.clone(), cause: error, hint })
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn the_systems_error_keeps_its_number_and_kind() {
        use rustix::io::Errno;
        let address: Address = "127.0.0.1:80".parse().expect("an address");
        for (errno, hint) in [
            (Errno::ACCESS, "CAP_NET_BIND_SERVICE"),
            (Errno::ADDRINUSE, "listens there already"),
            (Errno::ADDRNOTAVAIL, "no such address"),
            (Errno::MFILE, "cannot listen on 127.0.0.1:80: "),
        ] {
            let error = with_address(errno.into(), &address);
            assert_eq!(error.kind(), io::Error::from(errno).kind());
            assert!(error.to_string().contains(hint), "{error}");
            let inner = error.get_ref().and_then(|error| error.downcast_ref::<ListenError>());
            let number = inner.and_then(ListenError::raw_os_error);
            assert_eq!(number, Some(errno.raw_os_error()));
        }
    }

    #[test]
    fn a_second_service_on_the_same_port_is_refused() {
        let any = "127.0.0.1:0".parse().expect("an address");
        let first = Listener::bind(&any, 2, 16).expect("first");
        let error = Listener::bind(first.address(), 2, 16).expect_err("second");
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
        assert!(error.to_string().contains("another program, or this one, listens there already"));
    }
}
