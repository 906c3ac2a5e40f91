//! What one look at the bytes of a body says. Made by [`Reader`](crate::body::Reader) and
//! [`Decoder`](crate::body::chunked::Decoder), and acted on by the driver of the connection.

use std::ops::Range;

use crate::body::Trailers;

/// What there is in the bytes that were fed, and how many of them are done with.
///
/// Ranges and counts are positions in that input. The next input begins with the first byte that was
/// not consumed, with whatever has come behind it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step<'i> {
    /// These bytes of the input are content, at least one. Everything up to the range's end is
    /// consumed; there may be more content behind it.
    Content(Range<usize>),
    /// The bytes up to here are consumed, and more are needed to say more. What is left over, if
    /// anything, is the beginning of a trailer section, at most
    /// [`Limits::trailers_len_max`](crate::body::Limits) bytes long.
    Partial {
        /// How many bytes of the input are done with.
        consumed: usize,
    },
    /// The message ends here. The next one begins behind the consumed bytes.
    Done {
        /// How many bytes of the input belong to the message.
        consumed: usize,
        /// The trailer fields; none unless the body was chunked.
        trailers: Trailers<'i>,
    },
}
