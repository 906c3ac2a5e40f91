//! Runs the user's code so that a panic goes no further.
//!
//! Jobs, hooks, and the drop of jobs that never ran all go through here. The panic hook has
//! reported the panic by the time it is caught; the caller counts it. Must never be used under a
//! lock: what runs here may do anything, also call the pool.

use std::panic::{AssertUnwindSafe, catch_unwind};

/// How a piece of the user's code ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    Returned,
    Panicked,
}

pub(crate) fn run(code: impl FnOnce()) -> Outcome {
    // Nothing of ours is shared with the code, so none of our state can be left broken by it.
    match catch_unwind(AssertUnwindSafe(code)) {
        Ok(()) => Outcome::Returned,
        Err(payload) => {
            // What was thrown may throw again when it is dropped. Then it is leaked, not dropped.
            if let Err(second) = catch_unwind(AssertUnwindSafe(|| drop(payload))) {
                std::mem::forget(second);
            }
            Outcome::Panicked
        }
    }
}
