//! What the engine has the service say when it gives up on a client.

use super::*;

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

/// Adds a field to what it sees of requests, and to what is refused without them.
struct Marks;

impl crate::Middleware for Marks {
    fn handle(&self, request: &Request<'_>, next: crate::Next<'_>) -> Response {
        next.run(request).with_header("x-seen", "whole")
    }

    fn refused(&self, refused: &crate::Refused<'_>, response: &mut Response) {
        let path = refused.request().map(|request| request.path().to_owned());
        let kind = refused.error().kind().name();
        response.set_header("x-seen", format!("{kind} {}", path.unwrap_or_default()));
    }
}

struct PanicsWhenRefused;

impl crate::Middleware for PanicsWhenRefused {
    fn handle(&self, request: &Request<'_>, next: crate::Next<'_>) -> Response {
        next.run(request)
    }

    fn refused(&self, _: &crate::Refused<'_>, _: &mut Response) {
        panic!("as the test wants");
    }
}

fn layered() -> HttpService {
    let route = crate::post(|body: Vec<u8>| body).body_len_max(3).layer(Marks);
    let router = Router::new().route("/marked/{id}", route).get("/", || "front");
    router
        .layer(PanicsWhenRefused)
        .errors(|error| Response::text(error.kind().name()).with_header("x-form", "own"))
        .build()
        .expect("routes")
}

#[test]
fn layers_of_the_route_add_to_what_the_engine_refuses() {
    let service = layered();
    let refuse = |why, input: &str| {
        let mut out = Vec::new();
        let after = service.refuse(why, input.as_bytes(), &mut out);
        (after, undated(&out))
    };
    let whole = "POST /marked/%31 HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nab";
    let (after, text) = refuse(Refusal::Overloaded, whole);
    assert_eq!(after, AfterRefusal::Continue { consumed: whole.len() });
    assert!(text.contains("\r\nx-seen: overloaded /marked/1\r\n"), "{text}");
    assert!(text.contains("\r\nretry-after: 1\r\n") && text.ends_with("overloaded"), "{text}");
    let (after, text) = refuse(Refusal::TimedOut(Phase::Body), &whole[..whole.len() - 1]);
    assert_eq!((after, status_of(&text)), (AfterRefusal::Close, "408"));
    assert!(text.contains("\r\nx-seen: request-timed-out /marked/1\r\n"), "{text}");
    // Of other routes, and where the head is not whole.
    for input in
        ["GET / HTTP/1.1\r\nHost: x\r\n\r\n", "GET /nowhere HTTP/1.1\r\nHost: x\r\n\r\n", "GE"]
    {
        let (_, text) = refuse(Refusal::Overloaded, input);
        assert!(!text.contains("x-seen") && text.contains("\r\nx-form: own\r\n"), "{text}");
    }
}

#[test]
fn what_is_refused_by_its_body_goes_where_its_layers_may_block() {
    let service = layered();
    let input = b"POST /marked/1 HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nabcd";
    let mut script = Script { offload: true, ..Script::default() };
    assert!(matches!(service.answer(input, &mut script), Step::Offload { .. }));
    assert!(script.out.is_empty() && script.sent.is_empty());
    let mut script = Script::default();
    assert_eq!(service.answer(input, &mut script), Step::Close);
    let text = undated(&script.out);
    assert_eq!((status_of(&text), &*script.called), ("413", &["POST /marked/{id}".to_owned()][..]));
    assert!(text.contains("\r\nx-seen: whole\r\n") && text.ends_with("body-too-large"), "{text}");
}

#[test]
fn a_layer_that_panics_when_a_request_is_refused_costs_nothing() {
    let mut script = Script::default();
    assert_eq!(layered().answer(b"nonsense\r\n\r\n", &mut script), Step::Close);
    let text = undated(&script.out);
    assert_eq!(status_of(&text), "400");
    assert!(text.ends_with("malformed-request"), "{text}");
}

/// An unknown expectation does not cut the head short for the layers.
#[test]
fn rfc9110_10_1_1_a_417_waits_for_the_whole_head() {
    let service = layered();
    let input = b"POST /marked/1 HTTP/1.1\r\nExpect: tea\r\nHost: x\r\n\r\n";
    for cut in 38..input.len() {
        let mut script = Script::default();
        let step = service.answer(&input[..cut], &mut script);
        assert!(matches!(step, Step::Partial { .. }), "{cut}: {step:?}");
    }
    let mut script = Script::default();
    assert_eq!(service.answer(input, &mut script), Step::Close);
    let text = undated(&script.out);
    assert_eq!(status_of(&text), "417");
    assert!(text.contains("\r\nx-seen: whole\r\n"), "{text}");
}
