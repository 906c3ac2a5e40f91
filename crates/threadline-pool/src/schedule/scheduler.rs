//! The scheduler as its users hold it: handles to what the thread and the runs share.
//!
//! The thread and the runs hold no handle, so that the last handle of the users' can end it all.

use std::collections::hash_map::RandomState;
use std::fmt;
use std::hash::BuildHasher;
use std::io;
use std::sync::Arc;
use std::time::Duration;

#[cfg(feature = "cron")]
use super::Cron;
use super::clock::{Clock, SystemClock};
use super::driver::Shared;
use super::handle::{JobHandle, JobInfo};
use super::job::JobBuilder;
use super::{Every, ScheduleError};
use crate::ThreadPool;

/// Runs jobs at their time, on the threads of a [`ThreadPool`]. A clone is another handle to the same
/// scheduler.
///
/// It has one thread, which only hands out what is due and sleeps until the next time that something
/// is; it has no tick. When the last handle is dropped, no job starts any more, and runs that go on
/// go on; [`shutdown`](Scheduler::shutdown) waits for them. It keeps a handle of the pool.
///
/// ```
/// use std::sync::mpsc;
/// use std::time::Duration;
/// use threadline_pool::ThreadPool;
/// use threadline_pool::schedule::{Every, Scheduler};
///
/// let pool = ThreadPool::builder().build()?;
/// let scheduler = Scheduler::new(&pool)?;
///
/// let (beats, inbox) = mpsc::channel();
/// let heartbeat = scheduler.every(Every::fixed_rate(Duration::from_millis(1)), move || {
///     let _ = beats.send("still alive");
/// })?;
/// assert_eq!(inbox.recv()?, "still alive");
/// assert_eq!(inbox.recv()?, "still alive");
///
/// heartbeat.remove();
/// assert!(scheduler.shutdown(Duration::from_secs(5)));
/// assert!(heartbeat.history().runs >= 2);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Scheduler {
    handle: Arc<Handle>,
}

impl Scheduler {
    /// A scheduler for this pool, with all settings at their defaults.
    ///
    /// # Errors
    /// "no thread could be started", with the system's reason and its kind.
    pub fn new(pool: &ThreadPool) -> io::Result<Self> {
        Self::builder(pool).build()
    }

    /// Settings to start from; each has a default.
    pub fn builder(pool: &ThreadPool) -> SchedulerBuilder {
        SchedulerBuilder {
            pool: pool.clone(),
            clock: Arc::new(SystemClock),
            name: "scheduler".to_owned(),
            jobs_max: 10_000,
        }
    }

    /// Runs the job once, after `delay`. If the pool has no room for it then, it is tried again each
    /// second until it has.
    ///
    /// # Errors
    /// As for [`JobBuilder::after`].
    pub fn after(
        &self,
        delay: Duration,
        job: impl FnOnce() + Send + 'static,
    ) -> Result<JobHandle, ScheduleError> {
        self.unnamed().after(delay, job)
    }

    /// Runs the job again and again.
    ///
    /// # Errors
    /// As for [`JobBuilder::every`].
    pub fn every(
        &self,
        every: Every,
        job: impl Fn() + Send + Sync + 'static,
    ) -> Result<JobHandle, ScheduleError> {
        self.unnamed().every(every, job)
    }

    /// Runs the job when its cron expression says so.
    ///
    /// # Errors
    /// As for [`JobBuilder::cron`].
    #[cfg(feature = "cron")]
    pub fn cron(
        &self,
        cron: Cron,
        job: impl Fn() + Send + Sync + 'static,
    ) -> Result<JobHandle, ScheduleError> {
        self.unnamed().cron(cron, job)
    }

    /// A job with a name, and with settings of its own.
    pub fn job(&self, name: impl Into<String>) -> JobBuilder<'_> {
        JobBuilder::new(self.shared(), Some(name.into()))
    }

    fn unnamed(&self) -> JobBuilder<'_> {
        JobBuilder::new(self.shared(), None)
    }

    /// The job of this name, if there is one (still).
    pub fn find(&self, name: &str) -> Option<JobHandle> {
        self.shared().find(name)
    }

    /// All jobs, in the order they were added.
    pub fn list(&self) -> Vec<JobInfo> {
        self.shared().list()
    }

    /// Panics that were contained, other than those of runs: in the destructors of what jobs held, in
    /// the [`Clock`], and on the scheduler's own thread. The process's panic hook was told of each. Those
    /// of runs are in their job's [`History`](super::History).
    pub fn panics_contained(&self) -> u64 {
        self.shared().panics().read()
    }

    /// Starts no job any more, drops all jobs, cancels runs that wait in the pool, and waits until
    /// those that go on have ended, or the time is up. True if all ended. The pool goes on.
    ///
    /// Called from within a run, it waits neither for that one nor for others that called it from
    /// within a run. May be called again, to go on waiting. If what a job held panics when it is dropped,
    /// the panic is contained and counted ([`panics_contained`](Scheduler::panics_contained)).
    pub fn shutdown(&self, timeout: Duration) -> bool {
        self.shared().close();
        self.shared().wait_until_ended(timeout)
    }

    /// How many runs there are: those that go on and those that wait in the pool.
    pub fn runs(&self) -> usize {
        self.shared().runs()
    }

    pub(super) fn shared(&self) -> &Arc<Shared> {
        &self.handle.0
    }
}

impl fmt::Debug for Scheduler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scheduler").field("jobs", &self.list()).finish()
    }
}

/// What all handles share. Its drop is the last handle's drop.
struct Handle(Arc<Shared>);

impl Drop for Handle {
    fn drop(&mut self) {
        self.0.close();
    }
}

/// Settings of a [`Scheduler`] to be. From [`Scheduler::builder`].
///
/// ```
/// use std::time::SystemTime;
/// use threadline_pool::{ThreadPool, schedule::{ManualClock, Scheduler}};
///
/// let pool = ThreadPool::builder().build()?;
/// let scheduler = Scheduler::builder(&pool)
///     .name("housekeeping")
///     .jobs_max(100)
///     .clock(ManualClock::at(SystemTime::UNIX_EPOCH))
///     .build()?;
/// assert!(scheduler.list().is_empty());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use = "a builder does nothing until `build` is called"]
pub struct SchedulerBuilder {
    pool: ThreadPool,
    clock: Arc<dyn Clock>,
    name: String,
    jobs_max: usize,
}

impl SchedulerBuilder {
    /// What its thread is called. Default `"scheduler"`.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// The most jobs there may be at once. Default 10 000: far beyond what people write down, at a
    /// few hundred bytes each, and a program that adds jobs and forgets them is told early.
    pub fn jobs_max(mut self, jobs_max: usize) -> Self {
        self.jobs_max = jobs_max;
        self
    }

    /// Where it has the time from. Default: the [`SystemClock`].
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// Makes the scheduler and starts its thread.
    ///
    /// # Errors
    /// [`io::ErrorKind::InvalidInput`] if the name contains a NUL byte, and "no thread could be started",
    /// with the system's reason and its kind.
    pub fn build(self) -> io::Result<Scheduler> {
        if self.name.contains('\0') {
            let problem = "the scheduler's name contains a NUL byte";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, problem));
        }
        // std seeds its hashers from the system's random source; that is all the jitter needs.
        let seed = RandomState::new().hash_one("jitter");
        let shared = Shared::start(self.pool, self.clock, self.name, self.jobs_max, seed)?;
        Ok(Scheduler { handle: Arc::new(Handle(shared)) })
    }
}

impl fmt::Debug for SchedulerBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SchedulerBuilder")
            .field("name", &self.name)
            .field("jobs_max", &self.jobs_max)
            .finish_non_exhaustive()
    }
}
