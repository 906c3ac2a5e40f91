//! [`Task`]: the future of a job.
//!
//! | file | |
//! | --- | --- |
//! | `handle.rs` | [`Task`]: joining, waiting, cancelling, as its user holds it; `impl Future` |
//! | `cell.rs` | what the user's handle and the queued job share, and the steps between them |
//! | `spawn.rs` | `ThreadPool::spawn`; the queued side |
//! | `token.rs` | [`CancelToken`] |
//! | `error.rs` | [`JoinError`] |
//! | `panics.rs` | where a job panicked |
//!
//! The protocol, and why a join never deadlocks a pool, stands in `README.md` beside this code.

mod cell;
mod error;
mod handle;
#[cfg(all(test, loom))]
mod model;
mod panics;
mod spawn;
mod token;

pub use cell::Ended;
pub(crate) use cell::Watcher;
pub use error::{JoinError, TaskPanic};
pub use handle::Task;
pub use token::{CancelToken, Cancelled};
