//! What a handler sees of a request: a view of the bytes where they arrived.

use std::fmt;
use std::net::SocketAddr;

use matchit::Params;
use threadline_proto::Method;
use threadline_proto::request::{Head, Headers, Version};

/// A request. Borrows everything; it lives as long as the handler's call.
#[derive(Clone, Copy)]
pub struct Request<'a> {
    pub(crate) head: &'a Head<'a, 'a>,
    pub(crate) params: &'a Params<'a, 'a>,
    pub(crate) body: &'a [u8],
    pub(crate) peer_addr: Option<SocketAddr>,
}

impl<'a> Request<'a> {
    /// What is to be done.
    pub fn method(&self) -> Method<'a> {
        self.head.method
    }

    /// The path as it came: percent-encoded, without the query.
    pub fn path(&self) -> &'a str {
        self.head.target.path()
    }

    /// What stands behind the first `?` of the target, as it came.
    pub fn query(&self) -> Option<&'a str> {
        self.head.target.query()
    }

    /// The client's version of HTTP.
    pub fn version(&self) -> Version {
        self.head.version
    }

    /// The host that the client wants to talk to, with its port if it said one. `None` only in
    /// HTTP/1.0.
    pub fn host(&self) -> Option<&'a str> {
        self.head.host()
    }

    /// All header fields.
    pub fn headers(&self) -> Headers<'a, 'a> {
        self.head.headers
    }

    /// The value of the first header of that name, in any case, where it is UTF-8.
    pub fn header(&self, name: &str) -> Option<&'a str> {
        self.head.headers.get_str(name)
    }

    /// A path parameter as it came, percent-encoded. [`Path`](crate::Path) decodes and parses.
    pub fn param(&self, name: &str) -> Option<&'a str> {
        self.params.get(name)
    }

    /// All path parameters by name, in the order of the pattern, percent-encoded.
    pub fn params(&self) -> impl Iterator<Item = (&'a str, &'a str)> {
        self.params.iter()
    }

    /// The whole body; empty if there is none.
    pub fn body(&self) -> &'a [u8] {
        self.body
    }

    /// The peer's address; `None` on a Unix socket.
    pub fn peer_addr(&self) -> Option<SocketAddr> {
        self.peer_addr
    }
}

impl fmt::Debug for Request<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Request")
            .field("method", &self.method())
            .field("path", &self.path())
            .field("query", &self.query())
            .field("headers", &self.headers())
            .field("body_len", &self.body.len())
            .field("peer_addr", &self.peer_addr)
            .finish()
    }
}
