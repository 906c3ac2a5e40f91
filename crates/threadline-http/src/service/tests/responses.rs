//! How responses are framed, and when the connection ends behind them.

use super::*;

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
fn rfc9110_7_8_a_connection_is_upgraded_to_who_asks_for_the_protocol() {
    let service = Router::new()
        .get("/", || Response::upgrade("chat", |_| Ok(())))
        .build()
        .expect("a good route");
    let answer = |upgrade: &str, draining: bool| {
        let mut script = Script { draining, ..Script::default() };
        let fields = format!("Connection: upgrade\r\nUpgrade: {upgrade}\r\n");
        service
            .answer(format!("GET / HTTP/1.1\r\nHost: x\r\n{fields}\r\n").as_bytes(), &mut script);
        (status_of(&undated(&script.out)).to_owned(), script.upgraded)
    };
    assert_eq!(answer("CHAT", false), ("101".to_owned(), true));
    assert_eq!(answer("chat/2", false), ("426".to_owned(), false));
    assert_eq!(answer("chat", true), ("503".to_owned(), false));
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
