//! Indexes, listings, slashes.

use threadline_http::files::Dotfiles;
use threadline_http::{Method, Status};

use crate::{Tree, client, get, status};

#[test]
fn a_directory_is_its_index() {
    let tree = Tree::of(&[("index.html", "front"), ("a/index.html", "a"), ("b/c", "")]);
    let client = tree.client();
    assert_eq!(get(&client, "/").text(), "front");
    let response = get(&client, "/a/");
    assert_eq!(response.text(), "a");
    assert_eq!(response.header("content-type"), Some("text/html; charset=utf-8"));
    assert_eq!(status(&client, "/b/"), 404);
}

#[test]
fn a_directory_without_slash_is_redirected_with_its_query() {
    let tree = Tree::of(&[("a b/index.html", "")]);
    let client = tree.client();
    for (path, location) in
        [("/a%20b", "/a%20b/"), ("/a%20b?x=1&y", "/a%20b/?x=1&y"), ("/a%20b?", "/a%20b/?")]
    {
        let response = get(&client, path);
        assert_eq!(response.status(), Status::MOVED_PERMANENTLY, "{path}");
        assert_eq!(response.header("location"), Some(location));
    }
}

#[test]
fn a_redirect_never_leads_to_another_host() {
    let tree = Tree::of(&[("example.org/a", "")]);
    for path in ["//example.org", "/%2fexample.org", "/%5cexample.org", "/\\example.org"] {
        let response = get(&tree.client(), path);
        assert!(response.status().is_error(), "{path}");
        assert_eq!(response.header("location"), None, "{path}");
    }
}

#[test]
fn a_file_is_no_directory() {
    let tree = Tree::of(&[("a", "")]);
    assert_eq!(status(&tree.client(), "/a/"), 404);
    assert_eq!(status(&tree.client(), "/a/b"), 404);
}

#[test]
fn the_index_is_a_setting() {
    let tree = Tree::of(&[("index.htm", "second"), ("index.html", "unused"), ("main.html/x", "")]);
    let names = client(tree.files().index(["main.html", "index.htm"]));
    assert_eq!(get(&names, "/").text(), "second");
    let none = client(tree.files().index([""; 0]));
    assert_eq!(status(&none, "/"), 404);
}

#[test]
fn a_listing_is_opt_in_sorted_and_escaped() {
    let tree = Tree::of(&[("b", "12345"), ("a<\"&'>", ""), ("z/x", ""), (".hidden", "")]);
    assert_eq!(status(&tree.client(), "/"), 404);
    let client = client(tree.files().listing());
    let response = get(&client, "/");
    assert_eq!(response.header("content-type"), Some("text/html; charset=utf-8"));
    assert!(response.header("content-security-policy").is_some());
    let page = response.text();
    let place = |text: &str| page.find(text).unwrap_or_else(|| panic!("no {text} in {page}"));
    let directory = place("<a href=\"z/\">z/</a>");
    let odd = place("<a href=\"a%3C%22%26%27%3E\">a&lt;&quot;&amp;&#39;&gt;</a>");
    let plain = place("<a href=\"b\">b</a><td>5<td>Sun, 06 Nov 1994 08:49:37 GMT");
    assert!(directory < odd && odd < plain, "{page}");
    assert!(!page.contains("hidden"));
    assert_eq!(get(&client, "/z").header("location"), Some("/z/"));
    assert!(get(&client, "/z/").text().contains("href=\"../\""));
    assert_eq!(status(&client, "/a%3C%22%26%27%3E"), 200);
    let head = client.request(Method::Head, "/").send();
    assert_eq!(head.header("content-length"), Some(&*page.len().to_string()));
}

#[test]
fn a_listing_is_json_for_who_prefers_that() {
    let tree = Tree::of(&[("b", "12345"), ("z/x", "")]);
    let client = client(tree.files().listing());
    let ask = |accept: &str| client.get("/").header("accept", accept).send();
    for accept in ["application/json", "text/html;q=0.5, application/json;q=0.6", "application/*"] {
        let response = ask(accept);
        assert_eq!(response.header("content-type"), Some("application/json"), "{accept}");
        assert_eq!(response.header("vary"), Some("accept"));
        let file = "{\"name\": \"b\", \"type\": \"file\", \"bytes\": 5, \
                    \"modified\": \"Sun, 06 Nov 1994 08:49:37 GMT\"}";
        assert!(response.text().contains(file), "{}", response.text());
        assert!(response.text().starts_with("[\n  {\"name\": \"z\", \"type\": \"directory\""));
    }
    for accept in ["*/*", "text/html", "text/html, application/json", "application/json;q=0"] {
        let media_type = ask(accept).header("content-type").map(str::to_owned);
        assert_eq!(media_type.as_deref(), Some("text/html; charset=utf-8"), "{accept}");
    }
}

#[test]
fn a_listing_has_no_more_entries_than_allowed() {
    let names: Vec<String> = (0..20).map(|number| format!("file-{number}")).collect();
    let files: Vec<_> = names.iter().map(|name| (&**name, "")).collect();
    let tree = Tree::of(&files);
    let shown = |client| get(&client, "/").text().matches("href=\"file-").count();
    assert_eq!(shown(client(tree.files().listing())), 20);
    assert_eq!(shown(client(tree.files().listing().listing_max(7))), 7);
}

#[test]
fn a_listing_shows_what_can_be_asked_for() {
    use std::os::unix::ffi::OsStrExt;
    let tree = Tree::of(&[("good", ""), ("back\\slash", ""), ("new\nline", ""), (".dot", "")]);
    let no_text = tree.0.path().join(std::ffi::OsStr::from_bytes(b"\xff"));
    std::fs::write(no_text, "").expect("a file");
    for (name, target) in [("inside", "good"), ("outside", "/etc/passwd"), ("dangling", "x")] {
        std::os::unix::fs::symlink(target, tree.path(name)).expect("a link");
    }
    let client = client(tree.files().listing().dotfiles(Dotfiles::Served));
    let page = get(&client, "/").text().to_owned();
    let shown: Vec<_> =
        page.split("href=\"").skip(1).filter_map(|rest| rest.split('"').next()).collect();
    assert_eq!(shown, [".dot", "good", "inside"], "{page}");
    for path in shown {
        assert_eq!(status(&client, &format!("/{path}")), 200, "{path}");
    }
}
