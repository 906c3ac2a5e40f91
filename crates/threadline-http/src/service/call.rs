//! Running a handler for a request, and sending what it returns.

use std::cell::Cell;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use matchit::Params;
use threadline_engine::protocol::Step;
use threadline_engine::{CallError, Route};
use threadline_proto::response::Status;

use super::body::{Content, Have};
use super::send::{Sending, send_plainly};
use super::told::{self, Told};
use super::{HttpService, Message};
use crate::body::{Arriving, BodyError, Incoming, RefusedBody};
use crate::exchange::{Exchange, Line};
use crate::extensions::Extensions;
use crate::fault::internal_error;
use crate::middleware::Deadline;
use crate::middleware::layer::Layers;
use crate::request::{PathParams, Request};
use crate::response::Response;
use crate::write::{After, Manner, write_own};

/// What is known before the handler runs.
pub(super) struct Call<'c, 'i> {
    pub(super) service: &'c HttpService,
    pub(super) route: &'c Arc<Route>,
    /// The longest body in bytes.
    pub(super) body_len_max: u64,
    pub(super) params: Option<&'c Params<'c, 'c>>,
    pub(super) message: &'c Message<'c, 'i>,
    /// What layers have left with the request before its body was received.
    pub(super) left: Option<&'c Cell<Option<Extensions>>>,
    /// The handler's response was refused, and a 500 is sent in its place.
    pub(super) failed: Cell<bool>,
}

/// How a call has ended.
struct Ended {
    after: After,
    /// What came behind a body that the handler has read itself.
    rest: Option<Vec<u8>>,
}

/// How far a reply has come, for the case that its call panics.
#[derive(Default)]
struct Begun {
    /// How long the output was before.
    start: Cell<usize>,
    /// A part of it is on its way.
    begun: Cell<bool>,
    /// It comes later.
    later: Cell<bool>,
}

impl Call<'_, '_> {
    /// Runs the handler, where the engine lets it run here.
    #[inline]
    pub(super) fn run<E: Exchange>(
        &self,
        content: Content<'_>,
        handler: impl Fn(&Request<'_>) -> Response,
        exchange: &mut E,
    ) -> Step {
        let peer_addr = exchange.peer_addr();
        let reply = Begun::default();
        let mut told = None;
        let called = exchange.call(self.route, |line, out| {
            reply.start.set(out.len());
            let extensions = self.left.and_then(Cell::take).unwrap_or_default();
            let mut manner = self.message.manner;
            let request = |body| self.request(body, peer_addr, &extensions);
            let mut rest = None;
            let response = match content.body {
                Have::Whole(body) => handler(&request(Incoming::Whole(body))),
                Have::Stored(file) => handler(&request(Incoming::Stored(file))),
                Have::Refused(error) => handler(&request(Incoming::Arriving(&RefusedBody(error)))),
                Have::Arriving => {
                    let arriving = self.arriving(line);
                    let response = handler(&request(Incoming::Arriving(&arriving)));
                    rest = arriving.finish();
                    if rest.is_none() {
                        // What comes is the rest of the body: thrown away, off the loop.
                        manner = manner.closing();
                    }
                    response
                }
            };
            if told::is_wanted() {
                told = Some(Told::of(&response));
            }
            Ended { after: self.send(response, manner, &reply, line, out), rest }
        });
        if let Some(took) = exchange.took() {
            self.tell(told, called.is_err(), took, exchange);
        }
        // Content that the engine has received is no part of the input any more.
        let is_apart = match content.body {
            Have::Whole(_) | Have::Stored(_) => false,
            Have::Arriving => true,
            Have::Refused(_) => self.message.received.is_none(),
        };
        match called {
            Ok(Ended { after: After::Next, rest: Some(rest) }) => Step::Streamed { rest },
            Ok(Ended { after: After::Next, rest: None }) => Step::Next { consumed: content.len },
            Ok(Ended { after: After::Later, .. }) if !is_apart => {
                Step::Next { consumed: content.len }
            }
            // The rest of a body that its handler has not read is thrown away behind the reply.
            Ok(Ended { after: After::Later, rest }) => {
                Step::Streamed { rest: rest.unwrap_or_default() }
            }
            Ok(Ended { after: After::Push, .. }) => Step::Push,
            Ok(Ended { after: After::Close, .. }) => Step::Close,
            // The panic has dropped the reply, which is a 500 then: it passes through the layers as others do.
            Err(CallError::Panicked) if reply.later.get() && !is_apart => {
                Step::Next { consumed: content.len }
            }
            Err(error) => self.end(error, content.len, &reply, exchange),
        }
    }

    /// Asks the layers whether they refuse the request by its head, before its body is received.
    ///
    /// # Errors
    /// The step to be returned: the refusal has been sent, or they have to be asked on another thread.
    #[cold]
    pub(super) fn ask_before<E: Exchange>(
        &self,
        layers: &Layers,
        exchange: &mut E,
    ) -> Result<Extensions, Step> {
        let peer_addr = exchange.peer_addr();
        let reply = Begun::default();
        let mut told = None;
        let called = exchange.call(self.route, |line, out| {
            reply.start.set(out.len());
            let extensions = Extensions::new();
            let body = RefusedBody(BodyError::NotReceived);
            let request = self.request(Incoming::Arriving(&body), peer_addr, &extensions);
            let Some(response) = layers.before_body(&request) else { return Ok(extensions) };
            if told::is_wanted() {
                told = Some(Told::of(&response));
            }
            // What comes is the body, which nobody wants.
            Err(self.send(response, self.message.manner.closing(), &reply, line, out))
        });
        if (told.is_some() || called.is_err())
            && let Some(took) = exchange.took()
        {
            self.tell(told, called.is_err(), took, exchange);
        }
        match called {
            Ok(Ok(extensions)) => Ok(extensions),
            Ok(Err(After::Push)) => Err(Step::Push),
            // The manner of a reply that comes later closes, too.
            Ok(Err(After::Later)) => Err(Step::Streamed { rest: Vec::new() }),
            Ok(Err(After::Next | After::Close)) => Err(Step::Close),
            Err(error) => Err(self.end(error, self.message.head.len, &reply, exchange)),
        }
    }

    /// The request as layers and handlers see it.
    #[inline(always)]
    fn request<'r>(
        &'r self,
        body: Incoming<'r>,
        peer_addr: Option<SocketAddr>,
        extensions: &'r Extensions,
    ) -> Request<'r> {
        let &Message { head, path, .. } = self.message;
        Request {
            head,
            method: None,
            params: PathParams::Found(self.params),
            body,
            is_decoded: false,
            peer_addr,
            deadline: Deadline::NEVER,
            route: self.route,
            path,
            body_len_max: self.body_len_max,
            states: self.service.table.states(),
            extensions,
        }
    }

    #[inline(always)]
    fn send<L: Line>(
        &self,
        response: Response,
        manner: Manner,
        reply: &Begun,
        line: &mut L,
        out: &mut Vec<u8>,
    ) -> After {
        if let Some(after) = send_plainly(&response, manner, out) {
            return after;
        }
        let head = self.message.head;
        let (service, route, version) = (self.service, self.route, head.version);
        let (begun, later, failed) = (&reply.begun, &reply.later, &self.failed);
        let sending = Sending { service, route, version, manner, begun, later, failed };
        sending.send(response, head.upgrades(), line, out)
    }

    /// The end of a call that has no result.
    #[cold]
    fn end(
        &self,
        error: CallError,
        len: usize,
        reply: &Begun,
        exchange: &mut impl Exchange,
    ) -> Step {
        match error {
            CallError::Offload => Step::Offload { len },
            CallError::Panicked => {
                let manner = self.message.manner;
                let (start, begun) = (reply.start.get(), reply.begun.get());
                self.service.end_panicked(exchange, start, begun, manner);
                Step::Close
            }
        }
    }

    /// Says at `debug` how a call has ended.
    #[cold]
    fn tell(&self, told: Option<Told>, panicked: bool, took: Duration, exchange: &impl Exchange) {
        let Some(told) = told.or_else(|| panicked.then(|| Told::of(&internal_error()))) else {
            return;
        };
        let failed = panicked || self.failed.get();
        let told = if failed { told.with_status(Status::INTERNAL_SERVER_ERROR) } else { told };
        let route = self.route.name();
        told.request(self.message.head, route, exchange.peer_addr(), took);
    }

    /// Answers without user code.
    pub(super) fn answer_here(
        &self,
        content: Content<'_>,
        response: &Response,
        exchange: &mut impl Exchange,
    ) -> Step {
        let manner = self.message.manner;
        if told::is_wanted() {
            let (route, peer) = (self.route.name(), exchange.peer_addr());
            Told::of(response).request(self.message.head, route, peer, Duration::ZERO);
        }
        write_own(exchange.out(), response, manner);
        if manner.closes() { Step::Close } else { Step::Next { consumed: content.len } }
    }

    #[cold]
    fn arriving<'l, L: Line>(&self, line: &'l mut L) -> Arriving<'l, L> {
        let &Message { head, input, .. } = self.message;
        let ahead = input.get(head.len..).unwrap_or_default();
        Arriving::new(line, head, ahead, self.body_len_max, &self.service.settings)
    }
}
