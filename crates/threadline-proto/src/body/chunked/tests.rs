//! The decoder's rules, each by its clause. Cuts, and what follows on the connection, are the business
//! of `tests/conformance`.

use crate::body::chunked::{Decoder, Encoder};
use crate::body::{BodyError, Limits, Step};

/// Content, trailers and length of the body that the input begins with; `None` if it is not whole.
type Verdict = Result<Option<(Vec<u8>, Vec<(String, Vec<u8>)>, usize)>, BodyError>;

fn decode_within(input: &[u8], limits: &Limits) -> Verdict {
    let mut decoder = Decoder::new(limits);
    let (mut at, mut content) = (0, Vec::new());
    loop {
        match decoder.advance(&input[at..])? {
            Step::Content(range) => {
                assert!(!range.is_empty(), "an empty piece of content");
                content.extend_from_slice(&input[at..][range.clone()]);
                at += range.end;
            }
            Step::Partial { .. } => return Ok(None),
            Step::Done { consumed, trailers } => {
                let fields = trailers.iter().map(|(name, value)| (name.to_owned(), value.to_vec()));
                return Ok(Some((content, fields.collect(), at + consumed)));
            }
        }
    }
}

fn decode(input: &[u8]) -> Verdict {
    decode_within(input, &Limits::default())
}

fn content(input: &str) -> Result<Option<Vec<u8>>, BodyError> {
    decode(input.as_bytes()).map(|whole| whole.map(|(content, ..)| content))
}

#[test]
fn rfc9112_7_1_sizes_in_any_case_and_with_leading_zeros() {
    for (input, expected) in [
        ("0\r\n\r\n", ""),
        ("00000\r\n\r\n", ""),
        ("5\r\nhello\r\n0\r\n\r\n", "hello"),
        ("0000000000000005\r\nhello\r\n0\r\n\r\n", "hello"),
        ("a\r\n0123456789\r\n1\r\n!\r\n000\r\n\r\n", "0123456789!"),
        ("A\r\n01234\r\n789\r\n0\r\n\r\n", "01234\r\n789"),
    ] {
        assert_eq!(content(input), Ok(Some(expected.as_bytes().to_vec())), "{input:?}");
    }
}

#[test]
fn rfc9112_7_1_anything_but_digits_is_no_size() {
    for size in [
        "", " 5", "\t5", "5 ", "5\t", "0x5", "+5", "-5", "1_0", "g", "5,", "5.", "\"5\"", "٥",
        "5h", "\0", "5\0", "\x0b5", " ", "5 ;a",
    ] {
        let input = format!("{size}\r\nhello\r\n0\r\n\r\n");
        assert_eq!(content(&input), Err(BodyError::ChunkSize), "{size:?}");
    }
    for size in ["00000000000000005", "10000000000000000", "ffffffffffffffff0"] {
        assert_eq!(content(&format!("{size}\r\n")), Err(BodyError::ChunkSizeTooLarge), "{size}");
    }
    // The largest one is only long.
    assert_eq!(content("ffffffffffffffff\r\nabc"), Ok(None));
}

#[test]
fn rfc9112_2_2_lines_of_the_framing_end_in_cr_lf() {
    for input in ["5\nhello", "5\rhello", "5\r\rhello", "5;a\nhello", "5;a\rb", "5;a=\"\n", "0\n\n"]
    {
        assert_eq!(content(input), Err(BodyError::LineEnd), "{input:?}");
    }
    for input in ["0\r\n\n", "0\r\nA: b\n\r\n", "0\r\nA: b\r\n\n"] {
        assert_eq!(content(input), Err(BodyError::LineEnd), "{input:?}");
    }
}

#[test]
fn rfc9112_7_1_content_is_as_long_as_its_size_says() {
    for input in
        ["5\r\nhello0\r\n", "5\r\nhell\r\n0", "5\r\nhello\n0", "5\r\nhello\r0", "5\r\nhello!\r\n"]
    {
        assert_eq!(content(input), Err(BodyError::ChunkEnd), "{input:?}");
    }
    for input in ["", "5", "5\r\nhel", "5\r\nhello", "5\r\nhello\r\n", "5\r\nhello\r\n0\r\n"] {
        assert_eq!(content(input), Ok(None), "{input:?}");
    }
}

#[test]
fn rfc9112_7_1_1_extensions_are_skipped_and_bounded() {
    let hello = Ok(Some(b"hello".to_vec()));
    assert_eq!(content("5;a=b\r\nhello\r\n0;c\r\n\r\n"), hello);
    for extension in [";", ";=", ";a=", ";a;", ";a=\"\0\"", ";a b", ";a\0", ";a=b "] {
        let input = format!("5{extension}\r\nhello\r\n0\r\n\r\n");
        assert_eq!(content(&input), Err(BodyError::ChunkExtension), "{extension:?}");
    }
    let of_len = |len: usize| format!(";{}", "a".repeat(len - 1));
    let one = |len| content(&format!("5{}\r\nhello\r\n0\r\n\r\n", of_len(len)));
    assert_eq!((one(256), one(257)), (hello, Err(BodyError::ChunkExtensionsTooLarge)));
    // 63 chunks and the last one.
    let all = |last_len| {
        let chunk = format!("1{}\r\nx\r\n", of_len(256));
        content(&format!("{}0{}\r\n\r\n", chunk.repeat(63), of_len(last_len)))
    };
    assert_eq!(all(256), Ok(Some(vec![b'x'; 63])));
    let with_more = format!("1{}\r\nx\r\n", of_len(256)).repeat(64) + "0;a\r\n\r\n";
    assert_eq!(content(&with_more), Err(BodyError::ChunkExtensionsTooLarge));
}

#[test]
fn rfc9112_7_1_2_trailers_are_handed_out_and_bounded() {
    let input = b"0\r\nA: b\r\nc:d \r\n\r\nGET";
    let fields = vec![("A".to_owned(), b"b".to_vec()), ("c".to_owned(), b"d".to_vec())];
    assert_eq!(decode(input), Ok(Some((Vec::new(), fields, input.len() - 3))));

    let limits = Limits::default().trailers_len_max(20).trailers_max(2);
    let within = |section: &str| {
        decode_within(format!("0\r\n{section}").as_bytes(), &limits).map(|whole| whole.is_some())
    };
    assert_eq!(within("A: b\r\nC: d\r\n\r\n"), Ok(true));
    assert_eq!(within("A: b\r\nC: d\r\nE: f\r\n\r\n"), Err(BodyError::TooManyTrailers));
    assert_eq!(within("A: 7890123456789\r\n\r\n"), Ok(true));
    assert_eq!(within("A: 78901234567890\r\n\r\n"), Err(BodyError::TrailersTooLarge));
    // Before the line ends, too, and not because of what stands behind the section.
    assert_eq!(
        (within(&"A".repeat(20)), within(&"A".repeat(21))),
        (Ok(false), Err(BodyError::TrailersTooLarge))
    );
    assert_eq!(within(&format!("\r\n{}", "A".repeat(50))), Ok(true));
}

#[test]
fn rfc9110_6_5_1_framing_behind_the_content_is_refused() {
    for line in ["Content-Length: 5", "transfer-encoding: chunked", "HOST: x", "Authorization: b"] {
        let input = format!("0\r\n{line}\r\n\r\n");
        assert_eq!(content(&input), Err(BodyError::TrailerForbidden), "{line}");
    }
}

#[test]
fn pieces_of_a_trailer_section_are_fed_again_until_it_is_whole() {
    let mut decoder = Decoder::new(&Limits::default());
    assert_eq!(decoder.advance(b"0\r\nA: b\r\nC"), Ok(Step::Partial { consumed: 3 }));
    assert_eq!(decoder.advance(b"A: b\r\nC: d\r\n\r"), Ok(Step::Partial { consumed: 0 }));
    let Ok(Step::Done { consumed: 14, trailers }) = decoder.advance(b"A: b\r\nC: d\r\n\r\n5")
    else {
        panic!("whole");
    };
    assert_eq!((trailers.get("a"), trailers.len()), (Some(&b"b"[..]), 2));
    assert!(matches!(decoder.advance(b"5\r\n"), Ok(Step::Done { consumed: 0, .. })));
}

#[test]
fn what_is_encoded_decodes() {
    let mut wire = Vec::new();
    let mut encoder = Encoder::new();
    encoder.chunk(&mut wire, b"hello, ");
    encoder.chunk(&mut wire, &[b'x'; 300]);
    let mut trailers = encoder.last(&mut wire);
    trailers.field("x-sum", b"307").expect("a trailer");
    trailers.finish();
    let mut expected = b"hello, ".to_vec();
    expected.extend([b'x'; 300]);
    let fields = vec![("x-sum".to_owned(), b"307".to_vec())];
    assert_eq!(decode(&wire), Ok(Some((expected, fields, wire.len()))));
}
