//! Which slots of a shard's slab have connections.
//!
//! The slots themselves are reached from other threads as well; which of them are taken is known to the holder
//! of the lease alone. Other threads send freed ones back as notes.

use std::ops::Range;

#[derive(Debug, Default)]
pub(super) struct Slots {
    /// Slots to use again; those from `fresh` on were never used.
    free: Vec<u32>,
    fresh: u32,
}

impl Slots {
    /// A slot for a new connection: the one that was freed last, whose memory is most likely still cached.
    pub(super) fn take(&mut self) -> u32 {
        self.free.pop().unwrap_or_else(|| {
            self.fresh += 1;
            self.fresh - 1
        })
    }

    /// The slot can be used again.
    pub(super) fn free(&mut self, index: u32) {
        self.free.push(index);
    }

    /// Whether one of `capacity` slots is free.
    pub(super) fn has_free(&self, capacity: u32) -> bool {
        !self.free.is_empty() || self.fresh < capacity
    }

    /// All that were ever used: every connection is in one of them.
    pub(super) fn used(&self) -> Range<u32> {
        0..self.fresh
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn freed_slots_are_used_before_new_ones() {
        let mut slots = Slots::default();
        assert_eq!((slots.take(), slots.take()), (0, 1));
        assert!(!slots.has_free(2));
        slots.free(0);
        assert!(slots.has_free(2));
        assert_eq!((slots.take(), slots.take()), (0, 2));
        assert_eq!(slots.used(), 0..3);
    }
}
