//! Adding to an outbox, and writing what is in it to the transport as far as there is room.

use std::collections::VecDeque;
use std::io;

use super::content::{Content, Making, Message, Origin};
use super::queue::Queue;
use super::{Outbox, Watch};
use crate::connection::bytes::Bytes;
use crate::connection::sender::{SendError, SlowReceiver};
use crate::sys::{Interest, Ticks};
use crate::transport::{PART, REPLY_PART, Sent};

/// What becomes of a file that is next in a queue which is flushed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Files {
    /// It is sent, which may take as long as a disk takes.
    Sent,
    /// It is left to the connection's owner, with what waits behind it.
    Left,
}

impl Outbox {
    /// A reply: waits however large it is, because the next message is not looked at before it is
    /// out. So at most one turn's replies wait. Returns its number if some of it waits.
    pub(in crate::connection) fn reply(&self, bytes: &[u8]) -> io::Result<Option<u64>> {
        let mut queue = self.queue.lock();
        queue.check_open()?;
        self.write_or_queue(&mut queue, bytes, Origin::Reply)
    }

    pub(in crate::connection) fn push(&self, bytes: &[u8]) -> Result<(), SendError> {
        let pushed = self.push_to(&mut self.queue.lock(), bytes);
        self.home.keep_budget();
        // Not under the lock: what the log is written to is user code.
        if pushed == Err(SendError::TooSlow) {
            tracing::debug!("a receiver is closed: it reads too slowly");
        }
        pushed
    }

    fn push_to(&self, queue: &mut Queue, bytes: &[u8]) -> Result<(), SendError> {
        if queue.is_closed() || queue.finished {
            return Err(SendError::Closed);
        }
        if queue.pushed > 0 && queue.pushed + bytes.len() > queue.bytes_max {
            self.make_room(queue, bytes.len())?;
        }
        self.write_or_queue(queue, bytes, Origin::Push).map(drop).map_err(|error| {
            self.home.counters.count_vanished(&error);
            self.close_queue(queue);
            SendError::Closed
        })
    }

    fn make_room(&self, queue: &mut Queue, need: usize) -> Result<(), SendError> {
        if need > queue.bytes_max {
            return Err(SendError::TooLarge);
        }
        if queue.policy == SlowReceiver::Close {
            self.home.counters.slow_receivers_closed.increment();
            self.close_queue(queue);
            return Err(SendError::TooSlow);
        }
        while queue.pushed + need > queue.bytes_max {
            let oldest = queue.messages.iter().position(Message::is_droppable);
            let Some(oldest) = oldest.and_then(|at| queue.messages.remove(at)) else {
                // What is left is partly sent: the new message is the oldest that can go.
                self.drop_one(queue);
                return Err(SendError::TooLarge);
            };
            queue.subtract(oldest.content.held(), Origin::Push);
            self.give_back(queue, oldest.memory);
            self.drop_one(queue);
        }
        Ok(())
    }

    fn drop_one(&self, queue: &mut Queue) {
        queue.dropped += 1;
        self.home.counters.pushes_dropped.increment();
    }

    pub(super) fn write_or_queue(
        &self,
        queue: &mut Queue,
        bytes: &[u8],
        origin: Origin,
    ) -> io::Result<Option<u64>> {
        let mut sent = 0;
        if queue.messages.is_empty() {
            match self.transport.write(bytes, REPLY_PART)? {
                Sent::All => return Ok(None),
                Sent::Part(count) => sent = count,
            }
        }
        queue.add(bytes.len() - sent, origin);
        let content = Content::Bytes { bytes: bytes[sent..].to_vec().into(), sent: 0 };
        self.queue_up(queue, content, origin, sent > 0).map(Some)
    }

    /// Sends `head` and a file behind what waits already, as one piece, as far as the socket takes it; the
    /// rest waits.
    pub(in crate::connection) fn reply_file(
        &self,
        head: &[u8],
        mut content: Content,
    ) -> io::Result<()> {
        let mut queue = self.queue.lock();
        queue.check_open()?;
        self.write_or_queue(&mut queue, head, Origin::Reply)?;
        if queue.messages.is_empty() && content.send_some(&self.transport)? == Sent::All {
            return Ok(());
        }
        self.queue_up(&mut queue, content, Origin::Reply, false).map(drop)
    }

    /// Sends `head` and `bytes`, without the first `skip`, behind what waits already, as one piece. What the socket
    /// does not take waits, and `bytes` are not copied for that.
    pub(in crate::connection) fn reply_bytes(
        &self,
        head: &[u8],
        bytes: Bytes,
        skip: usize,
    ) -> io::Result<()> {
        let mut queue = self.queue.lock();
        queue.check_open()?;
        let mut sent = 0;
        if queue.messages.is_empty() {
            match self.transport.write_both(head, &bytes[skip..], REPLY_PART)? {
                Sent::All => return Ok(()),
                Sent::Part(count) => sent = count,
            }
        }
        let head_left = &head[sent.min(head.len())..];
        if !head_left.is_empty() {
            queue.add(head_left.len(), Origin::Reply);
            let content = Content::Bytes { bytes: head_left.to_vec().into(), sent: 0 };
            self.queue_up(&mut queue, content, Origin::Reply, sent > 0)?;
        }
        let sent = skip + sent.saturating_sub(head.len());
        if sent == bytes.len() {
            return Ok(());
        }
        queue.add(bytes.len() - sent, Origin::Reply);
        let content = Content::Bytes { bytes, sent };
        self.queue_up(&mut queue, content, Origin::Reply, sent > 0).map(drop)
    }

    /// Has content that is made while it is sent wait behind what waits already.
    pub(in crate::connection) fn reply_made(&self, making: Making) -> io::Result<()> {
        // Before the lock, and so dropped after it: the source is user code.
        let content = Content::Made(Box::new(making));
        let mut queue = self.queue.lock();
        queue.check_open()?;
        self.queue_up(&mut queue, content, Origin::Reply, false).map(drop)
    }

    /// Counts the memory of the next message anew: it may have changed. Says whether it has grown.
    pub(super) fn count_front(&self, queue: &mut Queue) -> bool {
        let Some(message) = queue.messages.front_mut() else { return false };
        let (before, now) = (message.memory, message.memory_now());
        message.memory = now;
        self.count_change(queue, before, now)
    }

    /// Likewise of all messages.
    pub(super) fn count_all(&self, queue: &mut Queue) -> bool {
        let (mut before, mut now) = (0, 0);
        for message in &mut queue.messages {
            before += message.memory;
            message.memory = message.memory_now();
            now += message.memory;
        }
        self.count_change(queue, before, now)
    }

    fn count_change(&self, queue: &mut Queue, before: usize, now: usize) -> bool {
        queue.memory = queue.memory - before + now;
        if now >= before {
            self.home.waiting.take(now - before);
        } else {
            self.home.give_back(before - now);
        }
        now > before
    }

    /// Counts memory of messages that are gone.
    pub(super) fn give_back(&self, queue: &mut Queue, memory: usize) {
        queue.memory -= memory;
        self.home.give_back(memory);
    }

    /// Has something wait behind what waits already. Returns its number.
    fn queue_up(
        &self,
        queue: &mut Queue,
        content: Content,
        origin: Origin,
        is_rest: bool,
    ) -> io::Result<u64> {
        if queue.messages.is_empty() {
            let now = self.home.clock.ticks();
            (queue.began, queue.moved, queue.seen) = (now, now, now);
            (queue.taken, queue.waited) = (i64::MIN, 0);
        }
        let number = queue.next;
        queue.next += 1;
        let holder = match &content {
            Content::Bytes { bytes: Bytes::Shared(bytes), .. } => {
                Some(self.home.waiting.holders.add(bytes))
            }
            _ => None,
        };
        let mut message = Message { number, holder, content, origin, memory: 0, is_rest };
        message.memory = message.memory_now();
        self.home.waiting.take(message.memory);
        queue.memory += message.memory;
        queue.messages.push_back(message);
        self.register(queue);
        self.arm(queue)?;
        if self.write_limit().stall != Ticks::MAX {
            self.ask_for_looks(queue);
        }
        Ok(number)
    }

    /// Writes what fits, at most a part. Called when the kernel says that there is room.
    pub(crate) fn flush(&self) -> io::Result<()> {
        self.flush_queue(&mut self.queue.lock(), Files::Sent)
    }

    pub(super) fn flush_queue(&self, queue: &mut Queue, files: Files) -> io::Result<()> {
        while let Some(message) = queue.messages.front_mut() {
            if files == Files::Left && matches!(message.content, Content::File { .. }) {
                return Ok(());
            }
            if message.content.is_unfinished() && message.content.held() == 0 {
                // The next piece is yet to be made.
                return Ok(());
            }
            let origin = message.origin;
            let (held, left) = (message.content.held(), message.content.left());
            match message.content.send_some(&self.transport)? {
                Sent::All => {
                    let is_unfinished = message.content.is_unfinished();
                    queue.subtract(held, origin);
                    queue.sent += left;
                    if is_unfinished {
                        self.count_front(queue);
                        return Ok(());
                    }
                    if queue.making().is_some_and(|making| making.is_whole) {
                        self.allow_end();
                    }
                    let memory = queue.messages.pop_front().map_or(0, |message| message.memory);
                    self.give_back(queue, memory);
                }
                Sent::Part(count) => {
                    let sent = held - message.content.held();
                    queue.subtract(sent, origin);
                    queue.sent += count as u64;
                    return if count < PART { Ok(()) } else { self.ask_for_room() };
                }
            }
        }
        // A queue that has been full once gives its memory back.
        queue.messages = VecDeque::new();
        self.end_if_finished(queue);
        self.disarm(queue)
    }

    /// Writes what fits, for a connection whose owner is busy with something else and will look itself
    /// later. If the queue is in use at this moment, so will its user.
    pub(crate) fn flush_for_owner(&self) {
        match self.watch {
            // Its thread may sleep in a read for long: nobody but the caller writes what waits.
            Watch::Nothing => self.flush_in_passing(&mut self.queue.lock(), Files::Sent),
            Watch::Input => {
                if let Some(mut queue) = self.queue.try_lock() {
                    self.flush_in_passing(&mut queue, Files::Left);
                }
            }
        }
    }

    pub(super) fn flush_in_passing(&self, queue: &mut Queue, files: Files) {
        // A connection that is gone is noticed by its owner, but the kernel tells its error once.
        if let Err(error) = self.flush_queue(queue, files) {
            self.home.counters.count_vanished(&error);
        }
    }

    /// Whether all is out up to the message with that number; writes what fits.
    pub(in crate::connection) fn flush_through(&self, number: u64) -> io::Result<bool> {
        let mut queue = self.queue.lock();
        queue.check_open()?;
        self.flush_queue(&mut queue, Files::Sent)?;
        Ok(queue.messages.front().is_none_or(|message| message.number > number))
    }

    /// Ends all pushing, because the connection gets another owner: true once all is out. Senders
    /// have come to their end then.
    pub(in crate::connection) fn retire(&self) -> io::Result<bool> {
        let mut queue = self.queue.lock();
        queue.check_open()?;
        (queue.retired, queue.handed_over) = (true, true);
        self.flush_queue(&mut queue, Files::Sent)?;
        queue.closed = queue.messages.is_empty();
        Ok(queue.closed)
    }

    fn arm(&self, queue: &mut Queue) -> io::Result<()> {
        if !queue.armed {
            match self.watch {
                Watch::Input => self.ask_for_room()?,
                Watch::Nothing => {
                    self.home.epoll.add(&self.transport, self.key, Interest::Output)?
                }
            }
            queue.armed = true;
        }
        Ok(())
    }

    /// Has the shard told when there is room, also if there is now, when no edge would come.
    fn ask_for_room(&self) -> io::Result<()> {
        let interest = match self.watch {
            Watch::Input => Interest::InputAndOutput,
            Watch::Nothing => Interest::Output,
        };
        self.home.epoll.modify(&self.transport, self.key, interest)
    }

    fn disarm(&self, queue: &mut Queue) -> io::Result<()> {
        if queue.armed {
            match self.watch {
                Watch::Input => {
                    self.home.epoll.modify(&self.transport, self.key, Interest::Input)?
                }
                Watch::Nothing => self.home.epoll.remove(&self.transport)?,
            }
            queue.armed = false;
        }
        Ok(())
    }
}
