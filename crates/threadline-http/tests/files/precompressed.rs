//! Compressed siblings.

use std::time::SystemTime;

use threadline_http::Status;
use threadline_http::testing::{TestClient, TestResponse};

use crate::{Tree, client, get, set_age};

fn tree() -> Tree {
    let tree = Tree::of(&[("a.js", "plain"), ("a.js.br", "brotli"), ("a.js.gz", "gzip")]);
    tree.write("index.html", "front");
    tree.write("index.html.zst", "zstd");
    tree
}

fn ask(client: &TestClient, path: &str, accept: &str) -> TestResponse {
    client.get(path).header("accept-encoding", accept).send()
}

#[test]
fn the_sibling_that_the_client_prefers_is_sent() {
    let tree = tree();
    let client = client(tree.files().precompressed());
    for (path, accept, coding, content) in [
        ("/a.js", "gzip, br", Some("br"), "brotli"),
        ("/a.js", "br;q=0.5, gzip;q=0.8", Some("gzip"), "gzip"),
        ("/a.js", "zstd, gzip;q=0.1", Some("gzip"), "gzip"),
        ("/a.js", "*", Some("br"), "brotli"),
        ("/a.js", "br;q=0, gzip;q=0", None, "plain"),
        ("/a.js", "identity, br;q=0.9", None, "plain"),
        ("/a.js", "deflate", None, "plain"),
        ("/", "zstd", Some("zstd"), "zstd"),
    ] {
        let response = ask(&client, path, accept);
        assert_eq!(response.text(), content, "{path} {accept}");
        assert_eq!(response.header("content-encoding"), coding);
        assert_eq!(response.header("vary"), Some("accept-encoding"));
        let media_type = if path == "/" { "text/html" } else { "text/javascript" };
        assert_eq!(response.header("content-type"), Some(&*format!("{media_type}; charset=utf-8")));
    }
    assert_eq!(get(&client, "/a.js").text(), "plain");
}

#[test]
fn siblings_are_versions_of_their_own() {
    let tree = tree();
    let client = client(tree.files().precompressed());
    let plain = get(&client, "/a.js").header("etag").expect("a tag").to_owned();
    let coded = ask(&client, "/a.js", "br").header("etag").expect("a tag").to_owned();
    assert_ne!(plain, coded);
    let request = client.get("/a.js").header("accept-encoding", "br");
    let response = request.clone().header("if-none-match", &coded).send();
    assert_eq!(response.status(), Status::NOT_MODIFIED);
    assert_eq!(response.header("vary"), Some("accept-encoding"));
    let response = request.clone().header("if-none-match", &plain).send();
    assert_eq!(response.status(), Status::OK);
    let response = request.header("range", "bytes=0-1").send();
    assert_eq!((response.text(), response.header("content-encoding")), ("br", Some("br")));
}

#[test]
fn rfc9110_8_8_3_3_siblings_of_the_same_bytes_have_other_tags() {
    let tree = Tree::of(&[("a", "same"), ("a.br", "same"), ("a.gz", "same")]);
    let client = client(tree.files().precompressed());
    let tags = ["identity", "br", "gzip"].map(|accept| {
        let response = ask(&client, "/a", accept);
        response.header("etag").expect("a tag").to_owned()
    });
    assert!(tags[0] != tags[1] && tags[1] != tags[2] && tags[0] != tags[2], "{tags:?}");
}

#[test]
fn siblings_without_a_date_of_their_own_are_sent() {
    let tree = tree();
    for name in ["a.js", "a.js.br", "a.js.gz"] {
        set_age(&tree.path(name), SystemTime::UNIX_EPOCH);
    }
    let response = ask(&client(tree.files().precompressed()), "/a.js", "br");
    assert_eq!((response.text(), response.header("last-modified")), ("brotli", None));
}

#[test]
fn siblings_are_not_looked_for_unless_asked() {
    let tree = tree();
    let response = ask(&tree.client(), "/a.js", "br");
    assert_eq!((response.text(), response.header("vary")), ("plain", None));
}

#[test]
fn a_sibling_that_is_older_than_its_file_is_left_alone() {
    let tree = tree();
    set_age(&tree.path("a.js"), SystemTime::now());
    assert_eq!(ask(&client(tree.files().precompressed()), "/a.js", "br").text(), "plain");
}

#[test]
fn a_sibling_without_its_file_is_nothing() {
    let tree = Tree::of(&[("a.js.br", "brotli"), ("b.js", "plain"), ("b.js.br/x", "")]);
    let client = client(tree.files().precompressed());
    assert_eq!(ask(&client, "/a.js", "br").status(), Status::NOT_FOUND);
    assert_eq!(ask(&client, "/b.js", "br").text(), "plain");
}
