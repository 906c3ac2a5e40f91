//! Counters, by writer: the holders of one lock, or any thread.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Written under one lock only, which saves a read-modify-write.
#[derive(Default)]
pub(crate) struct LockedCounter(AtomicU64);

impl LockedCounter {
    pub(crate) fn increment(&self) {
        self.add(1);
    }

    pub(crate) fn add(&self, n: usize) {
        self.0.store(self.0.load(Relaxed) + n as u64, Relaxed);
    }

    pub(crate) fn read(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// May be written by any thread, without a lock.
#[derive(Default)]
pub(crate) struct SharedCounter(AtomicU64);

impl SharedCounter {
    pub(crate) fn increment(&self) {
        self.0.fetch_add(1, Relaxed);
    }

    pub(crate) fn read(&self) -> u64 {
        self.0.load(Relaxed)
    }
}
