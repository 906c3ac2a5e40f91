//! Wakes the monitor, which sleeps while no shard runs.
//!
//! Loop threads ring it, and pay a load for that as long as the monitor is awake. It is a file of its own
//! because shards know the bell and the monitor knows the shards.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, Thread};
use std::time::Duration;

/// Wakes the monitor.
#[derive(Debug, Default)]
pub(crate) struct Bell {
    asleep: AtomicBool,
    monitor: OnceLock<Thread>,
}

impl Bell {
    /// To be called by a loop thread that has just stopped polling. A load, as long as the monitor
    /// is awake. The fence at the end of a poll pairs with the one in the monitor's look: of a
    /// monitor that goes to sleep and a thread that starts to run, at least one sees the other.
    pub(crate) fn ring(&self) {
        if self.asleep.load(Ordering::Relaxed) && self.asleep.swap(false, Ordering::Relaxed) {
            self.wake();
        }
    }

    /// Wakes the monitor whether or not it needs it, for the engine's end.
    pub(crate) fn wake(&self) {
        if let Some(monitor) = self.monitor.get() {
            monitor.unpark();
        }
    }

    /// The calling thread is the monitor: it is the one to wake.
    pub(crate) fn belongs_to_this_thread(&self) {
        let _ = self.monitor.set(thread::current());
    }

    /// Puts the monitor to sleep until the bell rings, for `longest` at most. `is_quiet` looks at the shards
    /// once loop threads can see that they have to ring: if one runs already, there is no sleep.
    pub(crate) fn sleep(&self, longest: Duration, is_quiet: impl FnOnce() -> bool) {
        self.asleep.store(true, Ordering::Relaxed);
        if is_quiet() {
            thread::park_timeout(longest);
        }
        self.asleep.store(false, Ordering::Relaxed);
    }
}
