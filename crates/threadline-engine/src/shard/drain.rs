//! Going down: no new connections, those in the middle of something finish, idle ones are closed.
//!
//! A drain ends: open push streams and idle keep-alive connections do not hold it up, and at the
//! deadline what is left is cut off. An idle connection is closed only after a short silence, since a
//! request may be on its way to it; it is answered, with a close. Then our side is closed first and the
//! socket after another silence: a request that crosses the close finds a closed connection and not a
//! reset one.

use std::net::Shutdown;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::key::Key;
use super::{Core, Shard};
use crate::connection::{AtDrain, Connection, Ending};
use crate::lease::Lease;
use crate::listener::Source;
use crate::service::Service;
use crate::shared::Phase;
use crate::sys::{Ticks, ticks_ceil};

/// How long listeners stay open after the drain has begun, for handshakes that are under way.
const LISTEN_FOR: Duration = Duration::from_millis(20);
/// The same for sockets that other processes have. A worker may hear of the end earlier than its supervisor,
/// which refuses newcomers: with the last worker's copy of a socket its queue would be lost.
const LISTEN_TOGETHER_FOR: Duration = Duration::from_millis(200);
/// How often a draining shard looks what is left.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// How often it looks for connections that come back after the cut.
const ABORT_EVERY: Duration = Duration::from_millis(10);

/// A drain under way.
#[derive(Debug, Clone, Copy)]
pub(super) struct Drain {
    began: Ticks,
    /// The connections that threads have at the deadline are counted.
    counted: bool,
}

impl Drain {
    /// Whether a listener stays open, beyond the first look.
    pub(super) fn listens_on(&self, source: &Source, now: Ticks) -> bool {
        !source.ours_alone && now.saturating_sub(self.began) < ticks_ceil(LISTEN_TOGETHER_FOR)
    }
}

impl Shard {
    /// The engine's phase has changed.
    pub(super) fn phase_changed<'s>(self: &'s Arc<Self>, lease: &mut Lease<'s, Core>) {
        if self.shared.lifecycle.phase() >= Phase::Draining {
            if lease.drain.is_none() {
                self.begin_drain(lease);
            }
            self.drain_further(lease);
        }
    }

    fn begin_drain<'s>(self: &'s Arc<Self>, lease: &mut Lease<'s, Core>) {
        lease.drain = Some(Drain { began: self.home.clock.ticks(), counted: false });
        self.home.draining.store(true, Ordering::Relaxed);
        lease.intake.refuse_newcomers(&self.home.epoll);
        lease.agenda.insert_after(ticks_ceil(LISTEN_FOR), Key::Drain);
        // The queue of a listener is served as well: as far as its clients can tell they are accepted.
        if self.shared.lifecycle.phase() < Phase::Aborting {
            self.accept_all(lease);
        }
    }

    /// A draining shard's timer.
    pub(super) fn look_at_drain<'s>(self: &'s Arc<Self>, lease: &mut Lease<'s, Core>) {
        self.close_sources(lease);
        self.drain_further(lease);
        let aborts = self.shared.lifecycle.phase() >= Phase::Aborting;
        let next = ticks_ceil(if aborts { ABORT_EVERY } else { LOOK_EVERY });
        lease.agenda.insert_after(next, Key::Drain);
    }

    /// Closes what has become idle.
    fn drain_further<'s>(self: &'s Arc<Self>, lease: &mut Lease<'s, Core>) {
        let Some(drain) = lease.drain else { return };
        let phase = self.shared.lifecycle.phase();
        if phase >= Phase::Aborting {
            self.close_sources(lease);
            return self.abort(lease);
        }
        let closing = phase >= Phase::Closing;
        let silence = if closing { 0 } else { ticks_ceil(self.shared.settings.drain_idle) };
        for index in lease.slots.used() {
            let Some(connection) = self.slab.get(index) else { continue };
            let last_used = connection.last_used.load(Ordering::Relaxed);
            if lease.agenda.now().saturating_sub(last_used.max(drain.began)) < silence {
                continue;
            }
            if connection.is_idle() {
                self.close_idle(lease, index, connection);
            } else {
                self.call_off_own_thread(lease, index, connection);
            }
        }
    }

    /// Closes a parked connection, unless something is under way on it.
    fn close_idle<'s>(
        self: &'s Arc<Self>,
        lease: &mut Lease<'s, Core>,
        index: u32,
        connection: &'s Connection,
    ) {
        let Ok(mut claim) = connection.claim(index) else { return };
        if claim.is_in_the_middle() {
            return claim.park_with_lease();
        }
        let is_stream = matches!(claim.service, Service::Stream(_));
        if claim.session.unread_len() > 0 && claim.ending == Ending::No {
            // Its event is on the way.
            lease.batch.push_ready(claim);
        } else if is_stream || matches!(claim.ending, Ending::Lingering(_)) {
            self.end_with_lease(lease, claim);
        } else {
            claim.session.end_push_at_drain();
            claim.end_after_output();
            lease.batch.push_ready(claim);
        }
    }

    /// As [`Shard::close_idle`], for a connection whose own thread may sit in a read.
    fn call_off_own_thread(
        &self,
        lease: &mut Lease<'_, Core>,
        index: u32,
        connection: &Connection,
    ) {
        let blocked = &self.shared.blocked;
        if blocked.output_waits(self.number, index) {
            return;
        }
        match connection.rest.call_off_at_drain() {
            AtDrain::Busy => {}
            AtDrain::CalledOff => {
                connection.last_used.store(lease.agenda.now(), Ordering::Relaxed);
                blocked.shut_down(self.number, index, Shutdown::Write);
            }
            AtDrain::Ending => blocked.shut_down(self.number, index, Shutdown::Read),
        }
    }

    /// Cuts off what is left. Connections that a thread has right now lose their socket's both
    /// directions if it blocks on them, and are otherwise left to their handler; they are cut off when
    /// they come back.
    fn abort<'s>(self: &'s Arc<Self>, lease: &mut Lease<'s, Core>) {
        let counted = lease.drain.as_mut().is_some_and(|d| std::mem::replace(&mut d.counted, true));
        for index in lease.slots.used() {
            let Some(connection) = self.slab.get(index) else { continue };
            if connection.is_idle() {
                let Ok(claim) = connection.claim(index) else { continue };
                if claim.is_in_the_middle() {
                    self.home.counters.aborted.increment();
                }
                self.end_with_lease(lease, claim);
                continue;
            }
            let blocked = &self.shared.blocked;
            if !counted && connection.rest.is_in_use() && blocked.contains(self.number, index) {
                self.home.counters.aborted.increment();
            }
            blocked.shut_down(self.number, index, Shutdown::Both);
        }
    }
}
