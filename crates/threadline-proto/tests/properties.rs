//! Properties of the parser over generated input: what we serialise parses back, cutting the input
//! anywhere changes nothing, no input panics, and a parser of another make reads the same.

use proptest::collection::vec;
use proptest::prelude::*;
use threadline_proto::request::{self, Body, HeaderSlots, Limits, ParseError, Parsed};

/// What a head says, without borrowing from it.
#[derive(Debug, Clone, PartialEq)]
struct Owned {
    method: String,
    path: String,
    query: Option<String>,
    headers: Vec<(String, Vec<u8>)>,
    body: Body,
    keep_alive: bool,
    len: usize,
}

fn parse(input: &[u8]) -> Result<Option<Owned>, ParseError> {
    let mut slots = HeaderSlots::new();
    let Parsed::Head(head) = request::parse(input, &mut slots, &Limits::default())? else {
        return Ok(None);
    };
    Ok(Some(Owned {
        method: head.method.to_string(),
        path: head.target.path().to_owned(),
        query: head.target.query().map(str::to_owned),
        headers: head
            .headers
            .iter()
            .map(|(name, value)| (name.to_owned(), value.to_vec()))
            .collect(),
        body: head.body,
        keep_alive: head.keep_alive,
        len: head.len,
    }))
}

prop_compose! {
    fn request()(
        method in "[A-Z]{1,8}".prop_filter("has its own target form", |name| name != "CONNECT"),
        path in "(/[a-zA-Z0-9%._~-]{0,8}){1,4}",
        query in proptest::option::of("[!-\"$-~]{0,12}"),
        fields in vec(("X-[a-zA-Z0-9!#$%&'*+.^_`|~-]{1,12}", "([!-~\u{80}-\u{ff}]([ -~]{0,20}[!-~])?)?"), 0..12),
        length in proptest::option::of(0_u64..1_000_000),
        close in any::<bool>(),
    ) -> (Owned, Vec<u8>) {
        let mut headers = vec![("Host".to_owned(), b"example.org".to_vec())];
        headers.extend(fields.into_iter().map(|(name, value)| (name, value.into_bytes())));
        headers.extend(length.map(|n| ("content-LENGTH".to_owned(), n.to_string().into_bytes())));
        if close {
            headers.push(("connection".to_owned(), b"close".to_vec()));
        }
        let mut wire = format!("{method} {path}").into_bytes();
        if let Some(query) = &query {
            wire.push(b'?');
            wire.extend(query.as_bytes());
        }
        wire.extend(b" HTTP/1.1\r\n");
        for (name, value) in &headers {
            wire.extend(name.as_bytes());
            wire.extend(b": ");
            wire.extend(value);
            wire.extend(b"\r\n");
        }
        wire.extend(b"\r\n");
        let body = length.filter(|n| *n > 0).map_or(Body::Empty, Body::Length);
        let len = wire.len();
        (Owned { method, path, query, headers, body, keep_alive: !close, len }, wire)
    }
}

/// Reads the input with `httparse` too. What we take for a head it must take for the same one; and what
/// is no word, no field name and no field value for us must be none for it.
fn has_a_second_opinion(input: &[u8]) -> Result<(), TestCaseError> {
    let ours = parse(input);
    let mut fields = [httparse::EMPTY_HEADER; HeaderSlots::COUNT];
    let mut theirs = httparse::Request::new(&mut fields);
    let len = theirs.parse(input);
    match ours {
        Ok(Some(ours)) => {
            prop_assert_eq!(len, Ok(httparse::Status::Complete(ours.len)));
            prop_assert_eq!(theirs.method, Some(&*ours.method));
            if theirs.path.is_some_and(|target| target.starts_with('/')) {
                let query = ours.query.map(|query| format!("?{query}")).unwrap_or_default();
                prop_assert_eq!(theirs.path, Some(&*(ours.path + &query)));
            }
            let fields: Vec<_> =
                theirs.headers.iter().map(|f| (f.name.to_owned(), f.value.to_vec())).collect();
            prop_assert_eq!(fields, ours.headers);
        }
        Err(
            ParseError::Method
            | ParseError::Version
            | ParseError::VersionUnsupported
            | ParseError::HeaderName
            | ParseError::HeaderValue,
        ) => prop_assert!(len.is_err(), "only we refuse it: {:?}", parse(input)),
        _ => {}
    }
    Ok(())
}

/// Bytes that mean something in a head, and any others.
fn byte() -> impl Strategy<Value = u8> {
    prop_oneof![any::<u8>(), prop::sample::select(b"\r\n\0 \t:,;/?#%-".to_vec())]
}

proptest! {
    #[test]
    fn another_parser_reads_the_same(
        (_, mut wire) in request(),
        changes in vec((any::<prop::sample::Index>(), byte()), 0..4),
    ) {
        for (at, byte) in changes {
            let at = at.index(wire.len());
            wire[at] = byte;
        }
        has_a_second_opinion(&wire)?;
    }

    #[test]
    fn what_is_serialised_parses_back((expected, wire) in request(), behind in vec(any::<u8>(), 0..40)) {
        let mut input = wire;
        input.extend(behind);
        prop_assert_eq!(parse(&input), Ok(Some(expected)));
    }

    #[test]
    fn every_prefix_of_a_valid_request_is_partial((_, wire) in request()) {
        for end in 1..wire.len() {
            prop_assert_eq!(parse(&wire[..end]), Ok(None), "cut at {}", end);
        }
    }

    /// One byte of a valid request replaced: most are refused, and none is cut off differently when
    /// it comes in pieces.
    #[test]
    fn pieces_make_the_same_verdict(
        (_, mut wire) in request(),
        at in any::<prop::sample::Index>(),
        byte in byte(),
    ) {
        let at = at.index(wire.len());
        wire[at] = byte;
        let whole = parse(&wire);
        let mut seen = 0;
        for end in 1..=wire.len() {
            if !request::worth_parsing(&wire[..end], seen, &Limits::default()) {
                seen = end;
                continue;
            }
            match parse(&wire[..end]) {
                Ok(None) => seen = end,
                verdict => {
                    prop_assert_eq!(&verdict, &whole, "cut at {}", end);
                    return Ok(());
                }
            }
        }
        // A fault behind the last line end is seen with the next one.
        prop_assert!(whole == Ok(None) || whole.is_err());
    }

    #[test]
    fn no_input_panics(input in vec(any::<u8>(), 0..300)) {
        let _ = parse(&input);
    }

    #[test]
    fn nothing_made_of_the_parts_of_requests_panics(parts in vec(prop::sample::select(vec![
        "GET", "CONNECT", "OPTIONS", " ", "/", "*", "http://", "x", ":", "80", "?", "#", "HTTP/1.1",
        "HTTP/1.0", "\r\n", "\r", "\n", "Host: x\r\n", "Content-Length:", "Transfer-Encoding:",
        "chunked", ",", "1", "99999999999999999999", "\t", "\0", "[", "]", "é", "Expect:", "@",
    ]), 0..20)) {
        let input = parts.concat();
        has_a_second_opinion(input.as_bytes())?;
        if let Ok(Some(head)) = parse(input.as_bytes()) {
            prop_assert!(head.len <= input.len());
            prop_assert!(input[..head.len].ends_with("\r\n\r\n"));
        }
    }
}
