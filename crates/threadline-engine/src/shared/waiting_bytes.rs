//! The budget of waiting bytes: memory that is held only because a peer is slow to send or to read.
//!
//! Request bodies that are being received and output that peers have not taken yet are counted here, by all
//! threads of an engine, from the moment they begin to wait. The budget itself ends nothing: a body for which
//! [`WaitingBytes::try_take`] has no room goes to a file; output cannot be refused any more when it waits, so
//! [`WaitingBytes::take`] may exceed the budget, and connections are closed until it is kept again
//! (`connection/relief.rs`). What does not wait, which is nearly everything, is never counted.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::Holders;

/// Less memory than this is not worth returning to the system: 8 MB.
const RELEASE_MIN: usize = 8 << 20;

/// How much of the budget is free when a relief ends: a part of that many. Without it, the next byte that waits
/// would need another relief.
const FREED: usize = 16;

/// The bytes that wait for peers of one engine, and how many may.
///
/// The number orders nothing else, so all accesses are relaxed.
#[derive(Debug)]
pub(crate) struct WaitingBytes {
    used: AtomicUsize,
    max: usize,
    /// For the bytes that several outputs share.
    pub(crate) holders: Arc<Holders>,
    /// Bytes that were given back since the allocator was last asked to return what is free.
    freed: AtomicUsize,
}

impl WaitingBytes {
    pub(crate) fn new(max: usize) -> Self {
        let (used, freed) = (AtomicUsize::new(0), AtomicUsize::new(0));
        WaitingBytes { used, max, holders: Arc::default(), freed }
    }

    /// The bytes that wait.
    pub(crate) fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }

    /// How many may wait.
    pub(crate) fn max(&self) -> usize {
        self.max
    }

    /// Counts bytes that begin to wait, if there is room for them. False, and nothing is counted, if not.
    #[must_use = "bytes that were not counted must not be given back"]
    pub(crate) fn try_take(&self, count: usize) -> bool {
        let add = |used: usize| used.checked_add(count).filter(|sum| *sum <= self.max);
        self.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, add).is_ok()
    }

    /// As [`WaitingBytes::try_take`], with an eighth more room: for a moment, until others have made room.
    #[must_use = "bytes that were not counted must not be given back"]
    pub(crate) fn try_exceed(&self, count: usize) -> bool {
        let max = self.max.saturating_add(self.max / 8);
        let add = |used: usize| used.checked_add(count).filter(|sum| *sum <= max);
        self.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, add).is_ok()
    }

    /// Counts bytes that begin to wait, whether or not there is room for them.
    pub(crate) fn take(&self, count: usize) {
        self.used.fetch_add(count, Ordering::Relaxed);
    }

    /// Counts bytes that were taken and do not wait any more.
    pub(crate) fn give_back(&self, count: usize) {
        let before = self.used.fetch_sub(count, Ordering::Relaxed);
        debug_assert!(before >= count, "more is given back than was taken");
    }

    /// Notes that so much was given back. True once it is worth returning to the system.
    pub(crate) fn note_freed(&self, count: usize) -> bool {
        let before = self.freed.fetch_add(count, Ordering::Relaxed);
        before < RELEASE_MIN && before.saturating_add(count) >= RELEASE_MIN
    }

    /// What is free is about to be returned to the system.
    pub(crate) fn begin_release(&self) {
        self.freed.store(0, Ordering::Relaxed);
    }

    /// How many bytes have to be freed once there are too many: then a part of the budget is free again.
    pub(crate) fn excess(&self) -> usize {
        self.used().saturating_sub(self.max - self.max / FREED)
    }

    /// Whether more wait than may.
    #[inline]
    pub(crate) fn is_over(&self) -> bool {
        self.used() > self.max
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn what_has_no_room_is_not_counted() {
        let waiting = WaitingBytes::new(10);
        assert!(waiting.try_take(10) && !waiting.is_over());
        assert!(!waiting.try_take(1) && waiting.try_take(0));
        assert!(!waiting.try_take(usize::MAX), "no overflow");
        assert_eq!((waiting.used(), waiting.max()), (10, 10));
        waiting.give_back(4);
        assert!(waiting.try_take(4));
    }

    #[test]
    fn memory_that_was_given_back_is_worth_a_release_once() {
        let waiting = WaitingBytes::new(10);
        assert!(!waiting.note_freed(RELEASE_MIN - 1));
        assert!(waiting.note_freed(1));
        assert!(!waiting.note_freed(RELEASE_MIN), "it is on its way");
        waiting.begin_release();
        assert!(waiting.note_freed(RELEASE_MIN));
    }

    #[test]
    fn what_waits_anyway_may_exceed_the_budget() {
        let waiting = WaitingBytes::new(10);
        waiting.take(11);
        assert!(waiting.is_over() && !waiting.try_take(0));
        waiting.give_back(1);
        assert!(waiting.try_take(0));
    }
}
