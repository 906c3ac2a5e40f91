//! The steps of the pool's end: closing, dropping what waits, waiting for the threads.
//!
//! Called by the handles. Closing and dropping never wait; jobs are dropped outside the lock, for
//! their drop is the user's code.

use std::sync::Arc;
use std::time::Instant;

use super::{Shared, State};
use crate::contained::{self, Outcome};
use crate::primitive::{self, Waited};
use crate::queue::Waiting;
use crate::worker::{self, Caller};

impl Shared {
    /// Takes no more jobs, gives those of blocked submitters back, and has the threads end once the
    /// queue is empty. Does not wait.
    pub(crate) fn close(self: &Arc<Self>) {
        let mut state = self.lock();
        state.closing = true;
        let threads = state.roster.dismiss_idle();
        let submitters = state.lobby.dismiss();
        self.unlock(state);
        for sleeper in threads.iter().chain(&submitters) {
            sleeper.wake();
        }
    }

    /// Drops all jobs that have not started. After [`Shared::close`], so that none is added.
    pub(crate) fn cancel_waiting(self: &Arc<Self>) {
        let mut state = self.lock();
        self.tray.give_back(&mut state.queue);
        let withdrawn = self.take_in(&mut state);
        let cancelled = state.queue.take_all();
        self.counters.cancelled.add(cancelled.len());
        self.unlock(state);
        self.drop_withdrawn(withdrawn);
        cancelled.into_iter().for_each(|waiting| self.drop_unrun(waiting));
    }

    /// A job's drop may panic, or call the pool: one such spares the others, and the caller.
    pub(super) fn drop_unrun(&self, waiting: Waiting) {
        if contained::run(|| drop(waiting.job)) == Outcome::Panicked {
            self.counters.panicked.increment();
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
            let ended = state.roster.threads() + state.leaving <= excused;
            if ended || waited == Waited::TimedOut {
                self.unlock(state);
                return ended;
            }
            (state, waited) = primitive::wait_until(&self.state, &self.ended, state, deadline);
        }
    }

    pub(super) fn ring_if_closing(&self, state: &State) {
        if state.closing {
            self.ended.notify_all();
        }
    }
}
