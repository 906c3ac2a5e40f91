//! A function over an iterator, on a pool.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;

use crate::ThreadPool;
use crate::contained;
use crate::task::{JoinError, Task};

/// Made by [`ThreadPool::map`]: results in the order of the items.
///
/// Fed lazily: an item is taken from the iterator when there is room in flight, and never before the
/// first result is asked for. Dropping it cancels the jobs that have not begun.
///
/// ```
/// use threadline_pool::ThreadPool;
///
/// let pool = ThreadPool::builder().build()?;
/// let mut doubled = pool.map([1, 2, 3], |n| 2 * n).in_flight_max(2);
/// assert_eq!(doubled.next().expect("three items")?, 2);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use = "an iterator does nothing until it is used"]
pub struct Map<I, F, R> {
    pool: ThreadPool,
    items: std::iter::Fuse<I>,
    function: Arc<F>,
    in_flight: VecDeque<Slot<R>>,
    in_flight_max: usize,
}

/// The result of one item, or its future.
enum Slot<R> {
    Task(Task<R>),
    /// The pool had no room: it was computed here.
    Result(R),
}

impl ThreadPool {
    /// Applies a function to each item, on the pool's threads.
    ///
    /// When the pool has no room for a job it is run right here. A panic comes out as the item's
    /// [`JoinError`], except of a job that is run right here, where it goes on.
    ///
    /// ```
    /// use threadline_pool::ThreadPool;
    ///
    /// let pool = ThreadPool::builder().threads_max(4).build()?;
    /// let lengths: Result<Vec<_>, _> = pool.map(["a", "bb", "ccc"], |text| text.len()).collect();
    /// assert_eq!(lengths?, [1, 2, 3]);
    ///
    /// // Endless input is fine: the number of items under way is bounded.
    /// let first = pool.map(1_u64.., |n| n * n).in_flight_max(8).take(3);
    /// assert_eq!(first.collect::<Result<Vec<_>, _>>()?, [1, 4, 9]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn map<I, F, R>(&self, items: I, function: F) -> Map<I::IntoIter, F, R>
    where
        I: IntoIterator,
        I::Item: Send + 'static,
        F: Fn(I::Item) -> R + Send + Sync + 'static,
        R: Send + 'static,
    {
        Map {
            pool: self.clone(),
            items: items.into_iter().fuse(),
            function: Arc::new(function),
            in_flight: VecDeque::new(),
            in_flight_max: self.threads_max().saturating_mul(2).min(IN_FLIGHT_MAX),
        }
    }
}

/// The most items in flight by default: a pool may have many threads for jobs that block, and an iterator
/// that draws from a file or a database must not be emptied into memory for them.
const IN_FLIGHT_MAX: usize = 128;

impl<I, F, R> Map<I, F, R> {
    /// How many items may be under way or wait to be handed out, at least 1: as many are drawn from the
    /// iterator in advance. Default: twice the pool's `threads_max`, and at most 128.
    pub fn in_flight_max(mut self, items: usize) -> Self {
        self.in_flight_max = items.max(1);
        self
    }
}

impl<I, F, R> Iterator for Map<I, F, R>
where
    I: Iterator,
    I::Item: Send + 'static,
    F: Fn(I::Item) -> R + Send + Sync + 'static,
    R: Send + 'static,
{
    type Item = Result<R, JoinError>;

    fn next(&mut self) -> Option<Self::Item> {
        while self.in_flight.len() < self.in_flight_max {
            let Some(item) = self.items.next() else { break };
            let function = Arc::clone(&self.function);
            self.in_flight.push_back(match self.pool.spawn(move || function(item)) {
                Ok(task) => Slot::Task(task),
                Err(rejected) => Slot::Result((rejected.job)()),
            });
        }
        match self.in_flight.pop_front()? {
            Slot::Task(task) => Some(task.join()),
            Slot::Result(result) => Some(Ok(result)),
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let (least, most) = self.items.size_hint();
        let here = self.in_flight.len();
        (least.saturating_add(here), most.and_then(|most| most.checked_add(here)))
    }
}

impl<I, F, R> Drop for Map<I, F, R> {
    fn drop(&mut self) {
        for slot in &self.in_flight {
            if let Slot::Task(task) = slot {
                task.cancel();
            }
        }
        // Each by itself: a result whose drop panics does not keep the others from being dropped, also while
        // another panic unwinds.
        self.in_flight.drain(..).for_each(|slot| _ = contained::run(|| drop(slot)));
    }
}

impl<I, F, R> fmt::Debug for Map<I, F, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Map").field("in_flight", &self.in_flight.len()).finish_non_exhaustive()
    }
}
