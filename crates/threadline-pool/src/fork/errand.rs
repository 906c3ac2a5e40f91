//! Work whose type and lifetime are forgotten, so that it fits into a deque and another thread may do
//! it while its owner's stack frame waits.
//!
//! All the `unsafe` of this crate is here and in one line of `scope.rs`. It is here because borrowing
//! jobs cannot be had without: a thread of the pool lives as long as it likes, and the compiler cannot
//! see that whoever forks waits. Both halves of a [`lend`] stay on the stack: boxing them instead
//! made a fork and its join three times as dear, where rayon is the measure.
#![allow(unsafe_code)]

use std::cell::UnsafeCell;
use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process;
use std::sync::Arc;
use std::thread;

use super::latch::{Bell, Latch};

/// Something to be done once, by whichever thread. It must be [`run`](Errand::run), or handed back to
/// where it came from: dropped, it is forgotten, and whoever waits for it waits for ever.
pub(super) struct Errand {
    subject: *const (),
    /// Called at most once, with `subject`. Never unwinds.
    action: unsafe fn(*const ()),
}

// SAFETY: both constructors take what is `Send`: a `Half` whose job and result are, or a boxed closure
// that is.
unsafe impl Send for Errand {}

impl Errand {
    /// A job that owns itself. It must not panic: the process is aborted then.
    ///
    /// # Safety
    /// Nothing the job borrows may end before it has run.
    pub(super) unsafe fn boxed<'a, F: FnOnce() + Send + 'a>(job: F) -> Errand {
        Errand { subject: Box::into_raw(Box::new(job)).cast_const().cast(), action: run_boxed::<F> }
    }

    pub(super) fn run(self) {
        // SAFETY: whoever made it has seen to it that `subject` is what `action` expects and is still
        // there; `self` is consumed and cannot be cloned, so this happens once.
        unsafe { (self.action)(self.subject) }
    }
}

/// # Safety
/// `subject` must come from `Box::<F>::into_raw` and not be used again.
unsafe fn run_boxed<F: FnOnce()>(subject: *const ()) {
    // SAFETY: as this function's own.
    let job = unsafe { Box::from_raw(subject.cast_mut().cast::<F>()) };
    let abort = AbortOnUnwind;
    job();
    mem::forget(abort);
}

/// What became of an errand that was lent out.
pub(super) enum Fate {
    /// Here it is, not run.
    Back(Errand),
    /// Another thread, or this one, has run it: its latch is set.
    Done,
}

/// How the two halves ended.
pub(super) type Ends<A, B> = (thread::Result<A>, Option<thread::Result<B>>);

/// What [`lend`] lends out, as seen by its owner.
pub(super) struct Lent<'a> {
    /// Set when the errand has been run, and the bell is rung for it.
    pub(super) latch: &'a Latch,
    subject: *const (),
}

impl Lent<'_> {
    pub(super) fn is(&self, errand: &Errand) -> bool {
        errand.subject == self.subject
    }
}

/// Lends `second` out as an errand, runs `first`, then asks `reclaim` what became of the errand; if it
/// came back, it is run here, unless `first` panicked: then there is no second result.
///
/// `reclaim` answers only when it has the errand itself, or the latch is set. If it panics, or answers
/// before, the process is aborted.
#[inline]
pub(super) fn lend<A, B: Send>(
    bell: &Arc<Bell>,
    first: impl FnOnce() -> A,
    second: impl FnOnce() -> B + Send,
    push: impl FnOnce(Errand),
    reclaim: impl FnOnce(Lent<'_>) -> Fate,
) -> Ends<A, B> {
    let half = Half {
        latch: Latch::new(),
        bell,
        job: UnsafeCell::new(Some(second)),
        result: UnsafeCell::new(None),
    };
    // From here to the errand's end this frame must not be left, not even by a panic.
    let abort = AbortOnUnwind;
    push(half.errand());
    let first = catch_unwind(AssertUnwindSafe(first));
    let fate = reclaim(half.lent());
    match &fate {
        Fate::Back(errand) => assert!(half.lent().is(errand), "the errand is out still"),
        Fate::Done => assert!(half.latch.is_set(), "the errand has not been run"),
    }
    mem::forget(abort);
    // Nobody else knows of the half any more: its errand is consumed or in `fate`.
    let Half { job, result, .. } = half;
    match fate {
        Fate::Done => (first, result.into_inner()),
        Fate::Back(_) if first.is_err() => (first, None),
        Fate::Back(_) => {
            let second = job.into_inner().map(|job| catch_unwind(AssertUnwindSafe(job)));
            (first, second)
        }
    }
}

/// One half of a join, on the stack of whoever forks.
struct Half<'a, F, R> {
    latch: Latch,
    /// Wakes its owner.
    bell: &'a Arc<Bell>,
    /// Belongs to who runs the errand; to the owner when there is none any more.
    job: UnsafeCell<Option<F>>,
    /// The same, and to the owner as soon as the latch is set.
    result: UnsafeCell<Option<thread::Result<R>>>,
}

impl<F: FnOnce() -> R + Send, R: Send> Half<'_, F, R> {
    /// To be called once, by [`lend`], which keeps the half where it is until the errand is gone.
    fn errand(&self) -> Errand {
        Errand { subject: (&raw const *self).cast(), action: run_half::<F, R> }
    }

    fn lent(&self) -> Lent<'_> {
        Lent { latch: &self.latch, subject: (&raw const *self).cast() }
    }
}

/// # Safety
/// `subject` must be a `Half<F, R>` that stays where it is until its latch is set, and whose errand is
/// the one being run.
unsafe fn run_half<F: FnOnce() -> R, R>(subject: *const ()) {
    // SAFETY: as this function's own. The owner touches neither cell before the latch is set.
    let half = unsafe { &*subject.cast::<Half<'_, F, R>>() };
    // The half is gone as soon as the latch is set, and its owner's bell perhaps with it.
    let bell = Arc::clone(half.bell);
    // SAFETY: whoever runs the errand is the only one at the cells.
    let job = unsafe { (*half.job.get()).take() };
    let result = job.map(|job| catch_unwind(AssertUnwindSafe(job)));
    // SAFETY: the same.
    unsafe { *half.result.get() = result };
    if half.latch.set() {
        bell.ring();
    }
}

/// A thread that unwinds out of a frame others hold pointers to would leave them dangling.
struct AbortOnUnwind;

impl Drop for AbortOnUnwind {
    fn drop(&mut self) {
        process::abort();
    }
}
