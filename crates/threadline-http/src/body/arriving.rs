//! A request's body that is read by its handler while it arrives: that of a streamed route.

use std::cell::Cell;
use std::io;
use std::mem;
use std::ops::Range;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use threadline_engine::Timeouts;
use threadline_proto::body::{Reader, Step};
use threadline_proto::request;

use crate::body::{BodyError, Pieces, ReadBody};
use crate::exchange::Line;
use crate::settings::HttpSettings;

/// See the module. Locked, as threads may share a request; a body that is here before its handler is called has no
/// lock.
pub(crate) struct Arriving<'l, L>(Mutex<Inner<'l, L>>);

struct Inner<'l, L> {
    line: &'l mut L,
    /// Bytes of the connection that have come, up to `filled`; those from `at` on are not consumed.
    raw: Vec<u8>,
    filled: usize,
    at: usize,
    /// Content in `raw` that has not been handed out. Ends at `at` or before.
    content: Range<usize>,
    reader: Reader,
    /// The body is at its end.
    done: bool,
    /// How much content there may be, and has been.
    max: u64,
    total: u64,
    timeouts: Timeouts,
    /// How long the client has been waited for.
    waited: Duration,
    received: u64,
    /// The client waits for `100 Continue`.
    invite: bool,
    touched: bool,
    failed: Option<BodyError>,
}

/// How much is read from the connection at a time.
const PIECE: usize = 64 * 1024;

thread_local! {
    /// What the last body on this thread was read into. A new one would have to be cleared, and comes
    /// from the kernel page by page: a third of the cost of a body of 100 KB.
    static SPARE: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

impl<'l, L: Line> Arriving<'l, L> {
    /// The body of `head`, with at most `max` bytes of content. `ahead` has arrived already, of it or of
    /// what follows it.
    pub(crate) fn new(
        line: &'l mut L,
        head: &request::Head<'_, '_>,
        ahead: &[u8],
        max: u64,
        settings: &HttpSettings,
    ) -> Self {
        let mut raw = SPARE.take();
        raw.resize(ahead.len().max(PIECE), 0);
        raw[..ahead.len()].copy_from_slice(ahead);
        Arriving(Mutex::new(Inner {
            line,
            raw,
            filled: ahead.len(),
            at: 0,
            content: 0..0,
            reader: Reader::new(head.body, &settings.chunk_limits),
            done: false,
            max,
            total: 0,
            timeouts: settings.timeouts,
            waited: Duration::ZERO,
            received: ahead.len() as u64,
            invite: head.expects_continue && ahead.is_empty(),
            touched: false,
            failed: None,
        }))
    }

    /// What has arrived behind the body; `None` if the body has not been read to its end.
    pub(crate) fn finish(self) -> Option<Vec<u8>> {
        let mut inner = self.0.into_inner().unwrap_or_else(PoisonError::into_inner);
        // The end may be here already: a handler need not read on until it is told.
        if inner.failed.is_none() && inner.content.is_empty() {
            inner.failed = inner.advance().err();
        }
        let whole = inner.done && inner.failed.is_none();
        let behind = whole.then(|| inner.raw[inner.at..inner.filled].to_vec());
        // Not one that much had come ahead for.
        if inner.raw.len() == PIECE {
            SPARE.set(inner.raw);
        }
        behind
    }

    fn lock(&self) -> MutexGuard<'_, Inner<'l, L>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<L: Line> ReadBody for Arriving<'_, L> {
    /// It comes once: the first one that reads gets it.
    fn open(&self) -> Result<Box<dyn Pieces + '_>, BodyError> {
        if mem::replace(&mut self.lock().touched, true) {
            return Err(BodyError::Consumed);
        }
        Ok(Box::new(ArrivingPieces(self)))
    }
}

struct ArrivingPieces<'a, 'l, L>(&'a Arriving<'l, L>);

impl<L: Line> Pieces for ArrivingPieces<'_, '_, L> {
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize, BodyError> {
        let mut inner = self.0.lock();
        let read = inner.read(buffer);
        inner.failed = read.err();
        read
    }
}

impl<L: Line> Inner<'_, L> {
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize, BodyError> {
        if buffer.is_empty() {
            return Ok(0);
        }
        while self.content.is_empty() && !self.done {
            self.advance()?;
            if self.content.is_empty() && !self.done {
                self.fetch()?;
            }
        }
        let count = buffer.len().min(self.content.len());
        let from = self.content.start;
        buffer[..count].copy_from_slice(&self.raw[from..from + count]);
        self.content.start += count;
        Ok(count)
    }

    /// Looks at what has come, without waiting.
    fn advance(&mut self) -> Result<(), BodyError> {
        let step =
            self.reader.advance(&self.raw[self.at..self.filled]).map_err(BodyError::Malformed)?;
        match step {
            Step::Content(range) => {
                self.content = self.at + range.start..self.at + range.end;
                self.at += range.end;
                self.total += range.len() as u64;
                if self.total > self.max {
                    return Err(BodyError::TooLarge { max: self.max });
                }
            }
            Step::Partial { consumed } => self.at += consumed,
            Step::Done { consumed, .. } => {
                self.at += consumed;
                self.done = true;
            }
        }
        Ok(())
    }

    /// Gets more bytes, at least one. All content has been handed out.
    fn fetch(&mut self) -> Result<(), BodyError> {
        if mem::take(&mut self.invite) {
            let invitation = b"HTTP/1.1 100 Continue\r\n\r\n";
            self.line.send(invitation, self.timeouts.body).map_err(|_| BodyError::Incomplete)?;
        }
        // The start of a line of the framing at most.
        self.raw.copy_within(self.at..self.filled, 0);
        (self.filled, self.at, self.content) = (self.filled - self.at, 0, 0..0);
        let mut raw = mem::take(&mut self.raw);
        if raw.len() == self.filled {
            raw.resize(self.filled + PIECE, 0);
        }
        let received = self.wait(&mut raw[self.filled..]);
        self.raw = raw;
        let received = received?;
        self.filled += received;
        self.received += received as u64;
        Ok(())
    }

    /// Only what is spent here counts against the client: its handler may take its time between two reads.
    fn wait(&mut self, buffer: &mut [u8]) -> Result<usize, BodyError> {
        loop {
            let left = self.timeouts.body_left(self.received, self.waited);
            if left == Some(Duration::ZERO) {
                return Err(BodyError::TimedOut);
            }
            let began = Instant::now();
            let received = self.line.receive(buffer, left);
            self.waited += began.elapsed();
            match received {
                Ok(0) => return Err(BodyError::Incomplete),
                Ok(count) => return Ok(count),
                Err(error) if error.kind() != io::ErrorKind::TimedOut => {
                    return Err(BodyError::Incomplete);
                }
                Err(_) => {}
            }
        }
    }
}
