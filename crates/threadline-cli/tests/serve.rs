//! `threadline serve`: files over sockets, so sent by the kernel, and settings by flags.

mod common;

use std::fs;
use std::os::unix::fs::symlink;

use common::{Program, output};
use tempfile::TempDir;

fn directory() -> TempDir {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path();
    fs::write(path.join("a.txt"), "hello").expect("a file");
    fs::write(path.join("big"), "0123456789".repeat(100_000)).expect("a file");
    fs::write(path.join(".env"), "hidden").expect("a file");
    fs::create_dir(path.join("sub")).expect("a directory");
    symlink("/proc/version", path.join("out")).expect("a link");
    directory
}

fn serve(directory: &TempDir, flags: &[&str]) -> Program {
    let path = directory.path().to_str().expect("text");
    Program::start(&[&["serve", path, "127.0.0.1:0"], flags].concat())
}

#[test]
fn files_and_parts_of_them_are_served_on_one_connection() {
    let directory = directory();
    let program = serve(&directory, &[]);
    let mut client = program.http();
    let reply = client.get("/a.txt");
    assert_eq!((reply.status, &*reply.body), (200, "hello"));
    assert!(reply.head.contains("content-type: text/plain; charset=utf-8\r\n"), "{}", reply.head);
    let big = client.get("/big");
    assert!(big.body == "0123456789".repeat(100_000), "{} bytes", big.body.len());
    client.send("GET /big HTTP/1.1\r\nhost: test\r\nrange: bytes=999995-\r\n\r\n");
    let part = client.reply();
    assert_eq!((part.status, &*part.body), (206, "56789"));
    client.send("GET /big HTTP/1.1\r\nhost: test\r\nrange: bytes=0-2,500000-500001\r\n\r\n");
    let parts = client.reply();
    assert_eq!(parts.status, 206);
    assert!(parts.body.contains("content-range: bytes 500000-500001/1000000\r\n\r\n01\r\n--"));
    assert_eq!(client.get("/a.txt").status, 200);
}

#[test]
fn what_is_not_meant_to_be_seen_is_not_unless_asked_for() {
    let directory = directory();
    let statuses = |flags: &[&str]| {
        let program = serve(&directory, flags);
        let mut client = program.http();
        ["/", "/.env", "/out", "/../etc/passwd"].map(|path| client.get(path).status)
    };
    assert_eq!(statuses(&[]), [404, 404, 404, 404]);
    let all = ["--listing", "--dotfiles", "--follow-symlinks", "--cache", "60", "--precompressed"];
    assert_eq!(statuses(&all), [200, 200, 200, 404]);
}

#[test]
fn listings_and_caching_are_flags() {
    let directory = directory();
    let program = serve(&directory, &["--listing", "--cache", "60"]);
    let mut client = program.http();
    let page = client.get("/").body;
    assert!(page.contains("href=\"sub/\"") && page.contains("href=\"a.txt\""), "{page}");
    assert!(!page.contains(".env"), "{page}");
    assert!(client.get("/a.txt").head.contains("cache-control: public, max-age=60\r\n"));
}

#[test]
fn a_directory_that_is_not_there_is_explained() {
    let said = output(&["serve", "/nothing/here", "127.0.0.1:0"]);
    let message = String::from_utf8(said.stderr).expect("text");
    assert_eq!(said.status.code(), Some(1), "{message}");
    assert_eq!(message.lines().count(), 1, "{message}");
    let hint = "threadline: cannot serve files from /nothing/here: No such file or directory";
    assert!(message.starts_with(hint), "{message}");
}
