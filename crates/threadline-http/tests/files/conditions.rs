//! What is not sent again, and what is sent in parts.

use std::fs;

use threadline_http::Status;
use threadline_http::testing::{TestClient, TestResponse};

use crate::{THEN, Tree, client, get};

const BEFORE: &str = "Sun, 06 Nov 1994 08:49:36 GMT";

fn ask(client: &TestClient, fields: &[(&str, &str)]) -> TestResponse {
    let request = client.get("/a.txt");
    fields.iter().fold(request, |request, (name, value)| request.header(name, value)).send()
}

fn digits() -> Tree {
    Tree::of(&[("a.txt", &"0123456789".repeat(100))])
}

#[test]
fn rfc9110_15_4_5_what_the_client_has_is_not_sent_again() {
    let tree = digits();
    let client = tree.client();
    let etag = get(&client, "/a.txt").header("etag").expect("a tag").to_owned();
    for field in [("if-none-match", &*etag), ("if-none-match", "*"), ("if-modified-since", THEN)] {
        let response = ask(&client, &[field, ("range", "bytes=0-1")]);
        assert_eq!(response.status(), Status::NOT_MODIFIED, "{field:?}");
        assert_eq!(response.header("etag"), Some(&*etag));
        assert_eq!(response.header("last-modified"), Some(THEN));
        assert_eq!(response.header("cache-control"), Some("no-cache"));
        assert_eq!(response.header("content-type"), None);
    }
    for field in [("if-none-match", "\"x\""), ("if-modified-since", BEFORE)] {
        assert_eq!(ask(&client, &[field]).status(), Status::OK, "{field:?}");
    }
}

#[test]
fn rfc9110_15_5_13_another_version_than_is_meant_is_refused() {
    let tree = digits();
    let client = tree.client();
    let etag = get(&client, "/a.txt").header("etag").expect("a tag").to_owned();
    for field in [("if-match", "\"x\""), ("if-unmodified-since", BEFORE)] {
        let response = ask(&client, &[field]);
        assert_eq!(response.status(), Status::PRECONDITION_FAILED, "{field:?}");
    }
    for field in [("if-match", &*etag), ("if-match", "*"), ("if-unmodified-since", THEN)] {
        assert_eq!(ask(&client, &[field]).status(), Status::OK, "{field:?}");
    }
}

#[test]
fn rfc9110_8_8_1_a_file_that_has_just_changed_is_compared_weakly() {
    let tree = digits();
    fs::write(tree.path("a.txt"), "just now").expect("a file");
    let client = tree.client();
    let etag = get(&client, "/a.txt").header("etag").expect("a tag").to_owned();
    assert!(etag.starts_with("W/"), "{etag}");
    assert_eq!(ask(&client, &[("if-none-match", &etag)]).status(), Status::NOT_MODIFIED);
    let response = ask(&client, &[("if-range", &etag), ("range", "bytes=0-1")]);
    assert_eq!((response.status(), response.text()), (Status::OK, "just now"));
}

#[test]
fn rfc9110_14_one_range_is_sent_alone() {
    let tree = digits();
    let client = tree.client();
    for (range, content, expected) in [
        ("bytes=2-4", "234", "bytes 2-4/1000"),
        ("bytes=997-", "789", "bytes 997-999/1000"),
        ("bytes=-1", "9", "bytes 999-999/1000"),
        ("bytes=998-5000", "89", "bytes 998-999/1000"),
        ("bytes=1-2,2-3", "123", "bytes 1-3/1000"),
    ] {
        let response = ask(&client, &[("range", range)]);
        assert_eq!(response.status(), Status::PARTIAL_CONTENT, "{range}");
        assert_eq!(response.text(), content, "{range}");
        assert_eq!(response.header("content-range"), Some(expected));
        assert_eq!(response.header("content-type"), Some("text/plain; charset=utf-8"));
        assert!(response.header("etag").is_some());
    }
}

#[test]
fn rfc9110_14_6_several_ranges_are_sent_as_multipart() {
    let tree = digits();
    let response = ask(&tree.client(), &[("range", "bytes=500-501, 0-2, -1")]);
    assert_eq!(response.status(), Status::PARTIAL_CONTENT);
    assert_eq!(response.header("content-range"), None);
    let media_type = response.header("content-type").expect("a type");
    let boundary = media_type.strip_prefix("multipart/byteranges; boundary=").expect("a boundary");
    let head =
        format!("--{boundary}\r\ncontent-type: text/plain; charset=utf-8\r\ncontent-range: ");
    let expected = format!(
        "{head}bytes 500-501/1000\r\n\r\n01\r\n{head}bytes 0-2/1000\r\n\r\n012\r\n\
         {head}bytes 999-999/1000\r\n\r\n9\r\n--{boundary}--\r\n"
    );
    assert_eq!(response.text(), expected);
    assert_eq!(response.header("content-length"), Some(&*expected.len().to_string()));
}

#[test]
fn rfc9110_15_5_17_ranges_beyond_the_end_are_unsatisfiable() {
    let tree = digits();
    let response = ask(&tree.client(), &[("range", "bytes=1000-")]);
    assert_eq!(response.status(), Status::RANGE_NOT_SATISFIABLE);
    assert_eq!(response.header("content-range"), Some("bytes */1000"));
    assert_eq!(response.header("etag"), None);
}

#[test]
fn a_range_bomb_is_refused() {
    let tree = digits();
    let bomb = |count: usize| format!("bytes={}", vec!["0-"; count].join(","));
    let refused = Status::RANGE_NOT_SATISFIABLE;
    assert_eq!(ask(&tree.client(), &[("range", &bomb(17))]).status(), refused);
    assert_eq!(ask(&tree.client(), &[("range", &bomb(2000))]).status(), refused);
    // What is allowed sends each byte once.
    let response = ask(&tree.client(), &[("range", &bomb(16))]);
    assert_eq!(response.header("content-range"), Some("bytes 0-999/1000"));
    let client = client(tree.files().ranges_max(1));
    assert_eq!(ask(&client, &[("range", "bytes=0-0,500-500")]).status(), refused);
    assert_eq!(ask(&client, &[("range", "bytes=0-0")]).status(), Status::PARTIAL_CONTENT);
}

#[test]
fn ranges_that_cannot_be_read_are_ignored() {
    let tree = digits();
    for range in ["bytes=5-2", "lines=1-2", "bytes=a", "bytes"] {
        assert_eq!(ask(&tree.client(), &[("range", range)]).status(), Status::OK, "{range}");
    }
    let twice = ask(&tree.client(), &[("range", "bytes=0-0"), ("range", "bytes=1-1")]);
    assert_eq!(twice.status(), Status::OK);
}

#[test]
fn rfc9110_13_1_5_a_range_of_another_version_is_sent_whole() {
    let tree = digits();
    let client = tree.client();
    let etag = get(&client, "/a.txt").header("etag").expect("a tag").to_owned();
    let range = ("range", "bytes=0-0");
    let response = ask(&client, &[range, ("if-range", &etag)]);
    assert_eq!(response.status(), Status::PARTIAL_CONTENT);
    // The test has set the date, as tools do that keep a file's: another version may have the same.
    for value in ["\"x\"", THEN, BEFORE, "W/\"x\"", "nonsense"] {
        let response = ask(&client, &[range, ("if-range", value)]);
        assert_eq!(response.status(), Status::OK, "{value}");
        assert_eq!(response.bytes().len(), 1000);
    }
}
