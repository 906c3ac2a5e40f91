//! The program as its users see it: what it says, what it answers, how it fails.
//!
//! Nothing here looks inside: the program is started, its addresses are read from its log, and clients
//! talk to it. Signals, worker processes and descriptor limits have binaries of their own.

mod common;

use std::io::{Read, Write};
use std::net::{TcpListener, UdpSocket};
use std::os::unix::net::UnixStream;
use std::process::Command;

use common::{Client, PATIENCE, Program, output};

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("text")
}

#[test]
fn help_shows_examples() {
    for (arguments, example) in [
        (&["--help"][..], "demo"),
        (&["demo", "--help"], "demo"),
        (&["echo", "--help"], "echo"),
        (&["serve", "--help"], "serve"),
    ] {
        let said = output(arguments);
        assert_eq!(said.status.code(), Some(0));
        let help = text(&said.stdout);
        assert!(help.contains("Usage: threadline"), "{help}");
        assert!(help.contains(&format!("Examples:\n  threadline {example} ")), "{help}");
    }
}

#[test]
fn the_version_is_the_packages() {
    let said = output(&["--version"]);
    assert_eq!(said.status.code(), Some(0));
    assert_eq!(text(&said.stdout), format!("threadline {}\n", env!("CARGO_PKG_VERSION")));
}

#[test]
fn a_bad_command_line_is_explained() {
    let cases = [
        (&["demo", "--fast"][..], "--fast"),
        (&["demo", "--model", "magic"], "use one of"),
        (&["demo", "--shards", "0"], "it must be at least 1"),
        (&["demo", "--threads", "many"], "that is no whole number"),
        (&["demo", "--connections", "0"], "it must be at least 1"),
        (&["demo", "--drain", "1.5"], "that is no whole number of seconds"),
        (&["demo", "--http", "8080"], "use HOST:PORT"),
        (&["echo", "127.0.0.1"], "use HOST:PORT"),
        (&["echo", "127.0.0.1:0", "--as", "smoke"], "possible values: stream, lines"),
    ];
    for (arguments, hint) in cases {
        let said = output(arguments);
        let message = text(&said.stderr);
        assert_eq!(said.status.code(), Some(2), "{arguments:?}: {message}");
        assert!(message.contains(hint), "{arguments:?}: {message}");
        assert_eq!(message.matches("error:").count(), 1, "{message}");
        assert!(said.stdout.is_empty());
    }
}

#[test]
fn the_front_page_says_where_its_services_are() {
    let program = Program::demo(&["--connections", "100"]);
    let page = program.http().get("/").body;
    // The address that the client has used.
    assert!(page.contains("curl http://test/hello/you"), "{page}");
    for kind in ["stream", "lines"] {
        let port = program.address(kind).port().to_string();
        assert!(page.contains(&format!("nc 127.0.0.1 {port} ")), "{page}");
    }
    assert!(page.contains("and nobody else"), "{page}");
    let status = program.http().get("/status").body;
    assert!(status.contains("of 100\n"), "{status}");
    let program = Program::demo(&["--model", "event-loop"]);
    let page = program.http().get("/").body;
    assert!(page.contains("and everybody else on its event loop"), "{page}");
}

#[test]
fn a_busy_port_is_one_line_with_a_hint() {
    let other = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = other.local_addr().expect("an address").to_string();
    for processes in [&[][..], &["--processes", "2"]] {
        let said = output(&[&["echo", &address], processes].concat());
        let message = text(&said.stderr);
        assert_eq!(said.status.code(), Some(1), "{message}");
        assert_eq!(message.lines().count(), 1, "{message}");
        assert!(message.starts_with("threadline: cannot listen on "), "{message}");
        assert!(
            message.contains(&address) && message.contains("listens there already"),
            "{message}"
        );
    }
}

#[test]
fn echo_takes_streams_lines_and_frames_over_tcp() {
    for (kind, message) in
        [("stream", &b"no end"[..]), ("lines", b"a line\n"), ("frames", b"\0\0\0\x05frame")]
    {
        let program = Program::start(&["echo", "127.0.0.1:0", "--as", kind]);
        let mut client = Client::connect(program.address(kind));
        client.assert_echoes(message);
        client.assert_echoes(message);
    }
}

#[test]
fn echo_takes_streams_lines_and_frames_over_unix_sockets() {
    for (kind, message) in
        [("stream", &b"no end"[..]), ("lines", b"a line\n"), ("frames", b"\0\0\0\x05frame")]
    {
        let name = format!("threadline-echo-{kind}-{}.sock", std::process::id());
        let path = std::env::temp_dir().join(name);
        let address = format!("unix:{}", path.display());
        let mut program = Program::start(&["echo", &address, "--as", kind]);
        program.line(&format!("serving {kind} on {address}"));
        let mut client = UnixStream::connect(&path).expect("connects");
        client.set_read_timeout(Some(PATIENCE)).expect("timeout");
        client.write_all(message).expect("writes");
        let mut back = vec![0; message.len()];
        client.read_exact(&mut back).expect("an echo");
        assert_eq!(back, message);
        drop(client);
        program.signal(rustix::process::Signal::TERM);
        assert_eq!(program.ends_within(PATIENCE), 0);
        assert!(!path.exists(), "the socket file is gone");
    }
}

#[test]
fn echo_takes_datagrams_over_udp() {
    let program = Program::start(&["echo", "127.0.0.1:0", "--as", "datagrams"]);
    let client = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    client.set_read_timeout(Some(PATIENCE)).expect("timeout");
    client.connect(program.address("datagrams")).expect("connects");
    for message in [&b"one"[..], b"", b"three"] {
        client.send(message).expect("sends");
        let mut back = [0; 16];
        let len = client.recv(&mut back).expect("an echo");
        assert_eq!(&back[..len], message);
    }
}

#[test]
fn the_demo_echoes() {
    let program = Program::demo(&[]);
    let mut client = program.echo();
    client.assert_echoes(b"hello");
    client.assert_echoes(&[7; 100_000]);
}

#[test]
fn chat_members_hear_each_other_come_talk_and_leave() {
    let program = Program::demo(&[]);
    let (mut one, mut two) = (program.chat(), Client::connect(program.address("lines")));
    let heard = |client: &mut Client| client.line().expect("a line");
    assert!(heard(&mut one).starts_with("* welcome, guest"));
    // Which of the two has come first is the shards' to decide.
    assert!(heard(&mut two).starts_with("* welcome, guest"));
    one.send("/name ada\n");
    loop {
        let line = heard(&mut one);
        if line == "* you are ada now" {
            break;
        }
        assert!(line.ends_with(" has come in"), "{line}");
    }
    loop {
        let line = heard(&mut two);
        if line.ends_with(" is ada now") {
            break;
        }
        assert!(line.ends_with(" has come in"), "{line}");
    }
    assert_eq!(two.ask("/name bob"), "* you are bob now");
    assert!(heard(&mut one).ends_with(" is bob now"));
    assert_eq!(two.ask("/name ada"), "* the name ada is taken");
    assert_eq!(one.ask("/who"), "* 2 here: ada, bob");

    one.send("hello, bob\n");
    assert_eq!(heard(&mut two), "ada: hello, bob");
    two.send("hello, ada\n");
    assert_eq!(heard(&mut one), "bob: hello, ada");

    assert_eq!(two.ask("/quit"), "* good-bye");
    assert_eq!(two.line(), None);
    assert_eq!(heard(&mut one), "* bob has left");
    assert_eq!(one.ask("/who"), "* 1 here: ada");
}

#[test]
fn the_web_service_answers() {
    let program = Program::demo(&[]);
    let mut client = program.http();
    assert!(client.get("/").body.starts_with("threadline demo, model adaptive\n"));
    assert_eq!(client.get("/hello/you").body, "hello, you\n");
    assert_eq!(client.get("/slow/1").body, "slept 1 ms\n");
    client.send("POST /count HTTP/1.1\r\nhost: test\r\ncontent-length: 4\r\n\r\nbody");
    assert_eq!(client.reply().body, "4 bytes\n");
    assert_eq!(client.get("/nothing").status, 404);
    assert_eq!(client.get("/slow/soon").status, 400);
    let refused = client.get("/slow/99999999");
    assert_eq!((refused.status, refused.body.contains("at most 60000 ms")), (400, true));
    let status = client.get("/status");
    assert_eq!(status.status, 200);
    assert!(status.body.contains(&format!("process              {}\n", program.pid())));
    assert!(status.body.contains("connections          1 of "), "{}", status.body);
}

#[test]
fn a_slow_request_delays_nobody_else() {
    for model in ["adaptive", "pool", "thread-per-connection"] {
        // One shard, so that both share it.
        let program = Program::demo(&["--model", model, "--shards", "1"]);
        let (mut slow, mut fast) = (program.http(), program.http());
        slow.request("/slow/200");
        assert_eq!(fast.get("/hello/you").body, "hello, you\n");
        assert!(slow.is_silent(), "{model}: the fast one was first");
        assert_eq!(slow.reply().body, "slept 200 ms\n");
    }
}

#[test]
fn log_lines_in_a_pipe_are_plain() {
    let mut program = Program::demo(&[]);
    program.line("ready");
    program.signal(rustix::process::Signal::TERM);
    assert_eq!(program.ends_within(PATIENCE), 0);
    program.log_ends();
    let log = program.log();
    assert!(log.contains("INFO stopped") && !log.contains('\x1b'), "{log:?}");
}

#[test]
fn curl_is_content() {
    if Command::new("curl").arg("--version").output().is_err() {
        println!("skipped: there is no curl here");
        return;
    }
    let program = Program::demo(&[]);
    let at = |path: &str| format!("http://{}{path}", program.address("http"));
    let curl = |arguments: &[&str]| {
        let mut command = Command::new("curl");
        let command = command.args(["-sS", "--noproxy", "*", "--max-time", "20"]);
        let said = command.args(arguments).output().expect("curl runs");
        assert!(said.status.success(), "{arguments:?}: {}", text(&said.stderr));
        text(&said.stdout)
    };
    let connects = "%{num_connects} %{http_version}\n";
    let both = curl(&["-w", connects, &at("/hello/one"), &at("/hello/two")]);
    assert_eq!(both, "hello, one\n1 1.1\nhello, two\n0 1.1\n", "one connection for both");
    let old = curl(&["--http1.0", "-i", &at("/hello/old")]);
    assert!(old.starts_with("HTTP/1.") && old.ends_with("\r\n\r\nhello, old\n"), "{old}");
    let head = curl(&["-I", &at("/hello/you")]);
    assert!(
        head.contains("200 OK") && head.to_lowercase().contains("content-length: 11"),
        "{head}"
    );
    let posted = ["-H", "Expect: 100-continue", "--data", "a=b", "-o", "/dev/null"];
    let status = |path: &str| {
        let url = at(path);
        curl(&[&posted[..], &["-w", "%{http_code}", &url]].concat())
    };
    assert_eq!(status("/nothing"), "404");
    assert_eq!(status("/hello/you"), "405");
}
