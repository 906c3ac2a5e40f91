//! The content of a response.
//!
//! Bytes are written behind the head at once; large ones are sent from where they are. All other kinds are sent
//! piece by piece, by the thread that ran the handler for as long as the client takes them. What a slow client does
//! not take, of any kind, waits with the connection and without a thread.

use std::any::Any;
use std::borrow::Cow;
use std::collections::VecDeque;
use std::fmt;
use std::fs::File;
use std::io::{self, Cursor, Read, Seek, SeekFrom};
use std::mem;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::vec;

use threadline_engine::Bytes;

use crate::body::{BodySender, Extent, Memory, Start};

/// The content of a response. Made with `Body::from` a string or bytes (static ones are not copied),
/// or from something that is read while it is sent.
///
/// ```
/// use threadline_http::{Body, Response, Status};
///
/// fn countdown() -> Response {
///     let lines = (0..3).rev().map(|n| format!("{n}\n").into_bytes());
///     Response::new(Status::OK).with_body(Body::chunks(lines))
/// }
/// assert_eq!(countdown().into_body().into_bytes().unwrap(), b"2\n1\n0\n");
/// ```
#[derive(Default)]
pub struct Body(pub(crate) Kind);

/// What a body is made of.
pub(crate) enum Kind {
    /// Bytes in memory.
    Bytes(Bytes),
    /// Read while it is sent. Of so many bytes, or in chunks until its end.
    Reader { reader: Box<dyn Read + Send>, len: Option<u64>, memory: Memory },
    /// Pushed from anywhere.
    Push(Start),
    /// A part of a file.
    File { file: File, range: Range<u64> },
}

impl Default for Kind {
    fn default() -> Self {
        Kind::Bytes(Bytes::EMPTY)
    }
}

impl Body {
    /// No content.
    pub const EMPTY: Body = Body(Kind::Bytes(Bytes::EMPTY));

    /// Bytes that are shared, with a cache or with other responses for example: they are not copied, however many
    /// clients they are sent to.
    ///
    /// ```
    /// use std::sync::Arc;
    /// use threadline_http::{Body, Response, Router, Status};
    ///
    /// let map: Arc<[u8]> = vec![0; 10 << 20].into();
    /// let router = Router::new().get("/map", move || {
    ///     Response::new(Status::OK).with_body(Body::shared(Arc::clone(&map)))
    /// });
    /// # router.build().unwrap();
    /// ```
    pub fn shared(bytes: impl Into<Arc<[u8]>>) -> Self {
        Body(Kind::Bytes(Bytes::Shared(bytes.into())))
    }

    /// Content that is read while it is sent, until the reader's end: chunked, as its length is not
    /// known. An error of the reader ends the connection, so that the client sees that something is
    /// missing.
    ///
    /// While its client is slow, the memory that it holds should count against the budget of waiting bytes. Of
    /// readers of the standard library that own bytes, such as `Cursor<Vec<u8>>`, it is known; for others say it by
    /// [`Body::holding`].
    pub fn reader(reader: impl Read + Send + 'static) -> Self {
        let memory = Memory::fixed(known_memory(&reader));
        Body(Kind::Reader { reader: Box::new(reader), len: None, memory })
    }

    /// As [`Body::reader`], of exactly `len` bytes: with `Content-Length`. A reader that ends early
    /// ends the connection; of a longer one the rest is not read.
    pub fn sized_reader(reader: impl Read + Send + 'static, len: u64) -> Self {
        let memory = Memory::fixed(known_memory(&reader));
        Body(Kind::Reader { reader: Box::new(reader), len: Some(len), memory })
    }

    /// Content that is made piece by piece while it is sent. Each piece goes out at once. An iterator that blocks
    /// in `next` holds a thread while it does; a client that is slow to read does not.
    ///
    /// The piece that is being sent counts against the budget of waiting bytes while the client is slow; so do all
    /// that are left of a `Vec` of pieces. What else an iterator holds, [`Body::holding`] says.
    pub fn chunks<I>(chunks: I) -> Self
    where
        I: IntoIterator<Item = Vec<u8>>,
        I::IntoIter: Send + 'static,
    {
        let chunks = Chunks::new(chunks.into_iter());
        let memory = Memory::changing(Arc::clone(&chunks.memory));
        Body(Kind::Reader { reader: Box::new(chunks), len: None, memory })
    }

    /// Content that is pushed from any thread, for as long as it likes, while the connection is
    /// parked: `start` is given the sender once the head is out, and keeps it somewhere. An open push
    /// costs no thread. The connection ends with the content, and when the client sends no more: a client that
    /// has gone is known by that.
    ///
    /// The content is whole when [`BodySender::finish`] says so. If the sender is dropped before, the client
    /// sees that something is missing. A drain of the service waits for it until its deadline. For content
    /// without an end, such as event streams, see [`Body::endless`].
    ///
    /// ```
    /// use std::sync::Mutex;
    /// use threadline_http::{Body, BodySender, Response, Status};
    ///
    /// static LISTENERS: Mutex<Vec<BodySender>> = Mutex::new(Vec::new());
    ///
    /// fn listen() -> Response {
    ///     let body = Body::push(|sender| LISTENERS.lock().unwrap().push(sender));
    ///     Response::new(Status::OK).with_body(body)
    /// }
    ///
    /// fn tell_all(news: &str) {
    ///     LISTENERS.lock().unwrap().retain(|listener| listener.send(news).is_ok());
    /// }
    /// ```
    pub fn push(start: impl FnOnce(BodySender) + Send + 'static) -> Self {
        Body(Kind::Push(Start::new(start)))
    }

    /// Says of a pushed body that it has no end that its client waits for, as an event stream. A drop of its
    /// sender then ends it as [`BodySender::finish`] does, unless a panic drops it; and a drain does not wait
    /// for it: the client gets the end of the content at once. Other bodies stay as they are.
    ///
    /// ```
    /// use std::sync::Mutex;
    /// use threadline_http::{Body, BodySender, Response};
    ///
    /// static LISTENERS: Mutex<Vec<BodySender>> = Mutex::new(Vec::new());
    ///
    /// fn events() -> Response {
    ///     let body = Body::push(|sender| LISTENERS.lock().unwrap().push(sender)).endless();
    ///     Response::text("").with_content_type("text/event-stream").with_body(body)
    /// }
    /// # let router = threadline_http::Router::new().get("/events", events);
    /// # router.build().unwrap();
    /// ```
    pub fn endless(mut self) -> Self {
        if let Kind::Push(start) = &mut self.0 {
            start.extent = Extent::Endless;
        }
        self
    }

    /// A whole file. Sent by the kernel (`sendfile`), and waits for a slow client without a thread.
    ///
    /// # Errors
    /// If its length cannot be had.
    pub fn file(file: File) -> io::Result<Self> {
        let len = file.metadata()?.len();
        Ok(Body::file_range(file, 0..len))
    }

    /// A part of a file, in bytes from its start. The file should have them: if it has become
    /// shorter, the connection ends early.
    pub fn file_range(file: File, range: Range<u64>) -> Self {
        Body(Kind::File { file, range })
    }

    /// Its length in bytes, where that is known beforehand.
    pub fn len(&self) -> Option<u64> {
        match &self.0 {
            Kind::Bytes(bytes) => Some(bytes.len() as u64),
            Kind::Reader { len, .. } => *len,
            Kind::Push(_) => None,
            Kind::File { range, .. } => Some(range.end.saturating_sub(range.start)),
        }
    }

    /// Whether it is known to be empty.
    pub fn is_empty(&self) -> bool {
        self.len() == Some(0)
    }

    /// Says how many bytes of memory the reader of this body holds, for one that holds many: they count as waiting
    /// bytes ([`Settings::waiting_bytes_max`](threadline_engine::Settings::waiting_bytes_max)) while its client is
    /// slow. Without that the budget cannot keep their number within its bound.
    ///
    /// Known without it are the pieces of [`Body::chunks`], which count besides, what compression holds, and the
    /// bytes of a `Cursor` over a `Vec`, a `String` or a boxed slice and of a `VecDeque`. Bodies of other kinds stay
    /// as they are.
    ///
    /// ```
    /// use std::io::{self, Read};
    /// use threadline_http::Body;
    ///
    /// struct Picture {
    ///     pixels: Vec<u8>,
    ///     at: usize,
    /// }
    ///
    /// impl Read for Picture {
    ///     fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
    ///         let count = (&self.pixels[self.at..]).read(buffer)?;
    ///         self.at += count;
    ///         Ok(count)
    ///     }
    /// }
    ///
    /// let picture = Picture { pixels: vec![0; 10 << 20], at: 0 };
    /// let body = Body::reader(picture).holding(10 << 20);
    /// # assert_eq!(body.into_bytes().unwrap().len(), 10 << 20);
    /// ```
    pub fn holding(mut self, bytes: usize) -> Self {
        if let Kind::Reader { memory, .. } = &mut self.0 {
            *memory = mem::take(memory).at_least(bytes);
        }
        self
    }

    /// The memory that it is known to hold for itself, to be passed on with its reader.
    #[cfg(any(feature = "gzip", feature = "brotli", feature = "zstd"))]
    pub(crate) fn take_memory(&mut self) -> Memory {
        match &mut self.0 {
            Kind::Bytes(bytes) => Memory::default().plus(bytes.memory()),
            Kind::Reader { memory, .. } => mem::take(memory),
            Kind::Push(_) | Kind::File { .. } => Memory::default(),
        }
    }

    /// Its bytes, if they are in memory.
    #[inline]
    pub fn as_bytes(&self) -> Option<&[u8]> {
        match &self.0 {
            Kind::Bytes(bytes) => Some(bytes),
            _ => None,
        }
    }

    /// Reads all of it into memory.
    ///
    /// # Errors
    /// Those of the reader or the file; [`io::ErrorKind::UnexpectedEof`] if it ends early.
    pub fn into_bytes(self) -> io::Result<Vec<u8>> {
        let len = self.len();
        let mut bytes = Vec::new();
        self.into_reader()?.read_to_end(&mut bytes)?;
        match len {
            Some(len) if len != bytes.len() as u64 => Err(io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(bytes),
        }
    }

    /// Something that reads it, for middleware that changes content on its way. A reader or file that has
    /// less than the body's length fails with [`io::ErrorKind::UnexpectedEof`], so that what is made of it is
    /// not taken for the whole.
    ///
    /// # Errors
    /// If a file's part cannot be found; [`io::ErrorKind::Unsupported`] for a pushed body.
    pub fn into_reader(self) -> io::Result<Box<dyn Read + Send>> {
        Ok(match self.0 {
            Kind::Bytes(bytes) => Box::new(Cursor::new(bytes)),
            Kind::Reader { reader, len: Some(left), .. } => Box::new(Exact { reader, left }),
            Kind::Reader { reader, len: None, .. } => reader,
            Kind::Push(_) => {
                let message = "a pushed body cannot be read: it is made later";
                return Err(io::Error::new(io::ErrorKind::Unsupported, message));
            }
            Kind::File { mut file, range } => {
                file.seek(SeekFrom::Start(range.start))?;
                Box::new(Exact { reader: file, left: range.end.saturating_sub(range.start) })
            }
        })
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Kind::Bytes(bytes) => write!(f, "Body({} bytes)", bytes.len()),
            Kind::Reader { len, .. } => write!(f, "Body(reader of {len:?})"),
            Kind::Push(_) => f.write_str("Body(pushed)"),
            Kind::File { range, .. } => write!(f, "Body(file {range:?})"),
        }
    }
}

/// Reads exactly `left` bytes: an earlier end is an error. Without it, a layer would send content that is cut
/// off as if it were whole.
struct Exact<R> {
    reader: R,
    left: u64,
}

impl<R: Read> Read for Exact<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let room = buffer.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
        let count = self.reader.read(&mut buffer[..room])?;
        if count == 0 && room > 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.left -= count as u64;
        Ok(count)
    }
}

/// The memory of a reader, as far as its type tells.
fn known_memory<R: Any>(reader: &R) -> usize {
    let reader: &dyn Any = reader;
    let held = if let Some(bytes) = reader.downcast_ref::<Cursor<Vec<u8>>>() {
        bytes.get_ref().capacity()
    } else if let Some(text) = reader.downcast_ref::<Cursor<String>>() {
        text.get_ref().capacity()
    } else if let Some(bytes) = reader.downcast_ref::<Cursor<Box<[u8]>>>() {
        bytes.get_ref().len()
    } else if let Some(bytes) = reader.downcast_ref::<VecDeque<u8>>() {
        bytes.capacity()
    } else {
        0
    };
    held.saturating_add(size_of::<R>())
}

/// Reads the pieces of an iterator one after the other.
struct Chunks<I> {
    chunks: I,
    current: Cursor<Vec<u8>>,
    /// The bytes of the pieces that are still to come, as far as they are made already.
    ahead: usize,
    /// Those and `current`.
    memory: Arc<AtomicUsize>,
}

impl<I: Iterator<Item = Vec<u8>> + 'static> Chunks<I> {
    fn new(chunks: I) -> Self {
        let made = (&chunks as &dyn Any).downcast_ref::<vec::IntoIter<Vec<u8>>>();
        let ahead = made.map_or(0, |made| made.as_slice().iter().map(Vec::capacity).sum());
        let memory = Arc::new(AtomicUsize::new(ahead));
        Chunks { chunks, current: Cursor::default(), ahead, memory }
    }
}

impl<I> Chunks<I> {
    fn go_on_with(&mut self, chunk: Vec<u8>) {
        self.memory.store(self.ahead.saturating_add(chunk.capacity()), Ordering::Relaxed);
        self.current = Cursor::new(chunk);
    }
}

impl<I: Iterator<Item = Vec<u8>>> Read for Chunks<I> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            // Never two pieces in one read: each goes out when it is made.
            let count = self.current.read(buffer)?;
            if count > 0 {
                if self.current.position() == self.current.get_ref().len() as u64 {
                    // Not held while the next one is made, or its client reads.
                    self.go_on_with(Vec::new());
                }
                return Ok(count);
            }
            if buffer.is_empty() {
                return Ok(0);
            }
            let Some(chunk) = self.chunks.next() else { return Ok(0) };
            self.ahead = self.ahead.saturating_sub(chunk.capacity());
            self.go_on_with(chunk);
        }
    }
}

impl From<&'static str> for Body {
    fn from(text: &'static str) -> Self {
        Body(Kind::Bytes(text.into()))
    }
}

impl From<String> for Body {
    fn from(text: String) -> Self {
        Body(Kind::Bytes(text.into()))
    }
}

impl From<Cow<'static, str>> for Body {
    fn from(text: Cow<'static, str>) -> Self {
        match text {
            Cow::Borrowed(text) => text.into(),
            Cow::Owned(text) => text.into(),
        }
    }
}

impl From<&'static [u8]> for Body {
    fn from(bytes: &'static [u8]) -> Self {
        Body(Kind::Bytes(bytes.into()))
    }
}

impl From<Vec<u8>> for Body {
    fn from(bytes: Vec<u8>) -> Self {
        Body(Kind::Bytes(bytes.into()))
    }
}

impl From<Cow<'static, [u8]>> for Body {
    fn from(bytes: Cow<'static, [u8]>) -> Self {
        Body(Kind::Bytes(bytes.into()))
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn every_kind_can_be_read() {
        let mut file = tempfile::tempfile().expect("a file");
        file.write_all(b"0123456789").expect("written");
        assert_eq!(Body::file_range(file, 2..5).into_bytes().expect("read"), b"234");
        assert_eq!(Body::from("ab").into_bytes().expect("read"), b"ab");
        assert_eq!(Body::reader(&b"ab"[..]).into_bytes().expect("read"), b"ab");
        assert_eq!(Body::sized_reader(&b"abc"[..], 2).into_bytes().expect("read"), b"ab");
        let chunks = [b"a".to_vec(), vec![], b"bc".to_vec()];
        assert_eq!(Body::chunks(chunks).into_bytes().expect("read"), b"abc");
    }

    #[test]
    fn a_body_that_is_shorter_than_it_says_is_an_error() {
        let short = Body::sized_reader(&b"a"[..], 2).into_bytes();
        assert_eq!(short.expect_err("too short").kind(), io::ErrorKind::UnexpectedEof);
    }

    #[test]
    fn memory_is_counted_where_it_is_known() {
        let memory = |body: &Body| match &body.0 {
            Kind::Reader { memory, .. } => memory.bytes() / 1000,
            _ => 0,
        };
        let bytes = || vec![0; 10_000];
        for body in [
            Body::reader(Cursor::new(bytes())),
            Body::sized_reader(Cursor::new(bytes().into_boxed_slice()), 5),
            Body::reader(VecDeque::from(bytes())),
            Body::reader(Cursor::new("x".repeat(10_000))),
            Body::reader(io::repeat(1)).holding(10_000),
            Body::reader(Cursor::new(bytes())).holding(10_000),
            Body::chunks(vec![vec![0; 5000]; 2]),
        ] {
            assert_eq!(memory(&body), 10);
        }
        let pieces = (1..3).map(|number| vec![0; 10_000 * number]);
        let mut body = Body::chunks(pieces.clone());
        assert_eq!(memory(&body), 0);
        let mut buffer = vec![0; 7000];
        for (pieces, all) in [(Body::chunks(pieces.collect::<Vec<_>>()), true), (body, false)] {
            body = pieces;
            for (count, lazy, made) in [
                (7000, 10, 30),
                (3000, 0, 20),
                (7000, 20, 20),
                (7000, 20, 20),
                (6000, 0, 0),
                (0, 0, 0),
            ] {
                if let Kind::Reader { reader, .. } = &mut body.0 {
                    assert_eq!(reader.read(&mut buffer).expect("read"), count);
                }
                assert_eq!(memory(&body), if all { made } else { lazy });
            }
        }
    }

    #[test]
    fn a_chunk_is_not_joined_with_the_next() {
        let mut reader = Body::chunks([vec![1, 2], vec![3]]).into_reader().expect("a reader");
        let mut buffer = [0; 10];
        assert_eq!(reader.read(&mut buffer).expect("read"), 2);
        assert_eq!(reader.read(&mut buffer).expect("read"), 1);
        assert_eq!(reader.read(&mut buffer).expect("read"), 0);
    }
}
