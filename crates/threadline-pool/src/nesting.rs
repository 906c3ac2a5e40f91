//! Limits how deep jobs that run in their submitters are nested on a thread.
//!
//! A job that its submitter runs may submit another one, run that too if the queue is still full, and so on
//! until the stack overflows. `shared/submit.rs` asks here before it runs one.

use std::cell::Cell;

use crate::primitive::thread_local;

/// The greatest nesting depth of jobs that run in their submitters, on one thread. Each of them takes
/// stack, and a thread has 2 MB by default.
const NESTING_MAX: usize = 32;

thread_local! {
    // loom's macro knows no `const` initialiser.
    #[allow(clippy::missing_const_for_thread_local)]
    static NESTED: Cell<usize> = Cell::new(0);
}

/// One more job is run in its submitter on this thread, for as long as this lives.
pub(crate) struct Nesting;

impl Nesting {
    /// `None` if there are too many already.
    pub(crate) fn enter() -> Option<Self> {
        NESTED.with(|nested| {
            let allowed = nested.get() < NESTING_MAX;
            allowed.then(|| {
                nested.set(nested.get() + 1);
                Nesting
            })
        })
    }
}

impl Drop for Nesting {
    fn drop(&mut self) {
        NESTED.with(|nested| nested.set(nested.get() - 1));
    }
}
