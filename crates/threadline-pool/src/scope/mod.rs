//! [`ThreadPool::scope`]: jobs that borrow from the caller, all ended when the call returns.
//!
//! Each job is in a cell (`cells.rs`), and the pool's queue has a job for each cell which borrows nothing.
//! The caller runs what no thread has begun, so that a scope ends with any number of threads, whatever
//! they are doing. `README.md` beside this file has the protocol.
//!
//! The pool's one line of `unsafe` is here: a thread of a pool lives as long as it likes, and the compiler
//! cannot see that the caller waits.
#![allow(unsafe_code)]

mod cells;
#[cfg(all(test, loom))]
mod model;

use std::fmt;
use std::marker::PhantomData;
use std::mem;
use std::process;
use std::sync::Arc;

use crate::ThreadPool;
use crate::contained::{self, Payload};
use crate::queue::Position;
use crate::shared::{Shared, Withdrawal};
use cells::{Cells, Job};

/// Spawns jobs that borrow. Made by [`ThreadPool::scope`].
///
/// ```
/// use std::sync::atomic::{AtomicU32, Ordering};
/// use threadline_pool::{Scope, ThreadPool};
///
/// /// Counts the leaves of a tree, a job for each branch.
/// fn count<'s>(scope: &Scope<'s>, depth: u32, leaves: &'s AtomicU32) {
///     if depth == 0 {
///         leaves.fetch_add(1, Ordering::Relaxed);
///         return;
///     }
///     for _ in 0..2 {
///         scope.spawn(move |scope| count(scope, depth - 1, leaves));
///     }
/// }
///
/// let pool = ThreadPool::builder().threads_max(2).build()?;
/// let leaves = AtomicU32::new(0);
/// pool.scope(|scope| count(scope, 5, &leaves));
/// assert_eq!(leaves.into_inner(), 32);
/// # Ok::<(), std::io::Error>(())
/// ```
pub struct Scope<'scope> {
    common: Arc<Common>,
    /// Invariant in `'scope`: it may be neither longer nor shorter than what the jobs borrow.
    jobs: PhantomData<fn(&'scope ()) -> &'scope ()>,
}

/// What a scope and its jobs share.
struct Common {
    pool: Arc<Shared>,
    cells: Cells,
}

impl ThreadPool {
    /// Runs `body`, which may spawn jobs that borrow from the caller, and returns when all have ended.
    ///
    /// The jobs wait in the pool's queue and run on its threads. When `body` has returned, the caller runs
    /// those that no thread has begun, and waits for the others. So a scope ends on any thread, of this pool
    /// or not, however busy the pool is, also within a job of a pool with one thread, or if the pool is shut
    /// down. Jobs that the queue has no room for are left to the caller, whatever
    /// [`Builder::when_full`](crate::Builder::when_full) says ([`Stats::rejected`](crate::Stats::rejected)
    /// counts them); the queue's bound is no bound for the number of a scope's jobs.
    ///
    /// A job may spawn further ones through the [`Scope`] it is given. The order in which jobs run is not
    /// specified. The caller may run any job of the scope after `body`, so do not hold a lock meanwhile that
    /// jobs take, and do not let a job wait for another one to begin.
    ///
    /// Meant for jobs that block or take at least some 10 us: each passes through the pool's queue. To split
    /// one computation over all cores, use `rayon`.
    ///
    /// ```
    /// use threadline_pool::ThreadPool;
    ///
    /// let pool = ThreadPool::builder().threads_max(4).build()?;
    /// let mut squares = [0; 10];
    /// pool.scope(|scope| {
    ///     for (n, square) in squares.iter_mut().enumerate() {
    ///         scope.spawn(move |_| *square = n * n);
    ///     }
    /// });
    /// assert_eq!(squares[9], 81);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// # Panics
    /// If `body` or a job panics: when all jobs have ended, with the payload of the first panic. Other
    /// payloads, and the result of `body`, are dropped; panics of these drops are contained.
    pub fn scope<'scope, R>(&self, body: impl FnOnce(&Scope<'scope>) -> R) -> R {
        let common = Arc::new(Common { pool: Arc::clone(self.shared()), cells: Cells::new() });
        let scope = Scope { common, jobs: PhantomData };
        // Jobs may borrow from frames above this one, which must not be left before they have ended.
        let abort = AbortOnUnwind;
        let (result, panic) = match contained::catch(|| body(&scope)) {
            Ok(result) => (Some(result), None),
            Err(panic) => (None, Some(panic)),
        };
        let panic = scope.common.finish(panic);
        mem::forget(abort);
        match (result, panic) {
            (Some(result), None) => result,
            (result, Some(panic)) => {
                contained::run(|| drop(result));
                panic.resume()
            }
            (None, None) => unreachable!("a panic of the body is kept"),
        }
    }
}

impl<'scope> Scope<'scope> {
    /// Spawns a job that ends before the scope does. It is given the scope, to spawn others.
    pub fn spawn<F: FnOnce(&Scope<'scope>) + Send + 'scope>(&self, job: F) {
        let scope = Scope { common: Arc::clone(&self.common), jobs: PhantomData };
        let job: Box<dyn FnOnce() + Send + 'scope> = Box::new(move || job(&scope));
        // SAFETY: the two types differ in a lifetime only. The job is used as if it borrowed nothing, so
        // what it borrows must outlive it. That lives for `'scope`, which began before the call of
        // `ThreadPool::scope`, as it is a parameter of that call, and so ends after it. The call returns or
        // unwinds only after `Cells::finish`, or not at all: when every cell is empty and no job runs. A job
        // leaves its cell only to be run at once, which consumes it: what it captured has been dropped, also
        // if it panicked, before it counts as ended. No cell is filled later: spawning takes a `Scope`, which
        // only `body` and the jobs are lent.
        let job = unsafe { mem::transmute::<Box<dyn FnOnce() + Send + 'scope>, Job>(job) };
        self.common.spawn(job);
    }
}

impl Common {
    /// The pool's job does nothing if the cell is empty. If the pool refuses or drops it, the cell stays
    /// full, for the owner.
    fn spawn(self: &Arc<Self>, job: Job) {
        let number = self.cells.fill(job);
        let common = Arc::clone(self);
        if let Ok(Some(position)) = self.pool.submit_if_room(move || common.cells.run(number))
            && !self.cells.note(number, position)
        {
            // It ran already, here or there.
            self.pool.withdraw(position, Withdrawal::Cancelled);
        }
    }

    fn finish(&self, panic: Option<Payload>) -> Option<Payload> {
        self.cells.finish(panic, |job, position: Option<Position>| {
            let revoked =
                position.is_some_and(|at| self.pool.withdraw(at, Withdrawal::RunByCaller));
            let panic = contained::catch(job).err();
            if revoked {
                self.pool.ran_in_caller();
            }
            panic
        })
    }
}

impl fmt::Debug for Scope<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scope").field("jobs", &self.common.cells).finish()
    }
}

/// Against faults of this crate, not panics of jobs, which are all caught: a thread that unwinds out of a
/// frame from which others borrow would leave them dangling.
struct AbortOnUnwind;

impl Drop for AbortOnUnwind {
    fn drop(&mut self) {
        process::abort();
    }
}
