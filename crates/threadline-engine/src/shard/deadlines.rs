//! Deadlines that come, of connections, their output and the shard itself.
//!
//! What a connection may wait for, and how long, is in `crate::deadline`; the wheel only says when to look.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::close::tell_closed;
use super::conversation::Pause;
use super::key::Key;
use super::queued::Look;
use super::{Core, Desk, Shard};
use crate::connection::{Claim, Owner, State};
use crate::deadline::Awaits;
use crate::lease::Lease;
use crate::sys::{Ticks, release_free_memory, ticks_ceil};
use crate::transport::Ahead;

/// When a connection is looked at again whose deadline came while another thread had it: about 1 s.
const LOOK_AGAIN: Ticks = 60;

impl Shard {
    pub(super) fn fire_timers<'s>(
        self: &'s Arc<Self>,
        lease: &mut Lease<'s, Core>,
        desk: &mut Desk,
    ) {
        let mut fired = std::mem::take(&mut desk.fired);
        lease.agenda.fire(self.home.clock.ticks(), &mut fired);
        for key in fired.drain(..) {
            match key {
                Key::Connection { index, generation } => {
                    self.look_at_deadline(lease, index, generation, desk);
                }
                Key::Output { index, generation } => {
                    self.look_at_output(lease, index, generation);
                }
                Key::RetryAccept => self.retry_accept(lease),
                Key::Drain => self.look_at_drain(lease),
                Key::Datagrams => self.drop_late_datagrams(lease),
                Key::Release => self.release_memory(),
                Key::SlowBodies => self.look_for_slow_bodies(lease, desk),
                Key::Source(_) | Key::Waker | Key::Alarm => unreachable!("these are events only"),
            }
        }
        desk.fired = fired;
    }

    fn look_at_deadline<'s>(
        self: &'s Arc<Self>,
        lease: &mut Lease<'s, Core>,
        index: u32,
        generation: u32,
        desk: &mut Desk,
    ) {
        let now = lease.agenda.now();
        let Some(connection) = self.slab.get(index) else { return };
        let scheduled = connection.scheduled.load(Ordering::Relaxed);
        // Of an earlier connection of this slot, or another entry will fire before long.
        if connection.generation() != generation || scheduled > now {
            return;
        }
        let deadline = connection.deadline.load(Ordering::Relaxed);
        let again = if let Some(wait) = connection.queued() {
            connection.scheduled.store(0, Ordering::Relaxed);
            match self.look_at_wait(lease, connection, index, wait) {
                Look::Open(at) => at,
                Look::Unbounded => now + LOOK_AGAIN,
                // It has another turn, or has ended, and its slot may have been used again.
                Look::TakenBack => return,
            }
        } else if !connection.is_idle() {
            now + LOOK_AGAIN
        } else if deadline > now {
            deadline
        } else {
            connection.scheduled.store(0, Ordering::Relaxed);
            if let Ok(claim) = connection.claim(index) {
                self.time_out(lease, claim, desk);
            }
            return;
        };
        connection.scheduled.store(again, Ordering::Relaxed);
        lease.agenda.insert(again, Key::Connection { index, generation });
    }

    /// A note has come: output of a connection has begun to wait.
    pub(super) fn watch_output(&self, lease: &mut Lease<'_, Core>, key: u64) {
        if let Key::Connection { index, generation } = Key::unpack(key) {
            self.look_at_output(lease, index, generation);
        }
    }

    /// Looks how the output of a connection gets on that may be anybody's at this moment.
    fn look_at_output(&self, lease: &mut Lease<'_, Core>, index: u32, generation: u32) {
        let connection = Key::Connection { index, generation };
        let Some(outbox) = self.home.outputs.get(connection.pack()) else { return };
        // Only this thread parks a connection whose output waits, so that this does not change meanwhile.
        let is_parked = self.slab.get(index).is_some_and(|slot| slot.is_idle());
        let owner = if is_parked { Owner::Parked } else { Owner::Busy };
        let linger = ticks_ceil(self.shared.settings.linger);
        if let Some(at) = outbox.look(self.home.clock.ticks(), owner, linger) {
            lease.agenda.insert(at, Key::Output { index, generation });
        }
    }

    /// Much memory is free. More may follow, and may be needed again at once.
    pub(super) fn release_memory_later(&self, lease: &mut Lease<'_, Core>) {
        if let Some(after) = self.shared.settings.memory_release_after {
            lease.agenda.insert_after(ticks_ceil(after), Key::Release);
        }
    }

    /// Returns free memory to the system, on the pool: it may take a while.
    fn release_memory(self: &Arc<Self>) {
        let shard = Arc::clone(self);
        // If there is no pool any more, the process is about to end.
        let _ = self.shared.pool.submit_essential(move || {
            shard.shared.waiting.begin_release();
            release_free_memory();
            shard.home.counters.memory_releases.increment();
        });
    }

    /// A parked connection's deadline has come. What was it waiting for?
    fn time_out<'s>(
        self: &'s Arc<Self>,
        lease: &mut Lease<'s, Core>,
        mut claim: Claim<'s>,
        desk: &mut Desk,
    ) {
        if claim.time_out_calls(lease.agenda.now()) {
            return lease.batch.push_ready(claim);
        }
        let over = claim.time_left(lease.agenda.now(), self.shared.settings.linger)
            == Some(Duration::ZERO);
        match claim.awaits() {
            Awaits::Message if claim.session.has_sender() => self.park(lease, claim),
            // The shard is late: its event waits.
            Awaits::Message if has_input(&claim) => lease.batch.push_ready(claim),
            Awaits::Message => {
                self.home.counters.timeouts_idle.increment();
                tell_closed(&claim, claim.service.idle_for_too_long());
                self.end_with_lease(lease, claim);
            }
            // More has come of it meanwhile, or the output is looked at by itself.
            _ if !over => self.park(lease, claim),
            Awaits::Close | Awaits::Output | Awaits::Answer => {
                self.home.counters.lingered_too_long.increment();
                self.end_with_lease(lease, claim);
            }
            Awaits::Rest(phase) => {
                match self.say_timed_out(phase, &mut claim, desk) {
                    Pause::Over => self.end_with_lease(lease, claim),
                    // The goodbye is written, the rest is lingering.
                    _ => lease.batch.push_ready(claim),
                }
            }
        }
    }
}

/// Something waits to be read.
fn has_input(state: &State) -> bool {
    state.session.transport().is_some_and(|transport| transport.ahead() == Ahead::Data)
}
