//! [`RateLimit`]: how many requests in how long, by client.
//!
//! Here: who is counted as what, and what they are told. `buckets.rs` does the arithmetic, on a clock
//! that it is given.

mod buckets;

use std::fmt;
use std::hash::{BuildHasher, Hash, RandomState};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use threadline_proto::response::Status;

use crate::framework_error::ErrorKind;
use crate::middleware::fields::delay_seconds;
use crate::middleware::layer::{BeforeBody, Middleware, Next};
use crate::middleware::noted::{note, noted};
use crate::request::Request;
use crate::response::Response;
use buckets::{Buckets, Quota, Verdict};

/// The hash of what a request is counted under; `None` if it is not counted.
type Key = dyn Fn(&Request<'_>, &RandomState) -> Option<u64> + Send + Sync;

/// Middleware that limits the requests of each client in a period; the others get a 429 with
/// `Retry-After`.
///
/// A client has a bucket of tokens that fills evenly; a request takes one. Clients are told apart by
/// address, IPv6 ones by their /64 network, or by what [`RateLimit::by`] says. Behind a proxy every
/// peer is the proxy: use [`RateLimit::by`] with the proxy's field, if only the proxy can set it.
///
/// Responses have `ratelimit-limit`, `ratelimit-remaining` and `ratelimit-reset`, the seconds until
/// the bucket is full; with several layers of this kind, the outermost one's.
///
/// At most [`RateLimit::keys_max`] clients are remembered. With more of them at a time, those that
/// are new share a few common buckets until others have been quiet for long enough: known clients are not
/// harmed, and memory is bounded. Each process counts for itself.
///
/// ```
/// use std::time::Duration;
/// use threadline_http::Router;
/// use threadline_http::middleware::{Principal, RateLimit};
///
/// // 100 a minute by address, 20 of them at once; 1 000 an hour by user, behind authentication.
/// let by_address = RateLimit::new(100, Duration::from_secs(60)).burst(20);
/// let by_user = RateLimit::new(1_000, Duration::from_secs(3600))
///     .by(|request| request.extensions().get::<Principal>().map(|user| user.name().to_owned()));
/// let router = Router::new().get("/", || "").layer(by_user).layer(by_address);
/// # router.build().unwrap();
/// ```
pub struct RateLimit {
    quota: Quota,
    keys_max: usize,
    key: Box<Key>,
    hasher: RandomState,
    buckets: Buckets,
    /// What the buckets' clock counts from.
    epoch: Instant,
}

/// How many clients are remembered unless told otherwise: some 2 MB.
const KEYS_MAX: usize = 65_536;

impl RateLimit {
    /// `count` requests in each `period`, all of them at once if a client likes. A `count` of 0 is
    /// taken for 1; with a `period` of zero, or a rate above one a nanosecond, there is no limit.
    pub fn new(count: u32, period: Duration) -> Self {
        let quota = Quota::new(count, period);
        RateLimit {
            quota,
            keys_max: KEYS_MAX,
            key: Box::new(|request, hasher| Some(hasher.hash_one(network(request)?))),
            hasher: RandomState::new(),
            buckets: Buckets::new(quota, KEYS_MAX),
            epoch: Instant::now(),
        }
    }

    /// Sets how many requests may come at once, in place of `count`: the size of the bucket.
    pub fn burst(mut self, requests: u32) -> Self {
        self.quota.burst = requests.max(1);
        self.buckets = Buckets::new(self.quota, self.keys_max);
        self
    }

    /// Sets what requests are counted under. Those without a key are not counted. Only a hash of the
    /// key is kept, so its length costs no memory.
    pub fn by<K: Hash>(
        mut self,
        key: impl Fn(&Request<'_>) -> Option<K> + Send + Sync + 'static,
    ) -> Self {
        self.key = Box::new(move |request, hasher| Some(hasher.hash_one(key(request)?)));
        self
    }

    /// Sets how many keys are remembered at a time. Default 65 536, in some 2 MB.
    pub fn keys_max(mut self, keys: usize) -> Self {
        self.keys_max = keys;
        self.buckets = Buckets::new(self.quota, keys);
        self
    }

    fn tell(&self, response: &mut Response, verdict: Verdict) {
        let (remaining, reset) = match verdict {
            Verdict::Taken { remaining, full_in } => (remaining, full_in),
            Verdict::Refused { full_in, .. } => (0, full_in),
        };
        let reset = reset.as_secs().saturating_add(u64::from(reset.subsec_nanos() > 0));
        response.set_header("ratelimit-limit", self.quota.burst.to_string());
        response.set_header("ratelimit-remaining", remaining.to_string());
        response.set_header("ratelimit-reset", reset.to_string());
    }

    /// Answers a request that came so long after the epoch.
    fn answer(&self, request: &Request<'_>, next: Next<'_>, now: Duration) -> Response {
        // It has paid already if it was looked at before its body was received.
        let verdict = noted(self, request).or_else(|| self.take(request, now));
        let Some(verdict) = verdict else { return next.run(request) };
        match verdict {
            Verdict::Taken { .. } => {
                let mut response = next.run(request);
                self.tell(&mut response, verdict);
                response
            }
            Verdict::Refused { retry_in, .. } => self.refusal(verdict, retry_in),
        }
    }

    /// Takes a token for a request; `None` if it is not counted.
    fn take(&self, request: &Request<'_>, now: Duration) -> Option<Verdict> {
        let key = (self.key)(request, &self.hasher)?;
        Some(self.buckets.take(key, now))
    }

    fn refusal(&self, verdict: Verdict, retry_in: Duration) -> Response {
        let seconds = delay_seconds(retry_in);
        let hint = format_args!("too many requests, try again in {seconds} s");
        let mut response = Response::error_of(ErrorKind::Refused, Status::TOO_MANY_REQUESTS, hint)
            .with_header("retry-after", seconds.to_string());
        self.tell(&mut response, verdict);
        response
    }
}

impl Middleware for RateLimit {
    fn handle(&self, request: &Request<'_>, next: Next<'_>) -> Response {
        self.answer(request, next, self.epoch.elapsed())
    }

    fn before_body(&self, request: &Request<'_>) -> BeforeBody {
        let Some(verdict) = self.take(request, self.epoch.elapsed()) else {
            return BeforeBody::Pass;
        };
        note(self, request, verdict);
        match verdict {
            Verdict::Taken { .. } => BeforeBody::Pass,
            Verdict::Refused { retry_in, .. } => {
                BeforeBody::Refuse(self.refusal(verdict, retry_in))
            }
        }
    }
}

impl fmt::Debug for RateLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RateLimit")
            .field("quota", &self.quota)
            .field("keys_max", &self.keys_max)
            .finish_non_exhaustive()
    }
}

/// Whom a request is from, as far as an address tells: in IPv6 a household or a host has a whole
/// /64. Nobody on a Unix socket.
fn network(request: &Request<'_>) -> Option<IpAddr> {
    Some(match request.peer_addr()?.ip().to_canonical() {
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            IpAddr::from([a, b, c, d, 0, 0, 0, 0])
        }
        address => address,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::middleware::testing::{Stack, request};

    /// A limit whose clock stands still.
    fn at(limit: RateLimit) -> Stack {
        Stack::of(move |request: &Request<'_>, next: Next<'_>| {
            limit.answer(request, next, Duration::from_secs(5))
        })
    }

    #[test]
    fn requests_beyond_the_quota_are_told_when_to_come_again() {
        let stack = at(RateLimit::new(2, Duration::from_secs(60)));
        let get = || stack.run(request("GET /", ""), |_| "data");
        let first = get();
        assert_eq!(first.header("ratelimit-limit"), Some("2"));
        assert_eq!(first.header("ratelimit-remaining"), Some("1"));
        assert_eq!(first.header("ratelimit-reset"), Some("30"));
        assert_eq!(get().status(), Status::OK);
        let third = get();
        assert_eq!(third.status(), Status::TOO_MANY_REQUESTS);
        assert_eq!(third.header("retry-after"), Some("30"));
        assert_eq!(third.header("ratelimit-remaining"), Some("0"));
        assert_eq!(third.header("ratelimit-reset"), Some("60"));
    }

    #[test]
    fn keys_are_counted_apart_and_those_without_are_not_counted() {
        let limit = RateLimit::new(1, Duration::from_secs(60));
        let stack = at(limit.by(|request| request.header("x-key").map(str::to_owned)));
        let get = |fields: &str| stack.run(request("GET /", fields), |_| "data").status();
        assert_eq!(get("X-Key: a\r\n"), Status::OK);
        assert_eq!(get("X-Key: a\r\n"), Status::TOO_MANY_REQUESTS);
        assert_eq!(get("X-Key: b\r\n"), Status::OK);
        assert_eq!((get(""), get("")), (Status::OK, Status::OK));
    }

    #[test]
    fn the_longest_of_all_periods_has_fields_too() {
        let stack = at(RateLimit::new(1, Duration::MAX).burst(2));
        let get = || stack.run(request("GET /", ""), |_| "data");
        assert_eq!((get().status(), get().status()), (Status::OK, Status::OK));
        let third = get();
        assert_eq!(third.status(), Status::TOO_MANY_REQUESTS);
        let reset = third.header("ratelimit-reset").map(str::to_owned);
        assert_eq!(reset, Some(u64::MAX.to_string()));
        assert!(third.header("retry-after").is_some());
    }

    #[test]
    fn a_burst_is_smaller_than_the_quota() {
        let stack = at(RateLimit::new(60, Duration::from_secs(60)).burst(1));
        let get = || stack.run(request("GET /", ""), |_| "data");
        assert_eq!(get().status(), Status::OK);
        assert_eq!(get().header("retry-after"), Some("1"));
    }
}
