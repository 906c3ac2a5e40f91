//! Files that are part of the program.

use threadline_http::Status;
use threadline_http::files::Files;

use crate::{client, get, status};

const ASSETS: &[(&str, &[u8])] = &[
    ("index.html", b"front"),
    ("css/main.css", b"body{}"),
    ("css/main.css.gz", b"zipped"),
    ("js/deep/app.js", b"0123456789"),
    ("main.rs", include_bytes!("main.rs")),
];

#[test]
fn embedded_files_are_served_as_others() {
    let client = client(Files::embedded(ASSETS).precompressed());
    let response = get(&client, "/css/main.css");
    assert_eq!(response.text(), "body{}");
    assert_eq!(response.header("content-type"), Some("text/css; charset=utf-8"));
    assert_eq!(response.header("last-modified"), None);
    assert_eq!(get(&client, "/main.rs").bytes(), include_bytes!("main.rs"));
    assert_eq!(get(&client, "/").text(), "front");
    assert_eq!(get(&client, "/css").header("location"), Some("/css/"));
    for path in ["/css/", "/nothing", "/js/deep/app.js/", "/js/../index.html"] {
        assert_eq!(status(&client, path), 404, "{path}");
    }
    let zipped = client.get("/css/main.css").header("accept-encoding", "gzip").send();
    assert_eq!((zipped.text(), zipped.header("content-encoding")), ("zipped", Some("gzip")));
}

#[test]
fn embedded_files_have_strong_validators_and_ranges() {
    let client = client(Files::embedded(ASSETS));
    let path = "/js/deep/app.js";
    let etag = get(&client, path).header("etag").expect("a tag").to_owned();
    assert!(etag.starts_with('"'), "{etag}");
    let known = client.get(path).header("if-none-match", &etag).send();
    assert_eq!(known.status(), Status::NOT_MODIFIED);
    let part = client.get(path).header("range", "bytes=8-").header("if-range", &etag).send();
    assert_eq!((part.status(), part.text()), (Status::PARTIAL_CONTENT, "89"));
    let none = client.get(path).header("range", "bytes=10-").send();
    assert_eq!(none.header("content-range"), Some("bytes */10"));
}

#[test]
fn embedded_directories_are_listed_when_asked() {
    let client = client(Files::embedded(ASSETS).index([""; 0]).listing());
    let page = get(&client, "/").text().to_owned();
    assert!(page.contains("href=\"css/\"") && page.contains("href=\"index.html\""), "{page}");
    assert!(get(&client, "/js/").text().contains("href=\"deep/\""));
}
