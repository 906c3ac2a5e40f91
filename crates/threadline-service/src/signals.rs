//! Waiting for the signals that end a service.
//!
//! Called by the facade's `Server::run`. Signals are taken while somebody listens and given back after that:
//! what a second Ctrl-C does after `run` has returned is the program's business. It must not take a stop
//! signal that the process was started without: one that is ignored stays ignored (nohup(1), and shells
//! that start a program in the background).
//!
//! The handler of `threadline_engine::signals` writes to a pipe, and one thread reads it for all that listen.

use std::io;
use std::os::fd::OwnedFd;
use std::process;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, Once, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use signal_hook::consts::{SIGCHLD, SIGHUP, SIGINT, SIGTERM, SIGUSR2, SIGXFSZ};
use threadline_engine::signals::{Ignored, TakenSignal, taken_signals, wake_reader};

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

/// Signals as they come. Until it is dropped they do not have the effect that they had before; then they
/// have it again, unless another one listens.
#[derive(Debug)]
pub struct Listening {
    events: Receiver<Event>,
    id: u64,
}

/// Starts to listen. What ended the process, or was the program's own to handle, is now told to the
/// returned value.
///
/// # Errors
/// If there is no thread or no descriptor to be had.
pub fn listen(role: Role) -> io::Result<Listening> {
    let mut all = lock();
    all.discard_old()?;
    let (sender, events) = channel();
    let taken = role.signals().iter().map(|(signal, ignored)| all.take(*signal, *ignored));
    let taken = taken.collect::<io::Result<Vec<_>>>()?.into_iter().flatten().collect();
    all.start_reading()?;
    let id = all.next_id;
    all.next_id += 1;
    all.listeners.push(Listener { id, reading: Reading::new(role), sender, taken });
    Ok(Listening { events, id })
}

impl Drop for Listening {
    fn drop(&mut self) {
        let mut all = lock();
        // Under the lock, or somebody who begins to listen could take ours for what was there before.
        all.listeners.retain(|listener| listener.id != self.id);
        if all.listeners.is_empty() {
            wake_reader();
        }
    }
}

impl Role {
    /// The signals that it takes, and whether it does so if they are ignored.
    fn signals(self) -> &'static [(i32, Ignored)] {
        use Ignored::{Kept, Taken};
        match self {
            Role::Single => &[(SIGTERM, Kept), (SIGINT, Kept), (SIGHUP, Kept)],
            Role::Supervisor => {
                &[(SIGTERM, Kept), (SIGINT, Kept), (SIGHUP, Kept), (SIGCHLD, Taken)]
            }
            // Its SIGTERM is the supervisor's word, and not the world's.
            Role::Worker => &[(SIGTERM, Taken), (SIGINT, Kept), (SIGHUP, Kept), (ORPHANED, Taken)],
        }
    }
}

/// Those that listen in this process: one service, as a rule.
struct All {
    listeners: Vec<Listener>,
    next_id: u64,
    /// Whether there is a thread that reads.
    reads: bool,
}

struct Listener {
    id: u64,
    reading: Reading,
    sender: Sender<Event>,
    /// Shared with others that listen for the same. Let go under the lock only.
    taken: Vec<Arc<Taken>>,
}

#[derive(Debug)]
struct Taken {
    number: i32,
    _signal: TakenSignal,
}

static ALL: Mutex<All> = Mutex::new(All { listeners: Vec::new(), next_id: 0, reads: false });

fn lock() -> MutexGuard<'static, All> {
    // Nothing under it panics half-way.
    ALL.lock().unwrap_or_else(PoisonError::into_inner)
}

impl All {
    fn take(&self, number: i32, ignored: Ignored) -> io::Result<Option<Arc<Taken>>> {
        let taken = self.listeners.iter().flat_map(|listener| &listener.taken);
        if let Some(taken) = taken.into_iter().find(|taken| taken.number == number) {
            return Ok(Some(Arc::clone(taken)));
        }
        let signal = TakenSignal::take(number, ignored)?;
        Ok(signal.map(|signal| Arc::new(Taken { number, _signal: signal })))
    }

    /// Removes what a handler has written after the last one stopped listening. That was not for us.
    fn discard_old(&self) -> io::Result<()> {
        let source = taken_signals()?;
        if !self.reads {
            let mut old = vec![0; rustix::io::ioctl_fionread(source)? as usize];
            if !old.is_empty() {
                rustix::io::read(source, &mut old)?;
            }
        }
        Ok(())
    }

    fn start_reading(&mut self) -> io::Result<()> {
        if self.reads {
            return Ok(());
        }
        let source = taken_signals()?;
        let thread = thread::Builder::new().name("tl-signals".into());
        thread.spawn(move || read_signals(source)).map_err(|error| {
            let message = format!("no thread could be started: {error} (tl-signals)");
            io::Error::new(error.kind(), message)
        })?;
        self.reads = true;
        Ok(())
    }

    /// Tells a signal to all. Gives the exit code if one of them ends the process.
    fn tell(&mut self, signal: i32, now: Instant) -> Option<i32> {
        let mut end = None;
        for listener in &mut self.listeners {
            if !listener.taken.iter().any(|taken| taken.number == signal) {
                continue;
            }
            match listener.reading.read(signal, now) {
                Meaning::Nothing => {}
                // The receiver lives as long as its entry here.
                Meaning::Tell(event) => _ = listener.sender.send(event),
                Meaning::End { code } => end = Some(code),
            }
        }
        end
    }
}

/// The thread that reads, for as long as somebody listens.
fn read_signals(source: &OwnedFd) {
    let mut numbers = [0; 64];
    loop {
        // The pipe is never closed, so the only error is an interruption.
        let count = rustix::io::read(source, &mut numbers).unwrap_or(0);
        let mut all = lock();
        if all.listeners.is_empty() {
            all.reads = false;
            return;
        }
        let now = Instant::now();
        let mut ends = numbers[..count].iter().filter_map(|number| all.tell((*number).into(), now));
        let end = ends.next();
        drop(all);
        if let Some(code) = end {
            tracing::warn!("asked twice: ending on the spot");
            logging::flush();
            process::exit(code);
        }
    }
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
        // The sender lives as long as this value.
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

/// Lets a write beyond the limit on the size of files (`ulimit -f`, systemd's `LimitFSIZE=`) fail with `EFBIG`.
/// By default the kernel ends the process (SIGXFSZ, setrlimit(2)). A handler is enough; one that the program
/// has installed is called too.
pub fn outlive_file_size_limit() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // Without it a file that grows to the limit ends the process, as it would have before.
        let _ = signal_hook::flag::register(SIGXFSZ, Arc::default());
    });
}

#[cfg(test)]
mod tests {
    use rustix::process::Signal;

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
    fn those_that_listen_share_a_signal_and_the_last_gives_it_back() {
        // SIGUSR2 would end the process, and is known to workers alone.
        let (first, second) = (listen(Role::Worker), listen(Role::Worker));
        let (first, second) = (first.expect("listens"), second.expect("listens"));
        let count = || {
            lock()
                .take(ORPHANED, Ignored::Kept)
                .expect("taken")
                .map_or(0, |taken| Arc::strong_count(&taken) - 1)
        };
        assert_eq!(count(), 2);
        rustix::process::kill_process(rustix::process::getpid(), Signal::USR2).expect("sent");
        assert_eq!((first.wait(), second.wait()), (Event::Stop, Event::Stop));
        drop(first);
        assert_eq!(count(), 1);
        drop(second);
        assert!(lock().listeners.is_empty());
    }
}
