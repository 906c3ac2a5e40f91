//! Where one thread sleeps, so that whoever wakes it chooses whom.
//!
//! Used by the roster for idle threads and by the lobby for blocked submitters. A call is a flag beside
//! the waking: to be woken alone may come too early, too late or from somebody else, a flag stays until
//! its owner looked.
//!
//! It sleeps by parking, with the pool's lock let go before, and not at a condition variable, which lets
//! go of the lock by itself: there would be no looking for mail in between.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use crate::parker::Parker;
use crate::primitive::Waited;

/// Belongs to the thread that sleeps; the roster or the lobby has a second handle while it does.
pub(crate) struct Sleeper {
    parker: Parker,
    /// It was called and is under way. Written and read under the pool's lock only; atomic because
    /// it is shared, relaxed because the lock orders it.
    called: AtomicBool,
}

impl Sleeper {
    /// For a thread that is yet to be started, and says later [that it is this one](Sleeper::is_me).
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Sleeper { parker: Parker::default(), called: AtomicBool::new(false) })
    }

    /// For the calling thread.
    pub(crate) fn of_this_thread() -> Arc<Self> {
        let sleeper = Sleeper::new();
        sleeper.is_me();
        sleeper
    }

    /// By the thread itself, before it takes the pool's lock for the first time.
    pub(crate) fn is_me(&self) {
        self.parker.is_mine();
    }

    /// Marks it as called. Whoever does this wakes it, once the lock is let go.
    pub(crate) fn call(&self) {
        self.called.store(true, Ordering::Relaxed);
    }

    /// Whether it was called since it lay down. Answers yes once.
    pub(crate) fn take_call(&self) -> bool {
        let called = self.called.load(Ordering::Relaxed);
        self.called.store(false, Ordering::Relaxed);
        called
    }

    /// Makes the thread check its flag and the pool's state again. A thread that does not run yet checks
    /// before it sleeps: it takes the lock after the caller has released it.
    pub(crate) fn wake(&self) {
        self.parker.unpark();
    }

    /// By the thread itself, without the pool's lock. May end early, and for no reason.
    pub(crate) fn sleep(&self, deadline: Option<Instant>) -> Waited {
        self.parker.park_until(deadline)
    }
}
