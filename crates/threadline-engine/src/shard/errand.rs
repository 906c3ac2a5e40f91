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
use super::queued::Work;
use crate::connection::Wait;
use crate::inbox::Note;
use crate::workers::{Errand, Permit, Waiter, run_in_turn};

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
    pub(super) fn pass(self, permit: Permit) -> Pass {
        match self {
            Kind::Trial => Pass::Trial(permit),
            Kind::Computing => Pass::Computing(permit),
            Kind::Streamed => Pass::Streamed(permit),
            Kind::Source => Pass::Source(permit),
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
                shard.work_off(claim, until_dry, kind.pass(permit)).into_permit()
            }
            Work::Upgrade | Work::Open | Work::Stream => unreachable!("these are no calls"),
        }
    }

    fn start(self: Box<Self>, permit: Permit) -> Result<(), Permit> {
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
    // A job that is rejected does not give back what it has captured.
    let slot = Arc::new(Mutex::new(Some((errand, permit))));
    let of_job = Arc::clone(&slot);
    let submitted = shard.submit_to(kind, urgency, move || {
        let taken = of_job.lock().take();
        if let Some((errand, permit)) = taken {
            run_in_turn(errand, permit);
        }
    });
    let left = if submitted { None } else { slot.lock().take() };
    left.map_or(Ok(()), Err)
}
