//! What the holder of a task and its queued job share.
//!
//! One lock, and the steps of `README.md`. No code of the user's runs or is dropped under the lock: closures,
//! results, callbacks, and the clone and drop of wakers.

use std::sync::Arc;
use std::task::Waker;
use std::time::Instant;

use super::token::CancelToken;
use super::{JoinError, panics};
use crate::contained;
use crate::primitive::{Condvar, Mutex, Waited, lock};
use crate::sync::patience::Patience;

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

/// Is notified of the end of several tasks, each by its number.
pub(crate) trait Watcher: Send + Sync {
    fn ended(&self, number: usize);
}

type Callback = Box<dyn FnOnce(Ended) + Send>;

/// What a task does, whatever the shape of its closure.
pub(super) trait Work: Send {
    type Output: Send;

    fn work(self) -> Self::Output;
}

/// Only the queued job and the code that spawned it know the closure's type.
pub(super) struct Cell<W: Work> {
    inner: Mutex<Inner<W>>,
    /// Notified at the end, if a thread waits.
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
    /// The result has been taken.
    Taken(Ended),
}

/// What the handle needs of a cell, whatever its closure.
pub(super) trait Joined<T>: Send + Sync {
    /// Runs the job on the calling thread if no thread has begun it; calls `begun` before.
    fn help(&self, begun: &mut dyn FnMut()) -> bool;

    /// The result, once it is there; `None` if the time was up before.
    fn wait_result(&self, deadline: Option<Instant>) -> Option<Result<T, JoinError>>;

    /// Waits for the end without taking the result. False if the time was up before.
    fn wait_ended(&self, deadline: Option<Instant>) -> bool;

    /// The result, or the waker is kept until it is there.
    fn poll_result(&self, waker: &Waker) -> Option<Result<T, JoinError>>;

    fn how_ended(&self) -> Option<Ended>;

    fn cancel(&self) -> bool;

    /// Calls it when the task ends; on the calling thread, now, if the task has ended.
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

    /// Begins the task: takes its closure, unless another thread has it.
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
        let mut patience = Patience::until(deadline);
        let mut inner = lock(&self.inner);
        loop {
            if let Some(found) = take(&mut inner) {
                return Some(found);
            }
            inner.waiting += 1;
            let waited;
            (inner, waited) = patience.sleep(&self.inner, &self.ended, inner);
            inner.waiting -= 1;
            if waited == Waited::TimedOut {
                return take(&mut inner);
            }
        }
    }
}

/// User values are dropped by the last owner of the cell, on any thread, also while a panic unwinds.
impl<W: Work> Drop for Cell<W> {
    fn drop(&mut self) {
        let mut inner = lock(&self.inner);
        let state = std::mem::replace(&mut inner.state, State::Running);
        let waker = inner.waker.take();
        let callbacks = std::mem::take(&mut inner.callbacks);
        drop(inner);
        contained::run(|| drop(state));
        contained::run(|| drop(waker));
        callbacks.into_iter().for_each(|callback| _ = contained::run(|| drop(callback)));
    }
}

impl<W: Work> Cell<W> {
    /// Runs the job, unless another thread has begun it.
    pub(super) fn run(&self) -> bool {
        self.help(&mut || ())
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
    fn help(&self, begun: &mut dyn FnMut()) -> bool {
        let Some(work) = self.begin() else { return false };
        begun();
        self.end(panics::catch(|| work.work()));
        true
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
        if inner.waker.as_ref().is_some_and(|known| known.will_wake(waker)) {
            return None;
        }
        drop(inner);
        // Cloning and dropping wakers is the user's code: without the lock.
        let waker = waker.clone();
        let mut inner = lock(&self.inner);
        let result = inner.take_result();
        // The task has ended: it will not wake the waker.
        let unused = if result.is_some() { Some(waker) } else { inner.waker.replace(waker) };
        drop(inner);
        contained::run(|| drop(unused));
        result
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
        // Entries whose watcher is gone are removed here.
        inner.watchers.retain(|(watcher, _)| Arc::strong_count(watcher) > 1);
        inner.watchers.push((watcher, number));
    }
}
