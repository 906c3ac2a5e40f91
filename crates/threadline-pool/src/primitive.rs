//! Locks and threads: std's, or loom's while the wake chain is modelled (`src/model.rs`).
//!
//! Nothing else in the crate names a lock or starts a thread. Both sides look alike from outside;
//! [`wait_until`] hides the one difference, that loom has no clock.

use std::sync::{PoisonError, TryLockError};
use std::time::Instant;

#[cfg(not(loom))]
pub(crate) use crossbeam_deque::Injector;

#[cfg(loom)]
pub(crate) use loom::{
    sync::{Condvar, Mutex, MutexGuard, atomic},
    thread::Builder,
    thread_local,
};
#[cfg(not(loom))]
pub(crate) use std::{
    sync::{Condvar, Mutex, MutexGuard, atomic},
    thread::Builder,
    thread_local,
};

/// How a wait came to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Waited {
    /// Somebody notified, or for no reason at all: look at the state.
    Woken,
    /// The deadline passed.
    TimedOut,
}

/// Locks. No code of the user's runs under a lock of ours, so a poisoned one is as good as any.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Locks, unless somebody else has it locked.
pub(crate) fn try_lock<T>(mutex: &Mutex<T>) -> Option<MutexGuard<'_, T>> {
    match mutex.try_lock() {
        Ok(guard) => Some(guard),
        Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
        Err(TryLockError::WouldBlock) => None,
    }
}

/// Waits for a notification or the deadline. `None` waits for ever.
#[cfg(not(loom))]
pub(crate) fn wait_until<'a, T>(
    _mutex: &'a Mutex<T>,
    bell: &Condvar,
    guard: MutexGuard<'a, T>,
    deadline: Option<Instant>,
) -> (MutexGuard<'a, T>, Waited) {
    let Some(deadline) = deadline else {
        return (bell.wait(guard).unwrap_or_else(PoisonError::into_inner), Waited::Woken);
    };
    let left = deadline.saturating_duration_since(Instant::now());
    let (guard, result) = bell.wait_timeout(guard, left).unwrap_or_else(PoisonError::into_inner);
    (guard, if result.timed_out() { Waited::TimedOut } else { Waited::Woken })
}

/// In the model every deadline passes at once: the lock is let go, anybody may step in, and the
/// time is up. Every second time all others go first, or a thread that waits again and again would
/// be an endless loop; not every time, for that would hide the orders in which it is quick.
#[cfg(loom)]
pub(crate) fn wait_until<'a, T>(
    mutex: &'a Mutex<T>,
    bell: &Condvar,
    guard: MutexGuard<'a, T>,
    deadline: Option<Instant>,
) -> (MutexGuard<'a, T>, Waited) {
    if deadline.is_none() {
        return (bell.wait(guard).unwrap_or_else(PoisonError::into_inner), Waited::Woken);
    }
    drop(guard);
    let others_first = OTHERS_FIRST.with(|flag| flag.replace(!flag.get()));
    if others_first {
        loom::thread::yield_now();
    }
    (lock(mutex), Waited::TimedOut)
}

#[cfg(loom)]
thread_local! {
    static OTHERS_FIRST: std::cell::Cell<bool> = std::cell::Cell::new(false);
}

/// Stands for the lock-free queue, which knows no loom.
#[cfg(loom)]
pub(crate) struct Injector<T>(Mutex<std::collections::VecDeque<T>>);

#[cfg(loom)]
impl<T> Injector<T> {
    pub(crate) fn new() -> Self {
        Injector(Mutex::new(std::collections::VecDeque::new()))
    }

    pub(crate) fn push(&self, item: T) {
        lock(&self.0).push_back(item);
    }

    pub(crate) fn steal(&self) -> crossbeam_deque::Steal<T> {
        let first = lock(&self.0).pop_front();
        first.map_or(crossbeam_deque::Steal::Empty, crossbeam_deque::Steal::Success)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(crate) fn len(&self) -> usize {
        lock(&self.0).len()
    }
}
