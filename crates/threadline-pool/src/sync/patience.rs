//! How waits on a condition variable sleep: until a deadline, after saying so.

use std::time::{Duration, Instant};

use crate::blocking::{about_to_block, is_watched};
use crate::primitive::{Condvar, Mutex, MutexGuard, Waited, lock, wait_until};

/// One wait, which may sleep several times.
pub(crate) struct Patience {
    deadline: Option<Instant>,
    told: bool,
}

impl Patience {
    pub(crate) fn endless() -> Self {
        Patience::until(None)
    }

    /// `None` is endless.
    pub(crate) fn until(deadline: Option<Instant>) -> Self {
        Patience { deadline, told: false }
    }

    /// For so long. A time beyond what the clock can say is endless.
    pub(crate) fn of(timeout: Duration) -> Self {
        Patience::until(Instant::now().checked_add(timeout))
    }

    /// Sleeps until the bell is rung or the time is up. May come back for no reason at all: look again.
    pub(crate) fn sleep<'a, T>(
        &mut self,
        mutex: &'a Mutex<T>,
        bell: &Condvar,
        guard: MutexGuard<'a, T>,
    ) -> (MutexGuard<'a, T>, Waited) {
        if !self.told && is_watched() {
            // Without the lock, and so the state may be another: the caller looks again.
            self.told = true;
            drop(guard);
            about_to_block();
            return (lock(mutex), Waited::Woken);
        }
        wait_until(mutex, bell, guard, self.deadline)
    }
}
