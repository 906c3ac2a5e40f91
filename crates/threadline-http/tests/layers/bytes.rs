//! Field values that are not UTF-8 (RFC 9110 §5.5) pass through every layer, and no layer takes them for
//! text. What may not stand in a field at all is refused as in text.

use std::time::Duration;

use threadline_http::middleware::{
    AccessLog, BodyLimit, CatchPanic, ConcurrencyLimit, Cors, Etag, RateLimit, RequestIds,
    SecurityHeaders, TimeLimit,
};
use threadline_http::testing::TestClient;
use threadline_http::{HeaderValue, Next, OwnedRequest, Request, Response, Router, Status};

/// Text in Latin-1, and bytes that are no text in any common coding.
const RAW: &[u8] = b"na\xefve \xff\x80";

/// Copies a field of the request to the response.
fn copy(request: &Request<'_>) -> Response {
    let raw = request.header_bytes("X-Raw").unwrap_or_default().to_vec();
    Response::text("copied").with_header("x-raw", raw)
}

fn layered(router: Router) -> Router {
    const LONG: Duration = Duration::from_secs(3600);
    let router = router
        .layer(Etag::new())
        .layer(BodyLimit::new(100))
        .layer(TimeLimit::new(LONG))
        .layer(RateLimit::new(1000, LONG))
        .layer(ConcurrencyLimit::new(100));
    #[cfg(feature = "gzip")]
    let router = router
        .layer(threadline_http::middleware::Compression::new().len_min(1))
        .layer(threadline_http::middleware::Decompression::new());
    #[cfg(feature = "json")]
    let router = router.layer(threadline_http::Problems::new());
    router
        .layer(CatchPanic::new())
        .layer(Cors::origins(["https://app.example.org"]))
        .layer(SecurityHeaders::new())
        .layer(AccessLog::new())
        .layer(RequestIds::new().from_client())
}

#[test]
fn a_value_goes_through_every_layer() {
    let client = TestClient::new(layered(Router::new().get("/", copy))).expect("a router");
    let names = ["x-raw", "referer", "user-agent", "x-request-id", "origin", "accept-encoding"];
    let mut request = client.get("/");
    for name in names {
        request = request.header(name, RAW);
    }
    let response = request.send();
    assert_eq!((response.status(), response.text()), (Status::OK, "copied"));
    assert_eq!(response.header_bytes("x-raw"), Some(RAW));
    // Only text is taken for a request's id.
    assert!(response.header("x-request-id").is_some_and(|id| !id.is_empty()));
}

#[test]
fn what_a_handler_says_is_kept_beside_what_layers_add() {
    let fields = ["vary", "cache-control", "etag", "x-frame-options", "last-modified"];
    let handler = move || {
        let text = Response::text("a text that is long enough to be compressed".repeat(9));
        fields.into_iter().fold(text, |response, name| response.with_header(name, RAW))
    };
    let client = TestClient::new(layered(Router::new().get("/", handler))).expect("a router");
    let response = client.get("/").header("origin", "https://app.example.org").send();
    assert_eq!(response.status(), Status::OK);
    for name in fields {
        let values: Vec<_> = response
            .headers()
            .filter(|(known, _)| *known == name)
            .map(|(_, value)| value)
            .collect();
        assert!(values.contains(&&HeaderValue::from(RAW)), "{name}: {values:?}");
        // Layers add elements to `Vary`, and nothing to the others.
        assert!(name == "vary" || values.len() == 1, "{name}: {values:?}");
    }
}

#[test]
fn an_owned_request_and_a_layer_that_copies_fields_keep_it() {
    let copied = |request: &Request<'_>, next: Next<'_>| {
        let response = next.run(request);
        let mut copy = Response::new(response.status());
        for (name, value) in response.headers() {
            copy.append_header(name.to_owned(), value.clone());
        }
        copy
    };
    let handler = |request: OwnedRequest| {
        assert_eq!(request.header("x-raw"), None);
        assert_eq!(request.header_bytes("x-raw"), Some(RAW));
        copy(&request.as_request())
    };
    let client = TestClient::new(Router::new().get("/", handler).layer(copied)).expect("a router");
    let response = client.get("/").header("x-raw", RAW).send();
    assert_eq!((response.status(), response.header_bytes("x-raw")), (Status::OK, Some(RAW)));
}

#[test]
fn control_characters_are_refused_in_bytes_as_in_text() {
    for bad in
        [&b"\xff\r\nx: y"[..], b"\xff\n", b"\0", b"\xff\x7f", b" \xff", b"\xff\t", b"\x1b\xff"]
    {
        for name in ["x-raw", "content-type"] {
            let handler = move || Response::text("a").with_header(name, bad);
            let client = TestClient::new(Router::new().get("/", handler)).expect("a router");
            let response = client.get("/").send();
            assert_eq!(response.status(), Status::INTERNAL_SERVER_ERROR, "{name} {bad:?}");
            assert_eq!((response.header("x-raw"), response.header("x")), (None, None));
        }
    }
}

#[test]
fn fields_beside_an_answer_may_be_bytes() {
    let handler = || ([("x-raw", RAW), ("content-type", b"text/\xff")], "a");
    let client = TestClient::new(Router::new().get("/", handler)).expect("a router");
    let response = client.get("/").send();
    assert_eq!(response.header_bytes("x-raw"), Some(RAW));
    assert_eq!(response.header_bytes("content-type"), Some(&b"text/\xff"[..]));
}
