//! Content of replies that is made while it is sent.
//!
//! A source makes pieces for as long as its peer takes them. When the peer stalls, the source waits in the outbox
//! with what it has made, and the connection is parked: no thread waits. When there is room again, a thread that
//! may run user code asks the source for more (`outbox/fill.rs`).

use std::error::Error;
use std::fmt;
use std::io;
use std::sync::Arc;

use crate::contained::Contained;
use crate::route::Route;

/// Makes the content of a reply piece by piece, while it is sent: see
/// [`Session::send_source`](crate::Session::send_source).
///
/// ```
/// use std::io;
/// use threadline_engine::{Fill, Lines, Source};
///
/// /// Counts down, a line at a time.
/// struct Countdown(u32);
///
/// impl Source for Countdown {
///     fn fill(&mut self, piece: &mut Vec<u8>) -> io::Result<Fill> {
///         piece.extend_from_slice(format!("{}\n", self.0).as_bytes());
///         match self.0.checked_sub(1) {
///             Some(next) => {
///                 self.0 = next;
///                 Ok(Fill::More)
///             }
///             None => Ok(Fill::End),
///         }
///     }
/// }
///
/// let lines = Lines::new(|line, session| {
///     if let Ok(from) = line.parse() {
///         // An error: the peer is gone.
///         let _ = session.send_source(b"", Countdown(from));
///     }
///     None
/// });
/// ```
pub trait Source: Send {
    /// Appends the next piece to `piece`, which is empty. Each piece is sent when it is made; some 16 KB are a
    /// good size. May block.
    ///
    /// # Errors
    /// The content cannot be made to its end: the reply is cut off, without this piece. So it is if this
    /// panics.
    fn fill(&mut self, piece: &mut Vec<u8>) -> io::Result<Fill>;

    /// The bytes of memory that it holds, about. They count as waiting bytes while the peer is slow. 0 by default.
    fn memory(&self) -> usize {
        0
    }
}

/// Whether a [`Source`] has come to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fill {
    /// There is more.
    More,
    /// This was the last piece.
    End,
}

/// Why [`Session::send_source`](crate::Session::send_source) has not sent, or begun to send, a reply.
#[derive(Debug)]
pub enum SourceError {
    /// The source has failed. What it had made before is sent: the connection must be closed.
    Source(io::Error),
    /// The peer is gone.
    Peer(io::Error),
}

impl fmt::Display for SourceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            SourceError::Source(_) => "the content cannot be made to its end",
            SourceError::Peer(_) => "the peer is gone",
        })
    }
}

impl Error for SourceError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            SourceError::Source(error) | SourceError::Peer(error) => Some(error),
        }
    }
}

/// A source, and the route whose code it is.
pub(super) struct Maker {
    pub(super) source: Contained<Box<dyn Source>>,
    /// `None` if it comes from no handler.
    pub(super) route: Option<Arc<Route>>,
}
