//! Calls whose replies come later: open, answered, and back at the connection.
//!
//! A handler calls [`Session::defer`](crate::Session::defer) and returns; its connection is parked. The holder
//! of the [`Deferred`] answers from any thread: the answer is queued here, and a note tells the shard. The
//! connection's next owner passes it to the protocol, which writes the reply between whole messages. So an
//! answer needs no thread of the engine, and only the owner writes replies.

use std::any::Any;
use std::collections::VecDeque;
use std::fmt;
use std::marker::PhantomData;
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

use super::home::Home;
use crate::contained::Contained;
use crate::inbox::Note;
use crate::sys::{Resting, Ticks, spent_since};

/// The right, and the duty, to answer a call that has been detached from its connection. Made by
/// [`Session::defer`](crate::Session::defer).
///
/// It can be sent to any thread, and holds none: meanwhile the connection is parked. If it is dropped
/// without an answer, the protocol tells the client that there is none (HTTP: 500), and if it takes longer
/// than [`Timeouts::deferred`](crate::Timeouts::deferred), that it took too long (HTTP: 503). A drain waits
/// for it.
///
/// ```
/// use std::sync::mpsc;
/// use std::thread;
/// use threadline_engine::{Deferred, Lines};
///
/// let (queue, jobs) = mpsc::sync_channel::<(String, Deferred<String>)>(100);
/// thread::spawn(move || {
///     for (line, reply) in jobs {
///         let _ = reply.answer(line.to_uppercase()); // the client may be gone
///     }
/// });
/// let lines = Lines::new(move |line, session| {
///     let job = (line.to_owned(), session.defer());
///     // Full: the job comes back with the error and is dropped, and the client is told.
///     let _ = queue.try_send(job);
///     None
/// });
/// ```
#[must_use = "the client waits for the answer; dropping this says that there is none"]
pub struct Deferred<T> {
    id: u64,
    calls: Weak<Calls>,
    answer: PhantomData<fn(T)>,
}

impl<T> Deferred<T> {
    pub(super) fn new(id: u64, calls: &Arc<Calls>) -> Self {
        Deferred { id, calls: Arc::downgrade(calls), answer: PhantomData }
    }
}

/// The connection does not wait for the answer any more: it has ended, or the deadline is over. The answer
/// comes back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotAwaited<T>(pub T);

impl<T> fmt::Display for NotAwaited<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "nobody waits for this answer: the connection has ended, or its deadline is over",
        )
    }
}

impl<T: fmt::Debug> std::error::Error for NotAwaited<T> {}

/// What has become of a call that was deferred: passed to [`Protocol::answer`](crate::Protocol::answer).
pub struct Answer {
    context: Option<Value>,
    outcome: Outcome,
}

/// See [`Answer::outcome`].
pub enum Outcome {
    /// This is the answer, of the type that [`Session::defer`](crate::Session::defer) was called with.
    Answered(Box<dyn Any + Send>),
    /// The [`Deferred`] was dropped without an answer.
    Dropped,
    /// There was none within [`Timeouts::deferred`](crate::Timeouts::deferred).
    TimedOut,
}

/// A value of user code.
type Value = Contained<Box<dyn Any + Send>>;

impl Answer {
    /// Takes what was kept with the call by [`Session::defer_with`](crate::Session::defer_with), if it is a `C`.
    pub fn take_context<C: Any>(&mut self) -> Option<C> {
        let context = self.context.take_if(|context| (***context).is::<C>())?;
        context.into_inner().downcast().ok().map(|context| *context)
    }

    /// What was kept with the call by [`Session::defer_with`](crate::Session::defer_with), if it is a `C` and has
    /// not been taken.
    pub fn context<C: Any>(&self) -> Option<&C> {
        (***self.context.as_ref()?).downcast_ref()
    }

    /// What has become of it. The answer can be taken out; `Outcome::Dropped` is left in its place.
    pub fn outcome(&mut self) -> &mut Outcome {
        &mut self.outcome
    }

    /// Takes the answer, if there is one and it is a `T`.
    pub fn take<T: Any>(&mut self) -> Option<T> {
        let Outcome::Answered(answer) = &self.outcome else { return None };
        if !answer.is::<T>() {
            return None;
        }
        match std::mem::replace(&mut self.outcome, Outcome::Dropped) {
            Outcome::Answered(answer) => answer.downcast().ok().map(|answer| *answer),
            Outcome::Dropped | Outcome::TimedOut => None,
        }
    }
}

impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Answer").field("outcome", &self.outcome).finish_non_exhaustive()
    }
}

impl fmt::Debug for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Outcome::Answered(_) => "Answered",
            Outcome::Dropped => "Dropped",
            Outcome::TimedOut => "TimedOut",
        })
    }
}

impl<T: Send + 'static> Deferred<T> {
    /// Answers the call. Never blocks: the reply is written when the connection's shard gets to it.
    ///
    /// # Errors
    /// [`NotAwaited`] with the answer if nobody waits for it any more. Without an error the client may still
    /// be gone, as with any reply.
    pub fn answer(self, answer: T) -> Result<(), NotAwaited<T>> {
        let Some(calls) = self.calls.upgrade() else { return Err(NotAwaited(answer)) };
        match calls.settle(self.id, Outcome::Answered(Box::new(answer))) {
            Err(Outcome::Answered(answer)) => {
                let answer = answer.downcast().expect("it has just been made of a `T`");
                Err(NotAwaited(*answer))
            }
            _ => Ok(()),
        }
    }
}

impl<T> Deferred<T> {
    /// Whether nobody waits for the answer any more: the connection has ended, as far as that is known, or
    /// the deadline is over. A client that has only closed its sending side still waits.
    pub fn is_closed(&self) -> bool {
        self.calls.upgrade().is_none_or(|calls| !calls.awaits(self.id))
    }
}

impl<T> Drop for Deferred<T> {
    fn drop(&mut self) {
        if let Some(calls) = self.calls.upgrade() {
            // It has ended already as a rule: by its answer.
            let _ = calls.settle(self.id, Outcome::Dropped);
        }
    }
}

impl<T> fmt::Debug for Deferred<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Deferred").field("id", &self.id).finish_non_exhaustive()
    }
}

/// The calls of one connection that have been deferred.
pub(crate) struct Calls {
    home: Arc<Home>,
    /// The connection's key.
    key: u64,
    queue: Mutex<Queue>,
    /// A call has been answered, or the connection is being ended: for a thread of the connection's own.
    changed: Condvar,
}

#[derive(Default)]
struct Queue {
    /// In the order in which they began.
    open: Vec<Open>,
    /// In the order in which they were answered.
    answered: VecDeque<Answer>,
    next: u64,
    woken: bool,
    /// The connection is about to end.
    closed: bool,
    resting: Resting,
}

struct Open {
    id: u64,
    context: Value,
    began: Ticks,
}

impl fmt::Debug for Calls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Calls").field("key", &self.key).finish_non_exhaustive()
    }
}

impl Calls {
    pub(super) fn new(home: Arc<Home>, key: u64) -> Arc<Self> {
        let (queue, changed) = (Mutex::default(), Condvar::new());
        let calls = Arc::new(Calls { home, key, queue, changed });
        #[cfg(feature = "testing")]
        if let crate::sys::Clock::Test(clock) = &calls.home.clock {
            let sleeper: Arc<dyn crate::testing::Sleeper> = Arc::<Calls>::clone(&calls);
            clock.wake_with_time(Arc::downgrade(&sleeper));
        }
        calls
    }

    pub(super) fn open(&self, context: Value) -> u64 {
        let mut queue = self.queue.lock();
        let id = queue.next;
        queue.next += 1;
        queue.open.push(Open { id, context, began: self.home.clock.ticks() });
        self.home.counters.calls_deferred.increment();
        id
    }

    fn awaits(&self, id: u64) -> bool {
        let queue = self.queue.lock();
        !queue.closed && queue.open.iter().any(|call| call.id == id)
    }

    /// How many have no answer yet, or one that has not been written.
    fn len(&self) -> usize {
        let queue = self.queue.lock();
        if queue.closed { 0 } else { queue.open.len() + queue.answered.len() }
    }

    #[cold]
    pub(super) fn is_open(&self) -> bool {
        self.len() > 0
    }

    #[cold]
    pub(super) fn are_as_many_as(&self, count: usize) -> bool {
        self.len() >= count
    }

    #[cold]
    pub(super) fn has_answer(&self) -> bool {
        let queue = self.queue.lock();
        !queue.closed && !queue.answered.is_empty()
    }

    /// The end of a call; the outcome comes back if it has ended already.
    fn settle(&self, id: u64, outcome: Outcome) -> Result<(), Outcome> {
        let mut queue = self.queue.lock();
        let at = queue.open.iter().position(|call| call.id == id);
        let Some(at) = at.filter(|_| !queue.closed) else {
            return Err(outcome);
        };
        let Open { context, .. } = queue.open.remove(at);
        if let Outcome::Dropped = outcome {
            self.home.counters.deferred_dropped.increment();
        }
        queue.answered.push_back(Answer { context: Some(context), outcome });
        queue.resting.end(&self.home.clock);
        drop(queue);
        self.changed.notify_all();
        self.home.tell(Note::Answered(self.key));
        Ok(())
    }

    /// The next answer to be written.
    pub(super) fn take_answer(&self) -> Option<Answer> {
        self.queue.lock().answered.pop_front()
    }

    /// An answer that has to be written elsewhere.
    pub(super) fn put_back(&self, answer: Answer) {
        self.queue.lock().answered.push_front(answer);
    }

    /// How long the call that has waited longest may go on.
    pub(super) fn time_left(&self, now: Ticks, limit: Duration) -> Option<Duration> {
        let began = self.queue.lock().open.first()?.began;
        Some(limit.saturating_sub(spent_since(began, now)))
    }

    /// Ends the calls whose time is over. Says whether there was one.
    pub(super) fn time_out(&self, now: Ticks, limit: Duration) -> bool {
        let mut queue = self.queue.lock();
        let is_over = |call: &Open| spent_since(call.began, now) >= limit;
        let count = queue.open.iter().take_while(|call| is_over(call)).count();
        for Open { context, .. } in queue.open.drain(..count).collect::<Vec<_>>() {
            self.home.counters.timeouts_deferred.increment();
            queue.answered.push_back(Answer { context: Some(context), outcome: Outcome::TimedOut });
        }
        count > 0
    }

    /// Nobody waits for any of them any more. What belongs to them stays until the connection is gone, since
    /// it is user code's, and this may be a loop thread.
    pub(super) fn close(&self) {
        self.queue.lock().closed = true;
    }

    /// The connection's own thread: waits until a call is answered or [`Calls::wake`] is called.
    pub(super) fn wait(&self, limit: Duration) {
        let mut queue = self.queue.lock();
        if queue.answered.is_empty() && !queue.woken {
            queue.resting.begin(&self.home.clock);
            self.changed.wait_for(&mut queue, limit);
            // After a timeout no other thread has reset it.
            queue.resting.end(&self.home.clock);
        }
        queue.woken = false;
    }

    /// Ends a wait of the connection's own thread, or its next one.
    pub(crate) fn wake(&self) {
        let mut queue = self.queue.lock();
        queue.woken = true;
        queue.resting.end(&self.home.clock);
        drop(queue);
        self.changed.notify_all();
    }
}

#[cfg(feature = "testing")]
impl crate::testing::Sleeper for Calls {
    fn time_has_passed(&self) {
        self.wake();
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::sync::mpsc;
    use std::thread;

    use super::*;
    use crate::sys::{Clock, Epoll, Waker};
    use crate::testing;

    /// Longer than this test may take.
    const LIMIT: Duration = Duration::from_secs(3600);

    #[test]
    fn an_answer_ends_the_wait_of_the_connections_own_thread() {
        let clock = testing::Clock::new();
        let (epoll, waker) = (Epoll::new().expect("epoll"), Waker::new().expect("an eventfd"));
        let home = Arc::new(Home::alone(epoll, waker, Clock::Test(clock.clone())));
        let calls = Calls::new(home, 0);
        let id = calls.open(Contained::new(Box::new(())));
        let deferred: Deferred<String> = Deferred::new(id, &calls);
        let (tell, told) = mpsc::channel();
        let of_thread = Arc::clone(&calls);
        let waiting = thread::spawn(move || {
            of_thread.wait(LIMIT);
            tell.send(of_thread.take_answer().and_then(|mut answer| answer.take::<String>()))
        });
        while clock.resting() == 0 {
            thread::yield_now();
        }
        deferred.answer("now".into()).expect("awaited");
        let answer = told.recv_timeout(Duration::from_secs(10)).expect("the wait ends at once");
        assert_eq!(answer.as_deref(), Some("now"));
        waiting.join().expect("the thread").expect("told");
    }
}
