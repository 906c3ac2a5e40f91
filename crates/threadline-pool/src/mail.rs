//! Jobs that were submitted while the pool's lock was taken.
//!
//! A thread that must not wait for the lock posts its job here, and whoever lets go of the lock looks
//! here afterwards. Jobs come in without a lock and are taken out under the pool's. `README.md` beside
//! this file has the rules and why no job is left lying.

use crate::primitive::Injector;
use crate::queue::Waiting;

/// On a cache line of its own: written by posters, looked at by everybody.
#[repr(align(64))]
pub(crate) struct Mail {
    jobs: Injector<Waiting>,
}

impl Mail {
    pub(crate) fn new() -> Self {
        Mail { jobs: Injector::new() }
    }

    /// At any time, by anybody.
    pub(crate) fn post(&self, waiting: Waiting) {
        self.jobs.push(waiting);
    }

    /// The one that was posted first. Under the pool's lock.
    pub(crate) fn take(&self) -> Option<Waiting> {
        loop {
            let stolen = self.jobs.steal();
            // Only one thread at a time takes, so that a retry has no rival to wait for.
            if !stolen.is_retry() {
                return stolen.success();
            }
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.jobs.is_empty()
    }

    pub(crate) fn len(&self) -> usize {
        self.jobs.len()
    }
}
