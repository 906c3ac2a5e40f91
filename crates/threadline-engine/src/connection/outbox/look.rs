//! The write deadline, for every kind of output and whatever the connection's owner is doing: when output begins
//! to wait, the shard is told, and from then on it looks now and then ([`Outbox::look`]). The decision that a
//! peer has stalled is made under the lock, once.

use std::sync::Weak;
use std::sync::atomic::Ordering;

use super::queue::Queue;
use super::send::Files;
use super::{Outbox, Watch};
use crate::connection::relief::Progress;
use crate::deadline::WriteLimit;
use crate::inbox::Note;
use crate::sys::Ticks;

/// How often, within a write deadline, it is looked whether the peer has taken anything. A stall is
/// noticed late by one part of that many.
pub(in crate::connection) const LOOKS: u32 = 8;

/// The shard looks at waiting output at least this often, however long the deadline: about 4 s.
const STEP_MAX: Ticks = 256;

/// What the owner of a connection is doing while the shard looks at its output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Owner {
    /// Nothing: the connection is parked, and an event says when there is room.
    Parked,
    /// Something else: a handler may be running.
    Busy,
}

impl Outbox {
    /// Lets the shard find the queue by its connection's key.
    pub(super) fn register(&self, queue: &mut Queue) {
        if !queue.registered {
            queue.registered = true;
            self.home.outputs.insert(self.key, Weak::clone(&self.me));
        }
    }

    /// Has the shard look at the queue from now on ([`Outbox::look`]).
    pub(super) fn ask_for_looks(&self, queue: &mut Queue) {
        self.register(queue);
        if !std::mem::replace(&mut queue.looked_at, true) {
            self.home.tell(Note::OutputWaits(self.key));
        }
    }

    /// The shard's look at what waits, now and then: closes the connection if its peer has taken nothing
    /// for too long. Says when to look again; `None`: not before it is asked to.
    ///
    /// The peer takes bytes long before the kernel says that there is room, so what the socket has still
    /// to send is compared with the last look. A peer that stops between two looks is given that much more.
    pub(crate) fn look(&self, now: Ticks, owner: Owner, linger: Ticks) -> Option<Ticks> {
        let (next, timed_out, has_grown) = {
            // In use: it is being written, or added to.
            let Some(mut queue) = self.queue.try_lock() else { return Some(now + self.step()) };
            let was_open = !queue.timed_out;
            // What is shared may have got or lost other holders.
            let has_grown = self.count_all(&mut queue);
            let next = self.look_locked(&mut queue, now, owner, linger);
            (next, was_open && queue.timed_out, has_grown)
        };
        if has_grown {
            self.home.keep_budget();
        }
        if timed_out {
            tell_timed_out();
        }
        next
    }

    /// How often it is looked at, at least.
    fn step(&self) -> Ticks {
        (self.write_limit().stall / LOOKS).clamp(1, STEP_MAX)
    }

    fn look_locked(
        &self,
        queue: &mut Queue,
        now: Ticks,
        owner: Owner,
        linger: Ticks,
    ) -> Option<Ticks> {
        // If there is room, it is the owner that is late.
        if self.transport.has_room() {
            queue.moved = now;
        } else {
            queue.waited += now.saturating_sub(queue.seen);
        }
        queue.seen = now;
        // Not for a thread of the connection's own: it waits for room if output waits, and there may be none
        // any more once the last of it has gone out. The kernel's word that there is room reaches both.
        if owner == Owner::Busy && self.watch == Watch::Input && !queue.closed {
            self.flush_in_passing(queue, Files::Left);
        }
        let next = self.next_look(queue, now, self.write_limit(), linger);
        queue.looked_at = next.is_some();
        next.map(|due| due.min(now + self.step()))
    }

    fn next_look(
        &self,
        queue: &mut Queue,
        now: Ticks,
        limit: WriteLimit,
        linger: Ticks,
    ) -> Option<Ticks> {
        if queue.closed {
            return None;
        }
        if queue.messages.is_empty() {
            let due = queue.ended?.saturating_add(linger);
            if now < due {
                return Some(due);
            }
            self.home.counters.lingered_too_long.increment();
            self.close_queue(queue);
            return None;
        }
        if limit.stall == Ticks::MAX {
            return None;
        }
        let taken = self.taken_of(queue);
        if queue.taken == i64::MIN {
            (queue.moved, queue.taken_first) = (now, taken);
        } else if taken > queue.taken {
            queue.moved = now;
        }
        queue.taken = taken;
        // A tick more: the one in which the peer took its last byte, or the wait began, had begun.
        let stall_due = queue.moved.saturating_add(limit.stall).saturating_add(1);
        let reply_due = now.saturating_add(reply_left(queue, limit));
        let due = stall_due.min(reply_due);
        if now < due {
            return Some(due);
        }
        self.time_out_queue(queue);
        None
    }

    /// How the output got on up to the last look; `None` if it holds no memory, or is being written at this moment.
    pub(in crate::connection) fn known_progress(&self, now: Ticks) -> Option<Progress> {
        let queue = self.queue.try_lock().filter(|queue| queue.memory > 0)?;
        Some(Progress::new(now, queue.began, queue.moved))
    }

    /// Looks how the output gets on, likewise.
    pub(in crate::connection) fn progress(&self, now: Ticks) -> Option<Progress> {
        let mut queue = self.queue.try_lock()?;
        if queue.memory == 0 {
            return None;
        }
        let (taken, before) = (self.taken_of(&queue), queue.taken);
        if self.transport.has_room() || (before != i64::MIN && taken > before) {
            queue.moved = now;
        }
        if before == i64::MIN {
            queue.taken_first = taken;
        }
        queue.taken = taken;
        Some(Progress::new(now, queue.began, queue.moved))
    }

    /// Closes the connection because more bytes wait than may. It is reset: the kernel's buffers are memory too.
    /// False if nothing is freed: none is left, or it is being written at this moment.
    pub(in crate::connection) fn close_for_budget(&self) -> bool {
        let Some(mut queue) = self.queue.try_lock().filter(|queue| queue.memory > 0) else {
            return false;
        };
        // First of all, so that another thread that keeps the budget does not close more than needed.
        let memory = queue.memory;
        self.give_back(&mut queue, memory);
        self.home.counters.closed_over_budget.increment();
        self.reset_queue(&mut queue);
        true
    }

    /// Grows with every byte that the peer takes, by a measure that has no beginning.
    pub(in crate::connection) fn taken(&self) -> i64 {
        self.taken_of(&self.queue.lock())
    }

    pub(super) fn taken_of(&self, queue: &Queue) -> i64 {
        queue.sent as i64 - self.transport.untaken_len() as i64
    }

    /// Resets the connection because its peer takes nothing, unless it is closed already.
    pub(in crate::connection) fn time_out(&self) {
        let timed_out = self.time_out_queue(&mut self.queue.lock());
        if timed_out {
            tell_timed_out();
        }
    }

    /// False if it is closed already.
    pub(super) fn time_out_queue(&self, queue: &mut Queue) -> bool {
        if queue.closed {
            return false;
        }
        queue.timed_out = true;
        self.home.counters.timeouts_write.increment();
        self.reset_queue(queue);
        true
    }

    /// Closes the connection by a reset: otherwise the kernel would hold what the peer does not take, for as long
    /// as its system answers.
    fn reset_queue(&self, queue: &mut Queue) {
        // The close resets it too, if the kernel refuses now.
        self.until_close.store(true, Ordering::Relaxed);
        self.transport.reset_on_close(true);
        self.close_queue(queue);
    }
}

/// How much longer a reply may wait for room: 0 if it has waited for too long. What is pushed has no such limit.
fn reply_left(queue: &Queue, limit: WriteLimit) -> Ticks {
    if queue.pushing || queue.pushed > 0 {
        return Ticks::MAX;
    }
    let taken = u64::try_from(queue.taken - queue.taken_first).unwrap_or(0);
    // A tick more, as for a stall.
    limit.of_reply(taken).saturating_add(1).saturating_sub(queue.waited)
}

/// Not under the lock: what the log is written to is user code.
#[cold]
fn tell_timed_out() {
    tracing::debug!("a connection is closed: the peer did not read in time");
}
