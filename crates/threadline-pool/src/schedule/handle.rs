//! A job as its user holds it.
//!
//! A handle keeps neither the job nor the scheduler going, and what it tells of the history holds
//! when both are gone.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::agenda::JobId;
use super::driver::Shared;
use super::history::{History, Record};

/// A job of a [`Scheduler`](super::Scheduler). Dropping it detaches it: the job goes on, and
/// [`Scheduler::find`](super::Scheduler::find) has it again. A clone is another handle.
///
/// ```
/// use std::time::Duration;
/// use threadline_pool::{ThreadPool, schedule::{Every, Scheduler}};
///
/// let pool = ThreadPool::builder().build()?;
/// let scheduler = Scheduler::new(&pool)?;
/// let report = scheduler.job("report").every(Every::fixed_rate(Duration::from_secs(60)), || ())?;
///
/// assert!(report.pause());
/// assert!(report.info().paused);
/// assert!(report.resume());
/// assert!(report.remove());
/// assert!(!report.run_now(), "there is no such job any more");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct JobHandle {
    shared: Arc<Shared>,
    id: JobId,
    record: Arc<Record>,
}

impl JobHandle {
    pub(super) fn new(shared: Arc<Shared>, id: JobId, record: Arc<Record>) -> Self {
        JobHandle { shared, id, record }
    }

    /// The job's name: as given, or `job-<n>`.
    pub fn name(&self) -> &str {
        &self.record.name
    }

    /// What became of the job's runs. Does not lock the scheduler.
    pub fn history(&self) -> History {
        self.record.history()
    }

    /// All there is to tell of the job now.
    pub fn info(&self) -> JobInfo {
        self.shared.info(self.id, &self.record)
    }

    /// Has the job start no more, until [`resume`](JobHandle::resume). A run that goes on is not
    /// touched, and [`run_now`](JobHandle::run_now) works still. False if there is no such job any
    /// more.
    pub fn pause(&self) -> bool {
        self.shared.pause(self.id)
    }

    /// Ends the pause. Starts on a grid or calendar that passed meanwhile are skipped, and not
    /// counted as missed. A job that was to run once, or some time after its last run, starts at once
    /// if its time has come. False if there is no such job any more.
    pub fn resume(&self) -> bool {
        self.shared.resume(self.id)
    }

    /// Has the job run now, beside its timetable, which stays as it is; but a job that runs once has
    /// had its run then, and a fixed delay counts from the end of this one. While a run goes on that
    /// must not be overlapped, the new one starts when that has ended; asking again before it started
    /// asks for the same run. False if there is no such job any more.
    pub fn run_now(&self) -> bool {
        self.shared.run_now(self.id)
    }

    /// Takes the job out of the scheduler, and drops it. A run that waits in the pool is cancelled;
    /// one that goes on goes on, and is not waited for. False if there was no such job any more.
    pub fn remove(&self) -> bool {
        self.shared.remove(self.id)
    }
}

impl fmt::Debug for JobHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JobHandle").field("name", &self.name()).finish_non_exhaustive()
    }
}

/// A look at a job.
///
/// ```
/// use std::time::Duration;
/// use threadline_pool::{ThreadPool, schedule::{ManualClock, Scheduler}};
///
/// let pool = ThreadPool::builder().build()?;
/// let clock = ManualClock::at(std::time::SystemTime::UNIX_EPOCH);
/// let scheduler = Scheduler::builder(&pool).clock(clock).build()?;
/// scheduler.job("tidy").after(Duration::from_secs(90), || ())?;
///
/// let jobs = scheduler.list();
/// assert_eq!(jobs[0].name, "tidy");
/// assert_eq!(jobs[0].next_in, Some(Duration::from_secs(90)));
/// assert_eq!(jobs[0].history.runs, 0);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct JobInfo {
    /// Its name.
    pub name: String,
    /// Whether it is paused.
    pub paused: bool,
    /// How long until its next start by timetable, jitter included; zero if it is overdue. None if
    /// it is paused, if that depends on the end of a run, or if there will be none.
    pub next_in: Option<Duration>,
    /// What became of its runs.
    pub history: History,
}
