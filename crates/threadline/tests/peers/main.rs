//! Real clients, proxies and attackers against a service, as they are installed.
//!
//! A program that is not installed is left out and said so; with `THREADLINE_REAL_PEERS=1`, as `.ci/run`
//! sets it, that is a failure.

mod attackers;
mod clients;
mod proxies;
#[path = "../service/shout.rs"]
mod shout;

use std::env;
use std::fs;
use std::io::{self, Read};
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use tempfile::TempDir;
use threadline::http::files::Files;
use threadline::http::{HttpSettings, Request, Response, Router};
use threadline::{Server, TestServer, Timeouts};

/// Far longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(30);

/// 100 000 bytes that tell where they are.
fn big() -> Vec<u8> {
    (0..100_000_u32).map(|at| b'a' + (at / 7 % 26) as u8).collect()
}

/// A service with a bit of everything, and the directory it serves.
struct Service {
    server: TestServer,
    directory: TempDir,
}

fn service() -> Service {
    service_with(HttpSettings::default())
}

fn service_with(settings: HttpSettings) -> Service {
    let directory = tempfile::tempdir().expect("a directory");
    fs::write(directory.path().join("index.html"), PAGE).expect("a file");
    fs::write(directory.path().join("script.js"), SCRIPT).expect("a file");
    fs::write(directory.path().join("big"), big()).expect("a file");
    let router = Router::new()
        .get("/hello", || "hello\n")
        .get("/version", |request: &Request<'_>| format!("{:?}", request.version()))
        .post("/echo", |body: Vec<u8>| body)
        .post("/count", count)
        .put("/count", count)
        .get("/shout", || Response::upgrade("shout", shout::shout))
        .files("/files", Files::dir(directory.path()).expect("the directory"))
        .settings(settings);
    let server = TestServer::start_with(Server::new(), router).expect("a server");
    Service { server, directory }
}

const PAGE: &str =
    "<!doctype html><title>before</title><p id=p>plain</p><script src=script.js></script>";
const SCRIPT: &str = "document.getElementById('p').textContent = 'run by ' + 'the browser'";

/// Reads the body while it arrives.
fn count(request: &Request<'_>) -> io::Result<String> {
    io::copy(&mut request.reader(), &mut io::sink()).map(|count| count.to_string())
}

/// Deadlines that a test can wait for.
fn short_deadlines() -> HttpSettings {
    let second = Duration::from_secs(1);
    let timeouts = Timeouts {
        head: Some(second),
        body: Some(second),
        write: Some(second),
        idle: Some(2 * second),
        ..Timeouts::default()
    };
    HttpSettings::default().timeouts(timeouts)
}

/// Where a program is installed, also where only root usually looks.
fn installed(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let system = ["/usr/sbin", "/usr/local/sbin"].map(PathBuf::from);
    let found =
        env::split_paths(&path).chain(system).map(|dir| dir.join(name)).find(|at| at.exists());
    if found.is_none() {
        assert!(env::var_os("THREADLINE_REAL_PEERS").is_none(), "{name} is not installed");
        eprintln!("left out: {name} is not installed");
    }
    found
}

/// Runs a program to its end, or ends it.
fn run(program: &PathBuf, arguments: &[&str]) -> Output {
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    finish(command.spawn().expect("it starts"))
}

fn finish(mut child: Child) -> Output {
    let stdout = read_beside(child.stdout.take().expect("piped"));
    let stderr = read_beside(child.stderr.take().expect("piped"));
    // They end with the program.
    let (Ok(stdout), Ok(stderr)) = (stdout.recv_timeout(PATIENCE), stderr.recv_timeout(PATIENCE))
    else {
        child.kill().expect("our child");
        panic!("{child:?} did not end");
    };
    Output { status: child.wait().expect("our child"), stdout, stderr }
}

/// On a thread, so that two pipes are read at once and neither fills up.
fn read_beside(mut from: impl Read + Send + 'static) -> mpsc::Receiver<Vec<u8>> {
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        from.read_to_end(&mut bytes).expect("a pipe");
        let _ = sender.send(bytes);
    });
    receiver
}

/// What a program said on standard output, if it went well.
#[track_caller]
fn said(output: &Output) -> String {
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{}\n{text}", String::from_utf8_lossy(&output.stderr));
    text
}

/// A port that was free a moment ago, for programs that cannot choose one themselves.
fn free_port() -> u16 {
    let probe = TcpListener::bind("127.0.0.1:0").expect("a free port");
    probe.local_addr().expect("an address").port()
}
