//! Going down: no new connections, those in the middle of something finish, idle ones are closed.
//!
//! A drain ends: open push streams and idle keep-alive connections do not hold it up, and at the
//! deadline what is left is cut off. An idle connection is closed only after a short silence, since a
//! request may be on its way to it; it is answered, with a close.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use rustix::net::Shutdown;

use super::key::Key;
use super::{Core, Shard};
use crate::lease::Lease;
use crate::listener::Kind;
use crate::shared::Phase;
use crate::sys::{Ticks, ticks_ceil};

/// How often a draining shard looks what is left.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// A drain under way.
#[derive(Debug, Clone, Copy)]
pub(super) struct Drain {
    began: Ticks,
}

impl Shard {
    /// The engine's phase has changed.
    pub(super) fn phase_changed<'s>(self: &'s Arc<Self>, lease: &mut Lease<'s, Core>) {
        let phase = self.shared.phase();
        if phase >= Phase::Draining && lease.drain.is_none() {
            self.begin_drain(lease);
        }
        if phase >= Phase::Aborting {
            self.abort(lease);
        }
    }

    fn begin_drain<'s>(self: &'s Arc<Self>, lease: &mut Lease<'s, Core>) {
        // Who has been let into the backlog has been accepted, as far as the client can tell.
        for number in 0..lease.sources.len() {
            if lease.sources[number].kind == Kind::Connections {
                self.accept(lease, number, usize::MAX);
            }
        }
        lease.drain = Some(Drain { began: lease.now });
        for source in &lease.sources {
            let _ = self.home.epoll.remove(source);
        }
        lease.sources.clear();
        self.drain_further(lease);
    }

    /// Closes what has become idle.
    pub(super) fn drain_further<'s>(self: &'s Arc<Self>, lease: &mut Lease<'s, Core>) {
        let Some(drain) = lease.drain else { return };
        let silence = ticks_ceil(self.shared.settings.drain_idle);
        for index in 0..lease.fresh {
            let Some(connection) = self.slab.get(index) else { continue };
            let last_used = connection.last_used.load(Ordering::Relaxed);
            let silent = lease.now.saturating_sub(last_used.max(drain.began)) >= silence;
            if !connection.is_idle() {
                // A thread of its own may sit in a read.
                if silent {
                    self.shared.blocked.shut_down(self.number, index, Shutdown::Read);
                }
                continue;
            }
            let Ok(claim) = connection.claim(index) else { continue };
            // Nothing is under way; a connection that only lingers has had its reply.
            let busy = claim.phase.is_some() || claim.session.output_waits();
            if silent && !busy {
                self.end_with_lease(lease, claim);
            } else {
                claim.park_with_lease();
            }
        }
        let core = &mut **lease;
        core.wheel.insert(core.now + ticks_ceil(LOOK_EVERY), Key::Drain);
    }

    /// Cuts off what is left. Connections that a thread has right now lose their socket's both
    /// directions if it blocks on them, and are otherwise left to their handler.
    fn abort<'s>(self: &'s Arc<Self>, lease: &mut Lease<'s, Core>) {
        for index in 0..lease.fresh {
            let Some(slot) = self.slab.get(index).filter(|slot| slot.is_idle()) else { continue };
            if let Ok(claim) = slot.claim(index) {
                self.home.counters.aborted.increment();
                self.end_with_lease(lease, claim);
            }
        }
        (0..lease.fresh)
            .for_each(|index| self.shared.blocked.shut_down(self.number, index, Shutdown::Both));
    }
}
