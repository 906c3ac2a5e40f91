//! The loop of a shard: the batch of events, the notes, the deadlines, the connections that gave way.
//!
//! Which thread runs it is in `handover.rs`.

use std::panic::{self, AssertUnwindSafe};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use super::key::Key;
use super::turn::Turned;
use super::{Core, Desk, Shard};
use crate::contained::Contained;
use crate::inbox::Note;
use crate::lease::Lease;
use crate::log::limited;
use crate::model::Model;
use crate::shared::Phase;
use crate::sys::{Event, Readiness};

/// Progress of a test's question whether the shard has served everything that is ready.
#[cfg(feature = "testing")]
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Probe {
    #[default]
    None,
    Seen,
    /// epoll has been polled since.
    Polled,
}

/// Why a thread has stopped running a shard.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Ended {
    /// Another thread has taken it over.
    Lost,
    /// The engine has stopped.
    Stopped,
}

/// Runs the shard; a panic of the engine itself, which is a bug, costs the connection that met it and
/// not the shard's other clients.
pub(super) fn run_contained<'s>(
    shard: &'s Arc<Shard>,
    mut lease: Lease<'s, Core>,
    desk: &mut Desk,
) -> Ended {
    loop {
        // Unwinding drops the lease, which leaves it vacant, and the core between two events.
        let ran = panic::catch_unwind(AssertUnwindSafe(|| run(shard, lease, desk)));
        match ran {
            Ok(ended) => return ended,
            // Nothing is known of the payload, nor of its drop.
            Err(payload) => drop(Contained::new(payload)),
        }
        match shard.fill() {
            Some(again) => {
                shard.home.counters.engine_panics.increment();
                limited!(error, "the engine panicked: please report this", shard = shard.number);
                *desk = Desk::new();
                lease = again;
            }
            None => return Ended::Lost,
        }
    }
}

fn run<'s>(shard: &'s Arc<Shard>, mut lease: Lease<'s, Core>, desk: &mut Desk) -> Ended {
    shard.begin_to_hold();
    loop {
        while let Some(event) = lease.batch.next_event() {
            #[cfg(feature = "testing")]
            if event.key != Key::Waker.pack() {
                shard.home.probes.note_move();
            }
            match shard.serve(lease, event, desk) {
                Some(kept) => lease = kept,
                None => return Ended::Lost,
            }
        }
        if !shard.home.inbox.is_empty() {
            shard.read_notes(&mut lease, desk);
        }
        if lease.agenda.take_due() {
            shard.fire_timers(&mut lease, desk);
        }
        // As many as there are now: those that give way again wait for the next round.
        for _ in 0..lease.batch.ready_len() {
            let Some(index) = lease.batch.pop_ready() else { break };
            #[cfg(feature = "testing")]
            shard.home.probes.note_move();
            match shard.resume(lease, index, desk) {
                Some(kept) => lease = kept,
                None => return Ended::Lost,
            }
        }
        if shard.shared.lifecycle.phase() == Phase::Stopped {
            return Ended::Stopped;
        }
        #[cfg(feature = "testing")]
        shard.look_at_probe(&mut lease);
        shard.wait(&mut lease, desk);
    }
}

impl Shard {
    /// Gets the next batch of events, and sleeps for it if there is nothing else to do.
    fn wait(&self, lease: &mut Lease<'_, Core>, desk: &mut Desk) {
        lease.agenda.set_alarm();
        let busy = lease.batch.ready_len() > 0;
        #[cfg(feature = "testing")]
        let busy = busy || lease.probe != Probe::None;
        let result = lease.poll(
            || busy || !self.home.inbox.is_empty(),
            |core, sleep| core.batch.refill(&self.home.epoll, &mut desk.events, sleep),
        );
        if let Err(error) = result {
            // Only a bug can cause this (EBADF, EFAULT, EINVAL); do not let it spin silently.
            limited!(error, "epoll_wait failed", %error, shard = self.number);
            thread::sleep(Duration::from_millis(100));
        }
        lease.agenda.wake_up(self.home.clock.ticks());
        if self.model == Model::Adaptive {
            self.shared.bell.ring();
        }
    }

    #[inline(always)]
    fn serve<'s>(
        self: &'s Arc<Self>,
        mut lease: Lease<'s, Core>,
        event: Event,
        desk: &mut Desk,
    ) -> Turned<'s> {
        match Key::unpack(event.key) {
            Key::Connection { index, generation } => {
                self.serve_connection(lease, index, generation, Readiness::from(&event), desk)
            }
            Key::Source(number) => self.serve_source(lease, number, desk),
            Key::Alarm => {
                lease.agenda.went_off();
                Some(lease)
            }
            Key::Waker => {
                self.home.waker.hush();
                Some(lease)
            }
            Key::Output { .. }
            | Key::RetryAccept
            | Key::Drain
            | Key::Datagrams
            | Key::Release
            | Key::SlowBodies => {
                unreachable!("these are timers only")
            }
        }
    }

    fn read_notes<'s>(self: &'s Arc<Self>, lease: &mut Lease<'s, Core>, desk: &mut Desk) {
        let mut notes = std::mem::take(&mut desk.notes);
        self.home.inbox.take(&mut notes);
        for note in notes.drain(..) {
            #[cfg(feature = "testing")]
            if note != Note::Probe {
                self.home.probes.note_move();
            }
            match note {
                // Served in the loop's own time, not in the middle of the mail.
                Note::Returned(index) => lease.batch.push_returned(index),
                Note::Upgrades(index) => self.start_upgrade(lease, index, desk),
                Note::Offloaded { index, route } => {
                    lease.waits.set_way(index, route);
                    lease.batch.push_returned(index);
                }
                Note::Freed(index) => self.free_slot(lease, index),
                Note::OutputWaits(key) => self.watch_output(lease, key),
                Note::Answered(key) => self.note_answer(lease, key),
                Note::Leftover => self.linger_leftovers(lease),
                Note::MakeRoom => {
                    self.evict(lease);
                }
                Note::MemoryFree => self.release_memory_later(lease),
                Note::SlowBodies => self.end_slow_bodies(lease, desk),
                Note::Phase => self.phase_changed(lease),
                #[cfg(feature = "testing")]
                Note::Probe => lease.probe = Probe::Seen,
            }
        }
        desk.notes = notes;
    }

    /// Answers a test's probe, between two batches.
    #[cfg(feature = "testing")]
    fn look_at_probe(&self, lease: &mut Lease<'_, Core>) {
        match lease.probe {
            Probe::None => {}
            Probe::Seen => lease.probe = Probe::Polled,
            Probe::Polled if lease.batch.is_all() => {
                lease.probe = Probe::None;
                self.home.probes.answer();
            }
            Probe::Polled => {}
        }
    }
}
