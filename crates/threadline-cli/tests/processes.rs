//! Worker processes: they share the work, are replaced when they die, and end with their supervisor.
//!
//! Workers are known by the pids in the supervisor's log and on the status page. They are not our
//! children: whether one still runs is asked of the kernel.

mod common;

use std::collections::BTreeSet;
use std::fs;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use common::{Client, PATIENCE, Program, eventually};
use rustix::process::{Pid, Signal, kill_process, test_kill_process};

/// More than a drain takes that waits for nobody, less than its deadline.
const FEW_SECONDS: Duration = Duration::from_secs(5);

/// The demonstration with two workers, both of which have answered.
fn demo() -> Program {
    let program = Program::demo(&["--processes", "2"]);
    let (workers, address) = (workers(&program, 2), program.address("http"));
    let seen = Mutex::new(BTreeSet::new());
    let both = || seen.lock().is_ok_and(|seen| seen.len() == 2);
    // Several clients at once: as long as one worker can follow, the kernel need not wake the other.
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                eventually("both workers answer", || {
                    let pid = serving(&mut Client::connect(address));
                    assert!(workers.contains(&pid), "{pid} is none of {workers:?}");
                    seen.lock().expect("no panic").insert(pid.as_raw_nonzero());
                    both()
                });
            });
        }
    });
    program
}

/// The pids in the first `count` lines about a start.
fn workers(program: &Program, count: usize) -> Vec<Pid> {
    let pid = |line: &String| {
        let pid = line.rsplit_once("pid=").and_then(|(_, pid)| pid.parse().ok());
        pid.and_then(Pid::from_raw).unwrap_or_else(|| panic!("no pid in {line}"))
    };
    program.lines("worker started", count).iter().map(pid).collect()
}

/// Neither gone nor a zombie that waits for its new parent.
fn runs(pid: Pid) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let state = stat.rsplit_once(") ").and_then(|(_, rest)| rest.chars().next());
    test_kill_process(pid).is_ok() && state.is_some_and(|state| !"ZX".contains(state))
}

/// Which worker has this connection.
fn serving(client: &mut Client) -> Pid {
    let mut found = None;
    // A worker that has just started may not know its own state yet: it says 503.
    eventually("the status page names its process", || {
        let page = client.get("/status").body;
        let line = page.lines().find_map(|line| line.strip_prefix("process "));
        found = line.and_then(|pid| pid.trim().parse().ok()).and_then(Pid::from_raw);
        found.is_some()
    });
    found.expect("a process")
}

/// The memory that may wait for slow clients is that of the whole service.
#[test]
fn workers_share_the_budget_of_waiting_bytes() {
    let budget = |arguments: &[&str]| {
        let program = Program::demo(arguments);
        let mut budget = None;
        eventually("the status page has it", || {
            let page = Client::connect(program.address("http")).get("/status").body;
            let line = page.lines().find_map(|line| line.strip_prefix("waiting bytes"));
            budget = line.and_then(|line| line.rsplit(' ').next()?.parse::<usize>().ok());
            budget.is_some()
        });
        budget.expect("a number")
    };
    assert_eq!(budget(&["--processes", "2"]), budget(&[]) / 2);
}

#[test]
fn both_workers_answer() {
    let program = demo();
    assert_eq!(program.log().matches("worker started").count(), 2);
    assert!(!program.log().contains("worker died"));
}

#[test]
fn a_killed_worker_is_replaced_while_the_service_goes_on() {
    let program = demo();
    let first = workers(&program, 2);
    let address = program.address("http");
    let (stop, served, cut_off) =
        (AtomicBool::new(false), AtomicUsize::new(0), AtomicUsize::new(0));
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    // The supervisor holds the listeners: there is always somebody to connect to.
                    let mut client = Client::try_connect(address).expect("connects");
                    client.request("/hello/x");
                    match client.try_reply() {
                        Ok(reply) => {
                            assert_eq!((reply.status, reply.body.as_str()), (200, "hello, x\n"));
                            served.fetch_add(1, Ordering::Relaxed);
                        }
                        // It was on the worker that was killed.
                        Err(_) => {
                            cut_off.fetch_add(1, Ordering::Relaxed);
                        }
                    }
                }
            });
        }
        let served_more = |than: usize| {
            eventually("clients are served", || served.load(Ordering::Relaxed) >= than);
        };
        served_more(100);
        kill_process(first[0], Signal::KILL).expect("a worker");
        let all = workers(&program, 3);
        let before = served.load(Ordering::Relaxed);
        served_more(before + 100);
        eventually("the new one serves too", || serving(&mut program.http()) == all[2]);
        stop.store(true, Ordering::Relaxed);
    });
    // At most what four clients had in hand.
    assert!(cut_off.load(Ordering::Relaxed) <= 4, "{cut_off:?} were cut off");
    assert!(program.line("worker died").contains(&format!("pid={}", first[0])));
    assert!(runs(first[1]), "the other one was left alone");
}

#[test]
fn one_sigterm_drains_all_workers() {
    for signal in [Signal::TERM, Signal::INT, Signal::HUP] {
        let mut program = demo();
        let workers = workers(&program, 2);
        let mut slow: Vec<_> = (0..8).map(|_| program.http()).collect();
        // The answer says that a worker has each connection.
        slow.iter_mut().for_each(|client| assert!(workers.contains(&serving(client))));
        slow.iter_mut().for_each(|client| client.request("/slow/300"));
        program.signal(signal);
        slow.iter_mut().for_each(|client| assert_eq!(client.reply().body, "slept 300 ms\n"));
        assert_eq!(program.ends_within(FEW_SECONDS), 0);
        assert!(workers.iter().all(|worker| !runs(*worker)), "no worker is left");
    }
}

#[test]
fn sigterm_to_the_whole_group_drains_as_well() {
    // What systemd, timeout(1) and a terminal do: each process has the signal from outside, and each
    // worker a second one from its supervisor.
    for signal in [Signal::TERM, Signal::INT, Signal::HUP] {
        let mut program = demo();
        let workers = workers(&program, 2);
        let mut slow: Vec<_> = (0..8).map(|_| program.http()).collect();
        slow.iter_mut().for_each(|client| assert!(workers.contains(&serving(client))));
        slow.iter_mut().for_each(|client| client.request("/slow/300"));
        workers.iter().for_each(|worker| kill_process(*worker, signal).expect("a worker"));
        program.signal(signal);
        slow.iter_mut().for_each(|client| assert_eq!(client.reply().body, "slept 300 ms\n"));
        assert_eq!(program.ends_within(FEW_SECONDS), 0);
        assert!(workers.iter().all(|worker| !runs(*worker)), "no worker is left");
    }
}

#[test]
fn two_sigterms_end_all_workers_at_once() {
    let mut program = demo();
    let workers = workers(&program, 2);
    let mut slow = program.http();
    serving(&mut slow);
    slow.request("/slow/60000");
    program.signal(Signal::TERM);
    // One line of the supervisor and one of each worker.
    program.lines("stopping", 3);
    assert_eq!(program.signal_until_it_ends(Signal::TERM), 128 + 15);
    assert!(slow.try_reply().is_err(), "there was no time for a reply");
    program.log_ends();
    eventually("no worker is left", || workers.iter().all(|worker| !runs(*worker)));
}

#[test]
fn workers_end_when_their_supervisor_is_killed() {
    let mut program = demo();
    let workers = workers(&program, 2);
    let mut slow = program.http();
    serving(&mut slow);
    slow.request("/slow/300");
    program.signal(Signal::KILL);
    assert_eq!(program.ends_within(PATIENCE), 1000 + 9);
    assert_eq!(slow.reply().body, "slept 300 ms\n");
    program.log_ends();
    eventually("no worker is left", || workers.iter().all(|worker| !runs(*worker)));
}

#[test]
fn a_worker_that_dies_again_and_again_comes_back_later_and_later() {
    let program = demo();
    workers(&program, 2);
    for death in 1..=4 {
        // Worker 0 is killed as soon as it has started.
        let starts = program.lines("worker started worker=0", death);
        let pid = starts.last().and_then(|line| line.rsplit_once("pid="));
        let pid = pid.and_then(|(_, pid)| pid.parse().ok()).and_then(Pid::from_raw);
        kill_process(pid.expect("a pid"), Signal::KILL).expect("a worker");
        program.lines("worker died", death);
    }
    program.lines("worker started worker=0", 5);
    let deaths = program.lines("worker died", 4);
    let delay = |line: &String| {
        let (_, rest) = line.split_once("delay=").expect("a delay");
        rest.split(' ').next().expect("a delay").to_owned()
    };
    let delays: Vec<_> = deaths.iter().map(delay).collect();
    assert_eq!(delays, ["0ns", "100ms", "200ms", "400ms"]);
    assert!(runs(serving(&mut program.http())), "the service goes on");
}

#[test]
fn nobody_listens_while_workers_drain() {
    let mut program = demo();
    let address = program.address("http");
    let mut slow = program.http();
    serving(&mut slow);
    slow.request("/slow/2000");
    program.signal(Signal::TERM);
    program.lines("stopping", 3);
    eventually("the port is closed", || Client::try_connect(address).is_err());
    assert!(slow.is_silent(), "it was closed while a request was in flight");
    assert_eq!(slow.reply().body, "slept 2000 ms\n");
    assert_eq!(program.ends_within(FEW_SECONDS), 0);
}

#[test]
fn a_worker_that_drains_alone_leaves_the_port_to_the_others() {
    let program = demo();
    let workers = workers(&program, 2);
    let address = program.address("http");
    let (mut slow, mut first) = (Client::connect(address), program.http());
    // A request in flight keeps the draining worker for a while. The kernel chooses which one that is.
    let chosen = serving(&mut slow);
    assert!(workers.contains(&chosen));
    slow.request("/slow/1500");
    kill_process(chosen, Signal::TERM).expect("a worker");
    program.line("stopping");
    assert_eq!(first.get("/hello/x").status, 200, "whichever has it");
    for _ in 0..50 {
        let mut client = Client::try_connect(address).expect("somebody listens");
        assert_eq!(client.get("/hello/x").body, "hello, x\n");
    }
    assert!(slow.is_silent(), "all that was before the drain has ended");
    assert_eq!(slow.reply().body, "slept 1500 ms\n");
    let drained = program.line("worker drained: it is replaced");
    assert!(drained.contains(&format!("pid={chosen}")), "{drained}");
    program.lines("worker started", 3);
    assert!(!program.log().contains("worker died"));
}

#[test]
fn a_worker_that_does_not_drain_in_time_makes_the_exit_code_3() {
    let mut program = Program::demo(&["--processes", "2", "--drain", "2"]);
    workers(&program, 2);
    let mut slow = program.http();
    serving(&mut slow);
    slow.request("/slow/60000");
    program.signal(Signal::TERM);
    assert_eq!(program.ends_within(FEW_SECONDS), 3);
    program.line("threadline: stopped at the drain deadline: 1 connection cut off");
    program.line("threadline: stopped at the drain deadline: 1 worker process failed to drain");
    assert!(!program.log().contains("they are killed"), "it ended by itself");
    assert!(slow.try_reply().is_err(), "it was cut off");
}

#[test]
fn no_other_program_inherits_a_socket() {
    let program = demo();
    let mut processes = workers(&program, 2);
    processes.push(program.pid());
    let mut client = program.http();
    serving(&mut client);
    for pid in processes {
        for entry in fs::read_dir(format!("/proc/{pid}/fd")).expect("procfs").flatten() {
            let target = fs::read_link(entry.path()).unwrap_or_default();
            let number: i32 = entry.file_name().to_string_lossy().parse().expect("a number");
            if number > 2 && target.to_string_lossy().starts_with("socket:") {
                let info = fs::read_to_string(format!("/proc/{pid}/fdinfo/{number}"));
                let Ok(info) = info else { continue };
                let flags = info.lines().find_map(|line| line.strip_prefix("flags:"));
                let flags = flags.and_then(|flags| u32::from_str_radix(flags.trim(), 8).ok());
                // O_CLOEXEC: open(2) says so, proc(5) shows it.
                assert!(
                    flags.is_some_and(|flags| flags & 0o2000000 != 0),
                    "{pid}: {number} {info}"
                );
            }
        }
    }
}

#[test]
fn an_inherited_port_is_closed_while_the_service_drains() {
    let everything = [
        ("adaptive", "0"),
        ("adaptive", "2"),
        ("event-loop", "0"),
        ("pool", "0"),
        ("thread-per-connection", "0"),
    ];
    for ((model, processes), number) in everything.into_iter().zip([3, 3, 7, 0, 3]) {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("binds");
        let address = listener.local_addr().expect("an address");
        let http = format!("--http=fd:{number}");
        let mut arguments = vec!["demo", &http, "--echo=127.0.0.1:0", "--chat=127.0.0.1:0"];
        arguments.extend(["--model", model, "--shards", "2"]);
        if processes != "0" {
            arguments.extend(["--processes", processes]);
        }
        let mut program = Program::inheriting(listener, number, &arguments);
        let mut slow = Client::connect(address);
        assert_eq!(slow.get("/hello/x").status, 200);
        slow.request("/slow/2000");
        if model == "event-loop" {
            // The other event loop closes its share, and this one when its handler returns: enough that
            // the service ends.
            program.signal(Signal::TERM);
            assert_eq!(slow.reply().body, "slept 2000 ms\n");
        } else {
            program.signal(Signal::TERM);
            program.line("stopping");
            eventually("the port is closed", || Client::try_connect(address).is_err());
            assert!(slow.is_silent(), "{model}: it was closed while a request was in flight");
            assert_eq!(slow.reply().body, "slept 2000 ms\n");
        }
        assert_eq!(program.ends_within(FEW_SECONDS), 0, "{model}");
        assert!(Client::try_connect(address).is_err());
    }
}
