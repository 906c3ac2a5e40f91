//! What became of a job's runs: figures, and the last run.
//!
//! Written by the runs and the scheduler's thread, read by handles. It outlives its job, as long as
//! somebody holds a handle. It must not keep more than a bounded amount, however long a job lives.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use crate::RejectReason;
use crate::primitive::{Mutex, lock};

/// What became of a job's runs so far.
///
/// ```
/// use std::sync::mpsc;
/// use std::time::Duration;
/// use threadline_pool::{ThreadPool, schedule::{RunOutcome, Scheduler}};
///
/// let pool = ThreadPool::builder().build()?;
/// let scheduler = Scheduler::new(&pool)?;
/// let (done, inbox) = mpsc::channel();
/// let job = scheduler.after(Duration::ZERO, move || done.send(()).unwrap())?;
/// inbox.recv()?;
/// scheduler.shutdown(Duration::from_secs(5));
///
/// let history = job.history();
/// assert_eq!((history.runs, history.succeeded, history.missed), (1, 1, 0));
/// assert_eq!(history.last_outcome, Some(RunOutcome::Ok));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct History {
    /// Runs that began.
    pub runs: u64,
    /// Runs that go on now.
    pub running: usize,
    /// Runs that returned.
    pub succeeded: u64,
    /// Runs that panicked.
    pub panicked: u64,
    /// Runs that were given to the pool and never began: the job was removed, the scheduler shut
    /// down, or the pool dropped them.
    pub cancelled: u64,
    /// Runs that the pool did not take.
    pub rejected: u64,
    /// Runs that did not come about because an earlier one, or the scheduler, was late.
    pub missed: u64,
    /// When the latest run began, by the scheduler's wall clock.
    pub last_start: Option<SystemTime>,
    /// How long the run took that ended last.
    pub last_duration: Option<Duration>,
    /// How that one ended, or was denied if it never began.
    pub last_outcome: Option<RunOutcome>,
}

/// How a run ended.
///
/// ```
/// use threadline_pool::{RejectReason, schedule::RunOutcome};
///
/// let denied = RunOutcome::Rejected(RejectReason::Full);
/// assert_eq!(denied.to_string(), "rejected: the pool's queue is full");
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum RunOutcome {
    /// It returned.
    Ok,
    /// It panicked, with this message (its first 200 characters), or one that was no text.
    Panicked(String),
    /// It was given to the pool and never began.
    Cancelled,
    /// The pool did not take it.
    Rejected(RejectReason),
}

impl std::fmt::Display for RunOutcome {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            RunOutcome::Ok => f.write_str("ok"),
            RunOutcome::Panicked(message) => write!(f, "panicked: {message}"),
            RunOutcome::Cancelled => f.write_str("cancelled"),
            RunOutcome::Rejected(reason) => write!(f, "rejected: {reason}"),
        }
    }
}

/// A job's name and history, shared by all who have to do with it.
pub(super) struct Record {
    pub(super) name: Arc<str>,
    history: Mutex<History>,
}

impl Record {
    pub(super) fn new(name: Arc<str>) -> Arc<Self> {
        Arc::new(Record { name, history: Mutex::new(History::default()) })
    }

    pub(super) fn history(&self) -> History {
        lock(&self.history).clone()
    }

    pub(super) fn missed(&self, missed: u64) {
        let mut history = lock(&self.history);
        history.missed = history.missed.saturating_add(missed);
    }

    pub(super) fn began(&self, at: SystemTime) {
        let mut history = lock(&self.history);
        history.runs += 1;
        history.running += 1;
        history.last_start = Some(at);
    }

    /// `duration` of a run that began; None for one that never did.
    pub(super) fn ended(&self, outcome: RunOutcome, duration: Option<Duration>) {
        let mut history = lock(&self.history);
        if duration.is_some() {
            history.running -= 1;
            history.last_duration = duration;
        }
        match outcome {
            RunOutcome::Ok => history.succeeded += 1,
            RunOutcome::Panicked(_) => history.panicked += 1,
            RunOutcome::Cancelled => history.cancelled += 1,
            RunOutcome::Rejected(_) => history.rejected += 1,
        }
        // What it replaces is text of ours: its drop runs no code of the user's.
        history.last_outcome = Some(outcome);
    }
}
