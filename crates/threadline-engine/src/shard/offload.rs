//! Connections whose message, reply, upgrade, hook or stream needs a thread that may block: the way to the pool.
//!
//! The lease holder puts the connection in the pool's queue, by its slot's number and the number of this wait. The
//! job takes the claim when it begins; until then the shard can take it back (`queued.rs`). The queue is
//! bounded: where it has no room, the claim comes back, and a message is refused.

use std::mem;
use std::sync::Arc;

use super::conversation::Pause;
use super::desk::with_pool_desk;
use super::place::OnPool;
use super::queued::Work;
use super::{Core, Desk, Shard};
use crate::connection::Claim;
use crate::lease::Lease;
use crate::protocol::Refusal;

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
                if claim.session.has_answer() {
                    let claim =
                        self.pass_to_pool(lease, claim, Work::Answer { until_dry }).err()?;
                    return Some((claim, Pause::Over));
                }
                let work = Work::Message { until_dry };
                let mut claim = self.pass_to_pool(lease, claim, work).err()?;
                let pause = self.refuse(&mut claim, Refusal::Overloaded, desk);
                Some((claim, pause))
            }
            Pause::Fill => {
                let work = Work::Answer { until_dry: claim.unread };
                let claim = self.pass_to_pool(lease, claim, work).err()?;
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

    /// Puts the connection in the pool's queue for `work`, or ends it if its peer is gone. The claim comes back if
    /// there is no room, or, for the reply of a call that was deferred, if there is no pool any more.
    pub(super) fn pass_to_pool<'s>(
        self: &'s Arc<Self>,
        lease: &mut Lease<'s, Core>,
        claim: Claim<'s>,
        work: Work,
    ) -> Result<(), Claim<'s>> {
        let (connection, index) = (claim.connection(), claim.index);
        // Its event has been before: no other would tell.
        if connection.has_hung_up() && claim.session.has_failed() {
            self.home.counters.abandoned_calls.increment();
            self.end_with_lease(lease, claim);
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
        let submitted = match work {
            Work::Answer { .. } => pool.submit_essential(job),
            _ => pool.try_submit(job),
        };
        match submitted {
            Ok(place) => {
                self.begin_wait(lease, connection, index, work, place);
                Ok(())
            }
            Err(_) => {
                if !matches!(work, Work::Answer { .. }) {
                    self.home.counters.refused_overload.increment();
                }
                Err(connection.take_over_claim(index))
            }
        }
    }

    /// A pool thread's part.
    fn do_work(self: &Arc<Self>, claim: Claim<'_>, work: Work) {
        match work {
            Work::Message { until_dry } | Work::Answer { until_dry } => {
                self.work_off(claim, until_dry);
            }
            Work::Upgrade => self.serve_upgrade(claim),
            Work::Open => self.serve_open_hook(claim),
            Work::Stream => self.serve_stream(claim),
        }
    }

    /// Answers the message, and those behind it that are already here.
    fn work_off(self: &Arc<Self>, mut claim: Claim<'_>, until_dry: bool) {
        with_pool_desk(|desk| {
            let mut place = OnPool::new(self, mem::take(&mut desk.sampler));
            let pause = self.converse(&mut claim, desk, &mut place, until_dry);
            desk.sampler = place.take_sampler();
            let is_as_expected = !place.met_proven && claim.is_between_messages();
            claim.pooled_in_a_row =
                if is_as_expected { claim.pooled_in_a_row.saturating_add(1) } else { 0 };
            self.settle_elsewhere(claim, pause);
        });
    }
}
