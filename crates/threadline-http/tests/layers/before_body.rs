//! Layers that refuse a request by its head: before its body is received, and once.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use threadline_http::middleware::{
    BasicAuth, BearerAuth, BodyLimit, Cors, HttpsRedirect, Principal, RateLimit, RequestIds,
};
use threadline_http::testing::{TestClient, TestResponse};
use threadline_http::{
    BeforeBody, BodyError, Extension, Middleware, Next, Request, Response, Router, Status, post,
};

/// Longer than what is received without asking.
const LONG: usize = 64 * 1024 + 1;

/// Counts how often each of its methods is called, and refuses before the body if it is told to.
#[derive(Clone, Default)]
struct Watch {
    before: Arc<AtomicUsize>,
    handled: Arc<AtomicUsize>,
    refuses: bool,
    needs_body: bool,
}

impl Watch {
    fn seen(&self) -> (usize, usize) {
        (self.before.load(Ordering::Relaxed), self.handled.load(Ordering::Relaxed))
    }
}

impl Middleware for Watch {
    fn handle(&self, request: &Request<'_>, next: Next<'_>) -> Response {
        self.handled.fetch_add(1, Ordering::Relaxed);
        next.run(request)
    }

    fn before_body(&self, request: &Request<'_>) -> BeforeBody {
        self.before.fetch_add(1, Ordering::Relaxed);
        assert_eq!(request.bytes(), Err(BodyError::NotReceived), "it is not here yet");
        if self.needs_body {
            return BeforeBody::NeedsBody;
        }
        request.extensions().insert("left before");
        match self.refuses {
            true => BeforeBody::Refuse(Response::error(Status::FORBIDDEN, "refused by its head")),
            false => BeforeBody::Pass,
        }
    }
}

fn router() -> Router {
    Router::new().route("/", post(|body: Vec<u8>| body.len().to_string()).body_len_max(1 << 20))
}

fn send(router: Router, len: usize, fields: &[(&str, &str)]) -> TestResponse {
    let client = TestClient::new(router).expect("a router");
    let request = client.post("/").body(vec![b'x'; len]);
    fields.iter().fold(request, |request, (name, value)| request.header(name, *value)).send()
}

#[test]
fn layers_are_asked_about_long_bodies_and_those_that_are_asked_for() {
    let expect = ("expect", "100-continue");
    for (len, fields, asked) in
        [(LONG, &[][..], 1), (LONG - 1, &[], 0), (10, &[expect], 1), (0, &[expect], 0), (0, &[], 0)]
    {
        let watch = Watch::default();
        let response = send(router().layer(watch.clone()), len, fields);
        assert_eq!(response.text(), len.to_string());
        assert_eq!(watch.seen(), (asked, 1), "{len} bytes, {fields:?}");
    }
}

#[test]
fn a_refusal_passes_through_the_layers_further_out_alone() {
    let (inside, outside) = (Watch::default(), Watch::default());
    let refusing = Watch { refuses: true, ..Watch::default() };
    let router = router()
        .layer(inside.clone())
        .layer(refusing.clone())
        .layer(outside.clone())
        .layer(RequestIds::new());
    let response = send(router, LONG, &[]);
    assert_eq!(response.status(), Status::FORBIDDEN);
    assert!(response.header("x-request-id").is_some());
    assert_eq!(response.header("connection"), Some("close"));
    assert_eq!((outside.seen(), refusing.seen(), inside.seen()), ((1, 1), (1, 0), (0, 0)));
}

#[test]
fn layers_inside_of_one_that_needs_the_body_are_not_asked() {
    let refusing = Watch { refuses: true, ..Watch::default() };
    let needs_body = Watch { needs_body: true, ..Watch::default() };
    let response = send(router().layer(refusing.clone()).layer(needs_body.clone()), LONG, &[]);
    assert_eq!(response.text(), LONG.to_string());
    assert_eq!((needs_body.seen(), refusing.seen()), ((1, 1), (0, 1)));
}

#[test]
fn what_a_layer_leaves_is_with_the_request_when_its_body_is_there() {
    let left =
        |Extension(left): Extension<&'static str>, body: Vec<u8>| format!("{left} {}", body.len());
    let router = Router::new().route("/", post(left).body_len_max(1 << 20)).layer(Watch::default());
    assert_eq!(send(router, LONG, &[]).text(), format!("left before {LONG}"));
}

#[test]
fn streamed_routes_run_their_layers_at_once() {
    let watch = Watch { refuses: true, ..Watch::default() };
    let len = |request: &Request<'_>| request.bytes().map(|body| body.len().to_string());
    let streamed = post(len).body_len_max(1 << 20).streamed();
    let router = Router::new().route("/", streamed).layer(watch.clone());
    assert_eq!(send(router, LONG, &[]).text(), LONG.to_string());
    assert_eq!(watch.seen(), (0, 1));
}

#[test]
fn a_layer_that_panics_before_the_body_is_a_500() {
    struct Panics;
    impl Middleware for Panics {
        fn handle(&self, request: &Request<'_>, next: Next<'_>) -> Response {
            next.run(request)
        }

        fn before_body(&self, _: &Request<'_>) -> BeforeBody {
            panic!("on purpose")
        }
    }
    assert_eq!(send(router().layer(Panics), LONG, &[]).status(), Status::INTERNAL_SERVER_ERROR);
}

#[test]
fn ready_made_layers_refuse_by_the_head() {
    let checks = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&checks);
    let basic = BasicAuth::check("r", move |name, _| {
        counted.fetch_add(1, Ordering::Relaxed);
        name == "alice"
    });
    let counted = Arc::clone(&checks);
    let bearer = BearerAuth::check("r", move |token| {
        counted.fetch_add(1, Ordering::Relaxed);
        (token == "good").then(|| Principal::new("alice"))
    });
    let limit = RateLimit::new(1, Duration::from_secs(1_000_000));
    // "alice:" and "bob:"
    let (alice, bob) = ("Basic YWxpY2U6", "Basic Ym9iOg==");
    type Case<'c> = (Router, &'c [(&'c str, &'c str)], Status, usize);
    let cases: [Case<'_>; 7] = [
        (router().layer(basic), &[("authorization", bob)], Status::UNAUTHORIZED, 1),
        (
            router().layer(BasicAuth::users("r", [("alice", "")])),
            &[("authorization", alice)],
            Status::OK,
            0,
        ),
        (router().layer(bearer), &[("authorization", "Bearer bad")], Status::UNAUTHORIZED, 1),
        (router().layer(BodyLimit::new(100)), &[], Status::CONTENT_TOO_LARGE, 0),
        (
            router().layer(HttpsRedirect::new(["localhost"])),
            &[("host", "localhost")],
            Status::PERMANENT_REDIRECT,
            0,
        ),
        (router().layer(limit), &[], Status::OK, 0),
        (
            router()
                .layer(RateLimit::new(1, Duration::from_secs(1_000_000)))
                .layer(Cors::any_origin()),
            &[],
            Status::OK,
            0,
        ),
    ];
    for (router, fields, status, expected) in cases {
        checks.store(0, Ordering::Relaxed);
        let watch = Watch::default();
        let response = send(router.layer(watch.clone()), LONG, fields);
        assert_eq!(response.status(), status, "{fields:?}");
        assert_eq!(watch.seen(), (1, 1), "the layer around it sees the refusal, too");
        assert_eq!(checks.load(Ordering::Relaxed), expected, "credentials are checked once");
    }
}

#[test]
fn a_rate_is_charged_once_and_refuses_the_second() {
    let inner = RateLimit::new(5, Duration::from_secs(1_000_000));
    let outer = RateLimit::new(2, Duration::from_secs(1_000_000));
    let client = TestClient::new(router().layer(inner).layer(outer)).expect("a router");
    let ask = || client.post("/").body(vec![b'x'; LONG]).send();
    let (first, second, third) = (ask(), ask(), ask());
    let left = |response: &TestResponse| response.header("ratelimit-remaining").map(str::to_owned);
    assert_eq!((left(&first).as_deref(), left(&second).as_deref()), (Some("1"), Some("0")));
    assert_eq!((second.status(), third.status()), (Status::OK, Status::TOO_MANY_REQUESTS));
}
