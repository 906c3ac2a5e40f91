//! Waiting for several tasks without taking their results.

use std::time::{Duration, Instant};

use super::ends::Ends;
use crate::task::{Ended, Task};

/// What to wait for.
///
/// ```
/// use threadline_pool::{ThreadPool, Until, wait};
///
/// let pool = ThreadPool::builder().build()?;
/// let tasks = [pool.spawn(|| 1)?, pool.spawn(|| panic!("on purpose"))?];
/// let waited = wait(&tasks, Until::FirstError, None);
/// assert!(waited.done.contains(&1));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Until {
    /// One task has ended.
    First,
    /// All have ended.
    All,
    /// One has panicked or been cancelled, or all have ended.
    FirstError,
}

/// How things stood at the end of a wait: places in the slice that was waited for.
///
/// ```
/// use std::time::Duration;
/// use threadline_pool::{ThreadPool, Until, wait};
///
/// let pool = ThreadPool::builder().build()?;
/// let tasks = [pool.spawn(|| 1)?];
/// let waited = wait(&tasks, Until::All, Some(Duration::from_secs(5)));
/// assert_eq!((waited.done, waited.pending), (vec![0], vec![]));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waited {
    /// Those that have ended, in their order in the slice.
    pub done: Vec<usize>,
    /// Those that have not.
    pub pending: Vec<usize>,
}

/// Waits for tasks, for so long at most; `None` waits for ever.
///
/// On a thread of a pool, a wait for ever runs jobs that have not begun right here. So do not hold a lock
/// meanwhile that the jobs take. A wait with a time limit never runs a job, which might take longer.
///
/// ```
/// use threadline_pool::{ThreadPool, Until, wait};
///
/// let pool = ThreadPool::builder().build()?;
/// let tasks = [pool.spawn(|| 1)?, pool.spawn(|| 2)?];
/// let waited = wait(&tasks, Until::All, None);
/// assert_eq!((waited.done, waited.pending), (vec![0, 1], vec![]));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn wait<T>(tasks: &[Task<T>], until: Until, timeout: Option<Duration>) -> Waited {
    let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
    let ends = Ends::of(tasks);
    let mut left = tasks.len();
    let mut unbegun = if timeout.is_none() { tasks } else { &[] }.iter();
    while left > 0 {
        let next = match ends.try_next() {
            Some(number) => Some(number),
            None if unbegun.by_ref().any(Task::help) => continue,
            None => ends.next(deadline),
        };
        let Some(number) = next else { break };
        left -= 1;
        let is_error = tasks[number].how_ended() != Some(Ended::Returned);
        if until == Until::First || (until == Until::FirstError && is_error) {
            break;
        }
    }
    let (done, pending) = (0..tasks.len()).partition(|number| tasks[*number].is_done());
    Waited { done, pending }
}
