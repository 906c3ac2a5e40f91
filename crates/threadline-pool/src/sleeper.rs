//! Where one thread sleeps: a bell of its own, so that whoever wakes it chooses whom.
//!
//! Used by the roster for idle threads and by the lobby for blocked submitters, always under the
//! pool's one lock. A call is a flag beside the bell: a ring alone may come too early or too late,
//! a flag stays until its owner looked.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::primitive::Condvar;

/// Belongs to the thread that sleeps; the roster or the lobby has a second handle while it does.
pub(crate) struct Sleeper {
    /// Rung by whoever called this thread, or closed the pool. Used with the pool's one lock.
    pub(crate) bell: Condvar,
    /// It was called and is under way. Written and read under the pool's lock only; atomic because
    /// it is shared, relaxed because the lock orders it.
    called: AtomicBool,
}

impl Sleeper {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Sleeper { bell: Condvar::new(), called: AtomicBool::new(false) })
    }

    /// Marks it as called. Whoever does this rings the bell, once the lock is let go.
    pub(crate) fn call(&self) {
        self.called.store(true, Ordering::Relaxed);
    }

    /// Whether it was called since it lay down. Answers yes once.
    pub(crate) fn take_call(&self) -> bool {
        let called = self.called.load(Ordering::Relaxed);
        self.called.store(false, Ordering::Relaxed);
        called
    }
}
