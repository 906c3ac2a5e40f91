//! Sending what a handler returns, now or later.

use std::cell::Cell;
use std::sync::Arc;

use threadline_engine::log::{Escaped, limited};
use threadline_engine::protocol::Step;
use threadline_engine::{CallError, Route};
use threadline_proto::request::Version;

use super::HttpService;
use crate::body::Body;
use crate::deferred::{Late, Reply};
use crate::exchange::{Exchange, Line};
use crate::fault::internal_error;
use crate::framework_error::settle;
use crate::response::Response;
use crate::write::{After, Failure, Manner, Responder, write, write_own};

/// How a response is sent.
pub(super) struct Sending<'s> {
    pub(super) service: &'s HttpService,
    pub(super) route: &'s Arc<Route>,
    /// The request's.
    pub(super) version: Version,
    pub(super) manner: Manner,
    /// A part of it is on its way: it cannot become another.
    pub(super) begun: &'s Cell<bool>,
    /// It comes later: whatever happens in the call, the reply is written by [`HttpService::reply`].
    pub(super) later: &'s Cell<bool>,
    /// The handler's response was refused, and a 500 is sent in its place.
    pub(super) failed: &'s Cell<bool>,
}

/// Sends what nearly every response is: bytes behind a head. `None` if it is something else.
#[inline(always)]
pub(super) fn send_plainly(
    response: &Response,
    manner: Manner,
    out: &mut Vec<u8>,
) -> Option<After> {
    let is_plain = response.is_plain() && manner.is_plain();
    (is_plain && write(out, response, manner).is_ok()).then(|| manner.after())
}

impl Sending<'_> {
    /// Sends it, or has it sent when it comes. `asked` are the protocols that the client would rather go on
    /// in.
    #[cold]
    pub(super) fn send<'n, L: Line>(
        &self,
        mut response: Response,
        asked: impl Iterator<Item = &'n str>,
        line: &mut L,
        out: &mut Vec<u8>,
    ) -> After {
        let &Sending { manner, begun, .. } = self;
        if response.is_deferred() {
            return self.defer(response, asked, line);
        }
        let upgrade = match response.other_protocol() {
            Some(_) if response.has_sound_status() => {
                response.settle_upgrade(asked, manner.closes(), self.service.table.states())
            }
            _ => None,
        };
        if response.status.omits_content() && !response.body.is_empty() {
            self.leave_content_out(&mut response);
        }
        let manner = if response.close { manner.closing() } else { manner };
        let is_http_11 = self.version == Version::Http11;
        let start = out.len();
        let responder = Responder { line: &mut *line, out: &mut *out, manner, is_http_11, begun };
        // What makes the content may panic: what layers have added to the response is not lost by that.
        let manner = match self.route.contain(|| responder.respond(&mut response)) {
            Ok(Ok(after)) => {
                if let Some(handler) = upgrade {
                    line.upgrade(handler);
                }
                return after;
            }
            Ok(Err(failure)) => {
                self.report(&failure);
                manner
            }
            Err(_panic) => manner.closing(),
        };
        self.failed.set(!begun.get());
        if begun.get() {
            out.clear();
            return After::Close;
        }
        out.truncate(start);
        let error = settle(internal_error(), self.service.table.states());
        write_own(out, &response.replaced_by(error), manner);
        manner.after()
    }

    /// Keeps what the reply needs until it comes, and passes on the right to send it.
    fn defer<'n, L: Line>(
        &self,
        mut response: Response,
        asked: impl Iterator<Item = &'n str>,
        line: &mut L,
    ) -> After {
        let Some(pending) = response.take_pending() else { return self.manner.after() };
        let late = Late {
            route: Arc::clone(self.route),
            manner: self.manner,
            version: self.version,
            upgrades: asked.map(str::to_owned).collect(),
            then: pending.then,
        };
        let reply = Reply(line.defer(late));
        self.later.set(true);
        (pending.begin)(reply);
        After::Later
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

impl HttpService {
    /// Sends a response that has come later, where the engine lets user code run: layers may want to see it,
    /// and its content may have to be made. `take` takes what is known of it, once.
    pub(crate) fn reply<E: Exchange>(
        &self,
        route: &Arc<Route>,
        take: impl FnOnce() -> Option<(Late, Response)>,
        exchange: &mut E,
    ) -> Step {
        let (begun, later, failed) = (Cell::new(false), Cell::new(false), Cell::new(false));
        let start = Cell::new(0);
        let draining = exchange.draining();
        let mut manner = None;
        let called = exchange.call(route, |line, out| {
            start.set(out.len());
            let (mut late, response) = take()?;
            if draining {
                late.manner = late.manner.closing();
            }
            let Late { manner: wanted, version, .. } = late;
            manner = Some(wanted);
            let response = late.finish(response, self.table.states());
            let sending = Sending {
                service: self,
                route,
                version,
                manner: wanted,
                begun: &begun,
                later: &later,
                failed: &failed,
            };
            let sent = send_plainly(&response, wanted, out);
            let asked = late.upgrades.iter().map(String::as_str);
            Some(sent.unwrap_or_else(|| sending.send(response, asked, line, out)))
        });
        match called {
            Ok(Some(After::Next | After::Later)) => Step::Next { consumed: 0 },
            Ok(Some(After::Push)) => Step::Push,
            Ok(Some(After::Close) | None) => Step::Close,
            Err(CallError::Offload) => Step::Offload { len: 0 },
            // The panic has dropped the reply, which is a 500 then.
            Err(CallError::Panicked) if later.get() => Step::Next { consumed: 0 },
            Err(CallError::Panicked) => {
                if let Some(manner) = manner {
                    self.end_panicked(exchange, start.get(), begun.get(), manner);
                }
                Step::Close
            }
        }
    }

    /// Ends the reply of a call that has panicked. `begun`: a part of it is out, so that only the connection's
    /// end can tell the client.
    pub(super) fn end_panicked(
        &self,
        exchange: &mut impl Exchange,
        start: usize,
        begun: bool,
        manner: Manner,
    ) {
        let out = exchange.out();
        if begun {
            return out.clear();
        }
        out.truncate(start);
        let error = settle(internal_error(), self.table.states());
        write_own(out, &error, manner.closing());
    }
}
