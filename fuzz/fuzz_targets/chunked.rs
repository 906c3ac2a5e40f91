//! The chunked decoder on any bytes, whole and in pieces: the same content, the same end, the same error;
//! and what it decodes decodes again when our own encoder has written it.
//!
//! The first byte of the input says how many of the next bytes are lengths of pieces; what follows is
//! the body.

#![no_main]

use libfuzzer_sys::fuzz_target;
use threadline_proto::body::chunked::{Decoder, Encoder};
use threadline_proto::body::{BodyError, Limits, Step};

/// All that the decoder says of a body, without borrowing from it.
#[derive(Debug, Default, PartialEq, Eq)]
struct Decoded {
    content: Vec<u8>,
    trailers: Vec<(String, Vec<u8>)>,
    /// How many bytes belong to it; `None` while it is not whole.
    len: Option<usize>,
    error: Option<BodyError>,
}

/// Feeds the first `lengths` bytes, then all that is there.
fn decode(body: &[u8], lengths: &[u8]) -> Decoded {
    let mut decoder = Decoder::new(&Limits::default());
    let mut decoded = Decoded::default();
    let (mut at, mut arrived) = (0, 0);
    for length in lengths.iter().map(|length| usize::from(*length)).chain([body.len()]) {
        arrived = (arrived + length).min(body.len());
        loop {
            match decoder.advance(&body[at..arrived]) {
                Ok(Step::Content(range)) => {
                    assert!(!range.is_empty());
                    decoded.content.extend_from_slice(&body[at..arrived][range.clone()]);
                    at += range.end;
                }
                Ok(Step::Partial { consumed }) => {
                    at += consumed;
                    assert!(arrived - at <= Limits::default().trailers_len_max);
                    assert_eq!(decoder.end_of_input(), Err(BodyError::EndsEarly));
                    break;
                }
                Ok(Step::Done { consumed, trailers }) => {
                    let owned = |(name, value): (&str, &[u8])| (name.to_owned(), value.to_vec());
                    decoded.trailers = trailers.iter().map(owned).collect();
                    decoded.len = Some(at + consumed);
                    assert!(decoder.is_done() && decoder.end_of_input().is_ok());
                    return decoded;
                }
                Err(error) => {
                    assert_eq!(decoder.advance(b"0\r\n\r\n"), Err(error), "it has recovered");
                    decoded.error = Some(error);
                    return decoded;
                }
            }
        }
    }
    decoded
}

fuzz_target!(|input: &[u8]| {
    let Some((&count, rest)) = input.split_first() else { return };
    let Some((lengths, body)) = rest.split_at_checked(usize::from(count)) else { return };
    let whole = decode(body, &[]);
    assert_eq!(decode(body, lengths), whole, "cut differently");
    let Some(len) = whole.len else { return };
    assert_eq!(decode(&body[..len], lengths), whole, "what is behind it makes a difference");
    assert_eq!(decode(&body[..len - 1], lengths).len, None, "it was whole before its end");

    let mut again = Vec::new();
    let mut encoder = Encoder::new();
    whole.content.chunks(7).for_each(|chunk| encoder.chunk(&mut again, chunk));
    let mut trailers = encoder.last(&mut again);
    for (name, value) in &whole.trailers {
        trailers.field(name, value).expect("it was let in");
    }
    trailers.finish();
    let again = decode(&again, lengths);
    // Our field lines have a space that others leave out.
    if again.error == Some(BodyError::TrailersTooLarge) {
        return;
    }
    assert_eq!((again.content, again.trailers), (whole.content, whole.trailers));
});
