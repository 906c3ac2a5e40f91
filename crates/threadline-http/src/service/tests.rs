//! The service's rules on bytes alone: a scripted exchange stands in for the engine's turn.

use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};

use threadline_proto::Method;

use super::*;
use crate::{Path, Router};

/// A turn whose every answer is set beforehand.
#[derive(Default)]
struct Script {
    out: Vec<u8>,
    seen: usize,
    draining: bool,
    offload: bool,
    called: Vec<String>,
}

impl Exchange for Script {
    fn out(&mut self) -> &mut Vec<u8> {
        &mut self.out
    }

    fn call<R>(
        &mut self,
        route: &Arc<Route>,
        code: impl FnOnce(&mut Vec<u8>) -> R,
    ) -> Result<R, CallError> {
        if self.offload {
            return Err(CallError::Offload);
        }
        self.called.push(route.name().to_owned());
        catch_unwind(AssertUnwindSafe(|| code(&mut self.out))).map_err(|_| CallError::Panicked)
    }

    fn draining(&self) -> bool {
        self.draining
    }

    fn seen(&self) -> usize {
        self.seen
    }

    fn peer_addr(&self) -> Option<SocketAddr> {
        Some(([127, 0, 0, 1], 4321).into())
    }
}

fn service() -> HttpService {
    Router::new()
        .get("/", || "front")
        .get("/hello/{name}", |Path(name): Path<String>| format!("hello, {name}"))
        .get("/sum/{a}/{b}", |Path((a, b)): Path<(u32, u32)>| (a + b).to_string())
        .get("/files/{*path}", |Path(path): Path<String>| path)
        .get("/panics", || -> &'static str { panic!("on purpose") })
        .get("/splits", || Response::text("a").with_header("x", "a\r\nset-cookie: b"))
        .get("/frames", || Response::text("a").with_header("Content-Length", "7"))
        .get("/leaves", || Response::text("bye").with_close())
        .get("/empty", || (Status::NO_CONTENT, "never sent"))
        .post("/echo", |request: &Request<'_>| request.body().to_vec())
        .get("/me", |request: &Request<'_>| {
            format!(
                "{:?} {:?} {:?}",
                request.peer_addr(),
                request.query(),
                request.header("USER-agent")
            )
        })
        .settings(HttpSettings::default().body_len_max(100))
        .build()
        .expect("good routes")
}

/// Steps once. The response comes back without its date line.
fn step_with(mut script: Script, input: impl AsRef<[u8]>) -> (Step, String) {
    let step = service().answer(input.as_ref(), &mut script);
    (step, undated(&script.out))
}

fn step(input: impl AsRef<[u8]>) -> (Step, String) {
    step_with(Script::default(), input)
}

fn undated(out: &[u8]) -> String {
    let text = String::from_utf8(out.to_vec()).expect("UTF-8");
    text.split_inclusive("\r\n").filter(|line| !line.starts_with("date: ")).collect()
}

fn get(path: &str) -> (Step, String) {
    step(format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n"))
}

fn status_of(response: &str) -> &str {
    response.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3)).unwrap_or(response)
}

const OK_TEXT: &str = "HTTP/1.1 200 OK\r\ncontent-type: text/plain; charset=utf-8\r\n";

#[test]
fn a_request_is_answered_and_the_connection_goes_on() {
    let head = "GET / HTTP/1.1\r\nHost: x\r\n\r\n";
    let (step, response) = step(format!("{head}GET /next"));
    assert_eq!(step, Step::Next { consumed: head.len() });
    assert_eq!(response, format!("{OK_TEXT}content-length: 5\r\n\r\nfront"));
}

#[test]
fn rfc9110_6_6_1_every_response_has_a_date() {
    for path in ["/", "/nothing", "/hello/%zz"] {
        let mut script = Script::default();
        service().answer(format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes(), &mut script);
        let text = String::from_utf8(script.out).expect("UTF-8");
        let date = text.lines().find_map(|line| line.strip_prefix("date: ")).expect("a date");
        assert!(httpdate::parse_http_date(date).is_ok(), "{date}");
    }
}

#[test]
fn responses_are_appended_in_order() {
    let input = b"GET /hello/a HTTP/1.1\r\nHost: x\r\n\r\nGET / HTTP/1.1\r\n\r\n";
    let (service, mut script) = (service(), Script::default());
    let Step::Next { consumed } = service.answer(input, &mut script) else { panic!("whole") };
    assert_eq!(service.answer(&input[consumed..], &mut script), Step::Close);
    let text = undated(&script.out);
    assert!(
        text.starts_with(&format!("{OK_TEXT}content-length: 8\r\n\r\nhello, aHTTP/1.1 400 Bad"))
    );
}

#[test]
fn rfc9110_9_3_2_head_is_get_without_content() {
    let (step, response) = step("HEAD / HTTP/1.1\r\nHost: x\r\n\r\n");
    assert!(matches!(step, Step::Next { .. }));
    assert_eq!(response, format!("{OK_TEXT}content-length: 5\r\n\r\n"));
    let (_, missing) = self::step("HEAD /nothing HTTP/1.1\r\nHost: x\r\n\r\n");
    assert!(missing.ends_with("\r\n\r\n"), "{missing}");
    let (_, broken) = self::step("HEAD / HTTP/1.1\r\n\r\n");
    assert!(broken.ends_with("connection: close\r\n\r\n"), "{broken}");
}

#[test]
fn rfc9112_6_3_no_content_has_neither_content_nor_length() {
    let (_, response) = get("/empty");
    assert_eq!(
        response,
        "HTTP/1.1 204 No Content\r\ncontent-type: text/plain; charset=utf-8\r\n\r\n"
    );
}

#[test]
fn paths_without_a_route_are_not_found() {
    for path in ["/nothing", "/hello/", "/hello/a/b", "//", "/HELLO/a"] {
        let (step, response) = get(path);
        assert!(matches!(step, Step::Next { .. }), "{path}");
        assert_eq!(status_of(&response), "404", "{path}");
    }
}

#[test]
fn rfc9110_15_5_6_other_methods_are_told_what_there_is() {
    let (step, response) = step("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc");
    assert!(matches!(step, Step::Next { .. }));
    assert_eq!(status_of(&response), "405");
    assert!(response.contains("\r\nallow: GET, HEAD, OPTIONS\r\n"), "{response}");
}

#[test]
fn rfc9110_9_3_7_options_lists_the_methods() {
    let (_, response) = step("OPTIONS /echo HTTP/1.1\r\nHost: x\r\n\r\n");
    assert_eq!(response, "HTTP/1.1 204 No Content\r\nallow: POST, OPTIONS\r\n\r\n");
    let (_, response) = step("OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n");
    assert!(response.contains("allow: GET, HEAD, POST, OPTIONS\r\n"), "{response}");
}

#[test]
fn rfc9110_9_1_methods_that_nobody_knows_are_not_implemented() {
    let (step, response) = step("BREW / HTTP/1.1\r\nHost: x\r\n\r\n");
    assert!(matches!(step, Step::Next { .. }));
    assert_eq!(status_of(&response), "501");
    let (step, response) = self::step("CONNECT x:1 HTTP/1.1\r\nHost: x:1\r\n\r\n");
    assert_eq!((step, status_of(&response)), (Step::Close, "501"));
}

#[test]
fn path_parameters_are_decoded_and_parsed() {
    assert!(get("/hello/J%C3%BCrgen%2F").1.ends_with("\r\n\r\nhello, Jürgen/"));
    assert!(get("/sum/4/38").1.ends_with("\r\n\r\n42"));
    assert!(get("/files/a/b%20c").1.ends_with("\r\n\r\na/b c"));
}

#[test]
fn a_bad_path_parameter_is_named() {
    let (_, response) = get("/sum/4/x");
    assert_eq!(status_of(&response), "400");
    assert!(response.contains("path parameter `b`: invalid digit found in string"), "{response}");
    let (_, response) = get("/hello/%ff");
    assert!(response.contains("path parameter `name`: it does not decode to UTF-8"), "{response}");
    assert!(get("/hello/%4").1.contains("two hexadecimal digits"));
}

#[test]
fn a_handler_sees_the_request() {
    let (_, response) = step("GET /me?a=b HTTP/1.1\r\nHost: x\r\nUser-Agent: t\r\n\r\n");
    assert!(response.ends_with(r#"Some(127.0.0.1:4321) Some("a=b") Some("t")"#), "{response}");
}

#[test]
fn a_body_is_waited_for_and_handed_over() {
    let head = "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\n";
    let want = head.len() + 5;
    let partial = Step::Partial { phase: Phase::Body, want };
    assert_eq!(step(head), (partial, String::new()));
    assert_eq!(step(format!("{head}hell")), (partial, String::new()));
    let (step, response) = step(format!("{head}helloGET"));
    assert_eq!(step, Step::Next { consumed: want });
    assert!(response.ends_with("content-length: 5\r\n\r\nhello"));
}

#[test]
fn a_body_beyond_the_limit_is_refused_unread() {
    for len in ["101", "9999999999999999999"] {
        let input = format!("POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: {len}\r\n\r\n");
        let (step, response) = step(input);
        assert_eq!((step, status_of(&response)), (Step::Close, "413"));
        assert!(response.contains("connection: close\r\n"));
    }
}

#[test]
fn rfc9112_6_1_chunked_bodies_are_refused() {
    let input = "POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n";
    let (step, response) = step(input);
    assert_eq!((step, status_of(&response)), (Step::Close, "501"));
}

#[test]
fn rfc9110_10_1_1_continue_is_sent_once_and_only_when_waited_for() {
    let head =
        "POST /echo HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n";
    let interim = "HTTP/1.1 100 Continue\r\n\r\n";
    let at = |seen| Script { seen, ..Script::default() };
    assert_eq!(step(head).1, interim);
    // The head came in two pieces.
    assert_eq!(step_with(at(20), head).1, interim);
    // An earlier look has seen the whole head, or the client did not wait.
    assert_eq!(step_with(at(head.len()), head).1, "");
    assert_eq!(step(format!("{head}he")).1, "");
    assert_eq!(status_of(&step(format!("{head}hello")).1), "200");
    // A final answer instead (413 without a body read).
    let large = head.replace("Length: 5", "Length: 500");
    assert_eq!(status_of(&step(large).1), "413");
}

#[test]
fn a_partial_head_waits() {
    let partial = Step::Partial { phase: Phase::Head, want: 0 };
    for input in ["G", "GET / HTTP/1.1\r\nHost:", "GET / HTTP/1.1\r\nHost: x\r\n\r", "\r\n"] {
        assert_eq!(step(input), (partial, String::new()), "{input:?}");
        let script = Script { seen: input.len() - 1, ..Script::default() };
        assert_eq!(step_with(script, input), (partial, String::new()), "{input:?}");
    }
}

#[test]
fn broken_requests_are_answered_and_closed() {
    for (input, status) in [
        ("GET / HTTP/1.1\r\n\r\n", "400"),
        ("GET / HTTP/1.1\nHost: x\n\n", "400"),
        ("GET / HTTP/3.0\r\nHost: x\r\n\r\n", "505"),
        ("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5, 5\r\n\r\n", "400"),
        ("POST / HTTP/1.1\r\nHost: x\r\nExpect: tea\r\n\r\n", "417"),
        ("\x16\x03\x01\x02\0\x01", "400"),
    ] {
        let (step, response) = step(input);
        assert_eq!((step, status_of(&response)), (Step::Close, status), "{input:?}");
        assert!(response.contains("connection: close\r\n"));
    }
    let (_, response) = step(format!("GET /{}", "a".repeat(20_000)));
    assert_eq!(status_of(&response), "414");
    let (_, response) = step(format!("GET / HTTP/1.1\r\nA: {}", "a".repeat(20_000)));
    assert_eq!(status_of(&response), "431");
}

#[test]
fn user_code_never_sees_a_broken_request() {
    let mut script = Script::default();
    service().answer(b"GET / HTTP/1.1\r\n\r\n", &mut script);
    service().answer(b"GET /nothing HTTP/1.1\r\nHost: x\r\n\r\n", &mut script);
    service().answer(b"PUT / HTTP/1.1\r\nHost: x\r\n\r\n", &mut script);
    assert!(script.called.is_empty());
    service().answer(b"HEAD /hello/a HTTP/1.1\r\nHost: x\r\n\r\n", &mut script);
    assert_eq!(script.called, ["GET /hello/{name}"]);
}

#[test]
fn rfc9112_9_3_connections_end_when_either_side_says_so() {
    let (step, response) = step("GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    assert_eq!(step, Step::Close);
    assert!(response.contains("connection: close\r\n"));
    let (step, response) = get("/leaves");
    assert_eq!(step, Step::Close);
    assert!(response.ends_with("connection: close\r\n\r\nbye"));
    let draining = Script { draining: true, ..Script::default() };
    let (step, response) = step_with(draining, "GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    assert_eq!(step, Step::Close);
    assert!(response.contains("connection: close\r\n"));
}

#[test]
fn rfc9112_c_2_2_http_1_0_connections_go_on_only_if_asked_to() {
    let (step, response) = step("GET / HTTP/1.0\r\n\r\n");
    assert_eq!(step, Step::Close);
    assert!(response.contains("connection: close\r\n"));
    let (step, response) = self::step("GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n");
    assert!(matches!(step, Step::Next { .. }));
    assert!(response.contains("connection: keep-alive\r\n"));
}

#[test]
fn an_offloaded_request_leaves_no_trace() {
    let head = "GET / HTTP/1.1\r\nHost: x\r\n\r\n";
    let script = Script { offload: true, ..Script::default() };
    assert_eq!(step_with(script, head), (Step::Offload { len: head.len() }, String::new()));
}

#[test]
fn a_panic_is_a_500_behind_the_earlier_responses() {
    let script = Script { out: b"earlier".to_vec(), ..Script::default() };
    let (step, response) = step_with(script, "GET /panics HTTP/1.1\r\nHost: x\r\n\r\n");
    assert_eq!(step, Step::Close);
    assert!(response.starts_with("earlierHTTP/1.1 500 Internal Server Error\r\n"), "{response}");
    assert!(response.contains("connection: close\r\n"));
}

#[test]
fn a_header_that_would_split_or_frame_the_response_makes_it_a_500() {
    for path in ["/splits", "/frames"] {
        let (step, response) = get(path);
        assert!(matches!(step, Step::Next { .. }));
        assert_eq!(status_of(&response), "500");
        assert!(!response.contains("set-cookie"));
        assert_eq!(response.matches("HTTP/1.1").count(), 1);
    }
}

#[test]
fn extension_methods_and_fallbacks_are_routed() {
    let service = Router::new()
        .route(Method::Extension("PURGE"), "/cache", || "purged")
        .fallback(|request: &Request<'_>| (Status::NOT_FOUND, request.path().to_owned()))
        .build()
        .expect("good routes");
    for (input, end) in [
        ("PURGE /cache HTTP/1.1\r\nHost: x\r\n\r\n", "purged"),
        ("BREW /pot HTTP/1.1\r\nHost: x\r\n\r\n", "/pot"),
    ] {
        let mut script = Script::default();
        service.answer(input.as_bytes(), &mut script);
        assert!(undated(&script.out).ends_with(end));
    }
    let names: Vec<_> = service.routes().map(|route| route.name()).collect();
    assert_eq!(names, ["PURGE /cache", "fallback"]);
}

#[test]
fn overload_refuses_one_message_and_goes_on() {
    let (service, mut out) = (service(), Vec::new());
    let whole = "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nabGET";
    let after = service.refuse(Refusal::Overloaded, whole.as_bytes(), &mut out);
    assert_eq!(after, AfterRefusal::Continue { consumed: whole.len() - 3 });
    let text = undated(&out);
    assert_eq!(status_of(&text), "503");
    assert!(text.contains("retry-after: 1\r\n") && !text.contains("connection:"), "{text}");

    for input in ["", "GET /", "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"] {
        let mut out = Vec::new();
        let after = service.refuse(Refusal::Overloaded, input.as_bytes(), &mut out);
        assert_eq!(after, AfterRefusal::Close);
        assert!(undated(&out).contains("connection: close\r\n"));
    }
}

#[test]
fn rfc9110_15_5_9_only_a_begun_request_gets_a_408() {
    let refuse = |why, input: &str| {
        let mut out = Vec::new();
        assert_eq!(service().refuse(why, input.as_bytes(), &mut out), AfterRefusal::Close);
        undated(&out)
    };
    for input in ["", "\r\n"] {
        assert_eq!(refuse(Refusal::TimedOut(Phase::Head), input), "");
    }
    assert_eq!(status_of(&refuse(Refusal::TimedOut(Phase::Head), "GET / HT")), "408");
    assert_eq!(status_of(&refuse(Refusal::TimedOut(Phase::Body), "POST / HT")), "408");
    let many = refuse(Refusal::TooManyConnections, "");
    assert_eq!(status_of(&many), "503");
    assert!(many.contains("connection: close\r\n"));
}

/// What one small request costs, everything but the engine. See it with
/// `cargo test --release -p threadline-http -- --ignored --nocapture speed`.
#[test]
#[ignore = "a measurement, of use only in release"]
fn speed_of_a_small_request() {
    let input = b"GET / HTTP/1.1\r\nHost: x\r\nUser-Agent: y\r\nAccept: */*\r\n\r\n";
    let (service, mut script) = (service(), Quick { out: Vec::with_capacity(4096) });
    let mut best = f64::MAX;
    for _ in 0..20 {
        let rounds = 200_000;
        let begin = std::time::Instant::now();
        for _ in 0..rounds {
            script.out.clear();
            let step = service.answer(std::hint::black_box(input), &mut script);
            assert_eq!(std::hint::black_box(step), Step::Next { consumed: input.len() });
        }
        best = best.min(begin.elapsed().as_nanos() as f64 / f64::from(rounds));
    }
    println!("parse, route, respond: {best:.0} ns");
}

/// A turn that costs nothing.
struct Quick {
    out: Vec<u8>,
}

impl Exchange for Quick {
    fn out(&mut self) -> &mut Vec<u8> {
        &mut self.out
    }

    fn call<R>(
        &mut self,
        _route: &Arc<Route>,
        code: impl FnOnce(&mut Vec<u8>) -> R,
    ) -> Result<R, CallError> {
        Ok(code(&mut self.out))
    }

    fn draining(&self) -> bool {
        false
    }

    fn seen(&self) -> usize {
        0
    }

    fn peer_addr(&self) -> Option<SocketAddr> {
        None
    }
}
