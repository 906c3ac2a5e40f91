//! [`RequestIds`]: a name for each request, for logs on both sides.
//!
//! An identifier is 128 bits of SipHash under a key of the operating system's randomness, over a
//! counter and the process: it does not repeat, not even between forked workers, and does not
//! reveal how many requests there are. It is not a secret: never use it as one.

use std::borrow::Cow;
use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::middleware::layer::{Middleware, Next, Refused};
use crate::request::Request;
use crate::response::Response;

/// The name of a request, left in its extensions by [`RequestIds`].
///
/// ```
/// use threadline_http::middleware::{RequestId, RequestIds};
/// use threadline_http::{Extension, Router};
///
/// fn report(Extension(id): Extension<RequestId>) -> String {
///     format!("if this goes wrong, tell us {id}")
/// }
///
/// let router = Router::new().get("/", report).layer(RequestIds::new());
/// # router.build().unwrap();
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct RequestId(Arc<str>);

impl RequestId {
    /// Its text: visible ASCII, at most 128 characters.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Middleware that names each request: leaves a [`RequestId`] in its extensions, and answers with it
/// in `x-request-id`.
///
/// ```
/// use threadline_http::Router;
/// use threadline_http::middleware::RequestIds;
///
/// // Behind a proxy that sets the field itself and removes what clients send:
/// let router = Router::new().get("/", || "").layer(RequestIds::new().from_client());
/// # router.build().unwrap();
/// ```
#[derive(Debug)]
pub struct RequestIds {
    header: Cow<'static, str>,
    source: Source,
    key: RandomState,
    count: AtomicU64,
}

/// Who names requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Source {
    Generated,
    /// The client, where it does so well.
    Client,
}

/// The longest name that is taken from a client, in characters.
const LEN_MAX: usize = 128;

impl Default for RequestIds {
    fn default() -> Self {
        RequestIds::new()
    }
}

impl RequestIds {
    /// Names every request anew.
    pub fn new() -> Self {
        RequestIds {
            header: Cow::Borrowed("x-request-id"),
            source: Source::Generated,
            key: RandomState::new(),
            count: AtomicU64::new(0),
        }
    }

    /// Takes the client's name for the request, where it has one of 1 to 128 letters, digits and
    /// `-_.:/+=`. Any other is replaced, as it would end up in logs.
    pub fn from_client(mut self) -> Self {
        self.source = Source::Client;
        self
    }

    /// Sets the header field, instead of `x-request-id`.
    pub fn header(mut self, name: impl Into<Cow<'static, str>>) -> Self {
        self.header = name.into();
        self
    }

    fn name(&self, request: &Request<'_>) -> RequestId {
        let given = match self.source {
            Source::Client => request.header(&self.header).filter(|id| is_good(id)),
            Source::Generated => None,
        };
        RequestId(given.map_or_else(|| self.generate().into(), Arc::from))
    }

    fn generate(&self) -> String {
        // Only has to differ from all others: no order with other memory is needed.
        let count = self.count.fetch_add(1, Ordering::Relaxed);
        // A forked worker has the same key and count as its siblings.
        let process = std::process::id();
        let high = self.key.hash_one((count, process, 0_u8));
        let low = self.key.hash_one((count, process, 1_u8));
        format!("{high:016x}{low:016x}")
    }
}

impl Middleware for RequestIds {
    fn handle(&self, request: &Request<'_>, next: Next<'_>) -> Response {
        let id = self.name(request);
        request.extensions().insert(id.clone());
        let mut response = next.run(request);
        response.set_header(self.header.clone(), id.as_str().to_owned());
        response
    }

    fn refused(&self, refused: &Refused<'_>, response: &mut Response) {
        let id = match refused.request() {
            Some(request) => self.name(request),
            None => RequestId(self.generate().into()),
        };
        refused.extensions().insert(id.clone());
        response.set_header(self.header.clone(), id.as_str().to_owned());
    }
}

fn is_good(id: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.:/+=".contains(&byte);
    (1..=LEN_MAX).contains(&id.len()) && id.bytes().all(allowed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::middleware::testing::{Stack, request};

    fn seen(request: &Request<'_>) -> String {
        request.extensions().get::<RequestId>().expect("a name").to_string()
    }

    fn answer(ids: RequestIds, fields: &str) -> (String, String) {
        let response = Stack::of(ids).run(request("GET /", fields), seen);
        let header = response.header("x-request-id").expect("a name").to_owned();
        (
            header,
            String::from_utf8(response.into_body().into_bytes().expect("read")).expect("UTF-8"),
        )
    }

    #[test]
    fn handler_and_client_get_the_same_name() {
        let (header, seen) = answer(RequestIds::new(), "");
        assert_eq!(header, seen);
        assert_eq!(header.len(), 32);
    }

    #[test]
    fn names_do_not_repeat() {
        let ids = RequestIds::new();
        let all: std::collections::HashSet<_> = (0..1000).map(|_| ids.generate()).collect();
        assert_eq!(all.len(), 1000);
        assert_ne!(RequestIds::new().generate(), RequestIds::new().generate());
    }

    #[test]
    fn a_clients_name_is_taken_only_if_asked_for_and_well_formed() {
        let taken = |fields: &str| answer(RequestIds::new().from_client(), fields).0;
        assert_eq!(taken("X-Request-ID: a-1:b\r\n"), "a-1:b");
        assert_ne!(answer(RequestIds::new(), "X-Request-ID: a-1\r\n").0, "a-1");
        for bad in ["a b", "a\"b", "<script>", "é", &"a".repeat(129)] {
            let name = taken(&format!("X-Request-ID: {bad}\r\n"));
            assert_eq!(name.len(), 32, "{bad}");
        }
        assert_eq!(taken(&format!("X-Request-ID: {}\r\n", "a".repeat(128))).len(), 128);
    }

    #[test]
    fn the_header_field_can_have_another_name() {
        let stack = Stack::of(RequestIds::new().from_client().header("trace"));
        let response = stack.run(request("GET /", "Trace: 7\r\n"), seen);
        assert_eq!(response.header("trace"), Some("7"));
        assert_eq!(response.header("x-request-id"), None);
    }
}
