//! Code around handlers: [`Middleware`], and [`Next`], what it is around.
//!
//! ```text
//!   request --> outermost layer --> ... --> innermost layer --> handler
//!               (may answer itself)                               |
//!   response <-- may change it <------- ... <---------------------+
//! ```

use std::fmt;
use std::sync::Arc;

use threadline_engine::Contained;

use crate::fault::internal_error;
use crate::handler::IntoResponse;
use crate::request::Request;
use crate::response::Response;

/// Code around handlers. Functions are middleware:
///
/// ```
/// use threadline_http::{Next, Request, Response, Router};
///
/// fn teapot(request: &Request<'_>, next: Next<'_>) -> Response {
///     let response = next.run(request);
///     response.with_header("x-brewed-in", "a teapot")
/// }
///
/// let router = Router::new().get("/", || "tea").layer(teapot);
/// # router.build().unwrap();
/// ```
///
/// It runs where the handler runs, and may block as the handler may.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not middleware",
    label = "cannot be a layer of a router",
    note = "middleware is `fn(&Request<'_>, Next<'_>) -> impl IntoResponse`, or implements `Middleware`"
)]
pub trait Middleware: Send + Sync + 'static {
    /// Answers a request, by `next` or instead of it.
    fn handle(&self, request: &Request<'_>, next: Next<'_>) -> Response;
}

impl<F, R> Middleware for F
where
    F: Fn(&Request<'_>, Next<'_>) -> R + Send + Sync + 'static,
    R: IntoResponse,
{
    fn handle(&self, request: &Request<'_>, next: Next<'_>) -> Response {
        self(request, next).into_response()
    }
}

/// Layers around a handler, the outermost first.
#[derive(Clone, Default)]
pub(crate) struct Layers(Vec<Contained<Arc<dyn Middleware>>>);

impl Layers {
    /// Puts one around all others.
    pub(crate) fn add(&mut self, layer: impl Middleware) {
        self.0.insert(0, Contained::new(Arc::new(layer)));
    }

    /// Puts all of `outer` around these.
    pub(crate) fn add_all(&mut self, outer: &Layers) {
        self.0.splice(0..0, outer.0.iter().cloned());
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Debug for Layers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Layers({})", self.0.len())
    }
}

/// The rest of the layers, and the handler.
///
/// It can be sent to another thread, together with the request. Cloned, it runs several times: each run
/// calls the layers and the handler again. Of a body that is still arriving only the first run gets
/// anything; to run again with a body, read it by [`Request::bytes`] first and pass it on by
/// [`Request::with_body`].
///
/// ```
/// use threadline_http::{Next, Request, Response, Router, Status};
///
/// /// Asks a second time where the first answer is a 503.
/// fn retry(request: &Request<'_>, next: Next<'_>) -> Response {
///     match next.clone().run(request) {
///         busy if busy.status() == Status::SERVICE_UNAVAILABLE => next.run(request),
///         response => response,
///     }
/// }
/// # Router::new().get("/", || "tea").layer(retry).build().unwrap();
/// ```
#[derive(Clone)]
#[must_use = "a request that is not passed on is not answered by its handler"]
pub struct Next<'n> {
    layers: &'n [Contained<Arc<dyn Middleware>>],
    handler: &'n (dyn Fn(&Request<'_>) -> Response + Sync + 'n),
}

impl<'n> Next<'n> {
    pub(crate) fn new(
        layers: &'n Layers,
        handler: &'n (dyn Fn(&Request<'_>) -> Response + Sync + 'n),
    ) -> Self {
        Next { layers: &layers.0, handler }
    }

    /// Has the request answered: by the next layer, or by the handler. A response whose status cannot be
    /// sent, such as a 1xx, is a 500 here already, and a line in the log.
    pub fn run(self, request: &Request<'_>) -> Response {
        let response = match self.layers.split_first() {
            Some((layer, layers)) => layer.handle(request, Next { layers, ..self }),
            None => (self.handler)(request),
        };
        if response.has_sound_status() { response } else { refused(request, &response) }
    }
}

/// What is sent instead of a response whose status cannot be.
#[cold]
fn refused(request: &Request<'_>, response: &Response) -> Response {
    if let Some(fault) = response.status_fault() {
        fault.report(request.route());
    }
    response.replaced_by(internal_error())
}

impl fmt::Debug for Next<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Next").field("layers", &self.layers.len()).finish_non_exhaustive()
    }
}
