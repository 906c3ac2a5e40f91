//! What `Server::run` leaves behind: the exit code of a program, and the jobs that it finishes first, in a
//! process of its own and in worker processes.
//!
//! The program is this test binary, started again to run one "test", [`program`]. Worker processes are
//! started with the same arguments, and so run it too.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use threadline::http::{Path, Router};
use threadline::pool::ThreadPool;
use threadline::pool::schedule::Scheduler;
use threadline::{Endpoint, Server};

/// Set for the program: how many worker processes it has, and how many seconds its drain may take.
const PROGRAM: &str = "THREADLINE_TEST_PROGRAM";
/// Set for the program: the path of a Unix socket for its status page.
const SOCKET: &str = "THREADLINE_TEST_SOCKET";
/// Longer than anything takes that is not broken.
const PATIENCE: Duration = Duration::from_secs(20);

/// Not a test of its own: what the others start.
#[test]
fn program() -> threadline::Result<()> {
    let Ok(settings) = std::env::var(PROGRAM) else { return Ok(()) };
    let (processes, seconds) = settings.split_once(' ').expect("two numbers");
    let pool = ThreadPool::builder().threads_max(2).build()?;
    let scheduler = Scheduler::new(&pool)?;
    let (jobs, runs) = (pool.clone(), scheduler.clone());
    let job = move |Path(ms): Path<u64>| {
        let work = move || {
            thread::sleep(Duration::from_millis(ms));
            eprintln!("the job is finished");
        };
        jobs.submit(work).map_or("refused", |()| "accepted")
    };
    let run = move |Path(ms): Path<u64>| {
        let (begun, has_begun) = std::sync::mpsc::channel();
        let work = move || {
            let _ = begun.send(());
            thread::sleep(Duration::from_millis(ms));
            eprintln!("the run is finished");
        };
        let scheduled = runs.after(Duration::ZERO, work).map_or("refused", |_| "accepted");
        has_begun.recv().map_or("dropped", |()| scheduled)
    };
    let socket = std::env::var(SOCKET).expect("a path");
    let status = Router::new().get("/", || std::process::id().to_string());
    Server::new()
        .http("127.0.0.1:0", Router::new().post("/job/{ms}", job).post("/run/{ms}", run))
        .endpoint(Endpoint::http(format!("unix:{socket}"), status).isolated().unix_mode(0o602))
        .processes(processes.parse().expect("a number"))
        .drain_timeout(Duration::from_secs(seconds.parse().expect("a number")))
        .drains(scheduler)
        .drains(pool)
        .run()
}

/// The program, running.
struct Running {
    child: Child,
    log: BufReader<std::process::ChildStderr>,
    address: SocketAddr,
    directory: TempDir,
}

fn start(processes: u32, seconds: u64) -> Running {
    let this = std::env::current_exe().expect("this binary");
    let directory = tempfile::tempdir().expect("a directory");
    // However the tests were started: a shell ignores SIGINT for what it runs in the background.
    let mut child = Command::new("env")
        .arg("--default-signal=INT,HUP,TERM")
        .arg(this)
        .args(["--exact", "program", "--nocapture"])
        .env(PROGRAM, format!("{processes} {seconds}"))
        .env(SOCKET, directory.path().join("socket"))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it starts");
    let mut log = BufReader::new(child.stderr.take().expect("a pipe"));
    let mut line = String::new();
    while !line.contains("serving http on ") {
        line.clear();
        assert_ne!(log.read_line(&mut line).expect("a log"), 0, "it has ended");
    }
    let address = line.trim_end().rsplit(' ').next().and_then(|address| address.parse().ok());
    Running { child, log, address: address.expect("an address"), directory }
}

impl Running {
    fn post(&self, path: &str) -> String {
        let mut stream = TcpStream::connect(self.address).expect("connects");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        write!(stream, "POST {path} HTTP/1.0\r\n\r\n").expect("sent");
        let mut reply = String::new();
        stream.read_to_string(&mut reply).expect("a reply");
        reply.rsplit("\r\n").next().expect("a body").to_owned()
    }

    /// The process that answers at the Unix socket.
    fn status(&self) -> u32 {
        let mut stream = UnixStream::connect(self.socket()).expect("connects");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        stream.write_all(b"GET / HTTP/1.0\r\n\r\n").expect("sent");
        let mut reply = String::new();
        stream.read_to_string(&mut reply).expect("a reply");
        reply.rsplit("\r\n").next().and_then(|id| id.parse().ok()).expect("a process id")
    }

    fn socket(&self) -> PathBuf {
        self.directory.path().join("socket")
    }

    /// Asks it to stop. Its exit code, what it has written since it began to serve, and how long it took.
    fn stop(mut self) -> (Option<i32>, String, Duration) {
        let began = Instant::now();
        kill_process(Pid::from_child(&self.child), Signal::TERM).expect("it is there");
        let mut log = String::new();
        // It ends with the last process.
        self.log.read_to_string(&mut log).expect("a log");
        let code = self.child.wait().expect("a child").code();
        (code, log, began.elapsed())
    }
}

#[test]
fn what_is_promised_is_finished_before_it_ends() {
    for processes in [0, 2] {
        for (path, end) in
            [("/job/500", "the job is finished"), ("/run/500", "the run is finished")]
        {
            let program = start(processes, PATIENCE.as_secs());
            assert_eq!(program.post(path), "accepted");
            let (code, log, _) = program.stop();
            assert!(log.contains(end), "{processes} processes, {path}: {log}");
            assert_eq!(code, Some(0), "{processes} processes, {path}: {log}");
        }
    }
}

#[test]
fn what_is_not_finished_in_time_is_an_error() {
    for processes in [0, 2] {
        let program = start(processes, 2);
        assert_eq!(program.post("/job/60000"), "accepted");
        let (code, log, took) = program.stop();
        // That of a test whose `main` returns an error.
        assert_eq!(code, Some(101), "{processes} processes: {log}");
        assert!(log.contains("unfinished=1"), "{processes} processes: {log}");
        // The job would take a minute; a busy machine may be late.
        assert!(took < Duration::from_secs(10), "{processes} processes: took {took:?}");
    }
}

#[test]
fn endpoints_keep_their_options_in_worker_processes() {
    for processes in [0, 2] {
        let program = start(processes, PATIENCE.as_secs());
        let mode = std::fs::metadata(program.socket()).expect("a socket").permissions().mode();
        assert_eq!(mode & 0o777, 0o602, "{processes} processes");
        let is_worker = program.status() != program.child.id();
        assert_eq!(is_worker, processes > 0);
        let (code, log, _) = program.stop();
        assert_eq!(code, Some(0), "{processes} processes: {log}");
    }
}
