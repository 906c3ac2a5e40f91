//! Keeping the budget of waiting bytes: which messages are ended whose content is being received.
//!
//! Content goes to files when the budget is used up, so it exceeds the budget only where these files are in memory
//! themselves. Then the slowest messages of each shard get the answer to one that is late, until a sixteenth of the
//! budget is free. None is slow in its first second: shards look again until the budget is kept, and content that
//! has no room at all waits for that, for a moment.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use threadline_pool::about_to_block;

use super::{Core, Desk, Key, Shard};
use crate::inbox::Note;
use crate::lease::Lease;
use crate::log::limited;
use crate::protocol::Phase;
use crate::receiving::FileError;
use crate::shared::Blockable;
use crate::sys::{Ticks, ticks_long};

/// Content that has been received for less than this is not slow yet: about 1 s.
const SLOW_FROM: Ticks = 60;

/// When a shard looks again that has not freed enough: about 0.5 s.
const LOOK_AGAIN: Ticks = 30;

/// How long content waits for room at most: until what was not slow yet is, and has been ended.
const ROOM_WAIT: Duration = Duration::from_secs(3);
const ROOM_LOOK: Duration = Duration::from_millis(10);

/// What waits for room may take a part of the budget, and half of the threads that write files: beyond, what has
/// waited for longest is refused. Those that have used the room up wait as well, and were here first.
const EXTRA: usize = 8;

/// A message that is slow.
struct Slow {
    /// In bytes per second.
    rate: u64,
    index: u32,
    held: usize,
    /// What its own thread waits for, if it has one.
    thread: Option<Arc<dyn Blockable>>,
}

/// How many bytes per second have come of a message; `None` if it is not slow.
fn slow_rate(received: u64, began: Ticks, now: Ticks) -> Option<u64> {
    let spent = now.saturating_sub(began);
    let millis = ticks_long(spent).as_millis() as u64;
    (spent >= SLOW_FROM).then(|| received.saturating_mul(1000) / millis.max(1))
}

impl Shard {
    /// If more bytes wait than may, closes connections whose output has stalled, and if that is not enough, has all
    /// shards end the slowest messages. From any thread, after content has gone to a file in memory.
    pub(super) fn keep_budget_of_bodies(&self) {
        self.home.keep_budget();
        if self.shared.waiting.is_over() && self.shared.bodies.begin_relief() {
            self.shared.mailboxes.homes().for_each(|home| home.tell(Note::SlowBodies));
        }
    }

    /// Stores content that has just been refused for lack of room, once there is some. Blocks, for a moment.
    pub(super) fn store_when_there_is_room(
        &self,
        on_own_thread: bool,
        mut store: impl FnMut() -> Result<(), FileError>,
    ) -> Result<(), FileError> {
        self.keep_budget_of_bodies();
        let bodies = &self.shared.bodies;
        // What waits takes memory itself, and a thread.
        let by_memory = bodies.budget.max() / EXTRA / bodies.memory_len_max.max(1);
        let by_threads = if on_own_thread { usize::MAX } else { self.shared.workers.files_max / 2 };
        let waiters_max = by_memory.min(by_threads).max(1);
        about_to_block();
        let (number, began) = (bodies.begin_wait(), Instant::now());
        loop {
            let is_last_try =
                bodies.waits_since(number) >= waiters_max || began.elapsed() >= ROOM_WAIT;
            if is_last_try || !bodies.budget.is_over() {
                let stored = store();
                if is_last_try || !matches!(stored, Err(FileError::NoRoom)) {
                    return stored;
                }
            }
            thread::sleep(ROOM_LOOK);
        }
    }

    /// A shard's timer: it has not freed enough before.
    pub(super) fn look_for_slow_bodies<'s>(
        self: &'s Arc<Self>,
        lease: &mut Lease<'s, Core>,
        desk: &mut Desk,
    ) {
        lease.looks_for_slow_bodies = false;
        self.home.keep_budget();
        if self.shared.waiting.is_over() {
            self.end_slow_bodies(lease, desk);
        }
    }

    /// Ends the slowest of this shard's messages whose content waits in memory: its part of those of all shards.
    pub(super) fn end_slow_bodies<'s>(
        self: &'s Arc<Self>,
        lease: &mut Lease<'s, Core>,
        desk: &mut Desk,
    ) {
        self.shared.bodies.end_relief();
        let waiting = &self.shared.waiting;
        let shards = self.shared.mailboxes.homes().count().max(1);
        let mut excess = waiting.excess().div_ceil(shards);
        let now = lease.agenda.now();
        let mut slow = Vec::new();
        for index in lease.slots.used() {
            let Some(slot) = self.slab.get(index).filter(|slot| slot.is_idle()) else { continue };
            let Ok(claim) = slot.claim(index) else { continue };
            if let Some(receiving) = &claim.receiving
                && let held @ 1.. = receiving.store.held()
                && let Some(rate) = slow_rate(receiving.received, claim.phase_began, now)
            {
                slow.push(Slow { rate, index, held, thread: None });
            }
            claim.park_with_lease();
        }
        for (index, thread) in self.shared.blocked.of_shard(self.number) {
            let Some(body) = thread.body() else { continue };
            if body.is_ended {
                // Its thread has not come to it yet.
                excess = excess.saturating_sub(body.held);
            } else if let Some(rate) = slow_rate(body.received, body.began, now) {
                slow.push(Slow { rate, index, held: body.held, thread: Some(thread) });
            }
        }
        slow.sort_unstable_by_key(|slow| (slow.rate, slow.index));
        let mut ended = 0;
        for Slow { index, held, thread, .. } in slow {
            if excess == 0 {
                break;
            }
            if let Some(thread) = thread {
                thread.end_body();
            } else {
                let Some(Ok(mut claim)) = self.slab.get(index).map(|slot| slot.claim(index)) else {
                    continue;
                };
                self.home.counters.bodies_over_budget.increment();
                self.say_timed_out(Phase::Body, &mut claim, desk);
                lease.batch.push_ready(claim);
            }
            excess = excess.saturating_sub(held);
            ended += 1;
        }
        if waiting.is_over() && !lease.looks_for_slow_bodies {
            lease.looks_for_slow_bodies = true;
            lease.agenda.insert_after(LOOK_AGAIN, Key::SlowBodies);
        }
        if ended > 0 {
            let waiting_bytes_max = waiting.max();
            limited!(
                warn,
                route: "",
                "too many bytes of slow bodies wait in memory: the slowest are ended",
                ended,
                waiting_bytes_max
            );
        }
    }
}
