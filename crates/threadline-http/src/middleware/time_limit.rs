//! [`TimeLimit`]: when it is too late to answer.
//!
//! What it can do: refuse to begin when the time is up already, tell handlers how long they have, and
//! answer 503 in place of a response that comes too late. What it cannot do: stop a handler. Code
//! that blocks in a system call, or computes, goes on until it returns, and holds its thread; a
//! thread cannot be ended safely from outside. So pass the [`Deadline`] on to everything that waits: a
//! socket's read timeout, a database's statement timeout, a loop's condition. The effects of a late
//! handler remain.

use std::fmt;
use std::time::{Duration, Instant};

use threadline_engine::log::limited;
use threadline_proto::response::Status;

use crate::framework_error::ErrorKind;
use crate::handler::{FromRequest, IntoResponse};
use crate::middleware::layer::{Middleware, Next};
use crate::request::Request;
use crate::response::Response;

/// Until when a request has to be answered. Set by [`TimeLimit`], and a parameter that handlers can have.
///
/// ```
/// use std::time::Duration;
/// use threadline_http::Router;
/// use threadline_http::middleware::{Deadline, DeadlinePassed, TimeLimit};
///
/// fn primes(deadline: Deadline) -> Result<String, DeadlinePassed> {
///     let mut found = Vec::new();
///     for number in 2..1000_u32 {
///         deadline.check()?;
///         if found.iter().all(|prime| number % prime != 0) {
///             found.push(number);
///         }
///     }
///     Ok(format!("{} primes\n", found.len()))
/// }
///
/// let router = Router::new().get("/primes", primes).layer(TimeLimit::new(Duration::from_secs(5)));
/// # router.build().unwrap();
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deadline(Option<Instant>);

impl Deadline {
    /// The deadline of a request; [`Deadline::NEVER`] without a [`TimeLimit`] around.
    pub fn of(request: &Request<'_>) -> Deadline {
        request.deadline
    }

    /// No deadline.
    pub const NEVER: Deadline = Deadline(None);

    /// The time that is left: zero after the deadline, `None` if there is none. Use it for timeouts of
    /// sockets and queues; these refuse zero, so call [`Deadline::check`] first.
    pub fn remaining(self) -> Option<Duration> {
        Some(self.0?.saturating_duration_since(Instant::now()))
    }

    /// Whether it is too late.
    pub fn is_past(self) -> bool {
        self.0.is_some_and(|instant| Instant::now() >= instant)
    }

    /// As [`Deadline::is_past`], for `?`.
    ///
    /// # Errors
    /// [`DeadlinePassed`] if it is too late. It is a response: return it.
    pub fn check(self) -> Result<(), DeadlinePassed> {
        if self.is_past() { Err(DeadlinePassed) } else { Ok(()) }
    }

    /// The earlier of two.
    fn or_sooner(self, other: Deadline) -> Deadline {
        Deadline(self.0.into_iter().chain(other.0).min())
    }
}

impl FromRequest for Deadline {
    type Rejection = std::convert::Infallible;

    fn from_request(request: &Request<'_>) -> Result<Self, Self::Rejection> {
        Ok(Deadline::of(request))
    }
}

/// It is too late to answer: 503 with `Retry-After`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeadlinePassed;

impl fmt::Display for DeadlinePassed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the request could not be answered in time")
    }
}

impl std::error::Error for DeadlinePassed {}

impl IntoResponse for DeadlinePassed {
    fn into_response(self) -> Response {
        Response::error_of(ErrorKind::ReplyTimedOut, Status::SERVICE_UNAVAILABLE, self)
            .with_header("retry-after", "1")
    }
}

/// Middleware that limits the time of the handler and the layers inside it, and answers 503 after that.
/// Within another one, the earlier deadline holds. See [`Deadline`] for what a handler has to do.
///
/// It does not end a handler that goes on: nothing can do that. The late response is thrown away, unless [`TimeLimit::keep_late`]. The time counts from when the request reaches this layer,
/// its small body being here already; content that is made while it is sent is not timed here.
///
/// ```
/// use std::time::Duration;
/// use threadline_http::Router;
/// use threadline_http::middleware::TimeLimit;
///
/// let limit = TimeLimit::new(Duration::from_secs(2));
/// let router = Router::new().get("/", || "in no time").layer(limit);
/// # router.build().unwrap();
/// ```
#[derive(Debug, Clone, Copy)]
pub struct TimeLimit {
    limit: Duration,
    late: Late,
}

/// What becomes of a response that comes too late.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Late {
    Replaced,
    Kept,
}

impl TimeLimit {
    /// Gives every request `limit`.
    pub const fn new(limit: Duration) -> Self {
        TimeLimit { limit, late: Late::Replaced }
    }

    /// Sends responses that come too late, instead of 503: the deadline is advice to handlers then,
    /// and keeps late ones from beginning.
    pub const fn keep_late(mut self) -> Self {
        self.late = Late::Kept;
        self
    }

    /// Answers a request that came at `now`.
    fn answer(&self, request: &Request<'_>, next: Next<'_>, now: Instant) -> Response {
        // Too far away to be told is never.
        let own = Deadline(now.checked_add(self.limit));
        let outer = Deadline::of(request);
        let deadline = own.or_sooner(outer);
        if deadline.is_past() {
            return DeadlinePassed.into_response();
        }
        // Not in the extensions, which the outer layers see: they have their own time.
        let response = next.run(&Request { deadline, ..request.clone() });
        match self.late {
            Late::Replaced => response.finished_by(&deadline, request, replace_if_late),
            Late::Kept => response,
        }
    }
}

fn replace_if_late(deadline: &Deadline, request: &Request<'_>, response: Response) -> Response {
    if !deadline.is_past() {
        return response;
    }
    let status = response.status().code();
    limited!(warn, route: request.route(), "the response came too late", status);
    DeadlinePassed.into_response()
}

impl Middleware for TimeLimit {
    fn handle(&self, request: &Request<'_>, next: Next<'_>) -> Response {
        self.answer(request, next, Instant::now())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::middleware::testing::{Stack, request};

    const LONG: Duration = Duration::from_secs(3600);

    /// Works until its time is up: ends by itself only because of the deadline.
    fn until_past(request: &Request<'_>) -> &'static str {
        while !Deadline::of(request).is_past() {
            std::thread::yield_now();
        }
        "too late"
    }

    #[test]
    fn a_handler_in_time_is_answered_and_knows_its_deadline() {
        let response = Stack::of(TimeLimit::new(LONG)).run(request("GET /", ""), |request| {
            let deadline = Deadline::of(request);
            assert!(deadline.check().is_ok());
            assert!(deadline.remaining().is_some_and(|left| left <= LONG && !left.is_zero()));
            "in time"
        });
        assert_eq!(response.status(), Status::OK);
        let response = Stack::default().run(request("GET /", ""), |request| {
            assert_eq!(Deadline::of(request).remaining(), None);
            Deadline::of(request).check()?;
            Ok::<_, DeadlinePassed>("no limit")
        });
        assert_eq!(response.status(), Status::OK);
    }

    #[test]
    fn a_late_response_is_replaced() {
        let stack = Stack::of(TimeLimit::new(Duration::from_millis(1)));
        let response = stack.run(request("GET /", ""), until_past);
        assert_eq!(response.status(), Status::SERVICE_UNAVAILABLE);
        assert_eq!(response.header("retry-after"), Some("1"));
    }

    #[test]
    fn a_late_response_can_be_kept() {
        let stack = Stack::of(TimeLimit::new(Duration::from_millis(1)).keep_late());
        assert_eq!(stack.run(request("GET /", ""), until_past).status(), Status::OK);
    }

    #[test]
    fn behind_the_deadline_nothing_begins() {
        let stack = Stack::of(TimeLimit::new(Duration::ZERO).keep_late());
        let response = stack.run(request("GET /", ""), |_| -> Response { panic!("begun") });
        assert_eq!(response.status(), Status::SERVICE_UNAVAILABLE);
        // The time that outer layers have taken counts.
        let slow = |request: &Request<'_>, next: Next<'_>| {
            until_past(request);
            next.run(request)
        };
        let stack = Stack::of(TimeLimit::new(LONG))
            .around(slow)
            .around(TimeLimit::new(Duration::from_millis(1)).keep_late());
        let response = stack.run(request("GET /", ""), |_| -> Response { panic!("begun") });
        assert_eq!(response.status(), Status::SERVICE_UNAVAILABLE);
    }

    #[test]
    fn each_run_of_a_layer_has_a_deadline_of_its_own() {
        let twice = |request: &Request<'_>, next: Next<'_>| {
            drop(next.clone().run(request));
            assert_eq!(Deadline::of(request), Deadline::NEVER);
            next.run(request)
        };
        let response =
            Stack::of(TimeLimit::new(LONG)).around(twice).run(request("GET /", ""), |request| {
                assert_ne!(Deadline::of(request), Deadline::NEVER);
                "in time"
            });
        assert_eq!(response.status(), Status::OK);
    }

    #[test]
    fn a_limit_beyond_all_clocks_is_none() {
        let stack = Stack::of(TimeLimit::new(Duration::MAX));
        let response = stack.run(request("GET /", ""), |request| {
            assert_eq!(Deadline::of(request).remaining(), None);
            "ever"
        });
        assert_eq!(response.status(), Status::OK);
    }
}
