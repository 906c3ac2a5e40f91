//! The end of a connection: what is counted, who runs its last hook, and how its slot comes back.
//!
//! A connection ends on whichever thread owns it then. The slot is the shard's: a thread without the lease
//! sends it back as a note.

use std::net::Shutdown;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::{Core, Shard};
use crate::connection::{Claim, State};
use crate::inbox::Note;
use crate::lease::Lease;
use crate::model::Model;
use crate::shared::Shared;

impl Shard {
    /// Ends a connection from any thread. The caller gives the slot back to the shard, unless there is none:
    /// a closing hook has it still, and it is freed after the hook.
    pub(super) fn end(self: &Arc<Self>, mut claim: Claim<'_>) -> Option<u32> {
        if !claim.session.is_left_over() {
            self.home.counters.closed.increment();
        }
        self.shared.peers.leave(claim.session.peer_addr());
        if let Some(receiving) = claim.receiving.take_if(|receiving| receiving.store.has_file()) {
            self.discard(receiving);
        }
        // Destructors may block, as hooks may. The event loop has nowhere else to go with them; hooks alone
        // need the pool under every model.
        let elsewhere = self.model != Model::EventLoop && claim.holds_values();
        if claim.opened || elsewhere {
            claim = match self.close_elsewhere(claim) {
                Ok(()) => return None,
                Err(claim) => claim,
            };
        }
        if claim.session.is_left_over() {
            self.shared.lifecycle.leftover_closed();
        } else {
            self.shared.lifecycle.connection_closed();
        }
        Some(claim.bury())
    }

    pub(super) fn end_with_lease<'s>(
        self: &'s Arc<Self>,
        lease: &mut Lease<'s, Core>,
        claim: Claim<'s>,
    ) {
        if let Some(index) = self.end(claim) {
            self.free_slot(lease, index);
        }
    }

    /// Ends a connection, from a thread without the shard.
    pub(super) fn finish_claim(self: &Arc<Self>, claim: Claim<'_>) {
        if let Some(index) = self.end(claim) {
            self.tell_freed(index);
        }
    }

    /// Runs `Protocol::closed` on the pool, if it is due, where the connection is ended then and what user
    /// code has left in it is dropped. What is only dropped needs no place in a pool whose threads are stuck. Gives
    /// the claim back if the hook has run already, because the pool is no more.
    fn close_elsewhere<'s>(self: &Arc<Self>, mut claim: Claim<'s>) -> Result<(), Claim<'s>> {
        claim.session.shut_down(Shutdown::Both);
        let (shard, index) = (Arc::clone(self), claim.index);
        let job = move || {
            if let Some(connection) = shard.slab.get(index) {
                let mut claim = connection.accept_claim(index);
                shard.run_close_hook(&mut claim);
                shard.bury(claim);
            }
        };
        let Shared { workers, pool, .. } = &*self.shared;
        let submitted = match claim.opened {
            true => pool.submit_essential(job).is_ok(),
            false => workers.submit_drop(pool, job),
        };
        if submitted {
            claim.pass_on();
            return Ok(());
        }
        self.run_close_hook(&mut claim);
        Err(claim)
    }

    fn bury(&self, claim: Claim<'_>) {
        self.shared.lifecycle.connection_closed();
        self.tell_freed(claim.bury());
    }

    /// A slot can be used again.
    pub(super) fn free_slot(&self, lease: &mut Lease<'_, Core>, index: u32) {
        lease.slots.free(index);
        self.resume_accept_after_close(lease);
    }

    /// Says that a slot is free. That can wait until the shard runs for another reason, unless clients
    /// wait for the room it makes.
    fn tell_freed(&self, index: u32) {
        if self.starved.load(Ordering::Relaxed) {
            self.tell(Note::Freed(index));
        } else {
            self.home.inbox.push(Note::Freed(index));
        }
    }
}

/// Says at `debug` why a connection is closed without a word to its peer.
pub(super) fn tell_closed(state: &State, why: &'static str) {
    let peer = state.session.peer_addr();
    tracing::debug!(peer = peer.map(tracing::field::display), "a connection is closed: {why}");
}
