//! A response's content that is pushed from anywhere, for as long as it likes, without a thread.

use std::fmt;

use threadline_engine::{SendError, Sender, SlowReceiver};

/// Sends the content of a response piece by piece, from any thread, while the connection is parked.
///
/// Made by [`Body::push`](crate::Body::push). Never blocks: what a slow client does not take waits, up
/// to a bound ([`BodySender::limit`]). Dropping it ends the content, and the connection.
#[derive(Debug)]
pub struct BodySender {
    sender: Option<Sender>,
    framing: PushFraming,
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
    pub(crate) fn new(sender: Sender, framing: PushFraming) -> Self {
        BodySender { sender: Some(sender), framing }
    }

    /// Sends one piece. An empty one does nothing.
    ///
    /// # Errors
    /// [`SendError`] says whether to go on: after `Closed` and `TooSlow` there is nobody left.
    pub fn send(&self, piece: impl AsRef<[u8]>) -> Result<(), SendError> {
        let (Some(sender), piece) = (&self.sender, piece.as_ref()) else { return Ok(()) };
        match self.framing {
            _ if piece.is_empty() => Ok(()),
            PushFraming::Chunked => {
                let mut chunk = format!("{:x}\r\n", piece.len()).into_bytes();
                chunk.extend_from_slice(piece);
                chunk.extend_from_slice(b"\r\n");
                sender.send(chunk)
            }
            PushFraming::UntilClose => sender.send(piece),
        }
    }

    /// Sets how many bytes may wait for a slow client, and what happens beyond. Default: 256 KB, then
    /// close. Whole pieces are dropped, so the framing stays right.
    pub fn limit(&self, bytes_max: usize, then: SlowReceiver) {
        if let Some(sender) = &self.sender {
            sender.limit(bytes_max, then);
        }
    }

    /// Whether the client is gone.
    pub fn is_closed(&self) -> bool {
        self.sender.as_ref().is_none_or(Sender::is_closed)
    }
}

impl Drop for BodySender {
    fn drop(&mut self) {
        if let Some(sender) = self.sender.take() {
            if self.framing == PushFraming::Chunked {
                // If the client is gone there is nobody to tell.
                let _ = sender.send(b"0\r\n\r\n");
            }
            sender.finish();
        }
    }
}

/// What is given the sender once the head is out.
pub(crate) struct Start(pub(crate) Box<dyn FnOnce(BodySender) + Send>);

impl fmt::Debug for Start {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Start")
    }
}
