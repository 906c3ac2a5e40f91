//! Output that waits for the peer to read. What is pushed from other threads waits in the same queue.
//!
//! Most connections never have one: replies go straight to the transport. An outbox appears when that
//! has no room for all of a reply, or when a handler asks for a [`Sender`]. It then owns
//! the transport, and its lock orders all writes. A send with nothing waiting is written by
//! the sending thread itself, so that pushing to a thousand members wakes no thread.
//!
//! - this file: the outbox and its ends, by its owner, by senders and by a drain
//! - `content`, `queue`: what waits
//! - `send`: adding to it, and writing it
//! - `fill`: content that is made while it is sent
//! - `look`: the write deadline

mod content;
mod fill;
mod look;
mod queue;
mod send;

use std::collections::VecDeque;
use std::fmt;
use std::net::Shutdown;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Weak};

use parking_lot::Mutex;

use super::home::Home;
use super::sender::{Held, SendError, Sender, SlowReceiver, WhenDrained};
use crate::deadline::WriteLimit;
use crate::shared::Blockable;
use crate::sys::{Clock, Ticks};
use crate::transport::Transport;

pub(super) use content::{Content, Making};
use content::{Message, Origin};
pub(crate) use fill::Filled;
pub(super) use look::LOOKS;
pub(crate) use look::Owner;
use queue::Queue;

/// How much may wait for a slow receiver before its [`SlowReceiver`] policy applies: 256 KB.
const LIMIT_DEFAULT: usize = 256 * 1024;

/// How the shard watches the socket when nothing waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Watch {
    /// It is registered for input, and room for output is added to that.
    Input,
    /// It is not registered: a thread of its own reads it.
    Nothing,
}

/// Output that waits, and the transport it waits for.
pub(crate) struct Outbox {
    transport: Transport,
    home: Arc<Home>,
    key: u64,
    watch: Watch,
    /// Half by half, since readers need no consistent view: see [`WriteLimit`].
    stall_limit: AtomicU32,
    reply_rate: AtomicU32,
    /// What is sent ends with the connection: any other end than `Queue::finished` is a reset. The transport
    /// resets on close as long as this is set. Changed under the lock of `queue`.
    until_close: AtomicBool,
    me: Weak<Outbox>,
    queue: Mutex<Queue>,
}

impl fmt::Debug for Outbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outbox").field("transport", &self.transport).finish_non_exhaustive()
    }
}

impl Outbox {
    pub(super) fn new(
        transport: Transport,
        home: Arc<Home>,
        key: u64,
        watch: Watch,
        write_limit: WriteLimit,
    ) -> Arc<Self> {
        let queue = Queue {
            messages: VecDeque::new(),
            bytes: 0,
            pushed: 0,
            memory: 0,
            bytes_max: LIMIT_DEFAULT,
            policy: SlowReceiver::default(),
            leftover: Vec::new(),
            armed: false,
            closed: false,
            timed_out: false,
            retired: false,
            handed_over: false,
            finished: false,
            when_drained: WhenDrained::default(),
            in_turn: false,
            pushing: false,
            ended: None,
            moved: 0,
            began: 0,
            taken: i64::MIN,
            taken_first: 0,
            seen: 0,
            waited: 0,
            looked_at: false,
            registered: false,
            sent: 0,
            next: 0,
            dropped: 0,
            held: Weak::new(),
        };
        let queue = Mutex::new(queue);
        Arc::new_cyclic(|me| {
            let me = Weak::clone(me);
            let until_close = AtomicBool::new(false);
            let stall_limit = AtomicU32::new(write_limit.stall);
            let reply_rate = AtomicU32::new(write_limit.reply_rate);
            Outbox { transport, home, key, watch, stall_limit, reply_rate, until_close, me, queue }
        })
    }

    /// The way to the connection's bytes: for reading, and for what does not write.
    #[inline(always)]
    pub(super) fn transport(&self) -> &Transport {
        &self.transport
    }

    pub(super) fn clock(&self) -> &Clock {
        &self.home.clock
    }

    /// A handle that adds to the queue from any thread.
    pub(super) fn sender(&self, id: u64) -> Sender {
        let mut queue = self.queue.lock();
        queue.in_turn = true;
        let held = queue.held.upgrade().unwrap_or_else(|| {
            let held = Held::new(Weak::clone(&self.me));
            queue.held = Arc::downgrade(&held);
            held
        });
        Sender::new(id, Weak::clone(&self.me), held)
    }

    /// Whether it holds user code.
    pub(super) fn holds_source(&self) -> bool {
        let queue = self.queue.lock();
        let holds = |message: &Message| matches!(message.content, Content::Made(_));
        !queue.leftover.is_empty() || queue.messages.iter().any(holds)
    }

    /// Whether there is a [`Sender`].
    pub(super) fn has_sender(&self) -> bool {
        self.queue.lock().held.strong_count() > 0
    }

    /// From now on the connection is there for its senders alone. False if there is none any more.
    pub(super) fn begin_push(&self) -> bool {
        let mut queue = self.queue.lock();
        queue.pushing = true;
        !queue.finished && queue.held.strong_count() > 0
    }

    pub(super) fn end_turn(&self) {
        let mut queue = self.queue.lock();
        queue.in_turn = false;
        self.end_if_finished(&mut queue);
    }

    /// Sets how many bytes may wait, and what happens beyond.
    pub(super) fn limit(&self, bytes_max: usize, then: SlowReceiver) {
        let mut queue = self.queue.lock();
        (queue.bytes_max, queue.policy) = (bytes_max, then);
    }

    /// Sets the write deadline.
    pub(super) fn limit_writes(&self, limit: WriteLimit) {
        self.stall_limit.store(limit.stall, Ordering::Relaxed);
        self.reply_rate.store(limit.reply_rate, Ordering::Relaxed);
        let mut queue = self.queue.lock();
        if limit.stall != Ticks::MAX && !queue.messages.is_empty() {
            self.ask_for_looks(&mut queue);
        }
    }

    fn write_limit(&self) -> WriteLimit {
        WriteLimit {
            stall: self.stall_limit.load(Ordering::Relaxed),
            reply_rate: self.reply_rate.load(Ordering::Relaxed),
        }
    }

    /// How many bytes wait.
    pub(super) fn waiting(&self) -> usize {
        self.queue.lock().bytes
    }

    /// How many messages have been dropped.
    pub(super) fn dropped(&self) -> u64 {
        self.queue.lock().dropped
    }

    pub(super) fn is_closed(&self) -> bool {
        self.queue.lock().is_closed()
    }

    /// Closes the connection; what waits is not sent.
    pub(super) fn close(&self) {
        let mut queue = self.queue.lock();
        if !queue.handed_over {
            self.close_queue(&mut queue);
        }
    }

    /// Nothing more is pushed: our side is closed once nothing waits.
    pub(super) fn finish(&self) {
        self.finish_queue(&mut self.queue.lock());
    }

    /// As [`Outbox::finish`], behind `end`, which waits however much waits already.
    pub(super) fn finish_with(&self, end: &[u8]) -> Result<(), SendError> {
        let mut queue = self.queue.lock();
        if queue.is_closed() || queue.finished {
            return Err(SendError::Closed);
        }
        if let Err(error) = self.write_or_queue(&mut queue, end, Origin::Reply) {
            self.home.counters.count_vanished(&error);
            self.close_queue(&mut queue);
            return Err(SendError::Closed);
        }
        self.finish_queue(&mut queue);
        Ok(())
    }

    pub(super) fn last_sender_gone(&self) {
        let mut queue = self.queue.lock();
        // The owner may have made another one meanwhile.
        if queue.pushing && !queue.finished && queue.held.strong_count() == 0 {
            self.finish_queue(&mut queue);
        }
    }

    fn finish_queue(&self, queue: &mut Queue) {
        if queue.handed_over {
            return;
        }
        queue.finished = true;
        self.end_if_finished(queue);
    }

    /// Closes our side, once that is due. The peer closes too when it has read the end, and the shard
    /// hears of that; if it does not, the shard's looks are its bound.
    fn end_if_finished(&self, queue: &mut Queue) {
        let is_out = queue.messages.is_empty() && !queue.in_turn;
        if queue.finished && is_out && queue.ended.is_none() && !queue.closed {
            self.allow_end();
            self.transport.close_write();
            queue.ended = Some(self.home.clock.ticks());
            self.ask_for_looks(queue);
        }
    }

    /// What is sent from now on ends with the connection.
    pub(super) fn begin_until_close(&self) {
        let queue = self.queue.lock();
        if !queue.handed_over && !queue.closed && queue.ended.is_none() {
            self.until_close.store(true, Ordering::Relaxed);
            self.transport.reset_on_close(true);
        }
    }

    /// All of it is sent.
    pub(super) fn end_until_close(&self) {
        let _queue = self.queue.lock();
        self.allow_end();
    }

    /// Under the lock.
    fn allow_end(&self) {
        if self.until_close.swap(false, Ordering::Relaxed) {
            self.transport.reset_on_close(false);
        }
    }

    pub(super) fn when_drained(&self, then: WhenDrained) {
        self.queue.lock().when_drained = then;
    }

    pub(super) fn is_draining(&self) -> bool {
        self.home.draining.load(Ordering::Relaxed)
    }

    /// Whether a drain has to wait for what is pushed.
    pub(super) fn drain_waits(&self) -> bool {
        let queue = self.queue.lock();
        queue.when_drained == WhenDrained::Wait && !queue.finished && !queue.is_closed()
    }

    /// A drain ends what is pushed. Nothing happens if it has come to an end already, or has no end of the
    /// service's: the owner closes it then.
    pub(super) fn end_at_drain(&self) {
        self.finish_at_drain(&mut self.queue.lock());
    }

    /// False if nothing has happened.
    fn finish_at_drain(&self, queue: &mut Queue) -> bool {
        let WhenDrained::Finish(end) = queue.when_drained else { return false };
        if !queue.pushing || queue.finished || queue.is_closed() {
            return false;
        }
        // If the peer is gone, the owner learns of it by the socket.
        if self.write_or_queue(queue, end, Origin::Reply).is_ok() {
            self.finish_queue(queue);
        }
        true
    }

    /// Ends one direction or both, by a reset where the peer would take the end for that of the reply. Takes
    /// no lock: a thread that reads a file to be sent may hold it for long.
    pub(super) fn shut_down_now(&self, how: Shutdown) {
        if how != Shutdown::Read && self.until_close.load(Ordering::Relaxed) {
            self.transport.reset();
        } else {
            let _ = self.transport.shut_down(how);
        }
    }

    /// The owner has closed our side, and sees to the rest.
    pub(super) fn leave_end_to_owner(&self) {
        let mut queue = self.queue.lock();
        (queue.retired, queue.finished, queue.ended) = (true, false, None);
    }

    /// Whether it has been closed, what waited included.
    pub(super) fn is_cut_off(&self) -> bool {
        self.queue.lock().closed
    }

    /// Whether output waits for the peer to read.
    pub(crate) fn waits(&self) -> bool {
        !self.queue.lock().messages.is_empty()
    }

    fn close_queue(&self, queue: &mut Queue) {
        queue.closed = true;
        queue.clear();
        self.give_back(queue, queue.memory);
        // The shard, or the thread that reads it, is told by the kernel.
        self.shut_down_now(Shutdown::Both);
    }
}

impl Blockable for Outbox {
    /// Of `Shutdown::Write`: a drain has called the connection off.
    fn shut_down(&self, how: Shutdown) {
        if how != Shutdown::Write || !self.finish_at_drain(&mut self.queue.lock()) {
            self.shut_down_now(how);
        }
    }

    fn output_waits(&self) -> bool {
        self.waits()
    }
}

impl Drop for Outbox {
    fn drop(&mut self) {
        let queue = self.queue.get_mut();
        self.home.give_back(queue.memory);
        if queue.registered {
            self.home.outputs.remove(self.key);
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests;
