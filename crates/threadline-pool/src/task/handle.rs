//! [`Task`]: a job's future, as its user holds it.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use super::JoinError;
use super::cell::{Ended, Joined, Watcher};
use crate::queue::Position;
use crate::shared::{Shared, Withdrawal};
use crate::worker;

/// The future of a job: made by [`ThreadPool::spawn`](crate::ThreadPool::spawn). Dropping it detaches:
/// the job runs, and its result is dropped.
///
/// It can be joined by blocking, or awaited: it is a [`Future`] that needs no runtime.
///
/// ```
/// use threadline_pool::ThreadPool;
///
/// let pool = ThreadPool::builder().build()?;
/// let task = pool.spawn(|| 6 * 7)?;
/// assert_eq!(task.join()?, 42);
///
/// let task = pool.spawn(|| -> u32 { panic!("no such number") })?;
/// assert!(task.join().unwrap_err().to_string().contains("no such number"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use = "a task that is dropped is detached: nobody hears of its result"]
pub struct Task<T> {
    cell: Arc<dyn Joined<T>>,
    /// None if its job never was in a queue.
    queued: Option<Queued>,
}

/// Where the job waits, or waited.
pub(super) struct Queued {
    pub(super) pool: Arc<Shared>,
    pub(super) position: Position,
}

impl Queued {
    /// The job's place in the queue is free for another one. False if a thread has taken it before.
    fn leave(&self, why: Withdrawal) -> bool {
        self.pool.withdraw(self.position, why)
    }
}

impl<T> Task<T> {
    pub(super) fn new(cell: Arc<dyn Joined<T>>, queued: Option<Queued>) -> Self {
        Task { cell, queued }
    }

    /// Waits for the job's result. On a thread of a pool, a job that has not begun is run right here,
    /// so that a pool whose jobs join each other goes on even with one thread. So do not hold a lock
    /// meanwhile that the job takes.
    ///
    /// # Errors
    /// [`JoinError`]: it never ran, or it panicked.
    pub fn join(self) -> Result<T, JoinError> {
        self.help();
        self.cell.wait_result(None).unwrap_or(Err(JoinError::Cancelled))
    }

    /// As [`Task::join`], for so long at most; then gives the task back. Never runs the job, which might
    /// take longer: on the only thread of a pool, a job that has not begun does not end in time.
    ///
    /// # Errors
    /// The task itself, if its job has not ended in time.
    pub fn join_timeout(self, timeout: Duration) -> Result<Result<T, JoinError>, Self> {
        self.cell.wait_result(Instant::now().checked_add(timeout)).ok_or(self)
    }

    /// Waits for the end of the job for so long at most. True if it has ended. Does not run it.
    pub fn wait_timeout(&self, timeout: Duration) -> bool {
        self.cell.wait_ended(Instant::now().checked_add(timeout))
    }

    /// Whether its job has ended: returned, panicked, or been cancelled.
    pub fn is_done(&self) -> bool {
        self.cell.how_ended().is_some()
    }

    /// Cancels it: a job that has not begun never runs and leaves the pool's queue, and this returns true
    /// ([`Stats::cancelled`](crate::Stats::cancelled) counts it). One that has begun is
    /// asked to end, if it was spawned by
    /// [`spawn_cancellable`](crate::ThreadPool::spawn_cancellable); its result is what it returns.
    pub fn cancel(&self) -> bool {
        let cancelled = self.cell.cancel();
        if cancelled && let Some(queued) = &self.queued {
            queued.leave(Withdrawal::Cancelled);
        }
        cancelled
    }

    /// Has `callback` called when the job has ended, by the thread that ends it; at once, and here, if
    /// it has ended already. It should be short: the thread is the pool's. A panic in it is the panic
    /// hook's business alone. Several are called in their order.
    pub fn on_done(&self, callback: impl FnOnce(Ended) + Send + 'static) {
        self.cell.on_done(Box::new(callback));
    }

    /// Runs the job here, if that is a pool's thread and the job has not begun.
    pub(crate) fn help(&self) -> bool {
        if !worker::is_of_a_pool() {
            return false;
        }
        let mut left = None;
        let leave = &mut || {
            left = self.queued.as_ref().filter(|queued| queued.leave(Withdrawal::RunByCaller));
        };
        let helped = self.cell.help(leave);
        if let Some(queued) = left {
            queued.pool.ran_in_caller();
        }
        helped
    }

    pub(crate) fn watch(&self, watcher: Arc<dyn Watcher>, number: usize) {
        self.cell.watch(watcher, number);
    }

    pub(crate) fn how_ended(&self) -> Option<Ended> {
        self.cell.how_ended()
    }
}

/// Ready when the job has ended. Does not run it. Not to be polled again after that, or it says that
/// the task was cancelled.
impl<T> Future for Task<T> {
    type Output = Result<T, JoinError>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        self.cell.poll_result(context.waker()).map_or(Poll::Pending, Poll::Ready)
    }
}

impl<T> fmt::Debug for Task<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Task").field("ended", &self.cell.how_ended()).finish()
    }
}
