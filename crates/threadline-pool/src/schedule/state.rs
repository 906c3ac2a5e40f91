//! What the scheduler's one lock guards.
//!
//! Changed by the driver only, each change in one critical section. It owns the jobs, and must not
//! drop one under the lock: whoever takes a job out drops it outside.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use super::agenda::JobId;
use super::handle::JobInfo;
use super::history::Record;
use super::plan::{Due, Plan};
use super::run::Work;
use super::timetable::Now;

pub(super) struct State {
    pub(super) plan: Plan,
    /// As many as the plan has, under the same numbers.
    pub(super) jobs: HashMap<JobId, Job>,
    pub(super) names: HashMap<Arc<str>, JobId>,
    pub(super) next_id: u64,
    pub(super) thread: Thread,
    /// Never unset. The plan is empty then.
    pub(super) closing: bool,
    /// What the plan's `poll` found and nobody has made a run of: emptied before the lock is let go,
    /// unless the thread panics.
    pub(super) due: Vec<Due>,
    /// Runs between the plan's `poll` and their end.
    pub(super) runs: usize,
    /// Those of them that wait for the end themselves.
    pub(super) excused: usize,
}

pub(super) struct Job {
    pub(super) work: Work,
    pub(super) record: Arc<Record>,
}

/// What the scheduler's thread does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Thread {
    /// It will look at the plan before it sleeps.
    Awake,
    /// Until then, in monotonic time, or for ever.
    Asleep(Option<Instant>),
    Ended,
}

impl State {
    pub(super) fn new(seed: u64) -> Self {
        State {
            plan: Plan::new(seed),
            jobs: HashMap::new(),
            names: HashMap::new(),
            next_id: 0,
            thread: Thread::Awake,
            closing: false,
            due: Vec::new(),
            runs: 0,
            excused: 0,
        }
    }

    /// For a job that was given none: its number, or a later one if somebody gave that as a name.
    pub(super) fn free_name(&self, id: JobId) -> Arc<str> {
        let mut number = id.0;
        loop {
            let name = format!("job-{number}");
            if !self.names.contains_key(name.as_str()) {
                return name.into();
            }
            number += 1;
        }
    }

    /// The plan knows the job no more. To be dropped without the lock.
    pub(super) fn forget(&mut self, id: JobId) -> Option<Job> {
        let job = self.jobs.remove(&id)?;
        self.names.remove(&job.record.name);
        Some(job)
    }

    pub(super) fn info(&self, id: JobId, record: &Record, now: Now) -> JobInfo {
        JobInfo {
            name: record.name.as_ref().to_owned(),
            paused: self.plan.is_paused(id),
            next_in: self.plan.next_in(id, now),
            history: record.history(),
        }
    }
}
