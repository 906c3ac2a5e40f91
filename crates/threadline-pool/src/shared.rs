//! What handles and threads share: the state, its one lock, and the steps of the protocol.
//!
//! Each step takes the lock, changes queue and roster, lets go, and only then wakes or starts a
//! thread, as the roster decided. No job runs or is dropped under the lock. The protocol stands in
//! `README.md` beside this file.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use crate::builder::Settings;
use crate::primitive::{self, Condvar, Mutex, MutexGuard, Waited};
use crate::queue::{Class, Job, Queue};
use crate::roster::{Call, Roster, Sleeper};
use crate::stats::Counters;
use crate::worker::{self, Arrival, Caller, Outcome};
use crate::{RejectReason, Rejected, Stats};

pub(crate) struct Shared {
    state: Mutex<State>,
    /// Rung when those who wait for the pool's end should look again.
    ended: Condvar,
    counters: Counters,
    settings: Settings,
    /// Number of the next thread, for its name.
    next_number: AtomicU64,
    /// Makes every start fail, as a system out of threads does.
    #[cfg(test)]
    pub(crate) out_of_threads: std::sync::atomic::AtomicBool,
}

struct State {
    queue: Queue,
    roster: Roster,
    /// Never unset.
    closing: bool,
    /// Threads of the pool that called `shutdown` in a job: they do not wait for each other. They are
    /// in the roster, and counted here, until they end.
    excused: usize,
}

impl State {
    fn call_if_work_waits(&mut self) -> Call {
        if self.queue.is_empty() { Call::Nobody } else { self.roster.call() }
    }
}

/// What brought a thread to the queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Came {
    /// It was woken or started for work: it is the one under way.
    Called,
    /// It ended a job.
    FromJob,
    /// It slept its time out.
    TimedOut,
    /// The pool closes.
    Dismissed,
}

/// Submitting.
impl Shared {
    pub(crate) fn submit<F>(self: &Arc<Self>, class: Class, job: F) -> Result<(), Rejected<F>>
    where
        F: FnOnce() + Send + 'static,
    {
        // Allocated before the lock is taken, even if the job should come back.
        let job = Box::new(job);
        let mut state = self.lock();
        if let Err(reason) = self.admit(&mut state, class) {
            self.refuse(state);
            return Err(Rejected { job: *job, reason });
        }
        state.queue.push(class, job);
        self.counters.submitted.increment();
        let call = state.roster.call();
        self.unlock(state);
        self.carry_out(call);
        Ok(())
    }

    fn admit(self: &Arc<Self>, state: &mut State, class: Class) -> Result<(), RejectReason> {
        if state.closing {
            Err(RejectReason::ShutDown)
        } else if !state.queue.has_room(class, state.roster.takers()) {
            Err(RejectReason::Full)
        } else if state.roster.threads() == 0 {
            self.start_first(state)
        } else {
            Ok(())
        }
    }

    /// Starts a thread under the lock: the job may only be taken if that succeeds, and nobody else
    /// may rely on a thread that might not come to be. Rare: the pool just began, or slept long.
    fn start_first(self: &Arc<Self>, state: &mut State) -> Result<(), RejectReason> {
        let call = state.roster.call();
        debug_assert!(matches!(call, Call::Start), "no thread is idle where there is none");
        if self.start_thread(Sleeper::new(), Arrival::Called).is_err() {
            let call = state.roster.start_failed(false);
            debug_assert!(matches!(call, Call::Nobody), "nobody is there to be called");
            return Err(RejectReason::NoThread);
        }
        Ok(())
    }

    /// A refused producer still sees to it that somebody comes for the work that fills the queue: an
    /// earlier attempt to start a thread may have failed.
    fn refuse(self: &Arc<Self>, mut state: MutexGuard<'_, State>) {
        self.counters.rejected.increment();
        let call = state.call_if_work_waits();
        self.unlock(state);
        self.carry_out(call);
    }
}

/// Calling threads.
impl Shared {
    fn carry_out(self: &Arc<Self>, call: Call) {
        match call {
            Call::Nobody => {}
            Call::Wake(sleeper) => {
                self.counters.wakes.increment();
                sleeper.bell.notify_one();
            }
            Call::Start => {
                if self.start_thread(Sleeper::new(), Arrival::Called).is_err() {
                    self.start_failed();
                }
            }
        }
    }

    /// The work stays queued for the threads there are; the next producer tries again.
    fn start_failed(self: &Arc<Self>) {
        let mut state = self.lock();
        let work_waits = !state.queue.is_empty();
        let call = state.roster.start_failed(work_waits);
        self.ring_if_closing(&state);
        self.unlock(state);
        // Wakes somebody or nobody; it never starts a thread again.
        self.carry_out(call);
    }

    /// Threads that stay. They are idle from the first, so that no job calls for another.
    pub(crate) fn start_permanent_threads(self: &Arc<Self>) -> io::Result<()> {
        for _ in 0..self.settings.threads_min {
            let sleeper = Sleeper::new();
            let mut state = self.lock();
            state.roster.enlist(&sleeper);
            if let Err(error) = self.start_thread(Arc::clone(&sleeper), Arrival::Enlisted) {
                state.roster.get_up(&sleeper);
                state.roster.leave();
                return Err(error);
            }
            self.unlock(state);
        }
        Ok(())
    }

    fn start_thread(self: &Arc<Self>, sleeper: Arc<Sleeper>, arrival: Arrival) -> io::Result<()> {
        let shared = Arc::clone(self);
        let started = self
            .new_thread()
            .and_then(|thread| thread.spawn(move || worker::run(&shared, &sleeper, arrival)));
        match started {
            Ok(_detached) => {
                self.counters.spawned.increment();
                Ok(())
            }
            Err(error) => {
                self.counters.spawn_failures.increment();
                Err(error)
            }
        }
    }

    fn new_thread(&self) -> io::Result<primitive::Builder> {
        #[cfg(test)]
        if self.out_of_threads.load(Ordering::Relaxed) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let number = self.next_number.fetch_add(1, Ordering::Relaxed);
        let thread = primitive::Builder::new().name(format!("{}-{number}", self.settings.name));
        Ok(match self.settings.stack_size {
            Some(bytes) => thread.stack_size(bytes),
            None => thread,
        })
    }
}

/// What a thread of the pool does between jobs.
impl Shared {
    /// The first job of a thread, or `None`: it shall end.
    pub(crate) fn first_job(self: &Arc<Self>, me: &Arc<Sleeper>, arrival: Arrival) -> Option<Job> {
        let state = self.lock();
        let (state, came) = match arrival {
            Arrival::Called => (state, Came::Called),
            Arrival::Enlisted => self.sleep(state, me),
        };
        self.find_job(state, me, came)
    }

    /// The next job of a thread that ended one, or `None`: it shall end.
    pub(crate) fn next_job(self: &Arc<Self>, me: &Arc<Sleeper>, outcome: Outcome) -> Option<Job> {
        let mut state = self.lock();
        state.roster.end_job();
        self.counters.completed.increment();
        if outcome == Outcome::Panicked {
            self.counters.panicked.increment();
        }
        self.find_job(state, me, Came::FromJob)
    }

    fn find_job<'a>(
        self: &'a Arc<Self>,
        mut state: MutexGuard<'a, State>,
        me: &Arc<Sleeper>,
        mut came: Came,
    ) -> Option<Job> {
        loop {
            if came == Came::Called {
                state.roster.arrive();
            }
            if let Some(job) = state.queue.pop() {
                self.set_off(state, came);
                return Some(job);
            }
            if state.closing || came == Came::TimedOut {
                self.leave(state);
                return None;
            }
            state.roster.lie_down(me);
            self.publish(&state);
            (state, came) = self.sleep(state, me);
        }
    }

    /// The thread has a job. If it was called for it, it calls the next, before the job may block.
    fn set_off(self: &Arc<Self>, mut state: MutexGuard<'_, State>, came: Came) {
        state.roster.start_job();
        let call = if came == Came::Called { state.call_if_work_waits() } else { Call::Nobody };
        self.unlock(state);
        self.carry_out(call);
    }

    /// Sleeps as one of the idle threads, and is none of them any more on return.
    fn sleep<'a>(
        &'a self,
        mut state: MutexGuard<'a, State>,
        me: &Arc<Sleeper>,
    ) -> (MutexGuard<'a, State>, Came) {
        let mut deadline = self.sleep_deadline(&state);
        let mut waited = Waited::Woken;
        loop {
            // A call counts most: whoever called relies on this thread.
            if me.take_call() {
                return (state, Came::Called);
            }
            if state.closing {
                return (state, Came::Dismissed);
            }
            if waited == Waited::TimedOut {
                if state.roster.may_leave() {
                    state.roster.get_up(me);
                    return (state, Came::TimedOut);
                }
                deadline = self.sleep_deadline(&state);
            }
            (state, waited) = primitive::wait_until(&self.state, &me.bell, state, deadline);
        }
    }

    /// None for a thread that stays anyway: it sets no timer.
    fn sleep_deadline(&self, state: &State) -> Option<Instant> {
        let surplus = state.roster.has_surplus();
        if surplus { Instant::now().checked_add(self.settings.keep_alive) } else { None }
    }

    fn leave(self: &Arc<Self>, mut state: MutexGuard<'_, State>) {
        state.roster.leave();
        if worker::is_excused() {
            state.excused -= 1;
        }
        self.ring_if_closing(&state);
        self.unlock(state);
    }

    pub(crate) fn nice_failed(&self) {
        self.counters.nice_failures.increment();
    }
}

/// The end.
impl Shared {
    /// Takes no more jobs and has the threads end once the queue is empty. Does not wait.
    pub(crate) fn close(&self) {
        let mut state = self.lock();
        state.closing = true;
        let dismissed = state.roster.dismiss_idle();
        self.unlock(state);
        for sleeper in dismissed {
            sleeper.bell.notify_one();
        }
    }

    /// Waits for the threads to end. One of them does not wait for itself, nor for others that wait
    /// here or did. False if time is up first.
    pub(crate) fn wait_until_ended(self: &Arc<Self>, deadline: Option<Instant>) -> bool {
        let caller = worker::excuse(self);
        let mut state = self.lock();
        if caller == Caller::Excused {
            state.excused += 1;
            self.ended.notify_all();
        }
        let mut waited = Waited::Woken;
        loop {
            let excused = if caller == Caller::Outside { 0 } else { state.excused };
            if state.roster.threads() <= excused {
                return true;
            }
            if waited == Waited::TimedOut {
                return false;
            }
            (state, waited) = primitive::wait_until(&self.state, &self.ended, state, deadline);
        }
    }

    fn ring_if_closing(&self, state: &State) {
        if state.closing {
            self.ended.notify_all();
        }
    }
}

/// Settings, figures, and the lock.
impl Shared {
    pub(crate) fn new(settings: Settings) -> Arc<Self> {
        let state = State {
            queue: Queue::new(settings.queue_len_max),
            roster: Roster::new(settings.threads_min, settings.threads_max),
            closing: false,
            excused: 0,
        };
        Arc::new(Shared {
            state: Mutex::new(state),
            ended: Condvar::new(),
            counters: Counters::default(),
            settings,
            next_number: AtomicU64::new(0),
            #[cfg(test)]
            out_of_threads: false.into(),
        })
    }

    pub(crate) fn settings(&self) -> &Settings {
        &self.settings
    }

    pub(crate) fn stats(&self) -> Stats {
        self.counters.read(self.settings.threads_max)
    }

    pub(crate) fn busy(&self) -> usize {
        self.counters.busy()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        primitive::lock(&self.state)
    }

    fn unlock(&self, state: MutexGuard<'_, State>) {
        self.publish(&state);
    }

    /// Shows how things stand. The last thing done in each critical section.
    fn publish(&self, state: &State) {
        #[cfg(any(test, debug_assertions))]
        state.roster.check(!state.queue.is_empty());
        self.counters.publish(&state.roster, &state.queue);
    }
}

/// The protocol by hand: the threads here are only written in the roster, and the test takes their
/// steps for them.
#[cfg(all(test, not(loom)))]
mod tests {
    use std::sync::atomic::Ordering::Relaxed;
    use std::sync::mpsc;

    use super::*;
    use crate::ThreadPool;

    fn pool_with_idle(count: usize, threads_max: usize) -> (ThreadPool, Vec<Arc<Sleeper>>) {
        let pool = ThreadPool::builder().threads_max(threads_max).build().expect("a pool");
        let sleepers: Vec<_> = (0..count).map(|_| Sleeper::new()).collect();
        sleepers.iter().for_each(|sleeper| pool.shared().lock().roster.enlist(sleeper));
        (pool, sleepers)
    }

    /// The idle thread `sleeper` is awake and comes for a job.
    fn wake_up(shared: &Arc<Shared>, sleeper: &Arc<Sleeper>) -> Option<Job> {
        assert!(sleeper.take_call(), "it sleeps");
        shared.first_job(sleeper, Arrival::Called)
    }

    #[test]
    fn a_producer_wakes_one_thread_and_each_woken_one_the_next() {
        let (pool, sleepers) = pool_with_idle(3, 3);
        for _ in 0..100 {
            pool.try_submit(|| ()).expect("room");
        }
        assert_eq!(pool.stats().wakes, 1);
        for (sleeper, wakes_after) in sleepers.iter().rev().zip([2, 3, 3]) {
            let job = wake_up(pool.shared(), sleeper);
            assert!(job.is_some());
            assert_eq!(pool.stats().wakes, wakes_after);
        }
        let stats = pool.stats();
        assert_eq!((stats.busy, stats.idle, stats.queue_len, stats.spawned), (3, 0, 97, 0));
    }

    #[test]
    fn a_woken_thread_calls_nobody_when_its_job_is_the_last() {
        let (pool, sleepers) = pool_with_idle(2, 2);
        pool.try_submit(|| ()).expect("room");
        assert!(wake_up(pool.shared(), &sleepers[1]).is_some());
        let stats = pool.stats();
        assert_eq!((stats.wakes, stats.busy, stats.idle), (1, 1, 1));
    }

    #[test]
    fn a_producer_wakes_again_once_the_woken_thread_has_its_job() {
        let (pool, sleepers) = pool_with_idle(2, 2);
        pool.try_submit(|| ()).expect("room");
        assert!(wake_up(pool.shared(), &sleepers[1]).is_some());
        pool.try_submit(|| ()).expect("room");
        assert_eq!(pool.stats().wakes, 2);
        assert!(wake_up(pool.shared(), &sleepers[0]).is_some());
    }

    #[test]
    fn a_thread_that_takes_job_after_job_wakes_nobody() {
        let (pool, sleepers) = pool_with_idle(1, 1);
        for _ in 0..10 {
            pool.try_submit(|| ()).expect("room");
        }
        assert!(wake_up(pool.shared(), &sleepers[0]).is_some());
        for _ in 0..9 {
            assert!(pool.shared().next_job(&sleepers[0], Outcome::Returned).is_some());
        }
        assert_eq!(pool.stats().wakes, 1);
    }

    #[test]
    fn without_any_thread_the_job_comes_back() {
        let pool = ThreadPool::builder().build().expect("a pool");
        pool.shared().out_of_threads.store(true, Relaxed);
        let nothing: fn() = || ();
        for submitted in [pool.try_submit(nothing), pool.submit_essential(nothing)] {
            let rejected = submitted.expect_err("no thread");
            assert_eq!(rejected.reason, RejectReason::NoThread);
        }
        let stats = pool.stats();
        assert_eq!((stats.spawn_failures, stats.rejected), (2, 2));
        assert_eq!((stats.threads, stats.threads_peak, stats.queue_len), (0, 0, 0));
        pool.shared().out_of_threads.store(false, Relaxed);
        pool.try_submit(|| ()).expect("the system recovered");
    }

    #[test]
    fn with_other_threads_alive_the_job_stays_and_the_next_submit_tries_again() {
        let pool = ThreadPool::builder().threads_max(4).build().expect("a pool");
        let (release, gate) = mpsc::channel::<()>();
        let (started, inbox) = mpsc::channel();
        let job = |number: usize, gate: Option<mpsc::Receiver<()>>| {
            let started = started.clone();
            move || {
                let _ = started.send(number);
                gate.map(|gate| gate.recv());
            }
        };
        pool.try_submit(job(0, Some(gate))).expect("room");
        assert_eq!(inbox.recv(), Ok(0));

        pool.shared().out_of_threads.store(true, Relaxed);
        pool.try_submit(job(1, None)).expect("kept for the busy thread");
        let stats = pool.stats();
        assert_eq!((stats.spawn_failures, stats.threads, stats.queue_len), (1, 1, 1));

        // The busy thread is still busy: only a new one can run these.
        pool.shared().out_of_threads.store(false, Relaxed);
        pool.try_submit(job(2, None)).expect("room");
        // In any order: the new thread calls another before it runs its job.
        assert_eq!(inbox.recv().unwrap_or(0) + inbox.recv().unwrap_or(0), 3);
        drop(release);
    }

    #[test]
    fn a_refused_producer_tries_again_to_start_a_thread_too() {
        let pool = ThreadPool::builder().threads_max(4).queue_len_max(0).build().expect("a pool");
        let (release, gate) = mpsc::channel::<()>();
        let (started, inbox) = mpsc::channel();
        let first = started.clone();
        pool.try_submit(move || {
            let _ = first.send(0);
            let _ = gate.recv();
        })
        .expect("room");
        assert_eq!(inbox.recv(), Ok(0));
        pool.shared().out_of_threads.store(true, Relaxed);
        pool.try_submit(move || started.send(1).expect("a listener")).expect("a thread may be had");
        let full =
            pool.try_submit(|| ()).expect_err("one waits, and no more threads are counted on");
        assert_eq!(full.reason, RejectReason::Full);
        assert_eq!(pool.stats().spawn_failures, 2);
        pool.shared().out_of_threads.store(false, Relaxed);
        pool.try_submit(|| ()).expect_err("still full, but this one got a thread started");
        assert_eq!(inbox.recv(), Ok(1));
        drop(release);
    }

    #[test]
    fn a_woken_thread_that_cannot_start_the_next_runs_its_job_nonetheless() {
        let (pool, sleepers) = pool_with_idle(1, 2);
        pool.try_submit(|| ()).expect("room");
        pool.try_submit(|| ()).expect("room");
        pool.shared().out_of_threads.store(true, Relaxed);
        assert!(wake_up(pool.shared(), &sleepers[0]).is_some());
        assert_eq!(pool.stats().spawn_failures, 1);
        assert!(pool.shared().next_job(&sleepers[0], Outcome::Returned).is_some());
    }
}
