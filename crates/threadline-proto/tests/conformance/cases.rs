//! Runs every case in every manner that bytes can come, and expects the same of each.

use std::path::Path;

use threadline_proto::request::{self, HeadWatch, HeaderSlots, Limits, Parsed};

use crate::connection::Connection;
use crate::loader::{self, Case, Ending, Message, Outcome};

/// A request that could follow any other.
const NEXT: &[u8] = b"GET /next?of HTTP/1.1\r\nHost: next\r\n\r\n";

fn cases() -> Vec<Case> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/conformance");
    loader::load(&folder).unwrap_or_else(|error| panic!("{error}"))
}

/// What the server makes of the case when `NEXT` comes right behind it; `None` where that would be a
/// part of the case's last request.
fn expected_with_next(case: &Case) -> Option<Outcome> {
    let mut expected = case.expected.clone();
    match expected.ending {
        Ending::Wait => return None,
        Ending::Close | Ending::Reject(_) => {}
        Ending::Next => {
            let [method, target, version] =
                ["GET", "/next?of", "HTTP/1.1"].map(|text| text.to_owned());
            let keep_alive = true;
            let next = Message { method, target, version, keep_alive, ..Message::default() };
            expected.messages.push(next);
        }
    }
    Some(expected)
}

/// Whether the pieces come to what is expected; what they come to, if not.
fn check<'p>(
    case: &Case,
    manner: &str,
    pieces: impl IntoIterator<Item = &'p [u8]>,
    expected: &Outcome,
) -> Result<(), String> {
    let found = Connection::outcome(pieces);
    if found == *expected {
        return Ok(());
    }
    let Case { place, name, clause, .. } = case;
    Err(format!(
        "{place}: {name} ({clause}), {manner}:\n  expected {expected:?}\n  found    {found:?}\n"
    ))
}

/// Whole, byte by byte, and in two pieces cut at every place. The few cases of many kilobytes come in
/// pieces of some bytes, and are cut at fewer places.
fn check_all(case: &Case, input: &[u8], expected: &Outcome) -> Result<(), String> {
    check(case, "whole", [input], expected)?;
    check(case, "byte by byte", input.chunks(1 + input.len() / 6_000), expected)?;
    for at in (1..input.len()).step_by(input.len().pow(2) / 500_000 + 1) {
        let (left, right) = input.split_at(at);
        check(case, &format!("cut at {at}"), [left, right], expected)?;
    }
    Ok(())
}

/// All that is wrong at once, so that one look tells a slip in a case from a fault in the parser.
#[track_caller]
fn none_wrong(verdicts: impl Iterator<Item = Result<(), String>>) {
    let wrong: Vec<_> = verdicts.filter_map(Result::err).collect();
    assert!(wrong.is_empty(), "{} cases:\n{}", wrong.len(), wrong.concat());
}

#[test]
fn every_case_gets_its_verdict_however_its_bytes_come() {
    none_wrong(cases().iter().map(|case| check_all(case, &case.input, &case.expected)));
}

#[test]
fn a_request_behind_a_case_is_answered_or_never_looked_at() {
    none_wrong(cases().iter().map(|case| match expected_with_next(case) {
        Some(expected) => check_all(case, &[&case.input, NEXT].concat(), &expected),
        None => Ok(()),
    }));
}

/// A head is refused with the byte that breaks it, and not when its line or its deadline has come.
#[test]
fn a_head_is_refused_at_its_first_wrong_byte() {
    for Case { place, input, .. } in cases() {
        let parse = |end: usize| {
            let mut slots = HeaderSlots::new();
            match request::parse(&input[..end], &mut slots, &Limits::default()) {
                Ok(Parsed::Partial) => None,
                Ok(Parsed::Head(_)) => Some(Ok(end)),
                Err(error) => Some(Err((end, error))),
            }
        };
        let mut watch = HeadWatch::new();
        // Of what never ends, the beginning.
        for end in 1..=input.len().min(600) {
            let is_due = watch.is_due(&input[..end], &Limits::default());
            match parse(end) {
                None => {}
                Some(verdict) => {
                    assert!(is_due || end == 1, "{place}: {verdict:?} is missed");
                    break;
                }
            }
        }
    }
}

#[test]
fn there_are_enough_cases_of_both_kinds() {
    let cases = cases();
    let is_valid = |case: &&Case| matches!(case.expected.ending, Ending::Next | Ending::Close);
    let valid = cases.iter().filter(is_valid).count();
    assert!(cases.len() >= 300, "only {} cases", cases.len());
    assert!(valid * 3 >= cases.len(), "only {valid} of {} are valid", cases.len());
    assert!(cases.iter().all(|case| case.clause.starts_with("RFC ")), "a clause without its RFC");
}

#[test]
fn a_malformed_file_is_refused_by_name_and_line() {
    let whole = "case: a\nclause: RFC 1\nsend: x\nreject: 400\n";
    assert_eq!(loader::parse("f", whole).expect("well-formed").len(), 1);
    for (text, error) in [
        ("case: a\nsend: x\nreject: 400\n", "f: the last case: a case needs its clause"),
        ("case: a\nclause: RFC 1\nsend: x\n\n", "f:4: a case ends with"),
        ("case: a\nclause: RFC 1\nthen: wait\n\n", "f:4: a case sends something"),
        ("case: a\nclause: RFC 1\nsend: x\nthen: next\n", "f: the last case: `next` and `close`"),
        ("\n# ok\nsned: x\n", "f:3: `sned` is not known"),
        ("case: a\ncase: b\n", "f:2: `case` is not known, not here, or twice"),
        ("send x\n", "f:1: `send x` is not of the form"),
        ("send: x \n", "f:1: no value, or space around it"),
        ("send: \\q\n", "f:1: an escape is one of"),
        ("send: \\x4\n", "f:1: an escape is one of"),
        ("send: \u{e4}\n", "f:1: 'ä' must be escaped"),
        ("send-times: x y\n", "f:1: `x` is no count"),
        ("body: x\n", "f:1: there is no `accept`"),
        ("accept: GET /\n", "f:1: an accepted request is"),
        ("reject: 200\n", "f:1: `200` is no status of an error"),
        ("then: stop\n", "f:1: `stop` is not one of"),
        ("then: wait\nsend: x\n", "f:2: `send` behind the end"),
        ("accept: GET / HTTP/1.1\nsend: x\n", "f:2: `send` is not known, not here"),
    ] {
        let found = loader::parse("f", text).expect_err(text);
        assert!(found.starts_with(error), "{text:?}: {found}");
    }
}
