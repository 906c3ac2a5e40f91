//! Starts the `threadline` program and talks to it as its users do: by sockets, signals and standard
//! error. Each test binary uses the part that it needs.
//!
//! Programs listen on ports that the kernel chooses and say which in their log. Nothing here sleeps to
//! be in time: tests wait for a log line, a reply or the end of a process, and give up after
//! [`PATIENCE`].

#![allow(dead_code)] // each binary uses its own part

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, ChildStderr, Command, ExitStatus, Output, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal};

/// Longer than anything takes that is not broken.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

const PROGRAM: &str = env!("CARGO_BIN_EXE_threadline");

/// A command whose stop signals have their default effect, however the tests were started: a shell ignores
/// SIGINT for what it runs in the background, and nohup(1) SIGHUP, and what is ignored stays so.
fn with_default_signals(program: &str) -> Command {
    let mut command = Command::new("env");
    command.args(["--default-signal=INT,HUP,TERM", program]);
    command
}

/// Runs the program to its end.
pub(crate) fn output(arguments: &[&str]) -> Output {
    Command::new(PROGRAM).args(arguments).output().expect("the program runs")
}

/// A program that runs. Killed when dropped, if it still does.
pub(crate) struct Program {
    child: Child,
    log: Arc<Log>,
}

impl Program {
    pub(crate) fn start(arguments: &[&str]) -> Program {
        Program::spawn(with_default_signals(PROGRAM).args(arguments))
    }

    /// With an environment variable set.
    pub(crate) fn start_with(arguments: &[&str], variable: &str, value: &str) -> Program {
        Program::spawn(with_default_signals(PROGRAM).args(arguments).env(variable, value))
    }

    /// The demonstration, on addresses that the kernel chooses.
    pub(crate) fn demo(arguments: &[&str]) -> Program {
        let any = ["demo", "--http=127.0.0.1:0", "--echo=127.0.0.1:0", "--chat=127.0.0.1:0"];
        Program::start(&[&any, arguments].concat())
    }

    /// With at most so many descriptors. The shell replaces itself, so the process is the program's.
    pub(crate) fn limited(descriptors: usize, arguments: &[&str]) -> Program {
        let script = format!("ulimit -n {descriptors}; exec \"$0\" \"$@\"");
        Program::spawn(with_default_signals("sh").args(["-c", &script, PROGRAM]).args(arguments))
    }

    /// With an open socket as its descriptor of that number. The shell passes it on, so that no other
    /// program that a test starts at the same time inherits it.
    pub(crate) fn inheriting(
        socket: impl Into<OwnedFd>,
        number: u32,
        arguments: &[&str],
    ) -> Program {
        let script = match number {
            0 => "exec \"$0\" \"$@\"".to_owned(),
            number => format!("exec \"$0\" \"$@\" {number}<&0 0</dev/null"),
        };
        let mut command = with_default_signals("sh");
        command.args(["-c", &script, PROGRAM]).args(arguments).stdin(socket.into());
        Program::spawn_with_input(&mut command)
    }

    /// As nohup(1) does: with SIGHUP ignored.
    pub(crate) fn nohup(arguments: &[&str]) -> Program {
        let script = "trap '' HUP; exec \"$0\" \"$@\"";
        Program::spawn(with_default_signals("sh").args(["-c", script, PROGRAM]).args(arguments))
    }

    pub(crate) fn spawn(command: &mut Command) -> Program {
        Program::spawn_with_input(command.stdin(Stdio::null()))
    }

    fn spawn_with_input(command: &mut Command) -> Program {
        let command = command.stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the program starts");
        let stderr = child.stderr.take().expect("a pipe");
        let log = Arc::new(Log::default());
        let collected = Arc::clone(&log);
        thread::spawn(move || collected.collect(stderr));
        Program { child, log }
    }

    pub(crate) fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    /// Where a service listens, by its kind's name in the log: `http`, `stream`, `lines`, …
    pub(crate) fn address(&self, kind: &str) -> SocketAddr {
        let line = self.line(&format!("serving {kind} on "));
        let address = line.rsplit(' ').next().expect("an address");
        address.parse().unwrap_or_else(|error| panic!("{line}: {error}"))
    }

    pub(crate) fn http(&self) -> Client {
        Client::connect(self.address("http"))
    }

    pub(crate) fn chat(&self) -> Client {
        Client::connect(self.address("lines"))
    }

    pub(crate) fn echo(&self) -> Client {
        Client::connect(self.address("stream"))
    }

    /// Waits for a log line with this text.
    pub(crate) fn line(&self, text: &str) -> String {
        self.lines(text, 1).remove(0)
    }

    /// Waits for so many log lines with this text.
    pub(crate) fn lines(&self, text: &str, count: usize) -> Vec<String> {
        let found = self.log.wait(|lines| {
            let found: Vec<_> = lines.iter().filter(|line| line.contains(text)).cloned().collect();
            (found.len() >= count).then_some(found)
        });
        found.unwrap_or_else(|| panic!("not {count} times {text:?} in the log:\n{}", self.log()))
    }

    /// The log so far.
    pub(crate) fn log(&self) -> String {
        self.log.lock().lines.join("\n")
    }

    pub(crate) fn signal(&self, signal: Signal) {
        rustix::process::kill_process(self.pid(), signal).expect("the program is there");
    }

    /// Waits for the end: its exit code, or 1000 and the signal that has killed it.
    pub(crate) fn ends_within(&mut self, limit: Duration) -> i32 {
        let deadline = Instant::now() + limit;
        let mut ended: Option<ExitStatus> = None;
        eventually_before(deadline, "the program ends", || {
            ended = self.child.try_wait().expect("a child");
            ended.is_some()
        });
        let status = ended.expect("it has ended");
        status.code().unwrap_or_else(|| 1000 + status.signal().unwrap_or_default())
    }

    /// Sends a signal again and again until the program ends; returns as [`Program::ends_within`].
    pub(crate) fn signal_until_it_ends(&mut self, signal: Signal) -> i32 {
        eventually("the program ends", || {
            // Not waited for yet, so its number is still its own.
            self.signal(signal);
            self.child.try_wait().expect("a child").is_some()
        });
        self.ends_within(PATIENCE)
    }

    /// Waits until nobody has the program's standard error open: it and its workers have ended.
    pub(crate) fn log_ends(&self) {
        let deadline = Instant::now() + PATIENCE;
        eventually_before(deadline, "the log ends", || self.log.lock().ended);
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // Ours until it is waited for, so its number is nobody else's. Workers follow by themselves.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if thread::panicking() {
            eprintln!("--- the program's log:\n{}", self.log());
        }
    }
}

/// What the program has written to standard error.
#[derive(Default)]
struct Log {
    written: Mutex<Written>,
    changed: Condvar,
}

#[derive(Default)]
struct Written {
    lines: Vec<String>,
    ended: bool,
}

impl Log {
    fn collect(&self, stderr: ChildStderr) {
        for line in BufReader::new(stderr).lines().map_while(Result::ok) {
            self.lock().lines.push(line);
            self.changed.notify_all();
        }
        self.lock().ended = true;
        self.changed.notify_all();
    }

    fn wait<T>(&self, mut find: impl FnMut(&[String]) -> Option<T>) -> Option<T> {
        let deadline = Instant::now() + PATIENCE;
        let mut written = self.lock();
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let found = find(&written.lines);
            if found.is_some() || written.ended || left.is_zero() {
                return found;
            }
            let waited = self.changed.wait_timeout(written, left);
            written = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Written> {
        self.written.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A blocking client whose reads do not hang for ever.
pub(crate) struct Client {
    reader: BufReader<TcpStream>,
    /// The start of a reply has come, and not yet its end.
    in_reply: bool,
}

/// An HTTP response.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Client {
    pub(crate) fn connect(address: SocketAddr) -> Client {
        Client::try_connect(address).expect("connects")
    }

    pub(crate) fn try_connect(address: SocketAddr) -> std::io::Result<Client> {
        let stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        stream.set_nodelay(true)?;
        Ok(Client { reader: BufReader::new(stream), in_reply: false })
    }

    pub(crate) fn stream(&self) -> &TcpStream {
        self.reader.get_ref()
    }

    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.reader.get_mut().write_all(bytes.as_ref()).expect("writes");
    }

    /// The next line without its end; `None` at the end of input.
    pub(crate) fn line(&mut self) -> Option<String> {
        let mut line = String::new();
        match self.reader.read_line(&mut line) {
            Ok(0) => None,
            Ok(_) => Some(line.trim_end().to_owned()),
            Err(error) if error.kind() == ErrorKind::ConnectionReset => None,
            Err(error) => panic!("no line: {error}"),
        }
    }

    pub(crate) fn ask(&mut self, line: &str) -> String {
        self.send(format!("{line}\n"));
        self.line().unwrap_or_else(|| panic!("no answer to {line}"))
    }

    /// Asks an echo service for the same bytes.
    pub(crate) fn assert_echoes(&mut self, bytes: &[u8]) {
        self.send(bytes);
        let mut back = vec![0; bytes.len()];
        self.reader.read_exact(&mut back).expect("an echo");
        assert_eq!(back, bytes);
    }

    pub(crate) fn request(&mut self, path: &str) {
        self.try_request(path).expect("writes");
    }

    pub(crate) fn try_request(&mut self, path: &str) -> std::io::Result<()> {
        let request = format!("GET {path} HTTP/1.1\r\nhost: test\r\n\r\n");
        self.reader.get_mut().write_all(request.as_bytes())
    }

    /// After an error: whether it came before the first byte of the reply that was waited for.
    pub(crate) fn has_received_nothing_of_this_reply(&self) -> bool {
        !self.in_reply
    }

    pub(crate) fn get(&mut self, path: &str) -> Reply {
        self.request(path);
        self.reply()
    }

    pub(crate) fn reply(&mut self) -> Reply {
        self.try_reply().expect("a whole reply")
    }

    pub(crate) fn try_reply(&mut self) -> std::io::Result<Reply> {
        let mut head = String::new();
        self.reader.fill_buf()?;
        self.in_reply = !self.reader.buffer().is_empty();
        while !head.ends_with("\r\n\r\n") {
            if self.reader.read_line(&mut head)? == 0 {
                return Err(ErrorKind::UnexpectedEof.into());
            }
        }
        let field = |name: &str| {
            let lines = head.lines().filter_map(|line| line.split_once(": "));
            lines.into_iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value)
        };
        let len = field("content-length").map_or(0, |len| len.parse().expect("a length"));
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
        let mut body = vec![0; len];
        self.reader.read_exact(&mut body)?;
        self.in_reply = false;
        let body = String::from_utf8(body).expect("text");
        Ok(Reply { status: status.expect("a status"), head, body })
    }

    /// Whether the service has sent nothing yet that has not been read.
    pub(crate) fn is_silent(&self) -> bool {
        let stream = self.stream();
        stream.set_nonblocking(true).expect("nonblocking");
        let silent = stream.peek(&mut [0]).is_err_and(|e| e.kind() == ErrorKind::WouldBlock);
        stream.set_nonblocking(false).expect("blocking");
        silent && self.reader.buffer().is_empty()
    }
}

/// Waits until something can be seen from outside that has no event to wait for.
pub(crate) fn eventually(what: &str, seen: impl FnMut() -> bool) {
    eventually_before(Instant::now() + PATIENCE, what, seen);
}

fn eventually_before(deadline: Instant, what: &str, mut seen: impl FnMut() -> bool) {
    while !seen() {
        assert!(Instant::now() < deadline, "never happened: {what}");
        thread::park_timeout(Duration::from_millis(2));
    }
}
