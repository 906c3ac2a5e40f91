//! A request's body that is read by its handler while it arrives.

use std::cell::RefCell;
use std::io;
use std::time::{Duration, Instant};

use threadline_engine::Timeouts;
use threadline_proto::request;

use crate::body::{BodyError, ReadBody};
use crate::exchange::Line;

/// How long a client may take.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Patience {
    /// Between two pieces.
    pause: Option<Duration>,
    /// Bytes a second, looked at after `grace`.
    rate_min: u32,
    grace: Duration,
}

impl Patience {
    pub(crate) fn of(timeouts: &Timeouts) -> Self {
        let &Timeouts { body, body_rate_min, body_grace, .. } = timeouts;
        Patience { pause: body, rate_min: body_rate_min, grace: body_grace }
    }

    /// Whether so many bytes in so long are too few.
    fn is_exhausted(&self, received: u64, spent: Duration) -> bool {
        let due = u128::from(self.rate_min) * spent.as_millis() / 1000;
        spent >= self.grace && u128::from(received) < due
    }

    /// How long to wait at most before the rate is looked at again.
    fn next_look(&self) -> Option<Duration> {
        let look = (self.rate_min > 0).then_some(self.grace);
        self.pause.into_iter().chain(look).min()
    }
}

/// See the module.
pub(crate) struct Arriving<'l, L>(RefCell<Inner<'l, L>>);

struct Inner<'l, L> {
    line: &'l mut L,
    /// What of the body, and behind it, has arrived with the head.
    ahead: &'l [u8],
    left: Left,
    patience: Patience,
    began: Instant,
    received: u64,
    /// The client waits for `100 Continue`.
    invite: bool,
    touched: bool,
    failed: Option<BodyError>,
}

/// What is still to come.
enum Left {
    Length(u64),
}

impl<'l, L: Line> Arriving<'l, L> {
    /// The body of `head`, of which `ahead` has arrived, with what follows it.
    pub(crate) fn new(
        line: &'l mut L,
        head: &request::Head<'_, '_>,
        ahead: &'l [u8],
        patience: Patience,
    ) -> Self {
        let left = match head.body {
            request::Body::Length(len) => Left::Length(len),
            _ => Left::Length(0),
        };
        Arriving(RefCell::new(Inner {
            line,
            ahead,
            left,
            patience,
            began: Instant::now(),
            received: 0,
            invite: head.expects_continue && ahead.is_empty(),
            touched: false,
            failed: None,
        }))
    }

    /// What has arrived behind the body; `None` if the body has not been read to its end.
    pub(crate) fn finish(self) -> Option<Vec<u8>> {
        let inner = self.0.into_inner();
        match inner.left {
            Left::Length(0) => Some(inner.ahead.to_vec()),
            Left::Length(_) => None,
        }
    }
}

impl<L: Line> ReadBody for Arriving<'_, L> {
    fn read(&self, buffer: &mut [u8]) -> Result<usize, BodyError> {
        let mut inner = self.0.borrow_mut();
        inner.touched = true;
        if let Some(error) = inner.failed {
            return Err(error);
        }
        let read = inner.read(buffer);
        inner.failed = read.err();
        read
    }

    fn is_touched(&self) -> bool {
        self.0.borrow().touched
    }
}

impl<L: Line> Inner<'_, L> {
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize, BodyError> {
        let Left::Length(left) = self.left;
        let room = buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        if room == 0 {
            return Ok(0);
        }
        let count = self.fetch(&mut buffer[..room])?;
        self.left = Left::Length(left - count as u64);
        Ok(count)
    }

    /// Gets some bytes, at least one.
    fn fetch(&mut self, buffer: &mut [u8]) -> Result<usize, BodyError> {
        if !self.ahead.is_empty() {
            let count = buffer.len().min(self.ahead.len());
            let (now, later) = self.ahead.split_at(count);
            buffer[..count].copy_from_slice(now);
            self.ahead = later;
            self.received += count as u64;
            return Ok(count);
        }
        if std::mem::take(&mut self.invite) {
            let invitation = b"HTTP/1.1 100 Continue\r\n\r\n";
            self.line.send(invitation, self.patience.pause).map_err(|_| BodyError::Incomplete)?;
        }
        let count = self.wait(buffer)?;
        self.received += count as u64;
        if self.patience.is_exhausted(self.received, self.began.elapsed()) {
            return Err(BodyError::TimedOut);
        }
        Ok(count)
    }

    fn wait(&mut self, buffer: &mut [u8]) -> Result<usize, BodyError> {
        let began = Instant::now();
        loop {
            match self.line.receive(buffer, self.patience.next_look()) {
                Ok(0) => return Err(BodyError::Incomplete),
                Ok(count) => return Ok(count),
                Err(error) if error.kind() == io::ErrorKind::TimedOut => {}
                Err(_) => return Err(BodyError::Incomplete),
            }
            let paused = self.patience.pause.is_some_and(|pause| began.elapsed() >= pause);
            if paused || self.patience.is_exhausted(self.received, self.began.elapsed()) {
                return Err(BodyError::TimedOut);
            }
        }
    }
}
