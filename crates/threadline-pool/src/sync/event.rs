//! [`Event`]: one thread tells others that something has happened.

use std::time::Duration;

use super::patience::Patience;
use crate::primitive::{Condvar, Mutex, Waited, lock};

/// A flag that threads can wait for. Set until it is cleared: who comes later does not wait.
///
/// ```
/// use std::sync::Arc;
/// use std::thread;
/// use threadline_pool::sync::Event;
///
/// let ready = Arc::new(Event::new());
/// let waiter = thread::spawn({
///     let ready = Arc::clone(&ready);
///     move || ready.wait()
/// });
/// ready.set();
/// waiter.join().unwrap();
/// assert!(ready.is_set());
/// ```
#[derive(Debug)]
pub struct Event {
    set: Mutex<bool>,
    bell: Condvar,
}

impl Event {
    /// An event that has not happened.
    pub fn new() -> Self {
        Event { set: Mutex::new(false), bell: Condvar::new() }
    }

    /// It has happened: all who wait go on.
    pub fn set(&self) {
        *lock(&self.set) = true;
        self.bell.notify_all();
    }

    /// Who comes from now on waits again.
    pub fn clear(&self) {
        *lock(&self.set) = false;
    }

    /// Whether it has happened, and was not cleared since.
    pub fn is_set(&self) -> bool {
        *lock(&self.set)
    }

    /// Waits until it has happened.
    pub fn wait(&self) {
        self.wait_for(Patience::endless());
    }

    /// Waits for so long at most. True if it has happened.
    pub fn wait_timeout(&self, timeout: Duration) -> bool {
        self.wait_for(Patience::of(timeout))
    }

    fn wait_for(&self, mut patience: Patience) -> bool {
        let mut set = lock(&self.set);
        let mut waited = Waited::Woken;
        while !*set && waited == Waited::Woken {
            (set, waited) = patience.sleep(&self.set, &self.bell, set);
        }
        *set
    }
}

impl Default for Event {
    fn default() -> Self {
        Event::new()
    }
}
