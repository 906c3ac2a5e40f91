//! A shard's work at hand: the events that the kernel reported last, and the connections that wait for another
//! turn.
//!
//! It belongs to the shard and not to the thread that runs it, so that a successor goes on with the next event.

use std::collections::VecDeque;
use std::io;

use super::desk::BATCH;
use crate::connection::Claim;
use crate::sys::{Epoll, Event, EventBuffer};

pub(super) struct Batch {
    events: Vec<Event>,
    /// The next event. A successor goes on here.
    cursor: usize,
    /// Connections that have more to do, and gave way to others. They are still owned by the shard.
    ready: VecDeque<u32>,
}

impl Batch {
    pub(super) fn new() -> Self {
        Batch { events: Vec::with_capacity(BATCH), cursor: 0, ready: VecDeque::new() }
    }

    /// The next event, which counts as served from here on: a successor goes on with the one after it.
    pub(super) fn next_event(&mut self) -> Option<Event> {
        let event = self.events.get(self.cursor).copied();
        self.cursor += 1;
        event
    }

    /// Replaces the events, all of which have been served, by the kernel's next ones.
    pub(super) fn refill(
        &mut self,
        epoll: &Epoll,
        buffer: &mut EventBuffer,
        sleep: bool,
    ) -> io::Result<()> {
        self.cursor = 0;
        let result = epoll.wait(buffer, &mut self.events, sleep);
        debug_assert!(self.events.len() <= BATCH);
        result
    }

    /// Lets a connection have another turn, after the events and connections that are before it.
    pub(super) fn push_ready(&mut self, claim: Claim<'_>) {
        self.push_returned(claim.pass_on());
    }

    /// As [`Batch::push_ready`], for a connection that another thread has passed on to the shard.
    pub(super) fn push_returned(&mut self, index: u32) {
        self.ready.push_back(index);
    }

    /// The connection that has waited longest for another turn.
    pub(super) fn pop_ready(&mut self) -> Option<u32> {
        self.ready.pop_front()
    }

    /// How many connections wait for another turn.
    pub(super) fn ready_len(&self) -> usize {
        self.ready.len()
    }

    /// Whether nothing is left to do after the present events, as far as is known: a full batch may not be
    /// all there is.
    #[cfg(feature = "testing")]
    pub(super) fn is_all(&self) -> bool {
        self.ready.is_empty() && self.events.len() < BATCH
    }
}
