//! What a response says of its representation does not depend on the request's conditions, ranges or method:
//! a 206, a 304 and the answer to a `HEAD` carry what the 200 would (RFC 9110 §9.3.2, §15.3.7, §15.4.5).
//!
//! One property for each layer, over every kind of resource and random requests.

use std::collections::HashMap;
use std::fs::{self, File};
use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, UNIX_EPOCH};

use proptest::prelude::*;
use tempfile::TempDir;
use threadline_http::files::Files;
use threadline_http::middleware::*;
use threadline_http::testing::{TestClient, TestResponse};
use threadline_http::{Body, Method, Response, Router, Status};

const APP: &str = "https://app.example.org";
const THEN: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
const LATER: &str = "Sun, 06 Nov 1994 08:49:38 GMT";

/// Fields that must be the same in every answer about a representation.
const METADATA: [&str; 6] =
    ["vary", "etag", "cache-control", "content-location", "expires", "last-modified"];

/// Resources of every kind.
const PATHS: [&str; 15] = [
    "/text",
    "/tagged",
    "/streamed",
    "/fixed",
    "/small",
    "/noise",
    "/image",
    "/files/text.txt",
    "/files/short.txt",
    "/files/image.png",
    "/files/app.js",
    "/files/old.txt",
    "/files/noise.txt",
    "/embedded/text.txt",
    "/private/text.txt",
];

struct Site {
    _directory: TempDir,
    client: TestClient,
}

fn text() -> String {
    "all work and no play makes Jack a dull boy\n".repeat(60)
}

/// Does not get shorter.
fn noise() -> Vec<u8> {
    let mut state = 1_u32;
    let step = |_| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    (0..2000).map(step).collect()
}

impl Site {
    fn of(layer: impl Fn(Router) -> Router) -> Site {
        let directory = tempfile::tempdir().expect("a directory");
        let write = |name: &str, content: &[u8], seconds: u64| {
            let path = directory.path().join(name);
            fs::write(&path, content).expect("a file");
            let file = File::options().write(true).open(&path).expect("a file");
            file.set_modified(UNIX_EPOCH + Duration::from_secs(seconds)).expect("a date");
        };
        let then = 784_111_777;
        write("text.txt", text().as_bytes(), then);
        write("short.txt", b"short", then);
        write("image.png", text().as_bytes(), then);
        write("app.js", text().as_bytes(), then);
        write("app.js.br", b"as if compressed", then);
        write("old.txt", text().as_bytes(), 1);
        write("noise.txt", &noise(), then);
        let files = || Files::dir(directory.path()).expect("a directory");
        let private = files().cache_control("private, no-transform");
        let described = |response: Response| {
            response
                .with_header("cache-control", "max-age=60")
                .with_header("content-location", "/text.en")
                .with_header("expires", LATER)
                .with_header("vary", "accept-language")
        };
        let router = Router::new()
            .get("/text", move || described(Response::text(text())))
            .get("/tagged", move || described(Response::text(text()).with_header("etag", "\"v1\"")))
            .get("/streamed", move || {
                let body = Body::reader(std::io::Cursor::new(text()));
                let response = Response::text("").with_body(body);
                described(response.with_header("etag", "\"v2\"").with_header("last-modified", THEN))
            })
            .get("/fixed", || Response::text(text()).with_header("cache-control", "no-transform"))
            .get("/small", || "small")
            .get("/noise", || Response::bytes(noise()).with_content_type("text/plain"))
            .get("/image", || Response::bytes(text().into_bytes()).with_content_type("image/png"))
            .files("/files", files().precompressed())
            .files("/private", private)
            .files("/embedded", Files::embedded(EMBEDDED));
        let client = TestClient::new(layer(router)).expect("a router");
        Site { _directory: directory, client }
    }

    fn send(&self, method: Method<'_>, path: &str, fields: &[(&str, String)]) -> TestResponse {
        let request = self.client.request(method, path).header("authorization", "Basic YTpi");
        let request = request.header("x-forwarded-proto", "https");
        fields.iter().fold(request, |request, (name, value)| request.header(name, value)).send()
    }
}

const EMBEDDED: &[(&str, &[u8])] = &[("text.txt", include_bytes!("metadata.rs"))];

/// A request, in what may vary.
#[derive(Debug, Clone)]
struct Shape {
    path: &'static str,
    is_head: bool,
    accept: Option<&'static str>,
    origin: Option<&'static str>,
    range: Option<&'static str>,
    if_range: Option<Known>,
    if_none_match: Option<Known>,
    if_match: Option<Known>,
    if_modified_since: Option<&'static str>,
}

/// What a client says of the version that it has.
#[derive(Debug, Clone, Copy)]
enum Known {
    /// The tag of this very response.
    Current,
    /// The tag that the client has with another `Accept-Encoding`.
    Coded,
    Plain,
    Date,
    Any,
    Other,
}

fn shapes() -> impl Strategy<Value = Shape> {
    let accept = prop::option::of(prop::sample::select(vec![
        "gzip",
        "br",
        "zstd, gzip;q=0.5",
        "identity",
        "*",
        "gzip;q=0",
    ]));
    let range = prop::option::of(prop::sample::select(vec![
        "bytes=0-9",
        "bytes=4-",
        "bytes=-3",
        "bytes=0-1,900-901",
        "bytes=99999999-",
        "nonsense",
    ]));
    let known = || {
        prop::option::weighted(
            0.4,
            prop::sample::select(vec![
                Known::Current,
                Known::Coded,
                Known::Plain,
                Known::Date,
                Known::Any,
                Known::Other,
            ]),
        )
    };
    let origin = prop::option::of(prop::sample::select(vec![APP, "https://other.example"]));
    let date = prop::option::weighted(0.2, prop::sample::select(vec![THEN, LATER]));
    let path = prop::sample::select(PATHS.to_vec());
    let conditions = (known(), known(), prop::option::weighted(0.2, Just(Known::Current)), date);
    (path, any::<bool>(), accept, origin, range, conditions).prop_map(
        |(path, is_head, accept, origin, range, conditions)| {
            let (if_range, if_none_match, if_match, if_modified_since) = conditions;
            let if_range = range.and(if_range);
            Shape {
                path,
                is_head,
                accept,
                origin,
                range,
                if_range,
                if_none_match,
                if_match,
                if_modified_since,
            }
        },
    )
}

fn metadata(response: &TestResponse) -> HashMap<&'static str, Vec<&str>> {
    METADATA.iter().map(|name| (*name, response.all_headers(name).collect())).collect()
}

/// Asks for a resource in that shape, and compares what comes with the plain 200.
fn check(site: &Site, shape: &Shape) -> Result<(), TestCaseError> {
    let selecting = |accept: Option<&str>| -> Vec<(&'static str, String)> {
        let accept = accept.map(|accept| ("accept-encoding", accept.to_owned()));
        let origin = shape.origin.map(|origin| ("origin", origin.to_owned()));
        accept.into_iter().chain(origin).collect()
    };
    let plain_get = |accept| site.send(Method::Get, shape.path, &selecting(accept));
    let whole = plain_get(shape.accept);
    prop_assert_eq!(whole.status(), Status::OK);
    let tag = |response: &TestResponse| response.header("etag").unwrap_or("\"none\"").to_owned();
    let known = |known| match known {
        Known::Current => tag(&whole),
        Known::Coded => tag(&plain_get(Some("gzip"))),
        Known::Plain => tag(&plain_get(None)),
        Known::Date => THEN.to_owned(),
        Known::Any => "*".to_owned(),
        Known::Other => "\"other\"".to_owned(),
    };
    let mut fields = selecting(shape.accept);
    fields.extend(shape.range.map(|range| ("range", range.to_owned())));
    fields.extend(shape.if_range.map(|tag| ("if-range", known(tag))));
    fields.extend(shape.if_none_match.map(|tag| ("if-none-match", known(tag))));
    fields.extend(shape.if_match.map(|tag| ("if-match", known(tag))));
    fields.extend(shape.if_modified_since.map(|date| ("if-modified-since", date.to_owned())));
    let method = if shape.is_head { Method::Head } else { Method::Get };
    let answer = site.send(method, shape.path, &fields);
    prop_assert_eq!(answer.all_headers("date").count(), 1);
    match answer.status().code() {
        200 => {
            prop_assert_eq!(metadata(&answer), metadata(&whole), "{:?}", answer);
            for name in ["content-type", "content-length", "content-encoding", "accept-ranges"] {
                prop_assert_eq!(answer.header(name), whole.header(name), "{}", name);
            }
            let content = if shape.is_head { &b""[..] } else { whole.bytes() };
            prop_assert!(answer.bytes() == content);
        }
        304 => {
            prop_assert_eq!(metadata(&answer), metadata(&whole), "{:?}", answer);
            prop_assert_eq!(answer.header("content-length"), None);
            prop_assert!(shape.if_none_match.is_some() || shape.if_modified_since.is_some());
        }
        206 => {
            prop_assert!(!shape.is_head && shape.range.is_some());
            prop_assert_eq!(metadata(&answer), metadata(&whole), "{:?}", answer);
            let coding = answer.header("content-encoding");
            prop_assert_eq!(coding, whole.header("content-encoding"), "{:?}", answer);
            if let Some(range) = answer.header("content-range") {
                let (first, rest) = range["bytes ".len()..].split_once('-').expect("a range");
                let (last, len) = rest.split_once('/').expect("a length");
                let number = |text: &str| text.parse::<usize>().expect("a number");
                prop_assert_eq!(number(len), whole.bytes().len());
                prop_assert!(answer.bytes() == &whole.bytes()[number(first)..=number(last)]);
            }
            if let Some(if_range) = shape.if_range {
                let (has, is) = (known(if_range), tag(&whole));
                prop_assert!(has == THEN || (has == is && is.starts_with('"')), "{} {}", has, is);
            }
        }
        412 => prop_assert!(shape.if_match.is_some()),
        416 => prop_assert!(!shape.is_head && shape.range == Some("bytes=99999999-")),
        status => return Err(TestCaseError::fail(format!("{status}: {answer:?}"))),
    }
    // The same strong tag is the same bytes.
    let other = plain_get(None);
    let (one, two) = (whole.header("etag"), other.header("etag"));
    if one == two && one.is_some_and(|etag| etag.starts_with('"')) {
        prop_assert!(whole.bytes() == other.bytes());
        prop_assert_eq!(whole.header("content-encoding"), other.header("content-encoding"));
    }
    // Caches are told what a response depends on.
    let vary = whole.all_headers("vary").collect::<Vec<_>>().join(",");
    if whole.bytes() != other.bytes() {
        prop_assert!(vary.contains("accept-encoding"), "{:?}", whole);
    }
    let elsewhere = site.send(Method::Get, shape.path, &[]);
    let allowed = "access-control-allow-origin";
    if whole.header(allowed) != elsewhere.header(allowed) {
        prop_assert!(vary.contains("origin"), "{:?}", whole);
    }
    Ok(())
}

macro_rules! layers {
    ($($(#[$attribute:meta])* $name:ident: $layer:expr;)*) => {$(
        $(#[$attribute])*
        #[test]
        fn $name() {
            let layer: fn(Router) -> Router = $layer;
            let site = Site::of(layer);
            let config = ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(256) };
            proptest!(config, |(shape in shapes())| { check(&site, &shape)?; });
        }
    )*};
}

layers! {
    without_a_layer: |router| router;
    access_log: |router| router.layer(AccessLog::new());
    basic_auth: |router| router.layer(BasicAuth::users("test", [("a", "b")]));
    body_limit: |router| router.layer(BodyLimit::new(1));
    catch_panic: |router| router.layer(CatchPanic::new());
    concurrency_limit: |router| router.layer(ConcurrencyLimit::new(1));
    cors: |router| router.layer(Cors::origins([APP]).credentials().expose(["etag"]));
    cors_for_any_origin: |router| router.layer(Cors::any_origin());
    etag: |router| router.layer(Etag::new());
    https_redirect: |router| {
        router.layer(HttpsRedirect::new(["test"]).trust([IpAddr::V4(Ipv4Addr::LOCALHOST)]))
    };
    rate_limit: |router| router.layer(RateLimit::new(u32::MAX, Duration::from_secs(1)));
    request_ids: |router| router.layer(RequestIds::new());
    security_headers: |router| router.layer(SecurityHeaders::new());
    time_limit: |router| router.layer(TimeLimit::new(Duration::from_secs(3600)));
    #[cfg(feature = "json")]
    problems: |router| router.layer(threadline_http::Problems::new());
    #[cfg(feature = "gzip")]
    compression: |router| router.layer(Compression::new());
    #[cfg(feature = "gzip")]
    compression_around_etag: |router| router.layer(Etag::new()).layer(Compression::new());
    #[cfg(feature = "gzip")]
    etag_around_compression: |router| router.layer(Compression::new()).layer(Etag::new());
    #[cfg(feature = "gzip")]
    compression_twice: |router| router.layer(Compression::new()).layer(Compression::new());
    #[cfg(feature = "gzip")]
    decompression: |router| router.layer(Decompression::new());
    #[cfg(feature = "gzip")]
    the_documented_order: |router| {
        router
            .layer(Etag::new())
            .layer(Compression::new())
            .layer(Decompression::new())
            .layer(TimeLimit::new(Duration::from_secs(3600)))
            .layer(BasicAuth::users("test", [("a", "b")]))
            .layer(RateLimit::new(u32::MAX, Duration::from_secs(1)))
            .layer(ConcurrencyLimit::new(500))
            .layer(CatchPanic::new())
            .layer(Cors::origins([APP]))
            .layer(SecurityHeaders::new())
            .layer(AccessLog::new())
            .layer(RequestIds::new())
    };
}
