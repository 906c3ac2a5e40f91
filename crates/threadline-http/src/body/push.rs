//! A response's content that is pushed from anywhere, for as long as it likes, without a thread.

use std::fmt;
use std::thread;

use threadline_engine::{SendError, Sender, SlowReceiver};

/// Sends the content of a response piece by piece, from any thread, while the connection is parked.
///
/// Made by [`Body::push`](crate::Body::push). Never blocks: what a slow client does not take waits, up
/// to a bound ([`BodySender::limit`]). Dropping it ends the content, and the connection. If a panic drops it, the
/// connection ends without the last chunk, so that the client does not take what has come for the whole
/// (RFC 9112 §8); HTTP/1.0 cannot tell the difference.
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
}

/// Where pushed bytes go.
pub(crate) trait Push: Send + Sync {
    fn send(&self, bytes: &[u8]) -> Result<(), SendError>;

    fn limit(&self, bytes_max: usize, then: SlowReceiver);

    fn is_closed(&self) -> bool;

    /// Nothing more comes.
    fn finish(&self);
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

    fn finish(&self) {
        self.clone().finish();
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

impl BodySender {
    pub(crate) fn new(line: Box<dyn Push>, framing: PushFraming) -> Self {
        BodySender { line, framing }
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
}

impl Drop for BodySender {
    fn drop(&mut self) {
        if self.framing == PushFraming::Chunked && !thread::panicking() {
            // If the client is gone there is nobody to tell.
            let _ = self.line.send(b"0\r\n\r\n");
        }
        self.line.finish();
    }
}

impl fmt::Debug for BodySender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BodySender").field("is_closed", &self.is_closed()).finish_non_exhaustive()
    }
}

/// What is given the sender once the head is out.
pub(crate) struct Start(pub(crate) Box<dyn FnOnce(BodySender) + Send>);

impl fmt::Debug for Start {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Start")
    }
}
