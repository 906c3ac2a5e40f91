//! What must not be served: everything outside, hidden names, and what is no file.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::UnixListener;

use rustix::fs::{CWD, FileType, Mode, mknodat};
use threadline_http::files::{Dotfiles, Files, Symlinks};

use crate::{Tree, client, get, status};

/// A root beside a secret.
fn tree() -> (Tree, Files) {
    let tree = Tree::of(&[("secret", "secret"), ("root/a", "a"), ("root/d/b", "b")]);
    let files = Files::dir(tree.path("root")).expect("a directory");
    (tree, files)
}

#[test]
fn no_encoding_of_a_path_leaves_the_root() {
    let (tree, files) = tree();
    let client = client(files.dotfiles(Dotfiles::Served).symlinks(Symlinks::Anywhere).listing());
    let absolute = tree.path("secret");
    let absolute = absolute.to_str().expect("text");
    let paths = [
        "/../secret".to_owned(),
        "/d/../../secret".to_owned(),
        "/d/../a".to_owned(),
        "/./a".to_owned(),
        "/..".to_owned(),
        "/d/..".to_owned(),
        "/d/../".to_owned(),
        "/%2e%2e/secret".to_owned(),
        "/%2E%2E/secret".to_owned(),
        "/.%2e/secret".to_owned(),
        "/%2e./secret".to_owned(),
        "/..%2fsecret".to_owned(),
        "/%2e%2e%2fsecret".to_owned(),
        "/d%2fb".to_owned(),
        "/..%5csecret".to_owned(),
        "/..\\secret".to_owned(),
        "/d\\b".to_owned(),
        "/%00".to_owned(),
        "/a%00".to_owned(),
        "/a%00.html".to_owned(),
        "/a%0a".to_owned(),
        "/%252e%252e/secret".to_owned(),
        "/%252e%252e%252fsecret".to_owned(),
        "/%c0%ae%c0%ae/secret".to_owned(),
        "/%c0%ae%c0%ae%c0%afsecret".to_owned(),
        "/%e0%80%ae%e0%80%ae/secret".to_owned(),
        "/%uff0e%uff0e/secret".to_owned(),
        "/%EF%BC%8E%EF%BC%8E/secret".to_owned(),
        "/..;/secret".to_owned(),
        "/.../secret".to_owned(),
        "/%2".to_owned(),
        "//a".to_owned(),
        "/d//b".to_owned(),
        format!("/{absolute}"),
        absolute.replace('/', "%2f"),
        format!("/{}", absolute.replace('/', "%2f")),
        format!("file://{absolute}"),
        format!("http://test/..{absolute}"),
        "http://test/../secret".to_owned(),
    ];
    for path in paths {
        let response = get(&client, &path);
        assert!(matches!(response.status().code(), 400 | 404), "{path}: {response:?}");
        assert!(!response.bytes().starts_with(b"secret"), "{path}");
    }
    assert_eq!(status(&client, "/d/b"), 200);
}

#[test]
fn what_is_decoded_once_is_not_decoded_again() {
    let tree = Tree::of(&[("%2e%2e", "literal"), ("a%2fb", "too")]);
    assert_eq!(get(&tree.client(), "/%252e%252e").text(), "literal");
    assert_eq!(get(&tree.client(), "/a%252fb").text(), "too");
}

#[test]
fn the_longest_names_are_a_404() {
    let (_tree, files) = tree();
    let client = client(files);
    assert_eq!(status(&client, &format!("/{}", "x".repeat(300))), 404);
    assert_eq!(status(&client, &"/x".repeat(3000)), 404);
}

#[test]
fn links_are_followed_as_said() {
    let (tree, files) = tree();
    let link = |target: &str, name: &str| symlink(target, tree.path(name)).expect("a link");
    link("d/b", "root/inside");
    link("../a", "root/d/up");
    link("d", "root/directory");
    link("../secret", "root/out");
    link("..", "root/out-directory");
    link(tree.path("root/a").to_str().expect("text"), "root/absolute");
    link("loop", "root/loop");
    link("nothing", "root/dangling");
    let cases = [
        ("/a", [200, 200, 200]),
        ("/inside", [200, 404, 200]),
        ("/d/up", [200, 404, 200]),
        ("/directory/b", [200, 404, 200]),
        ("/out", [404, 404, 200]),
        ("/out-directory/secret", [404, 404, 200]),
        ("/absolute", [404, 404, 200]),
        ("/loop", [404, 404, 404]),
        ("/dangling", [404, 404, 404]),
    ];
    for (index, symlinks) in
        [Symlinks::Inside, Symlinks::Never, Symlinks::Anywhere].into_iter().enumerate()
    {
        let client = client(files.clone().symlinks(symlinks));
        for (path, expected) in cases {
            assert_eq!(status(&client, path), expected[index], "{path} {symlinks:?}");
        }
    }
    assert_eq!(status(&client(files), "/out"), 404, "the default");
}

#[test]
fn proc_is_no_way_out() {
    let files = Files::dir("/proc/self").expect("a directory");
    assert_eq!(status(&client(files.clone()), "/root/etc/passwd"), 404);
    assert_eq!(status(&client(files), "/cwd/Cargo.toml"), 404);
}

#[test]
fn dotfiles_are_served_as_said() {
    let tree = Tree::of(&[(".env", ""), (".git/config", ""), (".well-known/x", ""), ("a/.b", "")]);
    for (dotfiles, expected) in [
        (Dotfiles::Hidden, [404, 404, 404, 404]),
        (Dotfiles::WellKnown, [404, 404, 200, 404]),
        (Dotfiles::Served, [200, 200, 200, 200]),
    ] {
        let client = client(tree.files().dotfiles(dotfiles));
        let paths = ["/.env", "/%2egit/config", "/.well-known/x", "/a/.b"];
        assert_eq!(paths.map(|path| status(&client, path)), expected, "{dotfiles:?}");
    }
}

#[test]
fn only_files_are_read() {
    let (tree, files) = tree();
    mknodat(CWD, tree.path("root/fifo"), FileType::Fifo, Mode::RWXU, 0).expect("a FIFO");
    let _socket = UnixListener::bind(tree.path("root/socket")).expect("a socket");
    let client_of = |files: Files| client(files.listing());
    // A FIFO without a writer would be waited for until the end of time.
    assert_eq!(status(&client_of(files.clone()), "/fifo"), 404);
    assert_eq!(status(&client_of(files.clone()), "/socket"), 404);
    let page = get(&client_of(files), "/").text().to_owned();
    assert!(page.contains("href=\"a\""), "{page}");
    assert!(!page.contains("fifo") && !page.contains("socket"), "{page}");
    let devices = Files::dir("/dev").expect("a directory");
    assert_eq!(status(&client_of(devices.clone()), "/null"), 404);
    assert_eq!(status(&client_of(devices), "/zero"), 404);
}

#[test]
fn what_may_not_be_read_is_not_there() {
    let (tree, files) = tree();
    let path = tree.path("root/a");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o000)).expect("permissions");
    // Root may read everything: then there is nothing to see here.
    let expected = if fs::read(&path).is_ok() { 200 } else { 404 };
    assert_eq!(status(&client(files), "/a"), expected);
}
