//! The lease: the right to run a shard's loop, which is lent out while user code runs.
//!
//! Types carry the protocol. A [`Lease`] is the only way to the shard's core; [`Lease::lend`] uses
//! it up, so that user code cannot run while the core is borrowed; a [`Loan`] turns back into a
//! lease only if nobody took it. See `README.md` for the protocol and its races.

mod word;

#[cfg(all(test, loom))]
mod model;

use std::cell::UnsafeCell;
use std::ops::{Deref, DerefMut};

pub(crate) use word::Snapshot;
use word::Word;

/// A value that exactly one thread at a time may use: the one that holds its lease.
#[derive(Debug)]
pub(crate) struct Leased<T> {
    word: Word,
    value: UnsafeCell<T>,
}

/// Exclusive access to the value. Not `Clone`; dropping it leaves the lease vacant.
#[derive(Debug)]
pub(crate) struct Lease<'s, T> {
    leased: &'s Leased<T>,
}

/// A lease that is lent out: its former holder's claim to get it back.
#[derive(Debug)]
#[must_use = "a loan is taken back when user code has returned"]
pub(crate) struct Loan<'s, T> {
    leased: &'s Leased<T>,
    loan: Snapshot,
}

#[allow(unsafe_code)] // the lease's cell
// SAFETY: the value is reached only through a `Lease`. The word hands out one lease at a time, and
// each hand-over (vacate/fill, lend/take, lend/take back) is a Release/Acquire pair, so threads use
// the value one after another; that is moving it between threads, for which `T: Send` is enough.
unsafe impl<T: Send> Sync for Leased<T> {}

impl<T> Leased<T> {
    /// A value whose lease is vacant.
    pub(crate) fn new(value: T) -> Self {
        Leased { word: Word::vacant(), value: UnsafeCell::new(value) }
    }

    /// What is going on right now.
    pub(crate) fn look(&self) -> Snapshot {
        self.word.look()
    }

    /// Takes the lease if nobody holds it.
    pub(crate) fn fill(&self) -> Option<Lease<'_, T>> {
        self.word.try_fill().then(|| Lease { leased: self })
    }

    /// Takes the lease if its holder is still in the loan that was seen.
    pub(crate) fn take(&self, seen: Snapshot) -> Option<Lease<'_, T>> {
        self.word.try_take(seen).then(|| Lease { leased: self })
    }
}

impl<'s, T> Lease<'s, T> {
    /// Lets others take the shard while user code runs. Costs a store.
    pub(crate) fn lend(self) -> Loan<'s, T> {
        let leased = self.leased;
        // The lease is not given up but lent: its drop must not run.
        std::mem::forget(self);
        Loan { leased, loan: leased.word.lend() }
    }

    /// Runs `wait` while others are told that this thread sleeps. `ready` is asked once they are,
    /// and `wait` learns from it whether it must not sleep.
    pub(crate) fn poll<R>(
        &mut self,
        ready: impl FnOnce() -> bool,
        wait: impl FnOnce(&mut T, bool) -> R,
    ) -> R {
        self.leased.word.start_polling();
        let sleep = !ready();
        let result = wait(self, sleep);
        self.leased.word.stop_polling();
        result
    }
}

impl<'s, T> Loan<'s, T> {
    /// The lease, unless somebody took it meanwhile. Costs a compare-and-swap.
    pub(crate) fn take_back(self) -> Option<Lease<'s, T>> {
        // Not `then_some`: a lease that is made and dropped would vacate somebody else's.
        self.leased.word.try_take_back(self.loan).then(|| Lease { leased: self.leased })
    }
}

impl<T> Deref for Lease<'_, T> {
    type Target = T;

    #[allow(unsafe_code)] // the lease's cell
    fn deref(&self) -> &T {
        // SAFETY: this lease is the only one (see `Sync` above), and `&self` rules out `deref_mut`.
        unsafe { &*self.leased.value.get() }
    }
}

impl<T> DerefMut for Lease<'_, T> {
    #[allow(unsafe_code)] // the lease's cell
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: this lease is the only one, and `&mut self` rules out any other borrow of it.
        unsafe { &mut *self.leased.value.get() }
    }
}

impl<T> Drop for Lease<'_, T> {
    fn drop(&mut self) {
        self.leased.word.vacate();
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_loan_is_taken_back_when_nobody_wanted_it() {
        let leased = Leased::new(1);
        let mut lease = leased.fill().expect("vacant");
        *lease += 1;
        let lease = lease.lend().take_back().expect("nobody took it");
        assert_eq!(*lease, 2);
        assert!(leased.fill().is_none(), "held");
    }

    #[test]
    fn a_taken_lease_does_not_come_back() {
        let leased = Leased::new(1);
        let loan = leased.fill().expect("vacant").lend();
        let taker = leased.take(leased.look()).expect("lent");
        assert!(loan.take_back().is_none());
        drop(taker);
        assert!(leased.look().is_vacant());
    }

    #[test]
    fn a_stale_look_takes_nothing() {
        let leased = Leased::new(());
        let loan = leased.fill().expect("vacant").lend();
        let seen = leased.look();
        let lease = loan.take_back().expect("nobody took it");
        assert!(leased.take(seen).is_none(), "not lent");
        let loan = lease.lend();
        assert!(leased.take(seen).is_none(), "another loan (ABA)");
        assert!(loan.take_back().is_some());
    }

    #[test]
    fn a_lease_cannot_be_taken_from_a_poll() {
        let leased = Leased::new(());
        let mut lease = leased.fill().expect("vacant");
        let seen = lease.poll(|| true, |(), sleep| (leased.look(), sleep));
        assert!(seen.0.is_polling() && !seen.1);
        assert!(leased.take(seen.0).is_none());
    }
}
