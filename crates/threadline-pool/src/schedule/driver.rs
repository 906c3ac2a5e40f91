//! The scheduler's one thread, and the one lock around the plan.
//!
//! The thread polls the plan, gives what is due to the pool, and sleeps until the plan wants to be
//! asked again, or a change brings that forward. No job is run or dropped, and nothing is submitted,
//! under the lock. How nobody's change is slept through stands in `README.md` beside this file.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::clock::Clock;
use super::handle::{JobHandle, JobInfo};
use super::history::{Record, RunOutcome};
use super::plan::{Due, Ending, JobId, Plan, Remains, Spec};
use super::run::{self, Excused, Run, Waiter, Work};
use super::state::{Job, State, Thread};
use super::timetable::Now;
use super::{Alarm, ScheduleError};
use crate::primitive::{self, Condvar, Mutex, MutexGuard, Waited};
use crate::{RejectReason, ThreadPool};

pub(super) struct Shared {
    state: Mutex<State>,
    /// The thread's: rung when it should poll earlier than it meant to.
    bell: Condvar,
    /// Rung when those who wait for the end should look again.
    ended: Condvar,
    clock: Arc<dyn Clock>,
    jobs_max: usize,
}

/// The thread.
impl Shared {
    pub(super) fn start(
        pool: ThreadPool,
        clock: Arc<dyn Clock>,
        name: String,
        jobs_max: usize,
        seed: u64,
    ) -> io::Result<Arc<Self>> {
        let shared = Arc::new(Shared {
            state: Mutex::new(State::new(seed)),
            bell: Condvar::new(),
            ended: Condvar::new(),
            clock,
            jobs_max,
        });
        shared.clock.watch(Alarm::new(&shared));
        let of_thread = Arc::clone(&shared);
        // Holds the pool for as long as it runs, and no longer.
        primitive::Builder::new().name(name).spawn(move || of_thread.work(&pool))?;
        Ok(shared)
    }

    fn work(self: &Arc<Self>, pool: &ThreadPool) {
        while let Some(runs) = self.next_runs() {
            for run in runs {
                // A run that comes back may be the last to hold a job that was removed meanwhile, and
                // what the job holds may panic when it is dropped.
                let submitted = catch_unwind(AssertUnwindSafe(|| submit(pool, run)));
                if let Err(payload) = submitted {
                    // Its drop might panic again.
                    std::mem::forget(payload);
                }
            }
        }
        let mut state = self.lock();
        state.thread = Thread::Ended;
        self.ended.notify_all();
    }

    /// Sleeps until jobs are due. None: there will be none any more.
    fn next_runs(self: &Arc<Self>) -> Option<Vec<Run>> {
        let mut due = Vec::new();
        let mut state = self.lock();
        loop {
            if state.closing {
                return None;
            }
            // Read under the lock: who moves the clock after this takes the lock too, and so finds
            // the thread asleep.
            let now = self.now();
            state.plan.poll(now, &mut due);
            if !due.is_empty() {
                state.runs += due.len();
                return Some(due.iter().filter_map(|due| self.run(&state, *due)).collect());
            }
            state = self.sleep(state, now);
        }
    }

    fn run(self: &Arc<Self>, state: &State, due: Due) -> Option<Run> {
        let job = state.jobs.get(&due.id);
        debug_assert!(job.is_some(), "plan and jobs have the same numbers");
        let Job { work, record } = job?;
        record.missed(due.missed);
        Some(Run::new(Arc::clone(self), due.id, Arc::clone(record), work.clone()))
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
        let _state = self.lock();
        self.bell.notify_one();
    }
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
        let mut state = self.lock();
        let now = self.now();
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
        let mut state = self.lock();
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
        let now = self.now();
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
        let mut state = self.lock();
        let now = self.now();
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
        let state = self.lock();
        let now = self.now();
        let mut ids: Vec<_> = state.jobs.keys().copied().collect();
        ids.sort_unstable();
        let info = |id| state.jobs.get(&id).map(|job| state.info(id, &job.record, now));
        ids.into_iter().filter_map(info).collect()
    }

    pub(super) fn info(&self, id: JobId, record: &Record) -> JobInfo {
        let state = self.lock();
        state.info(id, record, self.now())
    }

    pub(super) fn now(&self) -> Now {
        Now { monotonic: self.clock.monotonic(), wall: self.clock.wall() }
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

    /// Waits for the thread and the runs to end. False if time is up first. Within a run, waits
    /// neither for that one nor for others that wait here or did.
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
            if state.thread == Thread::Ended && state.runs <= excused {
                return true;
            }
            if waited == Waited::TimedOut {
                return false;
            }
            (state, waited) = primitive::wait_until(&self.state, &self.ended, state, deadline);
        }
    }
}
