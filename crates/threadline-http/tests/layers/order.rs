//! The documented order of layers: refusals carry the fields that let a script read them, and preflights
//! are neither counted nor refused.

use std::io;
use std::sync::mpsc;
use std::time::Duration;

use threadline_http::middleware::{
    AccessLog, BasicAuth, CatchPanic, ConcurrencyLimit, Cors, Deadline, Etag, RateLimit,
    RequestIds, SecurityHeaders, TimeLimit,
};
use threadline_http::testing::{TestClient, TestRequest, TestResponse};
use threadline_http::{Method, Request, Response, Router, Status};

/// Longer than anything takes that is not broken.
const PATIENCE: Duration = Duration::from_secs(20);

const APP: &str = "https://app.example.org";

/// How much the layers let through.
#[derive(Clone, Copy)]
struct Limits {
    requests: u32,
    concurrent: usize,
    time: Duration,
}

const WIDE: Limits = Limits { requests: 1000, concurrent: 500, time: Duration::from_secs(3600) };

/// The order of the documentation, with the layers that it names in comments.
fn layered(router: Router, limits: Limits) -> Router {
    router
        .layer(Etag::new())
        .layer(TimeLimit::new(limits.time))
        .layer(BasicAuth::users("notes", [("alice", "secret")]))
        .layer(RateLimit::new(limits.requests, Duration::from_secs(3600)))
        .layer(ConcurrencyLimit::new(limits.concurrent))
        .layer(CatchPanic::new())
        .layer(Cors::origins([APP]).credentials().expose(["retry-after"]))
        .layer(SecurityHeaders::new())
        .layer(AccessLog::new())
        .layer(RequestIds::new())
}

fn routes() -> Router {
    Router::new()
        .get("/", || "front")
        .put("/notes/{id}", || Status::CREATED)
        .get("/fails", || Err::<&'static str, _>(io::Error::other("on purpose")))
        .get("/unavailable", || Status::SERVICE_UNAVAILABLE)
        .get("/panics", || -> &'static str { panic!("on purpose") })
        .get("/interim", || Response::new(Status::EARLY_HINTS))
        .get("/splits", || Response::text("a").with_header("x", "a\r\nb: c"))
        .get("/late", |request: &Request<'_>| {
            while !Deadline::of(request).is_past() {
                std::thread::yield_now();
            }
            "late"
        })
}

/// The same routes under every arrangement of routers that the layers can be added to.
fn arrangements(limits: Limits) -> Vec<(&'static str, TestClient, &'static str)> {
    let client = |router: Router| TestClient::new(router).expect("a router");
    let nested =
        Router::new().get("/other", || "no layers").nest("/api", layered(routes(), limits));
    let around = layered(Router::new().nest("/api", routes()), limits);
    let merged = Router::new().merge(layered(routes(), limits)).get("/other", || "no layers");
    vec![
        ("one router", client(layered(routes(), limits)), ""),
        ("a nested router", client(nested), "/api"),
        ("around a nested router", client(around), "/api"),
        ("a merged router", client(merged), ""),
    ]
}

fn asked(request: TestRequest) -> TestResponse {
    request.header("origin", APP).header("authorization", "Basic YWxpY2U6c2VjcmV0").send()
}

fn preflight(client: &TestClient, path: &str) -> TestResponse {
    // Browsers send no credentials with it.
    let request = client.request(Method::Options, path).header("origin", APP);
    request.header("access-control-request-method", "PUT").send()
}

#[track_caller]
fn assert_readable(response: &TestResponse) {
    for (name, value) in [
        ("access-control-allow-origin", APP),
        ("access-control-allow-credentials", "true"),
        ("vary", "origin"),
    ] {
        assert_eq!(response.all_headers(name).collect::<Vec<_>>(), [value], "{response:?}");
    }
}

#[test]
fn errors_of_handlers_can_be_read_by_scripts() {
    for (arrangement, client, prefix) in arrangements(WIDE) {
        for (path, status) in [
            ("/fails", 500),
            ("/panics", 500),
            ("/interim", 500),
            ("/splits", 500),
            ("/unavailable", 503),
            ("/", 200),
        ] {
            let path = if path == "/" && !prefix.is_empty() { "" } else { path };
            let response = asked(client.get(&format!("{prefix}{path}")));
            assert_eq!(response.status().code(), status, "{path}, {arrangement}");
            assert_readable(&response);
        }
    }
}

#[test]
fn refusals_of_layers_can_be_read_by_scripts() {
    let few = Limits { requests: 1, ..WIDE };
    for (arrangement, client, prefix) in arrangements(few) {
        let path = format!("{prefix}/unavailable");
        assert_eq!(asked(client.get(&path)).status(), Status::SERVICE_UNAVAILABLE);
        let refused = asked(client.get(&path));
        assert_eq!(refused.status(), Status::TOO_MANY_REQUESTS, "{arrangement}");
        assert_readable(&refused);
    }
    let none = Limits { concurrent: 0, ..WIDE };
    let late = Limits { time: Duration::from_millis(1), ..WIDE };
    for limits in [none, late] {
        for (arrangement, client, prefix) in arrangements(limits) {
            let refused = asked(client.get(&format!("{prefix}/late")));
            assert_eq!(refused.status(), Status::SERVICE_UNAVAILABLE, "{arrangement}");
            assert_eq!(refused.header("retry-after"), Some("1"));
            assert_readable(&refused);
        }
    }
    for (arrangement, client, prefix) in arrangements(WIDE) {
        let refused = client.get(&format!("{prefix}/late")).header("origin", APP).send();
        assert_eq!(refused.status(), Status::UNAUTHORIZED, "{arrangement}");
        assert_readable(&refused);
    }
}

#[test]
fn answers_without_a_handler_can_be_read_by_scripts() {
    for (arrangement, client, prefix) in arrangements(WIDE) {
        let other_method = asked(client.delete(&format!("{prefix}/fails")));
        assert_eq!(other_method.status(), Status::METHOD_NOT_ALLOWED, "{arrangement}");
        assert_readable(&other_method);
        let options = asked(client.request(Method::Options, &format!("{prefix}/fails")));
        assert_eq!(options.status(), Status::NO_CONTENT, "{arrangement}");
        assert_readable(&options);
    }
    let around_all = |router: Router| TestClient::new(layered(router, WIDE)).expect("a router");
    let missing = asked(around_all(routes()).get("/nothing"));
    assert_eq!(missing.status(), Status::NOT_FOUND);
    assert_readable(&missing);
    let fallback = around_all(routes().fallback(|| Status::SERVICE_UNAVAILABLE));
    assert_readable(&asked(fallback.get("/nothing")));
    assert_eq!(preflight(&fallback, "/nothing").status(), Status::NO_CONTENT);
}

#[test]
fn preflights_are_neither_counted_nor_refused() {
    let few = Limits { requests: 2, ..WIDE };
    for (arrangement, client, prefix) in arrangements(few) {
        for path in ["/notes/7", "/fails", "/late"] {
            for _ in 0..5 {
                let response = preflight(&client, &format!("{prefix}{path}"));
                assert_eq!(response.status(), Status::NO_CONTENT, "{path}, {arrangement}");
                assert_eq!(response.header("access-control-allow-origin"), Some(APP));
                let allowed = response.header("access-control-allow-methods").expect("methods");
                assert!(allowed.contains("PUT"), "{allowed}");
                assert_eq!(response.header("www-authenticate"), None);
            }
        }
        let first = asked(client.put(&format!("{prefix}/notes/7")));
        assert_eq!(first.status(), Status::CREATED, "{arrangement}");
        assert_eq!(first.header("ratelimit-remaining"), Some("1"), "{arrangement}");
    }
    let none = Limits { concurrent: 0, requests: 1, time: Duration::ZERO };
    for (arrangement, client, prefix) in arrangements(none) {
        let response = preflight(&client, &format!("{prefix}/notes/7"));
        assert_eq!(response.status(), Status::NO_CONTENT, "{arrangement}");
        assert_eq!(response.header("access-control-allow-origin"), Some(APP));
    }
}

#[test]
fn a_preflight_passes_while_every_place_is_taken() {
    let (arrived, arrival) = mpsc::sync_channel(1);
    let (leave, left) = mpsc::sync_channel(1);
    let left = std::sync::Mutex::new(left);
    let routes = routes().get("/slow", move || {
        arrived.send(()).expect("the test waits");
        left.lock().expect("lock").recv_timeout(PATIENCE).expect("the test goes on");
        "done"
    });
    let limits = Limits { concurrent: 1, ..WIDE };
    let client = TestClient::new(layered(routes, limits)).expect("a router");
    std::thread::scope(|scope| {
        let slow = scope.spawn(|| asked(client.get("/slow")));
        arrival.recv_timeout(PATIENCE).expect("in the handler");
        let refused = asked(client.get("/"));
        assert_eq!(refused.status(), Status::SERVICE_UNAVAILABLE);
        assert_readable(&refused);
        assert_eq!(preflight(&client, "/slow").status(), Status::NO_CONTENT);
        leave.send(()).expect("the handler waits");
        assert_eq!(slow.join().expect("answered").text(), "done");
    });
}
