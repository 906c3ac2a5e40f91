//! Forms with files on any bytes: the parser whole and in pieces says the same, keeps no more than its
//! limits, and loses or invents no content; a service answers them with 204, 400 or 413, and a boundary
//! that is taken out of a `Content-Type` is one.
//!
//! The first byte of the input says how many of the next bytes are lengths of pieces; what follows is
//! the body, with the boundary `b`.

#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use threadline_http::Router;
use threadline_http::multipart::{
    Boundary, Multipart, MultipartError, MultipartLimits, ParseError, Parser, Step,
};
use threadline_http::testing::TestClient;

/// All that the parser says of a body.
#[derive(Debug, Default, PartialEq, Eq)]
struct Parsed {
    /// Field lines, content, and whether the end has been seen.
    parts: Vec<(Vec<u8>, Vec<u8>, bool)>,
    error: Option<ParseError>,
}

/// Small, so that they are reached.
fn limits() -> MultipartLimits {
    MultipartLimits::default()
        .parts_max(20)
        .headers_len_max(200)
        .preamble_len_max(50)
        .part_len_max(500)
}

/// Feeds pieces of these lengths, then all that is there.
fn parse(body: &[u8], lengths: &[u8]) -> Parsed {
    let mut parser = Parser::new(Boundary::new("b").expect("a boundary"), limits());
    let mut parsed = Parsed::default();
    let (mut at, mut arrived) = (0, 0);
    for length in lengths.iter().map(|length| usize::from(*length)).chain([body.len()]) {
        arrived = (arrived + length).min(body.len());
        loop {
            let input = &body[at..arrived];
            match parser.advance(input) {
                Ok(Step::Head { fields, consumed }) => {
                    assert!(fields.is_empty() || input[fields.clone()].ends_with(b"\r\n"));
                    parsed.parts.push((input[fields].to_vec(), Vec::new(), false));
                    at += consumed;
                }
                Ok(Step::Content(range)) => {
                    assert!(!range.is_empty());
                    let part = parsed.parts.last_mut().expect("content of a part");
                    part.1.extend_from_slice(&input[range.clone()]);
                    at += range.end;
                }
                Ok(Step::PartEnd { consumed }) => {
                    let part = parsed.parts.last_mut().expect("the end of a part");
                    assert!(!std::mem::replace(&mut part.2, true), "it has ended before");
                    at += consumed;
                }
                Ok(Step::Partial { consumed } | Step::Done { consumed }) => {
                    assert!(input.len() - consumed < limits().headers_len_max);
                    at += consumed;
                    break;
                }
                Err(error) => {
                    assert_eq!(parser.advance(b"--b--"), Err(error), "it has recovered");
                    parsed.error = Some(error);
                    return parsed;
                }
            }
        }
    }
    parsed.error = parser.end(&body[at..]).err();
    parsed
}

fn read_all(mut parts: Multipart<'_>) -> Result<(), MultipartError> {
    while let Some(part) = parts.next_part()? {
        let safe = part.safe_file_name().unwrap_or("x");
        assert!(!safe.is_empty() && !safe.starts_with('.') && !safe.contains(['/', '\\', '\0']));
        part.bytes()?;
    }
    Ok(())
}

static CLIENT: LazyLock<TestClient> =
    LazyLock::new(|| TestClient::new(Router::new().post("/", read_all)).expect("a good router"));

fuzz_target!(|input: &[u8]| {
    if let Some(boundary) =
        std::str::from_utf8(input).ok().and_then(|value| Boundary::from_content_type(value).ok())
    {
        assert_eq!(Boundary::new(boundary.as_str()).ok(), Some(boundary));
    }

    let Some((&count, rest)) = input.split_first() else { return };
    let Some((lengths, body)) = rest.split_at_checked(usize::from(count)) else { return };
    let whole = parse(body, &[]);
    assert_eq!(parse(body, lengths), whole, "cut differently");
    for (_, content, ended) in &whole.parts {
        assert!(!content.starts_with(b"--b"), "a boundary in the content");
        assert!(
            !content.windows(5).any(|window| window == b"\r\n--b"),
            "a boundary in the content"
        );
        assert!(*ended || whole.error.is_some());
    }

    let content_type = "multipart/form-data; boundary=b";
    let response = CLIENT.post("/").header("content-type", content_type).body(body).send();
    let code = response.status().code();
    assert!(matches!(code, 204 | 400 | 413), "{code}");
    assert!(code != 204 || whole.error != Some(ParseError::Unfinished));
});
