//! What handles and threads share: the state, its one lock, and how others are called.
//!
//! Each step of the protocol takes the lock, changes queue, roster and lobby, lets go, and only
//! then wakes or starts a thread, as the roster decided. No job runs or is dropped under the lock.
//! Whoever lets go of it looks for mail: jobs of those who found it taken and did not wait.
//! The steps are in the files below, the protocol in `README.md` beside this file.

/// The end: closing, cancelling, waiting.
mod close;
/// What submitters do.
mod submit;
#[cfg(all(test, not(loom)))]
mod tests;
/// What a thread of the pool does between jobs.
mod work;

pub(crate) use submit::Withdrawal;

use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use crate::builder::Settings;
use crate::contained::Outcome;
use crate::hooks::Hook;
use crate::lobby::Lobby;
use crate::mail::{Letter, Mail};
use crate::primitive::atomic::{Ordering, fence};
use crate::primitive::{self, Condvar, Mutex, MutexGuard};
use crate::queue::{Class, Position, Priority, Queue, Waiting};
use crate::roster::{Call, Roster};
use crate::sleeper::Sleeper;
use crate::stats::Counters;
use crate::times::Watch;
use crate::tray::Tray;
use crate::worker::{self, Arrival};
use crate::{Stats, Times};

pub(crate) struct Shared {
    state: Mutex<State>,
    /// Jobs of the queue that are laid out for the threads. Its lock is taken last.
    tray: Tray,
    /// Jobs of those who found the lock taken.
    mail: Mail,
    /// Rung when those who wait for the pool's end should look again.
    ended: Condvar,
    counters: Counters,
    watch: Watch,
    settings: Settings,
    /// Number of the next thread, for its name.
    next_number: AtomicU64,
    /// Makes every start fail, as a system out of threads does.
    #[cfg(test)]
    pub(crate) out_of_threads: std::sync::atomic::AtomicBool,
}

struct State {
    queue: Queue,
    roster: Roster,
    lobby: Lobby,
    /// Never unset.
    closing: bool,
    /// Threads that are not in the roster any more and run their stop hook.
    leaving: usize,
    /// Threads of the pool that called `shutdown` in a job: they do not wait for each other. They
    /// are in the roster, or leaving, and counted here, until they end.
    excused: usize,
}

/// Settings, figures, and the lock.
impl Shared {
    pub(crate) fn new(settings: Settings) -> Arc<Self> {
        let state = State {
            queue: Queue::new(settings.queue_len_max),
            roster: Roster::new(settings.threads_min, settings.threads_max),
            lobby: Lobby::default(),
            closing: false,
            leaving: 0,
            excused: 0,
        };
        let shared = Shared {
            state: Mutex::new(state),
            tray: Tray::new(),
            mail: Mail::new(),
            ended: Condvar::new(),
            counters: Counters::default(),
            watch: Watch::new(settings.measure_times),
            settings,
            next_number: AtomicU64::new(0),
            #[cfg(test)]
            out_of_threads: false.into(),
        };
        shared.publish(&shared.lock());
        Arc::new(shared)
    }

    pub(crate) fn settings(&self) -> &Settings {
        &self.settings
    }

    pub(crate) fn stats(&self) -> Stats {
        self.counters.read(&self.tray, self.settings.threads_max)
    }

    pub(crate) fn times(&self) -> Times {
        self.watch.read()
    }

    pub(crate) fn busy(&self) -> usize {
        self.counters.busy()
    }

    /// Whether there was a thread for one more job when the lock was last let go: a hint for those who
    /// could do the work themselves. One relaxed load.
    pub(crate) fn idle_or_growable(&self) -> bool {
        self.counters.has_spare()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        primitive::lock(&self.state)
    }

    fn try_lock(&self) -> Option<MutexGuard<'_, State>> {
        primitive::try_lock(&self.state)
    }

    /// Ends a critical section. Whatever happened in it may have made room, and jobs may have been
    /// posted meanwhile.
    fn unlock(self: &Arc<Self>, state: MutexGuard<'_, State>) {
        self.let_go(state);
        self.look_for_mail();
    }

    fn let_go(&self, mut state: MutexGuard<'_, State>) {
        let submitter = self.call_submitter_if_room(&mut state);
        self.publish(&state);
        drop(state);
        if let Some(submitter) = submitter {
            submitter.wake();
        }
    }

    /// Puts what was posted in the queue, unless somebody has the lock, who will do it afterwards.
    fn look_for_mail(self: &Arc<Self>) {
        while self.is_mail_there()
            && let Some(mut state) = self.try_lock()
        {
            let withdrawn = self.take_in(&mut state);
            let call = self.call_if_work_waits(&mut state);
            self.let_go(state);
            self.carry_out(call);
            self.drop_withdrawn(withdrawn);
        }
    }

    /// To be asked after posting and before finding the lock taken, or after letting go of it.
    fn is_mail_there(&self) -> bool {
        if !self.takes_mail() {
            return false;
        }
        // Of one who posts and then finds the lock taken, and one who lets go of it and then looks
        // here, at least one sees the other's step: both come this way in between.
        fence(Ordering::SeqCst);
        !self.mail.is_empty()
    }

    /// Whether jobs may be posted: only where there is always a thread to rely on.
    fn takes_mail(&self) -> bool {
        self.settings.threads_min > 0
    }

    /// Moves the jobs that were posted to the queue, and takes out those whose withdrawal was posted: these are
    /// for [`Shared::drop_withdrawn`], without the lock.
    fn take_in(&self, state: &mut State) -> Vec<Waiting> {
        let mut withdrawn = Vec::new();
        while !self.mail.is_empty()
            && let Some(letter) = self.mail.take()
        {
            match letter {
                Letter::Job(waiting) => {
                    state.queue.push(Class::Ordinary(Priority::Normal), waiting);
                    self.counters.per_job.submitted.increment();
                }
                Letter::Withdraw(position) => {
                    if let Some(waiting) = self.take_out(state, position) {
                        self.counters.cancelled.increment();
                        withdrawn.push(waiting);
                    }
                }
            }
        }
        withdrawn
    }

    /// Takes a job out of the queue, wherever it waits in it.
    fn take_out(&self, state: &mut State, position: Position) -> Option<Waiting> {
        self.tray.give_back(&mut state.queue);
        state.queue.remove(position)
    }

    fn drop_withdrawn(&self, withdrawn: Vec<Waiting>) {
        withdrawn.into_iter().for_each(|waiting| self.drop_unrun(waiting));
    }

    /// Shows how things stand. The last thing done in each critical section.
    fn publish(&self, state: &State) {
        #[cfg(any(test, debug_assertions))]
        {
            state.roster.check(self.work_waits(state));
            state.lobby.check(self.has_room(state));
            assert!(state.lobby.is_empty() || self.tray.len() == 0, "room may appear unnoticed");
        }
        let room = if state.closing { None } else { Some(self.room(state, 0)) };
        self.counters.publish(&state.roster, &state.queue, &self.tray, &state.lobby, room);
    }

    /// Whether there may be a job for a thread that comes. No is certain, under the lock.
    fn work_waits(&self, state: &State) -> bool {
        !state.queue.is_empty() || self.tray.len() > 0
    }

    /// How many ordinary jobs may join those that wait, of which so many are in the mail.
    fn room(&self, state: &State, posted: usize) -> usize {
        state.queue.room(self.tray.len() + posted, state.roster.takers())
    }

    /// Whether there is a thread for one more job that none of those that wait will take.
    fn has_spare(&self, state: &State) -> bool {
        state.roster.has_spare(state.queue.len() + self.tray.len() + self.mail.len())
    }

    fn has_room(&self, state: &State) -> bool {
        self.room(state, self.mail.len()) > 0
    }
}

/// Calling threads.
impl Shared {
    fn call_if_work_waits(&self, state: &mut State) -> Call {
        if self.work_waits(state) { state.roster.call() } else { Call::Nobody }
    }

    /// Calls a blocked submitter if there is room for its job. Nobody is blocked, as a rule.
    fn call_submitter_if_room(&self, state: &mut State) -> Option<Arc<Sleeper>> {
        if state.lobby.is_empty() || !self.has_room(state) { None } else { state.lobby.call() }
    }

    fn carry_out(self: &Arc<Self>, call: Call) {
        match call {
            Call::Nobody => {}
            Call::Wake(sleeper) => {
                self.counters.wakes.increment();
                sleeper.wake();
            }
            Call::Start => {
                if self.start_thread(Sleeper::new(), Arrival::Called).is_err() {
                    self.start_failed();
                }
            }
        }
    }

    /// The work stays queued for the threads there are; the next producer tries again.
    fn start_failed(self: &Arc<Self>) {
        let mut state = self.lock();
        let work_waits = self.work_waits(&state);
        let call = state.roster.start_failed(work_waits);
        self.ring_if_closing(&state);
        self.unlock(state);
        // Wakes somebody or nobody; it never starts a thread again.
        self.carry_out(call);
    }

    /// Threads that stay. They are idle from the first, so that no job calls for another.
    pub(crate) fn start_permanent_threads(self: &Arc<Self>) -> io::Result<()> {
        for _ in 0..self.settings.threads_min {
            let sleeper = Sleeper::new();
            let mut state = self.lock();
            state.roster.enlist(&sleeper);
            if let Err(error) = self.start_thread(Arc::clone(&sleeper), Arrival::Enlisted) {
                state.roster.get_up(&sleeper);
                state.roster.leave();
                let problem = format!("no thread could be started: {error}");
                return Err(io::Error::new(error.kind(), problem));
            }
            self.unlock(state);
        }
        Ok(())
    }

    fn start_thread(self: &Arc<Self>, sleeper: Arc<Sleeper>, arrival: Arrival) -> io::Result<()> {
        let shared = Arc::clone(self);
        let started = self
            .new_thread()
            .and_then(|thread| thread.spawn(move || worker::run(&shared, &sleeper, arrival)));
        match started {
            Ok(_detached) => {
                self.counters.spawned.increment();
                Ok(())
            }
            Err(error) => {
                self.counters.spawn_failures.increment();
                Err(error)
            }
        }
    }

    fn new_thread(&self) -> io::Result<primitive::Builder> {
        #[cfg(test)]
        if self.out_of_threads.load(Ordering::Relaxed) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let number = self.next_number.fetch_add(1, Ordering::Relaxed);
        let thread = primitive::Builder::new().name(format!("{}-{number}", self.settings.name));
        Ok(match self.settings.stack_size {
            Some(bytes) => thread.stack_size(bytes),
            None => thread,
        })
    }

    /// On the thread that the hook is for.
    pub(crate) fn run_hook(&self, hook: &Hook) {
        if hook.run() == Outcome::Panicked {
            self.counters.hook_panics.increment();
        }
    }

    pub(crate) fn nice_failed(&self) {
        self.counters.nice_failures.increment();
    }
}
