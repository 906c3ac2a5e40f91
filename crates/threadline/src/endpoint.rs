//! [`Endpoint`]: an address, what is served there, and how, with the mistake in it if there is one.
//!
//! The engine's endpoint, for people: addresses may be texts, a router is a protocol, and what is wrong with
//! either is kept until [`Server::start`](crate::Server::start) or [`Server::run`](crate::Server::run), so
//! that a chain of calls reads well. [`Server::http`](crate::Server::http) and its kin are short for an
//! endpoint without options.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use threadline_engine::{Address, BadAddress, Connection, Frames, Lines, Protocol, StreamOptions};
use threadline_http::Router;

use crate::{Error, Result};

/// An address, what is served there, and how: for [`Server::endpoint`](crate::Server::endpoint).
///
/// Mistakes are reported by [`Server::start`](crate::Server::start) and [`Server::run`](crate::Server::run),
/// those of the endpoint that was added first.
///
/// ```
/// use threadline::http::Router;
/// use threadline::{Endpoint, Server};
///
/// # fn work() -> &'static str { "done" }
/// let server = Server::new()
///     .endpoint(Endpoint::http("unix:/run/app.sock", Router::new().get("/work", work)).unix_mode(0o660))
///     .endpoint(Endpoint::http("127.0.0.1:9090", Router::new().get("/health", || "fine")).isolated());
/// ```
#[derive(Debug)]
#[must_use = "an endpoint is served by a server only"]
pub struct Endpoint(Result<threadline_engine::Endpoint>);

impl Endpoint {
    /// Serves HTTP.
    pub fn http(address: impl ToAddress, router: Router) -> Self {
        Endpoint::at(address, |address| match router.build() {
            Ok(service) => Ok(threadline_engine::Endpoint::messages(address, Arc::new(service))),
            Err(error) => Err(Error::Router { address: Some(address), error }),
        })
    }

    /// Serves lines of text.
    pub fn lines(address: impl ToAddress, lines: Lines) -> Self {
        Endpoint::protocol(address, Arc::new(lines))
    }

    /// Serves length-prefixed frames.
    pub fn frames(address: impl ToAddress, frames: Frames) -> Self {
        Endpoint::protocol(address, Arc::new(frames))
    }

    /// Serves messages of your own protocol.
    pub fn protocol(address: impl ToAddress, protocol: Arc<dyn Protocol>) -> Self {
        Endpoint::at(address, |address| {
            Ok(threadline_engine::Endpoint::messages(address, protocol))
        })
    }

    /// Serves whole connections: the handler reads and writes as it likes, on a thread that it has as
    /// long as it runs. The connection closes when the handler returns. An error that it returns is
    /// logged at `warn`, or at `debug` if it is the client's doing: one that the [`Connection`] itself has
    /// reported (a reset, an end of input, a timeout). A panic is logged at `error`.
    pub fn stream(
        address: impl ToAddress,
        handler: impl Fn(Connection) -> io::Result<()> + Send + Sync + 'static,
    ) -> Self {
        Endpoint::stream_with(address, StreamOptions::default(), handler)
    }

    /// As [`Endpoint::stream`], with options.
    pub fn stream_with(
        address: impl ToAddress,
        options: StreamOptions,
        handler: impl Fn(Connection) -> io::Result<()> + Send + Sync + 'static,
    ) -> Self {
        Endpoint::at(address, |address| {
            Ok(threadline_engine::Endpoint::stream(address, options, handler))
        })
    }

    /// Serves single UDP datagrams; what the handler returns is sent back, from the address that the
    /// datagram was sent to. Empty datagrams are handed over, and an empty answer is sent, like any other;
    /// `None` sends nothing. A datagram longer than the receive buffer of 64 KB is dropped and counted.
    ///
    /// The sender's address may be forged: an answer that is longer than the request floods the owner of that
    /// address.
    pub fn datagrams(
        address: impl ToAddress,
        handler: impl Fn(&[u8], SocketAddr) -> Option<Vec<u8>> + Send + Sync + 'static,
    ) -> Self {
        Endpoint::at(address, |address| {
            Ok(threadline_engine::Endpoint::datagrams(address, handler))
        })
    }

    /// Serves it on a thread that serves only isolated endpoints, and with
    /// [`Settings::connections_isolated`](crate::Settings::connections_isolated) connections beyond the
    /// limit. It answers while every thread of the pool is stuck, every event loop is busy and no
    /// connection is free: the place for health checks, metrics and status pages. The handlers of all
    /// isolated endpoints run one after the other on that one thread, whatever the model, and so should not
    /// block.
    ///
    /// Streams and protocols with hooks cannot be isolated, since they need threads of the pool.
    pub fn isolated(self) -> Self {
        Endpoint(self.0.map(threadline_engine::Endpoint::isolated))
    }

    /// Sets the permissions of a Unix socket's file, such as `0o660`, whatever the umask is. A client needs
    /// the permission to write (unix(7)). Default: `0o777` without the bits of the umask.
    ///
    /// An error at any other address than `unix:PATH`, and above `0o777`.
    ///
    /// ```
    /// use std::os::unix::fs::PermissionsExt;
    /// use threadline::{Endpoint, Lines, Server};
    ///
    /// # let directory = tempfile::tempdir()?;
    /// # let path = directory.path().join("app.sock");
    /// let lines = Lines::new(|line, _| Some(line.to_uppercase()));
    /// let endpoint = Endpoint::lines(format!("unix:{}", path.display()), lines).unix_mode(0o600);
    /// let service = Server::new().endpoint(endpoint).start()?;
    /// assert_eq!(std::fs::metadata(&path)?.permissions().mode() & 0o777, 0o600);
    /// # service.drain();
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn unix_mode(self, mode: u32) -> Self {
        Endpoint(self.0.map(|endpoint| endpoint.unix_mode(mode)))
    }

    fn at(
        address: impl ToAddress,
        serve: impl FnOnce(Address) -> Result<threadline_engine::Endpoint>,
    ) -> Self {
        Endpoint(address.to_address().map_err(Error::from).and_then(serve))
    }

    /// The engine's endpoint, checked.
    pub(crate) fn check(self) -> Result<threadline_engine::Endpoint> {
        let endpoint = self.0?;
        endpoint.check().map_err(Error::Settings)?;
        Ok(endpoint)
    }
}

/// What [`Endpoint`]'s and [`Server`](crate::Server)'s methods take as an address: a text such as
/// `"127.0.0.1:8080"`, an [`Address`] or a [`SocketAddr`].
pub trait ToAddress {
    /// The address.
    ///
    /// # Errors
    /// If it is text that is not an address.
    fn to_address(self) -> Result<Address, BadAddress>;
}

impl ToAddress for &str {
    fn to_address(self) -> Result<Address, BadAddress> {
        self.parse()
    }
}

impl ToAddress for String {
    fn to_address(self) -> Result<Address, BadAddress> {
        self.parse()
    }
}

impl ToAddress for &String {
    fn to_address(self) -> Result<Address, BadAddress> {
        self.parse()
    }
}

impl ToAddress for Address {
    fn to_address(self) -> Result<Address, BadAddress> {
        Ok(self)
    }
}

impl ToAddress for SocketAddr {
    fn to_address(self) -> Result<Address, BadAddress> {
        Ok(Address::Ip(self))
    }
}
