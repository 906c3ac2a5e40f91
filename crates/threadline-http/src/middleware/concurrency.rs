//! [`ConcurrencyLimit`]: how many requests are worked on at a time.
//!
//! Protects what is behind the handlers (a database, a disk), which the pool's size does not know.
//! Nobody waits here: a waiting request would hold a thread. One atomic counter; a request counts
//! until its response is made, and a streamed one until it is sent.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use threadline_proto::response::Status;

use crate::framework_error::ErrorKind;
use crate::middleware::fields::delay_seconds;
use crate::middleware::layer::{Middleware, Next};
use crate::middleware::watched::{Watcher, watch};
use crate::request::Request;
use crate::response::Response;

/// Middleware that lets so many requests through at a time, and answers the others 503 with
/// `Retry-After`.
///
/// ```
/// use threadline_http::Router;
/// use threadline_http::middleware::ConcurrencyLimit;
///
/// // Around some routes alone:
/// let reports = Router::new().get("/yearly", || "...").layer(ConcurrencyLimit::new(4));
/// let router = Router::new().get("/", || "front").nest("/reports", reports);
/// # router.build().unwrap();
/// ```
#[derive(Debug)]
pub struct ConcurrencyLimit {
    max: usize,
    retry_after: Duration,
    running: Arc<AtomicUsize>,
}

impl ConcurrencyLimit {
    /// Lets `max` requests through at a time; with 0, none.
    pub fn new(max: usize) -> Self {
        let running = Arc::new(AtomicUsize::new(0));
        ConcurrencyLimit { max, retry_after: Duration::from_secs(1), running }
    }

    /// Sets when a refused client is told to try again. Default 1 s; sent in whole seconds.
    pub fn retry_after(mut self, delay: Duration) -> Self {
        self.retry_after = delay;
        self
    }

    fn admit(&self) -> Option<Permit> {
        // The counter guards no other memory: relaxed is enough.
        let count = |running: usize| (running < self.max).then(|| running + 1);
        let admitted = self.running.fetch_update(Ordering::Relaxed, Ordering::Relaxed, count);
        admitted.ok().map(|_| Permit(Arc::clone(&self.running)))
    }
}

impl Middleware for ConcurrencyLimit {
    fn handle(&self, request: &Request<'_>, next: Next<'_>) -> Response {
        let Some(permit) = self.admit() else {
            let hint = "too many requests are being worked on, try again later";
            return Response::error_of(ErrorKind::Overloaded, Status::SERVICE_UNAVAILABLE, hint)
                .with_header("retry-after", delay_seconds(self.retry_after).to_string());
        };
        next.run(request).when_ready(|response| watch(response, permit))
    }
}

/// One of the requests that are let through, until it is dropped. Also by a panic.
struct Permit(Arc<AtomicUsize>);

impl Watcher for Permit {}

impl Drop for Permit {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {

    use super::*;
    use crate::Body;
    use crate::middleware::testing::{Stack, request};

    fn limit(max: usize) -> (Stack, Arc<AtomicUsize>) {
        let limit = ConcurrencyLimit::new(max).retry_after(Duration::from_millis(1500));
        let running = Arc::clone(&limit.running);
        (Stack::of(limit), running)
    }

    #[test]
    fn requests_beyond_the_limit_are_refused_and_those_after_them_are_not() {
        let (stack, running) = limit(2);
        let get = request("GET /", "");
        let outer = stack.run(&get, |_| {
            let inner = stack.run(&get, |_| {
                let refused = stack.run(&get, |_| -> Response { panic!("let through") });
                assert_eq!(refused.status(), Status::SERVICE_UNAVAILABLE);
                assert_eq!(refused.header("retry-after"), Some("2"));
                "inner"
            });
            assert_eq!(inner.status(), Status::OK);
            "outer"
        });
        assert_eq!(outer.status(), Status::OK);
        assert_eq!(running.load(Ordering::Relaxed), 0);
        let none = limit(0).0.run(&get, |_| "");
        assert_eq!(none.status(), Status::SERVICE_UNAVAILABLE);
    }

    #[test]
    fn a_streamed_response_counts_until_it_is_sent() {
        let (stack, running) = limit(1);
        let streamed =
            |_: &Request<'_>| Response::new(Status::OK).with_body(Body::chunks([vec![1]]));
        let response = stack.run(request("GET /", ""), streamed);
        assert_eq!(running.load(Ordering::Relaxed), 1);
        assert_eq!(response.into_body().into_bytes().expect("read"), [1]);
        assert_eq!(running.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn a_panic_gives_its_place_back() {
        let (stack, running) = limit(1);
        let response = stack.run(request("GET /", ""), |_| -> Response { panic!("on purpose") });
        assert_eq!(response.status(), Status::INTERNAL_SERVER_ERROR);
        assert_eq!(running.load(Ordering::Relaxed), 0);
    }
}
