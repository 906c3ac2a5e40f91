//! When a request's body is enough to call its handler.

use threadline_engine::protocol::{Phase, Step, Waiting};
use threadline_proto::body::{self, BodyError as FramingError, Limits, Reader};
use threadline_proto::request::Body;

use super::{HttpService, Message};
use crate::body::BodyError;
use crate::exchange::Exchange;

/// How a handler gets its request's body.
#[derive(Clone, Copy)]
pub(super) struct Content<'c> {
    /// All of it, or `None` where it is read by the handler.
    pub(super) body: Option<&'c [u8]>,
    /// How long the message is in bytes, as far as it is looked at before the handler's call.
    pub(super) len: usize,
}

/// What has to happen before a handler is called.
pub(super) enum Before {
    /// This.
    Step(Step),
    /// The request is refused.
    Refuse(BodyError),
}

/// How much of a chunked body is waited for on the shard, each time from its beginning, before its
/// handler reads it. Framing is looked at byte by byte: a large one that comes in small pieces would
/// cost too much.
const CHUNKED_LOOK_MAX: usize = 4096;

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
            Body::Empty => Ok(Content { body: Some(&[]), len: head.len }),
            Body::Length(len) if len > max => Err(Before::Refuse(BodyError::TooLarge { max })),
            Body::Length(body_len) if self.is_small(body_len) || !may_wait(exchange) => {
                // Not more than `max`, which for a body in memory is far below the largest `usize`.
                let len = head.len.saturating_add(body_len as usize);
                match input.get(head.len..len) {
                    Some(body) => Ok(Content { body: Some(body), len }),
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
        let raw = input.get(head.len..).unwrap_or_default();
        let content_max =
            if may_wait(exchange) { max.min(self.settings.body_buffer_max as u64) } else { max };
        match decode(raw, content_max, decoded, &self.settings.chunk_limits) {
            Ok(Decoded::Whole { len }) => Ok(Content { body: Some(decoded), len: head.len + len }),
            Err(error) => Err(Before::Refuse(BodyError::Malformed(error))),
            Ok(Decoded::Partial) if raw.len() < CHUNKED_LOOK_MAX || !may_wait(exchange) => {
                Err(Before::Step(wait(message, input.len() + 1, exchange)))
            }
            Ok(Decoded::TooLarge) if content_max == max => {
                Err(Before::Refuse(BodyError::TooLarge { max }))
            }
            Ok(Decoded::Partial | Decoded::TooLarge) => read_by_handler(message, exchange),
        }
    }

    fn is_small(&self, body_len: u64) -> bool {
        body_len <= self.settings.body_buffer_max as u64
    }
}

fn read_by_handler<'c>(
    message: &Message<'_, '_>,
    exchange: &impl Exchange,
) -> Result<Content<'c>, Before> {
    match exchange.waiting() {
        Waiting::Elsewhere if !has_come(message, exchange) => {
            Err(Before::Step(Step::Offload { len: message.head.len }))
        }
        _ => Ok(Content { body: None, len: message.head.len }),
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
    /// All of it, in so many bytes.
    Whole {
        len: usize,
    },
    Partial,
    /// More content than asked for.
    TooLarge,
}

fn decode(
    raw: &[u8],
    content_max: u64,
    content: &mut Vec<u8>,
    limits: &Limits,
) -> Result<Decoded, FramingError> {
    let mut reader = Reader::new(Body::Chunked, limits);
    let mut at = 0;
    loop {
        match reader.advance(&raw[at..])? {
            body::Step::Content(range) => {
                content.extend_from_slice(&raw[at..][range.clone()]);
                at += range.end;
                if content.len() as u64 > content_max {
                    return Ok(Decoded::TooLarge);
                }
            }
            body::Step::Partial { .. } => return Ok(Decoded::Partial),
            body::Step::Done { consumed, .. } => {
                return Ok(Decoded::Whole { len: at + consumed });
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
