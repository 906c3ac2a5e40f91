//! The steps of a pool thread: it comes, takes job after job, sleeps, leaves.
//!
//! Called by `worker.rs`, which runs the jobs in between. A thread that was called calls the next
//! one before it runs its own job, which may block for ever.

use std::sync::Arc;
use std::time::Instant;

use super::{Shared, State};
use crate::contained::Outcome;
use crate::primitive::{MutexGuard, Waited};
use crate::queue::Waiting;
use crate::roster::Call;
use crate::sleeper::Sleeper;
use crate::times::Moment;
use crate::worker::{self, Arrival, Ended, Taken};

/// What brought a thread to the queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Came {
    /// It was woken or started for work: it is the one under way.
    Called,
    /// It ended a job, at this time.
    FromJob(Moment),
    /// It slept its time out.
    TimedOut,
    /// The pool closes.
    Dismissed,
}

impl Shared {
    /// The first job of a thread, or `None`: it shall end.
    pub(crate) fn first_job(
        self: &Arc<Self>,
        me: &Arc<Sleeper>,
        arrival: Arrival,
    ) -> Option<Taken> {
        let state = self.lock();
        let (state, came) = match arrival {
            Arrival::Called => (state, Came::Called),
            Arrival::Enlisted => self.sleep(state, me),
        };
        self.find_job(state, me, came)
    }

    /// The next job of a thread that ended one, or `None`: it shall end.
    pub(crate) fn next_job(self: &Arc<Self>, me: &Arc<Sleeper>, ended: Ended) -> Option<Taken> {
        if ended.outcome == Outcome::Panicked {
            self.counters.panicked.increment();
        }
        let now = self.watch.end(ended.submitted);
        let laid_out = self.tray.end_job(|| self.watch.record(ended.submitted, ended.started, now));
        if let Some(Waiting { job, submitted, .. }) = laid_out {
            // Busy before and after; the pool's lock has nothing to be told.
            return Some(Taken { job, submitted, started: self.watch.start(submitted, now) });
        }
        let mut state = self.lock();
        state.roster.end_job();
        self.find_job(state, me, Came::FromJob(now))
    }

    fn find_job<'a>(
        self: &'a Arc<Self>,
        mut state: MutexGuard<'a, State>,
        me: &Arc<Sleeper>,
        mut came: Came,
    ) -> Option<Taken> {
        loop {
            if came == Came::Called {
                state.roster.arrive();
            }
            if let Some(waiting) = self.pop(&mut state) {
                return Some(self.set_off(state, came, waiting));
            }
            if state.closing || came == Came::TimedOut {
                self.leave(state);
                return None;
            }
            (state, came) = self.lie_down(state, me);
        }
    }

    /// What is on the tray came before what is in the queue. Nobody fills it meanwhile, so that
    /// none is truly none.
    fn pop(&self, state: &mut State) -> Option<Waiting> {
        if self.tray.len() > 0
            && let Some(waiting) = self.tray.pop()
        {
            return Some(waiting);
        }
        let waiting = state.queue.pop();
        // Blocked submitters are told of room by whoever takes a job under the pool's lock: all
        // must.
        if state.lobby.is_empty() {
            self.tray.fill(&mut state.queue);
        }
        waiting
    }

    /// The thread has a job. If it was called for it, it calls the next, before the job may block.
    fn set_off(
        self: &Arc<Self>,
        mut state: MutexGuard<'_, State>,
        came: Came,
        Waiting { job, submitted, .. }: Waiting,
    ) -> Taken {
        state.roster.start_job();
        let call =
            if came == Came::Called { self.call_if_work_waits(&mut state) } else { Call::Nobody };
        self.unlock(state);
        self.carry_out(call);
        // One reading of the clock for the end of a job and the start of the next.
        let ended_before = if let Came::FromJob(ended) = came { ended } else { Moment::default() };
        Taken { job, submitted, started: self.watch.start(submitted, ended_before) }
    }

    /// Onto the stack and to sleep.
    fn lie_down<'a>(
        self: &'a Arc<Self>,
        mut state: MutexGuard<'a, State>,
        me: &Arc<Sleeper>,
    ) -> (MutexGuard<'a, State>, Came) {
        state.roster.lie_down(me);
        self.sleep(state, me)
    }

    /// Sleeps as one of the idle threads, and is none of them any more on return. The lock is let go as
    /// everywhere: one more idle thread is room for a blocked submitter, and there may be mail.
    fn sleep<'a>(
        self: &'a Arc<Self>,
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
            self.unlock(state);
            waited = me.sleep(deadline);
            state = self.lock();
        }
    }

    /// None for a thread that stays anyway: it sets no timer.
    fn sleep_deadline(&self, state: &State) -> Option<Instant> {
        let surplus = state.roster.has_surplus();
        if surplus { Instant::now().checked_add(self.settings.keep_alive) } else { None }
    }

    /// Out of the roster, so that nobody relies on the thread while its stop hook runs, which may
    /// take its time; gone only after that.
    fn leave<'a>(self: &'a Arc<Self>, mut state: MutexGuard<'a, State>) {
        state.roster.leave();
        let hook = &self.settings.on_thread_stop;
        if hook.is_set() {
            state.leaving += 1;
            self.unlock(state);
            self.run_hook(hook);
            state = self.lock();
            state.leaving -= 1;
        }
        if worker::is_excused() {
            state.excused -= 1;
        }
        self.ring_if_closing(&state);
        self.unlock(state);
    }
}
