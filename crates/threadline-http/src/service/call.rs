//! Running a handler for a request, and sending what it returns.

use std::cell::Cell;
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
use crate::body::{Arriving, Incoming, RefusedBody};
use crate::exchange::{Exchange, Line};
use crate::extensions::Extensions;
use crate::fault::internal_error;
use crate::middleware::Deadline;
use crate::request::{PathParams, Request};
use crate::response::Response;
use crate::write::{After, write_own};

/// What is known before the handler runs.
pub(super) struct Call<'c, 'i> {
    pub(super) service: &'c HttpService,
    pub(super) route: &'c Arc<Route>,
    /// The longest body in bytes.
    pub(super) body_len_max: u64,
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
        let (begun, later) = (Cell::new(false), Cell::new(false));
        let start = Cell::new(0);
        let mut told = None;
        let called = exchange.call(self.route, |line, out| {
            start.set(out.len());
            let service = self.service;
            let extensions = Extensions::new();
            let &Message { head, path, mut manner, .. } = self.message;
            let request = |body| Request {
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
                states: service.table.states(),
                extensions: &extensions,
            };
            let mut rest = None;
            let response = match content.body {
                Have::Whole(body) => handler(&request(Incoming::Whole(body))),
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
            if let Some(after) = send_plainly(&response, manner, out) {
                return Ended { after, rest };
            }
            let (service, route, version) = (self.service, self.route, head.version);
            let (begun, later, failed) = (&begun, &later, &self.failed);
            let sending = Sending { service, route, version, manner, begun, later, failed };
            Ended { after: sending.send(response, head.upgrades(), line, out), rest }
        });
        if let Some(took) = exchange.took() {
            self.tell(told, called.is_err(), took, exchange);
        }
        match called {
            Ok(Ended { after: After::Next, rest: Some(rest) }) => Step::Streamed { rest },
            Ok(Ended { after: After::Next, rest: None }) => Step::Next { consumed: content.len },
            Ok(Ended { after: After::Later, .. }) if matches!(content.body, Have::Whole(_)) => {
                Step::Next { consumed: content.len }
            }
            // The rest of a body that its handler has not read is thrown away behind the reply.
            Ok(Ended { after: After::Later, rest }) => {
                Step::Streamed { rest: rest.unwrap_or_default() }
            }
            Ok(Ended { after: After::Push, .. }) => Step::Push,
            Ok(Ended { after: After::Close, .. }) => Step::Close,
            Err(CallError::Offload) => Step::Offload { len: content.len },
            // The panic has dropped the reply, which is a 500 then: it passes through the layers as others do.
            Err(CallError::Panicked) if later.get() && matches!(content.body, Have::Whole(_)) => {
                Step::Next { consumed: content.len }
            }
            Err(CallError::Panicked) => {
                let manner = self.message.manner;
                self.service.end_panicked(exchange, start.get(), begun.get(), manner);
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
