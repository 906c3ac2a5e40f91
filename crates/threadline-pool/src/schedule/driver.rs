//! The scheduler's one thread, and the one lock around the plan.
//!
//! The thread polls the plan, gives what is due to the pool, and sleeps until the plan wants to be
//! asked again, or a change brings that forward. No job is run or dropped, nothing is submitted, and the
//! clock is not read under the lock. A panic on the thread ends at most the job that it came from. How
//! nobody's change is slept through stands in `README.md` beside this file.

use std::io;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use super::agenda::JobId;
use super::clock::Clock;
use super::handle::{JobHandle, JobInfo};
use super::held::{Held, Panics};
use super::history::{Record, RunOutcome};
use super::plan::{Due, Ending, Plan, Remains, Spec};
use super::run::{self, Excused, Run, Waiter, Work};
use super::state::{Job, State, Thread};
use super::timetable::Now;
use super::{Alarm, ScheduleError};
use crate::contained::Outcome;
use crate::primitive::atomic::{AtomicU64, Ordering};
use crate::primitive::{self, Condvar, Mutex, MutexGuard, Waited};
use crate::{RejectReason, ThreadPool};

pub(super) struct Shared {
    state: Mutex<State>,
    /// The thread's: rung when it should poll earlier than it meant to.
    bell: Condvar,
    /// Rung when those who wait for the end should look again.
    ended: Condvar,
    clock: Held<Arc<dyn Clock>>,
    /// How often the clock said that it was moved.
    clock_moves: AtomicU64,
    /// The latest reading. Not modelled: its lock is held for a copy, and no other is taken under it.
    read_last: std::sync::Mutex<Now>,
    panics: Arc<Panics>,
    jobs_max: usize,
}

/// After a panic of its own the thread waits for so long: the next look at the plan may panic as well.
const PAUSE_AFTER_PANIC: Duration = Duration::from_secs(1);

/// A reading of a clock that is moved meanwhile is repeated this often at most: one that moves with each
/// reading must not hold the scheduler up.
const READINGS_MAX: usize = 8;

/// The thread.
impl Shared {
    pub(super) fn start(
        pool: ThreadPool,
        clock: Arc<dyn Clock>,
        name: String,
        jobs_max: usize,
        seed: u64,
    ) -> io::Result<Arc<Self>> {
        let panics = Arc::default();
        let shared = Arc::new(Shared {
            state: Mutex::new(State::new(seed)),
            bell: Condvar::new(),
            ended: Condvar::new(),
            read_last: std::sync::Mutex::new(read(&*clock)),
            clock: Held::new(clock, &panics),
            clock_moves: AtomicU64::new(0),
            panics,
            jobs_max,
        });
        shared.clock.watch(Alarm::new(&shared));
        let of_thread = Arc::clone(&shared);
        // Holds the pool for as long as it runs, and no longer.
        let started = primitive::Builder::new().name(name).spawn(move || of_thread.work(&pool));
        started.map_err(|error| {
            io::Error::new(error.kind(), format!("no thread could be started: {error}"))
        })?;
        Ok(shared)
    }

    fn work(self: &Arc<Self>, pool: &ThreadPool) {
        run::drive(self);
        loop {
            let mut runs = None;
            if self.panics.contain(|| runs = self.next_runs()) == Outcome::Panicked {
                self.pause_after_panic();
                continue;
            }
            let Some(runs) = runs else { break };
            for run in runs {
                self.panics.contain(|| submit(pool, run));
            }
        }
        let mut state = self.lock();
        state.thread = Thread::Ended;
        self.ended.notify_all();
    }

    /// Sleeps until jobs are due. None: there will be none any more.
    fn next_runs(self: &Arc<Self>) -> Option<Vec<Run>> {
        let (mut state, mut now) = self.lock_with_time();
        loop {
            if state.closing {
                return None;
            }
            let State { plan, due, .. } = &mut *state;
            self.panics.add(plan.poll(now, due));
            if !state.due.is_empty() {
                let due = std::mem::take(&mut state.due);
                let runs: Vec<_> = due.iter().filter_map(|due| self.run(&state, *due)).collect();
                state.runs += runs.len();
                return Some(runs);
            }
            drop(self.sleep(state, now));
            (state, now) = self.lock_with_time();
        }
    }

    fn run(self: &Arc<Self>, state: &State, due: Due) -> Option<Run> {
        let job = state.jobs.get(&due.id);
        debug_assert!(job.is_some(), "plan and jobs have the same numbers");
        let Job { work, record } = job?;
        record.missed(due.missed);
        Some(Run::new(Arc::clone(self), due.id, Arc::clone(record), work.clone()))
    }

    fn pause_after_panic(&self) {
        let deadline = Instant::now().checked_add(PAUSE_AFTER_PANIC);
        let mut state = self.lock();
        state.thread = Thread::Awake;
        let mut waited = Waited::Woken;
        while !state.closing && waited == Waited::Woken {
            (state, waited) = primitive::wait_until(&self.state, &self.bell, state, deadline);
        }
    }

    fn sleep<'a>(&'a self, mut state: MutexGuard<'a, State>, now: Now) -> MutexGuard<'a, State> {
        let wake = state.plan.next_wake(now);
        state.thread = Thread::Asleep(wake);
        // In real time, for a clock that is moved by hand too: waking for nothing does no harm.
        let left = wake.map(|wake| wake.saturating_duration_since(now.monotonic));
        let deadline = left.and_then(|left| Instant::now().checked_add(left));
        let (mut state, _) = primitive::wait_until(&self.state, &self.bell, state, deadline);
        state.thread = Thread::Awake;
        state
    }

    /// Brings the thread's next look at the plan forward, if it has to be.
    fn ring_if_earlier(&self, state: &State, now: Now) {
        let Thread::Asleep(until) = state.thread else { return };
        let Some(wake) = state.plan.next_wake(now) else { return };
        if until.is_none_or(|until| wake < until) {
            self.bell.notify_one();
        }
    }

    pub(super) fn clock_moved(&self) {
        // Before the lock: see `lock_with_time`.
        self.clock_moves.fetch_add(1, Ordering::Release);
        let _state = self.lock();
        self.bell.notify_one();
    }
}

/// The time.
impl Shared {
    /// What the clock says; what it said last, if it panics.
    pub(super) fn now(&self) -> Now {
        let mut now = None;
        self.panics.contain(|| now = Some(read(&**self.clock)));
        let mut read_last = self.read_last.lock().unwrap_or_else(PoisonError::into_inner);
        *read_last = now.unwrap_or(*read_last);
        *read_last
    }

    /// Locks, and says what the clock says under the lock, without running its code there: it is read
    /// before, and again if it was moved in between.
    fn lock_with_time(&self) -> (MutexGuard<'_, State>, Now) {
        let mut tries = 1;
        loop {
            // A move that is seen here is in the reading: Acquire, for the Release in `clock_moved`.
            let moves = self.clock_moves.load(Ordering::Acquire);
            let now = self.now();
            let state = self.lock();
            // A move that is not seen here comes for the lock later, and finds the thread asleep.
            let moved = self.clock_moves.load(Ordering::Acquire) != moves;
            if !moved || tries == READINGS_MAX {
                return (state, now);
            }
            tries += 1;
        }
    }
}

fn read(clock: &dyn Clock) -> Now {
    Now { monotonic: clock.monotonic(), wall: clock.wall() }
}

fn submit(pool: &ThreadPool, run: Run) {
    let refusal = run.refusal();
    if let Err(rejected) = pool.try_submit(move || run.execute()) {
        let _ = refusal.set(rejected.reason);
        drop(rejected.job);
    }
}

/// Runs, on threads of the pool.
impl Shared {
    /// False if the run's job was removed, or the scheduler shut down, while it was queued.
    pub(super) fn may_begin(&self, id: JobId) -> bool {
        self.lock().jobs.contains_key(&id)
    }

    pub(super) fn run_ended(&self, id: JobId, outcome: &RunOutcome, excused: Excused) {
        let ending = match outcome {
            RunOutcome::Rejected(RejectReason::ShutDown) => Ending::Done,
            RunOutcome::Rejected(_) => Ending::NoRoom,
            _ => Ending::Done,
        };
        let (mut state, now) = self.lock_with_time();
        let remains = state.plan.ended(id, ending, now);
        let over = if remains == Remains::Nothing { state.forget(id) } else { None };
        state.runs -= 1;
        state.excused -= usize::from(excused == Excused::Yes);
        if state.closing {
            self.ended.notify_all();
        }
        self.ring_if_earlier(&state, now);
        drop(state);
        // What the job holds is dropped here, and not under the lock.
        drop(over);
    }
}

/// Jobs.
impl Shared {
    pub(super) fn add(
        self: &Arc<Self>,
        name: Option<String>,
        spec: Spec,
        work: Work,
    ) -> Result<JobHandle, ScheduleError> {
        // Given back, `work` is dropped after the lock: an argument outlives what is declared here.
        let (mut state, now) = self.lock_with_time();
        if state.closing {
            return Err(ScheduleError::ShutDown);
        }
        if state.plan.len() >= self.jobs_max {
            return Err(ScheduleError::TooManyJobs { jobs_max: self.jobs_max });
        }
        let id = JobId(state.next_id);
        let name = match name {
            Some(name) if state.names.contains_key(name.as_str()) => {
                return Err(ScheduleError::NameTaken { name });
            }
            Some(name) => Arc::from(name),
            None => state.free_name(id),
        };
        state.next_id += 1;
        let record = Record::new(Arc::clone(&name));
        state.plan.add(id, spec, now);
        state.names.insert(name, id);
        state.jobs.insert(id, Job { work, record: Arc::clone(&record) });
        self.ring_if_earlier(&state, now);
        drop(state);
        Ok(JobHandle::new(Arc::clone(self), id, record))
    }

    pub(super) fn remove(&self, id: JobId) -> bool {
        let mut state = self.lock();
        let known = state.plan.remove(id);
        let removed = state.forget(id);
        drop(state);
        drop(removed);
        known
    }

    pub(super) fn pause(&self, id: JobId) -> bool {
        self.lock().plan.pause(id)
    }

    pub(super) fn resume(&self, id: JobId) -> bool {
        self.change(id, |plan, id, now| plan.resume(id, now))
    }

    pub(super) fn run_now(&self, id: JobId) -> bool {
        self.change(id, |plan, id, _| plan.run_now(id))
    }

    fn change(&self, id: JobId, change: impl FnOnce(&mut Plan, JobId, Now) -> bool) -> bool {
        let (mut state, now) = self.lock_with_time();
        let known = change(&mut state.plan, id, now);
        self.ring_if_earlier(&state, now);
        known
    }

    pub(super) fn find(self: &Arc<Self>, name: &str) -> Option<JobHandle> {
        let state = self.lock();
        let id = *state.names.get(name)?;
        let record = Arc::clone(&state.jobs.get(&id)?.record);
        Some(JobHandle::new(Arc::clone(self), id, record))
    }

    pub(super) fn list(&self) -> Vec<JobInfo> {
        let (state, now) = self.lock_with_time();
        let mut ids: Vec<_> = state.jobs.keys().copied().collect();
        ids.sort_unstable();
        let info = |id| state.jobs.get(&id).map(|job| state.info(id, &job.record, now));
        ids.into_iter().filter_map(info).collect()
    }

    pub(super) fn info(&self, id: JobId, record: &Record) -> JobInfo {
        let (state, now) = self.lock_with_time();
        state.info(id, record, now)
    }

    pub(super) fn panics(&self) -> &Arc<Panics> {
        &self.panics
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        primitive::lock(&self.state)
    }
}

/// The end.
impl Shared {
    /// Starts nothing any more. Does not wait.
    pub(super) fn close(&self) {
        let mut state = self.lock();
        state.closing = true;
        let jobs = std::mem::take(&mut state.jobs);
        for id in jobs.keys() {
            state.plan.remove(*id);
        }
        state.names.clear();
        self.bell.notify_one();
        drop(state);
        drop(jobs);
    }

    pub(super) fn runs(&self) -> usize {
        self.lock().runs
    }

    /// Waits for the thread and the runs to end. False if time is up first. Within a run, waits
    /// neither for that one nor for others that wait here or did; on the thread, not for itself.
    pub(super) fn wait_until_ended(self: &Arc<Self>, timeout: Duration) -> bool {
        let deadline = Instant::now().checked_add(timeout);
        let waiter = run::excuse(self);
        let mut state = self.lock();
        if let Waiter::Inside { newly_excused } = waiter {
            state.excused += newly_excused;
            self.ended.notify_all();
        }
        let mut waited = Waited::Woken;
        loop {
            let excused = if waiter == Waiter::Outside { 0 } else { state.excused };
            let thread_ended = state.thread == Thread::Ended || waiter == Waiter::Driver;
            if thread_ended && state.runs <= excused {
                return true;
            }
            if waited == Waited::TimedOut {
                return false;
            }
            (state, waited) = primitive::wait_until(&self.state, &self.ended, state, deadline);
        }
    }
}

#[cfg(all(test, not(loom)))]
#[path = "tests/driver.rs"]
mod tests;
