//! `ThreadPool::spawn`, and the queued side of a task.

use std::sync::Arc;

use super::cell::{Cell, Work};
use super::handle::Queued;
use super::token::CancelToken;
use super::{Task, panics};
use crate::{Priority, Rejected, ThreadPool};

impl ThreadPool {
    /// Has the job run on a thread of the pool, and gives its future.
    ///
    /// ```
    /// use threadline_pool::ThreadPool;
    ///
    /// let pool = ThreadPool::builder().build()?;
    /// let tasks: Vec<_> = (1..=3_u64).map(|n| pool.spawn(move || n * n)).collect::<Result<_, _>>()?;
    /// let squares: Result<Vec<_>, _> = tasks.into_iter().map(|task| task.join()).collect();
    /// assert_eq!(squares?, [1, 4, 9]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// Gives the job back when the pool does not take it, as [`ThreadPool::submit`] does.
    pub fn spawn<F, T>(&self, job: F) -> Result<Task<T>, Rejected<F>>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        let refused = |Rejected { job: Plain(job), reason }| Rejected { job, reason };
        queue(self, Cell::new(Plain(job), None)).map_err(refused)
    }

    /// As [`ThreadPool::spawn`], for a job that can be asked to end while it runs.
    ///
    /// # Errors
    /// As for [`ThreadPool::spawn`].
    pub fn spawn_cancellable<F, T>(&self, job: F) -> Result<Task<T>, Rejected<F>>
    where
        F: FnOnce(&CancelToken) -> T + Send + 'static,
        T: Send + 'static,
    {
        let token = CancelToken::new();
        let work = Asked { job, token: token.clone() };
        let refused = |Rejected { job: Asked { job, .. }, reason }| Rejected { job, reason };
        queue(self, Cell::new(work, Some(token))).map_err(refused)
    }
}

struct Plain<F>(F);

struct Asked<F> {
    job: F,
    token: CancelToken,
}

impl<F: FnOnce() -> T + Send, T: Send> Work for Plain<F> {
    type Output = T;

    fn work(self) -> T {
        (self.0)()
    }
}

impl<F: FnOnce(&CancelToken) -> T + Send, T: Send> Work for Asked<F> {
    type Output = T;

    fn work(self) -> T {
        (self.job)(&self.token)
    }
}

fn queue<W: Work + 'static>(
    pool: &ThreadPool,
    cell: Cell<W>,
) -> Result<Task<W::Output>, Rejected<W>> {
    panics::watch();
    let cell = Arc::new(cell);
    let entry = Entry(Arc::clone(&cell));
    match pool.shared().submit_by_policy(Priority::Normal, move || entry.run()) {
        Ok(position) => {
            let pool = Arc::clone(pool.shared());
            Ok(Task::new(cell, position.map(|position| Queued { pool, position })))
        }
        Err(rejected) => {
            let reason = rejected.reason;
            // Before the queued side is dropped, which would count as cancelled.
            let job = cell.begin().unwrap_or_else(|| unreachable!("nobody else has the task yet"));
            drop(rejected);
            Err(Rejected { job, reason })
        }
    }
}

/// The pool's side of a task. Dropped unrun, it ends the task as cancelled.
struct Entry<W: Work>(Arc<Cell<W>>);

impl<W: Work> Entry<W> {
    fn run(&self) {
        self.0.run();
    }
}

impl<W: Work> Drop for Entry<W> {
    fn drop(&mut self) {
        self.0.abandon();
    }
}
