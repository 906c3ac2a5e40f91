//! The steps of a submitter: in, or what the policy says.
//!
//! Called by the handles, on any thread. The box is made before the lock is taken, and no job is
//! run or dropped under it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{Shared, State};
use crate::blocking::about_to_block;
use crate::contained::{self, Outcome};
use crate::lobby::Place;
use crate::nesting::Nesting;
use crate::primitive::{MutexGuard, Waited};
use crate::queue::{Class, Position, Waiting};
use crate::roster::Call;
use crate::sleeper::Sleeper;
use crate::times::Moment;
use crate::worker::{self, Arrival};
use crate::{Policy, Priority, RejectReason, Rejected};

/// A job on its way in.
struct Offer<F> {
    job: Box<F>,
    class: Class,
    submitted: Moment,
}

/// Where the job waits; `None` if it was run already.
type Submitted<F> = Result<Option<Position>, Rejected<F>>;
type Admitted = Result<(), RejectReason>;

/// The way in, as far as all take it.
impl Shared {
    /// Takes the job or gives it back, at once.
    pub(crate) fn try_submit<F>(self: &Arc<Self>, class: Class, job: F) -> Submitted<F>
    where
        F: FnOnce() + Send + 'static,
    {
        let offer = self.offer(class, job);
        let mut state = match self.try_lock() {
            Some(state) => state,
            // The place at the end of the line is its own.
            None if self.takes_mail() && class == Class::Ordinary(Priority::Normal) => {
                return self.post(offer);
            }
            None => self.lock(),
        };
        let admitted = self.admit(&mut state, class);
        self.conclude(state, offer, admitted)
    }

    /// Takes the job only if there is a thread for it alone. Where [`Shared::try_submit`] does not wait for
    /// the lock, a lock that is taken counts as no thread: who has it may be about to use the last one.
    pub(crate) fn submit_to_spare<F>(self: &Arc<Self>, job: F) -> Submitted<F>
    where
        F: FnOnce() + Send + 'static,
    {
        let Offer { job, class, submitted } = self.offer(Class::Ordinary(Priority::Normal), job);
        let lock = if self.takes_mail() { self.try_lock() } else { Some(self.lock()) };
        let Some(mut state) = lock else {
            return Err(Rejected { job: *job, reason: RejectReason::Full });
        };
        let admitted = match self.has_spare(&state) {
            true => self.admit(&mut state, class),
            false => Err(RejectReason::Full),
        };
        match admitted {
            Ok(()) => Ok(Some(self.accept(state, class, Waiting::new(job, submitted)))),
            Err(reason) => {
                // Not counted as rejected: its submitter has another way for it.
                self.unlock_and_call(state);
                Err(Rejected { job: *job, reason })
            }
        }
    }

    /// Submits without the lock, by what was last known of the pool.
    fn post<F>(self: &Arc<Self>, offer: Offer<F>) -> Submitted<F>
    where
        F: FnOnce() + Send + 'static,
    {
        let Offer { job, submitted, .. } = offer;
        if let Err(reason) = self.counters.admission(self.mail.len()) {
            self.counters.rejected.increment();
            return Err(Rejected { job: *job, reason });
        }
        let position = self.mail.post(job, submitted);
        self.counters.posted.increment();
        self.look_for_mail();
        Ok(Some(position))
    }

    pub(crate) fn submit_by_policy<F>(self: &Arc<Self>, priority: Priority, job: F) -> Submitted<F>
    where
        F: FnOnce() + Send + 'static,
    {
        let offer = self.offer(Class::Ordinary(priority), job);
        match self.settings.when_full {
            Policy::Reject => self.submit_or_reject(offer),
            // Waiting would keep the thread from making the room it waits for.
            Policy::Block { .. } if worker::belongs_to(self) => self.submit_or_run(offer),
            Policy::Block { timeout } => self.submit_waiting(offer, timeout),
            Policy::CallerRuns => self.submit_or_run(offer),
            Policy::DropOldest => self.submit_displacing(offer, priority),
        }
    }

    /// As [`Shared::submit_by_policy`] under [`Policy::Reject`], whatever the pool's policy.
    pub(crate) fn submit_if_room<F>(self: &Arc<Self>, job: F) -> Submitted<F>
    where
        F: FnOnce() + Send + 'static,
    {
        self.submit_or_reject(self.offer(Class::Ordinary(Priority::Normal), job))
    }

    fn submit_or_reject<F>(self: &Arc<Self>, offer: Offer<F>) -> Submitted<F>
    where
        F: FnOnce() + Send + 'static,
    {
        let mut state = self.lock();
        let admitted = self.admit(&mut state, offer.class);
        self.conclude(state, offer, admitted)
    }

    fn offer<F>(&self, class: Class, job: F) -> Offer<F> {
        let (number, waiting) = self.counters.crowd(&self.tray);
        Offer { job: Box::new(job), class, submitted: self.watch.submission(number, waiting) }
    }

    fn admit(self: &Arc<Self>, state: &mut State, class: Class) -> Admitted {
        if state.closing {
            Err(RejectReason::ShutDown)
        } else if class != Class::Essential && !self.has_room(state) {
            Err(RejectReason::Full)
        } else if state.roster.threads() == 0 {
            self.start_first(state)
        } else {
            Ok(())
        }
    }

    /// The same for those who do more than give the job back when there is no room: then all
    /// waiting jobs are in the queue, none is on the tray, where threads make room without telling.
    fn admit_at_last(self: &Arc<Self>, state: &mut State, class: Class) -> Admitted {
        let admitted = self.admit(state, class);
        if admitted != Err(RejectReason::Full) {
            return admitted;
        }
        self.tray.give_back(&mut state.queue);
        self.admit(state, class)
    }

    /// Starts a thread under the lock: the job may only be taken if that succeeds, and nobody else
    /// may rely on a thread that might not come to be. Rare: the pool just began, or slept long.
    fn start_first(self: &Arc<Self>, state: &mut State) -> Admitted {
        let call = state.roster.call();
        debug_assert!(matches!(call, Call::Start), "no thread is idle where there is none");
        if self.start_thread(Sleeper::new(), Arrival::Called).is_err() {
            let call = state.roster.start_failed(false);
            debug_assert!(matches!(call, Call::Nobody), "nobody is there to be called");
            return Err(RejectReason::NoThread);
        }
        Ok(())
    }

    fn conclude<F>(
        self: &Arc<Self>,
        state: MutexGuard<'_, State>,
        offer: Offer<F>,
        admitted: Admitted,
    ) -> Submitted<F>
    where
        F: FnOnce() + Send + 'static,
    {
        match admitted {
            Ok(()) => {
                let Offer { job, class, submitted } = offer;
                Ok(Some(self.accept(state, class, Waiting::new(job, submitted))))
            }
            Err(reason) => {
                self.refuse(state);
                Err(Rejected { job: *offer.job, reason })
            }
        }
    }

    fn accept(
        self: &Arc<Self>,
        mut state: MutexGuard<'_, State>,
        class: Class,
        waiting: Waiting,
    ) -> Position {
        if class != Class::Ordinary(Priority::Normal) {
            // It may go before what is laid out, or is to have its turn among it.
            self.tray.give_back(&mut state.queue);
        }
        let withdrawn = self.take_in(&mut state);
        let position = state.queue.push(class, waiting);
        self.counters.per_job.submitted.increment();
        let call = state.roster.call();
        self.unlock(state);
        self.carry_out(call);
        self.drop_withdrawn(withdrawn);
        position
    }

    fn refuse(self: &Arc<Self>, state: MutexGuard<'_, State>) {
        self.counters.rejected.increment();
        self.unlock_and_call(state);
    }

    /// A producer whose job is not taken still sees to it that somebody comes for the work that
    /// fills the queue: an earlier attempt to start a thread may have failed.
    fn unlock_and_call(self: &Arc<Self>, mut state: MutexGuard<'_, State>) {
        let call = self.call_if_work_waits(&mut state);
        self.unlock(state);
        self.carry_out(call);
    }
}

/// Why a job is taken out of the queue again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Withdrawal {
    /// It will not run.
    Cancelled,
    /// Its submitter runs it, and counts it as run ([`Shared::ran_in_caller`]).
    RunByCaller,
}

/// Taking jobs back.
impl Shared {
    /// Takes a job out of the queue whose submitter has cancelled it or runs it itself, so that it does not
    /// count against the bound any more. False if it is not there: a thread has it, or it was dropped.
    pub(crate) fn withdraw(self: &Arc<Self>, position: Position, why: Withdrawal) -> bool {
        let state = self.lock();
        self.withdraw_locked(state, position, why)
    }

    /// As [`Shared::withdraw`], without waiting for the lock: another thread that has it takes the job out when
    /// it lets go.
    pub(crate) fn withdraw_soon(self: &Arc<Self>, position: Position) {
        let state = match self.try_lock() {
            Some(state) => state,
            None if self.takes_mail() => {
                self.mail.post_withdrawal(position);
                return self.look_for_mail();
            }
            None => self.lock(),
        };
        self.withdraw_locked(state, position, Withdrawal::Cancelled);
    }

    fn withdraw_locked(
        self: &Arc<Self>,
        mut state: MutexGuard<'_, State>,
        position: Position,
        why: Withdrawal,
    ) -> bool {
        // A job that was posted may be in the mail still.
        let mut withdrawn = self.take_in(&mut state);
        let found = self.take_out(&mut state, position);
        let was_found = found.is_some();
        if was_found && why == Withdrawal::Cancelled {
            self.counters.cancelled.increment();
        }
        withdrawn.extend(found);
        self.unlock_and_call(state);
        self.drop_withdrawn(withdrawn);
        was_found
    }

    /// A job that was withdrawn to be run by its submitter has ended.
    pub(crate) fn ran_in_caller(&self) {
        self.counters.ran_in_caller.increment();
    }
}

/// [`Policy::Block`].
impl Shared {
    fn submit_waiting<F>(self: &Arc<Self>, offer: Offer<F>, timeout: Duration) -> Submitted<F>
    where
        F: FnOnce() + Send + 'static,
    {
        let mut state = self.lock();
        let mut admitted = self.admit_at_last(&mut state, offer.class);
        if admitted == Err(RejectReason::Full) {
            let deadline = Instant::now().checked_add(timeout);
            (state, admitted) = self.wait_for_room(state, offer.class, deadline);
        }
        self.conclude(state, offer, admitted)
    }

    /// Waits until the job may be taken, or it is clear that it will not be.
    fn wait_for_room<'a>(
        self: &'a Arc<Self>,
        mut state: MutexGuard<'a, State>,
        class: Class,
        deadline: Option<Instant>,
    ) -> (MutexGuard<'a, State>, Admitted) {
        let me = Sleeper::of_this_thread();
        let mut place = Place::Back;
        loop {
            state.lobby.enter(&me, place);
            self.unlock_and_call(state);
            about_to_block();
            let waited;
            (state, waited) = self.sleep_in_lobby(&me, deadline);
            match self.admit_at_last(&mut state, class) {
                // Somebody who had not waited was quicker.
                Err(RejectReason::Full) if waited == Waited::Woken => place = Place::Front,
                Err(RejectReason::Full) => return (state, Err(RejectReason::TimedOut)),
                admitted => return (state, admitted),
            }
        }
    }

    /// Sleeps as one of those in the lobby, and is none of them any more on return.
    fn sleep_in_lobby(
        self: &Arc<Self>,
        me: &Arc<Sleeper>,
        deadline: Option<Instant>,
    ) -> (MutexGuard<'_, State>, Waited) {
        let mut state = self.lock();
        let mut waited = Waited::Woken;
        loop {
            // A call counts most: nobody else is called until this one has looked.
            if me.take_call() {
                state.lobby.arrive();
                return (state, Waited::Woken);
            }
            if state.closing {
                return (state, Waited::Woken);
            }
            if waited == Waited::TimedOut {
                state.lobby.leave(me);
                return (state, Waited::TimedOut);
            }
            self.unlock(state);
            waited = me.sleep(deadline);
            state = self.lock();
        }
    }
}

/// [`Policy::CallerRuns`].
impl Shared {
    fn submit_or_run<F>(self: &Arc<Self>, offer: Offer<F>) -> Submitted<F>
    where
        F: FnOnce() + Send + 'static,
    {
        let mut state = self.lock();
        let admitted = self.admit(&mut state, offer.class);
        if !matches!(admitted, Err(RejectReason::Full | RejectReason::NoThread)) {
            return self.conclude(state, offer, admitted);
        }
        let Some(_nesting) = Nesting::enter() else {
            return self.conclude(state, offer, Err(RejectReason::Full));
        };
        self.counters.per_job.submitted.increment();
        self.unlock_and_call(state);
        if contained::run(offer.job) == Outcome::Panicked {
            self.counters.panicked.increment();
        }
        self.ran_in_caller();
        Ok(None)
    }
}

/// [`Policy::DropOldest`].
impl Shared {
    fn submit_displacing<F>(self: &Arc<Self>, offer: Offer<F>, priority: Priority) -> Submitted<F>
    where
        F: FnOnce() + Send + 'static,
    {
        let mut state = self.lock();
        let mut admitted = self.admit_at_last(&mut state, offer.class);
        let mut displaced = None;
        if admitted == Err(RejectReason::Full) {
            displaced = state.queue.displace(priority);
            if displaced.is_some() {
                self.counters.cancelled.increment();
                // One out, one in. There is a thread, for jobs wait.
                admitted = Ok(());
            }
        }
        let submitted = self.conclude(state, offer, admitted);
        displaced.into_iter().for_each(|waiting| self.drop_unrun(waiting));
        submitted
    }
}
