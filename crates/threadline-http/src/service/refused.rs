//! Requests that are refused: by their head, by their body, or because the service has no room for them.
//!
//! ```text
//!   body too large, broken, unknown expectation --> the layers of the route, without its handler
//!   head or path broken, request cut off ---------> a text; each layer may add to it, where it may block
//!   408, 503 of the engine -----------------------> the same, on the loop thread
//! ```
//!
//! The hook for the form of errors is asked for each.

use std::borrow::Cow;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use matchit::Params;
use threadline_engine::protocol::{AfterRefusal, Offence, Refusal, Step};
use threadline_engine::{CallError, Route};
use threadline_proto::percent;
use threadline_proto::request::{self, Head, HeaderSlots, ParseError, Parsed};
use threadline_proto::response::Status;

use super::body::{Content, Have};
use super::call::Call;
use super::{HttpService, Message, told, wait_for_head};
use crate::body::{BodyError, Incoming};
use crate::exchange::Exchange;
use crate::extensions::Extensions;
use crate::framework_error::{ErrorKind, FrameworkError, kind_of, settle};
use crate::handler::IntoResponse;
use crate::middleware::Deadline;
use crate::middleware::layer::{Last, Layers, Next, Refused};
use crate::refusal;
use crate::request::{PathParams, Request};
use crate::response::Response;
use crate::router::Found;
use crate::write::{Manner, write_own};

/// A request that breaks a rule.
#[cold]
pub(super) fn malformed(hint: impl fmt::Display) -> Response {
    Response::error_of(ErrorKind::MalformedRequest, Status::BAD_REQUEST, hint)
}

/// What is known where a request is refused.
struct Seen<'s> {
    head: Option<&'s Head<'s, 's>>,
    input: &'s [u8],
    peer_addr: Option<SocketAddr>,
    /// Whether the thread may wait.
    may_wait: bool,
}

impl HttpService {
    /// Refuses a request whose head breaks a rule.
    #[cold]
    pub(super) fn refuse_head(
        &self,
        error: ParseError,
        input: &[u8],
        exchange: &mut impl Exchange,
    ) -> Step {
        let response = Response::error_of(kind_of(error), error.status(), error);
        self.refuse_request(response, None, Manner::refusing(input), input, exchange)
    }

    /// Refuses a request and the connection with it: where the next one begins is not known.
    #[cold]
    pub(super) fn refuse_request(
        &self,
        response: Response,
        head: Option<&Head<'_, '_>>,
        manner: Manner,
        input: &[u8],
        exchange: &mut impl Exchange,
    ) -> Step {
        let peer_addr = exchange.peer_addr();
        let status = response.status();
        let response = if self.table.layers().is_empty() {
            self.shown(response, &Seen { head, input, peer_addr, may_wait: false })
        } else {
            let called = exchange.call(&self.unrouted, |_line, _out| {
                self.shown(response, &Seen { head, input, peer_addr, may_wait: true })
            });
            match called {
                Ok(response) => response,
                Err(CallError::Offload) => {
                    return Step::Offload { len: input.len() };
                }
                // Layers and the hook are contained: this is not to be expected.
                Err(CallError::Panicked) => Response::error(status, "the request was refused"),
            }
        };
        told::refused(&response, input, &self.settings.limits, peer_addr);
        count(status, exchange);
        write_own(exchange.out(), &response, manner.closing());
        Step::Close
    }

    /// Refuses a request whose body cannot be had, by the layers of its route.
    #[cold]
    pub(super) fn refuse_body(
        &self,
        error: BodyError,
        route: &Arc<Route>,
        layers: &Layers,
        params: Option<&Params<'_, '_>>,
        message: &Message<'_, '_>,
        exchange: &mut impl Exchange,
    ) -> Step {
        if layers.is_empty() {
            let (head, manner) = (Some(message.head), message.manner);
            return self.refuse_request(
                error.into_response(),
                head,
                manner,
                message.input,
                exchange,
            );
        }
        let &Message { head, input, path, manner, .. } = message;
        let received = message.received;
        let message = Message { head, input, path, manner: manner.closing(), received };
        let left = received.map(|received| received.left);
        let content = Content { body: Have::Refused(error), len: head.len };
        let (body_len_max, failed) = (self.settings.body_len_max, false.into());
        let message = &message;
        let call = Call { service: self, route, body_len_max, params, message, left, failed };
        let run = |request: &Request<'_>| Next::new(layers, Last::Refused(error)).begin(request);
        let step = call.run(content, run, exchange);
        if !matches!(step, Step::Offload { .. }) {
            count(error.status(), exchange);
        }
        step
    }

    /// Answers a request whose `Expect` asks for something that is not known, once its head is whole: the
    /// layers of its route see it.
    #[cold]
    pub(super) fn answer_unmet(&self, input: &[u8], exchange: &mut impl Exchange) -> Step {
        let limits = &self.settings.limits;
        let mut slots = HeaderSlots::new();
        let head = match request::parse_any_expectation(input, &mut slots, limits) {
            Ok(Parsed::Head(head)) => head,
            Ok(Parsed::Partial) => return wait_for_head(input, limits, exchange),
            Err(error) => return self.refuse_head(error, input, exchange),
        };
        let manner = Manner::answering(&head);
        self.with_place(&head, |route, layers, params, path| {
            let message = Message { head: &head, input, path, manner, received: None };
            self.refuse_body(BodyError::Expectation, route, layers, params, &message, exchange)
        })
    }

    /// Writes what a client is told when the engine turns it away or gives up on it.
    #[cold]
    pub(super) fn refuse_for_engine(
        &self,
        why: Refusal,
        input: &[u8],
        extent: refusal::Extent,
        out: &mut Vec<u8>,
    ) -> AfterRefusal {
        let mut slots = HeaderSlots::new();
        let limits = &self.settings.limits;
        let head = match request::parse_any_expectation(input, &mut slots, limits) {
            Ok(Parsed::Head(head)) => Some(head),
            Ok(Parsed::Partial) | Err(_) => None,
        };
        let Some(response) = refusal::response(why, input) else { return AfterRefusal::Close };
        let seen = Seen { head: head.as_ref(), input, peer_addr: None, may_wait: false };
        let response = self.shown(response, &seen);
        refusal::write(why, &response, head.as_ref(), input, extent, out)
    }

    /// A refusal as the client gets it: in the form of errors, with what layers add.
    fn shown(&self, response: Response, seen: &Seen<'_>) -> Response {
        let Some(error) = response.framework_error().cloned() else { return response };
        let mut response = settle(response, self.table.states());
        match seen.head {
            None => self.tell_layers(self.table.layers(), None, &error, seen, &mut response),
            Some(head) => self.with_place(head, |route, layers, params, path| {
                let about = (head, route, params, path);
                self.tell_layers(layers, Some(about), &error, seen, &mut response);
            }),
        }
        response
    }

    fn tell_layers(
        &self,
        layers: &Layers,
        about: Option<About<'_>>,
        error: &FrameworkError,
        seen: &Seen<'_>,
        response: &mut Response,
    ) {
        if layers.is_empty() {
            return;
        }
        let &Seen { input, peer_addr, may_wait, .. } = seen;
        let extensions = Extensions::new();
        let request = about.map(|(head, route, params, path)| Request {
            head,
            method: None,
            params: PathParams::Found(params),
            body: Incoming::Whole(&[]),
            is_decoded: false,
            peer_addr,
            deadline: Deadline::NEVER,
            route,
            path,
            body_len_max: self.settings.body_len_max,
            states: self.table.states(),
            extensions: &extensions,
        });
        let (request, extensions) = (request.as_ref(), &extensions);
        layers
            .refused(&Refused { error, request, input, peer_addr, extensions, may_wait }, response);
    }

    /// Runs `code` with the route of a head, what is around it, its parameters, and its path in normal form.
    fn with_place<R>(
        &self,
        head: &Head<'_, '_>,
        code: impl FnOnce(&Arc<Route>, &Layers, Option<&Params<'_, '_>>, Option<&str>) -> R,
    ) -> R {
        let path = head.target.has_path().then(|| percent::normalize(head.target.path()));
        let Some(Ok(path)) = path else {
            return code(&self.unrouted, self.table.layers(), None, None);
        };
        let normal = match &path {
            Cow::Borrowed(_) => None,
            Cow::Owned(path) => Some(&**path),
        };
        let way = self.table.way(&path);
        match self.table.find(head.method, &way) {
            Found::Endpoint(endpoint) => {
                code(endpoint.route(), endpoint.layers(), way.params(), normal)
            }
            _ => code(&self.unrouted, self.table.layers_at(&way), way.params(), normal),
        }
    }
}

/// A request's head, route, parameters, and path in normal form.
type About<'a> = (&'a Head<'a, 'a>, &'a Arc<Route>, Option<&'a Params<'a, 'a>>, Option<&'a str>);

/// Counts a refusal, unless it is the service that has no room.
fn count(status: Status, exchange: &impl Exchange) {
    if status != Status::SERVICE_UNAVAILABLE {
        exchange.count(offence(status));
    }
}

/// What a refusal is counted as.
fn offence(status: Status) -> Offence {
    match status {
        Status::CONTENT_TOO_LARGE => Offence::BodyTooLarge,
        Status::URI_TOO_LONG => Offence::TargetTooLong,
        Status::REQUEST_HEADER_FIELDS_TOO_LARGE => Offence::HeadTooLarge,
        _ => Offence::Malformed,
    }
}
