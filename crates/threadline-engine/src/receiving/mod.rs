//! Content of a message that has not all come when its head is looked at: an HTTP request's body.
//!
//! A protocol says by [`Step::Receive`](crate::Step::Receive) where a head ends and how what follows is decoded.
//! The engine receives the content while the connection is parked, a turn at a time, and calls
//! [`Protocol::received`](crate::Protocol::received) once, with the head and all of the content.
//!
//! ```text
//!   Step::Receive --> Receiving --bytes--> Framing --content--> Store: the thread's buffer, for one turn
//!                         |                                       |    then memory of the connection
//!                         v                                       v    then a file without a name
//!                    Protocol::received <-- whole, or lost ------ +
//! ```
//!
//! - here: what a protocol says and gets; how far a message has come
//! - `store`: where its content is
//! - `files`: files for content, and how many there may be
//!
//! The turns are in `shard/receive.rs`. Nothing here reads from a socket or knows a thread.

mod files;
mod store;

use std::any::Any;
use std::fmt;
use std::ops::Range;

use crate::contained::Contained;
pub use files::StoredFile;
pub(crate) use files::{BodyFiles, FileError};
pub(crate) use store::{Bodies, Store};

/// Finds the content of one message in the bytes behind its head.
///
/// ```
/// use threadline_engine::protocol::{Decode, Decoded};
///
/// /// A message of that many bytes.
/// struct Length(u64);
///
/// impl Decode for Length {
///     fn advance(&mut self, input: &[u8]) -> Decoded {
///         let count = input.len().min(usize::try_from(self.0).unwrap_or(usize::MAX));
///         self.0 -= count as u64;
///         match count {
///             0 if self.0 == 0 => Decoded::Done { consumed: 0 },
///             0 => Decoded::Partial { consumed: 0 },
///             count => Decoded::Content(0..count),
///         }
///     }
///
///     fn remaining(&self) -> Option<u64> {
///         Some(self.0)
///     }
/// }
///
/// let mut decoder = Length(5);
/// assert_eq!(decoder.advance(b"hel"), Decoded::Content(0..3));
/// assert_eq!(decoder.advance(b"lo, next"), Decoded::Content(0..2));
/// assert_eq!(decoder.advance(b", next"), Decoded::Done { consumed: 0 });
/// ```
pub trait Decode: Any + Send {
    /// Says what the next bytes are. `input` begins with the first byte that was not consumed before, and may
    /// be empty. It is called until it returns something else than [`Decoded::Content`], and then with more
    /// bytes.
    fn advance(&mut self, input: &[u8]) -> Decoded;

    /// How many bytes the message still has, if that is known: the engine does not read beyond them. `None` by
    /// default.
    fn remaining(&self) -> Option<u64> {
        None
    }
}

/// What [`Decode::advance`] made of the input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decoded {
    /// This range of the input is content, and what is before it is consumed as well.
    Content(Range<usize>),
    /// More bytes are needed. The bytes that are not consumed, which are few, are passed again together with them.
    Partial {
        /// How many bytes of the input are done with.
        consumed: usize,
    },
    /// The message has ended.
    Done {
        /// How many bytes of the input belong to it.
        consumed: usize,
    },
    /// The content cannot be had: it is malformed or too long. The decoder knows why.
    Failed,
}

/// How the content of a message is received, for [`Turn::receive`](crate::Turn::receive).
pub struct Receive {
    pub(crate) decoder: Box<dyn Decode>,
    pub(crate) invite: Option<&'static [u8]>,
}

impl Receive {
    /// Content that this decoder finds.
    pub fn new(decoder: impl Decode) -> Self {
        Receive { decoder: Box::new(decoder), invite: None }
    }

    /// Sets what is sent to the peer before its content is waited for, if none of it has come: a peer may
    /// wait for that.
    pub fn invite(mut self, invite: &'static [u8]) -> Self {
        self.invite = Some(invite);
        self
    }

    /// The decoder and what invites the peer, for tests that play the engine's part.
    pub fn into_parts(self) -> (Box<dyn Decode>, Option<&'static [u8]>) {
        (self.decoder, self.invite)
    }
}

impl fmt::Debug for Receive {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Receive").field("invite", &self.invite.is_some()).finish_non_exhaustive()
    }
}

/// A message whose content has been received, for [`Protocol::received`](crate::Protocol::received).
pub struct Received<'r> {
    /// The head, as it was passed to [`Protocol::step`](crate::Protocol::step).
    pub head: &'r [u8],
    /// All of the content, or why it cannot be had.
    pub content: Result<Content<'r>, Lost>,
    decoder: &'r mut dyn Any,
}

impl<'r> Received<'r> {
    /// A message as the engine passes it, for tests that play its part.
    pub fn new(
        head: &'r [u8],
        content: Result<Content<'r>, Lost>,
        decoder: &'r mut dyn Decode,
    ) -> Self {
        Received { head, content, decoder }
    }

    /// The decoder of its content, if that is a `T`.
    pub fn decoder<T: Decode>(&mut self) -> Option<&mut T> {
        self.decoder.downcast_mut()
    }
}

impl fmt::Debug for Received<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Received").field("content", &self.content).finish_non_exhaustive()
    }
}

/// Where the content of a message is.
#[derive(Debug, Clone, Copy)]
pub enum Content<'r> {
    /// In memory.
    Memory(&'r [u8]),
    /// In a file.
    File(&'r StoredFile),
}

/// Why the content of a message cannot be had.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Lost {
    /// Its decoder has refused it.
    Refused,
    /// The peer has closed its side in the middle of it.
    Ended,
    /// It is longer than the memory that one message may have, and the endpoint is
    /// [isolated](crate::Endpoint::isolated): such endpoints use no files.
    TooLong {
        /// [`Settings::body_memory_len_max`](crate::Settings::body_memory_len_max).
        max: usize,
    },
    /// It needs a file, and there are as many as there may be
    /// ([`Settings::body_files_max`](crate::Settings::body_files_max)), or the waiting bytes have no room for one.
    NoRoom,
    /// Its file could not be made or written, because the directory is missing or the disk is full, for example.
    /// The log says why.
    NotStored,
}

/// A message whose content is being received.
pub(crate) struct Receiving {
    pub(crate) head: Vec<u8>,
    pub(crate) framing: Framing,
    pub(crate) store: Store,
    /// How many bytes have come after the head.
    pub(crate) received: u64,
    /// What the peer is sent if it has sent nothing yet.
    pub(crate) invite: Option<&'static [u8]>,
}

/// How far the decoder has come.
pub(crate) struct Framing {
    decoder: Contained<Box<dyn Decode>>,
    /// Bytes that the decoder has looked at and not consumed: a part of a line of the framing.
    pub(crate) tail: Vec<u8>,
    /// Set once there is nothing more to be received.
    pub(crate) end: Option<Result<(), Lost>>,
    /// What has come after the end of the message.
    pub(crate) rest: Vec<u8>,
}

impl fmt::Debug for Receiving {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Receiving").field("received", &self.received).finish_non_exhaustive()
    }
}

impl Receiving {
    pub(crate) fn new(head: &[u8], receive: Receive, store: Store) -> Box<Self> {
        let Receive { decoder, invite } = receive;
        let decoder = Contained::new(decoder);
        let framing = Framing { decoder, tail: Vec::new(), end: None, rest: Vec::new() };
        Box::new(Receiving { head: head.to_vec(), framing, store, received: 0, invite })
    }

    /// What the protocol is told at the end; `None` before that.
    pub(crate) fn received(&mut self) -> Option<Received<'_>> {
        let Receiving { head, framing, store, .. } = self;
        let content = framing.end?.map(|()| store.content());
        let decoder: &mut dyn Decode = &mut **framing.decoder;
        Some(Received { head, content, decoder })
    }
}

impl Framing {
    /// How many bytes of the message may still come, as far as that is known.
    pub(crate) fn remaining(&self) -> Option<u64> {
        self.decoder.remaining()
    }

    /// Decodes bytes that begin with the tail. The content in them is moved to their front; returns its length.
    pub(crate) fn decode(&mut self, raw: &mut [u8]) -> usize {
        self.tail.clear();
        let (mut at, mut content_len) = (0, 0);
        while self.end.is_none() {
            match self.decoder.advance(&raw[at..]) {
                Decoded::Content(range) => {
                    let range = at + range.start..at + range.end;
                    at = range.end;
                    let len = range.len();
                    if range.start != content_len {
                        raw.copy_within(range, content_len);
                    }
                    content_len += len;
                }
                Decoded::Partial { consumed } => {
                    self.tail.extend_from_slice(&raw[at + consumed..]);
                    break;
                }
                Decoded::Done { consumed } => {
                    self.rest = raw[at + consumed..].to_vec();
                    self.end = Some(Ok(()));
                }
                Decoded::Failed => self.lose(Lost::Refused),
            }
        }
        content_len
    }

    /// The content cannot be had.
    pub(crate) fn lose(&mut self, why: Lost) {
        self.end = Some(Err(why));
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    /// Content in brackets: `[` begins some, `]` ends it, `.` ends the message, `!` breaks it.
    struct Brackets(bool);

    impl Decode for Brackets {
        fn advance(&mut self, input: &[u8]) -> Decoded {
            let skipped = usize::from(!self.0 && input.first() == Some(&b'['));
            self.0 |= skipped == 1;
            match input.get(skipped) {
                None => Decoded::Partial { consumed: skipped },
                Some(b'!') => Decoded::Failed,
                Some(b'.') if !self.0 => Decoded::Done { consumed: skipped + 1 },
                Some(_) => {
                    let rest = &input[skipped..];
                    let len = rest.iter().position(|byte| *byte == b']').unwrap_or(rest.len());
                    self.0 = len == rest.len();
                    match len {
                        0 => Decoded::Content(skipped + 1..skipped + 1),
                        len => Decoded::Content(skipped..skipped + len),
                    }
                }
            }
        }
    }

    fn framing() -> Framing {
        let decoder: Box<dyn Decode> = Box::new(Brackets(false));
        let decoder = Contained::new(decoder);
        Framing { decoder, tail: Vec::new(), end: None, rest: Vec::new() }
    }

    #[test]
    fn content_is_moved_to_the_front() {
        let mut raw = *b"[ab][c][].next";
        let mut framing = framing();
        let len = framing.decode(&mut raw);
        assert_eq!((&raw[..len], framing.end), (&b"abc"[..], Some(Ok(()))));
        assert_eq!(framing.rest, b"next");
    }

    #[test]
    fn what_is_refused_ends_there() {
        let mut framing = framing();
        framing.decode(&mut b"[ab]!.".to_owned());
        assert_eq!(framing.end, Some(Err(Lost::Refused)));
        assert_eq!(framing.decode(&mut b"[ab]".to_owned()), 0, "and it stays so");
    }
}
