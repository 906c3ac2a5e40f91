//! A connection's turn on its shard: the way from an event, a note or the queue to its conversation.
//!
//! Called by the loop. Where the connection goes afterwards, `settle.rs` decides.

use std::sync::Arc;

use super::conversation::{Conversation, Pause};
use super::key::Key;
use super::place::OnShard;
use super::{Core, Desk, Shard};
use crate::connection::{Claim, Claimed, State};
use crate::lease::Lease;
use crate::service::Service;
use crate::sys::Readiness;
use crate::transport::Ahead;
use crate::turn::Place;

/// The lease after a turn; `None` if the shard has been lost in it.
pub(super) type Turned<'s> = Option<Lease<'s, Core>>;

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
                self.turn(lease, claim, hang_up, desk)
            }
            // Its owner will hand it over, but may run a handler for long meanwhile, or sleep in a read: what
            // is pushed does not wait for that.
            Err(Claimed::Noted) if readiness.output() => {
                let key = Key::Connection { index, generation };
                if let Some(outbox) = self.home.outputs.get(key.pack()) {
                    outbox.flush_for_owner();
                }
                Some(lease)
            }
            Err(_) => Some(lease),
        }
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
        lease: Lease<'s, Core>,
        index: u32,
        desk: &mut Desk,
    ) -> Turned<'s> {
        let Some(connection) = self.slab.get(index) else { return Some(lease) };
        let mut claim = connection.take_over_claim(index);
        // An edge may have come and gone while another thread had it.
        claim.unread = true;
        self.turn(lease, claim, true, desk)
    }

    #[inline(always)]
    fn turn<'s>(
        self: &'s Arc<Self>,
        lease: Lease<'s, Core>,
        mut claim: Claim<'s>,
        until_dry: bool,
        desk: &mut Desk,
    ) -> Turned<'s> {
        if let Service::Stream(service) = &claim.service {
            if until_dry && is_at_end(&claim) {
                let mut lease = lease;
                self.end_with_lease(&mut lease, claim);
                return Some(lease);
            }
            self.start_stream(Arc::clone(service), claim);
            return Some(lease);
        }
        // The shard need not read what most likely belongs on the pool, nor copy it, nor the protocol look
        // at it twice.
        if claim.is_regular_of_the_pool() && self.shared.pool.has_spare() {
            match self.pass_message(claim, until_dry) {
                Ok(()) => {
                    self.home.counters.passed_unread.increment_alone();
                    return Some(lease);
                }
                Err(refused) => claim = refused,
            }
        }
        let mut place = OnShard::new(self, lease);
        let pause = self.converse(&mut claim, desk, &mut place, until_dry);
        match place.lease {
            Some(mut lease) => {
                self.settle_with_lease(&mut lease, claim, pause, desk);
                Some(lease)
            }
            None => {
                self.settle_elsewhere(claim, pause, desk);
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
        Conversation { shard: self, state, desk, place, budget, dry: false, blocking: false }
            .run(until_dry)
    }
}

/// The peer has closed, and nothing is left to read.
fn is_at_end(state: &State) -> bool {
    state.session.transport().is_none_or(|transport| transport.ahead() == Ahead::End)
}
