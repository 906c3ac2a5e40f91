//! What can be wrong with a message body, and what the client is told.
//!
//! As with heads: every error is the client's fault (or that of somebody between), and the connection
//! must be closed behind the answer, as nobody knows where the next message begins. No content of such
//! a message may be taken for a whole body.

use std::fmt;

use crate::response::Status;

/// Why a message body is refused.
///
/// ```
/// use threadline_proto::body::{BodyError, Limits, chunked::Decoder};
/// use threadline_proto::response::Status;
///
/// let error = Decoder::new(&Limits::default()).advance(b"0x5\r\nhello\r\n").unwrap_err();
/// assert_eq!(error, BodyError::ChunkSize);
/// assert_eq!(error.status(), Status::BAD_REQUEST);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum BodyError {
    /// A chunk does not begin with hexadecimal digits and then `;` or the line's end; space around
    /// them is refused too (RFC 9112 §7.1). 400.
    ChunkSize,
    /// A chunk size has more than 16 digits, leading zeros counted (RFC 9112 §7.1 warns of overflows).
    /// 400.
    ChunkSizeTooLarge,
    /// A chunk extension is not `;name`, `;name=token` or `;name="text"`, or has a control character in
    /// it (RFC 9112 §7.1.1). 400.
    ChunkExtension,
    /// More extensions than [`Limits`](crate::body::Limits) let one chunk or all of them have
    /// (RFC 9112 §7.1.1). 400.
    ChunkExtensionsTooLarge,
    /// The content of a chunk is not followed by `CR LF`: it is longer or shorter than its size says
    /// (RFC 9112 §7.1). 400.
    ChunkEnd,
    /// A line of the framing does not end in `CR LF`: bare `LF`, bare `CR` (RFC 9112 §2.2). 400.
    LineEnd,
    /// The name of a trailer field is empty, no token, has space before its colon or no colon; or the
    /// line begins with space, that is, an obsolete folding (RFC 9112 §5.1, §5.2, §7.1.2). 400.
    TrailerName,
    /// The value of a trailer field has a control character in it (RFC 9110 §5.5). 400.
    TrailerValue,
    /// A trailer field that frames, routes or authenticates (RFC 9110 §6.5.1). Refused and not dropped:
    /// it is not sent by accident. 400.
    TrailerForbidden,
    /// The trailer section is longer than [`Limits::trailers_len_max`](crate::body::Limits)
    /// (RFC 6585 §5). 431.
    TrailersTooLarge,
    /// More trailer fields than [`Limits::trailers_max`](crate::body::Limits) (RFC 6585 §5). 431.
    TooManyTrailers,
    /// The connection ended before the body did (RFC 9112 §8). 400, if anybody still listens.
    EndsEarly,
}

impl BodyError {
    /// The status that answers it.
    pub fn status(self) -> Status {
        match self {
            BodyError::TrailersTooLarge | BodyError::TooManyTrailers => {
                Status::REQUEST_HEADER_FIELDS_TOO_LARGE
            }
            _ => Status::BAD_REQUEST,
        }
    }

    /// One line that tells the client's author what to mend. Never has input in it.
    pub fn hint(self) -> &'static str {
        match self {
            BodyError::ChunkSize => "a chunk must begin with its size in hexadecimal digits",
            BodyError::ChunkSizeTooLarge => "a chunk size must have at most 16 digits",
            BodyError::ChunkExtension => "a chunk extension must be `;name` or `;name=value`",
            BodyError::ChunkExtensionsTooLarge => "the chunk extensions are too long",
            BodyError::ChunkEnd => "CR LF must follow the content of a chunk; is its size right?",
            BodyError::LineEnd => "every line of the chunked framing must end in CR LF",
            BodyError::TrailerName => "a trailer line must be a token, a colon and a value",
            BodyError::TrailerValue => "a trailer value has a control character in it",
            BodyError::TrailerForbidden => "this field must not be sent as a trailer",
            BodyError::TrailersTooLarge => "the trailer section is too large",
            BodyError::TooManyTrailers => "the request has too many trailers",
            BodyError::EndsEarly => "the connection ended before the body was whole",
        }
    }
}

impl fmt::Display for BodyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.hint())
    }
}

impl std::error::Error for BodyError {}
