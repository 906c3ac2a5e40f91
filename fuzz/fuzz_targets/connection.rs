//! A whole conversation, whole and in pieces: heads, bodies and what follows them, through the driver
//! of the conformance suite.
//!
//! The first byte of the input says how many of the next bytes are lengths of pieces; what follows is
//! the wire. The suite's cases, `send` lines unescaped, make a good corpus.

#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../../crates/threadline-proto/tests/conformance/connection.rs"]
mod connection;
// Its types are what the driver speaks in; its files are not read here.
#[allow(dead_code)]
#[path = "../../crates/threadline-proto/tests/conformance/loader.rs"]
mod loader;

use connection::Connection;
use loader::Ending;

fuzz_target!(|input: &[u8]| {
    let Some((&count, rest)) = input.split_first() else { return };
    let Some((lengths, wire)) = rest.split_at_checked(usize::from(count)) else { return };
    let whole = Connection::outcome([wire]);

    // No more content than there are bytes, and a body only where the head has framed one.
    let content: usize = whole.messages.iter().map(|message| message.body.len()).sum();
    assert!(content < wire.len().max(1));
    // Only the last request may have asked for the end.
    let asked = whole.messages.iter().position(|message| !message.keep_alive);
    assert_eq!(asked.is_some(), whole.ending == Ending::Close);
    assert!(asked.is_none_or(|at| at + 1 == whole.messages.len()));

    let mut connection = Connection::new();
    let mut rest = wire;
    for length in lengths.iter().map(|length| usize::from(*length)).chain([wire.len()]) {
        let (piece, behind) = rest.split_at(length.min(rest.len()));
        connection.feed(piece);
        rest = behind;
    }
    let in_pieces = connection.end();
    assert_eq!(in_pieces.messages, whole.messages, "cut differently");
    match (in_pieces.ending, whole.ending) {
        // A fault behind the last line end is seen with the next one; which of two faults is seen
        // first may depend on how much is there.
        (Ending::Wait | Ending::Reject(_), Ending::Reject(_)) => {}
        (in_pieces, whole) => assert_eq!(in_pieces, whole, "cut differently"),
    }
});
