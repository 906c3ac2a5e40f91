//! The loop of a shard: the batch of events, the notes, the deadlines, the connections that gave way.
//!
//! Which thread runs it is in `handover.rs`.

use std::panic::{self, AssertUnwindSafe};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;

use super::key::Key;
use super::turn::Turned;
use super::{BATCH, Core, Desk, Shard};
use crate::contained::Contained;
use crate::inbox::Note;
use crate::lease::Lease;
use crate::log::limited;
use crate::model::Model;
use crate::shared::Phase;
use crate::sys::{Event, Readiness, ThreadNumber};

/// How far the shard is with a test's question whether it has served all that was ready.
#[cfg(feature = "testing")]
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Probe {
    #[default]
    None,
    Seen,
    /// The kernel has been asked for more since.
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
    shard.holder.store(ThreadNumber::current().raw(), Ordering::Relaxed);
    shard.heed_blocking();
    loop {
        while let Some(event) = lease.next_event() {
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
            lease = match shard.read_notes(lease, desk) {
                Some(kept) => kept,
                None => return Ended::Lost,
            };
        }
        if std::mem::take(&mut lease.timers_due) {
            shard.fire_timers(&mut lease, desk);
        }
        // As many as there are now: those that give way again wait for the next round.
        for _ in 0..lease.ready.len() {
            let Some(index) = lease.ready.pop_front() else { break };
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

impl Core {
    fn next_event(&mut self) -> Option<Event> {
        let event = self.events.get(self.cursor).copied();
        // Moved on before the event is served: a successor goes on with the next one.
        self.cursor += 1;
        event
    }
}

impl Shard {
    /// Gets the next batch of events, and sleeps for it if there is nothing else to do.
    fn wait(&self, lease: &mut Lease<'_, Core>, desk: &mut Desk) {
        self.set_alarm(lease);
        let busy = !lease.ready.is_empty();
        #[cfg(feature = "testing")]
        let busy = busy || lease.probe != Probe::None;
        let result = lease.poll(
            || busy || !self.home.inbox.is_empty(),
            |core, sleep| {
                core.cursor = 0;
                self.home.epoll.wait(&mut desk.events, &mut core.events, sleep)
            },
        );
        if let Err(error) = result {
            // Only a bug can cause this (EBADF, EFAULT, EINVAL); do not let it spin silently.
            limited!(error, "epoll_wait failed", %error, shard = self.number);
            thread::sleep(Duration::from_millis(100));
        }
        debug_assert!(lease.events.len() <= BATCH);
        lease.now = self.home.clock.ticks();
        let now = lease.now;
        lease.wheel.catch_up(now);
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
                self.alarm.hush();
                lease.armed = None;
                lease.timers_due = true;
                Some(lease)
            }
            Key::Waker => {
                self.home.waker.hush();
                Some(lease)
            }
            Key::Output { .. } | Key::RetryAccept | Key::Drain => {
                unreachable!("these are timers only")
            }
        }
    }

    fn read_notes<'s>(
        self: &'s Arc<Self>,
        mut lease: Lease<'s, Core>,
        desk: &mut Desk,
    ) -> Turned<'s> {
        let mut notes = std::mem::take(&mut desk.notes);
        self.home.inbox.take(&mut notes);
        for note in notes.drain(..) {
            #[cfg(feature = "testing")]
            if note != Note::Probe {
                self.home.probes.note_move();
            }
            match note {
                // Served in the loop's own time, not in the middle of the mail.
                Note::Returned(index) => {
                    lease.ready.push_back(index);
                }
                Note::Freed(index) => self.free_slot(&mut lease, index),
                Note::OutputWaits(key) => self.watch_output(&mut lease, key),
                Note::Answered(key) => self.note_answer(&mut lease, key),
                Note::MakeRoom => {
                    self.evict(&mut lease);
                }
                Note::Phase => self.phase_changed(&mut lease),
                #[cfg(feature = "testing")]
                Note::Probe => lease.probe = Probe::Seen,
            }
        }
        desk.notes = notes;
        Some(lease)
    }

    /// Between two batches: gets on with the probe of a test, if there is one.
    #[cfg(feature = "testing")]
    fn look_at_probe(&self, lease: &mut Lease<'_, Core>) {
        // A full batch may not be all there is.
        let is_all = lease.ready.is_empty() && lease.events.len() < BATCH;
        match lease.probe {
            Probe::None => {}
            Probe::Seen => lease.probe = Probe::Polled,
            Probe::Polled if is_all => {
                lease.probe = Probe::None;
                self.home.probes.answer();
            }
            Probe::Polled => {}
        }
    }

    /// Sets the alarm for the wheel's next entry, if that is earlier than what it is set to.
    fn set_alarm(&self, lease: &mut Lease<'_, Core>) {
        let Some(due) = lease.wheel.next_due() else { return };
        if lease.armed.is_none_or(|armed| due < armed) {
            match self.alarm.set(due) {
                Ok(()) => lease.armed = Some(due),
                Err(error) => {
                    limited!(error, "cannot set a timer", %error);
                }
            }
        }
    }
}
