//! [`RouteOptions`]: what is set on values that hold handlers.
//!
//! [`Methods`](super::Methods), [`Fallback`](super::Fallback) and [`Files`](crate::files::Files) have options
//! of this kind, and a handler may bring its own. Values are inside of each other: a handler in a `Methods`,
//! that in another by `and`. [`RouteOptions::inside`] is the one place that says which option wins.

use threadline_engine::Hint;

use crate::middleware::layer::{Layers, Middleware};
#[cfg(feature = "openapi")]
use crate::openapi::{Description, Operation};

/// Options of a handler: a hint, a limit on bodies, whether it reads them while they arrive, layers.
///
/// They are set on the value that holds the handler, such as [`Methods`](crate::Methods). A handler type of
/// your own brings its options by [`Handler::route_options`](crate::Handler::route_options).
///
/// ```
/// use threadline_http::{Handler, Hint, Needs, Request, Response, RouteOptions, Router};
///
/// /// Answers with the number of requests so far. Never blocks.
/// #[derive(Default)]
/// struct Counter(std::sync::atomic::AtomicU64);
///
/// impl Handler<Counter> for Counter {
///     fn call(&self, _: &Request<'_>) -> Response {
///         Response::text(self.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed).to_string())
///     }
///
///     fn params(&self) -> Option<usize> {
///         None
///     }
///
///     fn needs(&self, _: &mut Needs) {}
///
///     fn route_options(&self) -> RouteOptions {
///         RouteOptions::new().hint(Hint::Inline)
///     }
/// }
///
/// let router = Router::new().get("/count", Counter::default());
/// # router.build().unwrap();
/// ```
#[derive(Debug, Clone, Default)]
#[must_use = "options do nothing until a route has them"]
pub struct RouteOptions {
    pub(super) hint: Option<Hint>,
    pub(super) body_len_max: Option<u64>,
    pub(super) streamed: Option<bool>,
    /// Around the handlers of the value. The outermost first.
    pub(super) layers: Layers,
    #[cfg(feature = "openapi")]
    pub(super) description: Description,
}

impl RouteOptions {
    /// No options: those of the values around apply, or the defaults.
    pub fn new() -> Self {
        RouteOptions::default()
    }

    /// As [`Methods::hint`](crate::Methods::hint).
    pub fn hint(mut self, hint: Hint) -> Self {
        self.hint = Some(hint);
        self
    }

    /// As [`Methods::body_len_max`](crate::Methods::body_len_max).
    pub fn body_len_max(mut self, bytes: u64) -> Self {
        self.body_len_max = Some(bytes);
        self
    }

    /// As [`Methods::streamed`](crate::Methods::streamed).
    pub fn streamed(mut self) -> Self {
        self.streamed = Some(true);
        self
    }

    /// As [`Methods::layer`](crate::Methods::layer).
    pub fn layer(mut self, middleware: impl Middleware) -> Self {
        self.layers.add(middleware);
        self
    }

    /// As [`Methods::describe`](crate::Methods::describe).
    #[cfg(feature = "openapi")]
    pub fn describe(
        mut self,
        say: impl Fn(Operation) -> Operation + Send + Sync + 'static,
    ) -> Self {
        self.description.add(say);
        self
    }

    /// These options, as they apply inside of a value with the options `outer`: a hint and a limit of these
    /// win, the layers of `outer` are around these, and its descriptions come before these.
    pub(super) fn inside(mut self, outer: &RouteOptions) -> Self {
        self.hint = self.hint.or(outer.hint);
        self.body_len_max = self.body_len_max.or(outer.body_len_max);
        self.streamed = self.streamed.or(outer.streamed);
        self.layers.add_all(&outer.layers);
        #[cfg(feature = "openapi")]
        self.description.put_first(&outer.description);
        self
    }
}
