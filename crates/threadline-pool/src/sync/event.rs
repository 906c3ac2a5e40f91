//! [`Event`]: one thread tells others that something has happened.

use std::time::Duration;

use super::patience::Patience;
use crate::primitive::{Condvar, Mutex, Waited, lock};

/// A flag that threads can wait for. It stays set until it is cleared: a thread that comes later does
/// not wait.
///
/// [`set`](Event::set) releases every thread that waits at that moment, even if
/// [`clear`](Event::clear) follows before they have woken.
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
    state: Mutex<State>,
    bell: Condvar,
}

#[derive(Debug, Default)]
struct State {
    set: bool,
    /// How often the event was set. A waiter that wakes after a `clear` still sees that it was.
    sets: u64,
}

impl Event {
    /// An event that has not happened.
    pub fn new() -> Self {
        Event { state: Mutex::new(State::default()), bell: Condvar::new() }
    }

    /// Sets the flag and releases all threads that wait.
    pub fn set(&self) {
        let mut state = lock(&self.state);
        state.set = true;
        state.sets = state.sets.wrapping_add(1);
        drop(state);
        self.bell.notify_all();
    }

    /// Clears the flag: threads that come from now on wait. Those that a `set` has released go on.
    pub fn clear(&self) {
        lock(&self.state).set = false;
    }

    /// Whether the event was set and not cleared since.
    pub fn is_set(&self) -> bool {
        lock(&self.state).set
    }

    /// Waits until the event is set, or was set since this call began.
    pub fn wait(&self) {
        self.wait_for(Patience::endless());
    }

    /// Waits as [`wait`](Event::wait) does, for `timeout` at most. Returns whether the event is set,
    /// or was set since this call began.
    pub fn wait_timeout(&self, timeout: Duration) -> bool {
        self.wait_for(Patience::of(timeout))
    }

    fn wait_for(&self, mut patience: Patience) -> bool {
        let mut state = lock(&self.state);
        let sets_before = state.sets;
        let has_happened = |state: &State| state.set || state.sets != sets_before;
        let mut waited = Waited::Woken;
        while !has_happened(&state) && waited == Waited::Woken {
            (state, waited) = patience.sleep(&self.state, &self.bell, state);
        }
        has_happened(&state)
    }
}

impl Default for Event {
    fn default() -> Self {
        Event::new()
    }
}
