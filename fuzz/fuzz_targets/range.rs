//! The `Range` field of requests for a file, on any bytes: whatever is asked for, each byte of the file
//! is sent once at most, what is said to be sent is what is sent, and what cannot be read is ignored.

#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use threadline_http::Router;
use threadline_http::files::Files;
use threadline_http::testing::{TestClient, TestResponse};

/// Long enough for parts that are too far apart to be joined.
const FILE: &[u8] = &{
    let mut bytes = [0; 1000];
    let mut at = 0;
    while at < bytes.len() {
        bytes[at] = (at % 251) as u8;
        at += 1;
    }
    bytes
};
const RANGES_MAX: usize = 8;

static CLIENT: LazyLock<TestClient> = LazyLock::new(|| {
    let files = Files::embedded(&[("file", FILE)]).ranges_max(RANGES_MAX);
    TestClient::new(Router::new().files("/", files)).expect("a router")
});

/// The part that is said to be sent, checked to be what is sent.
fn check_part(content_range: &str, content: &[u8]) -> std::ops::Range<usize> {
    let range = content_range.strip_prefix("bytes ").and_then(|text| text.strip_suffix("/1000"));
    let (first, last) = range.and_then(|text| text.split_once('-')).expect("a range");
    let part = first.parse().expect("a number")..last.parse::<usize>().expect("a number") + 1;
    assert_eq!(content, &FILE[part.clone()], "{content_range}");
    part
}

/// The parts of a multipart response (RFC 9110 §14.6).
fn parts<'r>(response: &'r TestResponse) -> Vec<(String, &'r [u8])> {
    let media_type = response.header("content-type").expect("a type");
    let boundary = media_type.split_once("boundary=").expect("a boundary").1;
    let delimiter = format!("--{boundary}");
    let mut rest = response.bytes().strip_prefix(delimiter.as_bytes()).expect("a part");
    let mut parts = Vec::new();
    while rest != b"--\r\n" {
        let end = rest.windows(4).position(|window| window == b"\r\n\r\n").expect("a head") + 4;
        let head = String::from_utf8(rest[..end].to_vec()).expect("text");
        let range = head.lines().find_map(|line| line.strip_prefix("content-range: "));
        let delimiter = format!("\r\n{delimiter}");
        let found = rest[end..].windows(delimiter.len()).position(|w| w == delimiter.as_bytes());
        let len = found.expect("an end");
        parts.push((range.expect("a range").to_owned(), &rest[end..end + len]));
        rest = &rest[end + len + delimiter.len()..];
    }
    parts
}

fuzz_target!(|field: &str| {
    if field.contains(|character: char| character.is_control() && character != '\t') {
        return;
    }
    let response = CLIENT.get("/file").header("range", field).send();
    let mut sent: Vec<_> = match response.status().code() {
        200 => return assert_eq!(response.bytes(), FILE),
        416 => return assert_eq!(response.header("content-range"), Some("bytes */1000")),
        206 => match response.header("content-range") {
            Some(range) => vec![check_part(range, response.bytes())],
            None => parts(&response).iter().map(|(range, part)| check_part(range, part)).collect(),
        },
        // The field makes the head too long.
        431 => return,
        other => panic!("{other} for {field:?}"),
    };
    assert!((1..=RANGES_MAX).contains(&sent.len()), "{field:?}");
    sent.sort_unstable_by_key(|part| part.start);
    assert!(sent.windows(2).all(|pair| pair[0].end < pair[1].start), "{field:?}: {sent:?}");
});
