//! Properties of the parser over generated input: what is serialised parses back, cutting the body
//! anywhere changes nothing, and no input panics or is kept beyond the limits.

use proptest::collection::vec;
use proptest::prelude::*;
use threadline_http::multipart::{
    Boundary, Multipart, MultipartError, MultipartLimits, ParseError, Parser, Step,
};

use super::{client, post};

/// All that a parser says of a body, however it says it.
#[derive(Debug, Default, PartialEq, Eq)]
struct Parsed {
    /// Field lines and content of each part, and whether it has come to its end.
    parts: Vec<(Vec<u8>, Vec<u8>, bool)>,
    error: Option<ParseError>,
}

/// Small limits, so that short bodies reach them.
fn limits() -> MultipartLimits {
    MultipartLimits::default().parts_max(3).headers_len_max(40).preamble_len_max(9).part_len_max(30)
}

/// Feeds pieces of these lengths, again and again, and checks what the parser promises.
fn parse(body: &[u8], lengths: &[usize], limits: MultipartLimits) -> Parsed {
    let mut parser = Parser::new(Boundary::new("b").expect("a boundary"), limits);
    let (mut parsed, mut at, mut arrived) = (Parsed::default(), 0, 0);
    let mut lengths = lengths.iter().copied().cycle();
    loop {
        let input = &body[at..arrived];
        let consumed = match parser.advance(input) {
            Ok(Step::Head { fields, consumed }) => {
                parsed.parts.push((input[fields].to_vec(), Vec::new(), false));
                consumed
            }
            Ok(Step::Content(range)) => {
                assert!(!range.is_empty());
                let part = parsed.parts.last_mut().expect("content of a part");
                part.1.extend_from_slice(&input[range.clone()]);
                assert!(part.1.len() as u64 <= limits.part_len_max);
                range.end
            }
            Ok(Step::PartEnd { consumed }) => {
                parsed.parts.last_mut().expect("a part's end").2 = true;
                consumed
            }
            Ok(Step::Partial { consumed } | Step::Done { consumed }) => {
                let left = input.len() - consumed;
                assert!(left < limits.headers_len_max.max("\r\n--b--".len()), "{left} are kept");
                if arrived == body.len() {
                    parsed.error = parser.end(&input[consumed..]).err();
                    return parsed;
                }
                arrived = (arrived + lengths.next().unwrap_or(body.len())).min(body.len());
                consumed
            }
            Err(error) => {
                parsed.error = Some(error);
                return parsed;
            }
        };
        at += consumed;
    }
}

/// Bodies that are nearly right: made of what the syntax is made of.
fn nearly() -> impl Strategy<Value = Vec<u8>> {
    let token = prop::sample::select(vec![
        "--b",
        "--b--",
        "\r\n",
        "\r",
        "\n",
        "-",
        " ",
        "b",
        "\r\n--b",
        "--b\r\n\r\n",
        "\r\n\r\n",
        "A: 1",
        "x",
        "0123456789",
    ]);
    vec(token, 0..24).prop_map(|tokens| tokens.concat().into_bytes())
}

/// Names and contents. A content has no boundary in it, as the client must see to.
fn fields() -> impl Strategy<Value = Vec<(String, Option<String>, Vec<u8>)>> {
    let name = "[ -~äßあ]{0,12}";
    let content = prop_oneof![vec(any::<u8>(), 0..200), nearly()].prop_filter(
        "has the boundary in it",
        |content| {
            let is_delimiter = |window: &[u8]| window == b"\r\n--b";
            !content.starts_with(b"--b") && !content.windows(5).any(is_delimiter)
        },
    );
    vec((name, proptest::option::of(name), content), 0..6)
}

fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

fn serialised(fields: &[(String, Option<String>, Vec<u8>)]) -> Vec<u8> {
    let mut body = Vec::new();
    for (name, file_name, content) in fields {
        body.extend(
            format!("--b\r\nContent-Disposition: form-data; name={}", quoted(name)).bytes(),
        );
        if let Some(file_name) = file_name {
            body.extend(format!("; filename={}", quoted(file_name)).bytes());
        }
        body.extend(b"\r\n\r\n");
        body.extend(content);
        body.extend(b"\r\n");
    }
    body.extend(b"--b--\r\n");
    body
}

/// Says all of a form in a way that can be compared.
fn describe(mut parts: Multipart<'_>) -> Result<String, MultipartError> {
    let mut all = String::new();
    while let Some(part) = parts.next_part()? {
        all.push_str(&format!("{:?} {:?}", part.name(), part.file_name()));
        all.push_str(&format!(" {:?}\n", part.bytes()?));
    }
    Ok(all)
}

proptest! {
    #[test]
    fn what_is_serialised_parses_back(fields in fields()) {
        let expected: String = fields
            .iter()
            .map(|(name, file_name, content)| format!("{name:?} {file_name:?} {content:?}\n"))
            .collect();
        let response = post(&client(describe), serialised(&fields));
        prop_assert_eq!((response.status().code(), response.text()), (200, &*expected));
    }

    #[test]
    fn any_split_gives_the_same_parts(fields in fields(), lengths in vec(1_usize..20, 1..5)) {
        let body = serialised(&fields);
        let whole = parse(&body, &[body.len()], MultipartLimits::default());
        prop_assert_eq!(whole.parts.len(), fields.len());
        prop_assert_eq!(&whole.error, &None);
        prop_assert_eq!(&parse(&body, &lengths, MultipartLimits::default()), &whole);
        prop_assert_eq!(&parse(&body, &[1], MultipartLimits::default()), &whole);
    }

    #[test]
    fn any_split_gives_the_same_verdict(body in nearly(), lengths in vec(1_usize..20, 1..5)) {
        for limits in [limits(), MultipartLimits::default()] {
            let whole = parse(&body, &[body.len()], limits);
            prop_assert_eq!(&parse(&body, &lengths, limits), &whole);
            prop_assert_eq!(&parse(&body, &[1], limits), &whole);
        }
    }

    #[test]
    fn no_bytes_panic(start in "(--b\r\n)?", rest in vec(any::<u8>(), 0..300)) {
        let body = [start.as_bytes(), &rest].concat();
        parse(&body, &[7], limits());
        let status = post(&client(describe), body).status().code();
        prop_assert!(matches!(status, 200 | 400 | 413), "{}", status);
    }

    #[test]
    fn no_header_panics(header in "[ -~\t\r\nä]{0,60}", value in "[ -~ä]{0,30}") {
        for field in [header, format!("Content-Disposition: form-data{value}")] {
            let body = format!("--b\r\n{field}\r\n\r\n\r\n--b--");
            let status = post(&client(describe), body).status().code();
            prop_assert!(matches!(status, 200 | 400 | 413), "{}", status);
        }
    }

    #[test]
    fn no_content_type_panics(parameters in "(; ?(boundary|x)=?\"?[ -~]{0,10})?[ -~\t]{0,20}") {
        let content_type = format!("multipart/form-data{parameters}");
        let request = client(describe).post("/").header("content-type", content_type.trim_end());
        let status = request.body("--b--").send().status().code();
        prop_assert!(matches!(status, 200 | 400 | 415), "{}", status);
    }
}
