//! Rules of RFC 9110 and RFC 9112 about a whole head, one test each, through the public parser.
//!
//! What concerns a single field or the target alone is tested beside the code.

use threadline_proto::request::{self, Body, HeaderSlots, Limits, ParseError, Parsed, Version};
use threadline_proto::{Method, response::Status};

#[derive(Debug, PartialEq)]
struct Summary {
    method: String,
    path: String,
    body: Body,
    keep_alive: bool,
    len: usize,
}

fn parse_within(input: &[u8], limits: &Limits) -> Result<Option<Summary>, ParseError> {
    let mut slots = HeaderSlots::new();
    request::parse(input, &mut slots, limits).map(|parsed| match parsed {
        Parsed::Partial => None,
        Parsed::Head(head) => Some(Summary {
            method: head.method.to_string(),
            path: head.target.path().to_owned(),
            body: head.body,
            keep_alive: head.keep_alive,
            len: head.len,
        }),
    })
}

fn parse(input: impl AsRef<[u8]>) -> Result<Option<Summary>, ParseError> {
    parse_within(input.as_ref(), &Limits::default())
}

/// A GET with these fields behind its Host.
fn fields(fields: &str) -> Result<Summary, ParseError> {
    parse(format!("GET / HTTP/1.1\r\nHost: x\r\n{fields}\r\n"))
        .map(|summary| summary.expect("a whole head"))
}

fn all_refused(inputs: &[&str], error: ParseError) {
    for input in inputs {
        assert_eq!(parse(input), Err(error), "{input:?}");
    }
}

#[test]
fn rfc9112_3_a_small_request() {
    let head = "GET / HTTP/1.1\r\nHost: x\r\n\r\n";
    let summary = parse(format!("{head}and more")).expect("valid").expect("whole");
    assert_eq!((summary.method.as_str(), summary.path.as_str()), ("GET", "/"));
    assert_eq!((summary.body, summary.len, summary.keep_alive), (Body::Empty, head.len(), true));
}

#[test]
fn rfc9112_2_2_one_blank_line_before_the_request_line_is_skipped() {
    let head = "\r\nGET / HTTP/1.1\r\nHost: x\r\n\r\n";
    assert_eq!(parse(head).expect("valid").expect("whole").len, head.len());
    assert_eq!(parse("\r"), Ok(None));
    assert_eq!(parse("\r\n"), Ok(None));
    all_refused(&["\r\n\r\n", "\r\n\n", "\r\n\r"], ParseError::BlankLines);
    all_refused(&["\n", "\rG", "\nGET / HTTP/1.1\r\n"], ParseError::LineEnd);
}

#[test]
fn rfc9112_2_2_a_bare_lf_ends_no_line() {
    all_refused(
        &[
            "GET / HTTP/1.1\nHost: x\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: x\n\r\n",
            "GET / HTTP/1.1\r\nHost: x\r\n\n",
            "GET / HTTP/1.1\r\nHost: x\n\n",
            "GET / HTTP/1.1\r\nA: b\nHost: x\r\n\r\n",
            "GET / HTTP/1.1\r\nA:\nHost: x\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: x\r\nA: b \n\r\n",
            "GET / HTTP/1.0\n\n",
            "GET / HTTP/1.0\r\n\n",
            "GET / HTTP/1.0\n\r\n",
        ],
        ParseError::LineEnd,
    );
}

#[test]
fn rfc9112_2_2_a_bare_cr_is_refused() {
    all_refused(
        &["GET / HTTP/1.1\rHost: x\r\n\r\n", "GET / HTTP/1.1\r\r\nHost: x\r\n\r\n"],
        ParseError::LineEnd,
    );
    all_refused(
        &[
            "GET / HTTP/1.1\r\nHost: x\r\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: x\r\nA: b\rc\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: x\r\nA:\rb\r\n\r\n",
        ],
        ParseError::HeaderValue,
    );
}

#[test]
fn rfc9112_3_1_the_method_is_a_token() {
    all_refused(
        &[" GET / HTTP/1.1\r\n", "G(T / HTTP/1.1\r\n", "\x16\x03\x01\x02", "GET\t/ HTTP/1.1\r\n"],
        ParseError::Method,
    );
    assert_eq!(
        parse("get / HTTP/1.1\r\nHost: x\r\n\r\n").expect("valid").expect("whole").method,
        Method::Extension("get").as_str()
    );
}

#[test]
fn rfc9112_3_2_the_target_is_one_word_of_the_right_form() {
    all_refused(
        &[
            "GET  / HTTP/1.1\r\nHost: x\r\n\r\n",
            "GET /\t HTTP/1.1\r\nHost: x\r\n\r\n",
            "GET /\0 HTTP/1.1\r\nHost: x\r\n\r\n",
            "GET /\x7f HTTP/1.1\r\nHost: x\r\n\r\n",
            "GET /ä HTTP/1.1\r\nHost: x\r\n\r\n",
            "GET /#a HTTP/1.1\r\nHost: x\r\n\r\n",
            "GET a HTTP/1.1\r\nHost: x\r\n\r\n",
            "GET * HTTP/1.1\r\nHost: x\r\n\r\n",
            "GET x:80 HTTP/1.1\r\nHost: x\r\n\r\n",
            "CONNECT / HTTP/1.1\r\nHost: x\r\n\r\n",
            "GET /\r\nHost: x\r\n\r\n",
            "GET /\r\n",
        ],
        ParseError::Target,
    );
    all_refused(&["GET /a b HTTP/1.1\r\nHost: x\r\n\r\n"], ParseError::Version);
    assert!(parse("OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n").is_ok());
    assert!(parse("CONNECT x:1 HTTP/1.1\r\nHost: x:1\r\n\r\n").is_ok());
}

#[test]
fn rfc9112_2_3_other_versions() {
    for version in ["HTTP/1.2", "HTTP/2.0", "HTTP/0.9", "HTTP/9.9"] {
        let input = format!("GET / {version}\r\nHost: x\r\n\r\n");
        all_refused(&[&input], ParseError::VersionUnsupported);
    }
    for version in ["http/1.1", "HTTP/11.1", "HTTP/1,1", "HTTP/1", "HTTQ/1.1", " HTTP/1.1"] {
        let input = format!("GET / {version}\r\nHost: x\r\n\r\n");
        all_refused(&[&input], ParseError::Version);
    }
    for version in ["HTTP/1.11", "HTTP/1.1 ", "HTTP/1.1\t"] {
        let input = format!("GET / {version}\r\nHost: x\r\n\r\n");
        all_refused(&[&input], ParseError::LineEnd);
    }
    all_refused(&["PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"], ParseError::VersionUnsupported);
    assert_eq!(ParseError::VersionUnsupported.status(), Status::HTTP_VERSION_NOT_SUPPORTED);
}

#[test]
fn rfc9112_5_1_field_names() {
    for line in
        ["A : b", " A: b", "\tA: b", ": b", "A\r\n", "A", "A(: b", "Ä: b", "A\0: b", "A b: c"]
    {
        let input = format!("GET / HTTP/1.1\r\nHost: x\r\n{line}\r\n\r\n");
        all_refused(&[&input], ParseError::HeaderName);
        let input = format!("GET / HTTP/1.1\r\n{line}\r\nHost: x\r\n\r\n");
        all_refused(&[&input], ParseError::HeaderName);
    }
}

#[test]
fn rfc9112_5_2_obsolete_folding_is_refused() {
    for line in ["A: b\r\n c: d", "A: b\r\n\tc", "A:\r\n b", "A: b\r\n \r\nc: d"] {
        let input = format!("GET / HTTP/1.1\r\nHost: x\r\n{line}\r\n\r\n");
        all_refused(&[&input], ParseError::HeaderName);
    }
}

#[test]
fn rfc9110_5_5_control_characters_in_values() {
    for byte in (0..=0x1f).chain([0x7f]).filter(|byte| !b"\t\r\n".contains(byte)) {
        for value in [[b'a', byte, b'b'], [byte, b'a', b'b'], [b'a', b'b', byte]] {
            let mut input = b"GET / HTTP/1.1\r\nHost: x\r\nA: ".to_vec();
            input.extend(value);
            input.extend(b"\r\n\r\n");
            assert_eq!(parse(&input), Err(ParseError::HeaderValue), "{byte:#x}");
        }
    }
    assert!(fields("A: b\tc\r\nB: ä\r\nC:\r\nD: \t e \t \r\n").is_ok());
}

#[test]
fn rfc9112_3_2_host() {
    all_refused(
        &["GET / HTTP/1.1\r\n\r\n", "GET / HTTP/1.1\r\nA: b\r\n\r\n"],
        ParseError::HostMissing,
    );
    assert!(parse("GET / HTTP/1.0\r\n\r\n").is_ok());
    assert_eq!(fields("host: x\r\n"), Err(ParseError::HostDuplicate));
    for host in ["a,b", "u@h", "a/b", "", "a b", "h:x"] {
        let input = format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n");
        all_refused(&[&input], ParseError::HostInvalid);
    }
}

#[test]
fn rfc9112_3_2_2_an_absolute_target_and_host_agree() {
    let with = |target: &str, host: &str| {
        parse(format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n"))
            .map(|summary| summary.expect("whole").path)
    };
    assert_eq!(with("http://Example.org/a", "example.ORG:80").as_deref(), Ok("/a"));
    assert_eq!(with("http://a/", "b"), Err(ParseError::HostMismatch));
    assert_eq!(with("http://a:81/", "a"), Err(ParseError::HostMismatch));
    all_refused(&["CONNECT a:1 HTTP/1.1\r\nHost: b:1\r\n\r\n"], ParseError::HostMismatch);
}

#[test]
fn rfc9112_6_framing() {
    assert_eq!(fields("Content-Length: 5\r\n").map(|head| head.body), Ok(Body::Length(5)));
    assert_eq!(fields("content-length:5 \r\n").map(|head| head.body), Ok(Body::Length(5)));
    assert_eq!(fields("Transfer-Encoding: chunked\r\n").map(|head| head.body), Ok(Body::Chunked));
    assert_eq!(fields("Content-Length: +5\r\n"), Err(ParseError::ContentLength));
    assert_eq!(
        fields("Content-Length: 5\r\nContent-Length: 5\r\n"),
        Err(ParseError::ContentLengthDuplicate)
    );
    for both in [
        "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
        "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
    ] {
        assert_eq!(fields(both), Err(ParseError::FramedTwice));
    }
    assert_eq!(fields("Transfer-Encoding : chunked\r\n"), Err(ParseError::HeaderName));
    assert_eq!(fields("Transfer-Encoding: xchunked\r\n"), Err(ParseError::TransferEncoding));
    all_refused(
        &["POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n"],
        ParseError::TransferEncodingIn10,
    );
}

#[test]
fn rfc9112_9_3_persistence() {
    assert_eq!(fields("").map(|head| head.keep_alive), Ok(true));
    for value in ["close", "Close", "a, close", "keep-alive, close", "close, keep-alive"] {
        let line = format!("Connection: {value}\r\n");
        assert_eq!(fields(&line).map(|head| head.keep_alive), Ok(false), "{value}");
    }
    let split = "Connection: keep-alive\r\nConnection: close\r\n";
    assert_eq!(fields(split).map(|head| head.keep_alive), Ok(false));
    for (value, keeps) in
        [("keep-alive", true), ("Keep-Alive", true), ("close", false), ("x", false)]
    {
        let input = format!("GET / HTTP/1.0\r\nConnection: {value}\r\n\r\n");
        assert_eq!(parse(input).expect("valid").expect("whole").keep_alive, keeps, "{value}");
    }
    let old = parse("GET / HTTP/1.0\r\n\r\n").expect("valid").expect("whole");
    assert!(!old.keep_alive);
}

#[test]
fn rfc9110_10_1_1_expectations() {
    let expects = |input: &str| {
        let mut slots = HeaderSlots::new();
        match request::parse(input.as_bytes(), &mut slots, &Limits::default()) {
            Ok(Parsed::Head(head)) => Ok((head.expects_continue, head.version)),
            Ok(Parsed::Partial) => panic!("whole"),
            Err(error) => Err(error),
        }
    };
    assert_eq!(
        expects("POST / HTTP/1.1\r\nHost: x\r\nExpect: 100-Continue\r\n\r\n"),
        Ok((true, Version::Http11))
    );
    assert_eq!(
        expects("POST / HTTP/1.0\r\nExpect: 100-continue\r\n\r\n"),
        Ok((false, Version::Http10))
    );
    let odd = "POST / HTTP/1.1\r\nHost: x\r\nExpect: tea\r\n\r\n";
    assert_eq!(expects(odd), Err(ParseError::Expectation));
    assert_eq!(ParseError::Expectation.status(), Status::EXPECTATION_FAILED);
}

#[test]
fn limits_are_exact_and_each_has_its_status() {
    let limits = Limits::default().head_len_max(200).headers_max(3).target_len_max(50);
    let with = |path: usize, fields: &[usize]| {
        let mut input = format!("GET /{} HTTP/1.1\r\nHost: x\r\n", "a".repeat(path - 1));
        fields.iter().for_each(|len| input += &format!("A: {}\r\n", "b".repeat(len - 5)));
        input + "\r\n"
    };
    let verdict = |input: &str| parse_within(input.as_bytes(), &limits);

    assert!(verdict(&with(50, &[])).is_ok());
    assert_eq!(verdict(&with(51, &[])), Err(ParseError::TargetTooLong));
    assert!(verdict(&with(1, &[10, 10])).is_ok());
    assert_eq!(verdict(&with(1, &[10, 10, 10])), Err(ParseError::TooManyHeaders));
    let rest = with(1, &[]).len();
    assert_eq!(verdict(&with(1, &[200 - rest])).expect("valid").expect("whole").len, 200);
    assert_eq!(verdict(&with(1, &[201 - rest])), Err(ParseError::HeadTooLarge));

    assert_eq!(ParseError::TargetTooLong.status(), Status::URI_TOO_LONG);
    for error in [ParseError::TooManyHeaders, ParseError::HeadTooLarge] {
        assert_eq!(error.status(), Status::REQUEST_HEADER_FIELDS_TOO_LARGE);
    }
}

#[test]
fn bombs_are_refused_before_they_end() {
    let long = "a".repeat(100_000);
    all_refused(&[&long], ParseError::Method);
    all_refused(&[&format!("GET /{long}")], ParseError::TargetTooLong);
    all_refused(&[&format!("GET / HTTP/1.1\r\n{long}")], ParseError::HeadTooLarge);
    all_refused(&[&format!("GET / HTTP/1.1\r\nA: {long}")], ParseError::HeadTooLarge);
    let many = format!("GET / HTTP/1.1\r\n{}", "A: b\r\n".repeat(10_000));
    all_refused(&[&many], ParseError::TooManyHeaders);
}

#[test]
fn a_long_body_does_not_count_as_head() {
    let input = format!("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 99999\r\n\r\n{:60000}", "");
    assert!(matches!(parse(&input), Ok(Some(_))));
}

#[test]
fn rfc9110_7_8_an_upgrade_is_asked_for_by_two_fields_in_http_1_1() {
    let asked = |version: &str, fields: &str| {
        let input = format!("GET / HTTP/{version}\r\nHost: x\r\n{fields}\r\n");
        let mut slots = HeaderSlots::new();
        match request::parse(input.as_bytes(), &mut slots, &Limits::default()) {
            Ok(Parsed::Head(head)) => head.upgrades().map(str::to_owned).collect::<Vec<_>>(),
            other => panic!("{other:?}"),
        }
    };
    let fields = "Connection: keep-alive, Upgrade\r\nUpgrade: h2c, echo/1\r\nupgrade: chat\r\n";
    assert_eq!(asked("1.1", fields), ["h2c", "echo/1", "chat"]);
    // "A server MUST ignore an Upgrade header field that is received in an HTTP/1.0 request."
    assert!(asked("1.0", fields).is_empty());
    assert!(asked("1.1", "Upgrade: echo\r\n").is_empty(), "hop by hop, and meant for another hop");
    assert!(asked("1.1", "Connection: upgrade\r\n").is_empty());
    assert!(asked("1.1", "Connection: upgrade\r\nUpgrade: ,\r\n").is_empty());
    assert!(asked("1.1", "Connection: upgrade, close\r\nUpgrade: echo\r\n").is_empty());
}
