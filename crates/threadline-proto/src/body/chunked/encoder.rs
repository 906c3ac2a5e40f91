//! Writes a chunked body behind a response head that was finished with
//! [`Payload::Chunked`](crate::response::Payload).
//!
//! Called by whoever sends a body whose length is not known, never by user code directly. It only
//! appends, and allocates nothing but the buffer's own growth.

use std::num::NonZero;

use crate::body::trailers::is_forbidden;
use crate::response::HeaderError;
use crate::token::{is_field_value, is_token};

/// What follows the content of a chunk whose head was written by [`Encoder::head`].
pub const CHUNK_END: &[u8] = b"\r\n";

/// Appends chunks to a buffer.
///
/// Nothing can follow the last chunk: writing it takes the encoder.
///
/// ```
/// use threadline_proto::body::chunked::Encoder;
///
/// let mut out = Vec::new();
/// let mut encoder = Encoder::new();
/// encoder.chunk(&mut out, b"hello, ");
/// encoder.chunk(&mut out, b"");
/// encoder.chunk(&mut out, b"world");
/// let mut trailers = encoder.last(&mut out);
/// trailers.field("server-timing", b"db;dur=53")?;
/// trailers.finish();
/// assert_eq!(out, b"7\r\nhello, \r\n5\r\nworld\r\n0\r\nserver-timing: db;dur=53\r\n\r\n");
/// # Ok::<(), threadline_proto::response::HeaderError>(())
/// ```
#[derive(Debug, Default)]
#[must_use = "a chunked body must have its last chunk, or the connection be closed"]
pub struct Encoder {
    _private: (),
}

impl Encoder {
    /// An encoder at the beginning of a body.
    pub fn new() -> Self {
        Encoder::default()
    }

    /// Appends one chunk. Empty content is no chunk, as that would be the last one: nothing is written.
    pub fn chunk(&mut self, out: &mut Vec<u8>, content: &[u8]) {
        let Some(len) = NonZero::new(content.len()) else { return };
        self.head(out, len);
        out.extend_from_slice(content);
        out.extend_from_slice(CHUNK_END);
    }

    /// Appends only the head of a chunk. The caller sends so many bytes of content from elsewhere, and
    /// [`CHUNK_END`] behind them.
    pub fn head(&mut self, out: &mut Vec<u8>, content_len: NonZero<usize>) {
        let mut digits = [0; 16];
        let mut rest = content_len.get();
        let mut first = digits.len();
        while rest > 0 {
            first -= 1;
            digits[first] = b"0123456789abcdef"[rest & 15];
            rest >>= 4;
        }
        out.extend_from_slice(&digits[first..]);
        out.extend_from_slice(b"\r\n");
    }

    /// Appends the last chunk. What it returns must be finished for the body to end.
    pub fn last(self, out: &mut Vec<u8>) -> TrailerWriter<'_> {
        out.extend_from_slice(b"0\r\n");
        TrailerWriter { out }
    }
}

/// Appends the trailer section.
///
/// ```
/// use threadline_proto::body::chunked::Encoder;
/// use threadline_proto::response::HeaderError;
///
/// let mut out = Vec::new();
/// let mut trailers = Encoder::new().last(&mut out);
/// // What the client must know beforehand cannot come afterwards.
/// assert_eq!(trailers.field("content-type", b"text/plain"), Err(HeaderError::Trailer));
/// trailers.finish();
/// assert_eq!(out, b"0\r\n\r\n");
/// ```
#[derive(Debug)]
#[must_use = "the trailer section must be finished, or the connection closed"]
pub struct TrailerWriter<'o> {
    out: &'o mut Vec<u8>,
}

impl TrailerWriter<'_> {
    /// Appends one trailer field.
    ///
    /// # Errors
    /// [`HeaderError`] when it would break the message; nothing is written then.
    pub fn field(&mut self, name: &str, value: &[u8]) -> Result<(), HeaderError> {
        if !is_token(name.as_bytes()) {
            return Err(HeaderError::Name);
        }
        if is_forbidden(name.as_bytes()) {
            return Err(HeaderError::Trailer);
        }
        if !is_field_value(value) {
            return Err(HeaderError::Value);
        }
        for part in [name.as_bytes(), b": ", value, b"\r\n"] {
            self.out.extend_from_slice(part);
        }
        Ok(())
    }

    /// Appends the empty line that ends the message.
    pub fn finish(self) {
        self.out.extend_from_slice(b"\r\n");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(content_len: usize) -> String {
        let mut out = Vec::new();
        Encoder::new().head(&mut out, NonZero::new(content_len).expect("not zero"));
        String::from_utf8(out).expect("ASCII")
    }

    #[test]
    fn rfc9112_7_1_sizes_are_hexadecimal_without_leading_zeros() {
        assert_eq!(head(1), "1\r\n");
        assert_eq!(head(15), "f\r\n");
        assert_eq!(head(16), "10\r\n");
        assert_eq!(head(0xdead_beef), "deadbeef\r\n");
        assert_eq!(head(usize::MAX), format!("{:x}\r\n", usize::MAX));
    }

    #[test]
    fn rfc9110_6_5_trailers_that_would_break_the_message_leave_no_trace() {
        let mut out = Vec::new();
        let mut trailers = Encoder::new().last(&mut out);
        for (name, value, error) in [
            ("a b", &b"c"[..], HeaderError::Name),
            ("", b"c", HeaderError::Name),
            ("a", b"b\r\n\r\nHTTP/1.1 200 OK", HeaderError::Value),
            ("a", b" b", HeaderError::Value),
            ("Content-Length", b"5", HeaderError::Trailer),
            ("Set-Cookie", b"a=b", HeaderError::Trailer),
        ] {
            assert_eq!(trailers.field(name, value), Err(error), "{name}");
        }
        trailers.finish();
        assert_eq!(out, b"0\r\n\r\n");
    }

    #[test]
    fn no_room_is_taken_where_there_is_enough() {
        let mut out = Vec::with_capacity(64);
        let before = out.as_ptr();
        let mut encoder = Encoder::new();
        encoder.chunk(&mut out, b"0123456789");
        encoder.last(&mut out).finish();
        assert_eq!(out, b"a\r\n0123456789\r\n0\r\n\r\n");
        assert_eq!((out.as_ptr(), out.capacity()), (before, 64));
    }
}
