//! The smallest driver of a server connection: bytes in, whole requests out.
//!
//! What the HTTP service does on a socket, without the socket: heads are parsed when it is worth it,
//! bodies read with `body::Reader`, and nothing is looked at behind a refusal or the last request.

use threadline_proto::body::{self, Reader, Step};
use threadline_proto::request::{
    self, Form, Head, HeadWatch, HeaderSlots, Parsed, Target, Version,
};

use crate::loader::{Ending, Message, Outcome};

/// One connection, as the server sees it.
pub(crate) struct Connection {
    /// What has come and is not consumed.
    buffer: Vec<u8>,
    /// What `request::parse` has seen of it, while a head is not whole.
    watch: Option<HeadWatch>,
    phase: Phase,
    messages: Vec<Message>,
}

enum Phase {
    Head,
    Body(Message, Reader),
    Ended(Ending),
}

impl Connection {
    pub(crate) fn new() -> Self {
        Connection { buffer: Vec::new(), watch: None, phase: Phase::Head, messages: Vec::new() }
    }

    /// What a server makes of these pieces, if nothing comes behind them.
    pub(crate) fn outcome<'p>(pieces: impl IntoIterator<Item = &'p [u8]>) -> Outcome {
        let mut connection = Connection::new();
        pieces.into_iter().for_each(|piece| connection.feed(piece));
        connection.end()
    }

    /// Takes the next piece.
    pub(crate) fn feed(&mut self, piece: &[u8]) {
        self.buffer.extend_from_slice(piece);
        while self.step() {}
    }

    /// The peer sends no more.
    pub(crate) fn end(self) -> Outcome {
        let ending = match self.phase {
            Phase::Ended(ending) => ending,
            // A blank line belongs to nobody.
            Phase::Head if matches!(&self.buffer[..], b"" | b"\r\n") => Ending::Next,
            Phase::Head => Ending::Wait,
            Phase::Body(_, reader) => {
                assert_eq!(reader.end_of_input(), Err(body::BodyError::EndsEarly));
                Ending::Wait
            }
        };
        Outcome { messages: self.messages, ending }
    }

    /// Whether there may be more in the buffer.
    fn step(&mut self) -> bool {
        match std::mem::replace(&mut self.phase, Phase::Head) {
            Phase::Ended(ending) => {
                self.phase = Phase::Ended(ending);
                false
            }
            Phase::Head => self.head(),
            Phase::Body(message, reader) => self.body(message, reader),
        }
    }

    fn head(&mut self) -> bool {
        let limits = request::Limits::default();
        let buffer = &self.buffer;
        if self.watch.as_mut().is_some_and(|watch| !watch.is_due(buffer, &limits)) {
            return false;
        }
        let mut slots = HeaderSlots::new();
        let head = match request::parse(&self.buffer, &mut slots, &limits) {
            Ok(Parsed::Head(head)) => head,
            Ok(Parsed::Partial) => {
                self.watch.get_or_insert_default().is_due(&self.buffer, &limits);
                return false;
            }
            Err(error) => {
                self.phase = Phase::Ended(Ending::Reject(error.status().code()));
                return false;
            }
        };
        let reader = Reader::new(head.body, &body::Limits::default());
        self.phase = Phase::Body(message(&head), reader);
        let len = head.len;
        self.buffer.drain(..len);
        self.watch = None;
        true
    }

    fn body(&mut self, mut message: Message, mut reader: Reader) -> bool {
        let (consumed, goes_on) = match reader.advance(&self.buffer) {
            Ok(Step::Content(range)) => {
                message.body.extend_from_slice(&self.buffer[range.clone()]);
                self.phase = Phase::Body(message, reader);
                (range.end, true)
            }
            Ok(Step::Partial { consumed }) => {
                self.phase = Phase::Body(message, reader);
                (consumed, false)
            }
            Ok(Step::Done { consumed, trailers }) => {
                let owned = |(name, value): (&str, &[u8])| (name.to_owned(), value.to_vec());
                message.trailers = trailers.iter().map(owned).collect();
                let keeps = message.keep_alive;
                self.messages.push(message);
                self.phase = if keeps { Phase::Head } else { Phase::Ended(Ending::Close) };
                (consumed, keeps && consumed < self.buffer.len())
            }
            Err(error) => {
                self.phase = Phase::Ended(Ending::Reject(error.status().code()));
                (0, false)
            }
        };
        self.buffer.drain(..consumed);
        goes_on
    }
}

fn message(head: &Head<'_, '_>) -> Message {
    let version = if head.version == Version::Http11 { "HTTP/1.1" } else { "HTTP/1.0" };
    Message {
        method: head.method.to_string(),
        target: target(&head.target),
        version: version.to_owned(),
        expects_continue: head.expects_continue,
        keep_alive: head.keep_alive,
        ..Message::default()
    }
}

/// As a handler gets to see it.
fn target(target: &Target<'_>) -> String {
    match (target.form(), target.query()) {
        (Form::Authority(authority), _) => authority.to_owned(),
        (_, None) => target.path().to_owned(),
        (_, Some(query)) => format!("{}?{query}", target.path()),
    }
}
