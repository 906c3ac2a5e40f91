//! What a service logs when something goes wrong in it, however often clients repeat it.
//!
//! `Server::run` takes the process's standard error, panic hook and signals, so the service is a process of
//! its own: this program, started again with [`ROLE`] set. It has no harness, whose own hook and capture of
//! output would be in the way.

use std::env;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::panic;
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use threadline::http::{HttpSettings, Request, Response, Router, Status};
use threadline::logging::{Escaped, limited, lost_lines};
use threadline::{Connection, Lines, Model, Server, Timeouts};

/// Which service the process is, and under which model.
const ROLE: &str = "LOGGING_TEST_ROLE";
const PATIENCE: Duration = Duration::from_secs(20);
/// Calls that go wrong in the same way.
const REPETITIONS: usize = 300;

type Failure = Box<dyn std::error::Error>;
/// Is given the model.
type Test = fn(&str);

fn main() -> Result<ExitCode, Failure> {
    if let Ok(role) = env::var(ROLE) {
        serve(&role)?;
        return Ok(ExitCode::SUCCESS);
    }
    let tests: [(&str, Test); 9] = [
        ("panics of handlers are a few lines, and are counted", panics_are_bounded),
        ("errors of HTTP handlers name their route", io_errors_name_their_route),
        ("responses that are not sent name their route", bad_responses_name_their_route),
        ("errors of stream handlers name their route", stream_errors_name_their_route),
        ("what handlers say is bounded and escaped as well", handlers_may_limit_too),
        ("a panic hook of the program's own stays", a_hook_of_the_program_stays),
        ("a panic waits for nobody who reads the log", panics_wait_for_no_reader),
        ("at debug, each refusal has its reason", refusals_have_their_reason),
        ("what is refused since the pool is full is told", a_full_pool_is_told),
    ];
    for (name, test) in tests {
        for model in Model::ALL {
            println!("{name}: {model}");
            test(&model.to_string());
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn serve(role: &str) -> threadline::Result<()> {
    let (kind, model) = role.split_once('/').expect("a role");
    static SEEN: AtomicU64 = AtomicU64::new(0);
    if kind == "hooked" {
        panic::set_hook(Box::new(|_| {
            SEEN.fetch_add(1, Ordering::Relaxed);
        }));
    }
    let router = Router::new()
        .get("/panics", |request: &Request<'_>| -> &'static str {
            panic!("asked for {}\nforged", request.query().unwrap_or_default())
        })
        .get("/panics/otherwise", || -> &'static str { panic!("another place") })
        .get("/fails", || -> io::Result<&'static str> {
            Err(io::Error::other("the database is gone\nforged"))
        })
        .get("/splits", || Response::text("a").with_header("x", "a\r\nb"))
        .get("/limits", |request: &Request<'_>| {
            let query = Escaped(request.query().unwrap_or_default());
            limited!(warn, "a handler's own words", %query);
            "said"
        })
        .get("/seen", || SEEN.load(Ordering::Relaxed).to_string())
        .get("/lost", || lost_lines().to_string())
        .get("/sleeps", || thread::sleep(Duration::from_millis(300)))
        .post("/", |body: Vec<u8>| body)
        .settings(HttpSettings::default().body_len_max(10).timeouts(Timeouts {
            head: Some(Duration::from_millis(200)),
            idle: Some(Duration::from_millis(400)),
            ..Timeouts::default()
        }));
    let stream = |mut connection: Connection| -> io::Result<()> {
        let mut word = [0; 4];
        connection.read_exact(&mut word)?;
        match &word {
            b"fail" => Err(io::Error::other("the disk is gone\nforged")),
            // The same kind of error as a client's, of something else.
            b"peer" => Err(io::ErrorKind::ConnectionReset.into()),
            _ => loop {
                connection.read_exact(&mut word)?;
            },
        }
    };
    let lines = Lines::new(|line, _| -> Option<String> { panic!("a line: {line}") });
    Server::new()
        .http("127.0.0.1:0", router)
        .stream("127.0.0.1:0", stream)
        .lines("127.0.0.1:0", lines)
        .model(model.parse::<Model>().expect("a model"))
        .settings(|settings| match kind {
            "debug" => settings.connections_per_peer_max = Some(8),
            "busy" => (settings.pool_threads_max, settings.pool_queue_max) = (1, 1),
            _ => {}
        })
        .run()
}

/// The service, and what it has logged.
struct Service {
    child: Child,
    lines: Receiver<String>,
    log: Vec<String>,
}

impl Service {
    fn start(kind: &str, model: &str) -> Service {
        let mut child = Command::new(env::current_exe().expect("this program"))
            .env(ROLE, format!("{kind}/{model}"))
            .env_remove("RUST_BACKTRACE")
            .env("THREADLINE_LOG", if matches!(kind, "loud" | "debug") { "debug" } else { "info" })
            .stderr(Stdio::piped())
            .spawn()
            .expect("started");
        let stderr = child.stderr.take().expect("a pipe");
        let (sender, lines) = channel();
        let is_loud = kind == "loud";
        thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                let is_ready = line.contains("ready");
                let _ = sender.send(line);
                // Of a loud one, no more is read; the pipe stays open.
                if is_loud && is_ready {
                    thread::sleep(Duration::MAX);
                }
            }
        });
        Service { child, lines, log: Vec::new() }
    }

    /// Waits for a line with this text.
    fn line(&mut self, text: &str) -> String {
        loop {
            if let Some(line) = self.log.iter().find(|line| line.contains(text)) {
                return line.clone();
            }
            match self.lines.recv_timeout(PATIENCE) {
                Ok(line) => self.log.push(line),
                Err(_) => panic!("no {text:?} in the log:\n{}", self.log.join("\n")),
            }
        }
    }

    fn address(&mut self, kind: &str) -> SocketAddr {
        let line = self.line(&format!("serving {kind} on "));
        line.rsplit(' ').next().and_then(|address| address.parse().ok()).expect("an address")
    }

    /// All that is answered to these bytes.
    fn answer(&mut self, kind: &str, input: &str) -> String {
        let mut stream = TcpStream::connect(self.address(kind)).expect("connects");
        stream.set_read_timeout(Some(PATIENCE)).expect("a time limit");
        stream.write_all(input.as_bytes()).expect("sent");
        let mut answer = Vec::new();
        match stream.read_to_end(&mut answer) {
            Err(error) if error.kind() != io::ErrorKind::ConnectionReset => panic!("{error}"),
            _ => String::from_utf8(answer).expect("text"),
        }
    }

    fn get(&mut self, target: &str) -> String {
        let request = format!("GET {target} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
        self.answer("http", &request)
    }

    fn get_often(&mut self, target: &str, status: Status) {
        for _ in 0..REPETITIONS {
            let answer = self.get(target);
            assert!(answer.starts_with(&format!("HTTP/1.1 {}", status.code())), "{answer}");
        }
    }

    /// Drains the service, and returns its whole log. Each line of it is whole.
    fn stop(mut self) -> Vec<String> {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").arg(pid).status().expect("kill").success());
        while let Ok(line) = self.lines.recv_timeout(PATIENCE) {
            self.log.push(line);
        }
        assert!(self.child.wait().expect("ours").success(), "{}", self.log.join("\n"));
        for line in &self.log {
            let is_begun = line.starts_with("20") || line.starts_with("thread '");
            assert!(is_begun && !line.contains(char::is_control), "{line:?}");
        }
        std::mem::take(&mut self.log)
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// How many lines have all of these texts. Few: some for each period that the test has taken.
fn assert_few(log: &[String], texts: &[&str]) {
    let has_all = |line: &&String| texts.iter().all(|text| line.contains(text));
    let count = log.iter().filter(has_all).count();
    assert!((1..60).contains(&count), "{count} times {texts:?} in\n{}", log.join("\n"));
}

/// That the number of lines that were left out is told.
fn assert_told(log: &[String], text: &str) {
    let told = log.iter().any(|line| line.contains(text) && line.contains(" more in the last "));
    assert!(told, "how many more {text:?} in\n{}", log.join("\n"));
}

fn panics_are_bounded(model: &str) {
    let mut service = Service::start("plain", model);
    service.get_often("/panics?evil%0a", Status::INTERNAL_SERVER_ERROR);
    // Another place has lines of its own.
    service.get("/panics/otherwise");
    service.answer("lines", "hello\n");
    let log = service.stop();
    let hook = "panicked at crates/threadline/tests/logging.rs:";
    assert_few(&log, &["thread 'tl-", hook, r": asked for evil%0a\nforged"]);
    assert_few(&log, &["ERROR handler panicked", "route=\"GET /panics\"", r"evil%0a\nforged"]);
    assert_few(&log, &["thread 'tl-", hook, ": another place"]);
    assert_few(&log, &["handler panicked", "route=\"lines\"", "a line: hello"]);
    assert_told(&log, "handler panicked");
    assert_told(&log, "panicked at");
}

fn io_errors_name_their_route(model: &str) {
    let mut service = Service::start("plain", model);
    service.get_often("/fails", Status::INTERNAL_SERVER_ERROR);
    let log = service.stop();
    let error = r"error=the database is gone\nforged";
    assert_few(&log, &["ERROR a handler failed", "route=\"GET /fails\"", error]);
    assert_told(&log, "a handler failed");
}

fn bad_responses_name_their_route(model: &str) {
    let mut service = Service::start("plain", model);
    service.get_often("/splits", Status::INTERNAL_SERVER_ERROR);
    let log = service.stop();
    assert_few(&log, &["ERROR", "not sent", "route=\"GET /splits\""]);
    assert_told(&log, "not sent");
}

fn stream_errors_name_their_route(model: &str) {
    let mut service = Service::start("plain", model);
    let address = service.address("stream");
    for word in ["fail", "peer"] {
        for _ in 0..REPETITIONS {
            assert_eq!(service.answer("stream", word), "");
        }
    }
    let log = service.stop();
    let route = format!("route=\"stream {address}\"");
    assert_few(&log, &["WARN a stream handler failed", &route, r"error=the disk is gone\nforged"]);
    assert_told(&log, "a stream handler failed");
    // What clients do is not a warning: going away in the middle of a word.
    let mut service = Service::start("plain", model);
    let mut client = TcpStream::connect(service.address("stream")).expect("connects");
    client.write_all(b"abcdef").expect("sent");
    drop(client);
    let log = service.stop();
    assert!(!log.iter().any(|line| line.contains("WARN")), "{}", log.join("\n"));
}

fn handlers_may_limit_too(model: &str) {
    let mut service = Service::start("plain", model);
    service.get_often("/limits?a%1b", Status::OK);
    let log = service.stop();
    assert_few(&log, &["WARN a handler's own words", "route=\"GET /limits\"", "query=a%1b"]);
    assert_told(&log, "a handler's own words");
}

fn a_hook_of_the_program_stays(model: &str) {
    let mut service = Service::start("hooked", model);
    service.get_often("/panics", Status::INTERNAL_SERVER_ERROR);
    let seen = service.get("/seen");
    assert!(seen.ends_with(&format!("\r\n\r\n{REPETITIONS}")), "{seen}");
    let log = service.stop();
    assert!(!log.iter().any(|line| line.starts_with("thread '")), "{}", log.join("\n"));
    assert_few(&log, &["handler panicked", "route=\"GET /panics\""]);
}

fn panics_wait_for_no_reader(model: &str) {
    let mut service = Service::start("loud", model);
    let long = "x".repeat(4000);
    // Until the pipe and the queue before it are full.
    while service.get("/lost").ends_with("\r\n0") {
        for _ in 0..20 {
            service.get(&format!("/seen?{long}"));
        }
    }
    for _ in 0..20 {
        let answer = service.get("/panics");
        assert!(answer.starts_with("HTTP/1.1 500 "), "{answer}");
        assert!(service.get("/seen").starts_with("HTTP/1.1 200 "));
    }
}

fn refusals_have_their_reason(model: &str) {
    let mut service = Service::start("debug", model);
    let slow = service.answer("http", "GET /seen HT");
    assert!(slow.starts_with("HTTP/1.1 408 "), "{slow}");
    let large = service.answer("http", "POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 11\r\n\r\n");
    assert!(large.starts_with("HTTP/1.1 413 "), "{large}");
    let header = "POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n";
    let broken = service.answer("http", &format!("{header}zz\r\n"));
    assert!(broken.starts_with("HTTP/1.1 400 "), "{broken}");
    service.answer("http", "");
    for text in ["start of the message did not arrive in time", "begin=GET /seen HT"] {
        assert!(service.line("protocol=\"http\" peer=127.0.0.1:").contains(text), "{text}");
    }
    let line = service.line("status=413");
    assert!(line.contains("request") && line.contains("at most 10 bytes"), "{line}");
    let line = service.line("status=400");
    assert!(line.contains("request") && line.contains("chunk"), "{line}");
    service.line("a connection is closed: it was idle for too long");
    let address = service.address("http");
    let clients: Vec<_> = (0..9).map(|_| TcpStream::connect(address).expect("connects")).collect();
    service.line("refused: the peer has too many connections peer=127.0.0.1:");
    drop(clients);
    service.stop();
}

fn a_full_pool_is_told(model: &str) {
    if !matches!(model, "pool" | "adaptive") {
        // There is no pool for messages.
        return;
    }
    let mut service = Service::start("busy", model);
    let address = service.address("http");
    let request = "GET /sleeps HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
    let clients: Vec<_> = (0..20)
        .map(|_| {
            let mut stream = TcpStream::connect(address).expect("connects");
            stream.write_all(request.as_bytes()).expect("sent");
            stream
        })
        .collect();
    service.line("WARN no pool thread is free: messages are refused protocol=\"http\"");
    drop(clients);
    let log = service.stop();
    assert_few(&log, &["no pool thread is free"]);
}
