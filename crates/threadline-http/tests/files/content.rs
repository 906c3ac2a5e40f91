//! What is sent of a file, and described how.

use std::time::{Duration, SystemTime};

use threadline_http::files::Files;
use threadline_http::testing::TestClient;
use threadline_http::{Method, Router, Status};

use crate::{THEN, Tree, client, get, set_age, status};

#[test]
fn a_file_is_sent_with_its_type_and_validators() {
    let tree = Tree::of(&[("a b/ä.txt", "hello")]);
    let response = get(&tree.client(), "/a%20b/%C3%A4.txt");
    assert_eq!((response.status(), response.text()), (Status::OK, "hello"));
    for (name, value) in [
        ("content-type", "text/plain; charset=utf-8"),
        ("content-length", "5"),
        ("last-modified", THEN),
        ("cache-control", "no-cache"),
        ("accept-ranges", "bytes"),
        ("x-content-type-options", "nosniff"),
    ] {
        assert_eq!(response.header(name), Some(value), "{name}");
    }
    assert!(response.header("etag").is_some_and(|etag| etag.starts_with('"')));
    assert_eq!(response.header("vary"), None);
}

#[test]
fn an_empty_file_is_no_missing_file() {
    let response = get(&Tree::of(&[("a", "")]).client(), "/a");
    assert_eq!((response.status(), response.bytes()), (Status::OK, &b""[..]));
    assert_eq!(response.header("content-length"), Some("0"));
}

#[test]
fn a_change_is_seen_at_once_and_has_another_tag() {
    let tree = Tree::of(&[("a", "one")]);
    let client = tree.client();
    let before = get(&client, "/a");
    tree.write("a", "other");
    let after = get(&client, "/a");
    assert_eq!(after.text(), "other");
    assert_ne!(before.header("etag"), after.header("etag"));
    // Another date does not change the content.
    set_age(&tree.path("a"), SystemTime::now() - Duration::from_secs(60));
    let touched = get(&client, "/a");
    assert_eq!(touched.header("etag"), after.header("etag"));
    assert_ne!(touched.header("last-modified"), after.header("last-modified"));
}

#[test]
fn rfc9110_9_3_2_head_says_what_get_would() {
    let tree = Tree::of(&[("a", "hello")]);
    let client = tree.client();
    let (head, got) = (client.request(Method::Head, "/a").send(), get(&client, "/a"));
    assert_eq!(head.status(), Status::OK);
    assert!(head.bytes().is_empty());
    for name in ["content-length", "content-type", "etag", "last-modified"] {
        assert_eq!(head.header(name), got.header(name), "{name}");
    }
    // Only GET has ranges (RFC 9110 §14.2).
    let head = client.request(Method::Head, "/a").header("range", "bytes=0-0").send();
    assert_eq!((head.status(), head.header("content-length")), (Status::OK, Some("5")));
}

#[test]
fn other_methods_are_not_allowed() {
    let tree = Tree::of(&[("a", "hello")]);
    let router = Router::new().files("/routed", tree.files()).fallback(tree.files());
    let client = TestClient::new(router).expect("a router");
    let response = client.delete("/routed/a").send();
    assert_eq!(response.status(), Status::METHOD_NOT_ALLOWED);
    assert_eq!(response.header("allow"), Some("GET, HEAD, OPTIONS"));
    let response = client.post("/a").send();
    assert_eq!(response.status(), Status::METHOD_NOT_ALLOWED);
    assert_eq!(response.header("allow"), Some("GET, HEAD"));
}

#[test]
fn files_are_found_behind_a_prefix_a_parameter_and_as_fallback() {
    let tree = Tree::of(&[("a/b", "hello"), ("index.html", "front")]);
    let router = Router::new()
        .get("/one", || "a route")
        .files("/static/", tree.files())
        .get("/files/{*any}", tree.files())
        .get("/{user}/of/{*any}", tree.files())
        .nest("/inner", Router::new().files("/deep", tree.files()))
        .fallback(tree.files());
    let client = TestClient::new(router).expect("a router");
    for path in
        ["/static/a/b", "/files/a/b", "/x/of/a/b", "/inner/deep/a/b", "/a/b", "http://test/a/b"]
    {
        assert_eq!(get(&client, path).text(), "hello", "{path}");
    }
    for path in ["/static/", "/inner/deep/", "/"] {
        assert_eq!(get(&client, path).text(), "front", "{path}");
    }
    assert_eq!(get(&client, "/one").text(), "a route");
    assert_eq!(get(&client, "/static?x").header("location"), Some("/static/?x"));
}

#[test]
fn types_charset_and_caching_are_settings() {
    let tree = Tree::of(&[("a.txt", ""), ("b.md", ""), ("assets/c.css", "")]);
    let files = tree.files().charset(None).media_type("md", "text/x-notes");
    let client = client(files.cache(Duration::from_secs(60)).immutable("assets/*"));
    let of = |path, name| get(&client, path).header(name).unwrap_or_default().to_owned();
    assert_eq!(of("/a.txt", "content-type"), "text/plain");
    assert_eq!(of("/b.md", "content-type"), "text/x-notes");
    assert_eq!(of("/a.txt", "cache-control"), "public, max-age=60");
    assert_eq!(of("/assets/c.css", "cache-control"), "public, max-age=31536000, immutable");
    let client = crate::client(tree.files().cache_control("private"));
    assert_eq!(get(&client, "/a.txt").header("cache-control"), Some("private"));
}

#[test]
fn a_root_that_is_replaced_is_noticed() {
    let tree = Tree::of(&[("1/a", "one"), ("2/a", "two")]);
    let (current, next) = (tree.path("current"), tree.path("next"));
    std::os::unix::fs::symlink("1", &current).expect("a link");
    let client = client(Files::dir(&current).expect("a directory"));
    assert_eq!(get(&client, "/a").text(), "one");
    std::os::unix::fs::symlink("2", &next).expect("a link");
    std::fs::rename(&next, &current).expect("renamed");
    assert_eq!(get(&client, "/a").text(), "two");
    std::fs::remove_file(&current).expect("removed");
    assert_eq!(status(&client, "/a"), 404);
}
