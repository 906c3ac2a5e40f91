//! What waits in an outbox: messages, and what they are made of.

use std::fs::File;
use std::io;

use crate::transport::{PART, Sent, Transport, send_file};

pub(super) struct Message {
    /// Grows from message to message.
    pub(super) number: u64,
    pub(super) content: Content,
    pub(super) origin: Origin,
    /// The bytes of memory that it holds until all of it is out.
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
    /// Whether it may be dropped as a whole. The rest of one that is partly out must go on, or the peer would
    /// read a broken message.
    pub(super) fn is_droppable(&self) -> bool {
        self.origin == Origin::Push && !self.is_rest && !self.content.is_begun()
    }
}

/// What waits to be sent.
pub(in crate::connection) enum Content {
    Bytes { bytes: Box<[u8]>, sent: usize },
    File { file: File, offset: u64, end: u64 },
}

impl Content {
    /// Bytes in memory that are still to be sent.
    pub(super) fn held(&self) -> usize {
        match self {
            Content::Bytes { bytes, sent } => bytes.len() - sent,
            Content::File { .. } => 0,
        }
    }

    /// Bytes of memory that it holds, whether or not a part of them is out.
    pub(super) fn memory(&self) -> usize {
        match self {
            Content::Bytes { bytes, .. } => bytes.len(),
            Content::File { .. } => 0,
        }
    }

    /// Bytes that are still to be sent.
    pub(super) fn left(&self) -> u64 {
        match self {
            Content::Bytes { bytes, sent } => (bytes.len() - sent) as u64,
            Content::File { offset, end, .. } => end - offset,
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
        }
    }

    pub(super) fn is_begun(&self) -> bool {
        !matches!(self, Content::Bytes { sent: 0, .. })
    }
}
