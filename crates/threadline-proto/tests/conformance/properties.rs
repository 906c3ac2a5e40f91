//! Properties of whole conversations: what we serialise parses back, cutting it anywhere changes
//! nothing, and no bytes panic.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use threadline_proto::body::{BodyError, Limits, Step, chunked};

use crate::connection::Connection;
use crate::loader::{Ending, Message, Outcome};

/// How a body is framed.
#[derive(Debug, Clone, Copy)]
enum Framing {
    Length,
    /// By our own encoder, in chunks of at most so many bytes.
    Chunked(usize),
    /// The same, as other clients write it: leading zeros, capitals, extensions.
    ChunkedOddly(usize),
}

fn framing() -> impl Strategy<Value = Framing> {
    prop_oneof![
        Just(Framing::Length),
        (1_usize..40).prop_map(Framing::Chunked),
        (1_usize..40).prop_map(Framing::ChunkedOddly),
    ]
}

fn trailers() -> impl Strategy<Value = Vec<(String, Vec<u8>)>> {
    let value = "([!-~\u{80}-\u{ff}]([ -~]{0,9}[!-~])?)?".prop_map(String::into_bytes);
    vec(("X-[a-zA-Z0-9_.!]{1,9}", value), 0..4)
}

/// A request, and its bytes.
fn request() -> impl Strategy<Value = (Message, Vec<u8>)> {
    let method = "[A-Z]{1,8}".prop_filter("has its own target form", |name| name != "CONNECT");
    let target = "(/[a-zA-Z0-9%._~-]{0,8}){1,3}([?][!-\"$-~]{0,9})?";
    let content = vec(prop_oneof![any::<u8>(), select(b"\r\n0".to_vec())], 0..100);
    (method, target, content, framing(), trailers()).prop_map(
        |(method, target, body, framing, trailers)| {
            let trailers = if matches!(framing, Framing::Length) { Vec::new() } else { trailers };
            let (version, keep_alive) = ("HTTP/1.1".to_owned(), true);
            let expects_continue = false;
            let message =
                Message { method, target, version, body, trailers, expects_continue, keep_alive };
            let wire = serialise(&message, framing);
            (message, wire)
        },
    )
}

fn serialise(message: &Message, framing: Framing) -> Vec<u8> {
    let Message { method, target, body, .. } = message;
    let field = match framing {
        Framing::Length => format!("Content-Length: {}", body.len()),
        Framing::Chunked(_) | Framing::ChunkedOddly(_) => "Transfer-Encoding: chunked".to_owned(),
    };
    let mut wire = format!("{method} {target} HTTP/1.1\r\nHost: x\r\n{field}\r\n\r\n").into_bytes();
    match framing {
        Framing::Length => wire.extend(body),
        Framing::Chunked(len) => encode(&mut wire, message, len),
        Framing::ChunkedOddly(len) => {
            for chunk in body.chunks(len) {
                wire.extend(format!("{:04X};a=\"\\\"\";b\r\n", chunk.len()).bytes());
                wire.extend(chunk);
                wire.extend(b"\r\n");
            }
            wire.extend(b"000;z\r\n");
            for (name, value) in &message.trailers {
                wire.extend([name.as_bytes(), b":", value, b" \t\r\n"].concat());
            }
            wire.extend(b"\r\n");
        }
    }
    wire
}

fn encode(wire: &mut Vec<u8>, message: &Message, chunk_len: usize) {
    let mut encoder = chunked::Encoder::new();
    for chunk in message.body.chunks(chunk_len) {
        encoder.chunk(wire, chunk);
    }
    let mut writer = encoder.last(wire);
    for (name, value) in &message.trailers {
        writer.field(name, value).expect("a trailer");
    }
    writer.finish();
}

/// The text cut at these places.
fn cut<'w>(wire: &'w [u8], places: &[Index]) -> Vec<&'w [u8]> {
    let mut places: Vec<_> = places.iter().map(|place| place.index(wire.len() + 1)).collect();
    places.sort_unstable();
    let mut pieces = Vec::new();
    let mut start = 0;
    for end in places.into_iter().chain([wire.len()]) {
        pieces.push(&wire[start..end]);
        start = end;
    }
    pieces
}

type Trailers = Vec<(String, Vec<u8>)>;

/// Content, trailers and length of a chunked body that comes in pieces, and then the end of input: or the
/// error that it has.
fn decode<'p>(
    pieces: impl IntoIterator<Item = &'p [u8]>,
    limits: &Limits,
) -> (Vec<u8>, Result<(Trailers, usize), BodyError>) {
    let mut decoder = chunked::Decoder::new(limits);
    let (mut kept, mut at, mut content) = (Vec::new(), 0, Vec::new());
    for piece in pieces {
        kept.extend_from_slice(piece);
        loop {
            match decoder.advance(&kept[at..]) {
                Ok(Step::Content(range)) => {
                    content.extend_from_slice(&kept[at..][range.clone()]);
                    at += range.end;
                }
                Ok(Step::Partial { consumed }) => {
                    at += consumed;
                    break;
                }
                Ok(Step::Done { consumed, trailers }) => {
                    let fields = trailers.iter().map(|(name, value)| (name.into(), value.into()));
                    return (content, Ok((fields.collect(), at + consumed)));
                }
                Err(error) => return (content, Err(error)),
            }
        }
    }
    let error = decoder.end_of_input().expect_err("not whole");
    (content, Err(error))
}

proptest! {
    /// The same content, trailers and error, at every cut and with the end of input at every place.
    #[test]
    fn chunks_decode_alike_however_they_are_cut(
        (message, wire) in request(),
        changes in vec((any::<Index>(), select(b"\r\n\0 :;=\"0f5(A".to_vec())), 0..3),
        places in vec(any::<Index>(), 0..20),
        trailers_max in 0_usize..4,
        trailers_len_max in prop_oneof![Just(8192_usize), 2_usize..60],
    ) {
        prop_assume!(!message.body.is_empty() || !message.trailers.is_empty());
        let head = wire.windows(4).position(|end| end == b"\r\n\r\n").expect("a head") + 4;
        let mut wire = wire[head..].to_vec();
        for (at, byte) in changes {
            let at = at.index(wire.len());
            wire[at] = byte;
        }
        let limits = Limits::default().trailers_max(trailers_max).trailers_len_max(trailers_len_max);
        let whole = decode([&wire[..]], &limits);
        prop_assert_eq!(&decode(wire.chunks(1), &limits), &whole);
        prop_assert_eq!(&decode(cut(&wire, &places), &limits), &whole);
        for at in 0..wire.len() {
            let (left, right) = wire.split_at(at);
            prop_assert_eq!(&decode([left, right], &limits), &whole);
            let ended = decode([left], &limits);
            prop_assert_eq!(&decode(left.chunks(1), &limits), &ended);
            let is_early = ended.1 == Err(BodyError::EndsEarly);
            prop_assert!(is_early || ended.1 == whole.1, "cut off at {}: {:?}", at, ended);
        }
    }

    #[test]
    fn what_is_serialised_parses_back_however_it_is_cut(
        conversation in vec(request(), 1..4),
        places in vec(any::<Index>(), 0..20),
    ) {
        let (messages, wires): (Vec<_>, Vec<_>) = conversation.into_iter().unzip();
        let wire = wires.concat();
        let expected = Outcome { messages, ending: Ending::Next };
        prop_assert_eq!(&Connection::outcome([&wire[..]]), &expected);
        prop_assert_eq!(&Connection::outcome(cut(&wire, &places)), &expected);
        prop_assert_eq!(&Connection::outcome(wire.chunks(1)), &expected);
    }

    #[test]
    fn a_conversation_that_is_cut_off_is_never_taken_for_whole(
        (message, wire) in request(),
        place in any::<Index>(),
    ) {
        let outcome = Connection::outcome([&wire[..place.index(wire.len())]]);
        let whole = Outcome { messages: vec![message], ending: Ending::Next };
        prop_assert_ne!(&outcome, &whole);
        prop_assert!(outcome.messages.is_empty(), "{:?}", outcome);
    }

    /// One byte replaced: whatever it makes of the conversation, pieces make the same of it.
    #[test]
    fn pieces_make_the_same_verdict(
        conversation in vec(request(), 1..4),
        at in any::<Index>(),
        byte in prop_oneof![any::<u8>(), select(b"\r\n\0 \t:,;=\"0f".to_vec())],
        places in vec(any::<Index>(), 0..20),
    ) {
        let mut wire: Vec<u8> = conversation.into_iter().flat_map(|(_, wire)| wire).collect();
        let at = at.index(wire.len());
        wire[at] = byte;
        let whole = Connection::outcome([&wire[..]]);
        for pieces in [cut(&wire, &places), wire.chunks(1).collect()] {
            prop_assert_eq!(&Connection::outcome(pieces), &whole);
        }
    }

    #[test]
    fn no_bytes_panic_and_no_step_is_empty(
        parts in vec(prop_oneof![
            vec(any::<u8>(), 0..8),
            select(vec!["0", "5", "ffffffffffffffff", "\r\n", "\r", "\n", ";", "a", "=", "\"", ":", " "])
                .prop_map(|part| part.as_bytes().to_vec()),
        ], 0..30),
    ) {
        let input = parts.concat();
        let mut decoder = chunked::Decoder::new(&Limits::default());
        let mut at = 0;
        while let Ok(Step::Content(range)) = decoder.advance(&input[at..]) {
            prop_assert!(range.start < range.end && at + range.end <= input.len());
            at += range.end;
        }
        let _ = Connection::outcome(input.chunks(3));
    }
}
