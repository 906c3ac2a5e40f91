//! Which bytes a client asks for: the `Range` field (RFC 9110 §14.2), as pure text.
//!
//! Called once for each `GET` of a file that has the field. What it returns is always within the
//! representation, never overlaps, and is never more than the client may ask for: a header of a few
//! hundred bytes must not make the server send a file a hundred times.

use std::ops::Range;

/// What is to be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Selection {
    /// All of it: the field is malformed or of another unit, and so ignored.
    Whole,
    /// These parts, at least one, none of them empty.
    Parts(Vec<Range<u64>>),
    /// Nothing there is of that: 416.
    Unsatisfiable,
}

/// A gap between two parts that is no longer than this is sent rather than made a part's head of.
const GAP_MAX: u64 = 80;

/// Reads the field for a representation of `len` bytes.
///
/// More than `parts_max` ranges are refused as if there were nothing of them (RFC 9110 §14.2 lets us).
/// Ranges that overlap, touch or almost touch are joined; what was joined is sent in ascending order,
/// everything else in the order it was asked for (§15.3.7.2).
pub(super) fn select(field: &str, len: u64, parts_max: usize) -> Selection {
    let Some(set) = range_set(field) else { return Selection::Whole };
    let mut parts = Vec::new();
    let mut count = 0;
    for text in set.split(',').map(trim).filter(|text| !text.is_empty()) {
        count += 1;
        match Spec::parse(text) {
            None => return Selection::Whole,
            // What is not kept is still read: a malformed one makes the whole field so.
            Some(_) if count > parts_max => {}
            // A representation without bytes cannot be said in parts.
            Some(Spec::Last(1..)) if len == 0 => return Selection::Whole,
            Some(spec) => parts.extend(spec.within(len)),
        }
    }
    match count {
        0 => Selection::Whole,
        _ if count > parts_max || parts.is_empty() => Selection::Unsatisfiable,
        _ => Selection::Parts(joined(parts)),
    }
}

/// What stands behind `bytes=`. Names of units are compared in any case (§14.1).
fn range_set(field: &str) -> Option<&str> {
    let (unit, set) = field.split_once('=')?;
    unit.eq_ignore_ascii_case("bytes").then_some(set)
}

fn trim(text: &str) -> &str {
    text.trim_matches([' ', '\t'])
}

/// One range, as it is asked for (§14.1.1).
enum Spec {
    /// From the first to the last byte, both included.
    FromTo(u64, u64),
    /// The last bytes of the content, this many.
    Last(u64),
}

impl Spec {
    fn parse(text: &str) -> Option<Spec> {
        match text.split_once('-')? {
            ("", last) => Some(Spec::Last(number(last)?)),
            (first, "") => Some(Spec::FromTo(number(first)?, u64::MAX)),
            (first, last) => {
                let (first, last) = (number(first)?, number(last)?);
                (first <= last).then_some(Spec::FromTo(first, last))
            }
        }
    }

    /// The bytes there are of it; `None` if none (§14.1.2).
    fn within(&self, len: u64) -> Option<Range<u64>> {
        let range = match *self {
            Spec::FromTo(first, last) => first..last.saturating_add(1).min(len),
            Spec::Last(count) => len.saturating_sub(count)..len,
        };
        (range.start < range.end).then_some(range)
    }
}

/// Digits alone. What is beyond 64 bits is beyond every file.
fn number(text: &str) -> Option<u64> {
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| text.parse().unwrap_or(u64::MAX))
}

/// Joins what overlaps or is nearly next to each other. Where nothing does, the order stays.
fn joined(parts: Vec<Range<u64>>) -> Vec<Range<u64>> {
    let mut sorted = parts.clone();
    sorted.sort_unstable_by_key(|part| part.start);
    let mut joined: Vec<Range<u64>> = Vec::with_capacity(sorted.len());
    for part in sorted {
        match joined.last_mut() {
            Some(last) if part.start <= last.end.saturating_add(GAP_MAX) => {
                last.end = last.end.max(part.end);
            }
            _ => joined.push(part),
        }
    }
    if joined.len() == parts.len() { parts } else { joined }
}

#[cfg(test)]
#[expect(clippy::single_range_in_vec_init, reason = "a list of parts may have one")]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parts(field: &str, len: u64) -> Vec<Range<u64>> {
        match select(field, len, 4) {
            Selection::Parts(parts) => parts,
            other => panic!("{field} of {len}: {other:?}"),
        }
    }

    #[test]
    fn rfc9110_14_1_2_examples_of_byte_ranges() {
        assert_eq!(parts("bytes=0-499", 10_000), [0..500]);
        assert_eq!(parts("bytes=500-999", 10_000), [500..1000]);
        assert_eq!(parts("bytes=-500", 10_000), [9500..10_000]);
        assert_eq!(parts("bytes=9500-", 10_000), [9500..10_000]);
        assert_eq!(parts("bytes=0-0,-1", 10_000), [0..1, 9999..10_000]);
        assert_eq!(parts("Bytes= 0-999, 4500-5499 ,\t-1000", 10_000).len(), 3);
        assert_eq!(parts("bytes=500-600,601-999", 10_000), [500..1000]);
        assert_eq!(parts("bytes=500-700,601-999", 10_000), [500..1000]);
    }

    #[test]
    fn ends_beyond_the_representation_are_cut() {
        assert_eq!(parts("bytes=8-99", 10), [8..10]);
        assert_eq!(parts("bytes=-99", 10), [0..10]);
        assert_eq!(parts("bytes=1-99999999999999999999999999", 10), [1..10]);
        assert_eq!(parts("bytes=50-60,2-3", 10), [2..4]);
    }

    #[test]
    fn what_is_not_there_is_unsatisfiable() {
        for (field, len) in [
            ("bytes=10-", 10),
            ("bytes=10-20,30-40", 10),
            ("bytes=-0", 10),
            ("bytes=0-", 0),
            ("bytes=99999999999999999999999999-", 10),
        ] {
            assert_eq!(select(field, len, 4), Selection::Unsatisfiable, "{field}");
        }
    }

    #[test]
    fn malformed_fields_and_other_units_are_ignored() {
        for field in [
            "",
            "bytes",
            "bytes=",
            "bytes=,",
            "bytes=-",
            "bytes=a-b",
            "bytes=1",
            "bytes=5-2",
            "bytes=+1-2",
            "bytes=1-2-3",
            "bytes=--1",
            "bytes=0x1-2",
            "bytes=1 - 2",
            "bytes =1-2",
            "lines=1-2",
            "bytes=0-1,x",
            "bytes=0-1;2-3",
            "bytes=\u{661}-2",
        ] {
            assert_eq!(select(field, 10, 4), Selection::Whole, "{field}");
        }
    }

    #[test]
    fn an_empty_file_is_sent_whole_to_who_wants_its_end() {
        assert_eq!(select("bytes=-5", 0, 4), Selection::Whole);
    }

    #[test]
    fn more_ranges_than_allowed_are_refused() {
        assert_eq!(parts("bytes=0-0,100-100,200-200,300-300", 1000).len(), 4);
        let five = "bytes=0-0,100-100,200-200,300-300,400-400";
        assert_eq!(select(five, 1000, 4), Selection::Unsatisfiable);
        assert_eq!(select("bytes=0-0", 1000, 0), Selection::Unsatisfiable);
        // Also of a file without bytes.
        assert_eq!(select("bytes=-5", 0, 0), Selection::Unsatisfiable);
        // Overlapping ones count before they are joined.
        assert_eq!(select("bytes=0-,0-,0-,0-,0-", 1000, 4), Selection::Unsatisfiable);
    }

    #[test]
    fn apart_ranges_keep_their_order_and_near_ones_are_joined() {
        assert_eq!(parts("bytes=500-509,0-9", 1000), [500..510, 0..10]);
        assert_eq!(parts("bytes=90-99,0-9", 1000), [0..100]);
        assert_eq!(parts("bytes=91-99,0-9", 1000), [91..100, 0..10]);
        assert_eq!(parts("bytes=0-,0-,0-", 1000), [0..1000]);
    }

    proptest! {
        #[test]
        fn parts_are_within_apart_and_few(
            field in "bytes=[0-9, -]{0,60}", len in 0_u64..2000, parts_max in 0_usize..6
        ) {
            let Selection::Parts(mut parts) = select(&field, len, parts_max) else { return Ok(()) };
            prop_assert!((1..=parts_max).contains(&parts.len()));
            prop_assert!(parts.iter().all(|part| part.start < part.end && part.end <= len));
            parts.sort_unstable_by_key(|part| part.start);
            prop_assert!(parts.windows(2).all(|pair| pair[0].end < pair[1].start));
        }

        #[test]
        fn one_range_is_what_a_plain_reading_says(first in 0_u64..50, more in 0_u64..50, len in 1_u64..50) {
            let last = first + more;
            let expected = match (first..=last).filter(|at| *at < len).max() {
                Some(end) => Selection::Parts(vec![first..end + 1]),
                None => Selection::Unsatisfiable,
            };
            prop_assert_eq!(select(&format!("bytes={first}-{last}"), len, 1), expected);
        }
    }
}
