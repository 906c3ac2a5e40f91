//! What the program logs, and what becomes of it when its log cannot be written.
//!
//! Services listen on Unix sockets, so that they are found without their log.

mod common;

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use common::{Client, PATIENCE, Program, eventually, output};
use rustix::process::{Pid, Signal};
use tempfile::TempDir;

const PROGRAM: &str = env!("CARGO_BIN_EXE_threadline");
const MODELS: [&str; 4] = ["adaptive", "event-loop", "pool", "thread-per-connection"];

/// The demonstration on Unix sockets, with its log where the test wants it.
struct Demo {
    child: Child,
    directory: TempDir,
}

impl Demo {
    fn start(arguments: &[&str], stderr: impl Into<Stdio>) -> Demo {
        Demo::of(&mut Command::new(PROGRAM), arguments, stderr)
    }

    fn of(program: &mut Command, arguments: &[&str], stderr: impl Into<Stdio>) -> Demo {
        let directory = tempfile::tempdir().expect("a directory");
        let at = |name: &str| format!("--{name}=unix:{}/{name}", directory.path().display());
        let child = program
            .args(["demo", &at("http"), &at("echo"), &at("chat")])
            .args(arguments)
            .env("THREADLINE_LOG", "debug")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(stderr)
            .spawn()
            .expect("the program starts");
        Demo { child, directory }
    }

    fn connect(&self, name: &str) -> UnixStream {
        let path = self.directory.path().join(name);
        let mut connected = None;
        eventually("the service listens", || {
            connected = UnixStream::connect(&path).ok();
            connected.is_some()
        });
        let stream = connected.expect("a connection");
        stream.set_read_timeout(Some(PATIENCE)).expect("a time limit");
        stream
    }

    /// All that a connection answers to these bytes.
    fn answer(&self, name: &str, input: &[u8]) -> String {
        let mut stream = self.connect(name);
        stream.write_all(input).expect("sent");
        stream.shutdown(Shutdown::Write).expect("half closed");
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).expect("an answer");
        String::from_utf8_lossy(&answer).into_owned()
    }

    /// Sends `count` requests on one connection; each must be answered.
    fn requests(&self, count: usize) {
        let request = "GET /hello/you HTTP/1.1\r\nhost: x\r\n\r\n";
        let last = "GET /hello/you HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
        let mut stream = self.connect("http");
        stream.write_all((request.repeat(count - 1) + last).as_bytes()).expect("sent");
        let mut answers = String::new();
        stream.read_to_string(&mut answers).expect("answers");
        assert_eq!(answers.matches("hello, you\n").count(), count, "{answers}");
    }

    /// A number on the status page.
    fn count(&self, name: &str) -> u64 {
        let request = b"GET /status HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
        let page = self.answer("http", request);
        let line = page.lines().find(|line| line.starts_with(name)).expect(name);
        line.rsplit(' ').next().and_then(|count| count.parse().ok()).expect("a number")
    }

    /// Sends requests until lines are lost; each must be answered.
    fn lose_lines(&self) {
        eventually("lines are lost", || {
            self.requests(50);
            self.count("log_lines_lost") > 0
        });
        // And every other kind of service goes on, too.
        assert_eq!(self.answer("echo", b"hello"), "hello");
        assert!(self.answer("chat", b"/who\n/quit\n").contains("* good-bye\n"));
    }

    fn stop(mut self) {
        rustix::process::kill_process(Pid::from_child(&self.child), Signal::TERM).expect("there");
        let deadline = Instant::now() + PATIENCE;
        let mut ended = None;
        eventually("the program ends", || {
            assert!(Instant::now() < deadline);
            ended = self.child.try_wait().expect("a child");
            ended.is_some()
        });
        assert_eq!(ended.and_then(|status| status.code()), Some(0), "{ended:?}");
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn full() -> File {
    File::options().write(true).open("/dev/full").expect("a device that is always full")
}

#[test]
fn a_log_whose_reader_is_gone_ends_nothing() {
    for model in MODELS {
        let mut demo = Demo::start(&["--model", model], Stdio::piped());
        drop(demo.child.stderr.take());
        demo.lose_lines();
        demo.stop();
    }
}

#[test]
fn a_log_on_a_full_disk_ends_nothing() {
    for model in MODELS {
        let demo = Demo::start(&["--model", model], full());
        demo.lose_lines();
        demo.stop();
    }
}

/// By default the kernel ends a process that writes beyond the limit.
#[test]
fn a_log_at_the_limit_on_the_size_of_files_ends_nothing() {
    let limited = |arguments: &[&str], stderr: Stdio| {
        let mut program = Command::new("sh");
        program.args(["-c", "ulimit -f 8; exec \"$0\" \"$@\"", PROGRAM]);
        Demo::of(&mut program, arguments, stderr)
    };
    let demo = limited(&[], tempfile::tempfile().expect("a file").into());
    demo.lose_lines();
    demo.stop();
    let log = tempfile::NamedTempFile::new().expect("a file");
    let demo = limited(&["--access-log", &log.path().display().to_string()], Stdio::null());
    demo.lose_lines();
    demo.stop();
}

#[test]
fn an_access_log_to_a_fifo_that_nobody_reads_is_explained() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("fifo");
    let mode = rustix::fs::Mode::from_raw_mode(0o600);
    rustix::fs::mkfifoat(rustix::fs::CWD, &path, mode).expect("a FIFO");
    let path = path.display().to_string();
    let said = output(&["serve", ".", "127.0.0.1:0", "--access-log", &path]);
    let message = String::from_utf8(said.stderr).expect("text");
    assert_eq!(said.status.code(), Some(1), "{message}");
    assert!(message.contains("nobody reads this FIFO"), "{message}");
}

#[test]
fn a_log_whose_reader_does_not_read_holds_up_nothing() {
    for model in MODELS {
        let mut demo = Demo::start(&["--model", model], Stdio::piped());
        let unread = demo.child.stderr.take();
        demo.lose_lines();
        demo.stop();
        drop(unread);
    }
}

#[test]
fn a_log_that_works_again_says_what_it_has_lost() {
    let mut demo = Demo::start(&[], Stdio::piped());
    let unread = demo.child.stderr.take().expect("a pipe");
    demo.lose_lines();
    let lost = BufReader::new(unread).lines().map_while(Result::ok).find(|line| {
        // What is written is whole, whatever was lost.
        assert!(line.starts_with("20") && line.contains("Z "), "{line}");
        line.contains("log lines were lost: standard error could not be written in time lines=")
    });
    assert!(lost.is_some());
}

#[test]
fn workers_and_their_supervisor_outlive_their_log() {
    let demo = Demo::start(&["--processes", "2"], full());
    demo.requests(100);
    assert_eq!(demo.answer("echo", b"hello"), "hello");
    demo.stop();
}

#[test]
fn an_error_that_cannot_be_printed_is_an_exit_code() {
    for (arguments, code) in [
        (&["serve", "/nothing/here"][..], 1),
        (&["echo", "127.0.0.1"], 2),
        (&["--help"], 0),
        (&["--version"], 0),
    ] {
        let (reader, writer) = std::io::pipe().expect("a pipe");
        drop(reader);
        let closed = || Stdio::from(writer.try_clone().expect("a descriptor"));
        for (stdout, stderr) in [(full().into(), full().into()), (closed(), closed())] {
            let run = Command::new(PROGRAM).args(arguments).stdout(stdout).stderr(stderr).status();
            assert_eq!(run.expect("the program runs").code(), Some(code), "{arguments:?}");
        }
    }
}

#[test]
fn a_log_filter_that_is_not_understood_is_an_error_before_anything_is_bound() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("socket");
    let address = format!("unix:{}", path.display());
    for (filter, hint) in [
        ("debgu", "`debgu` is not a level: use off, error, warn, info, debug or trace"),
        ("info,threadline_engine=loud", "`loud` is not a level"),
        ("threadline_engine", "or `threadline_engine=debug` for a module"),
        ("=debug", "`` is not the name of a module"),
    ] {
        for processes in [&[][..], &["--processes", "2"]] {
            let said = Command::new(PROGRAM)
                .args([&["echo", &address], processes].concat())
                .env("THREADLINE_LOG", filter)
                .output()
                .expect("the program runs");
            let message = String::from_utf8(said.stderr).expect("text");
            assert_eq!(said.status.code(), Some(2), "{message}");
            assert_eq!(message.lines().count(), 1, "{message}");
            let begin = format!("threadline: THREADLINE_LOG={filter}: ");
            assert!(message.starts_with(&begin) && message.contains(hint), "{message}");
            assert!(!path.exists());
        }
    }
}

fn demo_at_debug(model: &str) -> Program {
    let any = ["demo", "--http=127.0.0.1:0", "--echo=127.0.0.1:0", "--chat=127.0.0.1:0"];
    let arguments = [&any[..], &["--model", model]].concat();
    Program::start_with(&arguments, "THREADLINE_LOG", "debug")
}

#[test]
fn debug_shows_each_request_line_and_stream() {
    for model in MODELS {
        let program = demo_at_debug(model);
        let mut client = program.http();
        let peer = client.stream().local_addr().expect("an address");
        client.get("/hello/you?a=%20b");
        client.get("/nothing");
        let line = program.line("target=/hello/you?a=%20b");
        let parts = [&format!("peer={peer} "), "DEBUG request", "method=\"GET\"", "status=200"];
        for part in parts.into_iter().chain(["duration_us=", "route=\"GET /hello/{name}\""]) {
            assert!(line.contains(part), "{model}: {part} in {line}");
        }
        let line = program.line("target=/nothing");
        assert!(line.contains("status=404") && line.contains("nothing is served"), "{line}");

        let mut member = program.chat();
        member.line().expect("a greeting");
        member.ask("/who");
        let line = program.line("DEBUG line ");
        for part in ["peer=127.0.0.1:", "route=\"chat\"", "bytes=4", "reply=", "duration_us="] {
            assert!(line.contains(part), "{model}: {part} in {line}");
        }
        let mut echo = program.echo();
        let peer = echo.stream().local_addr().expect("an address");
        echo.assert_echoes(b"hello");
        program.line(&format!("DEBUG stream begins peer={peer} route=\"stream "));
        drop(echo);
        let line = program.line("DEBUG stream ended");
        assert!(line.contains(&format!("peer={peer} ")) && line.contains("duration_us="), "{line}");
    }
}

#[test]
fn debug_shows_frames_and_datagrams() {
    let start = |kind| {
        let arguments = ["echo", "127.0.0.1:0", "--as", kind];
        Program::start_with(&arguments, "THREADLINE_LOG", "threadline_engine=debug")
    };
    let program = start("frames");
    Client::connect(program.address("frames")).assert_echoes(b"\0\0\0\x05frame");
    let line = program.line("DEBUG frame ");
    assert!(line.contains("bytes=5 reply=9 duration_us="), "{line}");
    let mut client = Client::connect(program.address("frames"));
    client.send(b"\xff\xff\xff\xff");
    let line = program.line("DEBUG frame refused: longer than 1048576 bytes");
    assert!(line.contains("peer=127.0.0.1:") && line.contains("bytes=4294967295"), "{line}");

    let program = start("datagrams");
    let client = std::net::UdpSocket::bind("127.0.0.1:0").expect("a socket");
    client.send_to(b"hello", program.address("datagrams")).expect("sent");
    let line = program.line("DEBUG datagram ");
    let peer = client.local_addr().expect("an address");
    assert!(line.contains(&format!("peer={peer} ")), "{line}");
    assert!(line.contains("bytes=5 reply=5 duration_us="), "{line}");
}

#[test]
fn debug_shows_why_and_where_a_request_is_refused() {
    let program = demo_at_debug("adaptive");
    let long = "x".repeat(20_000);
    for (request, status, reason, place) in [
        ("GET / HTTP/1.1\r\nhost: x\r\nbad name: 1\r\n\r\n", 400, "a token, a colon", "line=3"),
        ("GET /\u{1b}[2J\r\n", 400, "the request target is malformed", "line=1"),
        ("GET / HTTP/1.1\r\n\r\n", 400, "must have a Host", "text="),
        (&format!("GET /{long} HTTP/1.1\r\nhost: x\r\n\r\n"), 414, "target is too long", "line=1"),
        (&format!("GET / HTTP/1.1\r\na: {long}\r\n\r\n"), 431, "head is too large", "line=2"),
        ("GET / HTTP/1.1\r\nhost: x\r\nexpect: tea\r\n\r\n", 417, "100-continue", "line="),
        ("GET / HTTP/3.1\r\nhost: x\r\n\r\n", 505, "HTTP/1.1 and HTTP/1.0", "line=1"),
    ] {
        let mut client = program.http();
        let peer = client.stream().local_addr().expect("an address");
        client.send(request);
        assert_eq!(client.reply().status, status, "{request:?}");
        let line = program.line(&format!("DEBUG request refused peer={peer} "));
        assert!(line.contains(&format!("status={status} ")), "{line}");
        assert!(line.contains(reason) && line.contains(place), "{line}");
    }
    let line = program.line("bad name: 1");
    assert!(line.contains(r"text=bad name: 1"), "{line}");
    let mut member = program.chat();
    member.send(b"caf\xe9\x1b[2J\n");
    let line = program.line("DEBUG line refused");
    assert!(line.contains(r"begin=caf\xe9\x1b[2J") && line.contains("utf-8"), "{line}");
    member.line();
    let mut member = program.chat();
    member.send("x".repeat(2000) + "\n");
    program.line("DEBUG line refused: longer than 1024 bytes");
}

#[test]
fn nothing_that_clients_send_breaks_a_line() {
    let mut program = demo_at_debug("adaptive");
    for evil in [
        "GET /\r\n2026-01-01T00:00:00Z  INFO forged HTTP/1.1\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: x\r\nx: \u{1b}[31m\u{85}\u{2028}\r\n\r\n",
        "\u{16}\u{3}\u{1}\0\n\n\n\u{7f}",
    ] {
        let mut client = program.http();
        client.send(evil);
        client.reply();
        let mut member = program.chat();
        member.send(evil);
        member.line();
        program.echo().send(evil);
    }
    program.signal(Signal::TERM);
    assert_eq!(program.ends_within(PATIENCE), 0);
    program.log_ends();
    for line in program.log().lines() {
        assert!(line.starts_with("20") && line.contains("Z "), "{line:?}");
        assert!(!line.contains(|c: char| c.is_control() || c == '\u{2028}'), "{line:?}");
        assert!(!line.contains("Z  INFO forged") || line.contains("DEBUG"), "{line:?}");
    }
}

#[test]
fn serve_has_an_access_log() {
    let directory = tempfile::tempdir().expect("a directory");
    fs::write(directory.path().join("a.txt"), "hello").expect("a file");
    let log = directory.path().join("access.log");
    let (files, log) = (directory.path().to_str().expect("text"), log.to_str().expect("text"));
    for (format, begin, end) in [
        (None, "127.0.0.1 - - [", "] \"GET /a.txt HTTP/1.1\" 200 5 \"-\" \"-\"\n"),
        (Some("common"), "127.0.0.1 - - [", "] \"GET /a.txt HTTP/1.1\" 200 5\n"),
        (Some("json"), "{\"time\":\"20", "}\n"),
    ] {
        let format = format.map_or(vec![], |format| vec!["--access-log-format", format]);
        let arguments = ["serve", files, "127.0.0.1:0", "--access-log", log];
        fs::write(log, "what was there\n").expect("a file");
        let mut program = Program::start(&[&arguments[..], &format].concat());
        assert_eq!(program.http().get("/a.txt").status, 200);
        program.signal(Signal::TERM);
        assert_eq!(program.ends_within(PATIENCE), 0);
        let text = fs::read_to_string(log).expect("a log");
        let line = text.strip_prefix("what was there\n").expect("appended");
        assert!(line.starts_with(begin) && line.ends_with(end), "{line}");
        assert_eq!(line.lines().count(), 1, "{line}");
    }
    // On standard output.
    let mut child = Command::new(PROGRAM)
        .args(["serve", files, "127.0.0.1:0", "--access-log", "-"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program starts");
    let mut log =
        BufReader::new(child.stderr.take().expect("a pipe")).lines().map_while(Result::ok);
    let line = log.find(|line| line.contains("serving http on ")).expect("an address");
    let address = line.rsplit(' ').next().and_then(|address| address.parse().ok());
    assert_eq!(Client::connect(address.expect("an address")).get("/nothing").status, 404);
    let mut lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
    let line = lines.next().expect("a line").expect("text");
    assert!(line.contains("\"GET /nothing HTTP/1.1\" 404 "), "{line}");
    child.kill().expect("ours");
    child.wait().expect("ours");
}

#[test]
fn an_access_log_that_cannot_be_opened_is_explained() {
    let said = output(&["serve", ".", "127.0.0.1:0", "--access-log", "/nothing/here"]);
    let message = String::from_utf8(said.stderr).expect("text");
    assert_eq!(said.status.code(), Some(1), "{message}");
    assert_eq!(message.lines().count(), 1, "{message}");
    let begin = "threadline: cannot write the access log to /nothing/here: No such file";
    assert!(message.starts_with(begin), "{message}");
}

#[test]
fn an_access_log_on_a_full_disk_is_told_and_costs_no_request() {
    for model in MODELS {
        let program = Program::demo(&["--model", model, "--access-log", "/dev/full"]);
        let mut client = program.http();
        for _ in 0..200 {
            assert_eq!(client.get("/hello/you").status, 200);
        }
        let line = program.line("lines of a log are lost");
        assert!(line.contains("ERROR") && line.contains("log=\"/dev/full\""), "{line}");
        assert!(line.contains("No space left"), "{line}");
        eventually("all are counted", || {
            let page = client.get("/status").body;
            let line = page.lines().find(|line| line.starts_with("log_lines_lost"));
            let lost = line.and_then(|line| line.rsplit(' ').next()?.parse::<u64>().ok());
            lost >= Some(200)
        });
        let told = program.log().matches("lines of a log are lost").count();
        assert!(told <= 10, "{}", program.log());
    }
}

#[test]
fn an_access_log_whose_reader_does_not_read_holds_up_nothing() {
    for model in MODELS {
        let directory = tempfile::tempdir().expect("a directory");
        let fifo = directory.path().join("fifo");
        assert!(Command::new("mkfifo").arg(&fifo).status().expect("mkfifo").success());
        // Open for both, so that opening it to write does not wait.
        let unread = File::options().read(true).write(true).open(&fifo).expect("a pipe");
        let path = fifo.to_str().expect("text");
        let mut program = Program::demo(&["--model", model, "--access-log", path]);
        let mut client = program.http();
        let request = format!("GET /hello/{} HTTP/1.1\r\nhost: x\r\n\r\n", "x".repeat(4000));
        eventually("lines are lost", || {
            for _ in 0..20 {
                client.send(&request);
                assert_eq!(client.reply().status, 200);
            }
            let page = client.get("/status").body;
            !page.lines().any(|line| line.starts_with("log_lines_lost") && line.ends_with(" 0"))
        });
        program.signal(Signal::TERM);
        assert_eq!(program.ends_within(PATIENCE), 0);
        drop(unread);
    }
}

/// Runs `command` as a user who is not root, if this process may choose; else as it is.
fn unprivileged(command: &mut Command) -> &mut Command {
    if rustix::process::geteuid().is_root() {
        const NOBODY: u32 = 65_534;
        command.uid(NOBODY).gid(NOBODY);
    }
    command
}

#[test]
fn a_file_that_may_not_be_read_is_named_in_the_log() {
    use std::os::unix::fs::PermissionsExt;
    let allow = |path: &PathBuf, mode| {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("ours");
    };
    let directory = tempfile::tempdir().expect("a directory");
    let (root, secret) = (directory.path().to_path_buf(), directory.path().join("secret.txt"));
    fs::write(&secret, "secret").expect("a file");
    allow(&root, 0o755);
    allow(&secret, 0o000);
    // A copy, since the build's own directory may be closed to others.
    let program = root.join("threadline");
    fs::copy(PROGRAM, &program).expect("a copy");
    allow(&program, 0o755);
    let mut command = Command::new(&program);
    let command = unprivileged(&mut command);
    let command = command.args(["serve", root.to_str().expect("text"), "127.0.0.1:0"]);
    let program = Program::spawn(command);
    let mut client = program.http();
    for _ in 0..100 {
        assert_eq!(client.get("/secret.txt").status, 404);
        assert_eq!(client.get("/nothing.txt").status, 404);
    }
    let line = program.line("a file may not be read");
    assert!(line.contains("WARN") && line.contains("secret.txt"), "{line}");
    assert!(line.contains("route=\"GET /{*path}\"") || line.contains("route="), "{line}");
    assert!(line.contains("Permission denied"), "{line}");
    let log = program.log();
    assert!(log.matches("secret.txt").count() < 20 && !log.contains("nothing.txt"), "{log}");
}

#[test]
fn the_thread_limit_is_a_few_lines() {
    let script = "ulimit -u 30 && exec \"$0\" \"$@\"";
    let directory = tempfile::tempdir().expect("a directory");
    let copy = directory.path().join("threadline");
    fs::copy(PROGRAM, &copy).expect("a copy");
    use std::os::unix::fs::PermissionsExt;
    for path in [directory.path(), &copy] {
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("ours");
    }
    if !rustix::process::geteuid().is_root() {
        println!("skipped: this user's own threads would count");
        return;
    }
    let mut command = Command::new("bash");
    let command = unprivileged(&mut command).args(["-c", script]).arg(&copy);
    let model = ["--model", "thread-per-connection"];
    let mut program =
        Program::spawn(command.args(["echo", "127.0.0.1:0", "--as", "lines"]).args(model));
    let address = program.address("lines");
    let mut clients: Vec<_> = (0..40).map(|_| Client::connect(address)).collect();
    program.line("no thread for a new connection");
    for _ in 0..1000 {
        let mut client = Client::connect(address);
        assert_eq!(client.line().as_deref(), Some("error: overloaded, try again later"));
    }
    clients[0].assert_echoes(b"still here\n");
    drop(clients);
    program.signal(Signal::TERM);
    assert_eq!(program.ends_within(PATIENCE), 0);
    program.log_ends();
    let log = program.log();
    let lines = log.matches("no thread for a new connection").count();
    assert!((6..40).contains(&lines), "{lines} lines:\n{log}");
    assert!(log.contains(" more in the last "), "{log}");
}
