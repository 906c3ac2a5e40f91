//! What a handler sees of a request: a view of the bytes where they arrived. [`OwnedRequest`] is a copy that
//! outlives them, in `request/owned.rs`, and lends the same view.

mod owned;

use std::borrow::Cow;
use std::fmt;
use std::net::SocketAddr;
use std::slice;
use std::sync::Arc;

use matchit::{Params, ParamsIter};
use threadline_engine::Route;
use threadline_proto::Method;
use threadline_proto::request::{Head, Headers, Version};

use crate::body::{BodyError, BodyReader, Incoming};
use crate::extensions::{Extensions, States};
use crate::middleware::Deadline;
pub use owned::OwnedRequest;

/// A request. Borrows everything; it lives as long as the handler's call. [`Request::to_owned`] keeps it for
/// longer.
///
/// Threads can share it within the call, for example those of [`std::thread::scope`].
///
/// ```
/// use std::thread;
/// use threadline_http::testing::TestClient;
/// use threadline_http::{Request, Router};
///
/// fn both(request: &Request<'_>) -> String {
///     thread::scope(|scope| {
///         let length = scope.spawn(|| request.bytes().map_or(0, |body| body.len()));
///         format!("{}, {} bytes", request.path(), length.join().unwrap_or(0))
///     })
/// }
///
/// let client = TestClient::new(Router::new().post("/notes", both))?;
/// assert_eq!(client.post("/notes").body("snail").send().text(), "/notes, 5 bytes");
/// # Ok::<(), threadline_http::RouterError>(())
/// ```
#[derive(Clone)]
pub struct Request<'a> {
    pub(crate) head: &'a Head<'a, 'a>,
    /// In place of the head's, if middleware says so.
    pub(crate) method: Option<Method<'a>>,
    pub(crate) params: PathParams<'a>,
    pub(crate) body: Incoming<'a>,
    /// Whether the body, or what middleware has put in its place, is no longer coded as `Content-Encoding`
    /// says. Not in the extensions: a layer may run the rest several times, with the body as it came.
    pub(crate) is_decoded: bool,
    pub(crate) peer_addr: Option<SocketAddr>,
    /// Until when it has to be answered.
    pub(crate) deadline: Deadline,
    pub(crate) route: &'a Arc<Route>,
    /// The path in normal form, where it came in another.
    pub(crate) path: Option<&'a str>,
    /// How long its body may be, in bytes.
    pub(crate) body_len_max: u64,
    pub(crate) states: &'a Arc<States>,
    pub(crate) extensions: &'a Extensions,
}

/// Path parameters by name, in the order of the pattern.
#[derive(Debug, Clone, Copy)]
pub(crate) enum PathParams<'a> {
    /// As they were found; `None` where the route's pattern has none.
    Found(Option<&'a Params<'a, 'a>>),
    Kept(&'a [(Box<str>, Box<str>)]),
}

impl<'a> PathParams<'a> {
    #[inline]
    fn iter(self) -> PathParamsIter<'a> {
        match self {
            PathParams::Found(Some(found)) => PathParamsIter::Found(found.iter()),
            PathParams::Found(None) => PathParamsIter::Kept([].iter()),
            PathParams::Kept(kept) => PathParamsIter::Kept(kept.iter()),
        }
    }
}

enum PathParamsIter<'a> {
    Found(ParamsIter<'a, 'a, 'a>),
    Kept(slice::Iter<'a, (Box<str>, Box<str>)>),
}

impl<'a> Iterator for PathParamsIter<'a> {
    type Item = (&'a str, &'a str);

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        match self {
            PathParamsIter::Found(found) => found.next(),
            PathParamsIter::Kept(kept) => kept.next().map(|(name, value)| (&**name, &**value)),
        }
    }
}

impl<'a> Request<'a> {
    /// What is to be done.
    pub fn method(&self) -> Method<'a> {
        self.method.unwrap_or(self.head.method)
    }

    /// The path without the query, percent-encoded, in its normal form: what the route was found by, and
    /// the same for all equivalent spellings (RFC 3986 §6.2.2). `/%61dmin` is `/admin`, and `%2f` is `%2F`,
    /// which is not a separator. Middleware can rely on its beginning.
    pub fn path(&self) -> &'a str {
        self.path.unwrap_or_else(|| self.head.target.path())
    }

    /// The path as it came, to forward it (RFC 9110 §7.7) or to check a signature over it. Do not decide
    /// about access by it: a path has many spellings.
    pub fn path_as_sent(&self) -> &'a str {
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

    /// The value of the first header of that name, in any case, whether it is UTF-8 or not (RFC 9110 §5.5).
    /// [`Request::headers`] has all of them.
    pub fn header_bytes(&self, name: &str) -> Option<&'a [u8]> {
        self.head.headers.get(name)
    }

    /// A path parameter, percent-encoded, in normal form like [`Request::path`]. [`Path`](crate::Path) decodes and parses.
    pub fn param(&self, name: &str) -> Option<&'a str> {
        self.params.iter().find(|(known, _)| *known == name).map(|(_, value)| value)
    }

    /// All path parameters by name, in the order of the pattern, percent-encoded.
    pub fn params(&self) -> impl Iterator<Item = (&'a str, &'a str)> {
        self.params.iter()
    }

    /// The whole body; empty if there is none. One in a file is read into memory, up to the route's limit. That of
    /// a [streamed](crate::Methods::streamed) route is waited for, and can be had only once: keep the bytes, or
    /// pass them on by [`Request::with_body`].
    ///
    /// # Errors
    /// [`BodyError`] says why it cannot be had. It is a response: return it.
    pub fn bytes(&self) -> Result<Cow<'a, [u8]>, BodyError> {
        self.body.bytes()
    }

    /// Reads the body from its start, any number of times and on any number of threads; one in a file a piece at a
    /// time. That of a [streamed](crate::Methods::streamed) route comes once: the first to read it gets it, and all
    /// others get [`BodyError::Consumed`].
    pub fn reader(&self) -> BodyReader<'a> {
        BodyReader::new(self.body)
    }

    /// The body's length in bytes, where the client has said it or the body is here.
    pub fn content_length(&self) -> Option<u64> {
        match (self.body, self.head.body) {
            (Incoming::Whole(bytes), _) => Some(bytes.len() as u64),
            (Incoming::Stored(file), _) => Some(file.len()),
            (Incoming::Arriving(body), _) if !body.is_as_framed() => None,
            (_, threadline_proto::request::Body::Length(len)) => Some(len),
            _ => None,
        }
    }

    /// How long its body may be in bytes: its route's limit, or else the service's.
    pub fn body_len_max(&self) -> u64 {
        self.body_len_max
    }

    /// The name of the route that answers it, like `GET /hello/{name}`.
    pub fn route(&self) -> &'a str {
        self.route.name()
    }

    /// What the service shares under that type; see [`Router::state`](crate::Router::state).
    pub fn state<T: 'static>(&self) -> Option<&'a T> {
        self.states.get()
    }

    /// What middleware has left with the request.
    pub fn extensions(&self) -> &'a Extensions {
        self.extensions
    }

    /// The same request with another body, for middleware that decodes it.
    pub fn with_body<'b>(&self, body: &'b [u8]) -> Request<'b>
    where
        'a: 'b,
    {
        Request { body: Incoming::Whole(body), ..self.clone() }
    }

    /// The same request with another method, as far as the handler can see. The route stays.
    pub fn with_method<'b>(&self, method: Method<'b>) -> Request<'b>
    where
        'a: 'b,
    {
        Request { method: Some(method), ..self.clone() }
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
            .field("body", &self.body)
            .field("peer_addr", &self.peer_addr)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Next, Response};

    #[test]
    fn threads_can_share_requests_and_take_what_answers_them() {
        fn shared<T: Send + Sync>() {}
        fn sent<T: Send>() {}
        fn cloned<T: Clone>() {}
        shared::<Request<'_>>();
        shared::<BodyReader<'_>>();
        shared::<Extensions>();
        shared::<Next<'_>>();
        cloned::<Next<'_>>();
        sent::<Response>();
        cloned::<crate::Router>();
        #[cfg(feature = "multipart")]
        shared::<crate::multipart::Multipart<'_>>();
    }
}
