//! When a request's body is enough to call its handler.
//!
//! ```text
//!   none, or all of it has come with the head --> the handler
//!   longer than allowed, by its head -----------> refused
//!   the rest is to come --+--> streamed route --> the handler, on a thread that may wait
//!                         +--> before_body -----> refused, or the engine receives it: `received.rs`
//! ```

use std::cell::Cell;

use threadline_engine::protocol::{Decode, Decoded, Receive, Step, StoredFile, Waiting};
use threadline_proto::body::{self, Reader};
use threadline_proto::request::Body;

use super::{HttpService, Message};
use crate::body::BodyError;
use crate::exchange::Exchange;
use crate::extensions::Extensions;

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
    /// All of it, in a file.
    Stored(&'c StoredFile),
    /// It is read by the handler.
    Arriving,
    /// It cannot be had; the layers see the request, and the handler is not called.
    Refused(BodyError),
}

/// What has to happen before a handler is called.
pub(super) enum Before {
    /// The request is refused.
    Refuse(BodyError),
    /// The rest of the body is to be received.
    Receive,
}

/// Sent before the content of a request is waited for whose client asks for it (RFC 9110 §10.1.1).
const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

impl HttpService {
    /// The body of a request, of at most `max` bytes, or what has to happen first. There is room for
    /// one that has to be decoded.
    #[inline(always)]
    pub(super) fn content<'c>(
        &self,
        message: &Message<'_, 'c>,
        max: u64,
        streamed: bool,
        decoded: &'c mut Vec<u8>,
        exchange: &mut impl Exchange,
    ) -> Result<Content<'c>, Before> {
        let Message { head, input, .. } = message;
        match head.body {
            Body::Empty => Ok(Content { body: Have::Whole(&[]), len: head.len }),
            Body::Length(len) if len > max => Err(Before::Refuse(BodyError::TooLarge { max })),
            Body::Length(body_len) => {
                let len = usize::try_from(body_len).ok().and_then(|len| head.len.checked_add(len));
                match len.and_then(|len| Some((input.get(head.len..len)?, len))) {
                    Some((body, len)) => Ok(Content { body: Have::Whole(body), len }),
                    None => self.incomplete(message, streamed, exchange),
                }
            }
            Body::Chunked => self.chunked(message, max, streamed, decoded, exchange),
        }
    }

    /// A chunked body: decoded if all of it is here.
    #[cold]
    fn chunked<'c>(
        &self,
        message: &Message<'_, 'c>,
        max: u64,
        streamed: bool,
        decoded: &'c mut Vec<u8>,
        exchange: &mut impl Exchange,
    ) -> Result<Content<'c>, Before> {
        let Message { head, input, .. } = message;
        let mut decoder = self.decoder(message, max);
        let mut at = head.len;
        loop {
            let rest = input.get(at..).unwrap_or_default();
            match decoder.advance(rest) {
                Decoded::Content(range) => {
                    at += range.end;
                    decoded.extend_from_slice(&rest[range]);
                }
                Decoded::Partial { .. } => {
                    return self.incomplete(message, streamed, exchange);
                }
                Decoded::Done { consumed } => {
                    return Ok(Content { body: Have::Whole(decoded), len: at + consumed });
                }
                Decoded::Failed => {
                    return Err(Before::Refuse(decoder.error.unwrap_or(BodyError::Incomplete)));
                }
            }
        }
    }

    /// A body whose rest is to come.
    #[cold]
    fn incomplete<'c>(
        &self,
        message: &Message<'_, 'c>,
        streamed: bool,
        exchange: &mut impl Exchange,
    ) -> Result<Content<'c>, Before> {
        let len = message.head.len;
        match exchange.waiting() {
            // The engine decides where its call may wait.
            Waiting::Here | Waiting::Elsewhere if streamed => {
                // The handler waits for the client, who may wait for the replies to earlier requests.
                exchange.flush();
                Ok(Content { body: Have::Arriving, len })
            }
            _ => Err(Before::Receive),
        }
    }

    /// Has the engine receive the rest of a body. `left` is what layers have left with the request.
    #[cold]
    pub(super) fn receive(
        &self,
        message: &Message<'_, '_>,
        max: u64,
        left: Option<Extensions>,
        exchange: &mut impl Exchange,
    ) -> Step {
        let &Message { head, input, .. } = message;
        let receive =
            Receive::new(BodyDecoder { left: Cell::new(left), ..self.decoder(message, max) });
        let waits = head.expects_continue && input.len() == head.len;
        exchange.receive(if waits { receive.invite(CONTINUE) } else { receive });
        Step::Receive { head_len: head.len }
    }

    fn decoder(&self, message: &Message<'_, '_>, max: u64) -> BodyDecoder {
        let framing = message.head.body;
        BodyDecoder {
            reader: Reader::new(framing, &self.settings.chunk_limits),
            len: if let Body::Length(len) = framing { Some(len) } else { None },
            total: 0,
            max,
            error: None,
            left: Cell::new(None),
        }
    }
}

/// Finds the content of one request, within its limit.
pub(super) struct BodyDecoder {
    reader: Reader,
    /// How long the content is, if the head has said that.
    len: Option<u64>,
    /// How much content there has been, and may be.
    total: u64,
    max: u64,
    /// Why it has failed.
    pub(super) error: Option<BodyError>,
    /// What layers have left with the request before its body was received.
    pub(super) left: Cell<Option<Extensions>>,
}

impl Decode for BodyDecoder {
    fn advance(&mut self, input: &[u8]) -> Decoded {
        match self.reader.advance(input) {
            Ok(body::Step::Content(range)) => {
                self.total += range.len() as u64;
                if self.total > self.max {
                    self.error = Some(BodyError::TooLarge { max: self.max });
                    return Decoded::Failed;
                }
                Decoded::Content(range)
            }
            Ok(body::Step::Partial { consumed }) => Decoded::Partial { consumed },
            Ok(body::Step::Done { consumed, .. }) => Decoded::Done { consumed },
            Err(error) => {
                self.error = Some(BodyError::Malformed(error));
                Decoded::Failed
            }
        }
    }

    fn remaining(&self) -> Option<u64> {
        self.len.map(|len| len.saturating_sub(self.total))
    }
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
