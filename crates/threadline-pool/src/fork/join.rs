//! Two things at once, and both results.

use std::panic::resume_unwind;

use super::errand::{Fate, Lent, lend};
use super::member::{Member, Membership};
use crate::ThreadPool;

impl ThreadPool {
    /// Runs both functions, on two threads if one comes in time, and gives both results. They may borrow
    /// from the caller.
    ///
    /// The caller runs `first`, and `second` too if no thread of the pool has taken it by then. So it
    /// works on any thread, of this pool or not, however busy the pool is, with a single thread, and on
    /// a pool that is shut down. Joins may be nested: that is how work is split among all cores.
    /// No more threads take part than the pool may have, the caller counted.
    ///
    /// Meant for computing. While the caller waits for `second` to end elsewhere it runs other forked
    /// work, so neither function should hold a lock while it forks.
    ///
    /// A fork that nobody takes costs some ten nanoseconds: let each half be worth a microsecond.
    ///
    /// ```
    /// use threadline_pool::ThreadPool;
    ///
    /// fn sum(pool: &ThreadPool, numbers: &[u64]) -> u64 {
    ///     if numbers.len() < 1_000 {
    ///         return numbers.iter().sum();
    ///     }
    ///     let (left, right) = numbers.split_at(numbers.len() / 2);
    ///     let (left, right) = pool.join(|| sum(pool, left), || sum(pool, right));
    ///     left + right
    /// }
    ///
    /// let pool = ThreadPool::builder().threads_max(2).build()?;
    /// let numbers: Vec<u64> = (1..=100_000).collect();
    /// assert_eq!(sum(&pool, &numbers), 5_000_050_000);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// # Panics
    /// If one of them panics, with its payload, when both have ended; `second` may then not have been
    /// run. If both do, with the first's.
    #[inline]
    pub fn join<A, B: Send>(
        &self,
        first: impl FnOnce() -> A,
        second: impl FnOnce() -> B + Send,
    ) -> (A, B) {
        let member = Membership::of_current(self.shared());
        let push = |errand| member.push(errand);
        let ends = lend(member.bell(), first, second, push, |lent| reclaim(&member, &lent));
        match ends {
            (Ok(first), Some(Ok(second))) => (first, second),
            (Err(panic), _) | (_, Some(Err(panic))) => resume_unwind(panic),
            (Ok(_), None) => unreachable!("it is skipped only after a panic"),
        }
    }
}

/// Takes the errand back if nobody has taken it, or waits until it is run.
#[inline]
fn reclaim(member: &Member, lent: &Lent<'_>) -> Fate {
    while let Some(errand) = member.pop() {
        if lent.is(&errand) {
            return Fate::Back(errand);
        }
        // Left there by the first function, for a scope around this join.
        errand.run();
    }
    member.wait_for(lent.latch);
    Fate::Done
}
