//! Worker processes that share the same listeners and are restarted when they die.
//!
//! The supervisor binds the addresses and starts its own program again, once for each worker, with
//! the listeners inherited and [`WORKER_VARIABLE`] set. So `main` runs again in each worker, up to the
//! point where it serves; threads that were started before need no care, as they would with a bare
//! `fork`, and a worker that dies leaves its clients' backlog to the others.
//!
//! ```text
//!            start         dies              back-off over
//!   (none) --------> Runs ------> Waits(due) --------------> Runs
//!                     |  SIGTERM to the supervisor
//!                     v
//!                   Drains --ends--> (none)      after the deadline: SIGKILL
//! ```

use std::env;
use std::ffi::OsString;
use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal};
use threadline_engine::Listener;

use crate::logging::limited;
use crate::signals::{self, Event, Role};

/// Set in a worker's environment: `NUMBER/SUPERVISOR-PID/FD,FD,…`.
pub const WORKER_VARIABLE: &str = "THREADLINE_WORKER";

/// A worker that lived shorter than this is restarted later and later.
const STABLE_AFTER: Duration = Duration::from_secs(10);
/// The first delay of a restart. A worker that was stable is restarted at once.
const BACK_OFF_MIN: Duration = Duration::from_millis(100);
/// The longest delay.
const BACK_OFF_MAX: Duration = Duration::from_secs(30);
/// How much longer than its drain deadline a worker may take to end.
const KILL_GRACE: Duration = Duration::from_secs(2);

/// What a worker process knows of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Worker {
    /// Its number, from 0. A restarted worker has the number of the one it replaces.
    pub number: usize,
    /// The inherited listeners' descriptors, in the order in which they were bound.
    pub descriptors: Vec<i32>,
    supervisor: i32,
}

impl Worker {
    /// This process, if it is a worker.
    pub fn current() -> Option<Worker> {
        Worker::parse(env::var(WORKER_VARIABLE).ok()?.as_str())
    }

    fn parse(text: &str) -> Option<Worker> {
        let mut parts = text.split('/');
        let number = parts.next()?.parse().ok()?;
        let supervisor = parts.next()?.parse().ok()?;
        let descriptors = parts.next()?.split(',').map(|fd| fd.parse().ok());
        let descriptors = descriptors.collect::<Option<_>>()?;
        Some(Worker { number, descriptors, supervisor })
    }

    /// Ties this worker's life to the supervisor's: if that is killed, this one drains.
    ///
    /// # Errors
    /// The system's.
    pub fn follow_supervisor(&self) -> io::Result<()> {
        let orphaned = Signal::from_named_raw(signals::ORPHANED);
        rustix::process::set_parent_process_death_signal(orphaned)?;
        // It may have died before the line above.
        let parent = rustix::process::getppid().map_or(0, |pid| pid.as_raw_nonzero().get());
        if parent != self.supervisor {
            return Err(io::Error::other("the supervisor is gone"));
        }
        Ok(())
    }
}

/// Runs `count` workers until a signal stops them.
#[derive(Debug)]
pub struct Supervisor {
    listeners: Vec<Listener>,
    drain_timeout: Duration,
    places: Vec<Place>,
    program: OsString,
    arguments: Vec<OsString>,
}

/// A worker's place.
#[derive(Debug)]
struct Place {
    state: State,
    back_off: Duration,
}

#[derive(Debug)]
enum State {
    Runs { child: Child, since: Instant },
    Waits { due: Instant },
}

impl Supervisor {
    /// A supervisor of `count` workers that serve `listeners`.
    ///
    /// # Errors
    /// If the program cannot find itself, or a descriptor cannot be made inheritable.
    pub fn new(
        count: usize,
        listeners: Vec<Listener>,
        drain_timeout: Duration,
    ) -> io::Result<Supervisor> {
        for listener in &listeners {
            rustix::io::fcntl_setfd(listener.as_fd(), rustix::io::FdFlags::empty())?;
        }
        let place =
            || Place { state: State::Waits { due: Instant::now() }, back_off: Duration::ZERO };
        Ok(Supervisor {
            listeners,
            drain_timeout,
            places: (0..count).map(|_| place()).collect(),
            program: env::current_exe()?.into(),
            arguments: env::args_os().skip(1).collect(),
        })
    }

    /// Starts the workers and keeps them running until SIGTERM or Ctrl-C; then drains them all.
    ///
    /// # Errors
    /// If signals cannot be received. A worker that cannot be started is tried again.
    pub fn run(mut self) -> io::Result<()> {
        let signals = signals::listen(Role::Supervisor)?;
        loop {
            self.start_due();
            let event = match self.next_due() {
                Some(due) => signals.wait_for(due.saturating_duration_since(Instant::now())),
                None => Some(signals.wait()),
            };
            match event {
                Some(Event::Stop) => break,
                Some(Event::Child) => self.bury_dead(),
                None => {}
            }
        }
        self.drain(&signals);
        Ok(())
    }

    fn start_due(&mut self) {
        let now = Instant::now();
        for number in 0..self.places.len() {
            if !matches!(self.places[number].state, State::Waits { due } if due <= now) {
                continue;
            }
            let started = self.start(number);
            let place = &mut self.places[number];
            place.state = match started {
                Ok(child) => {
                    tracing::info!(worker = number, pid = child.id(), "worker started");
                    State::Runs { child, since: now }
                }
                Err(error) => {
                    let key = number.to_string();
                    limited!(error, key: &key, "cannot start a worker", worker = number, %error);
                    State::Waits { due: now + place.wait_longer() }
                }
            };
        }
    }

    fn start(&self, number: usize) -> io::Result<Child> {
        let descriptors: Vec<String> = (self.listeners.iter())
            .map(|listener| listener.as_fd().as_raw_fd().to_string())
            .collect();
        let pid = std::process::id();
        let role = format!("{number}/{pid}/{}", descriptors.join(","));
        Command::new(&self.program).args(&self.arguments).env(WORKER_VARIABLE, role).spawn()
    }

    fn next_due(&self) -> Option<Instant> {
        let due = |place: &Place| match place.state {
            State::Waits { due } => Some(due),
            State::Runs { .. } => None,
        };
        self.places.iter().filter_map(due).min()
    }

    fn bury_dead(&mut self) {
        for (number, place) in self.places.iter_mut().enumerate() {
            let State::Runs { child, since } = &mut place.state else { continue };
            let Ok(Some(status)) = child.try_wait() else { continue };
            let (pid, lived) = (child.id(), since.elapsed());
            if lived >= STABLE_AFTER {
                place.back_off = Duration::ZERO;
            }
            let delay = place.wait_longer();
            let (key, worker) = (number.to_string(), number);
            limited!(warn, key: &key, "worker died: it is replaced", worker, pid, %status, ?delay);
            place.state = State::Waits { due: Instant::now() + delay };
        }
    }

    fn drain(&mut self, signals: &signals::Listening) {
        tracing::info!("stopping: workers finish what they have begun");
        // New clients are refused from here on, even if a worker is slow to close its copy.
        self.listeners.clear();
        self.signal_all(Signal::TERM);
        let deadline = Instant::now() + self.drain_timeout + KILL_GRACE;
        while self.any_runs() && Instant::now() < deadline {
            signals.wait_for(deadline.saturating_duration_since(Instant::now()));
        }
        if self.any_runs() {
            tracing::warn!("some workers have not ended in time: they are killed");
            self.signal_all(Signal::KILL);
            for place in &mut self.places {
                if let State::Runs { child, .. } = &mut place.state {
                    let _ = child.wait();
                }
            }
        }
    }

    fn any_runs(&mut self) -> bool {
        let runs = |place: &mut Place| match &mut place.state {
            State::Runs { child, .. } => matches!(child.try_wait(), Ok(None)),
            State::Waits { .. } => false,
        };
        // Every one is asked, so that none stays a zombie.
        self.places.iter_mut().map(runs).filter(|runs| *runs).count() > 0
    }

    fn signal_all(&self, signal: Signal) {
        for place in &self.places {
            if let State::Runs { child, .. } = &place.state
                && let Some(pid) = Pid::from_raw(child.id() as i32)
            {
                // One that has just ended is not waited for yet, so its number is still its own.
                let _ = rustix::process::kill_process(pid, signal);
            }
        }
    }
}

impl Place {
    /// The delay before the next start; at once the first time, then twice as long each time.
    fn wait_longer(&mut self) -> Duration {
        let delay = self.back_off;
        self.back_off = (self.back_off * 2).clamp(BACK_OFF_MIN, BACK_OFF_MAX);
        delay
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_workers_role_is_read() {
        let worker = Worker::parse("2/4711/3,5").expect("a role");
        assert_eq!((worker.number, worker.supervisor), (2, 4711));
        assert_eq!(worker.descriptors, [3, 5]);
        for bad in ["", "1", "1/2", "1/2/", "1/2/x", "x/2/3"] {
            assert_eq!(Worker::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn restarts_come_later_and_later_up_to_a_limit() {
        let mut place =
            Place { state: State::Waits { due: Instant::now() }, back_off: Duration::ZERO };
        assert_eq!(place.wait_longer(), Duration::ZERO);
        assert_eq!(place.wait_longer(), BACK_OFF_MIN);
        assert_eq!(place.wait_longer(), BACK_OFF_MIN * 2);
        for _ in 0..20 {
            place.wait_longer();
        }
        assert_eq!(place.wait_longer(), BACK_OFF_MAX);
    }
}
