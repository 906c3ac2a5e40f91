//! The body of one message, however it is framed.
//!
//! Made by the driver of a connection from what the head said. Counts or decodes, and says where the
//! message ends; it must never let a body pass for whole that is not.

use crate::body::chunked::Decoder;
use crate::body::{BodyError, Limits, Step, Trailers};
use crate::request::Body;

/// Finds the content of one message in the bytes behind its head.
///
/// ```text
///                    Content(range)
///                    +-----------+
///                    |           |  feed from the range's end
///                    v           |
///   new(body) --> advance(input) + --> Done { consumed, trailers } --> the next message
///                    ^           |
///                    |           |  feed from `consumed`, with more behind it
///                    +-----------+ --> the peer has closed: end_of_input() is EndsEarly
///                 Partial { consumed }
/// ```
///
/// ```
/// use threadline_proto::body::{Limits, Reader, Step};
/// use threadline_proto::request::Body;
///
/// let input = b"5\r\nhello\r\n0\r\n\r\nGET / HTTP/1.1\r\n";
/// let mut reader = Reader::new(Body::Chunked, &Limits::default());
/// let (mut at, mut content) = (0, Vec::new());
/// loop {
///     match reader.advance(&input[at..])? {
///         Step::Content(range) => {
///             content.extend_from_slice(&input[at..][range.clone()]);
///             at += range.end;
///         }
///         Step::Partial { .. } => unreachable!("the body is whole"),
///         Step::Done { consumed, .. } => {
///             at += consumed;
///             break;
///         }
///     }
/// }
/// assert_eq!(content, b"hello");
/// assert_eq!(&input[at..], b"GET / HTTP/1.1\r\n");
/// # Ok::<(), threadline_proto::body::BodyError>(())
/// ```
#[derive(Debug, Clone)]
pub struct Reader {
    framing: Framing,
}

#[derive(Debug, Clone)]
enum Framing {
    /// So many bytes are still to come.
    Length {
        remaining: u64,
    },
    Chunked(Decoder),
}

impl Reader {
    /// A reader for a body of that framing. `limits` are only about chunked ones.
    #[inline]
    pub fn new(body: Body, limits: &Limits) -> Self {
        let framing = match body {
            Body::Empty => Framing::Length { remaining: 0 },
            Body::Length(length) => Framing::Length { remaining: length },
            Body::Chunked => Framing::Chunked(Decoder::new(limits)),
        };
        Reader { framing }
    }

    /// Says what the next bytes of the message are.
    ///
    /// `input` begins with the first byte that was not consumed before; it may be empty, and may hold
    /// more than the message. Behind the end of the message this says `Done`, with nothing consumed.
    ///
    /// # Errors
    /// [`BodyError`] says which rule is broken; every later call says the same.
    #[inline]
    pub fn advance<'i>(&mut self, input: &'i [u8]) -> Result<Step<'i>, BodyError> {
        match &mut self.framing {
            Framing::Length { remaining: 0 } => {
                Ok(Step::Done { consumed: 0, trailers: Trailers::NONE })
            }
            Framing::Length { .. } if input.is_empty() => Ok(Step::Partial { consumed: 0 }),
            Framing::Length { remaining } => {
                let len = usize::try_from(*remaining).map_or(input.len(), |n| n.min(input.len()));
                *remaining -= len as u64;
                Ok(Step::Content(0..len))
            }
            Framing::Chunked(decoder) => decoder.advance(input),
        }
    }

    /// Whether the message has been seen to its end.
    #[inline]
    pub fn is_done(&self) -> bool {
        match &self.framing {
            Framing::Length { remaining } => *remaining == 0,
            Framing::Chunked(decoder) => decoder.is_done(),
        }
    }

    /// To be asked when the peer sends no more: whether that is an end in the middle of the body
    /// (RFC 9112 §8).
    ///
    /// # Errors
    /// [`BodyError::EndsEarly`] if the body is not whole, or what was wrong with it before.
    pub fn end_of_input(&self) -> Result<(), BodyError> {
        match &self.framing {
            Framing::Length { remaining: 0 } => Ok(()),
            Framing::Length { .. } => Err(BodyError::EndsEarly),
            Framing::Chunked(decoder) => decoder.end_of_input(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reader(body: Body) -> Reader {
        Reader::new(body, &Limits::default())
    }

    const DONE: Result<Step<'static>, BodyError> =
        Ok(Step::Done { consumed: 0, trailers: Trailers::NONE });

    #[test]
    fn rfc9112_6_3_no_body_consumes_nothing() {
        let mut empty = reader(Body::Empty);
        assert!(empty.is_done());
        assert_eq!(empty.advance(b"GET /"), DONE);
        assert_eq!(empty.end_of_input(), Ok(()));
    }

    #[test]
    fn rfc9112_6_2_a_length_is_counted_down_over_pieces_and_no_further() {
        let mut body = reader(Body::Length(5));
        assert_eq!(body.advance(b""), Ok(Step::Partial { consumed: 0 }));
        assert_eq!(body.advance(b"he"), Ok(Step::Content(0..2)));
        assert!(!body.is_done());
        assert_eq!(body.advance(b"lloGET /"), Ok(Step::Content(0..3)));
        assert!(body.is_done());
        assert_eq!(body.advance(b"GET /"), DONE);
    }

    #[test]
    fn a_length_beyond_all_memory_takes_what_is_there() {
        let mut body = reader(Body::Length(u64::MAX));
        assert_eq!(body.advance(b"abc"), Ok(Step::Content(0..3)));
        assert_eq!(body.end_of_input(), Err(BodyError::EndsEarly));
    }

    #[test]
    fn rfc9112_8_a_body_that_is_cut_off_is_not_whole() {
        let mut body = reader(Body::Length(5));
        assert!(body.advance(b"hell").is_ok());
        assert_eq!(body.end_of_input(), Err(BodyError::EndsEarly));
        let mut body = reader(Body::Chunked);
        assert_eq!(body.advance(b"5\r\nhello\r\n"), Ok(Step::Content(3..8)));
        assert_eq!(body.end_of_input(), Err(BodyError::EndsEarly));
        assert_eq!(body.advance(b"\r\n0\r\n"), Ok(Step::Partial { consumed: 5 }));
        assert_eq!(body.end_of_input(), Err(BodyError::EndsEarly));
        assert!(matches!(body.advance(b"\r\n"), Ok(Step::Done { consumed: 2, .. })));
        assert_eq!((body.end_of_input(), body.is_done()), (Ok(()), true));
    }

    #[test]
    fn a_broken_body_stays_broken() {
        let mut body = reader(Body::Chunked);
        assert_eq!(body.advance(b"x"), Err(BodyError::ChunkSize));
        assert_eq!(body.advance(b"0\r\n\r\n"), Err(BodyError::ChunkSize));
        assert_eq!((body.end_of_input(), body.is_done()), (Err(BodyError::ChunkSize), false));
    }
}
