//! Worker processes that run a given program: with its arguments, the environment and the listeners of the
//! supervisor. A program that cannot serve ends the service with an error.
//!
//! The supervisor is this test binary, started again to run one "test", [`supervisor`]; its workers run a
//! shell script, which runs [`worker`].

use std::ffi::OsString;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::PermissionsExt;
use std::process::{Child, ChildStderr, Command, ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use threadline::{Lines, Server};

/// Set for the supervisor: the program of the workers and its arguments, one a line.
const WORKER_COMMAND: &str = "THREADLINE_TEST_WORKER_COMMAND";
const PATIENCE: Duration = Duration::from_secs(20);
/// What `main` returns for an error, when it is a test.
const FAILED: i32 = 101;

/// Both sides build it, as a `main` does that runs again.
fn server() -> Server {
    let lines = Lines::new(|name, _| {
        let value = match name {
            "arguments" => std::env::args().skip(1).collect::<Vec<_>>().join(" "),
            "pid" => std::process::id().to_string(),
            name => std::env::var(name).unwrap_or_else(|_| "not set".into()),
        };
        Some(value)
    });
    Server::new().lines("127.0.0.1:0", lines).processes(2)
}

/// Not a test of its own: what the others start.
#[test]
fn supervisor() -> threadline::Result<()> {
    let Ok(command) = std::env::var(WORKER_COMMAND) else { return Ok(()) };
    let mut words = command.split('\n').map(|word| OsString::from_vec(unescape(word)));
    let program = words.next().expect("a program");
    server().worker_command(program, words).run()
}

/// `%` stands for a NUL, which no environment variable can hold.
fn unescape(word: &str) -> Vec<u8> {
    word.bytes().map(|byte| if byte == b'%' { 0 } else { byte }).collect()
}

/// Not a test of its own: what workers run.
#[test]
fn worker() -> threadline::Result<()> {
    if std::env::var("THREADLINE_WORKER").is_err() {
        return Ok(());
    }
    server().run()
}

struct Running {
    child: Child,
    log: BufReader<ChildStderr>,
}

fn start(command: &[&str]) -> Running {
    // However the tests were started: a shell ignores SIGINT for what it runs in the background.
    let mut child = Command::new("env")
        .arg("--default-signal=INT,HUP,TERM")
        .arg(std::env::current_exe().expect("this binary"))
        .args(["--exact", "supervisor", "--nocapture"])
        .env(WORKER_COMMAND, command.join("\n"))
        .env("THREADLINE_TEST_COLOUR", "green")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it starts");
    let log = BufReader::new(child.stderr.take().expect("a pipe"));
    Running { child, log }
}

impl Running {
    /// Reads the log up to a line with that text, and returns the line.
    fn says(&mut self, text: &str) -> String {
        let mut line = String::new();
        while !line.contains(text) {
            line.clear();
            let read = self.log.read_line(&mut line).expect("a log");
            assert_ne!(read, 0, "it has ended before it said {text:?}");
        }
        line
    }

    fn ends(mut self) -> (ExitStatus, String) {
        let mut rest = String::new();
        self.log.read_to_string(&mut rest).expect("a log");
        (self.child.wait().expect("a child"), rest)
    }

    fn stop(self) -> (ExitStatus, String) {
        kill_process(Pid::from_child(&self.child), Signal::TERM).expect("it is there");
        self.ends()
    }
}

/// A script that runs the worker's side of this binary, with one more argument.
fn script() -> Vec<String> {
    let this = std::env::current_exe().expect("this binary");
    let this = this.to_str().expect("text").to_owned();
    let script = "exec \"$0\" --exact worker --nocapture --test-threads \"$1\"";
    ["/bin/sh", "-c", script, &this, "3"].map(str::to_owned).into()
}

#[test]
fn workers_run_the_given_program_with_its_arguments_and_the_environment() {
    let script = script();
    let mut running = start(&script.iter().map(String::as_str).collect::<Vec<_>>());
    let line = running.says("serving lines on ");
    let address = line.trim_end().rsplit(' ').next().expect("an address").to_owned();
    let mut stream = TcpStream::connect(address).expect("connects");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    let mut reader = BufReader::new(stream.try_clone().expect("a copy"));
    let mut ask = |what: &str| {
        stream.write_all(format!("{what}\n").as_bytes()).expect("sent");
        let mut line = String::new();
        reader.read_line(&mut line).expect("a line");
        line.trim_end().to_owned()
    };
    assert_eq!(ask("arguments"), "--exact worker --nocapture --test-threads 3");
    assert_eq!(ask("THREADLINE_TEST_COLOUR"), "green");
    let pid = ask("pid");
    assert_ne!(pid, running.child.id().to_string());
    // One that dies is replaced by the same.
    let worker = Pid::from_raw(pid.parse().expect("a number")).expect("a pid");
    kill_process(worker, Signal::KILL).expect("a worker");
    running.says("worker died");
    running.says("worker started");
    let (status, log) = running.stop();
    assert_eq!(status.code(), Some(0), "{log}");
}

/// The service ends by itself, with an error that has all of the texts, and has started no program more
/// than once for each worker.
fn fails(command: &[&str], texts: &[&str]) {
    let (status, log) = start(command).ends();
    assert_eq!(status.code(), Some(FAILED), "{command:?}: {log}");
    let error = log.lines().find(|line| line.starts_with("Error: ")).unwrap_or_default();
    for text in texts {
        assert!(error.contains(text), "{command:?}: {text} is not in {error:?}: {log}");
    }
    assert!(log.matches("worker started").count() <= 2, "{log}");
    assert!(!log.contains("it is replaced"), "{log}");
}

#[test]
fn a_program_that_cannot_be_executed_is_an_error() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str| folder.path().join(name).to_str().expect("text").to_owned();
    let file = |name: &str, content: &str, mode| {
        std::fs::write(path(name), content).expect("a file");
        let permissions = std::fs::Permissions::from_mode(mode);
        std::fs::set_permissions(path(name), permissions).expect("a mode");
        path(name)
    };
    let cannot = "cannot run";
    fails(&["/nowhere/python", "main.py"], &[cannot, "/nowhere/python", "No such file"]);
    fails(&["threadline-no-such-program"], &[cannot, "threadline-no-such-program"]);
    fails(&[&file("plain", "text", 0o644)], &[cannot, "plain", "Permission denied"]);
    fails(&[&file("garbage", "\u{1}", 0o755)], &[cannot, "garbage", "Exec format error"]);
    fails(&[&path("")], &[cannot, "Permission denied"]);
    fails(&[&path("plain/below")], &[cannot, "Not a directory"]);
    fails(&["/bin/sh", "a%b"], &[cannot, "/bin/sh"]);
    fails(&[""], &[cannot]);
}

#[test]
fn a_program_that_ends_before_it_serves_is_an_error() {
    for code in [0, 1, 7] {
        let script = format!("exit {code}");
        let status = format!("exit status: {code}");
        fails(&["/bin/sh", "-c", &script], &["/bin/sh", "ended before it served", &status]);
    }
}

/// Nothing tells it from one that is slow to start: it is waited for, and ends with the service.
#[test]
fn a_program_that_never_serves_ends_with_the_service() {
    let mut running = start(&["/bin/sleep", "1000"]);
    let pid = |line: String| {
        let pid = line.trim_end().rsplit_once("pid=").and_then(|(_, pid)| pid.parse().ok());
        Pid::from_raw(pid.expect("a pid")).expect("a pid")
    };
    let workers = [(); 2].map(|()| pid(running.says("worker started")));
    let (status, log) = running.stop();
    assert_eq!(status.code(), Some(0), "{log}");
    assert!(workers.iter().all(|worker| test_kill_process(*worker).is_err()));
}
