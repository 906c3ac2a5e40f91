//! Worker processes that share the same listeners and are restarted when they die.
//!
//! The supervisor binds the addresses and starts its own program again, once for each worker, with
//! [`WORKER_VARIABLE`] set. So `main` runs again in each worker, up to the point where it serves; threads
//! that were started before need no care, as they would with a bare `fork`, and a worker that dies
//! leaves its clients' backlog to the others.
//!
//! A worker inherits one socket, from which it takes the listeners when it begins to serve
//! (`SCM_RIGHTS`, unix(7)), and by which it tells the supervisor that it serves and, later, that it
//! drains. The listeners themselves are never inheritable: a child process that the
//! program starts for its own purposes, in the supervisor or in a worker, would otherwise keep the port
//! open after the service has ended.
//!
//! ```text
//!            start         dies              back-off over
//!   (none) --------> Runs ------> Waits(due) --------------> Runs
//!                     |  SIGTERM to the supervisor
//!                     v
//!                   Drains --ends--> Ended      at the deadline: SIGKILL
//! ```

use std::env;
use std::ffi::OsString;
use std::fmt;
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, ExitStatus};
use std::time::{Duration, Instant};

use rustix::io::{Errno, FdFlags, fcntl_setfd};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, Shutdown, SocketFlags, SocketType, recv, recvmsg, send,
    sendmsg, socketpair,
};
use rustix::process::{Pid, Signal};
use threadline_engine::{Listener, take_inherited};

use crate::logging::limited;
use crate::signals::{self, Event, Listening, Role};

/// Set in a worker's environment: `NUMBER/SUPERVISOR-PID/FD`. From the descriptor it gets its listeners.
pub const WORKER_VARIABLE: &str = "THREADLINE_WORKER";

/// A worker that lived shorter than this is restarted later and later.
const STABLE_AFTER: Duration = Duration::from_secs(10);
/// The first delay of a restart. A worker that was stable is restarted at once.
const BACK_OFF_MIN: Duration = Duration::from_millis(100);
/// The longest delay.
const BACK_OFF_MAX: Duration = Duration::from_secs(30);
/// How much earlier than its supervisor a worker must have drained, at most. See [`worker_drain`].
const RESERVE_MAX: Duration = Duration::from_millis(500);
/// How long workers have to end, however short the drain is. One that has nothing in flight needs a moment,
/// too; the engine's drain gives its threads half of this.
const END_MIN: Duration = Duration::from_secs(1);
/// How often workers that have not said that they drain are told again.
const SAY_AGAIN: Duration = Duration::from_millis(50);
/// Listeners in one message. The kernel takes 253 descriptors at most (`SCM_MAX_FD`).
const LISTENERS_A_MESSAGE: usize = 64;

/// How long a worker's drain may take, if that of the whole service may take `limit`: an eighth less, but
/// no more than 500 ms less. In that time the worker ends, and one that does not is killed.
pub fn worker_drain(limit: Duration) -> Duration {
    limit - reserve(limit)
}

fn reserve(limit: Duration) -> Duration {
    (limit / 8).min(RESERVE_MAX)
}

/// What a worker process knows of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Worker {
    /// Its number, from 0. A restarted worker has the number of the one it replaces.
    pub number: usize,
    supervisor: i32,
    /// The inherited socket.
    socket: i32,
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
        let socket = parts.next()?.parse().ok()?;
        parts.next().is_none().then_some(Worker { number, supervisor, socket })
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

    /// The listeners, in the order in which the supervisor has bound them, and the way to tell it more.
    /// They are handed out once.
    ///
    /// # Errors
    /// The system's, if the inherited socket is not what the supervisor has left there.
    pub fn listeners(&self) -> io::Result<(Vec<Listener>, Reports)> {
        let socket = take_inherited(self.socket)?;
        let mut listeners = Vec::new();
        while receive(&socket, &mut listeners)? {}
        let listeners = listeners.into_iter().map(Listener::from_fd).collect::<io::Result<_>>()?;
        let reports = Reports(socket);
        reports.tell(Report::Serves);
        Ok((listeners, reports))
    }
}

/// Tells the supervisor how its worker is doing.
#[derive(Debug)]
pub struct Reports(OwnedFd);

impl Reports {
    /// This worker finishes what it has begun, and ends.
    pub fn drains(&self) {
        self.tell(Report::Drains);
    }

    fn tell(&self, report: Report) {
        // The supervisor may be gone, which the worker hears of in another way.
        let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
        let _ = send(&self.0, &[report as u8], flags);
    }
}

/// How far a worker has come. Each is told once, in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
enum Report {
    /// It has taken the listeners.
    Serves = b'S',
    Drains = b'T',
}

/// Leaves descriptors in a socket for a process that inherits it. Returns that socket, and its other end,
/// where the reports of that process come.
fn leave<'f>(descriptors: impl Iterator<Item = BorrowedFd<'f>>) -> io::Result<(OwnedFd, OwnedFd)> {
    let kind = SocketType::SEQPACKET;
    let (ours, theirs) = socketpair(AddressFamily::UNIX, kind, SocketFlags::CLOEXEC, None)?;
    for part in descriptors.collect::<Vec<_>>().chunks(LISTENERS_A_MESSAGE) {
        let mut space =
            [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(LISTENERS_A_MESSAGE))];
        let mut message = SendAncillaryBuffer::new(&mut space);
        message.push(SendAncillaryMessage::ScmRights(part));
        // A message needs a byte, or it would look like the end.
        sendmsg(&ours, &[IoSlice::new(b"L")], &mut message, SendFlags::NOSIGNAL)?;
    }
    // That is the end of the descriptors.
    rustix::net::shutdown(&ours, Shutdown::Write)?;
    Ok((theirs, ours))
}

/// Takes the next of the descriptors that [`leave`] has left. False at their end.
fn receive(socket: &OwnedFd, to: &mut Vec<OwnedFd>) -> io::Result<bool> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(LISTENERS_A_MESSAGE))];
    let mut message = RecvAncillaryBuffer::new(&mut space);
    let mut byte = [0];
    let flags = RecvFlags::CMSG_CLOEXEC;
    let received = recvmsg(socket, &mut [IoSliceMut::new(&mut byte)], &mut message, flags)?;
    for part in message.drain() {
        if let RecvAncillaryMessage::ScmRights(descriptors) = part {
            to.extend(descriptors);
        }
    }
    Ok(received.bytes > 0)
}

/// Runs `count` workers until a signal stops them.
///
/// [`Supervisor::serve`], then [`Supervisor::stop`], then [`Supervisor::wait`].
#[derive(Debug)]
pub struct Supervisor {
    signals: Listening,
    listeners: Vec<Listener>,
    places: Vec<Place>,
    command: WorkerCommand,
    /// Whether a worker has ever taken the listeners.
    has_served: bool,
}

/// What worker processes run.
#[derive(Debug, Clone)]
pub enum WorkerCommand {
    /// The program of this process, with its arguments.
    Same,
    /// Another one. A program without `/` is looked up in `PATH`.
    Given {
        /// The program.
        program: OsString,
        /// Its arguments, the program's name not among them.
        arguments: Vec<OsString>,
    },
}

impl WorkerCommand {
    fn command(&self) -> io::Result<Command> {
        let (program, arguments) = match self {
            WorkerCommand::Same => (env::current_exe()?.into(), env::args_os().skip(1).collect()),
            WorkerCommand::Given { program, arguments } => (program.clone(), arguments.clone()),
        };
        let mut command = Command::new(program);
        command.args(arguments);
        Ok(command)
    }

    fn is_given(&self) -> bool {
        matches!(self, WorkerCommand::Given { .. })
    }
}

impl fmt::Display for WorkerCommand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            WorkerCommand::Same => f.write_str("this program"),
            WorkerCommand::Given { program, .. } => write!(f, "{program:?}"),
        }
    }
}

/// A worker's place.
#[derive(Debug)]
struct Place {
    state: State,
    back_off: Duration,
}

#[derive(Debug)]
enum State {
    Runs {
        child: Child,
        since: Instant,
        reports: OwnedFd,
        told: Option<Report>,
    },
    Waits {
        due: Instant,
    },
    /// In a drain: it has ended, and nothing takes its place.
    Ended {
        status: ExitStatus,
    },
}

impl Supervisor {
    /// A supervisor of `count` workers that run `command` and serve `listeners`. From here on signals are
    /// its own.
    ///
    /// # Errors
    /// If signals cannot be received.
    pub fn new(
        count: usize,
        listeners: Vec<Listener>,
        command: WorkerCommand,
    ) -> io::Result<Supervisor> {
        let place =
            || Place { state: State::Waits { due: Instant::now() }, back_off: Duration::ZERO };
        Ok(Supervisor {
            signals: signals::listen(Role::Supervisor)?,
            listeners,
            places: (0..count).map(|_| place()).collect(),
            command,
            has_served: false,
        })
    }

    /// Starts the workers and keeps them running until a signal asks the service to stop. A worker that
    /// cannot be started for want of resources is tried again.
    ///
    /// # Errors
    /// Before any worker has served: if the program cannot be executed, or if one that was given ends
    /// before it serves. It is the wrong program then, and would never do better. Workers may be running:
    /// [`Supervisor::stop`] ends them.
    pub fn serve(&mut self) -> io::Result<()> {
        loop {
            self.start_due()?;
            let event = match self.next_due() {
                Some(due) => self.signals.wait_for(due.saturating_duration_since(Instant::now())),
                None => Some(self.signals.wait()),
            };
            match event {
                Some(Event::Stop) => return Ok(()),
                Some(Event::Child) => self.bury_dead()?,
                None => {}
            }
        }
    }

    fn start_due(&mut self) -> io::Result<()> {
        let now = Instant::now();
        for number in 0..self.places.len() {
            if !matches!(self.places[number].state, State::Waits { due } if due <= now) {
                continue;
            }
            let started = self.start(number);
            let state = match started {
                Ok((child, reports)) => {
                    tracing::info!(worker = number, pid = child.id(), "worker started");
                    State::Runs { child, since: now, reports, told: None }
                }
                Err(error) if self.is_wrong_program(&error) => {
                    let message =
                        format!("cannot run {} as a worker process: {error}", self.command);
                    return Err(io::Error::new(error.kind(), message));
                }
                Err(error) => {
                    let key = number.to_string();
                    limited!(error, key: &key, "cannot start a worker", worker = number, %error);
                    State::Waits { due: now + self.places[number].wait_longer() }
                }
            };
            self.places[number].state = state;
        }
        Ok(())
    }

    /// Whether a start has failed by an error of execve(2) that is about the program, when no worker has
    /// served yet. Later it may be missing for a while, because it is being replaced.
    fn is_wrong_program(&mut self, error: &io::Error) -> bool {
        use io::ErrorKind::{InvalidInput, NotADirectory, NotFound, PermissionDenied};
        let of_execve =
            [Errno::NOEXEC, Errno::LOOP, Errno::ISDIR, Errno::NAMETOOLONG, Errno::TOOBIG];
        let is_of_execve = |code| of_execve.iter().any(|errno| errno.raw_os_error() == code);
        let kinds = [InvalidInput, NotADirectory, NotFound, PermissionDenied];
        let wrong = kinds.contains(&error.kind()) || error.raw_os_error().is_some_and(is_of_execve);
        wrong && !self.has_served()
    }

    /// Whether a worker has ever served.
    fn has_served(&mut self) -> bool {
        let places = &mut self.places;
        self.has_served |= places.iter_mut().any(|place| place.state.told().is_some());
        self.has_served
    }

    fn start(&self, number: usize) -> io::Result<(Child, OwnedFd)> {
        let (socket, reports) = leave(self.listeners.iter().map(Listener::as_fd))?;
        // Inheritable for as long as it takes to start the worker. Another child that is started at this
        // moment inherits it as well, but the listeners in it are gone once the worker has taken them.
        fcntl_setfd(&socket, FdFlags::empty())?;
        let role = format!("{number}/{}/{}", std::process::id(), socket.as_raw_fd());
        let child = self.command.command()?.env(WORKER_VARIABLE, role).spawn()?;
        Ok((child, reports))
    }

    fn next_due(&self) -> Option<Instant> {
        let due = |place: &Place| match place.state {
            State::Waits { due } => Some(due),
            State::Runs { .. } | State::Ended { .. } => None,
        };
        self.places.iter().filter_map(due).min()
    }

    fn bury_dead(&mut self) -> io::Result<()> {
        // Of the living as well: that one has served is enough to know that the program is the right one.
        let has_served = self.has_served();
        for (number, place) in self.places.iter_mut().enumerate() {
            let told = place.state.told();
            let State::Runs { child, since, .. } = &mut place.state else { continue };
            let Ok(Some(status)) = child.try_wait() else { continue };
            let (pid, lived) = (child.id(), since.elapsed());
            if self.command.is_given() && !has_served && told.is_none() && status.code().is_some() {
                place.state = State::Ended { status };
                let message = format!(
                    "{} has ended before it served ({status}): a worker process must run a program that \
                     builds the same server and calls `run`",
                    self.command
                );
                return Err(io::Error::other(message));
            }
            if lived >= STABLE_AFTER {
                place.back_off = Duration::ZERO;
            }
            let delay = place.wait_longer();
            let (key, worker) = (number.to_string(), number);
            if told == Some(Report::Drains) {
                tracing::info!(worker, pid, %status, ?delay, "worker drained: it is replaced");
            } else {
                limited!(warn, key: &key, "worker died: it is replaced", worker, pid, %status, ?delay);
            }
            place.state = State::Waits { due: Instant::now() + delay };
        }
        Ok(())
    }

    /// Stops listening and tells the workers to drain. Does not wait for them.
    pub fn stop(&mut self) {
        // While this process has its copies the queues stay: what is in them is the workers'.
        self.listeners.iter().for_each(Listener::refuse_newcomers);
        self.signal_all(Signal::TERM);
        self.listeners.clear();
    }

    /// Waits until the workers have ended, and kills those that have not shortly before the `limit` of
    /// the whole drain, of which so much is `left`. Returns how many did not finish their work: those
    /// that were killed, and those whose `main` has ended with an error.
    pub fn wait(&mut self, limit: Duration, left: Duration) -> u64 {
        let least = if limit < END_MIN { END_MIN } else { Duration::ZERO };
        let deadline = Instant::now() + left.saturating_sub(reserve(limit) / 4).max(least);
        while self.any_runs() && Instant::now() < deadline {
            let left = deadline.saturating_duration_since(Instant::now());
            let all_drain = self.places.iter_mut().all(|place| place.state.drains());
            self.signals.wait_for(if all_drain { left } else { left.min(SAY_AGAIN) });
            // One that was just starting, with SIGTERM ignored as in its parent, has not heard it.
            let may_have_missed_it = |state: &mut State| !state.drains();
            self.signal_those(Signal::TERM, may_have_missed_it);
        }
        if self.any_runs() {
            tracing::warn!("some workers have not ended in time: they are killed");
            self.signal_all(Signal::KILL);
            for place in &mut self.places {
                if let State::Runs { child, .. } = &mut place.state
                    && let Ok(status) = child.wait()
                {
                    place.state = State::Ended { status };
                }
            }
        }
        self.places.iter().filter(|place| place.has_failed()).count() as u64
    }

    fn any_runs(&mut self) -> bool {
        // Every one is asked, so that none stays a zombie.
        for place in &mut self.places {
            if let State::Runs { child, .. } = &mut place.state
                && let Ok(Some(status)) = child.try_wait()
            {
                place.state = State::Ended { status };
            }
        }
        self.places.iter().any(|place| matches!(place.state, State::Runs { .. }))
    }

    fn signal_all(&mut self, signal: Signal) {
        self.signal_those(signal, |_| true);
    }

    fn signal_those(&mut self, signal: Signal, which: impl Fn(&mut State) -> bool) {
        for place in &mut self.places {
            if which(&mut place.state)
                && let State::Runs { child, .. } = &place.state
                && let Some(pid) = Pid::from_raw(child.id() as i32)
            {
                // One that has just ended is not waited for yet, so its number is still its own.
                let _ = rustix::process::kill_process(pid, signal);
            }
        }
    }
}

impl State {
    /// Whether its worker has ended, or has said that it drains.
    fn drains(&mut self) -> bool {
        !matches!(self, State::Runs { .. }) || self.told() == Some(Report::Drains)
    }

    /// The last that its worker has told.
    fn told(&mut self) -> Option<Report> {
        let State::Runs { reports, told, .. } = self else { return None };
        let mut byte = [0];
        while let Ok((1, _)) = recv(&*reports, &mut byte, RecvFlags::DONTWAIT) {
            let report = [Report::Serves, Report::Drains]
                .into_iter()
                .find(|report| *report as u8 == byte[0]);
            *told = report.or(*told);
        }
        *told
    }
}

impl Place {
    /// Whether its worker has been killed or has ended with an error. One that a stop signal has killed
    /// had not begun to serve: it takes these signals before it does.
    fn has_failed(&self) -> bool {
        let stops = [Signal::TERM, Signal::INT, Signal::HUP].map(Signal::as_raw);
        match self.state {
            State::Ended { status } => {
                let by_stop = status.signal().is_some_and(|signal| stops.contains(&signal));
                !status.success() && !by_stop
            }
            State::Runs { .. } => true,
            State::Waits { .. } => false,
        }
    }

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
        let worker = Worker::parse("2/4711/5").expect("a role");
        assert_eq!(worker, Worker { number: 2, supervisor: 4711, socket: 5 });
        for bad in ["", "1", "1/2", "1/2/", "1/2/x", "x/2/3", "1/2/3/4", "1/2/3,4"] {
            assert_eq!(Worker::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn all_descriptors_arrive_in_order_and_are_not_inheritable() {
        let files: Vec<_> = (0..150).map(|_| tempfile()).collect();
        let (socket, _reports) = leave(files.iter().map(AsFd::as_fd)).expect("a socket");
        let mut received = Vec::new();
        while receive(&socket, &mut received).expect("received") {}
        let number = |fd: BorrowedFd<'_>| rustix::fs::fstat(fd).expect("a file").st_ino;
        let numbers = |files: &[OwnedFd]| files.iter().map(|fd| number(fd.as_fd())).collect();
        let (sent, arrived): (Vec<_>, Vec<_>) = (numbers(&files), numbers(&received));
        assert_eq!(sent, arrived);
        for fd in &received {
            let flags = rustix::io::fcntl_getfd(fd).expect("flags");
            assert!(flags.contains(FdFlags::CLOEXEC));
        }
    }

    fn tempfile() -> OwnedFd {
        rustix::fs::memfd_create("test", rustix::fs::MemfdFlags::CLOEXEC).expect("a file")
    }

    #[test]
    fn a_workers_drain_lies_within_its_supervisors() {
        let seconds = Duration::from_secs;
        assert_eq!(worker_drain(seconds(8)), Duration::from_millis(7500));
        assert_eq!(worker_drain(seconds(1)), Duration::from_millis(875));
        assert_eq!(worker_drain(seconds(0)), seconds(0));
    }

    #[test]
    fn a_worker_fails_by_its_exit_code_or_by_being_killed() {
        let ended = |raw| Place {
            state: State::Ended { status: ExitStatus::from_raw(raw) },
            back_off: Duration::ZERO,
        };
        assert!(!ended(0).has_failed());
        assert!(!ended(Signal::TERM.as_raw()).has_failed(), "before it served");
        assert!(ended(3 << 8).has_failed());
        assert!(ended(Signal::KILL.as_raw()).has_failed());
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
