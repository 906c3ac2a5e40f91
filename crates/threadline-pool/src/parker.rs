//! Parking: a thread sleeps until another thread unparks it. An unpark that comes first is not lost.
//!
//! Uses std's parking, which takes no lock. Loom's version forgets an unpark of a thread that waits for a
//! lock; the model uses a flag and a condition variable instead.

use std::time::Instant;

use crate::primitive::Waited;

#[cfg(loom)]
pub(crate) use modelled::Parker;
#[cfg(not(loom))]
pub(crate) use real::Parker;

#[cfg(not(loom))]
mod real {
    use std::sync::OnceLock;
    use std::thread::{self, Thread};

    use super::{Instant, Waited};

    /// Belongs to one thread, which may be started later than its parker is made.
    #[derive(Default)]
    pub(crate) struct Parker(OnceLock<Thread>);

    impl Parker {
        /// By the thread itself, before it parks for the first time.
        pub(crate) fn is_mine(&self) {
            let _ = self.0.set(thread::current());
        }

        /// Has it go on, or not park the next time. Does nothing to a thread that is not there yet.
        pub(crate) fn unpark(&self) {
            if let Some(thread) = self.0.get() {
                thread.unpark();
            }
        }

        /// By the thread itself. May end early, and for no reason. `None` waits for ever.
        pub(crate) fn park_until(&self, deadline: Option<Instant>) -> Waited {
            let Some(deadline) = deadline else {
                thread::park();
                return Waited::Woken;
            };
            thread::park_timeout(deadline.saturating_duration_since(Instant::now()));
            if Instant::now() < deadline { Waited::Woken } else { Waited::TimedOut }
        }
    }
}

#[cfg(loom)]
mod modelled {
    use super::{Instant, Waited};
    use crate::primitive::{Condvar, Mutex, lock, wait_until};

    #[derive(Default)]
    pub(crate) struct Parker {
        unparked: Mutex<bool>,
        bell: Condvar,
    }

    impl Parker {
        pub(crate) fn is_mine(&self) {}

        pub(crate) fn unpark(&self) {
            *lock(&self.unparked) = true;
            self.bell.notify_one();
        }

        pub(crate) fn park_until(&self, deadline: Option<Instant>) -> Waited {
            let mut unparked = lock(&self.unparked);
            let mut waited = Waited::Woken;
            while !*unparked && waited == Waited::Woken {
                (unparked, waited) = wait_until(&self.unparked, &self.bell, unparked, deadline);
            }
            *unparked = false;
            waited
        }
    }
}
