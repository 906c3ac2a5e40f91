//! [`Fallback`]: what answers every path that has no route, with its options.

use std::fmt;

use threadline_engine::Hint;

use super::methods::Prepared;
use super::options::RouteOptions;
use super::table::Endpoint;
use crate::handler::Handler;
use crate::middleware::layer::Middleware;

/// What answers every path that has no route, in any method, with options: for
/// [`Router::fallback_with`](crate::Router::fallback_with).
///
/// ```
/// use threadline_http::testing::TestClient;
/// use threadline_http::{Fallback, Hint, Router, Status};
///
/// let fallback = Fallback::new(|| (Status::NOT_FOUND, "nothing here")).hint(Hint::Inline).body_len_max(0);
/// let client = TestClient::new(Router::new().get("/", || "front page").fallback_with(fallback))?;
/// assert_eq!(client.get("/nowhere").send().text(), "nothing here");
/// assert_eq!(client.post("/nowhere").body("x").send().status().code(), 413);
/// # Ok::<(), threadline_http::RouterError>(())
/// ```
#[derive(Clone)]
#[must_use = "a fallback does nothing until a router has it"]
pub struct Fallback {
    handler: Prepared,
    /// The handler's own.
    inner: RouteOptions,
    options: RouteOptions,
}

impl Fallback {
    /// A fallback without options.
    pub fn new<Args>(handler: impl Handler<Args>) -> Self {
        let inner = handler.route_options();
        Fallback { handler: Prepared::new(handler), inner, options: RouteOptions::new() }
    }

    /// Says what is known of the handler beforehand, as [`Methods::hint`](crate::Methods::hint).
    pub fn hint(mut self, hint: Hint) -> Self {
        self.options = self.options.hint(hint);
        self
    }

    /// Sets the longest request body in bytes, in place of
    /// [`HttpSettings::body_len_max`](crate::HttpSettings::body_len_max). Beyond it a request is a 413.
    pub fn body_len_max(mut self, bytes: u64) -> Self {
        self.options = self.options.body_len_max(bytes);
        self
    }

    /// Puts middleware around the handler, inside of the router's layers. The layer that is added last is
    /// the outermost.
    pub fn layer(mut self, middleware: impl Middleware) -> Self {
        self.options = self.options.layer(middleware);
        self
    }

    pub(super) fn into_endpoint(self) -> Endpoint {
        let options = self.inner.inside(&self.options);
        self.handler.into_endpoint("fallback".to_owned(), options)
    }
}

impl fmt::Debug for Fallback {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Fallback").field(&self.options).finish()
    }
}
