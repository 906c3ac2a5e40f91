//! Jobs that run later, again and again, or by the calendar, on a [`ThreadPool`](crate::ThreadPool).
//!
//! Start with [`Scheduler`]. What is due when is decided by a state machine without clock or thread
//! (`plan.rs`); a thin driver (`driver.rs`) has the thread. The rules stand in `README.md` beside
//! this code. Calendar jobs (cron expressions) need the feature `cron`. In scope: when to run, and what became of it. Out of scope: surviving a restart of the
//! process, and agreeing with other machines.

mod agenda;
mod clock;
#[cfg(feature = "cron")]
mod cron;
mod driver;
mod error;
mod every;
mod handle;
mod held;
mod history;
mod jitter;
mod job;
#[cfg(all(test, loom))]
mod model;
mod plan;
mod run;
mod scheduler;
mod state;
mod timetable;

pub use clock::{Alarm, Clock, ManualClock, SystemClock};
#[cfg(feature = "cron")]
pub use cron::Cron;
pub use error::ScheduleError;
pub use every::Every;
pub use handle::{JobHandle, JobInfo};
pub use history::{History, RunOutcome};
pub use job::JobBuilder;
pub use plan::Overlap;
pub use scheduler::{Scheduler, SchedulerBuilder};
