//! The content of a request, as its handler gets it.
//!
//! It is whole before its handler is called, in memory or in a file, so that no handler waits for a client. Only
//! a route that is `streamed` reads it while it arrives, on a thread that may wait.

use std::borrow::Cow;
use std::fmt;
use std::io::{self, Read};
use std::sync::atomic::{AtomicBool, Ordering};

use threadline_engine::log::limited;
use threadline_engine::protocol::StoredFile;
use threadline_proto::body::BodyError as FramingError;
use threadline_proto::response::Status;

use crate::framework_error::ErrorKind;
use crate::handler::IntoResponse;
use crate::response::Response;

/// Why a request's body cannot be had.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum BodyError {
    /// It is longer than allowed: 413.
    TooLarge {
        /// The limit in bytes.
        max: u64,
    },
    /// Its framing is broken: 400, or 431 for too large trailers.
    Malformed(FramingError),
    /// It came too slowly: 408.
    TimedOut,
    /// The client went away in the middle of it: 400, which nobody reads.
    Incomplete,
    /// It is not coded as its `Content-Encoding` says: 400.
    Coding,
    /// It becomes so much longer when it is decoded that it is taken for an attack: 413.
    Expands {
        /// How many times longer it may become.
        ratio_max: u32,
    },
    /// The client waits for an expectation to be met that is not known (RFC 9110 §10.1.1): 417.
    Expectation,
    /// Something has read a part of it already: the service's fault, 500.
    Consumed,
    /// It needs a file, and there are as many as there may be, or the waiting bytes have no room: 503.
    NoRoom,
    /// It could not be stored, or read back from where it was stored: 503. The log says why.
    NotStored,
    /// It has not been received yet: [`Middleware::before_body`](crate::Middleware::before_body) has no body to
    /// read. The service's fault, 500.
    NotReceived,
}

impl BodyError {
    /// The status it answers with.
    pub fn status(self) -> Status {
        match self {
            BodyError::TooLarge { .. } | BodyError::Expands { .. } => Status::CONTENT_TOO_LARGE,
            BodyError::Malformed(error) => error.status(),
            BodyError::Coding | BodyError::Incomplete => Status::BAD_REQUEST,
            BodyError::TimedOut => Status::REQUEST_TIMEOUT,
            BodyError::Expectation => Status::EXPECTATION_FAILED,
            BodyError::Consumed | BodyError::NotReceived => Status::INTERNAL_SERVER_ERROR,
            BodyError::NoRoom | BodyError::NotStored => Status::SERVICE_UNAVAILABLE,
        }
    }

    fn kind(self) -> ErrorKind {
        match self {
            BodyError::TooLarge { .. } | BodyError::Expands { .. } => ErrorKind::BodyTooLarge,
            BodyError::Malformed(_) | BodyError::Coding | BodyError::Incomplete => {
                ErrorKind::MalformedBody
            }
            BodyError::TimedOut => ErrorKind::RequestTimedOut,
            BodyError::Expectation => ErrorKind::Expectation,
            BodyError::Consumed | BodyError::NotReceived => ErrorKind::Internal,
            BodyError::NoRoom => ErrorKind::Overloaded,
            BodyError::NotStored => ErrorKind::Storage,
        }
    }

    /// The error behind an [`io::Error`] of a [`BodyReader`].
    pub fn of(error: &io::Error) -> Option<BodyError> {
        error.get_ref()?.downcast_ref().copied()
    }
}

impl fmt::Display for BodyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BodyError::TooLarge { max } => write!(f, "the body may have at most {max} bytes"),
            BodyError::Malformed(error) => error.fmt(f),
            BodyError::TimedOut => f.write_str("the body did not arrive in time"),
            BodyError::Incomplete => f.write_str("the connection closed in the middle of the body"),
            BodyError::Coding => f.write_str("the body is not coded as its content-encoding says"),
            BodyError::Expands { ratio_max } => {
                write!(f, "the body may become at most {ratio_max} times longer when decoded")
            }
            BodyError::Expectation => f.write_str("only `Expect: 100-continue` is known"),
            BodyError::Consumed => f.write_str("a part of the body has been read already"),
            BodyError::NoRoom => f.write_str("there is no room for the body at this time"),
            BodyError::NotStored => f.write_str("the body could not be stored"),
            BodyError::NotReceived => f.write_str("the body has not been received yet"),
        }
    }
}

impl std::error::Error for BodyError {}

impl IntoResponse for BodyError {
    fn into_response(self) -> Response {
        let mut response = Response::error_of(self.kind(), self.status(), self);
        // A directory that is missing or full stays so until somebody looks after it.
        if self == BodyError::NoRoom {
            response = response.with_header("retry-after", "1");
        }
        // What follows on the connection is the rest of the body.
        if self == BodyError::Consumed { response } else { response.with_close() }
    }
}

impl From<BodyError> for io::Error {
    fn from(error: BodyError) -> Self {
        let kind = match error {
            BodyError::TimedOut => io::ErrorKind::TimedOut,
            BodyError::Incomplete => io::ErrorKind::UnexpectedEof,
            BodyError::TooLarge { .. }
            | BodyError::Malformed(_)
            | BodyError::Coding
            | BodyError::Expands { .. } => io::ErrorKind::InvalidData,
            BodyError::Expectation
            | BodyError::Consumed
            | BodyError::NoRoom
            | BodyError::NotStored
            | BodyError::NotReceived => io::ErrorKind::Other,
        };
        io::Error::new(kind, error)
    }
}

/// A body that has to be read in pieces: it arrives, or is decoded. Threads that share its request share it.
pub(crate) trait ReadBody: Send + Sync {
    /// Begins to read it from its start: a second time as the first, or it fails with
    /// [`BodyError::Consumed`] if it comes only once.
    fn open(&self) -> Result<Box<dyn Pieces + '_>, BodyError>;

    /// Whether its bytes are those of the message, and not decoded: the head says its length then.
    fn is_as_framed(&self) -> bool {
        true
    }
}

/// The pieces of a body, one after the other.
pub(crate) trait Pieces: Send + Sync {
    /// As [`Read::read`].
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize, BodyError>;
}

/// A body that layers and handlers cannot have: their reads fail.
pub(crate) struct RefusedBody(pub(crate) BodyError);

impl ReadBody for RefusedBody {
    fn open(&self) -> Result<Box<dyn Pieces + '_>, BodyError> {
        Err(self.0)
    }
}

/// The body of a streamed route that was there before its handler was called: it comes once, like those that
/// arrive meanwhile, so that a handler sees the same however the client's packets are cut.
pub(crate) struct ComesOnce<'a> {
    body: Incoming<'a>,
    opened: AtomicBool,
}

impl<'a> ComesOnce<'a> {
    pub(crate) fn new(body: Incoming<'a>) -> Self {
        ComesOnce { body, opened: AtomicBool::new(false) }
    }
}

impl ReadBody for ComesOnce<'_> {
    fn open(&self) -> Result<Box<dyn Pieces + '_>, BodyError> {
        if self.opened.swap(true, Ordering::Relaxed) {
            return Err(BodyError::Consumed);
        }
        Ok(Box::new(OncePieces(BodyReader::new(self.body))))
    }
}

struct OncePieces<'a>(BodyReader<'a>);

impl Pieces for OncePieces<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize, BodyError> {
        self.0.read_piece(buffer)
    }
}

/// The body of a request, as it is held.
#[derive(Clone, Copy)]
pub(crate) enum Incoming<'a> {
    /// All of it, in memory.
    Whole(&'a [u8]),
    /// All of it, in a file.
    Stored(&'a StoredFile),
    /// Read while it arrives, or is decoded.
    Arriving(&'a (dyn ReadBody + 'a)),
}

impl<'a> Incoming<'a> {
    /// The whole of it, waited for where need be.
    pub(crate) fn bytes(self) -> Result<Cow<'a, [u8]>, BodyError> {
        match self {
            Incoming::Whole(bytes) => Ok(Cow::Borrowed(bytes)),
            Incoming::Stored(_) | Incoming::Arriving(_) => {
                let mut bytes = Vec::new();
                // As every error of a reader, it has one of the body in it.
                let read = BodyReader::new(self).read_to_end(&mut bytes);
                read.map_err(|error| BodyError::of(&error).unwrap_or(BodyError::NotStored))?;
                Ok(Cow::Owned(bytes))
            }
        }
    }
}

impl fmt::Debug for Incoming<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Incoming::Whole(bytes) => write!(f, "{} bytes", bytes.len()),
            Incoming::Stored(file) => write!(f, "{} bytes in a file", file.len()),
            Incoming::Arriving(_) => f.write_str("arriving"),
        }
    }
}

/// Reads a request's body. It may block: a long body is in a file, and one of a
/// [streamed](crate::Methods::streamed) route is waited for, within the route's limit and the deadline of the
/// service's settings. Errors carry a [`BodyError`].
///
/// ```
/// use std::io::{self, BufRead, BufReader};
/// use threadline_http::testing::TestClient;
/// use threadline_http::{Request, Router};
///
/// /// The longest line, whatever the length of the whole.
/// fn longest(request: &Request<'_>) -> io::Result<String> {
///     let mut lines = BufReader::new(request.reader()).lines();
///     lines.try_fold(0, |longest, line| Ok(longest.max(line?.len()))).map(|length| length.to_string())
/// }
///
/// let client = TestClient::new(Router::new().post("/", longest))?;
/// assert_eq!(client.post("/").body("one\nthree\n").send().text(), "5");
/// # Ok::<(), threadline_http::RouterError>(())
/// ```
#[derive(Debug)]
pub struct BodyReader<'a>(Source<'a>);

enum Source<'a> {
    Whole(&'a [u8]),
    Stored {
        file: &'a StoredFile,
        /// How much has been read.
        at: u64,
    },
    /// Opened by the first read: to open a body may mean to read some of it.
    Closed(&'a (dyn ReadBody + 'a)),
    Open(Box<dyn Pieces + 'a>),
    /// Each further read fails as well.
    Failed(BodyError),
}

impl<'a> BodyReader<'a> {
    pub(crate) fn new(body: Incoming<'a>) -> Self {
        BodyReader(match body {
            Incoming::Whole(bytes) => Source::Whole(bytes),
            Incoming::Stored(file) => Source::Stored { file, at: 0 },
            Incoming::Arriving(body) => Source::Closed(body),
        })
    }

    /// As [`Read::read`].
    pub(crate) fn read_piece(&mut self, buffer: &mut [u8]) -> Result<usize, BodyError> {
        if let Source::Closed(body) = self.0 {
            self.0 = body.open().map_or_else(Source::Failed, Source::Open);
        }
        let read = match &mut self.0 {
            Source::Whole(bytes) => {
                let count = bytes.len().min(buffer.len());
                let (piece, rest) = bytes.split_at(count);
                buffer[..count].copy_from_slice(piece);
                *bytes = rest;
                Ok(count)
            }
            Source::Stored { file, at } => file.read_at(buffer, *at).map_or_else(
                |error| {
                    limited!(error, key: "", "a body in a file cannot be read", %error);
                    Err(BodyError::NotStored)
                },
                |count| {
                    *at += count as u64;
                    Ok(count)
                },
            ),
            Source::Open(pieces) => pieces.read(buffer),
            Source::Closed(_) => Ok(0),
            Source::Failed(error) => Err(*error),
        };
        if let Err(error) = read {
            self.0 = Source::Failed(error);
        }
        read
    }
}

impl Read for BodyReader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        Ok(self.read_piece(buffer)?)
    }
}

impl fmt::Debug for Source<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Source::Whole(_) => "in memory",
            Source::Stored { .. } => "in a file",
            Source::Closed(_) | Source::Open(_) => "in pieces",
            Source::Failed(_) => "failed",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_lack_of_room_that_passes_is_worth_another_try() {
        let refused = |error: BodyError| error.into_response();
        let (full, broken) = (refused(BodyError::NoRoom), refused(BodyError::NotStored));
        assert_eq!((full.status(), broken.status()), (Status::SERVICE_UNAVAILABLE, full.status()));
        assert_eq!((full.header("retry-after"), broken.header("retry-after")), (Some("1"), None));
        let kind = |response: &Response| response.framework_error().expect("an error").kind();
        assert_eq!((kind(&full), kind(&broken)), (ErrorKind::Overloaded, ErrorKind::Storage));
    }
}
