//! Responses of handlers that must not be sent, or not as they are: statuses, declared lengths, upgrades.

use super::*;
use crate::{Body, Next, Response};

/// Every kind of body.
const KINDS: [&str; 7] = ["empty", "bytes", "reader", "sized", "chunks", "file", "push"];

/// A body of that kind, of one byte unless it is empty.
fn body(kind: &str) -> Body {
    match kind {
        "empty" => Body::EMPTY,
        "bytes" => Body::from("b"),
        "reader" => Body::reader(&b"b"[..]),
        "sized" => Body::sized_reader(&b"b"[..], 1),
        "chunks" => Body::chunks([vec![b'b']]),
        "file" => {
            let mut file = tempfile::tempfile().expect("a file");
            std::io::Write::write_all(&mut file, b"b").expect("written");
            Body::file(file).expect("a body")
        }
        _ => Body::push(|_| panic!("started")),
    }
}

fn status(code: u16) -> Status {
    Status::from_code(code).expect("three digits")
}

/// What one request gets of a service whose handler of every method answers so.
fn answer(
    router: impl Fn(Router, Box<dyn Fn() -> Response + Send + Sync>) -> Router,
    request: &str,
    response: impl Fn() -> Response + Send + Sync + 'static,
) -> (Step, String) {
    let service = router(Router::new(), Box::new(response)).build().expect("good routes");
    let mut script = Script::default();
    let input = format!("{request}\r\nHost: x\r\n\r\n");
    let step = service.answer(input.as_bytes(), &mut script);
    (step, undated(&script.sent) + &undated(&script.out))
}

fn routed(router: Router, handler: Box<dyn Fn() -> Response + Send + Sync>) -> Router {
    router.get("/", handler)
}

fn layered(router: Router, handler: Box<dyn Fn() -> Response + Send + Sync>) -> Router {
    routed(router, handler).layer(|request: &Request<'_>, next: Next<'_>| next.run(request))
}

fn as_a_layer(router: Router, handler: Box<dyn Fn() -> Response + Send + Sync>) -> Router {
    router.get("/", || "unseen").layer(move |_: &Request<'_>, _: Next<'_>| handler())
}

fn as_the_fallback(router: Router, handler: Box<dyn Fn() -> Response + Send + Sync>) -> Router {
    router.fallback(handler)
}

type Arrangement = fn(Router, Box<dyn Fn() -> Response + Send + Sync>) -> Router;

const ARRANGEMENTS: [Arrangement; 4] = [routed, layered, as_a_layer, as_the_fallback];

#[test]
fn rfc9110_15_a_status_that_cannot_end_a_request_is_a_500() {
    for arrangement in ARRANGEMENTS {
        for code in [100, 101, 102, 103, 199, 600, 700, 999] {
            for kind in KINDS {
                let make = move || Response::new(status(code)).with_body(body(kind));
                for method in ["GET", "HEAD"] {
                    let request = format!("{method} / HTTP/1.1");
                    let (step, response) = answer(arrangement, &request, make);
                    assert!(matches!(step, Step::Next { .. }), "{code} {kind}: {step:?}");
                    assert_eq!(status_of(&response), "500", "{code} {kind}");
                    assert_eq!(response.matches("HTTP/1.1").count(), 1);
                    assert!(response.contains("content-length: "), "{response}");
                }
            }
        }
    }
}

#[test]
fn the_ends_of_what_is_allowed_are_sent() {
    for code in [200, 206, 299, 300, 399, 400, 499, 500, 599] {
        let (_, response) =
            answer(routed, "GET / HTTP/1.1", move || Response::text("a").with_status(status(code)));
        assert_eq!(status_of(&response), code.to_string());
        assert!(response.ends_with("content-length: 1\r\n\r\na"), "{response}");
    }
}

#[test]
fn rfc9110_6_4_1_statuses_without_content_have_neither_content_nor_framing() {
    for arrangement in ARRANGEMENTS {
        for (code, framing) in [(204, ""), (304, ""), (205, "content-length: 0\r\n")] {
            for kind in KINDS {
                let make = move || Response::new(status(code)).with_body(body(kind));
                for (request, persistence) in [
                    ("GET / HTTP/1.1", ""),
                    ("HEAD / HTTP/1.1", ""),
                    ("GET / HTTP/1.0\r\nConnection: keep-alive", "connection: keep-alive\r\n"),
                ] {
                    let (step, response) = answer(arrangement, request, make);
                    assert!(matches!(step, Step::Next { .. }), "{code} {kind} {request}: {step:?}");
                    let reason = status(code);
                    let expected = format!("HTTP/1.1 {reason}\r\n{framing}{persistence}\r\n");
                    assert_eq!(response, expected, "{kind} {request}");
                }
            }
        }
    }
}

#[test]
fn a_route_is_warned_of_once() {
    let times = FirstTimes::default();
    let (one, other) = (Route::new("same name"), Route::new("same name"));
    assert!(times.is_first(&one) && times.is_first(&other));
    assert!(!times.is_first(&one) && !times.is_first(&other));
}

#[test]
fn framing_fields_of_handlers_are_refused_whatever_the_status() {
    for code in [200, 204, 205, 304] {
        for (name, value) in [
            ("Content-Length", "1"),
            ("content-length", "0"),
            ("Transfer-Encoding", "chunked"),
            ("connection", "close"),
            ("upgrade", "h2c"),
            ("trailer", "x"),
            ("keep-alive", "timeout=5"),
        ] {
            for kind in KINDS {
                let make = move || {
                    Response::new(status(code)).with_header(name, value).with_body(body(kind))
                };
                let (_, response) = answer(routed, "GET / HTTP/1.1", make);
                assert_eq!(status_of(&response), "500", "{code} {name} {kind}");
                assert_eq!(response.matches("HTTP/1.1").count(), 1);
            }
        }
    }
}

fn own_head(router: Router, handler: Box<dyn Fn() -> Response + Send + Sync>) -> Router {
    router.get("/", || "of GET").head("/", handler)
}

#[test]
fn rfc9110_8_6_a_handler_of_head_alone_says_no_length_unless_it_declares_one() {
    let head = "HEAD / HTTP/1.1";
    for arrangement in [own_head as Arrangement, as_the_fallback] {
        let of = |make: fn() -> Response| answer(arrangement, head, make).1;
        let line = "HTTP/1.1 200 OK\r\n";
        assert_eq!(of(|| Response::new(Status::OK)), format!("{line}\r\n"));
        let declared =
            || Response::new(Status::OK).with_header("Content-Length", "18446744073709551615");
        let expected = format!("{line}content-length: 18446744073709551615\r\n\r\n");
        assert_eq!(of(declared), expected);
        let by_body = || Response::new(Status::OK).with_body("abc");
        assert_eq!(of(by_body), format!("{line}content-length: 3\r\n\r\n"));
        let by_both =
            || Response::new(Status::OK).with_header("content-length", "3").with_body("abc");
        assert_eq!(of(by_both), of(by_body));
        let by_reader = || Response::new(Status::OK).with_body(Body::sized_reader(io::empty(), 7));
        assert_eq!(of(by_reader), format!("{line}content-length: 7\r\n\r\n"));
        let unknown = || Response::new(Status::OK).with_body(Body::reader(io::empty()));
        assert_eq!(of(unknown), format!("{line}transfer-encoding: chunked\r\n\r\n"));
    }
    // What answers GET has the length of GET, also of no content.
    let (_, empty) = answer(routed, head, || Response::new(Status::OK));
    assert_eq!(empty, "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
    let (_, declared) =
        answer(routed, head, || Response::new(Status::OK).with_header("content-length", "5"));
    assert_eq!(status_of(&declared), "500");
    let (step, old) =
        answer(own_head, "HEAD / HTTP/1.0\r\nConnection: keep-alive", || Response::new(Status::OK));
    assert!(matches!(step, Step::Next { .. }));
    assert_eq!(old, "HTTP/1.1 200 OK\r\nconnection: keep-alive\r\n\r\n");
}

#[test]
fn rfc9110_8_6_a_declared_length_that_is_wrong_is_a_500() {
    let head = "HEAD / HTTP/1.1";
    for value in ["", "-1", "+1", "1 ", "0x1", "1, 1", "18446744073709551616", "one"] {
        let make = move || Response::new(Status::OK).with_header("content-length", value);
        assert_eq!(status_of(&answer(own_head, head, make).1), "500", "{value}");
    }
    let twice = || {
        Response::new(Status::OK)
            .with_header("content-length", "1")
            .with_header("Content-Length", "1")
    };
    assert_eq!(status_of(&answer(own_head, head, twice).1), "500");
    for kind in &KINDS[1..] {
        let make = move || {
            Response::new(Status::OK).with_header("content-length", "2").with_body(body(kind))
        };
        let (_, response) = answer(own_head, head, make);
        assert_eq!(status_of(&response), "500", "{kind}");
    }
    // GET of the same fallback does not declare.
    let make = || Response::new(Status::OK).with_header("content-length", "0");
    assert_eq!(status_of(&answer(as_the_fallback, "GET / HTTP/1.1", make).1), "500");
}

#[test]
fn rfc9110_9_3_6_no_layer_opens_a_tunnel() {
    for code in [200, 204, 299] {
        let service = as_a_layer(Router::new(), Box::new(move || Response::new(status(code))))
            .build()
            .expect("good routes");
        let mut script = Script::default();
        let step = service.answer(b"CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n", &mut script);
        assert_eq!((step, status_of(&undated(&script.out))), (Step::Close, "500"), "{code}");
    }
    let service = as_a_layer(Router::new(), Box::new(|| Status::FORBIDDEN.into_response()))
        .build()
        .expect("good routes");
    let mut script = Script::default();
    service.answer(b"CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n", &mut script);
    assert!(undated(&script.out).ends_with("\r\n\r\n403 Forbidden\n"));
}

#[test]
fn rfc9110_7_8_an_upgrade_is_a_101_or_nothing() {
    let upgrade = || Response::upgrade("chat", |_| Ok(()));
    let answer = |layer: fn(Response) -> Response, request: &str| {
        let service = Router::new()
            .get("/", upgrade)
            .layer(move |request: &Request<'_>, next: Next<'_>| layer(next.run(request)))
            .build()
            .expect("a good route");
        let mut script = Script::default();
        let step = service.answer(request.as_bytes(), &mut script);
        (step, undated(&script.out), script.upgraded)
    };
    let asks = "GET / HTTP/1.1\r\nHost: x\r\nConnection: upgrade\r\nUpgrade: chat\r\n\r\n";
    let plain = "GET / HTTP/1.1\r\nHost: x\r\n\r\n";
    let switched =
        "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: chat\r\n\r\n";
    for layer in [
        (|response| response) as fn(Response) -> Response,
        |response| response.with_body("unseen"),
        |response| response.with_body(Body::push(|_| panic!("started"))),
        // The other protocol ends the connection.
        Response::with_close,
    ] {
        let (step, response, upgraded) = answer(layer, asks);
        assert_eq!(step, Step::Next { consumed: asks.len() });
        assert_eq!((&*response, upgraded), (switched, true));
    }
    for code in [200, 204, 426, 103, 600] {
        let service = Router::new()
            .get("/", move || upgrade().with_status(status(code)))
            .build()
            .expect("a good route");
        for request in [asks, plain] {
            let mut script = Script::default();
            service.answer(request.as_bytes(), &mut script);
            let response = undated(&script.out);
            assert_eq!((status_of(&response), script.upgraded), ("500", false), "{code}");
            assert!(!response.contains("upgrade: "), "{response}");
        }
    }
    // HTTP/1.0 knows no upgrade.
    let old = "GET / HTTP/1.0\r\nConnection: upgrade\r\nUpgrade: chat\r\n\r\n";
    let (_, response, upgraded) = answer(|response| response, old);
    assert_eq!((status_of(&response), upgraded), ("426", false));
}

#[test]
fn a_response_that_is_refused_keeps_what_lets_a_script_see_it() {
    let cors = |request: &Request<'_>, next: Next<'_>| {
        next.run(request)
            .with_header("access-control-allow-origin", "*")
            .with_header("vary", "origin")
    };
    for make in [
        (|| Response::new(Status::EARLY_HINTS)) as fn() -> Response,
        || Response::text("a").with_header("x", "a\r\nb"),
        || Response::text("a").with_header("connection", "close"),
        || Response::upgrade("chat", |_| Ok(())),
        || Response::upgrade("chat", |_| Ok(())).with_status(Status::OK),
    ] {
        let service = Router::new().get("/", make).layer(cors).build().expect("a good route");
        let mut script = Script::default();
        service.answer(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", &mut script);
        let response = undated(&script.out);
        assert!(matches!(status_of(&response), "500" | "426"), "{response}");
        assert_eq!(response.matches("access-control-allow-origin: *\r\n").count(), 1, "{response}");
        assert_eq!(response.matches("vary: origin\r\n").count(), 1, "{response}");
    }
}

#[test]
fn layers_see_the_500_that_is_sent() {
    let seen = Arc::new(std::sync::Mutex::new(Vec::new()));
    let log = Arc::clone(&seen);
    let watch = move |request: &Request<'_>, next: Next<'_>| {
        let response = next.run(request);
        log.lock().expect("lock").push(response.status().code());
        response
    };
    let meddle = |request: &Request<'_>, next: Next<'_>| next.run(request).with_status(status(600));
    let service = Router::new()
        .get("/", || Response::new(Status::EARLY_HINTS))
        .layer(watch.clone())
        .layer(meddle)
        .layer(watch)
        .build()
        .expect("a good route");
    service.answer(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", &mut Script::default());
    assert_eq!(*seen.lock().expect("lock"), [500, 500]);
}

#[test]
fn an_empty_part_of_a_file_is_no_content() {
    for range in [0..0, 3..3, Range { start: 5, end: 2 }] {
        let make = move || {
            let file = tempfile::tempfile().expect("a file");
            Response::new(Status::OK).with_body(Body::file_range(file, range.clone()))
        };
        let (step, response) = answer(routed, "GET / HTTP/1.1", make);
        assert!(matches!(step, Step::Next { .. }));
        assert_eq!(response, "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
    }
}

/// The lines that are logged meanwhile, with their fields.
fn logged(run: impl FnOnce()) -> Vec<String> {
    let lines = Lines::default();
    tracing::subscriber::with_default(lines.clone(), run);
    let lines = lines.0.lock().expect("lock");
    lines.clone()
}

#[derive(Default, Clone)]
struct Lines(Arc<Mutex<Vec<String>>>);

impl tracing::Subscriber for Lines {
    fn enabled(&self, metadata: &tracing::Metadata<'_>) -> bool {
        *metadata.level() <= tracing::Level::WARN
    }

    fn event(&self, event: &tracing::Event<'_>) {
        let mut line = Line(event.metadata().level().to_string());
        event.record(&mut line);
        self.0.lock().expect("lock").push(line.0);
    }

    fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        tracing::span::Id::from_u64(1)
    }

    fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}

    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}

    fn enter(&self, _: &tracing::span::Id) {}

    fn exit(&self, _: &tracing::span::Id) {}
}

struct Line(String);

impl tracing::field::Visit for Line {
    fn record_debug(&mut self, field: &tracing::field::Field, value: &dyn std::fmt::Debug) {
        self.0 += &format!(" {field}={value:?}");
    }
}

#[test]
fn the_log_names_the_route_and_the_fault() {
    let service = Router::new()
        .get("/early", || Response::new(Status::EARLY_HINTS))
        .nest(
            "/layered",
            Router::new()
                .get("/early", || Response::new(Status::EARLY_HINTS))
                .layer(|request: &Request<'_>, next: Next<'_>| next.run(request)),
        )
        .get("/split", || Response::text("").with_header("x-split", "a\r\nb"))
        .get("/empty", || (Status::NO_CONTENT, "unseen"))
        .get("/fine", || Status::NO_CONTENT)
        .build()
        .expect("good routes");
    let ask = |path: &str| {
        let input = format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n");
        logged(|| drop(service.answer(input.as_bytes(), &mut Script::default())))
    };
    for (path, parts) in [
        ("/early", ["ERROR", "GET /early", "103 Early Hints"]),
        ("/layered/early", ["ERROR", "GET /layered/early", "103 Early Hints"]),
        ("/split", ["ERROR", "GET /split", "x-split"]),
        ("/empty", ["WARN", "GET /empty", "204 No Content"]),
    ] {
        let lines = ask(path);
        assert_eq!(lines.len(), 1, "{lines:?}");
        assert!(parts.iter().all(|part| lines[0].contains(part)), "{lines:?}");
    }
    assert!(ask("/empty").is_empty() && ask("/fine").is_empty());
}

#[test]
fn rfc9110_7_8_a_handler_sees_the_protocols_that_are_asked_for() {
    let service = Router::new()
        .get("/", |request: &Request<'_>| request.upgrades().collect::<Vec<_>>().join(" "))
        .build()
        .expect("a good route");
    for (fields, expected) in [
        ("Connection: upgrade\r\nUpgrade: chat, echo/2\r\n", "chat echo/2"),
        ("Upgrade: chat\r\n", ""),
    ] {
        let mut script = Script::default();
        service
            .answer(format!("GET / HTTP/1.1\r\nHost: x\r\n{fields}\r\n").as_bytes(), &mut script);
        assert!(undated(&script.out).ends_with(&format!("\r\n\r\n{expected}")), "{fields}");
    }
}

/// HTTP/1.0, where content without a length ends with its connection: the engine must know until the end of
/// it that it is not whole.
#[test]
fn rfc9112_8_content_without_an_end_of_its_own_is_whole_only_at_the_end_of_its_reader() {
    let answer = |make: fn() -> Body| {
        let router = Router::new().get("/", move || Response::new(Status::OK).with_body(make()));
        let mut script = Script::default();
        let input = b"GET / HTTP/1.0\r\n\r\n";
        assert_eq!(router.build().expect("routes").answer(input, &mut script), Step::Close);
        assert!(script.out.is_empty() && script.sent.ends_with(b"abc"));
        script.until_close
    };
    struct Fails;
    impl io::Read for Fails {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::Error::other("as the test wants"))
        }
    }
    assert!(!answer(|| Body::reader(&b"abc"[..])));
    assert!(answer(|| Body::reader(io::Read::chain(&b"abc"[..], Fails))));
    assert!(answer(|| Body::chunks((0..2).map(|number| {
        assert_eq!(number, 0, "as the test wants");
        b"abc".to_vec()
    }))));
}

/// A reply that breaks before its first byte is out is a 500, and takes no earlier reply with it.
#[test]
fn replies_before_one_that_breaks_are_sent() {
    let router = Router::new()
        .get("/", || "first")
        .get("/broken", || Response::new(Status::OK).with_body(Body::sized_reader(io::empty(), 7)));
    let service = router.build().expect("routes");
    let mut script = Script::default();
    let first = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n";
    assert_eq!(service.answer(first, &mut script), Step::Next { consumed: first.len() });
    service.answer(b"GET /broken HTTP/1.1\r\nHost: x\r\n\r\n", &mut script);
    let out = String::from_utf8(script.out).expect("text");
    let (one, other) = out.split_once("firstHTTP/1.1 ").expect("two replies");
    assert!(one.starts_with("HTTP/1.1 200 ") && other.starts_with("500 "), "{out}");
    assert!(script.sent.is_empty());
}
