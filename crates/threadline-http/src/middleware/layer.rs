//! Code around handlers: [`Middleware`], and [`Next`], what it is around.
//!
//! ```text
//!   request --> outermost layer --> ... --> innermost layer --> handler
//!               (may answer itself)                               |
//!   response <-- may change it <------- ... <---------------------+
//!                                           (a panic is a 500 for the next layer out)
//! ```

use std::fmt;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use threadline_engine::Contained;
use threadline_engine::log::{limited, within};
use threadline_pool::contained::{Payload, catch};

use crate::body::BodyError;
use crate::extensions::Extensions;
use crate::extensions::States;
use crate::fault::internal_error;
use crate::framework_error::{FrameworkError, settle};
use crate::handler::{Erased, IntoResponse};
use crate::request::Request;
use crate::response::{Aside, Response};
use crate::service::Unrouted;

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

    /// Says, before the body of a request is received, whether it is refused by its head. Passes by default.
    ///
    /// It is asked about bodies of more than 64 KB or of unknown length, and whenever the client waits for `100
    /// Continue`; the layers of the route are asked from the outermost in. The body of `request` cannot be read
    /// here. A refusal passes through [`Middleware::handle`] of the layers further out, as other responses do, and
    /// closes the connection. If no layer refuses, `handle` follows when the body is there: it must check again
    /// what this has not been asked about, and it finds in the extensions what this has left there.
    ///
    /// Routes that are [`streamed`](crate::Methods::streamed) run `handle` at this point, and not this. Under the
    /// event loop model, where their bodies are received first as well, it is asked as for other routes.
    ///
    /// ```
    /// use threadline_http::{BeforeBody, Middleware, Next, Request, Response, Status};
    ///
    /// struct Closed;
    ///
    /// impl Middleware for Closed {
    ///     fn handle(&self, _: &Request<'_>, _: Next<'_>) -> Response {
    ///         Response::new(Status::FORBIDDEN)
    ///     }
    ///
    ///     /// Spares the client a long body.
    ///     fn before_body(&self, _: &Request<'_>) -> BeforeBody {
    ///         BeforeBody::Refuse(Response::new(Status::FORBIDDEN))
    ///     }
    /// }
    /// ```
    fn before_body(&self, request: &Request<'_>) -> BeforeBody {
        let _ = request;
        BeforeBody::Pass
    }

    /// Adds to the response to a request that is refused before [`Middleware::handle`] could see it, and takes
    /// note of it. [`Refused`] says of which these are. Nothing by default.
    ///
    /// It may set fields; the status and the body should stay. **It must not block**: some refusals are made by
    /// the thread that serves all connections, because no other has the time. A panic in it is logged, and the
    /// response is sent.
    ///
    /// ```
    /// use threadline_http::{Middleware, Next, Refused, Request, Response};
    ///
    /// struct Server;
    ///
    /// impl Middleware for Server {
    ///     fn handle(&self, request: &Request<'_>, next: Next<'_>) -> Response {
    ///         next.run(request).with_header("server", "snail")
    ///     }
    ///
    ///     fn refused(&self, _refused: &Refused<'_>, response: &mut Response) {
    ///         response.set_header("server", "snail");
    ///     }
    /// }
    /// ```
    fn refused(&self, refused: &Refused<'_>, response: &mut Response) {
        let _ = (refused, response);
    }
}

/// What a layer says of a request whose body has not been received: see [`Middleware::before_body`].
#[derive(Debug)]
pub enum BeforeBody {
    /// Nothing speaks against it.
    Pass,
    /// It needs the body to decide, and so do the layers inside of it, which are not asked.
    NeedsBody,
    /// The request is answered with this, and its body is not received.
    Refuse(Response),
}

/// A request that is refused before the layers around its handler could see it, for [`Middleware::refused`]:
/// a malformed head or path (400, 414, 431, 501, 505), one that came too slowly (408), and one for which the
/// service has no room (503). All others pass through [`Middleware::handle`].
///
/// The layers are those of the request's route, or, if its head could not be read, those of the router. The
/// outermost is called first; what it leaves in the extensions the next ones see.
#[derive(Debug)]
pub struct Refused<'r> {
    pub(crate) error: &'r FrameworkError,
    pub(crate) request: Option<&'r Request<'r>>,
    pub(crate) input: &'r [u8],
    pub(crate) peer_addr: Option<SocketAddr>,
    pub(crate) extensions: &'r Extensions,
    pub(crate) may_wait: bool,
}

impl<'r> Refused<'r> {
    /// Why it is refused.
    pub fn error(&self) -> &'r FrameworkError {
        self.error
    }

    /// The request without its body, if its head has been read.
    pub fn request(&self) -> Option<&'r Request<'r>> {
        self.request
    }

    /// The first line of what the client has sent, without its end, and at most 1 KB of it. Empty if nothing
    /// has come.
    pub fn line(&self) -> &'r [u8] {
        let shown = &self.input[..self.input.len().min(LINE_SHOWN_MAX)];
        let end = shown.iter().position(|byte| *byte == b'\n').unwrap_or(shown.len());
        shown[..end].trim_ascii_end()
    }

    /// The client's address, where the service knows it at this point.
    pub fn peer_addr(&self) -> Option<SocketAddr> {
        self.peer_addr
    }

    /// What layers further out have left; those of the request, if there is one.
    pub fn extensions(&self) -> &'r Extensions {
        self.extensions
    }
}

/// How much of a refused request's first line layers see, in bytes.
const LINE_SHOWN_MAX: usize = 1024;

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

    /// Asks all of them about a request whose body has not been received: the response, if one refuses it.
    #[cold]
    pub(crate) fn before_body(&self, request: &Request<'_>) -> Option<Response> {
        for (outer, layer) in self.0.iter().enumerate() {
            let response = match request.route.contain(|| layer.before_body(request)) {
                Ok(BeforeBody::Pass) => continue,
                Ok(BeforeBody::NeedsBody) => return None,
                Ok(BeforeBody::Refuse(response)) => {
                    between_layers(response, request.route(), request.states)
                }
                Err(panic) => panicked(&panic, request.states),
            };
            let answer = Mutex::new(Some(response));
            let next = Next { layers: &self.0[..outer], last: Last::Answered(&answer) };
            return Some(next.begin(request));
        }
        None
    }

    /// Tells all of a request that is refused without them.
    #[cold]
    pub(crate) fn refused(&self, refused: &Refused<'_>, response: &mut Response) {
        for layer in &self.0 {
            if catch(|| layer.refused(refused, response)).is_err() {
                limited!(error, key: "", "a layer panicked when a request was refused");
            }
        }
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
/// calls the layers and the handler again. The body of a [streamed](crate::Methods::streamed) route only the first
/// run gets; to run again with such a body, read it by [`Request::bytes`] first and pass it on by
/// [`Request::with_body`]. A response that is [deferred](crate::Deferred) is not there yet when `run` returns: its
/// status is that of the placeholder, 200, and a second run cannot take the first one's place.
///
/// ```
/// use threadline_http::{Next, Request, Response, Router, Status};
///
/// /// Asks a second time where the first answer is a 503. A deferred one is passed on, whatever it will be.
/// fn retry(request: &Request<'_>, next: Next<'_>) -> Response {
///     let first = next.clone().run(request);
///     let is_busy = !first.is_deferred() && first.status() == Status::SERVICE_UNAVAILABLE;
///     if is_busy { next.run(request) } else { first }
/// }
/// # Router::new().get("/", || "tea").layer(retry).build().unwrap();
/// ```
#[derive(Clone)]
#[must_use = "a request that is not passed on is not answered by its handler"]
pub struct Next<'n> {
    layers: &'n [Contained<Arc<dyn Middleware>>],
    last: Last<'n>,
}

/// What the layers are around.
#[derive(Clone, Copy)]
pub(crate) enum Last<'n> {
    Handler(&'n Erased),
    /// There is no route.
    Unrouted(&'n Unrouted),
    /// The body cannot be had: the handler is not called.
    Refused(BodyError),
    /// A layer has refused the request before its body was received. A second run gets an error.
    Answered(&'n Mutex<Option<Response>>),
    /// A test's own code, which borrows and so cannot be kept.
    #[cfg(test)]
    Code(&'n (dyn Fn(&Request<'_>) -> Response + Sync + 'n)),
}

impl<'n> Next<'n> {
    pub(crate) fn new(layers: &'n Layers, last: Last<'n>) -> Self {
        Next { layers: &layers.0, last }
    }

    /// Has the request answered: by the next layer, or by the handler. A response whose status cannot be
    /// sent, such as a 1xx, is a 500 here already, and a line in the log.
    ///
    /// So is a panic of the next layer, of those inside of it, or of the handler: it is logged, counted for the
    /// route ([`Route::panics`](threadline_engine::Route::panics)) and does not unwind into the caller. The 500
    /// closes the connection, unless [`CatchPanic`](super::CatchPanic) is around.
    pub fn run(self, request: &Request<'_>) -> Response {
        match request.route.contain(|| self.begin(request)) {
            Ok(response) => response,
            Err(panic) => panicked(&panic, request.states),
        }
    }

    /// Begins with the outermost layer. A panic of it is seen by no layer, and unwinds into the caller.
    pub(crate) fn begin(self, request: &Request<'_>) -> Response {
        let response = match self.layers.split_first() {
            Some((layer, layers)) => layer.handle(request, Next { layers, ..self }),
            None => self.last.answer(request),
        };
        between_layers(response, request.route(), request.states)
    }
}

impl Last<'_> {
    fn answer(self, request: &Request<'_>) -> Response {
        match self {
            Last::Handler(handler) => handler(request),
            Last::Unrouted(unrouted) => unrouted.response(),
            Last::Refused(error) => error.into_response(),
            Last::Answered(answer) => taken(answer),
            #[cfg(test)]
            Last::Code(code) => code(request),
        }
    }
}

/// An owned [`Next`], made by [`Next::to_owned`]: `'static`, `Send` and `Sync`, and cheap to clone.
///
/// Together with an [`OwnedRequest`](crate::OwnedRequest) it answers a request on any thread, also after the
/// call in which it was made.
///
/// ```
/// use std::thread;
/// use threadline_http::{BodyError, Next, Request, Response, Router};
/// use threadline_http::testing::TestClient;
///
/// fn elsewhere(request: &Request<'_>, next: Next<'_>) -> Result<Response, BodyError> {
///     let (request, next) = (request.to_owned()?, next.to_owned());
///     let thread = thread::spawn(move || next.run(&request.as_request()));
///     Ok(thread.join().expect("the handler does not panic"))
/// }
///
/// let router = Router::new().post("/echo", |body: String| body).layer(elsewhere);
/// let client = TestClient::new(router)?;
/// assert_eq!(client.post("/echo").body("snail").send().text(), "snail");
/// # Ok::<(), threadline_http::RouterError>(())
/// ```
#[derive(Clone)]
pub struct OwnedNext(Arc<(Layers, OwnedLast)>);

enum OwnedLast {
    Handler(Erased),
    Unrouted(Unrouted),
    Refused(BodyError),
    Answered(Mutex<Option<Response>>),
}

/// The response of a layer that has refused a request.
fn taken(answer: &Mutex<Option<Response>>) -> Response {
    let taken = answer.lock().unwrap_or_else(PoisonError::into_inner).take();
    taken.unwrap_or_else(|| BodyError::NotReceived.into_response())
}

impl Next<'_> {
    /// Makes an owned one, which outlives the call. It shares the layers and the handler.
    pub fn to_owned(&self) -> OwnedNext {
        let last = match self.last {
            Last::Handler(handler) => OwnedLast::Handler(handler.clone()),
            Last::Unrouted(unrouted) => OwnedLast::Unrouted(unrouted.clone()),
            Last::Refused(error) => OwnedLast::Refused(error),
            Last::Answered(answer) => OwnedLast::Answered(Mutex::new(Some(taken(answer)))),
            #[cfg(test)]
            Last::Code(_) => unimplemented!("this test's handler borrows"),
        };
        OwnedNext(Arc::new((Layers(self.layers.to_vec()), last)))
    }
}

impl OwnedNext {
    /// Has the request answered, as [`Next::run`] does: a panic is a 500. What the code logs meanwhile names the
    /// route, as in a call of the service.
    pub fn run(&self, request: &Request<'_>) -> Response {
        within(request.route, || self.as_next().run(request))
    }

    /// Borrows it as a [`Next`], which layers take.
    pub fn as_next(&self) -> Next<'_> {
        let (layers, last) = &*self.0;
        let last = match last {
            OwnedLast::Handler(handler) => Last::Handler(handler),
            OwnedLast::Unrouted(unrouted) => Last::Unrouted(unrouted),
            OwnedLast::Refused(error) => Last::Refused(*error),
            OwnedLast::Answered(answer) => Last::Answered(answer),
        };
        Next::new(layers, last)
    }
}

impl fmt::Debug for OwnedNext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OwnedNext").field("layers", &self.0.0.0.len()).finish_non_exhaustive()
    }
}

/// A response as the next layer gets it: errors of the framework have their form, and a status that cannot be
/// sent is a 500.
#[inline]
pub(crate) fn between_layers(response: Response, route: &str, states: &States) -> Response {
    let response = settle(response, states);
    if response.has_sound_status() { response } else { refused(&response, route, states) }
}

/// What the layers around get from code that has panicked. As a reply without layers, it closes the connection.
#[cold]
fn panicked(panic: &Payload, states: &States) -> Response {
    let mut response = settle(internal_error().with_close(), states);
    let message = panic.message().unwrap_or("a value that is no text").to_owned();
    response.aside = Some(Box::new(Aside::Panicked(message)));
    response
}

impl Response {
    /// The message of the panic that it is made of, as long as no layer has answered otherwise.
    pub(crate) fn panic_message(&self) -> Option<&str> {
        match self.aside.as_deref()? {
            Aside::Panicked(message) => Some(message),
            _ => None,
        }
    }
}

/// What is sent instead of a response whose status cannot be.
#[cold]
fn refused(response: &Response, route: &str, states: &States) -> Response {
    if let Some(fault) = response.status_fault() {
        fault.report(route);
    }
    response.replaced_by(settle(internal_error(), states))
}

impl fmt::Debug for Next<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Next").field("layers", &self.layers.len()).finish_non_exhaustive()
    }
}
