//! Tasks in the order in which they end.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::ends::Ends;
use crate::task::{JoinError, Task};

/// Results of tasks in the order in which they end.
///
/// On a thread of a pool, `next` runs jobs that have not begun right here, when there is nothing else to wait
/// for. So do not hold a lock meanwhile that the jobs take. [`AsCompleted::next_timeout`] never does.
///
/// ```
/// use threadline_pool::{ThreadPool, as_completed};
///
/// let pool = ThreadPool::builder().threads_max(3).build()?;
/// let tasks: Vec<_> = (0..5).map(|n| pool.spawn(move || n * n)).collect::<Result<_, _>>()?;
/// let mut squares: Vec<i32> = as_completed(tasks).collect::<Result<_, _>>()?;
/// squares.sort_unstable();
/// assert_eq!(squares, [0, 1, 4, 9, 16]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn as_completed<T>(tasks: impl IntoIterator<Item = Task<T>>) -> AsCompleted<T> {
    let tasks: Vec<_> = tasks.into_iter().map(Some).collect();
    let ends = Ends::of(tasks.iter().flatten());
    let left = tasks.len();
    AsCompleted { tasks, ends, left, unbegun: 0 }
}

/// Made by [`as_completed`]. Dropping it detaches the tasks that are left.
///
/// ```
/// use std::time::Duration;
/// use threadline_pool::{ThreadPool, as_completed};
///
/// let pool = ThreadPool::builder().build()?;
/// let mut results = as_completed([pool.spawn(|| 1)?, pool.spawn(|| 2)?]);
/// let first = results.next_timeout(Duration::from_secs(5)).expect("it is quick")?;
/// assert!(first == 1 || first == 2);
/// assert_eq!(results.left(), 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use = "an iterator does nothing until it is used"]
pub struct AsCompleted<T> {
    tasks: Vec<Option<Task<T>>>,
    ends: Arc<Ends>,
    left: usize,
    /// Those before this one have been looked at for help.
    unbegun: usize,
}

impl<T> AsCompleted<T> {
    /// The next result; `None` if none comes within so long, or none is left ([`AsCompleted::left`]
    /// tells). Never runs a job, which might take longer.
    pub fn next_timeout(&mut self, timeout: Duration) -> Option<Result<T, JoinError>> {
        if self.left == 0 {
            return None;
        }
        let number = self.ends.next(Instant::now().checked_add(timeout))?;
        self.take(number)
    }

    /// How many tasks have not been handed out.
    pub fn left(&self) -> usize {
        self.left
    }

    /// Each end is told once. It has ended: joining does not wait.
    fn take(&mut self, number: usize) -> Option<Result<T, JoinError>> {
        self.left -= 1;
        self.tasks[number].take().map(Task::join)
    }

    /// Runs a job that has not begun. False if there is none, or if this is not a pool thread.
    fn help_one(&mut self) -> bool {
        while let Some(task) = self.tasks.get(self.unbegun) {
            self.unbegun += 1;
            if task.as_ref().is_some_and(Task::help) {
                return true;
            }
        }
        false
    }
}

impl<T> Iterator for AsCompleted<T> {
    type Item = Result<T, JoinError>;

    fn next(&mut self) -> Option<Self::Item> {
        while self.left > 0 {
            if let Some(number) = self.ends.try_next() {
                return self.take(number);
            }
            if !self.help_one() {
                let number = self.ends.next(None)?;
                return self.take(number);
            }
        }
        None
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl<T> ExactSizeIterator for AsCompleted<T> {}

impl<T> fmt::Debug for AsCompleted<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AsCompleted").field("left", &self.left).finish_non_exhaustive()
    }
}
