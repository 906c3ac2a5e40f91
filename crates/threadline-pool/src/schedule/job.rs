//! A job to be: its settings, each with its default, and their checks.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

#[cfg(feature = "cron")]
use super::Cron;
use super::driver::Shared;
use super::every::Pace;
use super::handle::JobHandle;
use super::plan::{Overlap, Spec};
use super::run::Work;
use super::timetable::Timetable;
use super::{Every, ScheduleError};

/// Settings of a job to be. From [`Scheduler::job`](super::Scheduler::job).
///
/// ```
/// use std::time::Duration;
/// use threadline_pool::{ThreadPool, schedule::{Every, Overlap, Scheduler}};
///
/// let pool = ThreadPool::builder().build()?;
/// let scheduler = Scheduler::new(&pool)?;
/// scheduler
///     .job("refresh prices")
///     .jitter(Duration::from_secs(5))
///     .overlap(Overlap::Allowed)
///     .every(Every::fixed_rate(Duration::from_secs(60)), || ())?;
/// assert!(scheduler.find("refresh prices").is_some());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use = "a job is added by `after`, `every` or `cron`"]
pub struct JobBuilder<'a> {
    scheduler: &'a Arc<Shared>,
    name: Option<String>,
    jitter: Duration,
    overlap: Overlap,
}

impl<'a> JobBuilder<'a> {
    pub(super) fn new(scheduler: &'a Arc<Shared>, name: Option<String>) -> Self {
        JobBuilder { scheduler, name, jitter: Duration::ZERO, overlap: Overlap::default() }
    }

    /// Has each start come late by a random time up to this, each time another, so that jobs of many
    /// processes do not all start at once. The timetable itself stays. Default: none.
    pub fn jitter(mut self, jitter: Duration) -> Self {
        self.jitter = jitter;
        self
    }

    /// Whether the job may start while a run of it goes on. Default [`Overlap::Never`].
    pub fn overlap(mut self, overlap: Overlap) -> Self {
        self.overlap = overlap;
        self
    }

    /// Adds a job that runs once, after `delay`. Then it is gone, and its name free. If the pool has
    /// no room for it, it is tried again each second until it has.
    ///
    /// # Errors
    /// [`ScheduleError::TooManyJobs`], [`ScheduleError::NameTaken`] or [`ScheduleError::ShutDown`].
    pub fn after(
        self,
        delay: Duration,
        job: impl FnOnce() + Send + 'static,
    ) -> Result<JobHandle, ScheduleError> {
        let work = Work::once(job, self.scheduler.panics());
        self.add(Timetable::Once, delay, work)
    }

    /// Adds a job that runs again and again. A run that the pool has no room for counts as rejected,
    /// and the next comes at its time.
    ///
    /// # Errors
    /// As for [`after`](JobBuilder::after), and [`ScheduleError::Period`] for a period of zero or a
    /// rate not longer than the jitter.
    pub fn every(
        self,
        every: Every,
        job: impl Fn() + Send + Sync + 'static,
    ) -> Result<JobHandle, ScheduleError> {
        let work = Work::often(job, self.scheduler.panics());
        self.check(every)?;
        self.add(Timetable::Every(every.pace), every.first_after, work)
    }

    /// Adds a job that runs when its cron expression says so, by the wall clock. A run that the pool
    /// has no room for counts as rejected, and the next comes at its time.
    ///
    /// If the clock is set forward, or the machine was suspended, one run stands for all that were
    /// passed over, and comes within a minute; the others count as missed (1 000 at most at once). If
    /// it is set back by up to three hours, the job waits until the clock has come to where it was:
    /// nothing runs twice for the same minute. If it is set back further, it is taken to have been
    /// wrong, and the job goes by the new time at once.
    ///
    /// # Errors
    /// As for [`after`](JobBuilder::after).
    #[cfg(feature = "cron")]
    pub fn cron(
        self,
        cron: Cron,
        job: impl Fn() + Send + Sync + 'static,
    ) -> Result<JobHandle, ScheduleError> {
        let work = Work::often(job, self.scheduler.panics());
        self.add(Timetable::Cron(cron), Duration::ZERO, work)
    }

    fn add(
        self,
        timetable: Timetable,
        first_after: Duration,
        work: Work,
    ) -> Result<JobHandle, ScheduleError> {
        let spec = Spec { timetable, first_after, jitter: self.jitter, overlap: self.overlap };
        self.scheduler.add(self.name, spec, work)
    }

    fn check(&self, every: Every) -> Result<(), ScheduleError> {
        let period = every.period();
        let problem = if period.is_zero() {
            "the period is zero: it must be longer, or the job would run all the time".to_owned()
        } else if matches!(every.pace, Pace::FixedRate(_)) && self.jitter >= period {
            let jitter = self.jitter;
            format!("the jitter is {jitter:?}: it must be shorter than the period, {period:?}")
        } else {
            return Ok(());
        };
        Err(ScheduleError::Period { problem })
    }
}

impl fmt::Debug for JobBuilder<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JobBuilder")
            .field("name", &self.name)
            .field("jitter", &self.jitter)
            .field("overlap", &self.overlap)
            .finish_non_exhaustive()
    }
}
