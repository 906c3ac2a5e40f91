//! Room for one more connection: near the limit, those that have been idle longest are closed.

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
            let resting = self.longest_idle(lease, 1, |connection| connection.rest.is_on());
            resting.into_iter().for_each(|index| self.call_off(index));
            return 0;
        }
        let mut evicted = 0;
        for index in self.longest_idle(lease, usize::MAX, Connection::is_idle) {
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

    /// The `count` connections that have been idle longest, of those that have been for a while: these first.
    fn longest_idle(
        &self,
        lease: &Lease<'_, Core>,
        count: usize,
        is_idle: impl Fn(&Connection) -> bool,
    ) -> Vec<u32> {
        let oldest_kept = lease.agenda.now().saturating_sub(ticks_ceil(EVICT_AFTER));
        let mut idle: Vec<(Ticks, u32)> = (lease.slots.used())
            .filter_map(|index| {
                let connection = self.slab.get(index).filter(|connection| is_idle(connection))?;
                let last_used = connection.last_used.load(Ordering::Relaxed);
                (last_used < oldest_kept).then_some((last_used, index))
            })
            .collect();
        if idle.len() > count {
            idle.select_nth_unstable(count);
            idle.truncate(count);
        }
        idle.sort_unstable();
        idle.into_iter().map(|(_, index)| index).collect()
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
