//! What `Server::run` leaves of the process's signals: after it has returned, each has the effect that it
//! had before.
//!
//! The program is this test binary, started again to run one "test", [`program`].

use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, ChildStderr, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::process::{Pid, Signal, kill_process};
use threadline::{Lines, Server};

/// Set for the program: how many worker processes it has, and how often it runs a service.
const PROGRAM: &str = "THREADLINE_TEST_AFTER_RUN";
/// Set for a program that handles SIGINT itself.
const OWN_HANDLER: &str = "THREADLINE_TEST_OWN_HANDLER";
const RETURNED: &str = "run has returned";
const OWN_CODE: i32 = 7;

/// Not a test of its own: what the others start.
#[test]
fn program() -> threadline::Result<()> {
    let Ok(settings) = std::env::var(PROGRAM) else { return Ok(()) };
    let (processes, runs) = settings.split_once(' ').expect("two numbers");
    let own = Arc::new(AtomicBool::new(false));
    let has_own = std::env::var(OWN_HANDLER).is_ok();
    if has_own {
        signal_hook::flag::register(Signal::INT.as_raw(), Arc::clone(&own)).expect("a handler");
    }
    for _ in 0..runs.parse().expect("a number") {
        Server::new()
            .lines("127.0.0.1:0", Lines::new(|line, _| Some(line.to_owned())))
            .processes(processes.parse().expect("a number"))
            .run()?;
        if std::env::var("THREADLINE_WORKER").is_ok() {
            return Ok(());
        }
        assert!(!own.load(Ordering::SeqCst), "its handler has been called in place of ours");
        eprintln!("{RETURNED}");
    }
    if has_own {
        while !own.load(Ordering::SeqCst) {
            std::thread::park_timeout(std::time::Duration::from_millis(2));
        }
        std::process::exit(OWN_CODE);
    }
    // Until the test has seen enough, or a signal ends it.
    std::io::stdin().read_to_end(&mut Vec::new()).expect("a pipe");
    Ok(())
}

struct Program {
    child: Child,
    log: BufReader<ChildStderr>,
    input: Option<ChildStdin>,
}

impl Program {
    fn start(processes: u32, runs: u32) -> Program {
        Program::spawn(&mut command("exec \"$0\" \"$@\"", processes, runs))
    }

    fn spawn(command: &mut Command) -> Program {
        let mut child = command.spawn().expect("it starts");
        let log = BufReader::new(child.stderr.take().expect("a pipe"));
        let input = child.stdin.take();
        Program { child, log, input }
    }

    /// Reads the log up to a line with that text.
    fn says(&mut self, text: &str) {
        let mut line = String::new();
        while !line.contains(text) {
            line.clear();
            let read = self.log.read_line(&mut line).expect("a log");
            assert_ne!(read, 0, "it has ended before it said {text:?}");
        }
    }

    /// Takes it to the point where its service can be stopped.
    fn serves(&mut self, processes: u32) {
        self.says(if processes > 0 { "worker started" } else { "ready" });
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).expect("it is there");
    }

    fn ends(mut self) -> ExitStatus {
        let mut rest = String::new();
        self.log.read_to_string(&mut rest).expect("a log");
        self.child.wait().expect("a child")
    }

    /// The signals that the program ignores: `SigIgn` of proc(5).
    fn ignores(&self, signal: Signal) -> bool {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()));
        let status = status.expect("procfs");
        let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
        let mask = u64::from_str_radix(mask.expect("a mask").trim(), 16).expect("a number");
        mask & (1 << (signal.as_raw() - 1)) != 0
    }
}

/// The program, started by a shell script.
fn command(script: &str, processes: u32, runs: u32) -> Command {
    // However the tests were started: a shell ignores SIGINT for what it runs in the background.
    let mut command = Command::new("env");
    command
        .args(["--default-signal=INT,HUP,TERM", "sh", "-c", script])
        .arg(std::env::current_exe().expect("this binary"))
        .args(["--exact", "program", "--nocapture"])
        .env(PROGRAM, format!("{processes} {runs}"))
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    command
}

#[test]
fn a_signal_after_run_has_its_default_effect() {
    for processes in [0, 1] {
        for first in [Signal::INT, Signal::TERM, Signal::HUP] {
            for second in [Signal::INT, Signal::TERM, Signal::HUP] {
                let mut program = Program::start(processes, 1);
                program.serves(processes);
                program.signal(first);
                program.says(RETURNED);
                program.signal(second);
                assert_eq!(program.ends().signal(), Some(second.as_raw()), "{first:?}");
            }
        }
    }
}

#[test]
fn a_handler_of_the_programs_own_is_put_back() {
    for processes in [0, 1] {
        let script = "exec \"$0\" \"$@\"";
        let mut program = Program::spawn(command(script, processes, 1).env(OWN_HANDLER, "1"));
        program.serves(processes);
        program.signal(Signal::INT);
        program.says(RETURNED);
        program.signal(Signal::INT);
        assert_eq!(program.ends().code(), Some(OWN_CODE));
    }
}

#[test]
fn one_run_after_the_other_takes_the_signals_again() {
    for processes in [0, 1] {
        let mut program = Program::start(processes, 3);
        for signal in [Signal::INT, Signal::TERM, Signal::INT] {
            program.serves(processes);
            program.signal(signal);
            program.says(RETURNED);
        }
        program.signal(Signal::INT);
        assert_eq!(program.ends().signal(), Some(Signal::INT.as_raw()));
    }
}

#[test]
fn what_is_ignored_at_the_start_stays_ignored() {
    for processes in [0, 1] {
        for (name, ignored, other) in [
            ("INT", Signal::INT, Signal::TERM),
            ("HUP", Signal::HUP, Signal::TERM),
            ("TERM", Signal::TERM, Signal::INT),
        ] {
            let script = format!("trap '' {name}; exec \"$0\" \"$@\"");
            let mut program = Program::spawn(&mut command(&script, processes, 1));
            program.serves(processes);
            assert!(program.ignores(ignored), "while it serves");
            program.signal(ignored);
            program.signal(other);
            program.says(RETURNED);
            assert!(program.ignores(ignored), "afterwards");
            assert!(!program.ignores(other));
            // It ends by itself, because the signal does nothing.
            program.signal(ignored);
            drop(program.input.take());
            assert_eq!(program.ends().code(), Some(0), "{name}");
        }
    }
}
