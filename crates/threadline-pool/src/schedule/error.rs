//! Why a job was not added to a scheduler.

use std::fmt;

/// Why a job was not added, or a cron expression not taken.
///
/// ```
/// use std::time::Duration;
/// use threadline_pool::{ThreadPool, schedule::{Every, ScheduleError, Scheduler}};
///
/// let pool = ThreadPool::builder().build()?;
/// let scheduler = Scheduler::builder(&pool).jobs_max(1).build()?;
/// scheduler.every(Every::fixed_rate(Duration::from_secs(60)), || ())?;
/// let error = scheduler.after(Duration::from_secs(1), || ()).unwrap_err();
/// assert_eq!(error, ScheduleError::TooManyJobs { jobs_max: 1 });
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ScheduleError {
    /// The scheduler has as many jobs as it may. Remove some, or raise
    /// [`jobs_max`](super::SchedulerBuilder::jobs_max).
    TooManyJobs {
        /// The setting.
        jobs_max: usize,
    },
    /// Another job of the scheduler has this name. Names are free again when their job is removed
    /// or was there for one run and had it.
    NameTaken {
        /// The name.
        name: String,
    },
    /// A period of zero, or one not longer than the jitter. A mistake of the caller's.
    Period {
        /// What is wrong with it.
        problem: String,
    },
    /// The scheduler was shut down. It takes no job again.
    ShutDown,
    /// The cron expression is not one, or matches no date. A mistake in the expression.
    Pattern {
        /// The expression.
        expression: String,
        /// Which field is wrong, what is wrong with it, and what it may contain.
        problem: String,
    },
    /// The system has no such time zone: misspelt, or its database is not installed (`tzdata`).
    TimeZone {
        /// The zone's name.
        zone: String,
        /// What was tried.
        problem: String,
    },
}

impl fmt::Display for ScheduleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ScheduleError::TooManyJobs { jobs_max } => write!(
                f,
                "the scheduler has {jobs_max} jobs, as many as it may: remove some, or raise jobs_max"
            ),
            ScheduleError::NameTaken { name } => {
                write!(f, "a job named {name:?} is there already: remove it first, or take another")
            }
            ScheduleError::Period { problem } => f.write_str(problem),
            ScheduleError::ShutDown => f.write_str("the scheduler is shut down"),
            ScheduleError::Pattern { expression, problem } => {
                write!(f, "cron expression {expression:?}: {problem}")
            }
            ScheduleError::TimeZone { zone, problem } => {
                write!(f, "time zone {zone:?}: {problem} (is tzdata installed?)")
            }
        }
    }
}

impl std::error::Error for ScheduleError {}
