//! What waits in an outbox: messages, and what they are made of.

use std::fs::File;
use std::io;

use crate::connection::bytes::Bytes;
use crate::connection::source::Maker;
use crate::shared::Holder;
use crate::transport::{PART, Sent, Transport, send_file};

/// A source is asked for more when less than this waits of what it has made: 64 KB.
const FILL_BELOW: usize = 64 * 1024;

pub(super) struct Message {
    /// Grows from message to message.
    pub(super) number: u64,
    /// If its bytes are shared. Dropped before them.
    pub(super) holder: Option<Holder>,
    pub(super) content: Content,
    pub(super) origin: Origin,
    /// The bytes of memory that it holds until all of it is out, as far as they are counted.
    pub(super) memory: usize,
    /// Some of it is out already: what waits is its rest.
    pub(super) is_rest: bool,
}

/// Where a message comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Origin {
    /// The connection's owner. It is never dropped, and does not count against the bound of pushes.
    Reply,
    /// A sender.
    Push,
}

impl Message {
    /// The bytes of memory that it holds at this moment.
    pub(super) fn memory_now(&self) -> usize {
        match (&self.holder, &self.content) {
            (Some(holder), Content::Bytes { bytes: Bytes::Shared(bytes), .. }) => {
                holder.share_of(bytes)
            }
            (_, content) => content.memory(),
        }
    }

    /// Whether it may be dropped as a whole. The rest of one that is partly out must go on, or the peer would
    /// read a broken message.
    pub(super) fn is_droppable(&self) -> bool {
        self.origin == Origin::Push && !self.is_rest && !self.content.is_begun()
    }
}

/// What waits to be sent.
pub(in crate::connection) enum Content {
    Bytes {
        bytes: Bytes,
        sent: usize,
    },
    File {
        file: File,
        offset: u64,
        end: u64,
    },
    /// Boxed: hardly any message is one.
    Made(Box<Making>),
}

/// Content that is made while it is sent.
pub(in crate::connection) struct Making {
    /// `None` while a thread asks it for more, and after its end.
    pub(super) maker: Option<Maker>,
    /// What it has made; of that, `sent` bytes are out. Empty when all is out.
    buffer: Vec<u8>,
    sent: usize,
    /// The bytes of memory that the source itself holds.
    pub(super) memory: usize,
    /// The peer has taken bytes since it was asked last, and little is left.
    pub(super) is_wanted: bool,
    /// It makes no more.
    pub(super) is_over: bool,
    /// What it has made is whole.
    pub(super) is_whole: bool,
}

impl Making {
    /// Of a source that has more to make; `None` if it has come to its end, and what it has made waits already.
    pub(in crate::connection) fn new(maker: Option<Maker>) -> Self {
        let memory = maker.as_ref().map_or(0, |maker| maker.source.memory());
        let is_over = maker.is_none();
        Making {
            maker,
            buffer: Vec::new(),
            sent: 0,
            memory,
            is_wanted: false,
            is_over,
            is_whole: is_over,
        }
    }

    /// Bytes that it has made and are not out yet.
    pub(super) fn waiting(&self) -> usize {
        self.buffer.len() - self.sent
    }

    /// Whether it is time to ask it for more.
    pub(super) fn is_wanted(&self) -> bool {
        self.is_wanted || self.buffer.is_empty()
    }

    /// Adds what it has made.
    pub(super) fn add(&mut self, piece: &[u8]) {
        if self.sent > 0 {
            self.buffer.drain(..self.sent);
            self.sent = 0;
        }
        if self.buffer.len() + piece.len() > self.buffer.capacity() {
            // Not twice as much each time: it may wait for long.
            let more =
                if self.buffer.is_empty() { piece.len() } else { piece.len().max(FILL_BELOW) };
            self.buffer.reserve_exact(more);
        }
        self.buffer.extend_from_slice(piece);
    }

    fn send_some(&mut self, transport: &Transport) -> io::Result<Sent> {
        let sent = transport.write(&self.buffer[self.sent..], PART)?;
        match sent {
            Sent::All => (self.buffer, self.sent) = (Vec::new(), 0),
            Sent::Part(count) => self.sent += count,
        }
        self.is_wanted |= sent != Sent::Part(0) && self.waiting() < FILL_BELOW;
        Ok(sent)
    }
}

impl Content {
    /// Bytes in memory that are still to be sent.
    pub(super) fn held(&self) -> usize {
        match self {
            Content::Bytes { bytes, sent } => bytes.len() - sent,
            Content::File { .. } => 0,
            Content::Made(making) => making.waiting(),
        }
    }

    /// Bytes of memory that it holds, whether or not a part of them is out.
    pub(super) fn memory(&self) -> usize {
        match self {
            Content::Bytes { bytes, .. } => bytes.memory(),
            Content::File { .. } => 0,
            Content::Made(making) => making.buffer.capacity() + making.memory,
        }
    }

    /// Bytes that are still to be sent.
    pub(super) fn left(&self) -> u64 {
        match self {
            Content::File { offset, end, .. } => end - offset,
            Content::Bytes { .. } | Content::Made(_) => self.held() as u64,
        }
    }

    /// Sends what the socket takes, at most a part.
    pub(super) fn send_some(&mut self, transport: &Transport) -> io::Result<Sent> {
        match self {
            Content::Bytes { bytes, sent } => {
                let done = transport.write(&bytes[*sent..], PART)?;
                if let Sent::Part(count) = done {
                    *sent += count;
                }
                Ok(done)
            }
            Content::File { file, offset, end } => send_file(transport, file, offset, *end),
            Content::Made(making) => making.send_some(transport),
        }
    }

    /// Nothing of it is left to be sent, but more may be made.
    pub(super) fn is_unfinished(&self) -> bool {
        matches!(self, Content::Made(making) if !making.is_over)
    }

    pub(super) fn is_begun(&self) -> bool {
        !matches!(self, Content::Bytes { sent: 0, .. })
    }
}
