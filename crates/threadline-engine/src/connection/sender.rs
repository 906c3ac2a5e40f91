//! The handles that add to a connection's output from any thread, while it is parked or being served.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::{Arc, Weak};

use super::outbox::Outbox;

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
    /// Shared by all senders of a connection: tells whether there are any.
    _held: Arc<Held>,
}

/// What the senders of a connection hold together: dropped with the last of them.
#[derive(Debug)]
pub(super) struct Held {
    outbox: Weak<Outbox>,
}

impl Held {
    pub(super) fn new(outbox: Weak<Outbox>) -> Arc<Self> {
        Arc::new(Held { outbox })
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if let Some(outbox) = self.outbox.upgrade() {
            outbox.last_sender_gone();
        }
    }
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

/// What a drain does with a reply that [`Step::Push`](crate::Step::Push) has begun and senders go on with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum WhenDrained {
    /// Closes the connection. The default: nothing of the service's knows where the reply ends.
    #[default]
    Close,
    /// Waits until [`Sender::finish`], or the last sender is dropped; at the drain's deadline the connection
    /// is cut off. For replies that have an end: senders see it coming by [`Sender::is_draining`].
    Wait,
    /// Sends these bytes and finishes. For replies without an end, such as event streams.
    Finish(&'static [u8]),
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
    /// be, or one that is partly sent fills the queue. It was not sent, the connection lives.
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
    /// Of the connection with that number.
    pub(super) fn new(id: u64, outbox: Weak<Outbox>, held: Arc<Held>) -> Self {
        Sender { id, outbox, _held: held }
    }

    /// Of a connection that takes no more messages.
    pub(super) fn closed(id: u64) -> Self {
        Sender::new(id, Weak::new(), Held::new(Weak::new()))
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

    /// Sets how many pushed bytes may wait, and what happens beyond. Default: 256 KB, then close. Replies
    /// that wait do not count; they have a bound of their own, since the next message is not looked at before
    /// they are out.
    pub fn limit(&self, bytes_max: usize, then: SlowReceiver) {
        if let Some(outbox) = self.outbox.upgrade() {
            outbox.limit(bytes_max, then);
        }
    }

    /// How many bytes wait for the peer to read, replies included.
    pub fn waiting(&self) -> usize {
        self.outbox.upgrade().map_or(0, |outbox| outbox.waiting())
    }

    /// How many messages [`SlowReceiver::DropOldest`] has dropped.
    pub fn dropped(&self) -> u64 {
        self.outbox.upgrade().map_or(0, |outbox| outbox.dropped())
    }

    /// Says that nothing more is sent: the connection is closed once what waits is out. Meant for
    /// the end of a reply that [`Step::Push`](crate::Step::Push) has begun; sends that come later
    /// fail.
    pub fn finish(self) {
        if let Some(outbox) = self.outbox.upgrade() {
            outbox.finish();
        }
    }

    /// Sends the end of a reply and finishes, as [`Sender::finish`]. The end is neither dropped nor refused for
    /// want of room, so it should be short.
    ///
    /// # Errors
    /// [`SendError::Closed`] if the connection has ended, or another sender has finished it.
    pub fn finish_with(self, end: impl AsRef<[u8]>) -> Result<(), SendError> {
        self.outbox.upgrade().ok_or(SendError::Closed)?.finish_with(end.as_ref())
    }

    /// Whether the connection has ended.
    pub fn is_closed(&self) -> bool {
        self.outbox.upgrade().is_none_or(|outbox| outbox.is_closed())
    }

    /// Closes the connection; what waits is not sent.
    pub fn close(&self) {
        if let Some(outbox) = self.outbox.upgrade() {
            outbox.close();
        }
    }

    /// Closes the connection by a reset: the peer's next read fails, and what it has not received is lost. On
    /// Unix sockets, which have no reset, the same as [`Sender::close`].
    pub fn abort(&self) {
        if let Some(outbox) = self.outbox.upgrade() {
            outbox.begin_until_close();
            outbox.close();
        }
    }

    /// Sets what a drain does with the reply that senders go on with. Default: [`WhenDrained::Close`].
    pub fn when_drained(&self, then: WhenDrained) {
        if let Some(outbox) = self.outbox.upgrade() {
            outbox.when_drained(then);
        }
    }

    /// Whether the service drains: what is sent from now on must come to its end before the drain's
    /// deadline. Sending works until then. False if the connection has ended.
    pub fn is_draining(&self) -> bool {
        self.outbox.upgrade().is_some_and(|outbox| outbox.is_draining())
    }
}
