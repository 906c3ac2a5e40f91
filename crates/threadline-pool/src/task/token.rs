//! [`CancelToken`]: a job that has begun is asked to end.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Whether a task has been cancelled, for its job to look at now and then.
///
/// ```
/// use threadline_pool::{JoinError, ThreadPool};
///
/// let pool = ThreadPool::builder().build()?;
/// let task = pool.spawn_cancellable(|token| {
///     let mut rounds = 0_u64;
///     while !token.is_cancelled() {
///         rounds += 1; // a piece of the work
///     }
///     rounds
/// })?;
/// task.cancel();
/// // Cancelled before it began, it never ran; after, it returned what it had.
/// assert!(matches!(task.join(), Ok(_) | Err(JoinError::Cancelled)));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct CancelToken(Arc<AtomicBool>);

/// A job has been asked to end.
///
/// ```
/// use threadline_pool::{Cancelled, CancelToken, ThreadPool};
///
/// fn sum(token: &CancelToken, numbers: &[u64]) -> Result<u64, Cancelled> {
///     let mut sum = 0;
///     for piece in numbers.chunks(1_000) {
///         token.check()?;
///         sum += piece.iter().sum::<u64>();
///     }
///     Ok(sum)
/// }
///
/// let pool = ThreadPool::builder().build()?;
/// let numbers: Vec<u64> = (1..=10_000).collect();
/// let task = pool.spawn_cancellable(move |token| sum(token, &numbers))?;
/// assert_eq!(task.join()?, Ok(50_005_000));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Cancelled;

impl fmt::Display for Cancelled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the task was cancelled")
    }
}

impl std::error::Error for Cancelled {}

impl CancelToken {
    pub(super) fn new() -> Self {
        CancelToken(Arc::new(AtomicBool::new(false)))
    }

    /// Whether the job should end.
    pub fn is_cancelled(&self) -> bool {
        // Nothing is handed over with the flag.
        self.0.load(Ordering::Relaxed)
    }

    /// The same, to leave a job by `?`.
    ///
    /// # Errors
    /// [`Cancelled`], if it should end.
    pub fn check(&self) -> Result<(), Cancelled> {
        if self.is_cancelled() { Err(Cancelled) } else { Ok(()) }
    }

    pub(super) fn cancel(&self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl fmt::Debug for CancelToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("CancelToken").field(&self.is_cancelled()).finish()
    }
}
