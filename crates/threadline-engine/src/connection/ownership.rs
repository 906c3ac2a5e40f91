//! The word that says which thread owns a connection.
//!
//! ```text
//!   Dead --admit--> Busy <--claim-- Idle          claim: only by the holder of the shard's lease
//!                    |  ^            ^            admit: likewise
//!     claim by the   |  |            |
//!     shard: data    |  | retain     | release (the owner, from any thread)
//!     came meanwhile v  |            |
//!                  Pending           |
//!                    Busy -----------+
//!                    Busy --bury--> Dead
//! ```
//!
//! A thread that lost its shard gives its connection back by one compare-and-swap, with no wake-up.
//! Only if the shard saw an edge for it meanwhile (`Pending`) does it hand it over by the inbox,
//! since with edge triggering that edge will not come again.

use crate::primitive::{AtomicU8, Ordering};

const DEAD: u8 = 0;
const IDLE: u8 = 1;
const BUSY: u8 = 2;
const PENDING: u8 = 3;

/// Who owns a connection.
#[derive(Debug)]
pub(crate) struct Ownership(AtomicU8);

/// What became of an attempt to claim a connection for an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Claimed {
    /// It is the caller's now.
    Yours,
    /// Another thread has it, and will hand it over because of this event.
    Noted,
    /// There is no such connection any more.
    Gone,
}

impl Ownership {
    pub(crate) fn dead() -> Self {
        Ownership(AtomicU8::new(DEAD))
    }

    /// Lease holder: the slot gets a new connection, which the caller owns.
    pub(crate) fn admit(&self) {
        debug_assert_eq!(self.0.load(Ordering::Relaxed), DEAD);
        self.0.store(BUSY, Ordering::Relaxed);
    }

    /// Lease holder: take the connection to serve an event, or leave a note that one came.
    pub(crate) fn claim(&self) -> Claimed {
        loop {
            // Acquire pairs with `release` and `bury`: sees what the last owner left.
            match self.0.load(Ordering::Acquire) {
                IDLE => {
                    // A plain store: nobody but the lease holder takes a connection out of Idle.
                    self.0.store(BUSY, Ordering::Relaxed);
                    return Claimed::Yours;
                }
                BUSY => {
                    let noted = self.0.compare_exchange(
                        BUSY,
                        PENDING,
                        Ordering::Relaxed,
                        Ordering::Relaxed,
                    );
                    if noted.is_ok() {
                        return Claimed::Noted;
                    }
                }
                PENDING => return Claimed::Noted,
                _ => return Claimed::Gone,
            }
        }
    }

    /// Owner: park the connection. False if an event came meanwhile: the caller still owns it.
    pub(crate) fn release(&self) -> bool {
        // Release publishes the connection's state to its next owner.
        let parked = self.0.compare_exchange(BUSY, IDLE, Ordering::Release, Ordering::Relaxed);
        if parked.is_err() {
            self.0.store(BUSY, Ordering::Relaxed);
        }
        parked.is_ok()
    }

    /// Owner that holds the lease: drop the note of an event, if there is one.
    pub(crate) fn retain(&self) {
        // Only the lease holder leaves notes, so none comes in between.
        self.0.store(BUSY, Ordering::Relaxed);
    }

    /// Owner that has held the lease all along, so that nobody can have left a note.
    pub(crate) fn release_with_lease(&self) {
        debug_assert_eq!(self.0.load(Ordering::Relaxed), BUSY);
        self.0.store(IDLE, Ordering::Release);
    }

    /// Owner: the connection has ended; the slot can be used again.
    pub(crate) fn bury(&self) {
        self.0.store(DEAD, Ordering::Release);
    }

    /// Anybody: whether it is parked at this moment.
    pub(crate) fn is_idle(&self) -> bool {
        self.0.load(Ordering::Relaxed) == IDLE
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_note_keeps_the_connection_with_its_owner() {
        let word = Ownership::dead();
        assert_eq!(word.claim(), Claimed::Gone);
        word.admit();
        assert_eq!(word.claim(), Claimed::Noted);
        assert_eq!(word.claim(), Claimed::Noted);
        assert!(!word.release(), "an event came");
        assert!(word.release(), "and was taken note of");
        assert_eq!(word.claim(), Claimed::Yours);
        word.bury();
        assert_eq!(word.claim(), Claimed::Gone);
    }
}

#[cfg(all(test, loom))]
mod model {
    use super::*;
    use loom::sync::Arc;
    use loom::sync::atomic::AtomicUsize;
    use loom::thread;

    /// A worker returns its connection while the shard sees an edge: whatever the order, somebody
    /// owns the connection afterwards and knows of the edge, and never both do.
    #[test]
    fn no_edge_is_lost_when_a_worker_returns_its_connection() {
        loom::model(|| {
            let shared = Arc::new((Ownership::dead(), AtomicUsize::new(0)));
            shared.0.admit();
            let worker = {
                let shared = Arc::clone(&shared);
                thread::spawn(move || {
                    shared.1.store(1, Ordering::Relaxed);
                    shared.0.release()
                })
            };
            let claimed = shared.0.claim();
            if claimed == Claimed::Yours {
                assert_eq!(shared.1.load(Ordering::Relaxed), 1, "saw a half-written connection");
            }
            let parked = worker.join().expect("worker");
            match claimed {
                Claimed::Yours => assert!(parked),
                Claimed::Noted => assert!(!parked, "the edge was lost"),
                Claimed::Gone => unreachable!("the connection lives"),
            }
        });
    }

    /// Two edges and a return: the second note does not undo the first.
    #[test]
    fn two_edges_count_once() {
        loom::model(|| {
            let word = Arc::new(Ownership::dead());
            word.admit();
            let worker = {
                let word = Arc::clone(&word);
                thread::spawn(move || word.release())
            };
            let first = word.claim();
            let second = if first == Claimed::Noted { Some(word.claim()) } else { None };
            let parked = worker.join().expect("worker");
            match (first, second) {
                (Claimed::Yours, _) => assert!(parked),
                // The worker saw the first note and took the connection on; or it saw the note,
                // kept the connection, and the second edge was noted for it once more.
                (Claimed::Noted, Some(second)) => {
                    assert!(!parked);
                    assert_eq!(second, Claimed::Noted);
                }
                other => unreachable!("{other:?}"),
            }
        });
    }
}
