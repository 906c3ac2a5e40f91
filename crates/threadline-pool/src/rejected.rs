//! What comes back when the pool does not take a job: the job itself, and why.

use std::fmt;

/// A job that the pool did not take. It was not run and is given back whole.
///
/// ```
/// use std::time::Duration;
/// use threadline_pool::{RejectReason, ThreadPool};
///
/// let pool = ThreadPool::builder().build()?;
/// pool.shutdown(Duration::ZERO);
/// let rejected = pool.submit(|| println!("run after all")).unwrap_err();
/// assert_eq!(rejected.reason, RejectReason::ShutDown);
/// (rejected.job)();
/// # Ok::<(), std::io::Error>(())
/// ```
pub struct Rejected<F> {
    /// The job, to be run elsewhere, kept, or dropped.
    pub job: F,
    /// Why the pool did not take it.
    pub reason: RejectReason,
}

/// Why the pool did not take a job.
///
/// ```
/// use threadline_pool::{RejectReason, ThreadPool};
///
/// let pool = ThreadPool::builder().build()?;
/// pool.shutdown(std::time::Duration::from_secs(5));
/// assert_eq!(pool.submit(|| ()).unwrap_err().reason, RejectReason::ShutDown);
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RejectReason {
    /// As many ordinary jobs wait as may, and no thread is free. The load is too high, or
    /// `queue_len_max` and `threads_max` are too low: shed load, or try later.
    Full,
    /// The queue was full and nothing left it within the time that [`Policy::Block`] allows. Allow
    /// more, or see `Full`.
    ///
    /// [`Policy::Block`]: crate::Policy::Block
    TimedOut,
    /// The pool was shut down. It takes no job again.
    ShutDown,
    /// The pool has no thread and the system gave it none (out of memory, or of threads by
    /// `RLIMIT_NPROC` or the control group). Try later. Cannot happen with `threads_min` of 1 or
    /// more.
    NoThread,
}

impl fmt::Display for RejectReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            RejectReason::Full => "the pool's queue is full",
            RejectReason::TimedOut => {
                "the pool's queue stayed full for as long as a submit may wait"
            }
            RejectReason::ShutDown => "the pool is shut down",
            RejectReason::NoThread => {
                "no thread could be started: the system refused one, and the pool has no other"
            }
        })
    }
}

impl<F> fmt::Debug for Rejected<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rejected").field("reason", &self.reason).finish_non_exhaustive()
    }
}

impl<F> fmt::Display for Rejected<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.reason.fmt(f)
    }
}

impl<F> std::error::Error for Rejected<F> {}
