//! A thread pool for jobs that may block, with chained wake-ups, a bounded queue and a nice value
//! of its own.
//!
//! Waking a sleeping thread is the most expensive operation of a pool: across cores it costs the waker
//! about 13 us, many times the cost of queueing the job. A producer therefore wakes at most one thread,
//! and none while a wake-up is under way; each woken thread wakes the next before it runs its own job, as
//! long as there is work. `README.md` beside this code explains the protocol and why no wake-up is lost.
//!
//! In scope: running jobs on threads, within bounds, and saying what happens ([`Stats`]); jobs that
//! borrow from their caller ([`ThreadPool::scope`]). Out of scope: I/O, async, splitting one computation
//! over all cores (use rayon), and anything that knows of connections. The crate is useful alone.
//!
//! `unsafe` is denied by the workspace's lints; `scope/mod.rs` has one block and says why.

mod blocking;
mod builder;
pub mod contained;
mod counter;
mod histogram;
mod hooks;
mod lobby;
mod mail;
mod many;
#[cfg(all(test, loom))]
mod model;
mod nesting;
mod nice;
mod parker;
mod policy;
mod pool;
mod primitive;
mod queue;
mod rejected;
mod roster;
pub mod schedule;
mod scope;
mod shared;
mod slack;
mod sleeper;
mod stats;
pub mod sync;
mod task;
mod times;
mod tray;
mod worker;

pub use blocking::{Hook, about_to_block, blocking, set_hook};
pub use builder::Builder;
pub use histogram::Histogram;
pub use many::{AsCompleted, Map, Until, Waited, as_completed, wait};
pub use policy::{OnDrop, Policy};
pub use pool::{ThreadPool, Ticket};
pub use queue::Priority;
pub use rejected::{RejectReason, Rejected};
pub use scope::Scope;
pub use stats::Stats;
pub use task::{CancelToken, Cancelled, Ended, JoinError, Task, TaskPanic};
pub use times::Times;
