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
//!
//!                             begin (a job of wait n, on any thread)
//!   Busy --queue--> Queued n ----------------------------------------> Busy
//!          (shard)      |      take back (shard)
//!                       +--------------------------------------------> Busy
//!   claim by the shard while queued: Noted n, which begins as Pending
//! ```
//!
//! A thread that lost its shard gives its connection back by one compare-and-swap, with no wake-up.
//! Only if the shard saw an edge for it meanwhile (`Pending`) does it hand it over by the inbox,
//! since with edge triggering that edge will not come again.
//!
//! A connection that waits for a thread has no owner: the job that begins and the shard that takes it back
//! contend for it by a compare-and-swap that names the wait. So the job of an earlier wait, which may still be in
//! a queue, cannot take the connection in a later one. The shard numbers the waits of all its connections, in 29
//! bits. A number is used again after 537 million waits, and a job leaves its queue soon after its wait has ended.

use crate::primitive::{AtomicU32, Ordering};

const DEAD: u32 = 0;
const IDLE: u32 = 1;
const BUSY: u32 = 2;
const PENDING: u32 = 3;
/// With the wait's number in the bits above the state, which are zero in the other states.
const QUEUED: u32 = 4;
const NOTED: u32 = 5;

const STATE_BITS: u32 = 3;
const STATE: u32 = (1 << STATE_BITS) - 1;

/// Who owns a connection.
#[derive(Debug)]
pub(crate) struct Ownership(AtomicU32);

/// One wait of a connection for a thread: the number that the shard has given it, in the bits where the word has it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Wait(u32);

impl Wait {
    /// The wait after this one.
    pub(crate) fn next(self) -> Wait {
        Wait(self.0.wrapping_add(1 << STATE_BITS))
    }
}

/// What became of an attempt to claim a connection for an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Claimed {
    /// It is the caller's now.
    Yours,
    /// Another thread has it, and will hand it over because of this event.
    Noted,
    /// It waits for a thread, which will hand it over because of this event, unless it is taken back.
    Queued(Wait),
    /// There is no such connection any more.
    Gone,
}

impl Ownership {
    pub(crate) fn dead() -> Self {
        Ownership(AtomicU32::new(DEAD))
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
                DEAD => return Claimed::Gone,
                queued => {
                    let wait = queued & !STATE;
                    let noted = self.0.compare_exchange(
                        queued,
                        wait | NOTED,
                        Ordering::Relaxed,
                        Ordering::Relaxed,
                    );
                    if noted.is_ok() {
                        return Claimed::Queued(Wait(wait));
                    }
                }
            }
        }
    }

    /// Owner that holds the lease: the connection begins a wait that has not been used before. From here on it
    /// belongs to the job that begins, or to the shard that takes it back.
    pub(crate) fn queue(&self, Wait(wait): Wait) {
        // Release publishes the connection's state to the job: pairs with `begin`.
        self.0.store(wait | QUEUED, Ordering::Release);
    }

    /// The job of that wait: becomes the owner. False if the shard has taken the connection back.
    pub(crate) fn begin(&self, wait: Wait) -> bool {
        self.leave_queue(wait, PENDING)
    }

    /// Lease holder: becomes the owner in place of the job. False if the job has begun. A note of an event is
    /// dropped.
    pub(crate) fn take_back(&self, wait: Wait) -> bool {
        self.leave_queue(wait, BUSY)
    }

    fn leave_queue(&self, Wait(wait): Wait, if_noted: u32) -> bool {
        let swap = |from, to| {
            // Acquire pairs with `queue`; a note in between is of the same release sequence.
            self.0.compare_exchange(wait | from, to, Ordering::Acquire, Ordering::Relaxed).is_ok()
        };
        // Notes are left and never taken away, so that the second attempt is the last.
        swap(QUEUED, BUSY) || swap(NOTED, if_noted)
    }

    /// Lease holder: the wait that it is in, if it waits for a thread at this moment.
    pub(crate) fn queued(&self) -> Option<Wait> {
        let word = self.0.load(Ordering::Relaxed);
        (word & STATE >= QUEUED).then_some(Wait(word & !STATE))
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
    fn a_queued_connection_is_had_once_and_in_its_own_wait() {
        let word = Ownership::dead();
        word.admit();
        assert_eq!(word.queued(), None);
        let first = Wait::default();
        word.queue(first);
        assert_eq!(word.queued(), Some(first));
        assert!(word.take_back(first));
        assert_eq!(word.queued(), None);
        let second = first.next();
        word.queue(second);
        assert!(!word.begin(first), "the job of the first wait comes late");
        assert_eq!(word.claim(), Claimed::Queued(second));
        assert_eq!(word.claim(), Claimed::Queued(second));
        assert!(!word.take_back(first));
        assert!(word.begin(second));
        assert!(!word.begin(second) && !word.take_back(second));
        assert!(!word.release(), "an event came");
        assert!(word.release());
    }

    #[test]
    fn after_the_last_wait_comes_the_first() {
        let last = Wait(!STATE);
        assert_eq!(last.next(), Wait::default());
        for wait in [last, last.next()] {
            let word = Ownership::dead();
            word.admit();
            word.queue(wait);
            assert_eq!(word.claim(), Claimed::Queued(wait));
            assert!(word.begin(wait));
        }
    }

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
                Claimed::Queued(_) | Claimed::Gone => unreachable!("the connection lives"),
            }
        });
    }

    /// The shard takes a connection back for its event while the job begins, and the job of an earlier wait
    /// comes late: exactly one of them has the connection, with what was left in it, and no edge is lost.
    #[test]
    fn a_queued_connection_has_one_owner_whoever_comes_first() {
        for takes_back in [false, true] {
            loom::model(move || {
                let shared = Arc::new((Ownership::dead(), AtomicUsize::new(0)));
                let (word, value) = (&shared.0, &shared.1);
                word.admit();
                let stale = Wait::default();
                word.queue(stale);
                assert!(word.take_back(stale));
                value.store(1, Ordering::Relaxed);
                let wait = stale.next();
                word.queue(wait);
                let job = |wait: Wait| {
                    let shared = Arc::clone(&shared);
                    thread::spawn(move || {
                        let begins = shared.0.begin(wait);
                        if begins {
                            assert_eq!(shared.1.load(Ordering::Relaxed), 1, "half-written");
                            shared.1.store(2, Ordering::Relaxed);
                            // Whether it was parked.
                            return Some(shared.0.release());
                        }
                        None
                    })
                };
                let (job, late) = (job(wait), job(stale));
                let claimed = word.claim();
                let taken_back = takes_back
                    && matches!(claimed, Claimed::Queued(queued) if word.take_back(queued));
                let (begun, late) = (job.join().expect("job"), late.join().expect("late job"));
                assert_eq!(late, None);
                assert_eq!(begun.is_none(), taken_back);
                match claimed {
                    Claimed::Queued(queued) => {
                        assert_eq!(queued, wait);
                        assert_ne!(begun, Some(true), "the edge was lost");
                    }
                    Claimed::Noted => assert_eq!(begun, Some(false), "the edge was lost"),
                    Claimed::Yours => {
                        assert_eq!(begun, Some(true));
                        assert_eq!(value.load(Ordering::Relaxed), 2);
                    }
                    Claimed::Gone => unreachable!("the connection lives"),
                }
            });
        }
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
