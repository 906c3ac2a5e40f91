//! User values that the scheduler keeps: the jobs' closures, and its clock.
//!
//! Their destructors are the user's code: they may panic, or call the scheduler. Here the panic goes no
//! further and is counted, so that it costs no other job and ends no thread, whoever drops the value. Must
//! not be dropped under a lock.

use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::contained::{self, Outcome};

pub(super) struct Held<T> {
    /// None only while it is dropped.
    value: Option<T>,
    panics: Arc<Panics>,
}

impl<T> Held<T> {
    pub(super) fn new(value: T, panics: &Arc<Panics>) -> Self {
        Held { value: Some(value), panics: Arc::clone(panics) }
    }
}

impl<T> Deref for Held<T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.value.as_ref().unwrap_or_else(|| unreachable!("taken by the drop alone"))
    }
}

impl<T: Clone> Clone for Held<T> {
    fn clone(&self) -> Self {
        Held { value: self.value.clone(), panics: Arc::clone(&self.panics) }
    }
}

impl<T> Drop for Held<T> {
    fn drop(&mut self) {
        let value = self.value.take();
        self.panics.contain(|| drop(value));
    }
}

/// How many panics a scheduler has contained, those of runs left out.
#[derive(Default)]
pub(super) struct Panics(AtomicU64);

impl Panics {
    /// Runs code of the user's, or of ours that should not panic.
    pub(super) fn contain(&self, code: impl FnOnce()) -> Outcome {
        let outcome = contained::run(code);
        if outcome == Outcome::Panicked {
            self.add(1);
        }
        outcome
    }

    pub(super) fn add(&self, count: u64) {
        self.0.fetch_add(count, Relaxed);
    }

    pub(super) fn read(&self) -> u64 {
        self.0.load(Relaxed)
    }
}
