//! Output that waits for the peer to read. What is pushed from other threads waits in the same queue.
//!
//! Most connections never have one: replies go straight to the transport. An outbox appears when that
//! has no room for all of a reply, or when a handler asks for a [`Sender`]. It then owns
//! the transport, and its lock orders all writes. A send with nothing waiting is written by
//! the sending thread itself, so that pushing to a thousand members wakes no thread.
//!
//! The write deadline is kept here too, for every kind of output and whatever the connection's owner is
//! doing: when output begins to wait, the shard is told, and from then on it takes a look now and then
//! ([`Outbox::look`]). The decision that a peer has stalled is made under the lock, once.

use std::collections::VecDeque;
use std::fmt;
use std::fs::File;
use std::io;
use std::net::Shutdown;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Weak};

use parking_lot::Mutex;

use super::home::Home;
use super::sender::{Held, SendError, Sender, SlowReceiver, WhenDrained};
use crate::inbox::Note;
use crate::shared::Blockable;
use crate::sys::{Clock, Interest, Ticks};
use crate::transport::{PART, REPLY_PART, Sent, Transport, send_file};

/// How often, within a write deadline, it is looked whether the peer has taken anything. A stall is
/// noticed late by one part of that many.
pub(super) const LOOKS: u32 = 8;

/// How much may wait for a slow receiver before its [`SlowReceiver`] policy applies: 256 KB.
const LIMIT_DEFAULT: usize = 256 * 1024;

/// The shard looks at waiting output at least this often, however long the deadline: about 4 s.
const STEP_MAX: Ticks = 256;

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
    /// How long the peer may take no byte of what waits; `Ticks::MAX`: for ever.
    write_limit: AtomicU32,
    /// What is sent ends with the connection: any other end than `Queue::finished` is a reset. The transport
    /// resets on close as long as this is set. Changed under the lock of `queue`.
    until_close: AtomicBool,
    me: Weak<Outbox>,
    queue: Mutex<Queue>,
}

struct Queue {
    messages: VecDeque<Message>,
    /// Sum over `messages` of what is still to be sent.
    bytes: usize,
    /// The part of it that was pushed: replies do not count against `bytes_max`.
    pushed: usize,
    /// The memory of `messages` that is counted in [`Home::waiting`](Home): their sum of `Message::memory`.
    memory: usize,
    bytes_max: usize,
    policy: SlowReceiver,
    /// The shard has been asked to tell when there is room.
    armed: bool,
    closed: bool,
    /// The write deadline has closed it.
    timed_out: bool,
    /// Nothing more is pushed: the connection is to be handed over, or its owner ends it.
    retired: bool,
    /// The connection gets another owner, or has one: senders no longer end it.
    handed_over: bool,
    /// Nothing more is pushed: our side closes once nothing waits.
    finished: bool,
    when_drained: WhenDrained,
    /// It has got a sender in a turn whose replies are not written yet.
    in_turn: bool,
    /// It is as good as finished once there is no sender ([`Step::Push`](crate::Step::Push)).
    pushing: bool,
    /// When our side was closed because it was finished.
    ended: Option<Ticks>,
    /// When it was last seen that the peer had taken a byte, or the queue began to fill.
    moved: Ticks,
    /// What the peer had taken at the last look; `i64::MIN` before the first since the queue began to fill.
    taken: i64,
    /// The shard looks at it: a timer of its own, or a note on the way to it.
    looked_at: bool,
    /// It is among [`Home::outputs`](Home).
    registered: bool,
    /// Bytes that the socket has taken from the queue.
    sent: u64,
    /// The number that the next message gets.
    next: u64,
    dropped: u64,
    held: Weak<Held>,
}

impl Queue {
    /// Whether senders have come to their end.
    fn is_closed(&self) -> bool {
        self.closed || self.retired
    }

    /// The error of a write to a closed queue.
    fn closed_error(&self) -> io::Error {
        let kind = if self.timed_out { io::ErrorKind::TimedOut } else { io::ErrorKind::BrokenPipe };
        kind.into()
    }

    /// Counts bytes that begin to wait.
    fn add(&mut self, count: usize, origin: Origin) {
        self.bytes += count;
        if origin == Origin::Push {
            self.pushed += count;
        }
    }

    /// Counts bytes that do not wait any more.
    fn subtract(&mut self, count: usize, origin: Origin) {
        self.bytes -= count;
        if origin == Origin::Push {
            self.pushed -= count;
        }
    }

    fn check_open(&self) -> io::Result<()> {
        if self.closed { Err(self.closed_error()) } else { Ok(()) }
    }
}

struct Message {
    /// Grows from message to message.
    number: u64,
    content: Content,
    origin: Origin,
    /// The bytes of memory that it holds until all of it is out.
    memory: usize,
    /// Some of it is out already: what waits is its rest.
    is_rest: bool,
}

/// Where a message comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Origin {
    /// The connection's owner. It is never dropped, and does not count against the bound of pushes.
    Reply,
    /// A sender.
    Push,
}

impl Message {
    /// Whether it may be dropped as a whole. The rest of one that is partly out must go on, or the peer would
    /// read a broken message.
    fn is_droppable(&self) -> bool {
        self.origin == Origin::Push && !self.is_rest && !self.content.is_begun()
    }
}

/// What waits to be sent.
pub(super) enum Content {
    Bytes { bytes: Box<[u8]>, sent: usize },
    File { file: File, offset: u64, end: u64 },
}

impl Content {
    /// Bytes in memory that are still to be sent.
    fn held(&self) -> usize {
        match self {
            Content::Bytes { bytes, sent } => bytes.len() - sent,
            Content::File { .. } => 0,
        }
    }

    /// Bytes of memory that it holds, whether or not a part of them is out.
    fn memory(&self) -> usize {
        match self {
            Content::Bytes { bytes, .. } => bytes.len(),
            Content::File { .. } => 0,
        }
    }

    /// Bytes that are still to be sent.
    fn left(&self) -> u64 {
        match self {
            Content::Bytes { bytes, sent } => (bytes.len() - sent) as u64,
            Content::File { offset, end, .. } => end - offset,
        }
    }

    /// Sends what the socket takes, at most a part.
    fn send_some(&mut self, transport: &Transport) -> io::Result<Sent> {
        match self {
            Content::Bytes { bytes, sent } => {
                let done = transport.write(&bytes[*sent..], PART)?;
                if let Sent::Part(count) = done {
                    *sent += count;
                }
                Ok(done)
            }
            Content::File { file, offset, end } => send_file(transport, file, offset, *end),
        }
    }

    fn is_begun(&self) -> bool {
        !matches!(self, Content::Bytes { sent: 0, .. })
    }
}

/// What the owner of a connection is doing while the shard looks at its output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Owner {
    /// Nothing: the connection is parked, and an event says when there is room.
    Parked,
    /// Something else: a handler may be running.
    Busy,
}

/// What becomes of a file that is next in a queue which is flushed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Files {
    /// It is sent, which may take as long as a disk takes.
    Sent,
    /// It is left to the connection's owner, with what waits behind it.
    Left,
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
        write_limit: Ticks,
    ) -> Arc<Self> {
        let queue = Queue {
            messages: VecDeque::new(),
            bytes: 0,
            pushed: 0,
            memory: 0,
            bytes_max: LIMIT_DEFAULT,
            policy: SlowReceiver::default(),
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
            taken: i64::MIN,
            looked_at: false,
            registered: false,
            sent: 0,
            next: 0,
            dropped: 0,
            held: Weak::new(),
        };
        let (queue, write_limit) = (Mutex::new(queue), AtomicU32::new(write_limit));
        Arc::new_cyclic(|me| {
            let me = Weak::clone(me);
            let until_close = AtomicBool::new(false);
            Outbox { transport, home, key, watch, write_limit, until_close, me, queue }
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
    pub(super) fn limit_writes(&self, limit: Ticks) {
        self.write_limit.store(limit, Ordering::Relaxed);
        let mut queue = self.queue.lock();
        if limit != Ticks::MAX && !queue.messages.is_empty() {
            self.ask_for_looks(&mut queue);
        }
    }

    fn write_limit(&self) -> Ticks {
        self.write_limit.load(Ordering::Relaxed)
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

    /// A reply: waits however large it is, because the next message is not looked at before it is
    /// out. So at most one turn's replies wait. Returns its number if some of it waits.
    pub(super) fn reply(&self, bytes: &[u8]) -> io::Result<Option<u64>> {
        let mut queue = self.queue.lock();
        queue.check_open()?;
        self.write_or_queue(&mut queue, bytes, Origin::Reply)
    }

    pub(super) fn push(&self, bytes: &[u8]) -> Result<(), SendError> {
        let mut queue = self.queue.lock();
        if queue.is_closed() || queue.finished {
            return Err(SendError::Closed);
        }
        let waiting = queue.pushed;
        if waiting > 0
            && waiting + bytes.len() > queue.bytes_max
            && let Err(error) = self.make_room(&mut queue, bytes.len())
        {
            // What the log is written to is user code.
            drop(queue);
            if error == SendError::TooSlow {
                tracing::debug!(waiting, "a receiver is closed: it reads too slowly");
            }
            return Err(error);
        }
        self.write_or_queue(&mut queue, bytes, Origin::Push).map(drop).map_err(|error| {
            self.home.counters.count_vanished(&error);
            self.close_queue(&mut queue);
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

    fn write_or_queue(
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
        let content = Content::Bytes { bytes: bytes[sent..].into(), sent: 0 };
        self.queue_up(queue, content, origin, sent > 0).map(Some)
    }

    /// Counts memory of messages that are gone.
    fn give_back(&self, queue: &mut Queue, memory: usize) {
        queue.memory -= memory;
        self.home.waiting.give_back(memory);
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
            queue.moved = self.home.clock.ticks();
            queue.taken = i64::MIN;
        }
        let number = queue.next;
        queue.next += 1;
        let memory = content.memory();
        self.home.waiting.take(memory);
        queue.memory += memory;
        queue.messages.push_back(Message { number, content, origin, memory, is_rest });
        self.register(queue);
        self.arm(queue)?;
        if self.write_limit() != Ticks::MAX {
            self.ask_for_looks(queue);
        }
        Ok(number)
    }

    /// Lets the shard find the queue by its connection's key.
    fn register(&self, queue: &mut Queue) {
        if !queue.registered {
            queue.registered = true;
            self.home.outputs.insert(self.key, Weak::clone(&self.me));
        }
    }

    /// Has the shard look at the queue from now on ([`Outbox::look`]).
    fn ask_for_looks(&self, queue: &mut Queue) {
        self.register(queue);
        if !std::mem::replace(&mut queue.looked_at, true) {
            self.home.tell(Note::OutputWaits(self.key));
        }
    }

    /// Writes what fits, at most a part. Called when the kernel says that there is room.
    pub(crate) fn flush(&self) -> io::Result<()> {
        self.flush_queue(&mut self.queue.lock(), Files::Sent)
    }

    fn flush_queue(&self, queue: &mut Queue, files: Files) -> io::Result<()> {
        while let Some(message) = queue.messages.front_mut() {
            if files == Files::Left && matches!(message.content, Content::File { .. }) {
                return Ok(());
            }
            let origin = message.origin;
            let (held, left) = (message.content.held(), message.content.left());
            match message.content.send_some(&self.transport)? {
                Sent::All => {
                    queue.subtract(held, origin);
                    queue.sent += left;
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

    fn flush_in_passing(&self, queue: &mut Queue, files: Files) {
        // A connection that is gone is noticed by its owner, but the kernel tells its error once.
        if let Err(error) = self.flush_queue(queue, files) {
            self.home.counters.count_vanished(&error);
        }
    }

    /// The shard's look at what waits, now and then: closes the connection if its peer has taken nothing
    /// for too long. Says when to look again; `None`: not before it is asked to.
    ///
    /// The peer takes bytes long before the kernel says that there is room, so what the socket has still
    /// to send is compared with the last look. A peer that stops between two looks is given that much more.
    pub(crate) fn look(&self, now: Ticks, owner: Owner, linger: Ticks) -> Option<Ticks> {
        let (next, timed_out) = self.look_locked(now, owner, linger);
        if timed_out {
            tell_timed_out();
        }
        next
    }

    fn look_locked(&self, now: Ticks, owner: Owner, linger: Ticks) -> (Option<Ticks>, bool) {
        let limit = self.write_limit();
        let step = (limit / LOOKS).clamp(1, STEP_MAX);
        // In use: it is being written, or added to.
        let Some(mut queue) = self.queue.try_lock() else { return (Some(now + step), false) };
        // If there is room, it is the owner that is late.
        if self.transport.has_room() {
            queue.moved = now;
        }
        // Not for a thread of the connection's own: it waits for room if output waits, and there may be none
        // any more once the last of it has gone out. The kernel's word that there is room reaches both.
        if owner == Owner::Busy && self.watch == Watch::Input && !queue.closed {
            self.flush_in_passing(&mut queue, Files::Left);
        }
        let was_open = !queue.timed_out;
        let next = self.next_look(&mut queue, now, limit, linger);
        queue.looked_at = next.is_some();
        (next.map(|due| due.min(now + step)), was_open && queue.timed_out)
    }

    fn next_look(
        &self,
        queue: &mut Queue,
        now: Ticks,
        limit: Ticks,
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
        if limit == Ticks::MAX {
            return None;
        }
        let taken = self.taken_of(queue);
        if taken > queue.taken {
            queue.moved = now;
        }
        queue.taken = taken;
        // A tick more: the one in which the peer took its last byte had begun.
        let due = queue.moved.saturating_add(limit).saturating_add(1);
        if now < due {
            return Some(due);
        }
        self.time_out_queue(queue);
        None
    }

    /// Grows with every byte that the peer takes, by a measure that has no beginning.
    pub(super) fn taken(&self) -> i64 {
        self.taken_of(&self.queue.lock())
    }

    fn taken_of(&self, queue: &Queue) -> i64 {
        queue.sent as i64 - self.transport.untaken_len() as i64
    }

    /// Closes the connection because its peer takes nothing, unless it is closed already.
    pub(super) fn time_out(&self) {
        let timed_out = self.time_out_queue(&mut self.queue.lock());
        if timed_out {
            tell_timed_out();
        }
    }

    /// False if it is closed already.
    fn time_out_queue(&self, queue: &mut Queue) -> bool {
        if queue.closed {
            return false;
        }
        queue.timed_out = true;
        self.home.counters.timeouts_write.increment();
        self.close_queue(queue);
        true
    }

    /// Whether all is out up to the message with that number; writes what fits.
    pub(super) fn flush_through(&self, number: u64) -> io::Result<bool> {
        let mut queue = self.queue.lock();
        queue.check_open()?;
        self.flush_queue(&mut queue, Files::Sent)?;
        Ok(queue.messages.front().is_none_or(|message| message.number > number))
    }

    /// Ends all pushing, because the connection gets another owner: true once all is out. Senders
    /// have come to their end then.
    pub(super) fn retire(&self) -> io::Result<bool> {
        let mut queue = self.queue.lock();
        queue.check_open()?;
        (queue.retired, queue.handed_over) = (true, true);
        self.flush_queue(&mut queue, Files::Sent)?;
        queue.closed = queue.messages.is_empty();
        Ok(queue.closed)
    }

    /// Sends `head` and a file behind what waits already, as one piece, as far as the socket takes it; the
    /// rest waits.
    pub(super) fn reply_file(&self, head: &[u8], mut content: Content) -> io::Result<()> {
        let mut queue = self.queue.lock();
        queue.check_open()?;
        self.write_or_queue(&mut queue, head, Origin::Reply)?;
        if queue.messages.is_empty() && content.send_some(&self.transport)? == Sent::All {
            return Ok(());
        }
        self.queue_up(&mut queue, content, Origin::Reply, false).map(drop)
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
        queue.messages = VecDeque::new();
        (queue.bytes, queue.pushed) = (0, 0);
        self.give_back(queue, queue.memory);
        // The shard, or the thread that reads it, is told by the kernel.
        self.shut_down_now(Shutdown::Both);
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

/// Not under the lock: what the log is written to is user code.
#[cold]
fn tell_timed_out() {
    tracing::debug!("a connection is closed: the peer did not read in time");
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
        self.home.waiting.give_back(queue.memory);
        if queue.registered {
            self.home.outputs.remove(self.key);
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests;
