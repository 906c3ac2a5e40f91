//! The content of a request: whole where it is small, read while it arrives where it is not.
//!
//! A small body is here before its handler is called, so that a proven handler never waits for a
//! client. A larger one is read by the handler, on a thread that may wait.

use std::borrow::Cow;
use std::fmt;
use std::io::{self, Read};

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
            BodyError::Consumed => Status::INTERNAL_SERVER_ERROR,
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
            BodyError::Consumed => ErrorKind::Internal,
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
        }
    }
}

impl std::error::Error for BodyError {}

impl IntoResponse for BodyError {
    fn into_response(self) -> Response {
        let response = Response::error_of(self.kind(), self.status(), self);
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
            BodyError::Expectation | BodyError::Consumed => io::ErrorKind::Other,
        };
        io::Error::new(kind, error)
    }
}

/// A body that is read while it arrives. Threads that share its request share it: each byte goes to one of
/// them.
pub(crate) trait ReadBody: Send + Sync {
    /// As [`Read::read`]; errors are [`BodyError`]s.
    fn read(&self, buffer: &mut [u8]) -> Result<usize, BodyError>;

    /// Begins to read all of the body. False if it has been begun, or a part has been read, already: of
    /// several threads only one gets the body.
    fn begin(&self) -> bool;

    /// Whether its bytes are those of the message, and not decoded: the head says its length then.
    fn is_as_framed(&self) -> bool {
        true
    }
}

/// A body that is refused before its handler is called: for layers, whose reads fail.
pub(crate) struct RefusedBody(pub(crate) BodyError);

impl ReadBody for RefusedBody {
    fn read(&self, _buffer: &mut [u8]) -> Result<usize, BodyError> {
        Err(self.0)
    }

    fn begin(&self) -> bool {
        true
    }
}

/// The body of a request, as it is held.
#[derive(Clone, Copy)]
pub(crate) enum Incoming<'a> {
    Whole(&'a [u8]),
    Arriving(&'a (dyn ReadBody + 'a)),
}

impl<'a> Incoming<'a> {
    /// The whole of it, waited for where need be.
    pub(crate) fn bytes(self) -> Result<Cow<'a, [u8]>, BodyError> {
        match self {
            Incoming::Whole(bytes) => Ok(Cow::Borrowed(bytes)),
            Incoming::Arriving(body) if !body.begin() => Err(BodyError::Consumed),
            Incoming::Arriving(body) => {
                let mut bytes = Vec::new();
                let mut buffer = [0; 16 * 1024];
                loop {
                    match body.read(&mut buffer)? {
                        0 => return Ok(Cow::Owned(bytes)),
                        count => bytes.extend_from_slice(&buffer[..count]),
                    }
                }
            }
        }
    }
}

impl fmt::Debug for Incoming<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Incoming::Whole(bytes) => write!(f, "{} bytes", bytes.len()),
            Incoming::Arriving(_) => f.write_str("arriving"),
        }
    }
}

/// Reads a request's body while it arrives. Blocks; the route's limit, the deadline and the minimum
/// rate of the service's settings hold. Errors carry a [`BodyError`].
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
pub struct BodyReader<'a>(pub(crate) Incoming<'a>);

impl Read for BodyReader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match &mut self.0 {
            Incoming::Whole(bytes) => bytes.read(buffer),
            Incoming::Arriving(body) => Ok(body.read(buffer)?),
        }
    }
}
