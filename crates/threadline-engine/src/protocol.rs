//! The seam between the engine and a protocol.
//!
//! A [`Protocol`] cuts messages out of bytes and answers them; the engine owns sockets, threads,
//! buffers and time. HTTP, lines and frames are protocols. A protocol never reads, writes, waits
//! or looks at a clock, so the same one runs under every [`Model`](crate::Model).
//!
//! ```text
//!             bytes                     Turn::call
//!   engine ----------> Protocol::step -------------> user code
//!     ^                     |                            |
//!     |   Next / Close      |   CallError::Offload       | reply appended to `out`
//!     +---------------------+   => Step::Offload         |
//!     |   Partial           |   (the engine copies the   |
//!     +---------------------+    message and calls step  |
//!     |                          again on a pool thread) |
//!     +<-------------------------------------------------+
//!     |   Receive           |   (the engine receives the content of the message, and calls
//!     +---------------------+    Protocol::received when it has all of it)
//! ```

use std::sync::Arc;
use std::time::Duration;

pub use crate::connection::{Answer, Outcome};
pub use crate::receiving::{Content, Decode, Decoded, Lost, Receive, Received, StoredFile};
use crate::route::Route;
pub use crate::turn::{CallError, Offence, Turn, Waiting};

/// Cuts messages out of bytes and answers each.
///
/// One value serves every connection of a listener, from many threads at once. What belongs to a
/// connection is kept in its [`Session`](crate::Session).
pub trait Protocol: Send + Sync + 'static {
    /// The protocol's name, as it appears in logs and counters, for example `"http"`.
    fn name(&self) -> &'static str;

    /// Looks at the first message in `input` and answers it if it is whole.
    ///
    /// `input` is never empty and always begins where the last step ended. User code runs only
    /// inside [`Turn::call`]; when that returns [`CallError::Offload`], nothing has run yet and
    /// `step` must return [`Step::Offload`]: the engine calls `step` again with the same bytes on
    /// a thread that may block.
    fn step(&self, input: &[u8], turn: &mut Turn<'_>) -> Step;

    /// Looks at what is left of a message that is not whole when the peer sends no more. The peer may
    /// still read: it is told what it gets.
    ///
    /// `input` is never empty, and [`Protocol::step`] has said [`Step::Partial`] of it. As in a step, user
    /// code runs only inside [`Turn::call`], and [`CallError::Offload`] is answered by [`Step::Offload`].
    /// After [`Step::Next`] the connection closes once the reply is written. While
    /// [`Turn::draining`] is true the end may be the service's own: what is left is then no message of the
    /// peer. By default it is dropped.
    fn end_of_input(&self, input: &[u8], turn: &mut Turn<'_>) -> Step {
        let _ = (input, turn);
        Step::Close
    }

    /// Writes the reply of a call that was deferred by [`Session::defer`](crate::Session::defer), now that it
    /// has an answer or will never get one.
    ///
    /// As in a step, user code runs only inside [`Turn::call`], and [`CallError::Offload`] is answered by
    /// [`Step::Offload`]: `answer` must be untouched then, because it comes again on a thread that may block.
    /// There is no message, so what [`Step::Next`] has consumed is not looked at. By default the connection is
    /// closed: the protocol has no replies that come later.
    fn answer(&self, answer: &mut Answer, turn: &mut Turn<'_>) -> Step {
        let _ = (answer, turn);
        Step::Close
    }

    /// How many calls of one connection may be deferred at once; while there are as many, further messages
    /// wait. Asked once, when the service is made. 1 by default, which keeps the order of replies. A protocol
    /// that tells replies apart, as HTTP/2 does, can have more: it is given the answers in the order in which
    /// they come. [`Step::Close`] ends the connection without those that are still to come. Under [`Model::ThreadPerConnection`](crate::Model) it is 1.
    fn deferred_max(&self) -> usize {
        1
    }

    /// Answers a message whose content the engine has received, as [`Step::Receive`] has asked, or could not
    /// receive.
    ///
    /// As in a step, user code runs only inside [`Turn::call`], and [`CallError::Offload`] is answered by
    /// [`Step::Offload`]: `received` must be untouched then, because it comes again on a thread that may block.
    /// What [`Step::Next`] has consumed is not looked at. By default the connection is closed: the protocol never
    /// asks for content.
    fn received(&self, received: Received<'_>, turn: &mut Turn<'_>) -> Step {
        let _ = (received, turn);
        Step::Close
    }

    /// As [`Protocol::refuse`], of a message with this head whose content has been received: the connection can
    /// go on with [`AfterRefusal::Continue`], whatever is consumed. By default `refuse` decides, with the head as
    /// its input.
    fn refuse_received(&self, why: Refusal, head: &[u8], out: &mut Vec<u8>) -> AfterRefusal {
        self.refuse(why, head, out)
    }

    /// Appends to `out` what the peer is told when the engine turns it away or gives up on it.
    ///
    /// `input` holds what has arrived of the current message, and may be empty.
    /// For [`Refusal::Overloaded`] the connection goes on when this returns
    /// [`AfterRefusal::Continue`]; it is closed, after `out` is written, in every other case.
    fn refuse(&self, why: Refusal, input: &[u8], out: &mut Vec<u8>) -> AfterRefusal;

    /// The routes of the user code that it calls, for those who watch the service
    /// ([`Engine::routes`](crate::Engine::routes)). None by default.
    fn routes(&self) -> Vec<Arc<Route>> {
        Vec::new()
    }

    /// How long each phase of a connection may take. Asked once, when the service is made.
    fn timeouts(&self) -> &Timeouts;

    /// Runs on a thread that may block, before the first byte is looked at.
    ///
    /// Only called when [`Protocol::has_hooks`] is true. What it appends to `out` is sent. If it panics, the
    /// connection is closed.
    fn opened(&self, session: &mut crate::Session, out: &mut Vec<u8>) {
        let _ = (session, out);
    }

    /// Runs on a thread that may block, after the connection has ended.
    ///
    /// Only called when [`Protocol::has_hooks`] is true, and then exactly once for every
    /// connection for which [`Protocol::opened`] was called.
    fn closed(&self, session: &mut crate::Session) {
        let _ = session;
    }

    /// Whether [`Protocol::opened`] and [`Protocol::closed`] do anything. Asked once, when the service is
    /// made.
    fn has_hooks(&self) -> bool {
        false
    }
}

/// What [`Protocol::step`] made of the input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// The first `consumed` bytes were a message and it has been answered into [`Turn::out`].
    Next {
        /// Length of the message in bytes, at least 1.
        consumed: usize,
    },
    /// All of the input was the start of a message whose rest the step has read itself, by
    /// [`Session::receive`](crate::Session::receive), and it has been answered.
    Streamed {
        /// What was read beyond the message: the start of the next.
        rest: Vec<u8>,
    },
    /// As `Next`, and the connection is closed once the answer is written.
    Close,
    /// As `Close`, but the answer goes on for as long as there is a [`Sender`](crate::Sender) to the
    /// connection: no more messages are looked at, and it closes behind what the last of them has
    /// sent. The idle deadline does not apply meanwhile.
    Push,
    /// The message is not whole yet.
    Partial {
        /// What is still missing, and so which deadline applies.
        phase: Phase,
        /// How many bytes the whole message has, where that is known: the engine does not call
        /// `step` again before so many are there. 0 where it is not known.
        want: usize,
    },
    /// The first `head_len` bytes are a message's head, and the rest of the message follows: the engine receives
    /// it, by the decoder that was given to [`Turn::receive`], and calls [`Protocol::received`].
    Receive {
        /// Length of the head in bytes, at least 1.
        head_len: usize,
    },
    /// [`Turn::call`] returned [`CallError::Offload`]: run this message on another thread.
    Offload {
        /// Length of the message in bytes.
        len: usize,
    },
}

/// A part of a message that is being waited for. Each has its own deadline.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Phase {
    /// The start of a message: an HTTP request head, a line, a frame's length.
    Head,
    /// The rest of it: a request body, a frame's content.
    Body,
}

/// Why the engine turns a message or a connection away.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Refusal {
    /// The pool's queue is full, or no pool thread has come for the message in time. It was not looked at.
    Overloaded,
    /// The message did not arrive within its phase's deadline.
    TimedOut(Phase),
    /// This peer has as many connections as one may have.
    TooManyConnections,
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Refusal::Overloaded => "no pool thread is free for it",
            Refusal::TimedOut(Phase::Head) => "the start of the message did not arrive in time",
            Refusal::TimedOut(Phase::Body) => "the rest of the message did not arrive in time",
            Refusal::TooManyConnections => "the peer has too many connections",
        })
    }
}

/// Whether a connection outlives a refusal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AfterRefusal {
    /// The message had this many bytes; go on behind it.
    Continue {
        /// Length of the refused message in bytes.
        consumed: usize,
    },
    /// Close the connection once the refusal is written.
    Close,
}

/// Deadlines by phase. `None` waits for ever; every default is finite.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    /// From a message's first byte to the end of its head. Default 10 s.
    pub head: Option<Duration>,
    /// From the end of a head to the end of the body, on top of the time that the bytes which have arrived
    /// take at [`Timeouts::body_rate`]. Default 30 s. `None`: a body may take any time.
    pub body: Option<Duration>,
    /// The rate, in bytes a second, at which received bytes extend [`Timeouts::body`]. Default 16 384: a body
    /// of 1 MB may take 94 s, and a client that sends less than this for long has its body ended soon after 30 s.
    /// 0: received bytes extend nothing.
    pub body_rate: u32,
    /// Between messages, and before the first. Default 75 s. A connection with a live
    /// [`Sender`](crate::Sender) is exempt: it is waiting for the service, not for its peer.
    pub idle: Option<Duration>,
    /// How long output may wait for the peer to take any byte of it: replies, files and what is pushed,
    /// whatever the connection is doing meanwhile. The connection is closed then. Default 30 s.
    pub write: Option<Duration>,
    /// The minimum rate of a reply, in bytes a second. While a reply waits for its peer, its time in all is `write`
    /// and the time that the bytes which the peer has taken need at this rate. 0 allows any rate. It does not apply
    /// to what senders push, nor to replies of a connection to which something is pushed meanwhile. Default 1024.
    pub reply_rate: u32,
    /// How long the answer to a call may take that was deferred
    /// ([`Session::defer`](crate::Session::defer)). Default 30 s.
    pub deferred: Option<Duration>,
}

impl Default for Timeouts {
    fn default() -> Self {
        Timeouts {
            head: Some(Duration::from_secs(10)),
            body: Some(Duration::from_secs(30)),
            body_rate: 16 * 1024,
            idle: Some(Duration::from_secs(75)),
            write: Some(Duration::from_secs(30)),
            reply_rate: 1024,
            deferred: Some(Duration::from_secs(30)),
        }
    }
}
