//! [`HttpService`]: the engine's protocol for HTTP/1.1.
//!
//! One step per request: parse, find the endpoint, run the handler, send the response. Where a body is not whole
//! the engine receives it, and a second step goes on from there. It keeps nothing between steps but what is with
//! that body, so any thread can take the next one.
//!
//! ```text
//!            +--> parse error -------------------> its status, Close
//!   parse ---+--> Partial -----------------------> Partial(Head); 400, Close if that is all
//!            +--> Head --+--> path malformed ----> 400, Close
//!                        +--> no endpoint -------> 404 405 501, Next or Close
//!                        +--> body too large ----> 413, Close
//!                        +--> not whole ---------> before_body, (100 Continue), Receive; then `received`
//!                        +--> handler --+--------> response, Next, Streamed or Close
//!                                       +--------> pushed response, Push
//!                                       +--------> deferred response, Next; the reply by `answer`
//!                                       +--------> Offload: the same again on a pool thread
//!                                       +--------> panicked: 500, Close
//! ```

mod body;
mod call;
mod received;
mod refused;
mod send;
mod told;
mod unrouted;

use std::borrow::Cow;
use std::cell::Cell;
use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use matchit::Params;
use threadline_engine::protocol::{
    AfterRefusal, Answer, Outcome, Phase, Protocol, Received, Refusal, Step, Timeouts, Waiting,
};
use threadline_engine::{Route, Turn};
use threadline_proto::percent;
use threadline_proto::request::{
    self, Form, Head, HeadWatch, HeaderSlots, Limits, ParseError, Parsed,
};

use crate::body::{ComesOnce, Incoming};
use crate::deferred::{self, Late};
use crate::exchange::Exchange;
use crate::extensions::Extensions;
use crate::framework_error::settle;
use crate::middleware::layer::{Last, Layers, Next};
use crate::middleware::method_override::BadOverride;
use crate::refusal;
use crate::request::Request;
use crate::router::{Endpoint, Found, Table};
use crate::settings::HttpSettings;
use crate::write::Manner;
use body::{Before, Content, Have};
use call::Call;
use refused::malformed;
pub(crate) use unrouted::Unrouted;

/// A router with its settings, ready to be served.
#[derive(Debug)]
pub struct HttpService {
    table: Table,
    settings: HttpSettings,
    /// The route of middleware around answers that have no route.
    unrouted: Arc<Route>,
    /// The routes whose responses had content that was left out.
    left_out: FirstTimes,
}

/// Routes of which something has been logged, so that it is logged once for each.
#[derive(Debug, Default)]
struct FirstTimes(Mutex<HashSet<usize>>);

impl FirstTimes {
    /// Whether it is the first time for this route. A service keeps its routes, so an address is a name.
    fn is_first(&self, route: &Arc<Route>) -> bool {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.insert(Arc::as_ptr(route).addr())
    }
}

/// A request as it has arrived, and how it is to be answered.
struct Message<'m, 'i> {
    /// With the method that an override says, if there is one.
    head: &'m Head<'m, 'i>,
    input: &'i [u8],
    /// The path in normal form, where it came in another.
    path: Option<&'m str>,
    manner: Manner,
    /// Its body, if the engine has received that.
    received: Option<&'m ReceivedBody<'i>>,
}

/// The body of a request that the engine has received.
#[derive(Clone, Copy)]
struct ReceivedBody<'b> {
    body: Have<'b>,
    /// What layers have left with the request before.
    left: &'b Cell<Option<Extensions>>,
}

impl HttpService {
    pub(crate) fn new(table: Table, settings: HttpSettings) -> Self {
        let (unrouted, left_out) = (Route::new("no route"), FirstTimes::default());
        HttpService { table, settings, unrouted, left_out }
    }

    /// Its settings.
    pub fn settings(&self) -> &HttpSettings {
        &self.settings
    }

    /// The engine's routes, one per method and pattern, named like `GET /hello/{name}`.
    pub fn routes(&self) -> impl Iterator<Item = &Arc<Route>> {
        self.table.endpoints().map(Endpoint::route)
    }

    pub(crate) fn answer(&self, input: &[u8], exchange: &mut impl Exchange) -> Step {
        self.answer_message(input, None, exchange)
    }

    /// Answers the request at the start of the input; its body has been `received`, or is in the input.
    #[inline]
    fn answer_message<'i>(
        &self,
        input: &'i [u8],
        received: Option<&ReceivedBody<'i>>,
        exchange: &mut impl Exchange,
    ) -> Step {
        let limits = &self.settings.limits;
        if exchange.seen() > 0
            && let Some(step) = wait_further(input, limits, exchange)
        {
            return step;
        }
        let mut slots = HeaderSlots::new();
        // Here and below, what is large is looked at where it was made: to move it takes longer than
        // to make it.
        let mut parsed = request::parse(input, &mut slots, limits);
        let head = match &mut parsed {
            Ok(Parsed::Head(head)) => head,
            Ok(Parsed::Partial) => return wait_for_head(input, limits, exchange),
            Err(ParseError::Expectation) => return self.answer_unmet(input, exchange),
            Err(error) => return self.refuse_head(*error, input, exchange),
        };
        let mut manner = Manner::answering(head);
        if let Err(BadOverride) = self.settings.method_override.apply(head) {
            return self.refuse_request(
                malformed(BadOverride::HINT),
                Some(head),
                manner,
                input,
                exchange,
            );
        }
        if exchange.draining() {
            manner = manner.closing();
        }
        let mut message = Message { head, input, path: None, manner, received };
        if !head.target.has_path() {
            let found = self.find_pathless(head);
            return self.answer_unrouted(found, self.table.layers(), message, exchange);
        }
        let normal;
        let way = match self.table.fixed_way(&head.target) {
            Some(way) => way,
            None => match percent::normalize(head.target.path()) {
                Ok(Cow::Borrowed(path)) => self.table.way(path),
                Ok(Cow::Owned(path)) => {
                    normal = path;
                    message.path = Some(&normal);
                    self.table.way(&normal)
                }
                Err(error) => {
                    return self.refuse_request(
                        malformed(error),
                        Some(head),
                        manner,
                        input,
                        exchange,
                    );
                }
            },
        };
        match self.table.find(head.method, &way) {
            Found::Endpoint(endpoint) => {
                if !endpoint.answers_get {
                    message.manner = manner.without_get();
                }
                self.meet(endpoint, way.params(), &message, exchange)
            }
            found => self.answer_unrouted(found, self.table.layers_at(&way), message, exchange),
        }
    }

    /// Answers a request that is cut off: its client sends no more (RFC 9112 §8).
    pub(crate) fn answer_end(&self, input: &[u8], exchange: &mut impl Exchange) -> Step {
        // While the service drains, it may have ended the input itself. A client whose request gets no
        // answer may send it again; one that gets a 400 will not.
        if refusal::is_blank(input) || exchange.draining() {
            return Step::Close;
        }
        let hint = "the connection ended before the request was whole";
        self.refuse_request(malformed(hint), None, Manner::refusing(input), input, exchange)
    }

    /// Answers a request that has an endpoint, once enough of its body is here.
    #[inline]
    fn meet(
        &self,
        endpoint: &Endpoint,
        params: Option<&Params<'_, '_>>,
        message: &Message<'_, '_>,
        exchange: &mut impl Exchange,
    ) -> Step {
        let body_len_max = endpoint.body_len_max.unwrap_or(self.settings.body_len_max);
        let mut decoded = Vec::new();
        let content = match message.received {
            Some(received) => received.content(message.head.len),
            None => {
                let streamed = endpoint.streamed.is_some();
                self.content(message, body_len_max, streamed, &mut decoded, exchange)
            }
        };
        let (mut route, layers) = (endpoint.route(), endpoint.layers());
        if let (Ok(Content { body: Have::Arriving, .. }), Some(streamed)) =
            (&content, &endpoint.streamed)
        {
            route = streamed;
        }
        let left = message.received.map(|received| received.left);
        let failed = false.into();
        let call = Call { service: self, route, body_len_max, params, message, left, failed };
        match content {
            Ok(content)
                if layers.is_empty()
                    || reads_itself(endpoint, exchange)
                    || !message.asks_before(&content) =>
            {
                answer_whole(endpoint, content, &call, exchange)
            }
            Ok(content) => match call.ask_before(layers, exchange) {
                Ok(left) => {
                    let left = Cell::new(Some(left));
                    let call = Call { left: Some(&left), ..call };
                    answer_whole(endpoint, content, &call, exchange)
                }
                Err(step) => step,
            },
            Err(Before::Receive) if layers.is_empty() || !message.asks_before_receiving() => {
                self.receive(message, body_len_max, None, exchange)
            }
            Err(Before::Receive) => match call.ask_before(layers, exchange) {
                Ok(left) => self.receive(message, body_len_max, Some(left), exchange),
                Err(step) => step,
            },
            Err(Before::Refuse(error)) => {
                self.refuse_body(error, route, layers, params, message, exchange)
            }
        }
    }

    /// What a request finds whose target has no path.
    #[cold]
    fn find_pathless(&self, head: &Head<'_, '_>) -> Found<'_> {
        match head.target.form() {
            Form::Asterisk => Found::Options(self.table.allow()),
            _ => Found::NoProxy,
        }
    }

    /// Answers what has no endpoint. A body that is not whole is not waited for: the connection ends
    /// behind the answer.
    #[cold]
    fn answer_unrouted(
        &self,
        found: Found<'_>,
        layers: &Layers,
        mut message: Message<'_, '_>,
        exchange: &mut impl Exchange,
    ) -> Step {
        let len = body::whole_len(&message);
        if len.is_none() || matches!(found, Found::NoProxy) {
            // What follows is a body, or meant for a tunnel.
            message.manner = message.manner.closing();
        }
        let content = Content { body: Have::Whole(&[]), len: len.unwrap_or(message.head.len) };
        let (route, body_len_max) = (&self.unrouted, self.settings.body_len_max);
        let (failed, unrouted) = (false.into(), Unrouted::of(found));
        let (message, params, left) = (&message, None, None);
        let call = Call { service: self, route, body_len_max, params, message, left, failed };
        if layers.is_empty() {
            let response = settle(unrouted.response(), self.table.states());
            return call.answer_here(content, &response, exchange);
        }
        // Middleware sees these too, and may block.
        let last = Last::Unrouted(&unrouted);
        call.run(content, |request| Next::new(layers, last).begin(request), exchange)
    }
}

/// Whether the handler is called before its request's body is there, wherever that is possible.
fn reads_itself(endpoint: &Endpoint, exchange: &impl Exchange) -> bool {
    endpoint.streamed.is_some() && exchange.waiting() != Waiting::Nowhere
}

/// Answers a request whose handler can be called.
#[inline]
fn answer_whole(
    endpoint: &Endpoint,
    content: Content<'_>,
    call: &Call<'_, '_>,
    exchange: &mut impl Exchange,
) -> Step {
    match endpoint.streamed {
        None => call.run(content, |request| endpoint.answer(request), exchange),
        Some(_) => answer_streamed(endpoint, content, call, exchange),
    }
}

/// The same of a streamed route: a body comes once, whether or not it is here already.
#[cold]
fn answer_streamed(
    endpoint: &Endpoint,
    content: Content<'_>,
    call: &Call<'_, '_>,
    exchange: &mut impl Exchange,
) -> Step {
    let answer = |request: &Request<'_>| match request.body {
        Incoming::Arriving(_) => endpoint.answer(request),
        _ if request.head.body == request::Body::Empty => endpoint.answer(request),
        body => {
            let once = ComesOnce::new(body);
            endpoint.answer(&Request { body: Incoming::Arriving(&once), ..request.clone() })
        }
    };
    call.run(content, answer, exchange)
}

/// Waits for the rest of a head. The watch sees to it that each byte is looked at once more, and not with
/// every byte that comes.
#[cold]
fn wait_for_head(input: &[u8], limits: &Limits, exchange: &mut impl Exchange) -> Step {
    if exchange.seen() == 0 {
        let mut watch = HeadWatch::new();
        watch.is_due(input, limits);
        *exchange.memo() = Some(Box::new(watch));
    }
    Step::Partial { phase: Phase::Head, want: 0 }
}

/// Waits on, where no more can be said of a message than when it was looked at last.
#[cold]
fn wait_further(input: &[u8], limits: &Limits, exchange: &mut impl Exchange) -> Option<Step> {
    let memo = exchange.memo().as_deref_mut()?;
    let watch = memo.downcast_mut::<HeadWatch>()?;
    (!watch.is_due(input, limits)).then_some(Step::Partial { phase: Phase::Head, want: 0 })
}

impl Protocol for HttpService {
    fn name(&self) -> &'static str {
        "http"
    }

    fn step(&self, input: &[u8], turn: &mut Turn<'_>) -> Step {
        self.answer(input, turn)
    }

    fn answer(&self, answer: &mut Answer, turn: &mut Turn<'_>) -> Step {
        let Some(late) = answer.context::<Late>() else { return Step::Close };
        let route = Arc::clone(&late.route);
        let take = || {
            let response = match answer.outcome() {
                Outcome::TimedOut => deferred::too_late(),
                Outcome::Answered(_) | Outcome::Dropped => {
                    answer.take().unwrap_or_else(deferred::never)
                }
            };
            Some((answer.take_context()?, response))
        };
        self.reply(&route, take, turn)
    }

    fn end_of_input(&self, input: &[u8], turn: &mut Turn<'_>) -> Step {
        self.answer_end(input, turn)
    }

    fn received(&self, received: Received<'_>, turn: &mut Turn<'_>) -> Step {
        self.answer_received(received, turn)
    }

    fn refuse(&self, why: Refusal, input: &[u8], out: &mut Vec<u8>) -> AfterRefusal {
        self.refuse_for_engine(why, input, refusal::Extent::Input, out)
    }

    fn refuse_received(&self, why: Refusal, head: &[u8], out: &mut Vec<u8>) -> AfterRefusal {
        self.refuse_for_engine(why, head, refusal::Extent::Received, out)
    }

    fn routes(&self) -> Vec<Arc<Route>> {
        HttpService::routes(self).map(Arc::clone).collect()
    }

    fn timeouts(&self) -> &Timeouts {
        &self.settings.timeouts
    }
}

#[cfg(test)]
mod tests;
