//! The parser step by step, and bodies that arrive in pieces.

use std::io::{self, BufRead, Read};
use std::mem;
use std::sync::Mutex;

use super::*;
use crate::body::{BodyError, Incoming, Pieces, ReadBody};
use crate::middleware::testing::{PieceByPiece, Stack, request_with};
use crate::{IntoResponse, Next, Response, Status};

const DISPOSITION: &str = "Content-Disposition: form-data; name=";

/// What a parser says of a whole body, and whether it may end there.
fn steps(body: &str, limits: MultipartLimits) -> (Vec<String>, Result<(), ParseError>) {
    let boundary = Boundary::new("b").expect("a boundary");
    let mut parser = Parser::new(boundary, limits);
    let (mut said, mut rest) = (Vec::new(), body);
    loop {
        let consumed = match parser.advance(rest.as_bytes()) {
            Ok(Step::Head { fields, consumed }) => {
                said.push(format!("head {}", rest[fields].escape_debug()));
                consumed
            }
            Ok(Step::Content(range)) => {
                said.push(format!("content {}", rest[range.clone()].escape_debug()));
                range.end
            }
            Ok(Step::PartEnd { consumed }) => {
                said.push("end".to_owned());
                consumed
            }
            Ok(Step::Partial { consumed }) => {
                return (said, parser.end(&rest.as_bytes()[consumed..]));
            }
            Ok(Step::Done { consumed }) => return (said, parser.end(&rest.as_bytes()[consumed..])),
            Err(error) => {
                assert_eq!(parser.advance(b"--b--"), Err(error), "it has recovered");
                assert_eq!(parser.end(b""), Err(error), "it has recovered");
                return (said, Err(error));
            }
        };
        rest = &rest[consumed..];
    }
}

fn said(body: &str) -> Vec<String> {
    let (said, end) = steps(body, MultipartLimits::default());
    assert_eq!(end, Ok(()), "{body:?}");
    said
}

fn refused(body: &str) -> ParseError {
    steps(body, MultipartLimits::default()).1.expect_err(body)
}

#[test]
fn rfc2046_5_1_1_parts_stand_between_boundaries() {
    assert_eq!(
        said("--b\r\nA: 1\r\nB: 2\r\n\r\none\r\n--b\r\n\r\n\r\n--b--\r\n"),
        ["head A: 1\\r\\nB: 2\\r\\n", "content one", "end", "head ", "end"]
    );
    assert!(said("--b--").is_empty(), "a form without fields");
}

#[test]
fn rfc2046_5_1_1_preamble_padding_and_epilogue_are_skipped() {
    let part = ["head ", "content x", "end"];
    for body in [
        "--b\r\n\r\nx\r\n--b--",
        "--b\r\n\r\nx\r\n--b--\r\n",
        "--b \t \r\n\r\nx\r\n--b-- \t\r\n--b\r\nan epilogue\r\n",
        "\r\n--b\r\n\r\nx\r\n--b--",
        "a preamble\r\n-- b\r\n--b\r\n\r\nx\r\n--b--",
        "x--b\r\n--b\r\n\r\nx\r\n--b--",
    ] {
        assert_eq!(said(body), part, "{body:?}");
    }
}

#[test]
fn what_only_looks_like_a_boundary_is_content() {
    for content in ["--b", "\n--b", "\r--b", "\r\n-b", "\r\n--a", "\r\r\n", "-", "\r\n", "\r\n--"] {
        let body = format!("--b\r\n\r\nx{content}\r\n--b--");
        let found = said(&body).join("").replace("content ", "");
        assert_eq!(found, format!("head x{}end", content.escape_debug()));
    }
}

#[test]
fn rfc2046_5_1_1_a_part_without_content_may_end_with_its_header() {
    assert_eq!(said("--b\r\nA: 1\r\n\r\n--b--"), ["head A: 1\\r\\n", "end"]);
    assert_eq!(said("--b\r\nA: 1\r\n\r\n\r\n--b--"), ["head A: 1\\r\\n", "end"]);
}

#[test]
fn a_boundary_with_something_behind_it_is_refused() {
    for body in [
        "--bx\r\n",
        "--b-\r\n",
        "--b -",
        "--b --\r\n",
        "--b\n\r\n",
        "--b\rx",
        "--b--x",
        "--b---",
        "--b--\n",
        "--b\r\n\r\nx\r\n--bb\r\n",
    ] {
        assert_eq!(refused(body), ParseError::Delimiter, "{body:?}");
    }
}

#[test]
fn a_body_ends_with_its_final_boundary() {
    let body = "a preamble\r\n--b \r\nA: 1\r\n\r\nx\r\n--b\r\n\r\n\r\n--b--";
    for len in 0..body.len() {
        assert_eq!(refused(&body[..len]), ParseError::Unfinished, "{:?}", &body[..len]);
    }
    assert_eq!(refused("--b--\r"), ParseError::Unfinished);
    assert_eq!(refused("--b\r\nA: 1\n\nx\n--b--"), ParseError::Unfinished, "bare LF");
}

#[test]
fn every_limit_of_the_syntax_lets_through_what_it_says_and_no_more() {
    let limits = MultipartLimits::default();
    let verdict = |body: &str, limits| steps(body, limits).1;

    let body = "--b\r\n\r\nx\r\n--b\r\n\r\ny\r\n--b--";
    assert_eq!(verdict(body, limits.parts_max(2)), Ok(()));
    assert_eq!(verdict(body, limits.parts_max(1)), Err(ParseError::TooManyParts));
    let (said, _) = steps(body, limits.parts_max(1));
    assert_eq!(said, ["head ", "content x", "end"], "what came before is not lost");

    let body = "--b\r\nA: 1\r\n\r\nx\r\n--b--";
    assert_eq!(verdict(body, limits.headers_len_max(8)), Ok(()));
    assert_eq!(verdict(body, limits.headers_len_max(7)), Err(ParseError::HeadersTooLarge));
    assert_eq!(verdict("--b\r\nA: 1", limits.headers_len_max(4)), {
        Err(ParseError::HeadersTooLarge)
    });

    let body = "12345\r\n--b--";
    assert_eq!(verdict(body, limits.preamble_len_max(5)), Ok(()));
    assert_eq!(verdict(body, limits.preamble_len_max(4)), Err(ParseError::PreambleTooLarge));
    assert_eq!(verdict("12345", limits.preamble_len_max(4)), Err(ParseError::PreambleTooLarge));

    let body = "--b\r\n\r\n12345\r\n--b\r\n\r\n12345\r\n--b--";
    assert_eq!(verdict(body, limits.part_len_max(5)), Ok(()));
    let (said, end) = steps(body, limits.part_len_max(4));
    assert_eq!((said.concat(), end), {
        ("head content 1234".to_owned(), Err(ParseError::PartTooLarge))
    });
}

/// Sends a body in pieces to a handler.
fn post<R: IntoResponse>(pieces: &[&[u8]], handler: impl Fn(&Request<'_>) -> R + Sync) -> Response {
    let stack = Stack::of(|request: &Request<'_>, next: Next<'_>| next.run(request));
    let fields = "Content-Type: multipart/form-data; boundary=b\r\n";
    let request = request_with("POST /", fields, b"");
    stack.run_arriving(&request, &PieceByPiece::new(pieces.iter().copied()), handler)
}

fn text_of(response: Response) -> (Status, String) {
    let status = response.status();
    let body = response.into_body().into_bytes().expect("bytes");
    (status, String::from_utf8(body).expect("UTF-8"))
}

fn list(request: &Request<'_>) -> Result<String, MultipartError> {
    let (mut parts, mut list) = (Multipart::of(request)?, String::new());
    while let Some(part) = parts.next_part()? {
        list.push_str(part.name());
        list.push_str(&format!("={};", part.text()?));
    }
    Ok(list)
}

#[test]
fn a_body_may_arrive_in_any_pieces() {
    let body = format!(
        "--b\r\n{DISPOSITION}one\r\n\r\n1\r\n-\r\n--b\r\n{DISPOSITION}\"two\"\r\n\r\n\r\n--b--\r\nbye"
    );
    for len in 1..body.len() {
        let pieces: Vec<_> = body.as_bytes().chunks(len).collect();
        assert_eq!(text_of(post(&pieces, list)), (Status::OK, "one=1\r\n-;two=;".to_owned()));
    }
}

#[test]
fn the_body_is_read_to_its_end_behind_the_last_part() {
    let fields = "Content-Type: multipart/form-data; boundary=b\r\n";
    let request = request_with("POST /", fields, b"");
    let pieces = PieceByPiece::new([&b"--b--\r\n"[..], b"an epi", b"logue"]);
    let response = Stack::default().run_arriving(&request, &pieces, list);
    assert_eq!((response.status(), pieces.fetched()), (Status::OK, 3));
}

/// A body that has a start, and then never ends.
struct Endless<'s> {
    start: Mutex<&'s [u8]>,
}

impl ReadBody for Endless<'_> {
    fn open(&self) -> Result<Box<dyn Pieces + '_>, BodyError> {
        Ok(Box::new(self))
    }
}

impl Pieces for &Endless<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize, BodyError> {
        buffer.fill(b'x');
        let start = mem::take(&mut *self.start.lock().expect("not poisoned"));
        buffer[..start.len()].copy_from_slice(start);
        Ok(buffer.len())
    }
}

#[test]
fn the_buffer_grows_no_further_than_a_head_may() {
    let limits = MultipartLimits::default()
        .headers_len_max(100_000)
        .part_len_max(10_000_000)
        .preamble_len_max(10_000_000);
    for start in ["", "--b\r\n", "--b\r\n\r\n"] {
        let body = Endless { start: Mutex::new(start.as_bytes()) };
        let boundary = Boundary::new("b").expect("a boundary");
        let mut stream = Stream::new(boundary, Incoming::Arriving(&body), limits);
        while let Ok(true) = stream.next_part() {}
        assert!(stream.buffer_len() <= 2 * 100_000, "{start:?}: {}", stream.buffer_len());
    }
}

#[test]
fn a_body_that_breaks_off_is_no_end_of_a_part() {
    let body = format!("--b\r\n{DISPOSITION}a\r\n\r\nxy");
    let response = post(&[body.as_bytes()], |request: &Request<'_>| {
        let mut parts = Multipart::of(request)?;
        let mut part = parts.next_part()?.expect("a part");
        assert_eq!(part.fill_buf().expect("content"), b"xy");
        part.consume(2);
        let error = part.read(&mut [0; 10]).expect_err("it breaks off");
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
        assert!(part.read(&mut [0; 10]).is_err(), "it has recovered");
        assert!(part.bytes().is_err(), "it has recovered");
        parts.next_part().map(|_| "")
    });
    let (status, text) = text_of(response);
    assert_eq!(status, Status::BAD_REQUEST);
    assert!(text.contains("before its final boundary"), "{text}");
}

#[test]
fn a_body_that_has_been_touched_is_not_multipart_any_more() {
    let response = post(&[b"--b--"], |request: &Request<'_>| {
        assert_eq!(request.reader().read(&mut [0]).expect("a byte"), 1);
        list(request)
    });
    assert_eq!(response.status(), Status::INTERNAL_SERVER_ERROR);
}
