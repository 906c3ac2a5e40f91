//! The same bytes, whole and in pieces: however they are cut, the verdict is the same.
//!
//! The first byte of the input says how many of the next bytes are lengths of pieces; what follows is
//! the wire. The pieces are fed as the HTTP service feeds them: `HeadWatch` first, then `parse`.

#![no_main]

use libfuzzer_sys::fuzz_target;
use threadline_proto::request::{self, Body, HeadWatch, HeaderSlots, Limits, ParseError, Parsed};

/// What a verdict comes down to, without borrowing from the input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Partial,
    Head { len: usize, body: Body, keep_alive: bool, headers: usize },
    Refused(ParseError),
}

fn verdict(input: &[u8]) -> Verdict {
    let mut slots = HeaderSlots::new();
    match request::parse(input, &mut slots, &Limits::default()) {
        Ok(Parsed::Partial) => Verdict::Partial,
        Ok(Parsed::Head(head)) => Verdict::Head {
            len: head.len,
            body: head.body,
            keep_alive: head.keep_alive,
            headers: head.headers.len(),
        },
        Err(error) => Verdict::Refused(error),
    }
}

fuzz_target!(|input: &[u8]| {
    let Some((&count, rest)) = input.split_first() else { return };
    let Some((lengths, wire)) = rest.split_at_checked(usize::from(count)) else { return };
    let whole = verdict(wire);

    // In pieces, until there is a verdict or all is there.
    let (mut arrived, mut watch) = (0, HeadWatch::new());
    let mut lengths = lengths.iter();
    let in_pieces = loop {
        let next = lengths.next().map_or(1, |length| usize::from(*length).max(1));
        let is_first = arrived == 0;
        arrived = (arrived + next).min(wire.len());
        let is_due = watch.is_due(&wire[..arrived], &Limits::default());
        if is_first || is_due {
            match verdict(&wire[..arrived]) {
                Verdict::Partial => {}
                decided => break decided,
            }
        }
        if arrived == wire.len() {
            break Verdict::Partial;
        }
    };
    assert_eq!(in_pieces, whole, "cut differently");

    // And every true prefix of a head is partial: it is never taken for a shorter one.
    if let Verdict::Head { len, .. } = whole {
        for end in (0..len).step_by((len / 256).max(1)) {
            assert_eq!(verdict(&wire[..end]), Verdict::Partial, "cut at {end}");
        }
    }
});
