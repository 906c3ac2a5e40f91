//! Replies that come later, from any thread, without one.
//!
//! [`Deferred`] is a response that is not there yet. Layers around its handler see a placeholder: what they
//! change of it is remembered, and done to the reply when it comes; those that have to see the reply itself
//! wait for it by [`Response::when_ready`].

use std::fmt;
use std::mem;
use std::sync::Arc;

use threadline_engine::{NotAwaited, Route};
use threadline_proto::request::Version;
use threadline_proto::response::Status;

use crate::extensions::States;
use crate::fault::internal_error;
use crate::framework_error::ErrorKind;
use crate::handler::IntoResponse;
use crate::middleware::layer::between_layers;
use crate::request::Request;
use crate::response::{Aside, Response};
use crate::write::Manner;

/// A response that comes later: what a handler returns to let go of its thread without having answered.
///
/// The connection is parked until the [`Reply`] is answered, on any thread; no thread waits. Replies on
/// one connection keep their order, a drain waits for them, and there is a deadline
/// ([`Timeouts::deferred`](crate::Timeouts::deferred), 30 s), after which the client gets a 503.
///
/// ```
/// use std::sync::mpsc::{SyncSender, sync_channel};
/// use std::thread;
/// use threadline_http::testing::TestClient;
/// use threadline_http::{Deferred, Path, Reply, Router};
///
/// // One thread that does the work of all requests, in its own time.
/// let (queue, jobs) = sync_channel::<(u64, Reply)>(100);
/// thread::spawn(move || {
///     for (number, reply) in jobs {
///         let _ = reply.send(format!("{}", number * number)); // the client may be gone
///     }
/// });
/// let square = move |Path(number): Path<u64>| {
///     let queue: SyncSender<_> = queue.clone();
///     // If the queue is full, the reply is dropped: a 500.
///     Deferred::new(move |reply| drop(queue.try_send((number, reply))))
/// };
/// let client = TestClient::new(Router::new().get("/square/{number}", square))?;
/// assert_eq!(client.get("/square/12").send().text(), "144");
/// # Ok::<(), threadline_http::RouterError>(())
/// ```
#[must_use = "a deferred response does nothing until it is returned from a handler"]
pub struct Deferred(Begin);

/// Is given the reply once all layers have been passed.
type Begin = Box<dyn FnOnce(Reply) + Send>;

/// The right, and the duty, to answer a request whose response was [`Deferred`]. Can be sent to any thread.
///
/// Dropping it tells the client that there is no reply: a 500.
#[must_use = "the client waits for it; dropping it is a 500"]
pub struct Reply(pub(crate) Box<dyn Awaited>);

/// A client that waits.
pub(crate) trait Awaited: Send + Sync {
    fn answer(self: Box<Self>, response: Response) -> Result<(), NotAwaited<Response>>;

    fn is_closed(&self) -> bool;
}

impl Awaited for threadline_engine::Deferred<Response> {
    fn answer(self: Box<Self>, response: Response) -> Result<(), NotAwaited<Response>> {
        threadline_engine::Deferred::answer(*self, response)
    }

    fn is_closed(&self) -> bool {
        threadline_engine::Deferred::is_closed(self)
    }
}

impl Deferred {
    /// Has `begin` called with the [`Reply`], which it keeps somewhere, a queue for example. It is called
    /// once all layers around the handler have been passed, and where the handler runs. A panic in it is a 500,
    /// unless it has given the [`Reply`] away before; layers see it as they see any other deferred reply.
    pub fn new(begin: impl FnOnce(Reply) + Send + 'static) -> Self {
        Deferred(Box::new(begin))
    }
}

impl fmt::Debug for Deferred {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Deferred")
    }
}

impl IntoResponse for Deferred {
    fn into_response(self) -> Response {
        let pending = Pending { begin: self.0, then: Vec::new() };
        Response { aside: Some(Box::new(Aside::Pending(pending))), ..Response::new(Status::OK) }
    }
}

impl Reply {
    /// Answers the request, with all that a handler can return. Never blocks. Content that is read while it
    /// is sent is read on a thread of the service, as always.
    ///
    /// # Errors
    /// [`NotAwaited`] with the response if it is not awaited any more: the connection has ended, or the
    /// deadline is over.
    pub fn send(self, reply: impl IntoResponse) -> Result<(), NotAwaited<Response>> {
        self.0.answer(reply.into_response())
    }

    /// Whether the reply is not awaited any more. A client that has only closed its sending side still waits.
    pub fn is_closed(&self) -> bool {
        self.0.is_closed()
    }
}

impl fmt::Debug for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reply").field("is_closed", &self.is_closed()).finish_non_exhaustive()
    }
}

/// What is known of a response that comes later.
pub(crate) struct Pending {
    pub(crate) begin: Begin,
    /// What layers have done to the placeholder, and want done to the response.
    pub(crate) then: Vec<Then>,
}

impl fmt::Debug for Pending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Pending")
    }
}

/// A change of a response.
pub(crate) type Then = Box<dyn FnOnce(&mut Response) + Send>;

/// What has to be known of a request when its response comes.
pub(crate) struct Late {
    pub(crate) route: Arc<Route>,
    pub(crate) manner: Manner,
    pub(crate) version: Version,
    /// The protocols that the client would rather go on in.
    pub(crate) upgrades: Vec<String>,
    pub(crate) then: Vec<Then>,
}

impl Late {
    /// The response, as the layers want it.
    pub(crate) fn finish(&mut self, mut response: Response, states: &States) -> Response {
        if let Some(pending) = response.pending() {
            // It is deferred once more.
            pending.then.append(&mut self.then);
            return response;
        }
        let route = self.route.name();
        response = between_layers(response, route, states);
        for change in mem::take(&mut self.then) {
            // A layer that panics costs the reply, as it does around one that is not deferred, and those
            // around it go on: a log has its line.
            if self.route.contain(|| change(&mut response)).is_err() {
                response = response.replaced_by(internal_error());
            }
            response = between_layers(response, route, states);
        }
        response
    }
}

/// What a client gets whose request is never answered.
pub(crate) fn never() -> Response {
    internal_error()
}

/// What a client gets that has waited for too long.
pub(crate) fn too_late() -> Response {
    Response::error_of(
        ErrorKind::ReplyTimedOut,
        Status::SERVICE_UNAVAILABLE,
        "the reply took too long, try again later",
    )
    .with_header("retry-after", "1")
}

impl Response {
    /// Changes the response once it is there: at once, or, if it is [`Deferred`], when the reply comes. For
    /// layers that have to see the reply. Layers that only set a status, header fields or the body need not:
    /// what they do to a deferred response is done to the reply, in the same order.
    ///
    /// ```
    /// use threadline_http::{Next, Request, Response, Router};
    ///
    /// fn mark_errors(request: &Request<'_>, next: Next<'_>) -> Response {
    ///     next.run(request).when_ready(|response| {
    ///         if response.status().is_error() {
    ///             response.set_header("cache-control", "no-store");
    ///         }
    ///     })
    /// }
    ///
    /// let router = Router::new().get("/", || "front page").layer(mark_errors);
    /// # router.build().unwrap();
    /// ```
    pub fn when_ready(mut self, change: impl FnOnce(&mut Response) + Send + 'static) -> Self {
        match self.pending() {
            Some(pending) => pending.then.push(Box::new(change)),
            None => change(&mut self),
        }
        self
    }

    /// Whether it is a placeholder for a response that comes later.
    pub fn is_deferred(&self) -> bool {
        matches!(self.aside.as_deref(), Some(Aside::Pending(_)))
    }

    /// Has `finish` see the response and its request, at once or when a deferred reply comes: `layer` is copied
    /// for that.
    pub(crate) fn finished_by<L: Clone + Send + 'static>(
        self,
        layer: &L,
        request: &Request<'_>,
        finish: fn(&L, &Request<'_>, Response) -> Response,
    ) -> Response {
        if !self.is_deferred() {
            return finish(layer, request, self);
        }
        let (layer, request) = (layer.clone(), request.keep_head());
        self.when_ready(move |response| {
            let reply = mem::take(response);
            *response = finish(&layer, &request.as_request(), reply);
        })
    }

    #[inline]
    pub(crate) fn pending(&mut self) -> Option<&mut Pending> {
        match self.aside.as_deref_mut()? {
            Aside::Pending(pending) => Some(pending),
            Aside::Upgrade(_) | Aside::Selected(_) | Aside::Error(_) | Aside::Panicked(_) => None,
        }
    }

    pub(crate) fn take_pending(&mut self) -> Option<Pending> {
        match *self.aside.take_if(|aside| matches!(**aside, Aside::Pending(_)))? {
            Aside::Pending(pending) => Some(pending),
            Aside::Upgrade(_) | Aside::Selected(_) | Aside::Error(_) | Aside::Panicked(_) => None,
        }
    }

    /// Remembers a change, if the response comes later.
    #[inline]
    pub(crate) fn remember(&mut self, change: impl FnOnce() -> Then) {
        if let Some(pending) = self.pending() {
            pending.then.push(change());
        }
    }
}
