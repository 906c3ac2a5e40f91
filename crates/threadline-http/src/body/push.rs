//! A response's content that is pushed from anywhere, for as long as it likes, without a thread.

use std::fmt;
use std::thread;

use threadline_engine::{SendError, Sender, SlowReceiver, WhenDrained};

/// Sends the content of a response piece by piece, from any thread, while the connection is parked.
///
/// Made by [`Body::push`](crate::Body::push). Never blocks: what a slow client does not take waits, up
/// to a bound ([`BodySender::limit`]).
///
/// [`BodySender::finish`] ends the content, and the connection with it. If the sender is dropped without that,
/// by a panic, with a job that never ran or with a queue that is cleared, the content is cut off as by
/// [`BodySender::abort`]: the client does not take what has come for the whole. The exception are bodies that
/// are declared [endless](crate::Body::endless).
///
/// ```
/// use threadline_http::{Body, Response, Router};
///
/// fn countdown() -> Response {
///     Response::text("").with_body(Body::push(|client| {
///         // Elsewhere, later: this thread is free, and so is the connection.
///         std::thread::spawn(move || {
///             for seconds in (0..3).rev() {
///                 if client.send(format!("{seconds}\n")).is_err() {
///                     return; // nobody listens any more
///                 }
///             }
///             let _ = client.finish();
///         });
///     }))
/// }
///
/// let router = Router::new().get("/countdown", countdown);
/// # router.build().unwrap();
/// ```
pub struct BodySender {
    line: Box<dyn Push>,
    framing: PushFraming,
    extent: Extent,
    /// The content has come to an end, of either kind.
    is_over: bool,
}

/// Where pushed bytes go.
pub(crate) trait Push: Send + Sync {
    fn send(&self, bytes: &[u8]) -> Result<(), SendError>;

    fn limit(&self, bytes_max: usize, then: SlowReceiver);

    fn is_closed(&self) -> bool;

    fn is_draining(&self) -> bool;

    fn when_drained(&self, then: WhenDrained);

    /// Nothing more comes behind these bytes, which always find room.
    fn finish(&self, end: &[u8]) -> Result<(), SendError>;

    /// Resets the connection.
    fn abort(&self);
}

impl Push for Sender {
    fn send(&self, bytes: &[u8]) -> Result<(), SendError> {
        Sender::send(self, bytes)
    }

    fn limit(&self, bytes_max: usize, then: SlowReceiver) {
        Sender::limit(self, bytes_max, then);
    }

    fn is_closed(&self) -> bool {
        Sender::is_closed(self)
    }

    fn is_draining(&self) -> bool {
        Sender::is_draining(self)
    }

    fn when_drained(&self, then: WhenDrained) {
        Sender::when_drained(self, then);
    }

    fn finish(&self, end: &[u8]) -> Result<(), SendError> {
        self.clone().finish_with(end)
    }

    fn abort(&self) {
        Sender::abort(self);
    }
}

/// How pieces are told apart on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PushFraming {
    /// Chunks (RFC 9112 §7.1).
    Chunked,
    /// Not at all: the content ends with the connection. For HTTP/1.0.
    UntilClose,
}

impl PushFraming {
    /// What tells the client that the content is whole.
    fn end(self) -> &'static [u8] {
        match self {
            PushFraming::Chunked => b"0\r\n\r\n",
            PushFraming::UntilClose => b"",
        }
    }
}

/// Whether pushed content has an end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Extent {
    /// The client waits for its end.
    Finite,
    /// It goes on for as long as both sides like.
    Endless,
}

impl BodySender {
    pub(crate) fn new(line: Box<dyn Push>, framing: PushFraming, extent: Extent) -> Self {
        line.when_drained(match extent {
            Extent::Finite => WhenDrained::Wait,
            Extent::Endless => WhenDrained::Finish(framing.end()),
        });
        BodySender { line, framing, extent, is_over: false }
    }

    /// Sends one piece. An empty one does nothing.
    ///
    /// # Errors
    /// [`SendError`] says whether to go on: after `Closed` and `TooSlow` there is nobody left.
    pub fn send(&self, piece: impl AsRef<[u8]>) -> Result<(), SendError> {
        let piece = piece.as_ref();
        match self.framing {
            _ if piece.is_empty() => Ok(()),
            PushFraming::Chunked => {
                let mut chunk = format!("{:x}\r\n", piece.len()).into_bytes();
                chunk.extend_from_slice(piece);
                chunk.extend_from_slice(b"\r\n");
                self.line.send(&chunk)
            }
            PushFraming::UntilClose => self.line.send(piece),
        }
    }

    /// Sets how many bytes may wait for a slow client, and what happens beyond. Default: 256 KB, then
    /// close. Whole pieces are dropped, so the framing stays right.
    pub fn limit(&self, bytes_max: usize, then: SlowReceiver) {
        self.line.limit(bytes_max, then);
    }

    /// Whether the client is gone.
    pub fn is_closed(&self) -> bool {
        self.line.is_closed()
    }

    /// Whether the service drains. It waits for the content to be finished until the drain's deadline; then
    /// the content is cut off.
    pub fn is_draining(&self) -> bool {
        self.line.is_draining()
    }

    /// Says that the content is whole, and ends it and the connection once the client has taken what waits.
    ///
    /// # Errors
    /// [`SendError::Closed`] if the client is gone.
    pub fn finish(mut self) -> Result<(), SendError> {
        self.is_over = true;
        self.line.finish(self.framing.end())
    }

    /// Cuts the content off, such that the client sees that something is missing: on HTTP/1.1 by the end of
    /// the connection without the last chunk (RFC 9112 §8), behind what waits; on HTTP/1.0 by a reset, which may
    /// cost the client what it has not read yet. A Unix socket has no reset: there HTTP/1.0 cannot tell the
    /// difference.
    pub fn abort(mut self) {
        self.cut_off();
    }

    fn cut_off(&mut self) {
        self.is_over = true;
        match self.framing {
            // If the client is gone there is nobody to tell.
            PushFraming::Chunked => {
                let _ = self.line.finish(b"");
            }
            PushFraming::UntilClose => self.line.abort(),
        }
    }
}

impl Drop for BodySender {
    fn drop(&mut self) {
        match self.extent {
            _ if self.is_over => {}
            Extent::Endless if !thread::panicking() => {
                let _ = self.line.finish(self.framing.end());
            }
            Extent::Endless | Extent::Finite => self.cut_off(),
        }
    }
}

impl fmt::Debug for BodySender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BodySender").field("is_closed", &self.is_closed()).finish_non_exhaustive()
    }
}

/// What is given the sender once the head is out.
pub(crate) struct Start {
    start: Box<dyn FnOnce(BodySender) + Send>,
    pub(crate) extent: Extent,
}

impl Start {
    pub(crate) fn new(start: impl FnOnce(BodySender) + Send + 'static) -> Self {
        Start { start: Box::new(start), extent: Extent::Finite }
    }

    /// Gives it the sender of these bytes.
    pub(crate) fn begin(self, line: Box<dyn Push>, framing: PushFraming) {
        (self.start)(BodySender::new(line, framing, self.extent));
    }
}

impl fmt::Debug for Start {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Start").field("extent", &self.extent).finish_non_exhaustive()
    }
}
