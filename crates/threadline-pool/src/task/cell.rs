//! What the holder of a task and its queued job share.
//!
//! One lock, and the steps of `README.md`. No code of the user's runs or is dropped under the lock.

use std::sync::Arc;
use std::task::Waker;
use std::time::Instant;

use super::spawn::Work;
use super::token::CancelToken;
use super::{JoinError, panics};
use crate::blocking::{about_to_block, is_watched};
use crate::contained;
use crate::primitive::{Condvar, Mutex, MutexGuard, Waited, lock, wait_until};

/// How a task has ended.
///
/// ```
/// use threadline_pool::sync::Queue;
/// use threadline_pool::{Ended, ThreadPool};
/// use std::sync::Arc;
///
/// let pool = ThreadPool::builder().build()?;
/// let ends = Arc::new(Queue::fifo(1));
/// let told = Arc::clone(&ends);
/// pool.spawn(|| 7)?.on_done(move |ended| _ = told.put(ended));
/// assert_eq!(ends.get()?, Ended::Returned);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Ended {
    /// Its job returned.
    Returned,
    /// Its job panicked.
    Panicked,
    /// Its job never ran.
    Cancelled,
}

/// Somebody who is told of the ends of several tasks, each by its number.
pub(crate) trait Watcher: Send + Sync {
    fn ended(&self, number: usize);
}

type Callback = Box<dyn FnOnce(Ended) + Send>;

/// The closure's type is known to the queued job and to whoever spawned it, and to nobody else.
pub(super) struct Cell<W: Work> {
    inner: Mutex<Inner<W>>,
    /// Rung at the end, if somebody waits.
    ended: Condvar,
    /// For a job that can be asked to end.
    token: Option<CancelToken>,
}

struct Inner<W: Work> {
    state: State<W>,
    /// Threads that wait at `ended`.
    waiting: usize,
    waker: Option<Waker>,
    callbacks: Vec<Callback>,
    watchers: Vec<(Arc<dyn Watcher>, usize)>,
}

enum State<W: Work> {
    Queued(W),
    Running,
    Ended(Result<W::Output, JoinError>),
    /// The result is with whoever asked for it.
    Taken(Ended),
}

/// What the handle needs of a cell, whatever its closure.
pub(super) trait Joined<T>: Send + Sync {
    /// Runs the job in the calling thread if nobody has begun it.
    fn help(&self) -> bool;

    /// The result, once it is there; `None` if the time was up before.
    fn wait_result(&self, deadline: Option<Instant>) -> Option<Result<T, JoinError>>;

    /// Waits for the end without taking the result. False if the time was up before.
    fn wait_ended(&self, deadline: Option<Instant>) -> bool;

    /// The result, or the waker is kept until it is there.
    fn poll_result(&self, waker: &Waker) -> Option<Result<T, JoinError>>;

    fn how_ended(&self) -> Option<Ended>;

    fn cancel(&self) -> bool;

    /// Has it called at the end; at once, by the caller, if that was already.
    fn on_done(&self, callback: Callback);

    fn watch(&self, watcher: Arc<dyn Watcher>, number: usize);
}

impl<W: Work> Cell<W> {
    pub(super) fn new(work: W, token: Option<CancelToken>) -> Self {
        let inner = Inner {
            state: State::Queued(work),
            waiting: 0,
            waker: None,
            callbacks: Vec::new(),
            watchers: Vec::new(),
        };
        Cell { inner: Mutex::new(inner), ended: Condvar::new(), token }
    }

    /// Begins the task: its closure, unless somebody else has it.
    pub(super) fn begin(&self) -> Option<W> {
        let mut inner = lock(&self.inner);
        match std::mem::replace(&mut inner.state, State::Running) {
            State::Queued(work) => Some(work),
            other => {
                inner.state = other;
                None
            }
        }
    }

    /// Ends what [`Cell::begin`] has begun.
    fn end(&self, result: Result<W::Output, JoinError>) {
        let how = match &result {
            Ok(_) => Ended::Returned,
            Err(JoinError::Cancelled) => Ended::Cancelled,
            Err(JoinError::Panicked(_)) => Ended::Panicked,
        };
        let mut inner = lock(&self.inner);
        inner.state = State::Ended(result);
        let (waiting, waker) = (inner.waiting, inner.waker.take());
        let callbacks = std::mem::take(&mut inner.callbacks);
        let watchers = std::mem::take(&mut inner.watchers);
        drop(inner);
        if waiting > 0 {
            self.ended.notify_all();
        }
        for (watcher, number) in watchers {
            watcher.ended(number);
        }
        for callback in callbacks {
            contained::run(|| callback(how));
        }
        if let Some(waker) = waker {
            contained::run(|| waker.wake());
        }
    }

    /// The task's closure will never run.
    pub(super) fn abandon(&self) {
        if let Some(job) = self.begin() {
            contained::run(|| drop(job));
            self.end(Err(JoinError::Cancelled));
        }
    }

    /// Waits, if need be, until `take` finds what it looks for.
    fn wait<R>(
        &self,
        deadline: Option<Instant>,
        mut take: impl FnMut(&mut Inner<W>) -> Option<R>,
    ) -> Option<R> {
        let mut told = false;
        let mut inner = lock(&self.inner);
        loop {
            if let Some(found) = take(&mut inner) {
                return Some(found);
            }
            let (again, waited) = self.sleep(inner, deadline, &mut told);
            inner = again;
            if waited == Waited::TimedOut {
                return take(&mut inner);
            }
        }
    }

    fn sleep<'a>(
        &'a self,
        mut inner: MutexGuard<'a, Inner<W>>,
        deadline: Option<Instant>,
        told: &mut bool,
    ) -> (MutexGuard<'a, Inner<W>>, Waited) {
        if !*told && is_watched() {
            // Without the lock, and so the state may be another: the caller looks again.
            *told = true;
            drop(inner);
            about_to_block();
            return (lock(&self.inner), Waited::Woken);
        }
        inner.waiting += 1;
        let (mut inner, waited) = wait_until(&self.inner, &self.ended, inner, deadline);
        inner.waiting -= 1;
        (inner, waited)
    }
}

impl<W: Work> Cell<W> {
    /// Runs the job, unless somebody else does or has.
    pub(super) fn run(&self) -> bool {
        let Some(work) = self.begin() else { return false };
        self.end(panics::catch(|| work.work()));
        true
    }
}

impl<W: Work> Inner<W> {
    fn take_result(&mut self) -> Option<Result<W::Output, JoinError>> {
        let how = self.how_ended()?;
        match std::mem::replace(&mut self.state, State::Taken(how)) {
            State::Ended(result) => Some(result),
            // The handle takes it once: only a future that is polled after its end comes here.
            _ => Some(Err(JoinError::Cancelled)),
        }
    }

    fn how_ended(&self) -> Option<Ended> {
        match &self.state {
            State::Queued(_) | State::Running => None,
            State::Ended(Ok(_)) => Some(Ended::Returned),
            State::Ended(Err(JoinError::Cancelled)) => Some(Ended::Cancelled),
            State::Ended(Err(JoinError::Panicked(_))) => Some(Ended::Panicked),
            State::Taken(how) => Some(*how),
        }
    }
}

impl<W: Work> Joined<W::Output> for Cell<W> {
    fn help(&self) -> bool {
        self.run()
    }

    fn wait_result(&self, deadline: Option<Instant>) -> Option<Result<W::Output, JoinError>> {
        self.wait(deadline, Inner::take_result)
    }

    fn wait_ended(&self, deadline: Option<Instant>) -> bool {
        self.wait(deadline, |inner| inner.how_ended()).is_some()
    }

    fn poll_result(&self, waker: &Waker) -> Option<Result<W::Output, JoinError>> {
        let mut inner = lock(&self.inner);
        if let Some(result) = inner.take_result() {
            return Some(result);
        }
        let same = inner.waker.as_ref().is_some_and(|known| known.will_wake(waker));
        let old = if same { None } else { inner.waker.replace(waker.clone()) };
        drop(inner);
        drop(old);
        None
    }

    fn how_ended(&self) -> Option<Ended> {
        lock(&self.inner).how_ended()
    }

    fn cancel(&self) -> bool {
        if let Some(token) = &self.token {
            token.cancel();
        }
        match self.begin() {
            Some(job) => {
                contained::run(|| drop(job));
                self.end(Err(JoinError::Cancelled));
                true
            }
            None => false,
        }
    }

    fn on_done(&self, callback: Callback) {
        let mut inner = lock(&self.inner);
        match inner.how_ended() {
            None => inner.callbacks.push(callback),
            Some(how) => {
                drop(inner);
                contained::run(|| callback(how));
            }
        }
    }

    fn watch(&self, watcher: Arc<dyn Watcher>, number: usize) {
        let mut inner = lock(&self.inner);
        if inner.how_ended().is_some() {
            drop(inner);
            watcher.ended(number);
            return;
        }
        // Those whose watcher has gone home are forgotten here.
        inner.watchers.retain(|(watcher, _)| Arc::strong_count(watcher) > 1);
        inner.watchers.push((watcher, number));
    }
}
