//! The packed word behind a lease: who may run the shard's loop right now.
//!
//! `sequence << 2 | state`. Only this file knows the layout. The protocol, its races and the
//! designs that lost are in `README.md` beside it.

use crate::primitive::{AtomicU64, Ordering, fence};

const STATE: u64 = 0b11;
const VACANT: u64 = 0;
const LOOPING: u64 = 1;
const POLLING: u64 = 2;
const LENT: u64 = 3;
const NEXT_SEQUENCE: u64 = 0b100;

/// State of a lease. All methods but [`Word::look`], [`Word::try_take`] and [`Word::try_fill`]
/// are for the holder.
#[derive(Debug)]
pub(crate) struct Word(AtomicU64);

/// What the word said at one moment. Names one particular loan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Snapshot(u64);

impl Snapshot {
    /// The holder runs user code: the lease can be taken.
    pub(crate) fn is_lent(self) -> bool {
        self.0 & STATE == LENT
    }

    /// The holder sleeps in the kernel, or is about to.
    pub(crate) fn is_polling(self) -> bool {
        self.0 & STATE == POLLING
    }

    /// Nobody holds the lease.
    #[cfg(test)]
    pub(crate) fn is_vacant(self) -> bool {
        self.0 & STATE == VACANT
    }
}

impl Word {
    pub(crate) fn vacant() -> Self {
        Word(AtomicU64::new(VACANT))
    }

    /// Anybody: what is going on? The fence pairs with those of [`Word::start_polling`] and
    /// [`Word::stop_polling`]: of a holder that goes to sleep and a thread that has left it
    /// something before this look, at least one sees the other.
    pub(crate) fn look(&self) -> Snapshot {
        fence(Ordering::SeqCst);
        Snapshot(self.0.load(Ordering::Relaxed))
    }

    /// Anybody: become the holder of a vacant lease.
    pub(crate) fn try_fill(&self) -> bool {
        let now = self.0.load(Ordering::Relaxed);
        // Acquire: sees what the last holder left (pairs with `vacate`).
        now & STATE == VACANT && self.exchange(now, (now & !STATE) | LOOPING, Ordering::Acquire)
    }

    /// Anybody: become the holder in place of one who is still in the very loan that `seen` names.
    pub(crate) fn try_take(&self, seen: Snapshot) -> bool {
        // Acquire pairs with the Release in `lend`: the taker sees the shard as it was left.
        // The new sequence number makes the old holder's `try_take_back` fail for good.
        let taken = (seen.0 & !STATE).wrapping_add(NEXT_SEQUENCE) | LOOPING;
        seen.is_lent() && self.exchange(seen.0, taken, Ordering::Acquire)
    }

    /// Holder: let others take the lease. Returns what names this loan.
    pub(crate) fn lend(&self) -> Snapshot {
        // Relaxed: nobody but the holder has changed the word since it got the lease.
        let now = self.0.load(Ordering::Relaxed);
        let lent = (now & !STATE).wrapping_add(NEXT_SEQUENCE) | LENT;
        // Release publishes all that the holder did to the shard. A plain store on x86.
        self.0.store(lent, Ordering::Release);
        Snapshot(lent)
    }

    /// Former holder: get the lease back, unless somebody took it.
    pub(crate) fn try_take_back(&self, loan: Snapshot) -> bool {
        // Relaxed would do, since nobody else touched the shard if this succeeds; Acquire costs
        // nothing on x86 and keeps the argument short.
        self.exchange(loan.0, (loan.0 & !STATE) | LOOPING, Ordering::Acquire)
    }

    /// Holder: from now on others must wake the poll to be heard.
    pub(crate) fn start_polling(&self) {
        let now = self.0.load(Ordering::Relaxed);
        self.0.store((now & !STATE) | POLLING, Ordering::Relaxed);
        // What the holder looks at from here on was written before a `look` that missed the store.
        fence(Ordering::SeqCst);
    }

    /// Holder: awake again.
    pub(crate) fn stop_polling(&self) {
        let now = self.0.load(Ordering::Relaxed);
        self.0.store((now & !STATE) | LOOPING, Ordering::Relaxed);
        fence(Ordering::SeqCst);
    }

    /// Holder: give the lease up.
    pub(crate) fn vacate(&self) {
        let now = self.0.load(Ordering::Relaxed);
        self.0.store((now & !STATE) | VACANT, Ordering::Release);
    }

    fn exchange(&self, from: u64, to: u64, success: Ordering) -> bool {
        self.0.compare_exchange(from, to, success, Ordering::Relaxed).is_ok()
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    const STATES: [u64; 4] = [VACANT, LOOPING, POLLING, LENT];

    fn value(sequence: u64, state: u64) -> u64 {
        sequence << 2 | state
    }

    fn word(sequence: u64, state: u64) -> Word {
        Word(AtomicU64::new(value(sequence, state)))
    }

    fn now(word: &Word) -> u64 {
        word.look().0
    }

    #[test]
    fn a_look_tells_the_states_apart_whatever_the_sequence() {
        for sequence in [0, 1, 2, 3, 1 << 61] {
            for state in STATES {
                let seen = word(sequence, state).look();
                assert_eq!(seen.0, value(sequence, state));
                let told = (seen.is_vacant(), seen.is_polling(), seen.is_lent());
                assert_eq!(told, (state == VACANT, state == POLLING, state == LENT), "{seen:?}");
            }
        }
        assert_eq!(now(&Word::vacant()), value(0, VACANT));
    }

    #[test]
    fn only_a_vacant_lease_is_filled_and_keeps_its_sequence() {
        for state in STATES {
            let word = word(5, state);
            assert_eq!(word.try_fill(), state == VACANT);
            let expected = if state == VACANT { LOOPING } else { state };
            assert_eq!(now(&word), value(5, expected));
            assert!(!word.try_fill(), "it is no longer vacant");
        }
    }

    #[test]
    fn each_loan_has_a_sequence_of_its_own() {
        let word = word(5, LOOPING);
        let first = word.lend();
        assert_eq!((first.0, now(&word)), (value(6, LENT), value(6, LENT)));
        assert!(word.try_take_back(first));
        assert_eq!(now(&word), value(6, LOOPING));
        assert!(!word.try_take_back(first), "it has been taken back");
        let second = word.lend();
        assert_eq!(second.0, value(7, LENT));
        assert!(!word.try_take_back(first) && !word.try_take(first), "another loan");
        assert_eq!(now(&word), value(7, LENT));
    }

    #[test]
    fn a_taken_lease_cannot_be_taken_back_or_again() {
        let word = word(5, LOOPING);
        let loan = word.lend();
        assert!(word.try_take(loan));
        assert_eq!(now(&word), value(7, LOOPING));
        assert!(!word.try_take_back(loan) && !word.try_take(loan));
        // Not even if it is lent again.
        let again = word.lend();
        assert_eq!(again.0, value(8, LENT));
        assert!(!word.try_take_back(loan) && !word.try_take(loan));
    }

    #[test]
    fn only_what_is_lent_is_taken() {
        for state in [VACANT, LOOPING, POLLING] {
            let word = word(5, state);
            assert!(!word.try_take(word.look()), "state {state}");
            assert_eq!(now(&word), value(5, state));
        }
    }

    #[test]
    fn polling_and_giving_up_keep_the_sequence() {
        let word = word(5, LOOPING);
        word.start_polling();
        assert_eq!(now(&word), value(5, POLLING));
        word.stop_polling();
        assert_eq!(now(&word), value(5, LOOPING));
        word.vacate();
        assert_eq!(now(&word), value(5, VACANT));
        assert!(word.try_fill());
        assert_eq!(word.lend().0, value(6, LENT), "no loan has the number of an earlier one");
    }
}
