//! What the pool does at its two edges: when the queue is full, and when the last handle is gone.
//!
//! Plain settings, taken by the builder and followed in `shared/submit.rs` and `pool.rs`.

use std::time::Duration;

/// What [`ThreadPool::submit`] does when as many jobs wait as may. Set by [`Builder::when_full`].
///
/// ```
/// use std::time::Duration;
/// use threadline_pool::{Policy, ThreadPool};
///
/// // One thread and no queue: what does not fit runs on the thread that submits.
/// let builder = ThreadPool::builder().threads_max(1).queue_len_max(0);
/// let pool = builder.when_full(Policy::CallerRuns).build()?;
/// for _ in 0..100 {
///     pool.submit(|| ())?;
/// }
/// assert!(pool.shutdown(Duration::from_secs(5)));
/// assert_eq!(pool.stats().completed, 100);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// [`ThreadPool::submit`]: crate::ThreadPool::submit
/// [`Builder::when_full`]: crate::Builder::when_full
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Policy {
    /// The job is given back ([`RejectReason::Full`]). The default: the caller knows best what to
    /// shed, and never waits.
    ///
    /// [`RejectReason::Full`]: crate::RejectReason::Full
    #[default]
    Reject,
    /// The submitter waits for room, at most this long; then the job is given back
    /// ([`RejectReason::TimedOut`]). `Duration::MAX` waits for ever.
    ///
    /// Those that wait are woken in the order they came, but one that comes just when there is room
    /// goes first: strict order would cost a wake-up for each job. A job of the same pool that
    /// submits does not wait: it would keep its thread from making the room. Its new job is run at
    /// once, as under `CallerRuns`. Two pools whose jobs submit to each other may well wait for
    /// each other, until the time is up.
    ///
    /// [`RejectReason::TimedOut`]: crate::RejectReason::TimedOut
    Block {
        /// How long to wait for room.
        timeout: Duration,
    },
    /// The submitter runs the job itself, also when the system gives the pool no thread: this slows
    /// producers down. A panic of the job is contained and counted as on a pool thread. Such a job may
    /// submit another one, and so on; at a depth of 32 the job is given back instead
    /// ([`RejectReason::Full`]), before the stack is used up.
    ///
    /// [`RejectReason::Full`]: crate::RejectReason::Full
    CallerRuns,
    /// The oldest job that waits, of the lowest priority there is, is dropped without being run, to
    /// make room: for work that is worth less the older it is. A job of higher priority than the
    /// new one, or an essential one, is never dropped for it; if there are only such, or if
    /// `queue_len_max` is 0 so that none waits, the new job is given back
    /// ([`RejectReason::Full`]).
    ///
    /// [`RejectReason::Full`]: crate::RejectReason::Full
    DropOldest,
}

/// What becomes of the jobs that wait when the last handle of a pool is dropped. Set by
/// [`Builder::on_drop`](crate::Builder::on_drop).
///
/// Neither waits, so a drop never blocks; the threads end by themselves. A job that holds a handle
/// keeps its pool open until it ran or was dropped.
///
/// ```
/// use threadline_pool::{OnDrop, ThreadPool};
///
/// let pool = ThreadPool::builder().on_drop(OnDrop::Cancel).build()?;
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum OnDrop {
    /// They are run. The default: what was accepted is done.
    #[default]
    Finish,
    /// They are dropped without being run, on the thread that drops the handle. Jobs that run
    /// already are left to end.
    Cancel,
}
