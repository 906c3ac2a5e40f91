//! A connection's turn on its shard: the way from an event, a note or the queue to its conversation.
//!
//! Called by the loop. Where the connection goes afterwards, `settle.rs` decides.

use std::sync::Arc;

use super::conversation::{Conversation, Pause};
use super::key::Key;
use super::place::OnShard;
use super::queued::{HangUp, Work};
use super::{Core, Desk, Shard};
use crate::connection::{Claim, Claimed, State};
use crate::lease::Lease;
use crate::protocol::Refusal;
use crate::service::Service;
use crate::sys::Readiness;
use crate::transport::Ahead;
use crate::turn::Place;

/// The lease after a turn; `None` if the shard has been lost in it.
pub(super) type Turned<'s> = Option<Lease<'s, Core>>;

/// What becomes of a message that belongs on a pool thread.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Offloaded {
    Queued,
    /// It has waited for a thread before, for too long.
    Refused,
}

impl Shard {
    /// A connection's event.
    #[inline(always)]
    pub(super) fn serve_connection<'s>(
        self: &'s Arc<Self>,
        lease: Lease<'s, Core>,
        index: u32,
        generation: u32,
        readiness: Readiness,
        desk: &mut Desk,
    ) -> Turned<'s> {
        let Some(connection) = self.slab.get(index) else { return Some(lease) };
        // An event for an earlier connection of this slot, which has been closed in this batch.
        if connection.generation() != generation {
            return Some(lease);
        }
        match connection.claim(index) {
            Ok(mut claim) => {
                claim.unread |= readiness.input();
                let hang_up = readiness.hang_up() || claim.session.has_hung_up();
                if hang_up {
                    connection.note_hang_up();
                }
                self.turn(lease, claim, hang_up, Offloaded::Queued, desk)
            }
            Err(Claimed::Gone) => Some(lease),
            Err(claimed) => {
                let mut lease = lease;
                let key = Key::Connection { index, generation }.pack();
                // Its owner will hand it over, but may run a handler for long meanwhile, or sleep in a read: what
                // is pushed does not wait for that.
                if readiness.output()
                    && let Some(outbox) = self.home.outputs.get(key)
                {
                    outbox.flush_for_owner();
                }
                if let Some(hang_up) = HangUp::of(readiness).or(self.scripted_hang_up(key)) {
                    connection.note_hang_up();
                    if let Claimed::Queued(wait) = claimed {
                        self.hung_up_in_queue(&mut lease, connection, index, wait, hang_up);
                    }
                }
                Some(lease)
            }
        }
    }

    /// What simulated connections have for the flags of events.
    #[inline(always)]
    fn scripted_hang_up(&self, key: u64) -> Option<HangUp> {
        #[cfg(feature = "testing")]
        if let Some((half_closed, failed)) = self.home.probes.hang_up(key) {
            return match (half_closed, failed) {
                (_, true) => Some(HangUp::Failed),
                (true, false) => Some(HangUp::HalfClosed),
                (false, false) => None,
            };
        }
        let _ = key;
        None
    }

    /// A call of a connection has its answer: the connection gets a turn, now or from its owner.
    pub(super) fn note_answer(&self, lease: &mut Lease<'_, Core>, key: u64) {
        let Key::Connection { index, generation } = Key::unpack(key) else { return };
        let connection = self.slab.get(index).filter(|slot| slot.generation() == generation);
        if let Some(Ok(claim)) = connection.map(|connection| connection.claim(index)) {
            lease.batch.push_ready(claim);
        }
    }

    /// A connection that the shard already owns goes on.
    pub(super) fn resume<'s>(
        self: &'s Arc<Self>,
        mut lease: Lease<'s, Core>,
        index: u32,
        desk: &mut Desk,
    ) -> Turned<'s> {
        let Some(connection) = self.slab.get(index) else { return Some(lease) };
        let if_offloaded = match lease.waits.take_overdue(index) {
            true => Offloaded::Refused,
            false => Offloaded::Queued,
        };
        let mut claim = connection.take_over_claim(index);
        // An edge may have come and gone while another thread had it.
        claim.unread = true;
        self.turn(lease, claim, true, if_offloaded, desk)
    }

    #[inline(always)]
    fn turn<'s>(
        self: &'s Arc<Self>,
        mut lease: Lease<'s, Core>,
        mut claim: Claim<'s>,
        until_dry: bool,
        if_offloaded: Offloaded,
        desk: &mut Desk,
    ) -> Turned<'s> {
        if let Service::Stream(service) = &claim.service {
            if until_dry && is_at_end(&claim) {
                self.end_with_lease(&mut lease, claim);
                return Some(lease);
            }
            let service = Arc::clone(service);
            self.start_stream(&mut lease, service, claim);
            return Some(lease);
        }
        // The shard need not read what most likely belongs on the pool, nor copy it, nor the protocol look
        // at it twice. Of a peer that has hung up the end is most likely all there is.
        let may_pass_unread = if_offloaded == Offloaded::Queued
            && claim.is_regular_of_the_pool()
            && !claim.connection().has_hung_up();
        if may_pass_unread && self.shared.pool.has_spare() {
            match self.pass_unread(&mut lease, claim, Work::Message { until_dry }) {
                Ok(()) => {
                    self.home.counters.passed_unread.increment_alone();
                    return Some(lease);
                }
                Err(refused) => claim = refused,
            }
        }
        let mut place = OnShard::new(self, lease);
        let mut pause = self.converse(&mut claim, desk, &mut place, until_dry);
        let is_refused = if_offloaded == Offloaded::Refused && pause == Pause::Offload;
        if is_refused && !claim.session.has_answer() {
            pause = self.refuse(&mut claim, Refusal::Overloaded, desk);
        }
        match place.lease {
            Some(mut lease) => {
                self.settle_with_lease(&mut lease, claim, pause, desk);
                Some(lease)
            }
            None => {
                self.settle_elsewhere(claim, pause, desk.refused);
                None
            }
        }
    }

    #[inline(always)]
    pub(super) fn converse(
        &self,
        state: &mut State,
        desk: &mut Desk,
        place: &mut dyn Place,
        until_dry: bool,
    ) -> Pause {
        let budget = self.shared.settings.messages_per_turn;
        Conversation::new(self, state, desk, place, budget).run(until_dry)
    }
}

/// The peer has closed, and nothing is left to read.
fn is_at_end(state: &State) -> bool {
    state.session.transport().is_none_or(|transport| transport.ahead() == Ahead::End)
}
