//! The loop of a shard, the threads that run it, and taking it over.

use std::cell::RefCell;
use std::io;
use std::panic::{self, AssertUnwindSafe};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::thread;
use std::time::Duration;

use super::key::Key;
use super::settle::Turned;
use super::{BATCH, Core, Desk, Shard, Takeover};
use crate::contained::Contained;
use crate::inbox::Note;
use crate::lease::Lease;
use crate::log::limited;
use crate::model::Model;
use crate::route;
use crate::shared::Phase;
use crate::spares::Spares;
use crate::sys::{Event, Readiness, ThreadNumber};
use crate::threads::Threads;

/// How long a spare that nobody relies on waits for a stall before it ends.
const PATIENCE: Duration = Duration::from_secs(10);

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
enum Ended {
    /// Another thread has taken it over.
    Lost,
    /// The engine has stopped.
    Stopped,
}

/// A thread that starts with a shard of its own.
pub(crate) fn loop_thread(shard: Arc<Shard>) {
    shard.spares.count_thread();
    let mut desk = Desk::new();
    let ended = match shard.fill() {
        Some(lease) => run_contained(&shard, lease, &mut desk),
        None => Ended::Stopped,
    };
    stand_by(&shard.spares, &mut desk, ended);
}

/// A thread that starts by waiting for a shard.
fn spare_thread(spares: &Spares<Takeover>) {
    let mut desk = Desk::new();
    if let Some(takeover) = spares.stand(PATIENCE) {
        let ended = take_over(&takeover, &mut desk);
        stand_by(spares, &mut desk, ended);
    }
}

pub(super) fn start_spare(
    spares: &Arc<Spares<Takeover>>,
    threads: &Arc<Threads>,
) -> io::Result<()> {
    let spares = Arc::clone(spares);
    let builder = thread::Builder::new().name("tl-spare".into());
    builder.spawn(threads.wrap(move || spare_thread(&spares))).map(drop)
}

/// What a thread does once it runs no shard: it offers itself as a spare, for as long as it is needed.
fn stand_by(spares: &Spares<Takeover>, desk: &mut Desk, mut ended: Ended) {
    while ended == Ended::Lost {
        if !spares.join() {
            return;
        }
        let Some(takeover) = spares.stand(PATIENCE) else { return };
        ended = take_over(&takeover, desk);
    }
    spares.discount_thread();
}

fn take_over(takeover: &Takeover, desk: &mut Desk) -> Ended {
    let shard = &takeover.shard;
    let Some(mut lease) = shard.core.take(takeover.seen) else {
        // Its holder came back in time.
        return Ended::Lost;
    };
    shard.home.counters.handoffs.increment();
    let number = shard.calling.load(Ordering::Relaxed);
    if let Some(route) = route::by_number(number) {
        lease.tally.stalled(&route, shard.shared.settings.proving_streak);
    }
    run_contained(shard, lease, desk)
}

/// Runs the shard; a panic of the engine itself, which is a bug, costs the connection that met it and
/// not the shard's other clients.
fn run_contained<'s>(shard: &'s Arc<Shard>, mut lease: Lease<'s, Core>, desk: &mut Desk) -> Ended {
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
    heed_blocking(shard);
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

thread_local! {
    /// The shard that this thread ran last.
    static OWN: RefCell<Weak<Shard>> = const { RefCell::new(Weak::new()) };
}

/// Has the shard handed on at once when user code on this thread says that it is about to block,
/// instead of when the monitor notices.
fn heed_blocking(shard: &Arc<Shard>) {
    if shard.model == Model::Adaptive {
        OWN.set(Arc::downgrade(shard));
        threadline_pool::set_hook(Some(hand_on_own));
    }
}

fn hand_on_own() {
    // Gone while the thread's destructors run, which may block, too.
    let Ok(Some(shard)) = OWN.try_with(|own| own.borrow().upgrade()) else { return };
    let seen = shard.look();
    // If it is lent, and still by this thread, then to the code that is about to block.
    if seen.is_lent() && shard.holder() == ThreadNumber::current() {
        shard.hand_on(seen);
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

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    struct AsksAtTheEnd;

    impl Drop for AsksAtTheEnd {
        fn drop(&mut self) {
            // A panic here would abort the process.
            hand_on_own();
        }
    }

    thread_local! {
        static BEFORE: AsksAtTheEnd = const { AsksAtTheEnd };
        static BEHIND: AsksAtTheEnd = const { AsksAtTheEnd };
    }

    /// In whatever order a thread's own values are dropped.
    #[test]
    fn a_destructor_of_a_thread_that_has_run_a_shard_may_be_about_to_block() {
        let thread = thread::spawn(|| {
            BEFORE.with(|_| ());
            OWN.set(Weak::new());
            BEHIND.with(|_| ());
        });
        thread.join().expect("thread");
    }
}
