//! Room for one more connection: near the limit, those that have been idle longest are closed.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::iter;
use std::net::Shutdown;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::{Core, Shard};
use crate::connection::Connection;
use crate::lease::Lease;
use crate::model::Model;
use crate::sys::{Ticks, ticks_ceil};

/// Only a connection that has been idle this long is closed to make room. Younger ones are in use.
const EVICT_AFTER: Duration = Duration::from_secs(1);

/// Closed at one go, so that a look at all connections pays for more than one accept.
const EVICT_BURST: usize = 32;

impl Shard {
    pub(super) fn has_room<'s>(self: &'s Arc<Self>, lease: &mut Lease<'s, Core>) -> bool {
        let below = || self.shared.lifecycle.connections() < self.connections_max;
        let slot = lease.slots.has_free(self.slab.capacity());
        (slot && below()) || (self.evict(lease) > 0 && below())
    }

    /// Closes those connections that have been idle longest. Returns how many are gone.
    pub(super) fn evict<'s>(self: &'s Arc<Self>, lease: &mut Lease<'s, Core>) -> usize {
        if self.model == Model::ThreadPerConnection {
            // One at a time: its own thread ends it, and there is room only then.
            let resting =
                self.longest_idle_first(lease, |connection| connection.rest.is_on()).next();
            resting.into_iter().for_each(|index| self.call_off(index));
            return 0;
        }
        let mut evicted = 0;
        for index in self.longest_idle_first(lease, Connection::is_idle) {
            if evicted == EVICT_BURST {
                break;
            }
            let Some(Ok(claim)) = self.slab.get(index).map(|slot| slot.claim(index)) else {
                continue;
            };
            // Parked, but in the middle of something: there may be many of these, and all of them older.
            if !claim.is_between_messages() {
                claim.park_with_lease();
                continue;
            }
            self.home.counters.evicted.increment();
            let peer = claim.session.peer_addr();
            tracing::debug!(peer = peer.map(display), "closed to make room: it was idle longest");
            if let Some(index) = self.end(claim) {
                lease.slots.free(index);
            }
            evicted += 1;
        }
        evicted
    }

    /// Those that have been idle for a while, in the order of that time. Sorted only as far as it is asked for.
    fn longest_idle_first<F: Fn(&Connection) -> bool>(
        &self,
        lease: &Lease<'_, Core>,
        is_idle: F,
    ) -> impl Iterator<Item = u32> + use<F> {
        let oldest_kept = lease.agenda.now().saturating_sub(ticks_ceil(EVICT_AFTER));
        let idle = lease.slots.used().filter_map(|index| {
            let connection = self.slab.get(index).filter(|connection| is_idle(connection))?;
            let last_used = connection.last_used.load(Ordering::Relaxed);
            (last_used < oldest_kept).then_some(Reverse((last_used, index)))
        });
        let mut idle: BinaryHeap<Reverse<(Ticks, u32)>> = idle.collect();
        iter::from_fn(move || idle.pop().map(|Reverse((_, index))| index))
    }

    /// Has a connection's own thread end it.
    fn call_off(&self, index: u32) {
        if self.slab.get(index).is_some_and(|connection| connection.rest.call_off()) {
            self.home.counters.evicted.increment();
            tracing::debug!(slot = index, "closed to make room: it was idle longest");
            self.shared.blocked.shut_down(self.number, index, Shutdown::Read);
        }
    }
}
