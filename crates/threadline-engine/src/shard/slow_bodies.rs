//! Keeping the budget of waiting bytes: which messages are ended whose content is being received.
//!
//! Content goes to files when the budget is used up, so it exceeds the budget only where these files are in memory
//! themselves. Then the slowest messages of each shard get the answer to one that is late, until a sixteenth of the
//! budget is free.

use std::sync::Arc;

use super::{Core, Desk, Shard};
use crate::inbox::Note;
use crate::lease::Lease;
use crate::log::limited;
use crate::protocol::Phase;
use crate::sys::{Ticks, ticks_long};

/// Content that has been received for less than this is not slow yet: about 1 s.
const SLOW_FROM: Ticks = 60;

/// How much of the budget is to be free: a part of that many.
const FREED: usize = 16;

impl Shard {
    /// If more bytes wait than may, closes connections whose output has stalled, and if that is not enough, has all
    /// shards end the slowest messages. From any thread, after content has gone to a file in memory.
    pub(super) fn keep_budget_of_bodies(&self) {
        self.home.keep_budget();
        if self.shared.waiting.is_over() && self.shared.bodies.begin_relief() {
            self.shared.mailboxes.homes().for_each(|home| home.tell(Note::SlowBodies));
        }
    }

    /// Ends the slowest of this shard's messages whose content waits in memory: its part of those of all shards.
    pub(super) fn end_slow_bodies<'s>(
        self: &'s Arc<Self>,
        lease: &mut Lease<'s, Core>,
        desk: &mut Desk,
    ) {
        self.shared.bodies.end_relief();
        let waiting = &self.shared.waiting;
        let kept = waiting.max() - waiting.max() / FREED;
        let shards = self.shared.mailboxes.homes().count().max(1);
        let mut excess = waiting.used().saturating_sub(kept).div_ceil(shards);
        let now = lease.agenda.now();
        let mut slow: Vec<_> = (lease.slots.used())
            .filter_map(|index| {
                let slot = self.slab.get(index).filter(|slot| slot.is_idle())?;
                let claim = slot.claim(index).ok()?;
                let rate = claim.receiving.as_ref().and_then(|receiving| {
                    let spent = now.saturating_sub(claim.phase_began);
                    let millis = ticks_long(spent).as_millis() as u64;
                    let is_slow = spent >= SLOW_FROM && receiving.store.held() > 0;
                    is_slow.then(|| receiving.received.saturating_mul(1000) / millis.max(1))
                });
                claim.park_with_lease();
                rate.map(|rate| (rate, index))
            })
            .collect();
        slow.sort_unstable();
        let mut ended = 0;
        for (_, index) in slow {
            if excess == 0 {
                break;
            }
            let Some(Ok(mut claim)) = self.slab.get(index).map(|slot| slot.claim(index)) else {
                continue;
            };
            let held = claim.receiving.as_ref().map_or(0, |receiving| receiving.store.held());
            excess = excess.saturating_sub(held);
            self.home.counters.bodies_over_budget.increment();
            self.say_timed_out(Phase::Body, &mut claim, desk);
            lease.batch.push_ready(claim);
            ended += 1;
        }
        if ended > 0 {
            let waiting_bytes_max = waiting.max();
            limited!(
                warn,
                route: "",
                "too many bytes of slow bodies wait in memory: the slowest are ended",
                ended,
                waiting_bytes_max
            );
        }
    }
}
