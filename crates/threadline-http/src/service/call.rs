//! Running a handler for a request, and sending what it returns.

use std::cell::Cell;
use std::sync::Arc;
use std::time::Duration;

use matchit::Params;
use threadline_engine::log::{Escaped, limited};
use threadline_engine::protocol::Step;
use threadline_engine::{CallError, Route};
use threadline_proto::request::Version;
use threadline_proto::response::Status;

use super::body::Content;
use super::told::{self, Told};
use super::{HttpService, Message};
use crate::body::{Arriving, Body, Incoming};
use crate::exchange::{Exchange, Line};
use crate::extensions::Extensions;
use crate::fault::internal_error;
use crate::middleware::Deadline;
use crate::request::{Around, Request};
use crate::response::Response;
use crate::write::{After, Failure, Manner, Responder, write, write_own};

/// What is known before the handler runs.
pub(super) struct Call<'c, 'i> {
    pub(super) service: &'c HttpService,
    pub(super) route: &'c Arc<Route>,
    /// The longest body in bytes.
    pub(super) body_max: u64,
    pub(super) params: Option<&'c Params<'c, 'c>>,
    pub(super) message: &'c Message<'c, 'i>,
    /// The handler's response was refused, and a 500 is sent in its place.
    pub(super) failed: Cell<bool>,
}

/// How a call has ended.
struct Ended {
    after: After,
    /// What came behind a body that the handler has read itself.
    rest: Option<Vec<u8>>,
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
        let begun = Cell::new(false);
        let start = exchange.out().len();
        let mut told = None;
        let called = exchange.call(self.route, |line, out| {
            let service = self.service;
            let extensions = Extensions::new();
            let states = service.table.states();
            let (route, body_max) = (self.route.name(), self.body_max);
            let &Message { head, path, mut manner, .. } = self.message;
            let around = Around { route, path, body_max, states, extensions };
            let request = |body| {
                let (params, around) = (self.params, &around);
                let (method, is_decoded, deadline) = (None, false, Deadline::NEVER);
                Request { head, method, params, body, is_decoded, peer_addr, deadline, around }
            };
            let mut rest = None;
            let response = match content.body {
                Some(body) => handler(&request(Incoming::Whole(body))),
                None => {
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
            Ended { after: self.respond(response, manner, line, out, &begun), rest }
        });
        if let Some(took) = exchange.took() {
            self.tell(told, called.is_err(), took, exchange);
        }
        match called {
            Ok(Ended { after: After::Next, rest: Some(rest) }) => Step::Streamed { rest },
            Ok(Ended { after: After::Next, rest: None }) => Step::Next { consumed: content.len },
            Ok(Ended { after: After::Push, .. }) => Step::Push,
            Ok(Ended { after: After::Close, .. }) => Step::Close,
            Err(CallError::Offload) => Step::Offload { len: content.len },
            Err(CallError::Panicked) => {
                let out = exchange.out();
                if begun.get() {
                    // A part of the response is out: only the connection's end can tell the client.
                    out.clear();
                } else {
                    out.truncate(start);
                    write_own(out, &internal_error(), self.message.manner.closing());
                }
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
        Arriving::new(line, head, ahead, self.body_max, &self.service.settings)
    }

    #[inline]
    fn respond<L: Line>(
        &self,
        response: Response,
        manner: Manner,
        line: &mut L,
        out: &mut Vec<u8>,
        begun: &Cell<bool>,
    ) -> After {
        // What nearly every response is: bytes behind a head.
        if response.is_plain() && manner.is_plain() && write(out, &response, manner).is_ok() {
            return manner.after();
        }
        self.respond_with(response, manner, line, out, begun)
    }

    /// The same for any response.
    #[cold]
    fn respond_with<L: Line>(
        &self,
        mut response: Response,
        manner: Manner,
        line: &mut L,
        out: &mut Vec<u8>,
        begun: &Cell<bool>,
    ) -> After {
        let upgrade = match &response.upgrade {
            Some(_) if response.has_sound_status() => {
                response.settle_upgrade(self.message.head.upgrades(), manner.closes())
            }
            _ => None,
        };
        if response.status.omits_content() && !response.body.is_empty() {
            self.leave_content_out(&mut response);
        }
        let manner = if response.close { manner.closing() } else { manner };
        let is_http_11 = self.message.head.version == Version::Http11;
        let stall = self.service.settings.timeouts.write;
        let responder =
            Responder { line: &mut *line, out: &mut *out, manner, is_http_11, stall, begun };
        match responder.respond(&mut response) {
            Ok(after) => {
                if let Some(handler) = upgrade {
                    line.hand_over(handler);
                }
                after
            }
            Err(failure) => {
                self.report(&failure);
                self.failed.set(!begun.get());
                if begun.get() {
                    out.clear();
                    return After::Close;
                }
                write_own(out, &response.replaced_by(internal_error()), manner);
                manner.after()
            }
        }
    }

    /// Content that the status has no place for is not sent (RFC 9110 §15.3.5, §15.3.6, §15.4.5).
    #[cold]
    fn leave_content_out(&self, response: &mut Response) {
        if self.service.left_out.is_first(self.route) {
            let (route, status) = (self.route.name(), response.status);
            let hint = "a response of this status has no content; said once for this route";
            limited!(warn, route: route, "the body of a response is not sent", %status, hint);
        }
        response.set_body(Body::EMPTY);
    }

    #[cold]
    fn report(&self, failure: &Failure) {
        let route = self.route.name();
        match failure {
            Failure::Refused(fault) => fault.report(route),
            Failure::Body(error) => {
                let error = Escaped(error);
                limited!(error, route: route, "the response is cut off", %error);
            }
            // The client's business.
            Failure::Line(error) => tracing::debug!(route, "the client is gone: {error}"),
        }
    }
}
