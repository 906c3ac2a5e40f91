//! When a request's body is enough to call its handler.

use threadline_engine::protocol::{Phase, Step, Waiting};
use threadline_proto::request::Body;

use super::{HttpService, Message};
use crate::exchange::Exchange;

/// How a handler gets its request's body.
pub(super) enum Content<'i> {
    /// It is here. The message has `len` bytes.
    Whole { body: &'i [u8], len: usize },
    /// It is read by the handler, on a thread that may wait.
    Arriving,
}

impl HttpService {
    /// The body of a request, or what has to happen first. `Err(Step::Close)`: it is larger than
    /// `max`.
    #[inline]
    pub(super) fn content<'i>(
        &self,
        message: Message<'_, 'i>,
        max: u64,
        exchange: &mut impl Exchange,
    ) -> Result<Content<'i>, Step> {
        let Message { head, input, .. } = message;
        match head.body {
            Body::Empty => Ok(Content::Whole { body: &[], len: head.len }),
            Body::Length(len) if len > max => Err(Step::Close),
            Body::Length(body_len) if self.is_small(body_len) || !may_wait(exchange) => {
                // Not more than `max`, which for a body in memory is far below the largest `usize`.
                let len = head.len.saturating_add(body_len as usize);
                match input.get(head.len..len) {
                    Some(body) => Ok(Content::Whole { body, len }),
                    None => Err(wait(message, len, exchange)),
                }
            }
            Body::Length(_) | Body::Chunked => match exchange.waiting() {
                Waiting::Elsewhere => Err(Step::Offload { len: head.len }),
                _ => Ok(Content::Arriving),
            },
        }
    }

    fn is_small(&self, body_len: u64) -> bool {
        body_len <= self.settings.body_buffer_max as u64
    }
}

fn may_wait(exchange: &impl Exchange) -> bool {
    exchange.waiting() != Waiting::Nowhere
}

/// Waits until the message has `want` bytes.
fn wait(message: Message<'_, '_>, want: usize, exchange: &mut impl Exchange) -> Step {
    let Message { head, input, .. } = message;
    // Once per request: the first look that sees the whole head, and none of the body.
    if head.expects_continue && exchange.seen() < head.len && input.len() == head.len {
        exchange.out().extend_from_slice(b"HTTP/1.1 100 Continue\r\n\r\n");
    }
    Step::Partial { phase: Phase::Body, want }
}

/// The length of a message, if all of it is here.
pub(super) fn whole_len(message: Message<'_, '_>) -> Option<usize> {
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
