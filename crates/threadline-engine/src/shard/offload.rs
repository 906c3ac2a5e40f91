//! Connections whose message, reply or upgrade needs a thread that may block: the way to the pool.
//!
//! The connection's claim goes with the job, by its slot's number. The pool's queue is bounded: where it has
//! no room, the claim comes back, and a message is refused.

use std::mem;
use std::sync::Arc;

use super::conversation::Pause;
use super::desk::with_pool_desk;
use super::place::OnPool;
use super::{Desk, Shard};
use crate::connection::Claim;
use crate::protocol::Refusal;

impl Shard {
    /// Gives a connection that needs another thread to the pool. Where that has no room, a message is
    /// refused, and its connection goes on to be settled like any other; one that was to be upgraded has had
    /// its last reply, and ends. A call that was deferred has been accepted: its answer is not refused.
    pub(super) fn send_to_pool<'s>(
        self: &Arc<Self>,
        claim: Claim<'s>,
        pause: Pause,
        desk: &mut Desk,
    ) -> Option<(Claim<'s>, Pause)> {
        match pause {
            Pause::Offload => {
                // If the shard knows of more to read, it is read there, to the end.
                let until_dry = claim.unread;
                if claim.session.has_answer() {
                    let claim = self.pass_answer(claim, until_dry).err()?;
                    return Some((claim, Pause::Over));
                }
                let mut claim = self.pass_message(claim, until_dry).err()?;
                let pause = self.refuse(&mut claim, Refusal::Overloaded, desk);
                Some((claim, pause))
            }
            Pause::Upgrade => {
                let mut claim = self.pass_to_pool(claim, Shard::serve_upgrade).err()?;
                // It may have sent more already, and its last reply is on the way.
                claim.end_after_output();
                Some((claim, Pause::Yield))
            }
            pause => Some((claim, pause)),
        }
    }

    /// Passes the connection to a pool thread, which runs `work`. The claim comes back if the pool is full.
    pub(super) fn pass_to_pool<'s>(
        self: &Arc<Self>,
        claim: Claim<'s>,
        work: impl FnOnce(&Arc<Shard>, Claim<'_>) + Send + 'static,
    ) -> Result<(), Claim<'s>> {
        let job = self.job(claim.index, work);
        if self.shared.pool.try_submit(job).is_err() {
            self.home.counters.refused_overload.increment();
            return Err(claim);
        }
        claim.pass_on();
        Ok(())
    }

    /// A job that takes over the claim of the connection in that slot, and runs `work` with it.
    fn job<Work: FnOnce(&Arc<Shard>, Claim<'_>) + Send + 'static>(
        self: &Arc<Self>,
        index: u32,
        work: Work,
    ) -> impl FnOnce() + Send + use<Work> {
        let shard = Arc::clone(self);
        move || {
            if let Some(connection) = shard.slab.get(index) {
                work(&shard, connection.accept_claim(index));
            }
        }
    }

    /// Passes the connection to a pool thread, which answers its message, whether or not that has been read.
    pub(super) fn pass_message<'s>(
        self: &Arc<Self>,
        claim: Claim<'s>,
        until_dry: bool,
    ) -> Result<(), Claim<'s>> {
        let work = move |shard: &Arc<Shard>, claim: Claim<'_>| shard.work_off(claim, until_dry);
        self.pass_to_pool(claim, work)
    }

    /// Passes the connection to a pool thread, which writes the reply of a call that was deferred, even if the
    /// pool's queue is full. The claim comes back if there is no pool any more.
    fn pass_answer<'s>(
        self: &Arc<Self>,
        claim: Claim<'s>,
        until_dry: bool,
    ) -> Result<(), Claim<'s>> {
        let job = self.job(claim.index, move |shard, claim| shard.work_off(claim, until_dry));
        if self.shared.pool.submit_essential(job).is_err() {
            return Err(claim);
        }
        claim.pass_on();
        Ok(())
    }

    /// A pool thread's part: answers the message, and those behind it that are already here.
    fn work_off(self: &Arc<Self>, mut claim: Claim<'_>, until_dry: bool) {
        with_pool_desk(|desk| {
            let mut place = OnPool::new(self, mem::take(&mut desk.sampler));
            let pause = self.converse(&mut claim, desk, &mut place, until_dry);
            desk.sampler = place.take_sampler();
            let is_as_expected = !place.met_proven && claim.is_between_messages();
            claim.pooled_in_a_row =
                if is_as_expected { claim.pooled_in_a_row.saturating_add(1) } else { 0 };
            self.settle_elsewhere(claim, pause, desk);
        });
    }
}
