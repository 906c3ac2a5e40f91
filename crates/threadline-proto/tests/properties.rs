//! Properties of the parser over generated input: what we serialise parses back, cutting the input
//! anywhere changes nothing, no input panics, and a parser of another make reads the same.

use proptest::collection::vec;
use proptest::prelude::*;
use threadline_proto::request::{self, Body, HeadWatch, HeaderSlots, Limits, ParseError, Parsed};

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

/// The verdict on these bytes and how many they are, once there is one.
fn decided(input: &[u8], limits: &Limits) -> Option<(usize, Result<usize, ParseError>)> {
    let mut slots = HeaderSlots::new();
    match request::parse(input, &mut slots, limits) {
        Ok(Parsed::Partial) => None,
        Ok(Parsed::Head(head)) => Some((input.len(), Ok(head.len))),
        Err(error) => Some((input.len(), Err(error))),
    }
}

/// A head that arrives in pieces, as a service looks at it.
#[derive(Default)]
struct Arriving {
    watch: Option<HeadWatch>,
    parsed: usize,
    verdict: Option<(usize, Result<usize, ParseError>)>,
}

impl Arriving {
    /// Pieces that end at these places.
    fn all(wire: &[u8], limits: &Limits, ends: impl IntoIterator<Item = usize>) -> Arriving {
        let mut arriving = Arriving::default();
        for end in ends {
            arriving.look(&wire[..end], limits);
            if arriving.verdict.is_some() {
                break;
            }
        }
        arriving
    }

    fn look(&mut self, input: &[u8], limits: &Limits) {
        if self.watch.as_mut().is_some_and(|watch| !watch.is_due(input, limits)) {
            return;
        }
        self.parsed += 1;
        self.verdict = decided(input, limits);
        if self.watch.is_none() {
            let mut watch = HeadWatch::new();
            watch.is_due(input, limits);
            self.watch = Some(watch);
        }
    }
}

/// The default limits, or ones that are met.
fn limits() -> impl Strategy<Value = Limits> {
    let tight = (0_usize..120, 0_usize..5, 0_usize..12).prop_map(|(head, headers, target)| {
        Limits::default().head_len_max(head).headers_max(headers).target_len_max(target)
    });
    prop_oneof![2 => Just(Limits::default()), 1 => tight]
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

    /// Some bytes of a valid request replaced: most are refused, and in pieces for the same reason, at the
    /// first byte that breaks a rule.
    #[test]
    fn pieces_make_the_same_verdict_at_the_first_byte_that_decides(
        (_, mut wire) in request(),
        changes in vec((any::<prop::sample::Index>(), byte()), 0..3),
        behind in "[ -~\r\n]{0,20}",
        limits in limits(),
        pieces in vec(1_usize..40, 1..20),
    ) {
        for (at, byte) in changes {
            let at = at.index(wire.len());
            wire[at] = byte;
        }
        wire.extend(behind.bytes());
        let decided = (1..=wire.len()).find_map(|end| decided(&wire[..end], &limits));
        let byte_by_byte = Arriving::all(&wire, &limits, 1..=wire.len());
        prop_assert_eq!(&byte_by_byte.verdict, &decided);
        // Three times a line: when its version ends or it is one too many, and when it ends itself.
        let lines = wire.iter().filter(|byte| **byte == b'\n').count() + 1;
        let most = 3 * lines + 2;
        prop_assert!(byte_by_byte.parsed <= most, "parsed {} times", byte_by_byte.parsed);

        let mut at = 0;
        let ends = pieces.iter().cycle().map(|len| { at += len; at });
        let ends = ends.take_while(|end| *end < wire.len()).collect::<Vec<_>>();
        let in_pieces = Arriving::all(&wire, &limits, ends.into_iter().chain([wire.len()]));
        let verdict = in_pieces.verdict.map(|(_, verdict)| verdict);
        prop_assert_eq!(verdict, decided.map(|(_, verdict)| verdict));
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
