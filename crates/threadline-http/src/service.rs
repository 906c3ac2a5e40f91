//! [`HttpService`]: the engine's protocol for HTTP/1.1.
//!
//! One step per request: parse, wait for the body, find the endpoint, run it, write the response.
//! It keeps nothing between steps, so any thread can take the next one.
//!
//! ```text
//!            +--> parse error ------------------> its status, Close
//!   parse ---+--> Partial ----------------------> Partial(Head)
//!            +--> Head --+--> body too large ---> 413, Close
//!                        +--> body not whole ---> (100 Continue) Partial(Body)
//!                        +--> no endpoint ------> 404 405 501, Next
//!                        +--> endpoint --+------> response, Next or Close
//!                                        +------> Offload: the same again on a pool thread
//!                                        +------> panicked: 500, Close
//! ```

use std::sync::Arc;

use threadline_engine::protocol::{
    AfterRefusal, Offence, Phase, Protocol, Refusal, Step, Timeouts,
};
use threadline_engine::{CallError, Route, Turn};
use threadline_proto::request::{self, Body, Form, Head, HeaderSlots, Parsed};
use threadline_proto::response::Status;

use crate::exchange::Exchange;
use crate::refusal;
use crate::request::Request;
use crate::response::Response;
use crate::router::{Endpoint, Found, Table};
use crate::settings::HttpSettings;
use crate::write::{Manner, write, write_own};

/// A router with its settings, ready to be served.
#[derive(Debug)]
pub struct HttpService {
    table: Table,
    settings: HttpSettings,
}

impl HttpService {
    pub(crate) fn new(table: Table, settings: HttpSettings) -> Self {
        HttpService { table, settings }
    }

    /// Its settings.
    pub fn settings(&self) -> &HttpSettings {
        &self.settings
    }

    /// The engine's routes, one per method and pattern, named like `GET /hello/{name}`.
    pub fn routes(&self) -> impl Iterator<Item = &Arc<Route>> {
        self.table.endpoints().map(Endpoint::route)
    }

    fn answer(&self, input: &[u8], exchange: &mut impl Exchange) -> Step {
        let (seen, limits) = (exchange.seen(), &self.settings.limits);
        if !request::worth_parsing(input, seen, limits) {
            return Step::Partial { phase: Phase::Head, want: 0 };
        }
        let mut slots = HeaderSlots::new();
        let head = match request::parse(input, &mut slots, limits) {
            Ok(Parsed::Head(head)) => head,
            Ok(Parsed::Partial) => return Step::Partial { phase: Phase::Head, want: 0 },
            Err(error) => {
                exchange.count(offence(error.status()));
                let response = Response::error(error.status(), error);
                write_own(exchange.out(), &response, Manner::refusing(input));
                return Step::Close;
            }
        };
        let mut manner = Manner::answering(&head);
        if exchange.draining() {
            manner = manner.closing();
        }
        let body_len = match self.body_len(&head) {
            Ok(len) => len,
            // Where the next request begins is not known: the connection ends.
            Err(response) => {
                exchange.count(offence(response.status()));
                write_own(exchange.out(), &response, manner.closing());
                return Step::Close;
            }
        };
        let len = head.len + body_len;
        let Some(body) = input.get(head.len..len) else {
            // Once per request: the first look that sees the whole head, and none of the body.
            if head.expects_continue && seen < head.len && input.len() == head.len {
                exchange.out().extend_from_slice(b"HTTP/1.1 100 Continue\r\n\r\n");
            }
            return Step::Partial { phase: Phase::Body, want: len };
        };
        self.dispatch(&head, body, len, manner, exchange)
    }

    /// How many bytes of body to wait for.
    #[inline]
    fn body_len(&self, head: &Head<'_, '_>) -> Result<usize, Response> {
        let max = self.settings.body_len_max;
        match head.body {
            Body::Empty => Ok(0),
            Body::Length(len) => {
                usize::try_from(len).ok().filter(|len| *len <= max).ok_or_else(|| {
                    let hint = format_args!("the body may have at most {max} bytes");
                    Response::error(Status::CONTENT_TOO_LARGE, hint)
                })
            }
            Body::Chunked => Err(Response::error(
                Status::NOT_IMPLEMENTED,
                "send the body with Content-Length instead of Transfer-Encoding",
            )),
        }
    }

    /// Answers a whole message.
    #[inline]
    fn dispatch(
        &self,
        head: &Head<'_, '_>,
        body: &[u8],
        len: usize,
        manner: Manner,
        exchange: &mut impl Exchange,
    ) -> Step {
        let found = match head.target.form() {
            Form::Origin | Form::Absolute { .. } => {
                self.table.find(head.method, head.target.path())
            }
            Form::Asterisk => Found::Options(self.table.allow()),
            Form::Authority(_) => {
                // What follows is meant for the tunnel, not for us.
                let hint = "this server is no proxy";
                let response = Response::error(Status::NOT_IMPLEMENTED, hint);
                write_own(exchange.out(), &response, manner.closing());
                return Step::Close;
            }
        };
        let response = match found {
            Found::Endpoint(endpoint, params) => {
                let peer_addr = exchange.peer_addr();
                let request = Request { head, params: &params, body, peer_addr };
                return run(endpoint, &request, len, manner, exchange);
            }
            Found::Options(allow) => {
                Response::new(Status::NO_CONTENT).with_header("allow", allow.to_owned())
            }
            Found::OtherMethods(allow) => {
                let hint = format_args!("this path answers {allow}");
                Response::error(Status::METHOD_NOT_ALLOWED, hint)
                    .with_header("allow", allow.to_owned())
            }
            Found::UnknownMethod => {
                Response::error(Status::NOT_IMPLEMENTED, "nothing here knows this method")
            }
            Found::Nothing => Response::error(Status::NOT_FOUND, "nothing is served at this path"),
        };
        write_own(exchange.out(), &response, manner);
        next(manner, len)
    }
}

/// Runs a handler, where the engine lets it run here.
#[inline]
fn run(
    endpoint: &Endpoint,
    request: &Request<'_>,
    len: usize,
    manner: Manner,
    exchange: &mut impl Exchange,
) -> Step {
    let start = exchange.out().len();
    let called = exchange.call(endpoint.route(), |out| {
        let response = (endpoint.handler)(request);
        let manner = if response.close { manner.closing() } else { manner };
        if let Err((name, error)) = write(out, &response, manner) {
            let route = endpoint.route().name();
            tracing::error!(route, header = name, "the response is not sent: {error}");
            write_own(out, &internal_error(), manner);
        }
        manner
    });
    match called {
        Ok(manner) => next(manner, len),
        Err(CallError::Offload) => Step::Offload { len },
        Err(CallError::Panicked) => {
            let out = exchange.out();
            out.truncate(start);
            write_own(out, &internal_error(), manner.closing());
            Step::Close
        }
    }
}

/// What a request is counted as that is refused with this status.
fn offence(status: Status) -> Offence {
    match status {
        Status::CONTENT_TOO_LARGE => Offence::BodyTooLarge,
        Status::URI_TOO_LONG => Offence::TargetTooLong,
        Status::REQUEST_HEADER_FIELDS_TOO_LARGE => Offence::HeadTooLarge,
        _ => Offence::Malformed,
    }
}

fn internal_error() -> Response {
    Response::error(Status::INTERNAL_SERVER_ERROR, "the service's log says why")
}

#[inline]
fn next(manner: Manner, consumed: usize) -> Step {
    if manner.closes() { Step::Close } else { Step::Next { consumed } }
}

impl Protocol for HttpService {
    fn name(&self) -> &'static str {
        "http"
    }

    fn step(&self, input: &[u8], turn: &mut Turn<'_>) -> Step {
        self.answer(input, turn)
    }

    fn refuse(&self, why: Refusal, input: &[u8], out: &mut Vec<u8>) -> AfterRefusal {
        refusal::refuse(why, input, out, &self.settings)
    }

    fn timeouts(&self) -> &Timeouts {
        &self.settings.timeouts
    }
}

#[cfg(test)]
mod tests;
