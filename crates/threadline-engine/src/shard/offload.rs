//! Connections whose message, reply, upgrade, hook or stream needs a thread that may block: the way to the pool, or
//! to the threads that the class of their route asks for.
//!
//! The lease holder puts the connection in the pool's queue or in the line of a gate, by its slot's number and the
//! number of this wait. The job takes the claim when it begins; until then the shard can take it back (`queued.rs`).
//! The queue is bounded, and so is the number of calls that wait at gates: where there is no room, the claim comes
//! back, and a message is refused.

use std::mem;
use std::sync::Arc;

use super::conversation::Pause;
use super::desk::with_pool_desk;
use super::errand::{Kind, Message, Passed};
use super::place::{OnPool, Pass};
use super::queued::{Queue, Work};
use super::{Core, Desk, Shard};
use crate::connection::Claim;
use crate::lease::Lease;
use crate::model::Model;
use crate::protocol::Refusal;
use crate::route::{Class, Hint, Route};
use crate::shared::Shared;
use crate::workers::QueuedJob;

/// Whether a call may be refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Urgency {
    /// If too many wait, it is.
    Refusable,
    /// It has been accepted before.
    Essential,
}

/// What the pool must have for a connection to be queued for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Room {
    /// Nothing: it goes before all that wait.
    Always,
    /// Room in its queue.
    InQueue,
    /// A thread that nothing in the queue will take.
    SpareThread,
}

impl Shard {
    /// Gives a connection that needs another thread to the pool. Where that has no room, a message is
    /// refused, and its connection goes on to be settled like any other; one that was to be upgraded has had
    /// its last reply, and ends. A call that was deferred has been accepted: its answer is not refused, nor
    /// is the rest of a reply.
    pub(super) fn send_to_pool<'s>(
        self: &'s Arc<Self>,
        lease: &mut Lease<'s, Core>,
        claim: Claim<'s>,
        pause: Pause,
        desk: &mut Desk,
    ) -> Option<(Claim<'s>, Pause)> {
        match pause {
            Pause::Offload => {
                // If the shard knows of more to read, it is read there, to the end.
                let until_dry = claim.unread;
                let route = lease.waits.way(claim.index, desk.refused);
                if claim.session.has_answer() {
                    let work = Work::Answer { until_dry };
                    // Only a trial asks for other threads: the reply is made, and its layers at most run.
                    let route = route.filter(|route| self.kind_of(route) == Some(Kind::Trial));
                    let claim = self.pass_call(lease, claim, work, route).err()?;
                    return Some((claim, Pause::Over));
                }
                let work = Work::Message { until_dry };
                let mut claim = self.pass_call(lease, claim, work, route).err()?;
                let pause = self.refuse(&mut claim, Refusal::Overloaded, desk);
                Some((claim, pause))
            }
            Pause::Fill => {
                let work = Work::Answer { until_dry: claim.unread };
                let claim = self.pass_source(lease, claim, work).err()?;
                Some((claim, Pause::Over))
            }
            Pause::Write => {
                let claim = self.pass_to_writer(claim).err()?;
                Some((claim, Pause::Over))
            }
            Pause::Upgrade => {
                let mut claim = self.pass_to_pool(lease, claim, Work::Upgrade).err()?;
                // It may have sent more already, and its last reply is on the way.
                claim.end_after_output();
                Some((claim, Pause::Yield))
            }
            pause => Some((claim, pause)),
        }
    }

    /// Passes the connection to a thread that may run the call of that route: a message, or the reply of a call
    /// that was deferred. The claim comes back if too many calls wait; of an essential one, if there is no pool
    /// any more.
    fn pass_call<'s>(
        self: &'s Arc<Self>,
        lease: &mut Lease<'s, Core>,
        claim: Claim<'s>,
        work: Work,
        route: Option<Arc<Route>>,
    ) -> Result<(), Claim<'s>> {
        let mut claim = claim;
        while let Some((route, kind)) =
            route.as_ref().and_then(|route| Some((route, self.kind_of(route)?)))
        {
            claim = match self.pass_by_gate(lease, claim, work, route, kind) {
                AtGate::Passed => return Ok(()),
                AtGate::Full(claim) => {
                    self.home.counters.refused_overload.increment();
                    return Err(claim);
                }
                AtGate::Void(claim) => claim,
            };
        }
        self.pass_to_pool(lease, claim, work)
    }

    /// Passes the connection to a thread that asks its source for more. A source of a route that does not block
    /// needs no thread that blocking calls may occupy. Its code may block all the same: where many of one route are
    /// asked, the pool is, if it has a thread to spare.
    fn pass_source<'s>(
        self: &'s Arc<Self>,
        lease: &mut Lease<'s, Core>,
        claim: Claim<'s>,
        work: Work,
    ) -> Result<(), Claim<'s>> {
        let route = claim.session.source_route();
        let route = route.unwrap_or_else(|| Arc::clone(&self.shared.protocols));
        if self.model != Model::Adaptive || route.class() == Class::Blocking {
            return self.pass_to_pool(lease, claim, work);
        }
        let mut claim = claim;
        if route.sources().is_full() {
            claim = match self.queue_for_pool(lease, claim, work, Room::SpareThread) {
                Ok(()) => return Ok(()),
                Err(claim) => claim,
            };
        }
        match self.pass_by_gate(lease, claim, work, &route, Kind::Source) {
            AtGate::Passed => Ok(()),
            AtGate::Full(claim) | AtGate::Void(claim) => Err(claim),
        }
    }

    /// Which threads run calls of that route, if not those of the pool.
    pub(super) fn kind_of(&self, route: &Route) -> Option<Kind> {
        if route.hint() == Hint::Streamed {
            return Some(Kind::Streamed);
        }
        if self.model != Model::Adaptive {
            return None;
        }
        match route.class() {
            Class::Unclassified => Some(Kind::Trial),
            Class::Computing => Some(Kind::Computing),
            Class::Proven | Class::Blocking => None,
        }
    }

    fn pass_by_gate<'s>(
        self: &'s Arc<Self>,
        lease: &mut Lease<'s, Core>,
        claim: Claim<'s>,
        work: Work,
        route: &Route,
        kind: Kind,
    ) -> AtGate<'s> {
        let (connection, index) = (claim.connection(), claim.index);
        if self.is_abandoned(&claim) {
            self.abandon(lease, claim);
            return AtGate::Passed;
        }
        let (shard, wait) = (Arc::clone(self), lease.waits.next_wait());
        claim.queue(wait);
        let message = |waiter| Message { shard, index, wait, work, kind, waiter };
        match self.pass_gate(kind, route, work.urgency(), message) {
            Passed::Yes(queue) => {
                self.begin_wait(lease, connection, index, work, queue);
                AtGate::Passed
            }
            Passed::Full => AtGate::Full(connection.take_over_claim(index)),
            Passed::Void(_message) => AtGate::Void(connection.take_over_claim(index)),
        }
    }

    /// Runs a job that has a place at its gate on a thread of that kind. Returns where it waits for that; `None` if no
    /// thread can be had.
    pub(super) fn submit_to<F>(&self, kind: Kind, urgency: Urgency, job: F) -> Option<QueuedJob>
    where
        F: FnOnce() + Send + 'static,
    {
        let Shared { workers, pool, .. } = &*self.shared;
        let submitted = match kind {
            Kind::Trial => workers.submit_trial(pool, job),
            Kind::Computing | Kind::Source => workers.submit_computing(pool, job),
            Kind::Streamed => pool.try_submit(job).map(QueuedJob::Pool),
        };
        match (submitted, urgency) {
            (Ok(queued), _) => Some(queued),
            (Err(rejected), Urgency::Essential) => {
                pool.submit_essential(rejected.job).ok().map(QueuedJob::Pool)
            }
            (Err(_), Urgency::Refusable) => None,
        }
    }

    /// Whether the peer of a connection that is about to wait is gone. Its event has been before: no other would
    /// tell.
    fn is_abandoned(&self, claim: &Claim<'_>) -> bool {
        claim.connection().has_hung_up() && claim.session.has_failed()
    }

    fn abandon<'s>(self: &'s Arc<Self>, lease: &mut Lease<'s, Core>, claim: Claim<'s>) {
        self.home.counters.abandoned_calls.increment();
        self.end_with_lease(lease, claim);
    }

    /// Puts the connection in the pool's queue for `work`, or ends it if its peer is gone. The claim comes back if
    /// there is no room, or, for the reply of a call that was deferred, if there is no pool any more.
    pub(super) fn pass_to_pool<'s>(
        self: &'s Arc<Self>,
        lease: &mut Lease<'s, Core>,
        claim: Claim<'s>,
        work: Work,
    ) -> Result<(), Claim<'s>> {
        let room = if matches!(work, Work::Answer { .. }) { Room::Always } else { Room::InQueue };
        let sent = self.queue_for_pool(lease, claim, work, room);
        if sent.is_err() && room == Room::InQueue {
            self.home.counters.refused_overload.increment();
        }
        sent
    }

    /// As [`Shard::pass_to_pool`], for a message that nobody has looked at. It may be of a route whose calls need not
    /// wait for those that hang, so that the claim comes back unless a pool thread is free for it alone.
    pub(super) fn pass_unread<'s>(
        self: &'s Arc<Self>,
        lease: &mut Lease<'s, Core>,
        claim: Claim<'s>,
        work: Work,
    ) -> Result<(), Claim<'s>> {
        self.queue_for_pool(lease, claim, work, Room::SpareThread)
    }

    fn queue_for_pool<'s>(
        self: &'s Arc<Self>,
        lease: &mut Lease<'s, Core>,
        claim: Claim<'s>,
        work: Work,
        room: Room,
    ) -> Result<(), Claim<'s>> {
        let (connection, index) = (claim.connection(), claim.index);
        if self.is_abandoned(&claim) {
            self.abandon(lease, claim);
            return Ok(());
        }
        let (shard, wait) = (Arc::clone(self), lease.waits.next_wait());
        claim.queue(wait);
        let job = move || {
            // If the shard has taken the connection back, there is nothing to do.
            if let Some(slot) = shard.slab.get(index)
                && let Some(claim) = slot.begin(index, wait)
            {
                shard.do_work(claim, work);
            }
        };
        let pool = &self.shared.pool;
        let submitted = match room {
            Room::Always => pool.submit_essential(job),
            Room::InQueue => pool.try_submit(job),
            Room::SpareThread => pool.submit_to_spare(job),
        };
        match submitted {
            Ok(ticket) => {
                self.begin_wait(lease, connection, index, work, Queue::Pool(ticket));
                Ok(())
            }
            Err(_) => Err(connection.take_over_claim(index)),
        }
    }

    /// A pool thread's part.
    fn do_work(self: &Arc<Self>, claim: Claim<'_>, work: Work) {
        match work {
            Work::Message { until_dry } | Work::Answer { until_dry } => {
                self.work_off(claim, until_dry, Pass::Pool);
            }
            Work::Upgrade => self.serve_upgrade(claim),
            Work::Open => self.serve_open_hook(claim),
            Work::Stream => self.serve_stream(claim),
        }
    }

    /// Answers the message, and those after it that are already here. Returns the pass, which may have a place at a
    /// gate to hand on.
    pub(super) fn work_off(
        self: &Arc<Self>,
        mut claim: Claim<'_>,
        until_dry: bool,
        pass: Pass,
    ) -> Pass {
        with_pool_desk(|desk| {
            let of_pool = matches!(pass, Pass::Pool);
            let mut place = OnPool::new(self, pass, mem::take(&mut desk.sampler));
            let pause = self.converse(&mut claim, desk, &mut place, until_dry);
            desk.sampler = place.take_sampler();
            let belongs_here = of_pool && pause != Pause::Offload;
            let is_as_expected = belongs_here && !place.met_proven && claim.is_between_messages();
            claim.pooled_in_a_row =
                if is_as_expected { claim.pooled_in_a_row.saturating_add(1) } else { 0 };
            self.settle_elsewhere(claim, pause, desk.refused);
            place.into_pass()
        })
    }
}

/// How a connection has fared at a gate.
enum AtGate<'s> {
    /// It has a thread, or waits for one, or its peer is gone.
    Passed,
    /// Too many calls wait.
    Full(Claim<'s>),
    /// The class of the route has just changed.
    Void(Claim<'s>),
}
