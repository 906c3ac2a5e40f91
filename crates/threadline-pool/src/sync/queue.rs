//! [`Queue`]: handing work from producers to consumers.

use std::cmp::Reverse;
use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::time::Duration;

use super::patience::Patience;
use crate::contained;
use crate::primitive::{Condvar, Mutex, MutexGuard, Waited, lock};

/// A bounded queue for any number of producers and consumers.
///
/// ```
/// use std::thread;
/// use threadline_pool::sync::Queue;
///
/// let queue = Queue::fifo(10);
/// let sum: u64 = thread::scope(|scope| {
///     let consumer = scope.spawn(|| queue.iter().sum());
///     for n in 1..=100 {
///         queue.put(n).unwrap();
///     }
///     queue.close(); // the consumer takes what is left, and ends
///     consumer.join().unwrap()
/// });
/// assert_eq!(sum, 5050);
/// ```
pub struct Queue<T> {
    state: Mutex<State<T>>,
    /// Rung when there is something to get, or never will be.
    filled: Condvar,
    /// Rung when there is room, or never will be.
    room: Condvar,
    /// Rung when nothing is unfinished.
    finished: Condvar,
    /// How urgent an item is. Called without the lock, as all code of the user's is.
    key: Option<Key<T>>,
    len_max: usize,
}

type Key<T> = Box<dyn Fn(&T) -> i64 + Send + Sync>;

struct State<T> {
    items: Box<dyn Items<T> + Send>,
    closed: bool,
    /// Put, and not reported by `task_done`.
    unfinished: usize,
    getters: usize,
    putters: usize,
}

/// In which order items come out.
trait Items<T> {
    /// `key` counts in a queue by priority only.
    fn push(&mut self, item: T, key: i64);
    fn pop(&mut self) -> Option<T>;
    fn len(&self) -> usize;
}

impl<T> Items<T> for VecDeque<T> {
    fn push(&mut self, item: T, _key: i64) {
        self.push_back(item);
    }

    fn pop(&mut self) -> Option<T> {
        self.pop_front()
    }

    fn len(&self) -> usize {
        VecDeque::len(self)
    }
}

impl<T> Items<T> for Vec<T> {
    fn push(&mut self, item: T, _key: i64) {
        Vec::push(self, item);
    }

    fn pop(&mut self) -> Option<T> {
        Vec::pop(self)
    }

    fn len(&self) -> usize {
        Vec::len(self)
    }
}

/// The greatest key first, and of equal ones the first that was put. The items' own order does not matter:
/// it is the user's code, and this is under the lock.
struct ByKey<T> {
    items: BTreeMap<(i64, Reverse<u64>), T>,
    next_number: u64,
}

impl<T> Items<T> for ByKey<T> {
    fn push(&mut self, item: T, key: i64) {
        self.items.insert((key, Reverse(self.next_number)), item);
        self.next_number += 1;
    }

    fn pop(&mut self) -> Option<T> {
        self.items.pop_last().map(|(_, item)| item)
    }

    fn len(&self) -> usize {
        self.items.len()
    }
}

/// Why an item was not put. It is given back.
///
/// ```
/// use threadline_pool::sync::{PutError, Queue};
///
/// let queue = Queue::fifo(1);
/// queue.put("first").expect("there is room");
/// assert!(queue.try_put("second") == Err(PutError::Full("second")));
/// ```
#[derive(Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum PutError<T> {
    /// The queue is full, and this call does not wait.
    Full(T),
    /// It stayed full for so long.
    TimedOut(T),
    /// It is closed: nothing is put any more.
    Closed(T),
}

/// Why there is nothing to get.
///
/// ```
/// use threadline_pool::sync::{GetError, Queue};
///
/// let queue = Queue::<u32>::fifo(1);
/// assert_eq!(queue.try_get(), Err(GetError::Empty));
/// queue.close();
/// assert_eq!(queue.get(), Err(GetError::Closed));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum GetError {
    /// The queue is empty, and this call does not wait.
    Empty,
    /// It stayed empty for so long.
    TimedOut,
    /// It is closed, and all that was in it has been taken.
    Closed,
}

impl<T> PutError<T> {
    /// The item.
    pub fn into_inner(self) -> T {
        match self {
            PutError::Full(item) | PutError::TimedOut(item) | PutError::Closed(item) => item,
        }
    }

    fn name(&self) -> &'static str {
        match self {
            PutError::Full(_) => "the queue is full",
            PutError::TimedOut(_) => "the queue stayed full for too long",
            PutError::Closed(_) => "the queue is closed",
        }
    }
}

impl<T> fmt::Debug for PutError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PutError({})", self.name())
    }
}

impl<T> fmt::Display for PutError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl<T> std::error::Error for PutError<T> {}

impl fmt::Display for GetError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            GetError::Empty => "the queue is empty",
            GetError::TimedOut => "the queue stayed empty for too long",
            GetError::Closed => "the queue is closed and empty",
        })
    }
}

impl std::error::Error for GetError {}

impl<T: Send + 'static> Queue<T> {
    /// First in, first out. `len_max` items at most, and at least 1.
    pub fn fifo(len_max: usize) -> Self {
        Queue::with(VecDeque::new(), None, len_max)
    }

    /// Last in, first out. `len_max` items at most, and at least 1.
    pub fn lifo(len_max: usize) -> Self {
        Queue::with(Vec::new(), None, len_max)
    }

    /// The item with the greatest key first; of equal ones, the first that was put. `len_max` items at most,
    /// and at least 1.
    ///
    /// `key` is called once for each item, by the thread that puts it and before that takes any lock: it may
    /// use the queue, and if it panics, the item is dropped and the queue is as before.
    ///
    /// ```
    /// use std::time::{Duration, Instant};
    /// use threadline_pool::sync::Queue;
    ///
    /// let orders = Queue::by_priority(10, |order: &(u8, &str)| order.0.into());
    /// orders.put((2, "the bin is full"))?;
    /// orders.put((9, "the house is on fire"))?;
    /// assert_eq!(orders.get()?.1, "the house is on fire");
    ///
    /// // The earliest first: the fewer milliseconds from now, the greater the key.
    /// let start = Instant::now();
    /// let due = Queue::by_priority(10, move |at: &Instant| -((*at - start).as_millis() as i64));
    /// due.put(start + Duration::from_secs(2))?;
    /// due.put(start + Duration::from_secs(1))?;
    /// assert_eq!(due.get()?, start + Duration::from_secs(1));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn by_priority(len_max: usize, key: impl Fn(&T) -> i64 + Send + Sync + 'static) -> Self {
        let items = ByKey { items: BTreeMap::new(), next_number: 0 };
        Queue::with(items, Some(Box::new(key)), len_max)
    }

    fn with(items: impl Items<T> + Send + 'static, key: Option<Key<T>>, len_max: usize) -> Self {
        let items = Box::new(items);
        let state = State { items, closed: false, unfinished: 0, getters: 0, putters: 0 };
        Queue {
            state: Mutex::new(state),
            filled: Condvar::new(),
            room: Condvar::new(),
            finished: Condvar::new(),
            key,
            len_max: len_max.max(1),
        }
    }
}

/// Putting.
impl<T> Queue<T> {
    /// Puts an item, and waits for room.
    ///
    /// # Errors
    /// [`PutError::Closed`].
    pub fn put(&self, item: T) -> Result<(), PutError<T>> {
        self.put_within(item, Some(Patience::endless()))
    }

    /// Puts an item, and waits for room for so long at most.
    ///
    /// # Errors
    /// [`PutError::TimedOut`], [`PutError::Closed`].
    pub fn put_timeout(&self, item: T, timeout: Duration) -> Result<(), PutError<T>> {
        self.put_within(item, Some(Patience::of(timeout)))
    }

    /// Puts an item if there is room.
    ///
    /// # Errors
    /// [`PutError::Full`], [`PutError::Closed`].
    pub fn try_put(&self, item: T) -> Result<(), PutError<T>> {
        self.put_within(item, None)
    }

    fn put_within(&self, item: T, mut patience: Option<Patience>) -> Result<(), PutError<T>> {
        let key = self.key.as_ref().map_or(0, |key| key(&item));
        let mut state = lock(&self.state);
        let mut timed_out = false;
        loop {
            if state.closed {
                return Err(PutError::Closed(item));
            }
            if state.items.len() < self.len_max {
                state.items.push(item, key);
                state.unfinished += 1;
                let awaited = state.getters > 0;
                drop(state);
                if awaited {
                    self.filled.notify_one();
                }
                return Ok(());
            }
            let Some(patience) = &mut patience else { return Err(PutError::Full(item)) };
            if timed_out {
                return Err(PutError::TimedOut(item));
            }
            state.putters += 1;
            let waited;
            (state, waited) = patience.sleep(&self.state, &self.room, state);
            state.putters -= 1;
            timed_out = waited == Waited::TimedOut;
        }
    }
}

/// Getting.
impl<T> Queue<T> {
    /// Takes the next item, and waits for one.
    ///
    /// # Errors
    /// [`GetError::Closed`].
    pub fn get(&self) -> Result<T, GetError> {
        self.get_within(Some(Patience::endless()))
    }

    /// Takes the next item, and waits for one for so long at most.
    ///
    /// # Errors
    /// [`GetError::TimedOut`], [`GetError::Closed`].
    pub fn get_timeout(&self, timeout: Duration) -> Result<T, GetError> {
        self.get_within(Some(Patience::of(timeout)))
    }

    /// Takes the next item if there is one.
    ///
    /// # Errors
    /// [`GetError::Empty`], [`GetError::Closed`].
    pub fn try_get(&self) -> Result<T, GetError> {
        self.get_within(None)
    }

    /// Items as they come, until the queue is closed and empty.
    pub fn iter(&self) -> impl Iterator<Item = T> {
        std::iter::from_fn(|| self.get().ok())
    }

    fn get_within(&self, mut patience: Option<Patience>) -> Result<T, GetError> {
        let mut state = lock(&self.state);
        let mut timed_out = false;
        loop {
            if let Some(item) = state.items.pop() {
                let awaited = state.putters > 0;
                drop(state);
                if awaited {
                    self.room.notify_one();
                }
                return Ok(item);
            }
            if state.closed {
                return Err(GetError::Closed);
            }
            let Some(patience) = &mut patience else { return Err(GetError::Empty) };
            if timed_out {
                return Err(GetError::TimedOut);
            }
            state.getters += 1;
            let waited;
            (state, waited) = patience.sleep(&self.state, &self.filled, state);
            state.getters -= 1;
            timed_out = waited == Waited::TimedOut;
        }
    }
}

/// The rest.
impl<T> Queue<T> {
    /// Says that an item that was taken has been dealt with; see [`Queue::join`].
    ///
    /// # Panics
    /// If it is called more often than items were put: the count would be worth nothing.
    pub fn task_done(&self) {
        let mut state = lock(&self.state);
        let left = state.unfinished.checked_sub(1);
        state.unfinished = left.unwrap_or(0);
        drop(state);
        // Without the lock: the panic hook is the user's code.
        assert!(left.is_some(), "task_done was called more often than items were put");
        if left == Some(0) {
            self.finished.notify_all();
        }
    }

    /// Waits until every item that was put has been reported by [`Queue::task_done`].
    pub fn join(&self) {
        self.join_within(Patience::endless());
    }

    /// As [`Queue::join`], for so long at most. True if nothing is unfinished.
    pub fn join_timeout(&self, timeout: Duration) -> bool {
        self.join_within(Patience::of(timeout))
    }

    fn join_within(&self, mut patience: Patience) -> bool {
        let mut state = lock(&self.state);
        let mut waited = Waited::Woken;
        while state.unfinished > 0 && waited == Waited::Woken {
            (state, waited) = patience.sleep(&self.state, &self.finished, state);
        }
        state.unfinished == 0
    }

    /// Nothing is put any more. What is in the queue can still be taken; then getters are told.
    pub fn close(&self) {
        let mut state: MutexGuard<'_, _> = lock(&self.state);
        state.closed = true;
        drop(state);
        self.filled.notify_all();
        self.room.notify_all();
    }

    /// How many items wait.
    pub fn len(&self) -> usize {
        lock(&self.state).items.len()
    }

    /// Whether none does.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many may wait.
    pub fn len_max(&self) -> usize {
        self.len_max
    }
}

/// Drops the remaining items one by one. A drop that panics affects neither the other items nor the thread
/// that drops the queue.
impl<T> Drop for Queue<T> {
    fn drop(&mut self) {
        while let Ok(item) = self.try_get() {
            contained::run(|| drop(item));
        }
        let key = self.key.take();
        contained::run(|| drop(key));
    }
}

impl<T> fmt::Debug for Queue<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = lock(&self.state);
        f.debug_struct("Queue")
            .field("len", &state.items.len())
            .field("len_max", &self.len_max)
            .field("closed", &state.closed)
            .finish_non_exhaustive()
    }
}
