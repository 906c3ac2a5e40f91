//! Output that waits for the peer to read, and the handles that add to it from any thread.
//!
//! Most connections never have one: replies go straight to the kernel. An outbox appears when the
//! kernel does not take all of a reply, or when a handler asks for a [`Sender`]. It then owns
//! the descriptor, and its lock orders all writes. A send with nothing waiting is written by
//! the sending thread itself, so that pushing to a thousand members wakes no thread.

use std::collections::VecDeque;
use std::fmt;
use std::fs::File;
use std::hash::{Hash, Hasher};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Weak};

use parking_lot::Mutex;
use rustix::net::Shutdown;

use super::home::Home;
use super::socket::{PART, REPLY_PART, Sent, send_file_now, send_now};
use crate::shared::Blockable;
use crate::sys::{Interest, Ticks, now_ticks};

/// How much may wait for a slow receiver before its [`SlowReceiver`] policy applies: 256 KB.
const LIMIT_DEFAULT: usize = 256 * 1024;

/// A handle that writes to a connection from any thread, while the connection is parked.
///
/// Cheap to clone. It does not keep the connection open: once the peer or the service has closed
/// it, [`Sender::send`] says so.
///
/// Senders are equal if they are of the same connection, whether or not it is open still: a set of them has
/// each member once.
///
/// ```
/// use std::collections::HashSet;
/// use std::sync::{Arc, Mutex};
/// use threadline_engine::{Lines, Sender};
///
/// let members: Arc<Mutex<HashSet<Sender>>> = Arc::default();
/// let (joined, left) = (Arc::clone(&members), members);
/// let lines = Lines::new(move |_line, session| {
///     let is_new = joined.lock().unwrap().insert(session.sender());
///     Some(if is_new { "welcome" } else { "you are here already" }.to_owned())
/// })
/// .on_close(move |session| {
///     left.lock().unwrap().remove(&session.sender());
/// });
/// ```
#[derive(Debug, Clone)]
pub struct Sender {
    /// The connection's.
    id: u64,
    outbox: Weak<Outbox>,
}

impl PartialEq for Sender {
    fn eq(&self, other: &Sender) -> bool {
        self.id == other.id
    }
}

impl Eq for Sender {}

impl Hash for Sender {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.id.hash(state);
    }
}

/// What happens to a receiver that does not keep up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SlowReceiver {
    /// The oldest waiting messages are dropped, whole ones only. They are counted.
    DropOldest,
    /// The connection is closed. The default: a gap can mislead, a closed connection cannot.
    #[default]
    Close,
}

/// Why a message was not sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum SendError {
    /// The connection is closed. Drop the sender.
    Closed,
    /// The receiver was too slow and [`SlowReceiver::Close`] has closed it just now.
    TooSlow,
    /// There is no room for it, even with every older push dropped: it is larger than the queue may
    /// be, or replies fill the queue. It was not sent, the connection lives.
    TooLarge,
}

impl fmt::Display for SendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            SendError::Closed => "the connection is closed",
            SendError::TooSlow => "the receiver was too slow and has been closed",
            SendError::TooLarge => "the send queue has no room for the message",
        })
    }
}

impl std::error::Error for SendError {}

impl Sender {
    pub(super) fn new(id: u64, outbox: &Arc<Outbox>) -> Self {
        Sender { id, outbox: Arc::downgrade(outbox) }
    }

    /// Of a connection that takes no more messages.
    pub(super) fn closed(id: u64) -> Self {
        Sender { id, outbox: Weak::new() }
    }

    /// The connection's number, as [`Session::id`](crate::Session::id) has it.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// Sends one message, or queues it behind those that wait. Never blocks.
    ///
    /// Messages of one thread arrive in order, and no message is mixed into another or into a reply.
    /// The bytes go out as they are: a line ends in `\n`, a frame is made by
    /// [`Frames::encode`](crate::Frames::encode).
    ///
    /// # Errors
    /// [`SendError`] says whether to drop the sender.
    pub fn send(&self, message: impl AsRef<[u8]>) -> Result<(), SendError> {
        self.outbox.upgrade().ok_or(SendError::Closed)?.push(message.as_ref())
    }

    /// Sets how many bytes may wait, and what happens beyond. Default: 256 KB, then close.
    pub fn limit(&self, bytes_max: usize, then: SlowReceiver) {
        if let Some(outbox) = self.outbox.upgrade() {
            let mut queue = outbox.queue.lock();
            queue.bytes_max = bytes_max;
            queue.policy = then;
        }
    }

    /// How many bytes wait for the peer to read.
    pub fn waiting(&self) -> usize {
        self.outbox.upgrade().map_or(0, |outbox| outbox.queue.lock().bytes)
    }

    /// How many messages [`SlowReceiver::DropOldest`] has dropped.
    pub fn dropped(&self) -> u64 {
        self.outbox.upgrade().map_or(0, |outbox| outbox.queue.lock().dropped)
    }

    /// Says that nothing more is sent: the connection is closed once what waits is out. Meant for
    /// the end of a reply that [`Step::Push`](crate::Step::Push) has begun; sends that come later
    /// fail.
    pub fn finish(self) {
        let Some(outbox) = self.outbox.upgrade() else { return };
        let mut queue = outbox.queue.lock();
        queue.finished = true;
        if queue.messages.is_empty() {
            // The peer closes too when it has read the end, and the shard hears of that.
            outbox.shut_down(Shutdown::Write);
        }
    }

    /// Whether the connection has ended.
    pub fn is_closed(&self) -> bool {
        self.outbox.upgrade().is_none_or(|outbox| outbox.queue.lock().closed)
    }

    /// Closes the connection; what waits is not sent.
    pub fn close(&self) {
        if let Some(outbox) = self.outbox.upgrade() {
            outbox.close(&mut outbox.queue.lock());
        }
    }
}

/// How the shard watches the socket when nothing waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Watch {
    /// It is registered for input, and room for output is added to that.
    Input,
    /// It is not registered: a thread of its own reads it.
    Nothing,
}

/// Output that waits, and the descriptor it waits for.
pub(crate) struct Outbox {
    socket: OwnedFd,
    home: Arc<Home>,
    key: u64,
    watch: Watch,
    queue: Mutex<Queue>,
}

struct Queue {
    messages: VecDeque<Message>,
    /// Sum over `messages` of what is still to be sent.
    bytes: usize,
    bytes_max: usize,
    policy: SlowReceiver,
    /// The shard has been asked to tell when there is room.
    armed: bool,
    closed: bool,
    /// Nothing more is pushed: our side closes once nothing waits.
    finished: bool,
    /// When the peer last took a byte, or the queue began to fill.
    moved: Ticks,
    dropped: u64,
}

struct Message {
    content: Content,
    /// A reply is never dropped.
    droppable: bool,
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

    /// Sends what the socket takes, at most a part.
    fn send_some(&mut self, socket: BorrowedFd<'_>) -> io::Result<Sent> {
        match self {
            Content::Bytes { bytes, sent } => {
                let done = send_now(socket, &bytes[*sent..], PART)?;
                if let Sent::Part(count) = done {
                    *sent += count;
                }
                Ok(done)
            }
            Content::File { file, offset, end } => send_file_now(socket, file, offset, *end),
        }
    }

    fn is_begun(&self) -> bool {
        !matches!(self, Content::Bytes { sent: 0, .. })
    }
}

impl fmt::Debug for Outbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outbox").field("socket", &self.socket).finish_non_exhaustive()
    }
}

impl Outbox {
    pub(super) fn new(socket: OwnedFd, home: Arc<Home>, key: u64, watch: Watch) -> Self {
        let queue = Queue {
            messages: VecDeque::new(),
            bytes: 0,
            bytes_max: LIMIT_DEFAULT,
            policy: SlowReceiver::default(),
            armed: false,
            closed: false,
            finished: false,
            moved: 0,
            dropped: 0,
        };
        Outbox { socket, home, key, watch, queue: Mutex::new(queue) }
    }

    /// A reply: waits however large it is, because the next message is not looked at before it is
    /// out. So at most one turn's replies wait.
    pub(super) fn reply(&self, bytes: &[u8]) -> io::Result<()> {
        let mut queue = self.queue.lock();
        if queue.closed {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        self.write_or_queue(&mut queue, bytes, false)
    }

    fn push(&self, bytes: &[u8]) -> Result<(), SendError> {
        let mut queue = self.queue.lock();
        if queue.closed || queue.finished {
            return Err(SendError::Closed);
        }
        if queue.bytes > 0 && queue.bytes + bytes.len() > queue.bytes_max {
            self.make_room(&mut queue, bytes.len())?;
        }
        self.write_or_queue(&mut queue, bytes, true).map_err(|error| {
            self.home.counters.count_vanished(&error);
            self.close(&mut queue);
            SendError::Closed
        })
    }

    fn make_room(&self, queue: &mut Queue, need: usize) -> Result<(), SendError> {
        if need > queue.bytes_max {
            return Err(SendError::TooLarge);
        }
        if queue.policy == SlowReceiver::Close {
            self.home.counters.slow_receivers_closed.increment();
            tracing::debug!(waiting = queue.bytes, "a receiver is closed: it reads too slowly");
            self.close(queue);
            return Err(SendError::TooSlow);
        }
        while queue.bytes + need > queue.bytes_max {
            // One that is partly sent must go on, or the peer would read a broken message.
            let can_go = |message: &Message| message.droppable && !message.content.is_begun();
            let oldest = queue.messages.iter().position(can_go);
            let Some(oldest) = oldest.and_then(|at| queue.messages.remove(at)) else {
                // Nothing but replies wait: the new message is the oldest that can go.
                self.drop_one(queue);
                return Err(SendError::TooLarge);
            };
            queue.bytes -= oldest.content.held();
            self.drop_one(queue);
        }
        Ok(())
    }

    fn drop_one(&self, queue: &mut Queue) {
        queue.dropped += 1;
        self.home.counters.pushes_dropped.increment();
    }

    fn write_or_queue(&self, queue: &mut Queue, bytes: &[u8], droppable: bool) -> io::Result<()> {
        let mut sent = 0;
        if queue.messages.is_empty() {
            match send_now(self.socket.as_fd(), bytes, REPLY_PART)? {
                Sent::All => return Ok(()),
                Sent::Part(count) => sent = count,
            }
            queue.moved = now_ticks();
        }
        queue.bytes += bytes.len() - sent;
        let content = Content::Bytes { bytes: bytes[sent..].into(), sent: 0 };
        queue.messages.push_back(Message { content, droppable: droppable && sent == 0 });
        self.arm(queue)
    }

    /// Writes what fits, at most a part. Called when the kernel says that there is room.
    pub(crate) fn flush(&self) -> io::Result<()> {
        self.flush_queue(&mut self.queue.lock())
    }

    fn flush_queue(&self, queue: &mut Queue) -> io::Result<()> {
        while let Some(message) = queue.messages.front_mut() {
            let held = message.content.held();
            match message.content.send_some(self.socket.as_fd())? {
                Sent::All => {
                    queue.bytes -= held;
                    queue.moved = now_ticks();
                    queue.messages.pop_front();
                }
                Sent::Part(count) => {
                    queue.bytes -= held - message.content.held();
                    if count > 0 {
                        queue.moved = now_ticks();
                    }
                    return if count < PART { Ok(()) } else { self.ask_for_room() };
                }
            }
        }
        // A queue that has been full once gives its memory back.
        queue.messages = VecDeque::new();
        if queue.finished {
            self.shut_down(Shutdown::Write);
        }
        self.disarm(queue)
    }

    /// Sends what the socket takes right now, if nothing waits before it: for a thread that waits for
    /// room itself.
    pub(super) fn send_part(&self, bytes: &[u8]) -> io::Result<Sent> {
        let mut queue = self.queue.lock();
        if queue.closed {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        self.flush_queue(&mut queue)?;
        if queue.messages.is_empty() {
            send_now(self.socket.as_fd(), bytes, usize::MAX)
        } else {
            Ok(Sent::Part(0))
        }
    }

    /// Has a file sent behind what waits.
    pub(super) fn queue_file(&self, content: Content) -> io::Result<()> {
        let mut queue = self.queue.lock();
        if queue.closed {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        if queue.messages.is_empty() {
            queue.moved = now_ticks();
        }
        queue.messages.push_back(Message { content, droppable: false });
        self.arm(&mut queue)
    }

    /// Whether output waits for the peer to read.
    pub(crate) fn waits(&self) -> bool {
        !self.queue.lock().messages.is_empty()
    }

    /// Since when the peer has not taken a byte, if output waits.
    pub(crate) fn stalled_since(&self) -> Option<Ticks> {
        let queue = self.queue.lock();
        (!queue.messages.is_empty()).then_some(queue.moved)
    }

    fn close(&self, queue: &mut Queue) {
        queue.closed = true;
        queue.messages = VecDeque::new();
        queue.bytes = 0;
        // The shard, or the thread that reads it, is told by the kernel.
        let _ = rustix::net::shutdown(&self.socket, Shutdown::Both);
    }

    fn arm(&self, queue: &mut Queue) -> io::Result<()> {
        if !queue.armed {
            match self.watch {
                Watch::Input => self.ask_for_room()?,
                Watch::Nothing => self.home.epoll.add(&self.socket, self.key, Interest::Output)?,
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
        self.home.epoll.modify(&self.socket, self.key, interest)
    }

    fn disarm(&self, queue: &mut Queue) -> io::Result<()> {
        if queue.armed {
            match self.watch {
                Watch::Input => self.home.epoll.modify(&self.socket, self.key, Interest::Input)?,
                Watch::Nothing => self.home.epoll.remove(&self.socket)?,
            }
            queue.armed = false;
        }
        Ok(())
    }
}

impl Blockable for Outbox {
    fn shut_down(&self, how: Shutdown) {
        let _ = rustix::net::shutdown(&self.socket, how);
    }

    fn flush(&self) {
        // A connection that is gone is noticed by the thread that reads it.
        if let Err(error) = Outbox::flush(self) {
            self.home.counters.count_vanished(&error);
        }
    }

    fn output_waits(&self) -> bool {
        self.waits()
    }
}

impl AsFd for Outbox {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}
