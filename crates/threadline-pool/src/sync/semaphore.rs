//! [`Semaphore`]: limits how many threads do something at a time.
//!
//! First come, first served: a permit that comes free goes to the thread that has waited longest, even if
//! another thread asks for it at that moment. So no thread starves, not even one that wants many permits
//! while others want one.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::patience::Patience;
use crate::primitive::{Condvar, Mutex, MutexGuard, Waited, lock};

/// Permits, to be taken and given back.
///
/// ```
/// use threadline_pool::sync::Semaphore;
///
/// let connections = Semaphore::new(2);
/// let first = connections.acquire()?;
/// let second = connections.acquire()?;
/// assert!(connections.try_acquire(1).is_err(), "both are taken");
/// drop(first); // gives its permit back
/// assert_eq!(connections.available(), 1);
/// # drop(second);
/// # Ok::<(), threadline_pool::sync::AcquireError>(())
/// ```
#[derive(Debug)]
pub struct Semaphore {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// Permits that are neither taken nor promised to a waiting thread.
    available: usize,
    /// All there are, available, promised or taken. So giving back cannot overflow `available`.
    total: usize,
    /// In the order in which they came. None of them was granted.
    waiting: VecDeque<Arc<Waiter>>,
    closed: bool,
}

/// A thread that waits. Its fields are used under the semaphore's lock.
#[derive(Debug)]
struct Waiter {
    wants: usize,
    granted: std::sync::atomic::AtomicBool,
    bell: Condvar,
}

/// Why there is no permit.
///
/// ```
/// use threadline_pool::sync::{AcquireError, Semaphore};
///
/// let semaphore = Semaphore::new(1);
/// let permit = semaphore.try_acquire(1)?;
/// assert_eq!(semaphore.try_acquire(1).unwrap_err(), AcquireError::Unavailable);
/// # drop(permit);
/// # Ok::<(), AcquireError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum AcquireError {
    /// Too few are free, or others wait already, and this call does not wait.
    Unavailable,
    /// Not enough came free in time.
    TimedOut,
    /// The semaphore was closed.
    Closed,
}

impl fmt::Display for AcquireError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            AcquireError::Unavailable => "too few permits are free",
            AcquireError::TimedOut => "not enough permits came free in time",
            AcquireError::Closed => "the semaphore is closed",
        })
    }
}

impl std::error::Error for AcquireError {}

impl Semaphore {
    /// Makes a semaphore with `permits` permits, from 0 to [`usize::MAX`].
    pub fn new(permits: usize) -> Self {
        let waiting = VecDeque::new();
        let state = State { available: permits, total: permits, waiting, closed: false };
        Semaphore { state: Mutex::new(state) }
    }

    /// Waits for a permit.
    ///
    /// # Errors
    /// [`AcquireError::Closed`].
    pub fn acquire(&self) -> Result<Permit<'_>, AcquireError> {
        self.acquire_many(1)
    }

    /// Waits for `count` permits, which are given back together. A request for more than there are in all
    /// waits until some are added.
    ///
    /// # Errors
    /// [`AcquireError::Closed`].
    pub fn acquire_many(&self, count: usize) -> Result<Permit<'_>, AcquireError> {
        self.take(count, Patience::endless()).map(|()| Permit { semaphore: self, count })
    }

    /// Waits for `count` permits, for at most `timeout`.
    ///
    /// # Errors
    /// [`AcquireError::TimedOut`], [`AcquireError::Closed`].
    pub fn acquire_timeout(
        &self,
        count: usize,
        timeout: Duration,
    ) -> Result<Permit<'_>, AcquireError> {
        self.take(count, Patience::of(timeout)).map(|()| Permit { semaphore: self, count })
    }

    /// Takes `count` permits if they are free and no thread waits for any.
    ///
    /// # Errors
    /// [`AcquireError::Unavailable`], [`AcquireError::Closed`].
    pub fn try_acquire(&self, count: usize) -> Result<Permit<'_>, AcquireError> {
        self.take_now(&mut lock(&self.state), count).map(|()| Permit { semaphore: self, count })
    }

    /// As [`Semaphore::acquire`], for a permit that goes to another thread or lives in a struct.
    ///
    /// # Errors
    /// [`AcquireError::Closed`].
    pub fn acquire_owned(self: &Arc<Self>) -> Result<OwnedPermit, AcquireError> {
        self.take(1, Patience::endless())?;
        Ok(OwnedPermit { semaphore: Arc::clone(self), count: 1 })
    }

    /// As [`Semaphore::try_acquire`], for a permit that goes to another thread or lives in a struct.
    ///
    /// # Errors
    /// [`AcquireError::Unavailable`], [`AcquireError::Closed`].
    pub fn try_acquire_owned(self: &Arc<Self>) -> Result<OwnedPermit, AcquireError> {
        self.take_now(&mut lock(&self.state), 1)?;
        Ok(OwnedPermit { semaphore: Arc::clone(self), count: 1 })
    }

    /// Adds permits for good.
    ///
    /// # Panics
    /// If there would be more than [`usize::MAX`] in all, those that are taken included. The semaphore
    /// is as it was then.
    pub fn add_permits(&self, count: usize) {
        let mut state = lock(&self.state);
        let total = state.total.checked_add(count);
        if let Some(total) = total {
            state.total = total;
        }
        drop(state);
        assert!(
            total.is_some(),
            "a semaphore has at most usize::MAX permits: {count} more are too many"
        );
        self.give_back(count);
    }

    /// How many are free.
    pub fn available(&self) -> usize {
        lock(&self.state).available
    }

    /// Closes the semaphore: it gives no more permits, and threads that wait get an error. Permits that are
    /// taken stay valid.
    pub fn close(&self) {
        let mut state = lock(&self.state);
        state.closed = true;
        let waiting = std::mem::take(&mut state.waiting);
        drop(state);
        waiting.iter().for_each(|waiter| waiter.bell.notify_one());
    }

    fn take_now(
        &self,
        state: &mut MutexGuard<'_, State>,
        count: usize,
    ) -> Result<(), AcquireError> {
        if state.closed {
            return Err(AcquireError::Closed);
        }
        if !state.waiting.is_empty() || state.available < count {
            return Err(AcquireError::Unavailable);
        }
        state.available -= count;
        Ok(())
    }

    fn take(&self, count: usize, mut patience: Patience) -> Result<(), AcquireError> {
        let mut state = lock(&self.state);
        match self.take_now(&mut state, count) {
            Err(AcquireError::Unavailable) => {}
            other => return other,
        }
        let me = Arc::new(Waiter { wants: count, granted: false.into(), bell: Condvar::new() });
        state.waiting.push_back(Arc::clone(&me));
        loop {
            let waited;
            (state, waited) = patience.sleep(&self.state, &me.bell, state);
            // Granted before all else: the permits are ours, whatever happened since.
            if me.granted.load(std::sync::atomic::Ordering::Relaxed) {
                return Ok(());
            }
            if state.closed {
                return Err(AcquireError::Closed);
            }
            if waited == Waited::TimedOut {
                state.waiting.retain(|waiter| !Arc::ptr_eq(waiter, &me));
                // Whoever stood behind may want fewer.
                let granted = state.grant();
                drop(state);
                granted.iter().for_each(|waiter| waiter.bell.notify_one());
                return Err(AcquireError::TimedOut);
            }
        }
    }

    fn forget(&self, count: usize) {
        lock(&self.state).total -= count;
    }

    fn give_back(&self, count: usize) {
        let mut state = lock(&self.state);
        state.available += count;
        let granted = state.grant();
        drop(state);
        granted.iter().for_each(|waiter| waiter.bell.notify_one());
    }
}

impl State {
    /// Gives what is available to those who have waited longest, as far as it goes.
    fn grant(&mut self) -> Vec<Arc<Waiter>> {
        let mut granted = Vec::new();
        while let Some(first) = self.waiting.front()
            && first.wants <= self.available
        {
            self.available -= first.wants;
            first.granted.store(true, std::sync::atomic::Ordering::Relaxed);
            granted.extend(self.waiting.pop_front());
        }
        granted
    }
}

/// Permits of a [`Semaphore`]: given back when it is dropped.
///
/// ```
/// use threadline_pool::sync::Semaphore;
///
/// let semaphore = Semaphore::new(3);
/// let two = semaphore.acquire_many(2)?;
/// assert_eq!(semaphore.available(), 1);
/// drop(two);
/// assert_eq!(semaphore.available(), 3);
/// # Ok::<(), threadline_pool::sync::AcquireError>(())
/// ```
#[derive(Debug)]
#[must_use = "a permit that is dropped is given back at once"]
pub struct Permit<'s> {
    semaphore: &'s Semaphore,
    count: usize,
}

/// Permits that own their part of the [`Semaphore`]: given back when it is dropped.
///
/// ```
/// use std::sync::Arc;
/// use threadline_pool::sync::Semaphore;
///
/// let semaphore = Arc::new(Semaphore::new(1));
/// let permit = semaphore.acquire_owned()?;
/// let job = std::thread::spawn(move || drop(permit)); // goes along with the work
/// job.join().expect("no panic");
/// assert_eq!(semaphore.available(), 1);
/// # Ok::<(), threadline_pool::sync::AcquireError>(())
/// ```
#[derive(Debug)]
#[must_use = "a permit that is dropped is given back at once"]
pub struct OwnedPermit {
    semaphore: Arc<Semaphore>,
    count: usize,
}

impl Permit<'_> {
    /// Never gives its permits back: the semaphore has fewer for good.
    pub fn forget(mut self) {
        self.semaphore.forget(std::mem::take(&mut self.count));
    }
}

impl OwnedPermit {
    /// Never gives its permits back: the semaphore has fewer for good.
    pub fn forget(mut self) {
        self.semaphore.forget(std::mem::take(&mut self.count));
    }
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        self.semaphore.give_back(self.count);
    }
}

impl Drop for OwnedPermit {
    fn drop(&mut self) {
        self.semaphore.give_back(self.count);
    }
}
