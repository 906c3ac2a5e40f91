//! The messages that wait in an outbox, and what is known about them and about their senders. Everything here
//! is under one lock.

use std::collections::VecDeque;
use std::io;
use std::sync::Weak;

use super::content::{Content, Making, Message, Origin};
use crate::connection::sender::{Held, SlowReceiver, WhenDrained};
use crate::connection::source::Maker;
use crate::sys::Ticks;

pub(super) struct Queue {
    pub(super) messages: VecDeque<Message>,
    /// Sum over `messages` of what is still to be sent.
    pub(super) bytes: usize,
    /// The part of it that was pushed: replies do not count against `bytes_max`.
    pub(super) pushed: usize,
    /// The memory of `messages` that is counted in [`Home::waiting`](Home): their sum of `Message::memory`.
    pub(super) memory: usize,
    pub(super) bytes_max: usize,
    pub(super) policy: SlowReceiver,
    /// Sources whose rest is not wanted any more. They are user code, which the connection's end drops.
    pub(super) leftover: Vec<Maker>,
    /// The shard has been asked to tell when there is room.
    pub(super) armed: bool,
    pub(super) closed: bool,
    /// The write deadline has closed it.
    pub(super) timed_out: bool,
    /// Nothing more is pushed: the connection is to be handed over, or its owner ends it.
    pub(super) retired: bool,
    /// The connection gets another owner, or has one: senders no longer end it.
    pub(super) handed_over: bool,
    /// Nothing more is pushed: our side closes once nothing waits.
    pub(super) finished: bool,
    pub(super) when_drained: WhenDrained,
    /// It has got a sender in a turn whose replies are not written yet.
    pub(super) in_turn: bool,
    /// It is as good as finished once there is no sender ([`Step::Push`](crate::Step::Push)).
    pub(super) pushing: bool,
    /// When our side was closed because it was finished.
    pub(super) ended: Option<Ticks>,
    /// When it was last seen that the peer had taken a byte, or the queue began to fill.
    pub(super) moved: Ticks,
    /// When the queue began to fill.
    pub(super) began: Ticks,
    /// What the peer had taken at the last look; `i64::MIN` before the first since the queue began to fill.
    pub(super) taken: i64,
    /// What it had taken at the first look since then.
    pub(super) taken_first: i64,
    /// When the last look was, or the queue began to fill.
    pub(super) seen: Ticks,
    /// For how long it has waited for room since the queue began to fill, as far as the looks have seen.
    pub(super) waited: Ticks,
    /// The shard looks at it: a timer of its own, or a note on the way to it.
    pub(super) looked_at: bool,
    /// It is among [`Home::outputs`](Home).
    pub(super) registered: bool,
    /// Bytes that the socket has taken from the queue.
    pub(super) sent: u64,
    /// The number that the next message gets.
    pub(super) next: u64,
    pub(super) dropped: u64,
    pub(super) held: Weak<Held>,
}

impl Queue {
    /// Whether senders have come to their end.
    pub(super) fn is_closed(&self) -> bool {
        self.closed || self.retired
    }

    /// The error of a write to a closed queue.
    pub(super) fn closed_error(&self) -> io::Error {
        let kind = if self.timed_out { io::ErrorKind::TimedOut } else { io::ErrorKind::BrokenPipe };
        kind.into()
    }

    /// Counts bytes that begin to wait.
    pub(super) fn add(&mut self, count: usize, origin: Origin) {
        self.bytes += count;
        if origin == Origin::Push {
            self.pushed += count;
        }
    }

    /// Counts bytes that do not wait any more.
    pub(super) fn subtract(&mut self, count: usize, origin: Origin) {
        self.bytes -= count;
        if origin == Origin::Push {
            self.pushed -= count;
        }
    }

    /// What is made while it is sent, if that is next.
    pub(super) fn making(&mut self) -> Option<&mut Making> {
        match &mut self.messages.front_mut()?.content {
            Content::Made(making) => Some(making),
            _ => None,
        }
    }

    /// Drops what waits, but for user code.
    pub(super) fn clear(&mut self) {
        for message in std::mem::take(&mut self.messages) {
            if let Content::Made(making) = message.content {
                self.leftover.extend(making.maker);
            }
        }
        (self.bytes, self.pushed) = (0, 0);
    }

    pub(super) fn check_open(&self) -> io::Result<()> {
        if self.closed { Err(self.closed_error()) } else { Ok(()) }
    }
}
