//! Waiting for the signals that end a service.
//!
//! Called by the facade's `Server::run`, once for a process. It must not take a signal that the process
//! was started without: one that is ignored at the start stays ignored (nohup(1)).

use std::fs;
use std::io;
use std::process;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use signal_hook::consts::{SIGCHLD, SIGHUP, SIGINT, SIGTERM, SIGUSR2};
use signal_hook::iterator::Signals;

use crate::logging;

/// What a signal asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// SIGTERM, SIGINT (Ctrl-C) or SIGHUP (the terminal is gone): finish what is in flight and end.
    Stop,
    /// A child process has ended.
    Child,
}

/// Who the signals are for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// A service of one process: SIGTERM, SIGINT and SIGHUP stop it, a second one ends it on the spot.
    Single,
    /// A supervisor: as `Single`, and its children's ends.
    Supervisor,
    /// A worker: only SIGTERM stops it. Ctrl-C and a terminal's hang-up reach the whole process group,
    /// and they are the supervisor's to act on. A second SIGTERM means nothing while the supervisor is
    /// there: service managers signal every process of a service, and the supervisor passes its own on
    /// besides. `ORPHANED` stops it as well, and ends it on the spot if it was stopping already.
    Worker,
}

/// What the kernel sends to a worker whose supervisor has died. Not SIGTERM: the kernel may send it
/// once for each of the supervisor's threads, which must not look like being asked twice.
pub(crate) const ORPHANED: i32 = SIGUSR2;

/// Stop signals that come within this time of the first count as one: timeout(1), container runtimes and
/// service managers signal a process and then its group. A person who means it a second time takes longer.
const SAME_STOP: Duration = Duration::from_millis(250);

/// Signals as they come. From [`listen`] on, they no longer end the process by themselves.
#[derive(Debug)]
pub struct Listening {
    events: Receiver<Event>,
}

/// Starts to listen, on a thread of its own. A SIGHUP that is ignored stays ignored.
///
/// # Errors
/// If the handlers cannot be installed.
pub fn listen(role: Role) -> io::Result<Listening> {
    let mut wanted = vec![SIGTERM, SIGINT];
    match role {
        Role::Single => {}
        Role::Worker => wanted.push(ORPHANED),
        Role::Supervisor => wanted.push(SIGCHLD),
    }
    if !is_ignored(SIGHUP) {
        wanted.push(SIGHUP);
    }
    let mut signals = Signals::new(wanted)?;
    let (sender, events) = channel();
    let thread = thread::Builder::new().name("tl-signals".into());
    let started = thread.spawn(move || {
        let mut reading = Reading::new(role);
        for signal in signals.forever() {
            match reading.read(signal, Instant::now()) {
                Meaning::Nothing => {}
                Meaning::Tell(event) => {
                    if sender.send(event).is_err() {
                        return;
                    }
                }
                Meaning::End { code } => {
                    tracing::warn!("asked twice: ending on the spot");
                    logging::flush();
                    process::exit(code);
                }
            }
        }
    });
    match started {
        Ok(_) => Ok(Listening { events }),
        Err(error) => {
            let message = format!("no thread could be started: {error} (tl-signals)");
            Err(io::Error::new(error.kind(), message))
        }
    }
}

/// Whether the process ignores a signal, as far as the kernel tells: the mask `SigIgn` of proc(5). It is
/// read because the system call that would say so is not to be had without unsafe code.
fn is_ignored(signal: i32) -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    ignored_mask(&status).is_some_and(|mask| mask & (1 << (signal - 1)) != 0)
}

fn ignored_mask(status: &str) -> Option<u64> {
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"))?;
    u64::from_str_radix(mask.trim(), 16).ok()
}

/// What signals mean, one after the other.
#[derive(Debug)]
struct Reading {
    role: Role,
    /// When the service was asked to stop.
    stopped: Option<Instant>,
    orphaned: bool,
}

#[derive(Debug, PartialEq, Eq)]
enum Meaning {
    Nothing,
    Tell(Event),
    End { code: i32 },
}

impl Reading {
    fn new(role: Role) -> Self {
        Reading { role, stopped: None, orphaned: false }
    }

    fn read(&mut self, signal: i32, now: Instant) -> Meaning {
        match (signal, self.role) {
            (SIGCHLD, _) => return Meaning::Tell(Event::Child),
            (SIGINT | SIGHUP, Role::Worker) => return Meaning::Nothing,
            (ORPHANED, _) if self.orphaned => return Meaning::Nothing,
            (SIGTERM, Role::Worker) if self.stopped.is_some() && !self.orphaned => {
                return Meaning::Nothing;
            }
            _ => {}
        }
        self.orphaned |= signal == ORPHANED;
        let Some(stopped) = self.stopped else {
            self.stopped = Some(now);
            return Meaning::Tell(Event::Stop);
        };
        // The kernel's own is never sent for company.
        if signal != ORPHANED && now.saturating_duration_since(stopped) < SAME_STOP {
            return Meaning::Nothing;
        }
        Meaning::End { code: 128 + if self.orphaned { SIGTERM } else { signal } }
    }
}

impl Listening {
    /// Waits for the next event, for ever.
    pub fn wait(&self) -> Event {
        // The sender lives as long as the signal thread, which never ends before us.
        self.events.recv().unwrap_or(Event::Stop)
    }

    /// Waits for the next event; `None` after `limit` without one.
    pub fn wait_for(&self, limit: Duration) -> Option<Event> {
        match self.events.recv_timeout(limit) {
            Ok(event) => Some(event),
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => Some(Event::Stop),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a role makes of signals, each with its delay after the first in milliseconds.
    fn meanings<const N: usize>(role: Role, signals: [(i32, u64); N]) -> [Meaning; N] {
        let (mut reading, start) = (Reading::new(role), Instant::now());
        signals.map(|(signal, ms)| reading.read(signal, start + Duration::from_millis(ms)))
    }

    const STOP: Meaning = Meaning::Tell(Event::Stop);
    const CHILD: Meaning = Meaning::Tell(Event::Child);

    #[test]
    fn signals_that_come_together_count_as_one() {
        for first in [SIGTERM, SIGINT, SIGHUP] {
            for second in [SIGTERM, SIGINT, SIGHUP] {
                for role in [Role::Single, Role::Supervisor] {
                    let read = meanings(role, [(first, 0), (second, 0), (second, 249)]);
                    assert_eq!(read, [STOP, Meaning::Nothing, Meaning::Nothing]);
                }
            }
        }
    }

    #[test]
    fn a_second_one_ends_on_the_spot() {
        for (signal, code) in [(SIGTERM, 143), (SIGINT, 130), (SIGHUP, 129)] {
            let read = meanings(Role::Single, [(SIGTERM, 0), (SIGTERM, 200), (signal, 250)]);
            assert_eq!(read, [STOP, Meaning::Nothing, Meaning::End { code }]);
        }
    }

    #[test]
    fn a_child_is_not_a_stop() {
        let read = meanings(Role::Supervisor, [(SIGCHLD, 0), (SIGTERM, 1), (SIGCHLD, 900)]);
        assert_eq!(read, [CHILD, STOP, CHILD]);
    }

    #[test]
    fn a_worker_leaves_the_terminal_to_its_supervisor() {
        let signals = [(SIGINT, 0), (SIGHUP, 400), (SIGTERM, 800), (SIGTERM, 1600), (SIGINT, 2400)];
        let none = || Meaning::Nothing;
        assert_eq!(meanings(Role::Worker, signals), [none(), none(), STOP, none(), none()]);
    }

    #[test]
    fn an_orphan_stops_and_ends_on_the_spot_if_it_was_stopping() {
        let read = meanings(Role::Worker, [(ORPHANED, 0), (ORPHANED, 1), (SIGTERM, 300)]);
        assert_eq!(read, [STOP, Meaning::Nothing, Meaning::End { code: 143 }]);
        let read = meanings(Role::Worker, [(SIGTERM, 0), (ORPHANED, 1)]);
        assert_eq!(read, [STOP, Meaning::End { code: 143 }]);
    }

    #[test]
    fn ignored_signals_are_read_from_the_mask() {
        let mask = ignored_mask("Name:\tx\nSigBlk:\t0000000000000000\nSigIgn:\t0000000000001001\n");
        assert_eq!(mask, Some(0x1001));
        assert_eq!(mask.map(|mask| mask >> (SIGHUP - 1) & 1), Some(1));
        assert_eq!(ignored_mask("Name:\tx\n"), None);
        assert!(!is_ignored(SIGTERM), "this process does not");
    }
}
