//! One run of a job, from the scheduler's thread through the pool's queue to its end.
//!
//! Made by the driver and moved into the closure that the pool gets. However that closure ends (it
//! runs, panics, is given back, or is dropped in the queue), the driver is told exactly once.

use std::cell::RefCell;
use std::mem::replace;
use std::sync::{Arc, OnceLock};

use super::agenda::JobId;
use super::driver::Shared;
use super::held::{Held, Panics};
use super::history::{Record, RunOutcome};
use crate::RejectReason;
use crate::contained::{self, Payload};
use crate::primitive::{Mutex, lock, thread_local};

/// What a job does.
#[derive(Clone)]
pub(super) struct Work(Held<Kind>);

#[derive(Clone)]
enum Kind {
    /// For one run, which takes it. Shared, for the pool may give a run back.
    Once(Arc<Mutex<Option<OnceJob>>>),
    Often(Arc<dyn Fn() + Send + Sync>),
}

type OnceJob = Box<dyn FnOnce() + Send>;

impl Work {
    pub(super) fn once(job: impl FnOnce() + Send + 'static, panics: &Arc<Panics>) -> Self {
        Work(Held::new(Kind::Once(Arc::new(Mutex::new(Some(Box::new(job))))), panics))
    }

    pub(super) fn often(job: impl Fn() + Send + Sync + 'static, panics: &Arc<Panics>) -> Self {
        Work(Held::new(Kind::Often(Arc::new(job)), panics))
    }

    fn call(&self) {
        match &*self.0 {
            Kind::Once(job) => {
                let job = lock(job).take();
                if let Some(job) = job {
                    job();
                }
            }
            Kind::Often(job) => job(),
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
        enter(&self.shared);
        let result = contained::catch(|| self.work.call());
        let excused = leave();
        let ended = self.shared.now();
        let duration = ended.monotonic.saturating_duration_since(began.monotonic);
        let outcome = match &result {
            Ok(()) => RunOutcome::Ok,
            Err(payload) => RunOutcome::Panicked(message(payload)),
        };
        self.open = false;
        self.record.ended(outcome.clone(), Some(duration));
        self.shared.run_ended(self.id, &outcome, excused);
        if let Err(payload) = result {
            payload.resume();
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

fn message(payload: &Payload) -> String {
    let text = payload.message().unwrap_or("with a value that is no text");
    text.chars().take(PANIC_CHARS_MAX).collect()
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
    /// What this thread is in the middle of, the innermost last: a job that waits for another may run
    /// that one meanwhile. Each with the address of its scheduler, which it keeps alive.
    // loom's macro knows no `const` initialiser.
    #[allow(clippy::missing_const_for_thread_local)]
    static FRAMES: RefCell<Vec<(usize, Frame)>> = RefCell::new(Vec::new());
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Frame {
    Run(Excused),
    /// For as long as the thread lives: it is the scheduler's own.
    Driver,
}

/// Nothing while the thread ends and its frames are gone: destructors of other thread-locals may still
/// run jobs, and call schedulers.
fn with_frames<R>(code: impl FnOnce(&mut Vec<(usize, Frame)>) -> R) -> Option<R> {
    FRAMES.try_with(|frames| code(&mut frames.borrow_mut())).ok()
}

fn enter(shared: &Arc<Shared>) {
    with_frames(|frames| frames.push((address(shared), Frame::Run(Excused::No))));
}

fn leave() -> Excused {
    match with_frames(Vec::pop).flatten() {
        Some((_, Frame::Run(excused))) => excused,
        _ => Excused::No,
    }
}

/// Notes that the current thread is the scheduler's own.
pub(super) fn drive(shared: &Arc<Shared>) {
    with_frames(|frames| frames.push((address(shared), Frame::Driver)));
}

/// Who waits for a scheduler's end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Waiter {
    Outside,
    /// Within runs of that scheduler; so many of them were not excused before.
    Inside {
        newly_excused: usize,
    },
    /// The scheduler's thread, in the destructor of something that a job held.
    Driver,
}

/// Notes that the current thread waits for the end of this scheduler: the runs it is in cannot end
/// before.
pub(super) fn excuse(shared: &Arc<Shared>) -> Waiter {
    let waiter = with_frames(|frames| {
        let mine = frames.iter_mut().filter(|(scheduler, _)| *scheduler == address(shared));
        let before: Vec<_> = mine
            .map(|(_, frame)| match frame {
                Frame::Run(excused) => Frame::Run(replace(excused, Excused::Yes)),
                Frame::Driver => Frame::Driver,
            })
            .collect();
        if before.contains(&Frame::Driver) {
            return Waiter::Driver;
        }
        if before.is_empty() {
            return Waiter::Outside;
        }
        let newly_excused =
            before.iter().filter(|frame| **frame == Frame::Run(Excused::No)).count();
        Waiter::Inside { newly_excused }
    });
    waiter.unwrap_or(Waiter::Outside)
}

fn address(shared: &Arc<Shared>) -> usize {
    Arc::as_ptr(shared).addr()
}
