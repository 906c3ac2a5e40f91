//! Calls that wait at a gate: a connection's message, or a datagram.
//!
//! When a message has a place, it is answered by the thread that had the place before, or by one of its own. When
//! the gate does not apply to it any more, or no thread can be had, its connection goes back to the shard, which
//! looks for its way again. The shard may take the connection back at any time: then the errand does nothing.

use std::sync::Arc;

use parking_lot::Mutex;

use super::Shard;
use super::offload::Urgency;
use super::place::Pass;
use super::queued::{Queue, Work};
use crate::connection::Wait;
use crate::inbox::Note;
use crate::route::{Class, Route};
use crate::shared::Shared;
use crate::workers::{Admission, Errand, Gate, Permit, Waiter, run_in_turn};

/// Which gate a call is at, and so which threads run it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Trial,
    Computing,
    Streamed,
    /// The rest of a reply, from a source of a route that does not block.
    Source,
}

impl Kind {
    /// The gate that calls of this kind and that route go through.
    pub(super) fn gate<'g>(self, shared: &'g Shared, route: &'g Route) -> &'g Arc<Gate> {
        match self {
            Kind::Trial => route.trials(),
            Kind::Computing => &shared.workers.cores,
            Kind::Streamed => &shared.workers.streams,
            Kind::Source => route.sources(),
        }
    }
}

/// A connection whose message, or the reply of a deferred call, waits.
pub(super) struct Message {
    pub(super) shard: Arc<Shard>,
    pub(super) index: u32,
    pub(super) wait: Wait,
    pub(super) work: Work,
    pub(super) kind: Kind,
    /// `None` if it has had a place at once.
    pub(super) waiter: Option<Waiter>,
}

impl Errand for Message {
    fn run(self: Box<Self>, permit: Permit) -> Option<Permit> {
        let Message { shard, index, wait, work, kind, waiter } = *self;
        drop(waiter);
        let claim = shard.slab.get(index).and_then(|slot| slot.begin(index, wait));
        // If the shard has taken the connection back, there is nothing to do.
        let Some(claim) = claim else { return Some(permit) };
        match work {
            Work::Message { until_dry } | Work::Answer { until_dry } => {
                shard.work_off(claim, until_dry, Pass::Place(kind, permit)).into_permit()
            }
            Work::Upgrade | Work::Open | Work::Stream => unreachable!("these are no calls"),
        }
    }

    fn start(mut self: Box<Self>, permit: Permit) -> Result<(), Permit> {
        // In the queue of a pool it counts there.
        let _until_queued = self.waiter.take();
        let (shard, kind, urgency) = (Arc::clone(&self.shard), self.kind, self.work.urgency());
        start(&shard, kind, urgency, self, permit).map_err(|(errand, permit)| {
            errand.send_back();
            permit
        })
    }

    fn send_back(self: Box<Self>) {
        let Message { shard, index, wait, .. } = *self;
        if let Some(claim) = shard.slab.get(index).and_then(|slot| slot.begin(index, wait)) {
            shard.tell(Note::Returned(claim.pass_on()));
        }
    }
}

/// Runs an errand, and those that wait for its place, on a thread of that kind. Both come back if no thread can
/// be had.
pub(super) fn start<E: Errand + 'static>(
    shard: &Shard,
    kind: Kind,
    urgency: Urgency,
    errand: Box<E>,
    permit: Permit,
) -> Result<(), (Box<E>, Permit)> {
    let (gate, position) = permit.position();
    // A job that is rejected does not give back what it has captured.
    let slot = Arc::new(Mutex::new(Some((errand, permit))));
    let of_job = Arc::clone(&slot);
    let submitted = shard.submit_to(kind, urgency, move || {
        let taken = of_job.lock().take();
        if let Some((errand, permit)) = taken {
            run_in_turn(errand, permit);
        }
    });
    let Some(job) = submitted else {
        let left = slot.lock().take();
        return left.map_or(Ok(()), Err);
    };
    // The job alone has the rest: what is withdrawn is dropped with it.
    drop(slot);
    if !gate.queued(position, job) {
        shard.shared.workers.withdraw(&shard.shared.pool, job);
    }
    Ok(())
}

/// How a call has fared at a gate.
pub(super) enum Passed {
    /// It has a place, and a thread is on its way; or it waits. There it can be withdrawn.
    Yes(Queue),
    /// Too many calls wait, or no thread can be had.
    Full,
    /// The class of the route has just changed.
    Void(Box<dyn Errand>),
}

impl Shard {
    /// Gives a call of that route a place at its gate and a thread, or has it wait in line.
    pub(super) fn pass_gate<E: Errand + 'static>(
        &self,
        kind: Kind,
        route: &Route,
        urgency: Urgency,
        errand: impl FnOnce(Option<Waiter>) -> E,
    ) -> Passed {
        let gate = kind.gate(&self.shared, route);
        if let Some(permit) = gate.try_enter() {
            let (_, position) = permit.position();
            let started = start(self, kind, urgency, Box::new(errand(None)), permit);
            return match started {
                Ok(()) => Passed::Yes(Queue::at_gate(kind, route, position)),
                Err(_) => Passed::Full,
            };
        }
        let Some(waiter) = self.wait_at_gate(urgency) else { return Passed::Full };
        match gate.enter(Box::new(errand(Some(waiter))), || applies(kind, route)) {
            Admission::Waits(position) => {
                self.home.counters.calls_parked.increment();
                Passed::Yes(Queue::at_gate(kind, route, position))
            }
            Admission::Admitted(errand, permit) => {
                let (_, position) = permit.position();
                // Without a thread it sees to itself.
                drop(errand.start(permit));
                Passed::Yes(Queue::at_gate(kind, route, position))
            }
            Admission::Void(errand) => Passed::Void(errand),
        }
    }

    /// Counts a call that is about to wait at a gate, if it may.
    fn wait_at_gate(&self, urgency: Urgency) -> Option<Waiter> {
        let len_max = match urgency {
            Urgency::Refusable => self.shared.settings.pool_queue_max,
            Urgency::Essential => usize::MAX,
        };
        self.shared.workers.wait(&self.shared.pool, len_max)
    }
}

/// Whether the gate for calls of that kind still applies to those of the route.
fn applies(kind: Kind, route: &Route) -> bool {
    // One that has become a blocking one while it waited to compute finds its way to the pool afterwards.
    kind != Kind::Trial || route.class() == Class::Unclassified
}
