//! How deep jobs that are run in their submitters are nested on a thread.
//!
//! A job that its submitter runs may submit again, and if the queue is still full, run that one
//! too, and so on until the stack ends. `shared/submit.rs` asks here before it runs one.

use std::cell::Cell;

use crate::primitive::thread_local;

/// How deep jobs run in their submitters may be nested on one thread: each such job may submit the
/// next, and each takes stack, of which a thread has 2 MB by default.
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
