//! When a request's body is enough to call its handler.

use threadline_engine::protocol::{Phase, Step, Waiting};
use threadline_proto::body::{self, BodyError as FramingError, Reader};
use threadline_proto::request::Body;

use super::{HttpService, Message};
use crate::body::BodyError;
use crate::exchange::Exchange;
use crate::settings::HttpSettings;

/// How a handler gets its request's body.
#[derive(Clone, Copy)]
pub(super) struct Content<'c> {
    pub(super) body: Have<'c>,
    /// How long the message is in bytes, as far as it is looked at before the handler's call.
    pub(super) len: usize,
}

/// What there is of a body when its handler is called.
#[derive(Clone, Copy)]
pub(super) enum Have<'c> {
    /// All of it.
    Whole(&'c [u8]),
    /// It is read by the handler.
    Arriving,
    /// It cannot be had; the layers see the request, and the handler is not called.
    Refused(BodyError),
}

/// What has to happen before a handler is called.
pub(super) enum Before {
    /// This.
    Step(Step),
    /// The request is refused.
    Refuse(BodyError),
}

/// How many bytes a chunked body may have beyond its content and still be waited for as a whole. Whether it
/// is must not depend on how it comes, so this much is waited for wherever it may be a small body.
const FRAMING_LEN_MAX: usize = 4096;

impl HttpService {
    /// The body of a request, of at most `max` bytes, or what has to happen first. There is room for
    /// one that has to be decoded.
    #[inline]
    pub(super) fn content<'c>(
        &self,
        message: &Message<'_, 'c>,
        max: u64,
        decoded: &'c mut Vec<u8>,
        exchange: &mut impl Exchange,
    ) -> Result<Content<'c>, Before> {
        let Message { head, input, .. } = message;
        match head.body {
            Body::Empty => Ok(Content { body: Have::Whole(&[]), len: head.len }),
            Body::Length(len) if len > max => Err(Before::Refuse(BodyError::TooLarge { max })),
            Body::Length(body_len) if self.is_small(body_len) || !may_wait(exchange) => {
                // Not more than `max`, which for a body in memory is far below the largest `usize`.
                let len = head.len.saturating_add(body_len as usize);
                match input.get(head.len..len) {
                    Some(body) => Ok(Content { body: Have::Whole(body), len }),
                    None => Err(Before::Step(wait(message, len, exchange))),
                }
            }
            Body::Length(_) => read_by_handler(message, exchange),
            Body::Chunked => self.chunked(message, max, decoded, exchange),
        }
    }

    /// A chunked body: decoded if it is here, waited for if there is little of it so far.
    #[cold]
    fn chunked<'c>(
        &self,
        message: &Message<'_, '_>,
        max: u64,
        decoded: &'c mut Vec<u8>,
        exchange: &mut impl Exchange,
    ) -> Result<Content<'c>, Before> {
        let Message { head, input, .. } = message;
        let mut chunks = Chunks::new(head.len, max, &self.settings);
        if may_wait(exchange) {
            let buffer_max = self.settings.body_buffer_max;
            chunks.content_max = max.min(buffer_max as u64);
            chunks.raw_max = buffer_max.saturating_add(FRAMING_LEN_MAX);
        }
        let content_max = chunks.content_max;
        match chunks.advance(input, |piece| decoded.extend_from_slice(piece)) {
            Ok(Decoded::Whole { len }) => Ok(Content { body: Have::Whole(decoded), len }),
            Err(error) => Err(Before::Refuse(BodyError::Malformed(error))),
            Ok(Decoded::Partial) => {
                *exchange.memo() = Some(Box::new(chunks));
                Err(Before::Step(wait(message, input.len() + 1, exchange)))
            }
            Ok(Decoded::TooLarge) if content_max == max => {
                Err(Before::Refuse(BodyError::TooLarge { max }))
            }
            Ok(Decoded::TooLarge) => read_by_handler(message, exchange),
        }
    }

    fn is_small(&self, body_len: u64) -> bool {
        body_len <= self.settings.body_buffer_max as u64
    }
}

fn read_by_handler<'c>(
    message: &Message<'_, '_>,
    exchange: &mut impl Exchange,
) -> Result<Content<'c>, Before> {
    // The handler waits for the client, who may wait for the replies to earlier requests.
    exchange.flush();
    match exchange.waiting() {
        Waiting::Elsewhere if !has_come(message, exchange) => {
            Err(Before::Step(Step::Offload { len: message.head.len }))
        }
        _ => Ok(Content { body: Have::Arriving, len: message.head.len }),
    }
}

/// Whether all of the body can be read without waiting. Of chunks nobody can tell.
fn has_come(message: &Message<'_, '_>, exchange: &impl Exchange) -> bool {
    let Message { head, input, .. } = message;
    let ahead = input.len().saturating_sub(head.len) as u64;
    matches!(head.body, Body::Length(len) if len <= ahead.saturating_add(exchange.unread_len()))
}

/// What one look at a chunked body gives.
enum Decoded {
    /// All of it.
    Whole {
        /// Length of the message in bytes.
        len: usize,
    },
    Partial,
    /// More content than asked for, or too much around it.
    TooLarge,
}

/// How far the chunked body of a message has been looked at. It is looked at once while it comes, and once
/// more when it is whole, to be decoded then.
#[derive(Debug)]
pub(super) struct Chunks {
    reader: Reader,
    /// How many bytes of the message are consumed, its head included.
    at: usize,
    /// How many of those are content.
    content_len: u64,
    content_max: u64,
    /// How many bytes after the head are looked at.
    raw_max: usize,
    head_len: usize,
}

impl Chunks {
    fn new(head_len: usize, content_max: u64, settings: &HttpSettings) -> Self {
        let reader = Reader::new(Body::Chunked, &settings.chunk_limits);
        Chunks { reader, at: head_len, content_len: 0, content_max, raw_max: usize::MAX, head_len }
    }

    /// Whether the message is worth another look, now that all of `input` has come of it.
    pub(super) fn is_due(&mut self, input: &[u8]) -> bool {
        !matches!(self.advance(input, |_| {}), Ok(Decoded::Partial))
    }

    /// Goes on where it stopped. `take` gets the content that is new.
    fn advance(
        &mut self,
        input: &[u8],
        mut take: impl FnMut(&[u8]),
    ) -> Result<Decoded, FramingError> {
        let end = input.len().min(self.head_len.saturating_add(self.raw_max));
        loop {
            let rest = input.get(self.at..end).unwrap_or_default();
            match self.reader.advance(rest)? {
                body::Step::Content(range) => {
                    self.at += range.end;
                    self.content_len += range.len() as u64;
                    if self.content_len > self.content_max {
                        return Ok(Decoded::TooLarge);
                    }
                    take(&rest[range]);
                }
                body::Step::Partial { consumed } => {
                    self.at += consumed;
                    let is_all = end - self.head_len < self.raw_max;
                    return Ok(if is_all { Decoded::Partial } else { Decoded::TooLarge });
                }
                body::Step::Done { consumed, .. } => {
                    self.at += consumed;
                    return Ok(Decoded::Whole { len: self.at });
                }
            }
        }
    }
}

fn may_wait(exchange: &impl Exchange) -> bool {
    exchange.waiting() != Waiting::Nowhere
}

/// Waits until the message has `want` bytes.
fn wait(message: &Message<'_, '_>, want: usize, exchange: &mut impl Exchange) -> Step {
    let Message { head, input, .. } = message;
    // Once per request: the first look that sees the whole head, and none of the body.
    if head.expects_continue && exchange.seen() < head.len && input.len() == head.len {
        exchange.out().extend_from_slice(b"HTTP/1.1 100 Continue\r\n\r\n");
    }
    Step::Partial { phase: Phase::Body, want }
}

/// The length of a message, if all of it is here.
pub(super) fn whole_len(message: &Message<'_, '_>) -> Option<usize> {
    let Message { head, input, .. } = message;
    match head.body {
        Body::Empty => Some(head.len),
        Body::Length(len) => {
            let len = head.len.checked_add(usize::try_from(len).ok()?)?;
            (len <= input.len()).then_some(len)
        }
        Body::Chunked => None,
    }
}
