//! Jobs that were submitted, and withdrawn, while the pool's lock was taken.
//!
//! A thread that must not wait for the lock posts its job here, or the ticket of one that it withdraws, and
//! whoever lets go of the lock looks here afterwards. Letters come in without a lock and are taken out under the
//! pool's. `README.md` beside this file has the rules and why no letter is left lying.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::primitive::Injector;
use crate::queue::{Job, Position, Waiting};
use crate::times::Moment;

/// On a cache line of its own: written by posters, looked at by everybody.
#[repr(align(64))]
pub(crate) struct Mail {
    letters: Injector<Letter>,
    /// Number of the job that was posted last.
    number: AtomicU64,
}

/// What is posted.
pub(crate) enum Letter {
    /// A job for the queue.
    Job(Waiting),
    /// The job there is to be taken out of the queue.
    Withdraw(Position),
}

impl Mail {
    pub(crate) fn new() -> Self {
        Mail { letters: Injector::new(), number: AtomicU64::new(0) }
    }

    /// Posts a job. May be called from any thread, at any time.
    pub(crate) fn post(&self, job: Job, submitted: Moment) -> Position {
        // The numbers only have to differ.
        let number = self.number.fetch_add(1, Relaxed) + 1;
        self.letters.push(Letter::Job(Waiting::posted(job, submitted, number)));
        Position::Posted(number)
    }

    /// Posts that a job is withdrawn; its own letter, if it has one, was posted before. May be called from any
    /// thread, at any time.
    pub(crate) fn post_withdrawal(&self, position: Position) {
        self.letters.push(Letter::Withdraw(position));
    }

    /// The letter that was posted first. Under the pool's lock.
    pub(crate) fn take(&self) -> Option<Letter> {
        loop {
            let stolen = self.letters.steal();
            // Only one thread at a time takes, so that a retry has no rival to wait for.
            if !stolen.is_retry() {
                return stolen.success();
            }
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.letters.is_empty()
    }

    /// How many letters there are, which is at least the number of jobs.
    pub(crate) fn len(&self) -> usize {
        self.letters.len()
    }
}
