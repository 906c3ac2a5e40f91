//! What is a whole message, and what becomes of those that are none.

use super::*;
use crate::ChunkLimits;

#[test]
fn a_body_is_waited_for_and_upgraded() {
    let head = "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\n";
    let want = head.len() + 5;
    let receive = Step::Receive { head_len: head.len() };
    assert_eq!(step(head), (receive.clone(), String::new()));
    assert_eq!(step(format!("{head}hell")), (receive, String::new()));
    let (step, response) = step(format!("{head}helloGET"));
    assert_eq!(step, Step::Next { consumed: want });
    assert!(response.ends_with("content-length: 5\r\n\r\nhello"));
}

#[test]
fn only_streamed_routes_read_what_comes() {
    let len = |request: &Request<'_>| request.bytes().map(|body| body.len().to_string());
    let service = Router::new()
        .post("/whole", len)
        .route("/streamed", crate::post(len).streamed())
        .build()
        .expect("good routes");
    let step_at = |path: &str, waiting: Waiting| {
        let head = format!("POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n");
        let arriving = VecDeque::from(vec![b'x'; 90]);
        let (offload, waiting) = (waiting == Waiting::Elsewhere, Some(waiting));
        let mut script = Script { arriving, waiting, offload, ..Script::default() };
        let step = service.answer(format!("{head}0123456789").as_bytes(), &mut script);
        (head.len(), step, undated(&script.out))
    };
    for waiting in [Waiting::Here, Waiting::Elsewhere, Waiting::Nowhere] {
        let (head_len, step, _) = step_at("/whole", waiting);
        assert_eq!(step, Step::Receive { head_len }, "{waiting:?}");
    }
    let (head_len, step, _) = step_at("/streamed", Waiting::Nowhere);
    assert_eq!(step, Step::Receive { head_len });
    let (len, step, _) = step_at("/streamed", Waiting::Elsewhere);
    assert_eq!(step, Step::Offload { len });
    let (_, step, response) = step_at("/streamed", Waiting::Here);
    assert_eq!(step, Step::Streamed { rest: Vec::new() });
    assert!(response.ends_with("\r\n\r\n100"), "{response}");
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
fn rfc9112_7_1_chunked_bodies_are_decoded() {
    let head = "POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n";
    let input = format!("{head}3\r\nhel\r\n2;a=b\r\nlo\r\n0\r\nx: y\r\n\r\n");
    let (whole, response) = step(format!("{input}GET"));
    assert_eq!(whole, Step::Next { consumed: input.len() });
    assert!(response.ends_with("content-length: 5\r\n\r\nhello"), "{response}");
    let (cut, response) = step(&input[..input.len() - 1]);
    assert_eq!((cut, response), (Step::Receive { head_len: head.len() }, String::new()));
    for broken in ["x\r\n", "3\r\nhelp", "3\nhel", " 3\r\n", "3\r\nhel\r\n0\r\nhost: x\r\n\r\n"] {
        let (step, response) = step(format!("{head}{broken}"));
        assert_eq!((step, status_of(&response)), (Step::Close, "400"), "{broken:?}");
    }
    let (step, response) = step(format!("{head}65\r\n{}\r\n0\r\n\r\n", "x".repeat(101)));
    assert_eq!((step, status_of(&response)), (Step::Close, "413"));
}

#[test]
fn what_stands_around_chunks_is_bounded_by_settings() {
    let chunks = "3;ab=c\r\nhel\r\n2\r\nlo\r\n0\r\nx: y\r\n\r\n";
    let head = "POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n";
    // All of it at once, or received.
    for first in [chunks.len(), 4] {
        let status = |limits: ChunkLimits| {
            let settings = HttpSettings::default();
            let echo = |request: &Request<'_>| request.bytes().map(Vec::from);
            let router = Router::new().post("/echo", echo).settings(settings.chunk_limits(limits));
            let service = router.build().expect("a good route");
            let message = format!("{head}{chunks}");
            let (before, after) = message.as_bytes().split_at(head.len() + first);
            let (text, _) = super::pieces::feed_and_end(&service, [before, after]);
            status_of(&text).to_owned()
        };
        assert_eq!(status(ChunkLimits::default()), "200", "{first}");
        assert_eq!(status(ChunkLimits::default().extension_len_max(4)), "400", "{first}");
        assert_eq!(status(ChunkLimits::default().extensions_len_max(4)), "400", "{first}");
        assert_eq!(status(ChunkLimits::default().trailers_max(0)), "431", "{first}");
        assert_eq!(status(ChunkLimits::default().trailers_len_max(4)), "431", "{first}");
    }
}

#[test]
fn rfc9110_10_1_1_continue_is_sent_once_and_only_when_waited_for() {
    let head =
        "POST /echo HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n";
    let invites = |input: &str| {
        let mut script = Script::default();
        let step = service().answer(input.as_bytes(), &mut script);
        assert_eq!((step, script.out.len()), (Step::Receive { head_len: head.len() }, 0));
        script.receive.take().expect("a decoder").into_parts().1
    };
    assert_eq!(invites(head), Some(&b"HTTP/1.1 100 Continue\r\n\r\n"[..]));
    // The client did not wait.
    assert_eq!(invites(&format!("{head}he")), None);
    assert_eq!(status_of(&step(format!("{head}hello")).1), "200");
    // A final answer instead (413 without a body read).
    let large = head.replace("Length: 5", "Length: 500");
    assert_eq!(status_of(&step(large).1), "413");
}

#[test]
fn a_partial_head_waits() {
    let partial = Step::Partial { phase: Phase::Head, want: 0 };
    for input in ["G", "GET / HTTP/1.1\r\nHost:", "GET / HTTP/1.1\r\nHost: x\r\n\r", "\r\n"] {
        assert_eq!(step(input), (partial.clone(), String::new()), "{input:?}");
        let script = Script { seen: input.len() - 1, ..Script::default() };
        assert_eq!(step_with(script, input), (partial.clone(), String::new()), "{input:?}");
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
