//! Any number of jobs that borrow from the caller, all ended when the scope is.
#![allow(unsafe_code)] // One line, see `Scope::spawn`.

use std::any::Any;
use std::fmt;
use std::marker::PhantomData;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::errand::Errand;
use super::latch::{Bell, Latch};
use super::member::Membership;
use crate::ThreadPool;
use crate::primitive::{self, Mutex};
use crate::shared::Shared;

/// Where jobs that borrow are spawned. Made by [`ThreadPool::scope`].
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
    tally: Arc<Tally>,
    /// Invariant in `'scope`: it may be neither longer nor shorter than what the jobs borrow.
    jobs: PhantomData<fn(&'scope ()) -> &'scope ()>,
}

/// What a scope and its jobs share.
struct Tally {
    shared: Arc<Shared>,
    /// Jobs that have not ended, and one for the scope's own function.
    pending: AtomicUsize,
    /// Set when nothing is pending.
    ended: Latch,
    /// Of the thread that waits for the end.
    bell: Arc<Bell>,
    /// The first panic of a job.
    panic: Mutex<Option<Box<dyn Any + Send>>>,
}

impl ThreadPool {
    /// Runs `body`, which may spawn jobs that borrow from the caller, and returns when all have ended.
    ///
    /// The jobs are run by threads of the pool and, once `body` has returned, by the caller. So it works
    /// on any thread, of this pool or not, however busy the pool is, with a single thread, and on a pool
    /// that is shut down. No more threads take part than the pool may have, the caller counted.
    ///
    /// A job may spawn further ones through the [`Scope`] it is given. In which order jobs run is not
    /// said. A thread that waits runs other forked work meanwhile, so do not hold a lock that jobs
    /// take. Jobs that block keep their thread, as all jobs do.
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
    /// If `body` or a job panics, when all jobs have ended: with the payload of `body`, or else of the
    /// job that panicked first.
    pub fn scope<'scope, R>(&self, body: impl FnOnce(&Scope<'scope>) -> R) -> R {
        let member = Membership::of_current(self.shared());
        let scope = Scope { tally: Tally::new(self.shared(), member.bell()), jobs: PhantomData };
        let result = catch_unwind(AssertUnwindSafe(|| body(&scope)));
        scope.tally.one_ended();
        // This frame is not left before: `wait_for` does not unwind, errands do not.
        member.wait_for(&scope.tally.ended);
        let panic = primitive::lock(&scope.tally.panic).take();
        match (result, panic) {
            (Ok(result), None) => result,
            (Err(panic), _) | (Ok(_), Some(panic)) => resume_unwind(panic),
        }
    }
}

impl<'scope> Scope<'scope> {
    /// Has a job run before the scope ends. It is given the scope, to spawn others.
    ///
    /// Costs an allocation and some ten nanoseconds.
    pub fn spawn<F: FnOnce(&Scope<'scope>) + Send + 'scope>(&self, job: F) {
        self.tally.pending.fetch_add(1, Ordering::Relaxed);
        let scope = Scope { tally: Arc::clone(&self.tally), jobs: PhantomData };
        let job = move || {
            if let Err(panic) = catch_unwind(AssertUnwindSafe(|| job(&scope))) {
                scope.tally.keep(panic);
            }
            scope.tally.one_ended();
        };
        // SAFETY: what the job borrows lives for `'scope`, which began before the call of
        // `ThreadPool::scope`, as that names it, and so ends after it. That call does not return
        // before `pending` is 0, also if its body panics; and the job's last act, when what it
        // captured of the user's is dropped, is to count itself out.
        let errand = unsafe { Errand::boxed(job) };
        Membership::of_current(&self.tally.shared).push(errand);
    }
}

impl fmt::Debug for Scope<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scope").field("pending", &self.tally.pending).finish_non_exhaustive()
    }
}

impl Tally {
    fn new(shared: &Arc<Shared>, bell: &Arc<Bell>) -> Arc<Self> {
        Arc::new(Tally {
            shared: Arc::clone(shared),
            pending: AtomicUsize::new(1),
            ended: Latch::new(),
            bell: Arc::clone(bell),
            panic: Mutex::new(None),
        })
    }

    fn one_ended(&self) {
        // Release: what the job wrote; acquire: what all others wrote, handed on by the latch.
        if self.pending.fetch_sub(1, Ordering::AcqRel) == 1 && self.ended.set() {
            self.bell.ring();
        }
    }

    /// The first counts. Others are dropped here, and may panic at that; then they are forgotten.
    fn keep(&self, panic: Box<dyn Any + Send>) {
        let mut kept = primitive::lock(&self.panic);
        if kept.is_none() {
            *kept = Some(panic);
            return;
        }
        drop(kept);
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| drop(panic))) {
            std::mem::forget(panic);
        }
    }
}
