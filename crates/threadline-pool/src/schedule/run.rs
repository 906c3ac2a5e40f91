//! One run of a job, from the scheduler's thread through the pool's queue to its end.
//!
//! Made by the driver and moved into the closure that the pool gets. However that closure ends (it
//! runs, panics, is given back, or is dropped in the queue), the driver is told exactly once.

use std::any::Any;
use std::cell::RefCell;
use std::mem::replace;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{Arc, OnceLock};

use super::driver::Shared;
use super::history::{Record, RunOutcome};
use super::plan::JobId;
use crate::RejectReason;
use crate::primitive::{Mutex, lock, thread_local};

/// What a job does.
#[derive(Clone)]
pub(super) enum Work {
    /// For one run, which takes it. Shared, for the pool may give a run back.
    Once(Arc<Mutex<Option<OnceJob>>>),
    Often(Arc<dyn Fn() + Send + Sync>),
}

type OnceJob = Box<dyn FnOnce() + Send>;

impl Work {
    pub(super) fn once(job: impl FnOnce() + Send + 'static) -> Self {
        Work::Once(Arc::new(Mutex::new(Some(Box::new(job)))))
    }

    pub(super) fn often(job: impl Fn() + Send + Sync + 'static) -> Self {
        Work::Often(Arc::new(job))
    }

    fn call(&self) {
        match self {
            Work::Once(job) => {
                let job = lock(job).take();
                if let Some(job) = job {
                    job();
                }
            }
            Work::Often(job) => job(),
        }
    }
}

pub(super) struct Run {
    shared: Arc<Shared>,
    id: JobId,
    record: Arc<Record>,
    work: Work,
    refusal: Refusal,
    /// False once the driver was told of the end.
    open: bool,
}

/// Set by the scheduler's thread if the pool gives the run back, before it is dropped: so the drop
/// knows it from one in the pool's queue.
type Refusal = Arc<OnceLock<RejectReason>>;

impl Run {
    pub(super) fn new(shared: Arc<Shared>, id: JobId, record: Arc<Record>, work: Work) -> Self {
        Run { shared, id, record, work, refusal: Refusal::default(), open: true }
    }

    pub(super) fn refusal(&self) -> Refusal {
        Arc::clone(&self.refusal)
    }

    /// On a thread of the pool. Panics as the job does, so that the pool counts it.
    pub(super) fn execute(mut self) {
        if !self.shared.may_begin(self.id) {
            return;
        }
        let began = self.shared.now();
        self.record.began(began.wall);
        let frame = Frame::enter(&self.shared);
        let result = catch_unwind(AssertUnwindSafe(|| self.work.call()));
        let excused = frame.leave();
        let ended = self.shared.now();
        let duration = ended.monotonic.saturating_duration_since(began.monotonic);
        let outcome = match &result {
            Ok(()) => RunOutcome::Ok,
            Err(payload) => RunOutcome::Panicked(message(payload.as_ref())),
        };
        self.open = false;
        self.record.ended(outcome.clone(), Some(duration));
        self.shared.run_ended(self.id, &outcome, excused);
        if let Err(payload) = result {
            resume_unwind(payload);
        }
    }
}

/// A run that never began.
impl Drop for Run {
    fn drop(&mut self) {
        if !self.open {
            return;
        }
        let refusal = self.refusal.get().copied();
        let outcome = refusal.map_or(RunOutcome::Cancelled, RunOutcome::Rejected);
        self.record.ended(outcome.clone(), None);
        self.shared.run_ended(self.id, &outcome, Excused::No);
    }
}

fn message(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<&str>().copied();
    let text = text.or_else(|| payload.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("with a value that is no text").chars().take(PANIC_CHARS_MAX).collect()
}

/// A history is kept as long as its job: what a panic may leave there is bounded.
const PANIC_CHARS_MAX: usize = 200;

/// Whether a run waits, or waited, for the shutdown of its own scheduler.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Excused {
    No,
    Yes,
}

thread_local! {
    /// The runs on this thread, the innermost last: a job that waits for another may run that one
    /// meanwhile. Each as the address of its scheduler, which it keeps alive.
    // loom's macro knows no `const` initialiser.
    #[allow(clippy::missing_const_for_thread_local)]
    static FRAMES: RefCell<Vec<(usize, Excused)>> = RefCell::new(Vec::new());
}

/// Marks the time of a run on its thread's stack.
struct Frame;

impl Frame {
    fn enter(shared: &Arc<Shared>) -> Self {
        FRAMES.with(|frames| frames.borrow_mut().push((address(shared), Excused::No)));
        Frame
    }

    fn leave(self) -> Excused {
        let left = FRAMES.with(|frames| frames.borrow_mut().pop());
        left.map_or(Excused::No, |(_, excused)| excused)
    }
}

/// Who waits for a scheduler's end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Waiter {
    Outside,
    /// Within runs of that scheduler; so many of them were not excused before.
    Inside {
        newly_excused: usize,
    },
}

/// Notes that the current thread waits for the end of this scheduler: the runs it is in cannot end
/// before.
pub(super) fn excuse(shared: &Arc<Shared>) -> Waiter {
    FRAMES.with(|frames| {
        let mut frames = frames.borrow_mut();
        let mine = frames.iter_mut().filter(|(scheduler, _)| *scheduler == address(shared));
        let before: Vec<_> = mine.map(|(_, excused)| replace(excused, Excused::Yes)).collect();
        if before.is_empty() {
            return Waiter::Outside;
        }
        let newly_excused = before.iter().filter(|excused| **excused == Excused::No).count();
        Waiter::Inside { newly_excused }
    })
}

fn address(shared: &Arc<Shared>) -> usize {
    Arc::as_ptr(shared).addr()
}
