//! The same bytes, whole and in pieces: however they are cut, the verdict is the same.
//!
//! The first byte of the input says how many of the next bytes are lengths of pieces; what follows is
//! the wire. The pieces are fed as the HTTP service feeds them: `worth_parsing` first, then `parse`.

#![no_main]

use libfuzzer_sys::fuzz_target;
use threadline_proto::request::{self, Body, HeaderSlots, Limits, Parsed};

/// What a verdict comes down to, without borrowing from the input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Partial,
    Head {
        len: usize,
        body: Body,
        keep_alive: bool,
        headers: usize,
    },
    /// Which rule is found broken first may depend on how much is there; that one is does not.
    Refused,
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
        Err(_) => Verdict::Refused,
    }
}

fuzz_target!(|input: &[u8]| {
    let Some((&count, rest)) = input.split_first() else { return };
    let Some((lengths, wire)) = rest.split_at_checked(usize::from(count)) else { return };
    let whole = verdict(wire);

    // In pieces, until there is a verdict or all is there.
    let (mut arrived, mut seen) = (0, 0);
    let mut lengths = lengths.iter();
    let in_pieces = loop {
        let next = lengths.next().map_or(1, |length| usize::from(*length).max(1));
        arrived = (arrived + next).min(wire.len());
        if arrived == 0 || request::worth_parsing(&wire[..arrived], seen, &Limits::default()) {
            match verdict(&wire[..arrived]) {
                Verdict::Partial => {}
                decided => break decided,
            }
        }
        seen = arrived;
        if arrived == wire.len() {
            break Verdict::Partial;
        }
    };
    match (in_pieces, whole) {
        // A fault behind the last line end is seen with the next one.
        (Verdict::Partial, Verdict::Refused) => {}
        (in_pieces, whole) => assert_eq!(in_pieces, whole, "cut differently"),
    }

    // And every true prefix of a head is partial: it is never taken for a shorter one.
    if let Verdict::Head { len, .. } = whole {
        for end in (0..len).step_by((len / 256).max(1)) {
            assert_eq!(verdict(&wire[..end]), Verdict::Partial, "cut at {end}");
        }
    }
});
