//! Requests whose bodies the engine has received, or could not receive.
//!
//! The head is parsed once more, and the request is answered as one whose body came with it. What layers have
//! left with it before its body came is with it again.

use std::cell::Cell;

use threadline_engine::protocol::{self, Lost, Received, Step};
use threadline_proto::request::Body;

use super::body::{Before, BodyDecoder, Content, Have};
use super::{HttpService, Message, ReceivedBody};
use crate::body::BodyError;
use crate::exchange::Exchange;

/// The length of a body from which on layers are asked before it is received: 64 KB. To receive less costs no more
/// than to ask.
const ASKED_FROM: u64 = 64 * 1024;

impl HttpService {
    pub(crate) fn answer_received(
        &self,
        mut received: Received<'_>,
        exchange: &mut impl Exchange,
    ) -> Step {
        let (head, content) = (received.head, received.content);
        // While the service drains, it may have ended the input itself: see `answer_end`.
        if matches!(content, Err(Lost::Ended)) && exchange.draining() {
            return Step::Close;
        }
        let none = Cell::new(None);
        let decoder = received.decoder::<BodyDecoder>();
        let (error, left) = match &decoder {
            Some(decoder) => (decoder.error, &decoder.left),
            None => (None, &none),
        };
        let body = match content {
            Ok(protocol::Content::Memory(bytes)) => Have::Whole(bytes),
            Ok(protocol::Content::File(file)) => Have::Stored(file),
            Err(Lost::Refused) => Have::Refused(error.unwrap_or(BodyError::Incomplete)),
            Err(Lost::Ended) => Have::Refused(BodyError::Incomplete),
            Err(Lost::TooLong { max }) => Have::Refused(BodyError::TooLarge { max: max as u64 }),
            Err(Lost::NoRoom) => Have::Refused(BodyError::NoRoom),
            Err(_) => Have::Refused(BodyError::NotStored),
        };
        self.answer_message(head, Some(&ReceivedBody { body, left }), exchange)
    }
}

impl<'b> ReceivedBody<'b> {
    /// The body of a message whose head is so long.
    pub(super) fn content(&self, len: usize) -> Result<Content<'b>, Before> {
        match self.body {
            Have::Refused(error) => Err(Before::Refuse(error)),
            body => Ok(Content { body, len }),
        }
    }
}

impl Message<'_, '_> {
    /// Whether layers are asked before the handler is called with a body that has come with its head. They are
    /// asked about the same requests however a body comes.
    pub(super) fn asks_before(&self, content: &Content<'_>) -> bool {
        let is_long = match content.body {
            Have::Whole(body) => body.len() as u64 > ASKED_FROM,
            _ => false,
        };
        self.received.is_none() && (is_long || (self.head.expects_continue && self.has_body()))
    }

    fn has_body(&self) -> bool {
        self.body_len() != Some(0)
    }

    /// How long the body is, if the head says that.
    fn body_len(&self) -> Option<u64> {
        match self.head.body {
            Body::Empty => Some(0),
            Body::Length(len) => Some(len),
            Body::Chunked => None,
        }
    }

    /// Whether layers are asked before the rest of the body is received.
    pub(super) fn asks_before_receiving(&self) -> bool {
        let is_short = self.body_len().is_some_and(|len| len <= ASKED_FROM);
        self.head.expects_continue || !is_short
    }
}
