//! The system calls that are not those of connected streams (`transport/`), of binding (`listener/`) or of
//! plain files.
//!
//! The contract each file keeps: no policy, no retries, no allocation on the hot path; errors come
//! back as `io::Error`. A second back end (io_uring, kqueue) would stand beside `epoll.rs`
//! and offer the same [`Epoll`], [`Waker`] and [`Alarm`].
//!
//! - `accept`: new connections
//! - `epoll`: readiness, edge-triggered
//! - `wake`: an eventfd that ends another thread's wait
//! - `alarm`: a timerfd, so that a wait needs no timeout
//! - `clock`: coarse ticks, and what a thread has used so far
//! - `datagram`: datagrams with the address that they were sent to
//! - `limits`: of control groups; how many threads the process may have
//! - `malloc`: what the allocator does with large blocks
//! - `memory`: how much of it the process may use; returning what is free
//! - `priority`: nice values and the batch class
//! - `signals`: taking signals for a while

mod accept;
mod alarm;
mod clock;
mod datagram;
mod epoll;
mod limits;
mod malloc;
mod memory;
mod priority;
mod signals;
mod wake;

pub(crate) use accept::accept;
pub(crate) use alarm::Alarm;
#[cfg(feature = "testing")]
pub(crate) use alarm::ring;
pub(crate) use clock::{
    Clock, OtherUsage, Resting, ThreadNumber, ThreadUsage, Ticks, cpu_of, spent_since, ticks_ceil,
    ticks_long, ticks_to_pass,
};
pub(crate) use datagram::{Asked, Bound, is_empty, receive, reply, report_asked_address};
pub(crate) use epoll::{Epoll, Event, EventBuffer, Interest, Readiness};
pub(crate) use limits::threads_max;
pub(crate) use malloc::give_back_from;
pub(crate) use memory::{memory_max, release_free_memory};
pub(crate) use priority::{become_batch, punctual_sleeps};
pub use signals::{Ignored, TakenSignal, taken_signals, wake_reader};
pub(crate) use wake::Waker;
