//! A thing that happens once, and the bell of the one thread that waits for it.
//!
//! The word of a [`Latch`] goes from open to set, or from open over awaited to set. Who sets it learns
//! whether its owner may be asleep, and rings the owner's bell only then: in a fork that nobody took
//! part in, neither side makes a system call. The latch may be gone as soon as it is set, for its owner
//! goes on; so the bell is not part of it and outlives it.

use crate::blocking::about_to_block;
use crate::primitive::atomic::{AtomicU8, Ordering};
use crate::primitive::{self, Condvar, Mutex};

const OPEN: u8 = 0;
/// The owner sleeps, or is about to.
const AWAITED: u8 = 1;
const SET: u8 = 2;

pub(super) struct Latch(AtomicU8);

impl Latch {
    pub(super) fn new() -> Self {
        Latch(AtomicU8::new(OPEN))
    }

    /// Yes means that all that was done before it was set can be seen here.
    #[inline]
    pub(super) fn is_set(&self) -> bool {
        // Acquire: see `set`.
        self.0.load(Ordering::Acquire) == SET
    }

    /// The owner is going to sleep, and whoever sets the latch is to ring. False: it is set.
    pub(super) fn announce_wait(&self) -> bool {
        // Nothing is handed over by this; on failure, acquire as in `is_set`.
        let before = self.0.compare_exchange(OPEN, AWAITED, Ordering::Relaxed, Ordering::Acquire);
        before != Err(SET)
    }

    /// Sets it, and says whether the owner's bell has to be rung. The latch must not be touched
    /// afterwards.
    #[must_use = "an owner that sleeps must be woken"]
    pub(super) fn set(&self) -> bool {
        // Release: the result of the work belongs to the owner now. The swap is one step with the
        // owner's exchange: either this sees AWAITED and rings, or the owner sees SET and stays up.
        self.0.swap(SET, Ordering::Release) == AWAITED
    }
}

/// Where one thread sleeps while it waits for latches. A ring is not lost: it stays until it is heard.
pub(super) struct Bell {
    rung: Mutex<bool>,
    changed: Condvar,
}

impl Bell {
    pub(super) fn new() -> Self {
        Bell { rung: Mutex::new(false), changed: Condvar::new() }
    }

    pub(super) fn ring(&self) {
        *primitive::lock(&self.rung) = true;
        self.changed.notify_one();
    }

    /// Sleeps until it is rung, or not at all if it was since the last time.
    pub(super) fn sleep(&self) {
        about_to_block();
        let mut rung = primitive::lock(&self.rung);
        while !*rung {
            (rung, _) = primitive::wait_until(&self.rung, &self.changed, rung, None);
        }
        *rung = false;
    }
}

#[cfg(all(test, loom))]
mod model {
    use loom::sync::Arc;
    use loom::thread;

    use super::*;

    #[test]
    fn the_owner_wakes_whenever_the_latch_is_set() {
        loom::model(|| {
            let shared = Arc::new((Latch::new(), Bell::new()));
            let other = Arc::clone(&shared);
            let setter = thread::spawn(move || {
                if other.0.set() {
                    other.1.ring();
                }
            });
            while !shared.0.is_set() {
                if shared.0.announce_wait() {
                    shared.1.sleep();
                }
            }
            setter.join().expect("the setter");
        });
    }

    #[test]
    fn a_ring_for_another_reason_is_no_harm() {
        loom::model(|| {
            let shared = Arc::new((Latch::new(), Bell::new()));
            let (one, two) = (Arc::clone(&shared), Arc::clone(&shared));
            let setter = thread::spawn(move || {
                if one.0.set() {
                    one.1.ring();
                }
            });
            let waker = thread::spawn(move || two.1.ring());
            while !shared.0.is_set() {
                if shared.0.announce_wait() {
                    shared.1.sleep();
                }
            }
            setter.join().expect("the setter");
            waker.join().expect("the waker");
        });
    }
}
