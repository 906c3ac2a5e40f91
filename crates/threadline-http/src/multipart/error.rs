//! What can be wrong with a multipart body, whose fault it is and what it is answered.
//!
//! [`MultipartError`] is about the body, [`PartError`] about one part of it, which the former names.
//! Clients read these messages: they say what to send instead, and show nothing but the part's name.

use std::fmt;
use std::io;

use threadline_engine::log::{Escaped, limited};
use threadline_proto::response::Status;

use crate::body::BodyError;
use crate::framework_error::ErrorKind;
use crate::handler::IntoResponse;
use crate::response::Response;

/// Why a multipart body cannot be had. It is a response: return it from the handler.
///
/// Reading a [`Part`](super::Part) as a [`Read`](io::Read) gives it inside of an [`io::Error`]; `?` turns it
/// back.
///
/// ```
/// use std::io;
/// use threadline_http::multipart::{Multipart, MultipartError};
///
/// fn count(mut parts: Multipart<'_>) -> Result<String, MultipartError> {
///     let mut len = 0;
///     while let Some(mut part) = parts.next_part()? {
///         len += io::copy(&mut part, &mut io::sink())?;
///     }
///     Ok(format!("{len} bytes\n"))
/// }
/// # threadline_http::Router::new().post("/", count).build().unwrap();
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub enum MultipartError {
    /// The request's one `Content-Type` is not `multipart/form-data`: 415.
    MediaType,
    /// It has no `boundary` of 1 to 70 characters of RFC 2046 §5.1.1, or two: 400.
    Boundary,
    /// The body cannot be read; the status is that error's.
    Body(BodyError),
    /// A boundary is followed by neither the end of its line nor two dashes: 400.
    Delimiter,
    /// The body ends before its final boundary: 400.
    Unfinished,
    /// More stands before the first boundary than allowed: 413.
    PreambleTooLarge {
        /// The limit in bytes.
        max: u64,
    },
    /// There are more parts than allowed: 413.
    TooManyParts {
        /// The limit.
        max: usize,
    },
    /// Something is wrong with one part; the status is that error's.
    Part {
        /// The part's name if it has one, else its number: `` `photo` ``, `3`. Shortened and escaped.
        part: String,
        /// What is wrong.
        error: PartError,
    },
    /// What the client has sent cannot be stored: the service's fault, 500. The log says why.
    Storage(io::Error),
}

/// What is wrong with a part. The client's fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum PartError {
    /// Its header fields are longer than allowed: 413.
    HeadersTooLarge {
        /// The limit in bytes, with the empty line.
        max: usize,
    },
    /// It has more header fields than allowed: 413.
    TooManyHeaders {
        /// The limit.
        max: usize,
    },
    /// A line of its header is not `Name: value` in UTF-8, without control characters and folding: 400.
    Header,
    /// A header field is there twice: 400.
    DuplicateHeader,
    /// It has no `Content-Disposition`, which RFC 7578 §4.2 demands: 400.
    NoDisposition,
    /// Its `Content-Disposition` is not `form-data` with parameters, each there once: 400.
    Disposition,
    /// Its `Content-Disposition` has no `name`, which RFC 7578 §4.2 demands: 400.
    NoName,
    /// Its `Content-Disposition` has a parameter like `name*`, or a `filename*` that is not UTF-8 or has no
    /// `filename` beside it, which RFC 7578 §4.2 forbids: 400.
    ExtendedParameter,
    /// Its `Content-Disposition` has a `filename` and a `filename*` that are not the same name: 400. Some
    /// readers take the one and some the other, so the second would pass a check of the first.
    FileNames,
    /// Its `Content-Transfer-Encoding` is one that would have to be decoded; RFC 7578 §4.7 deprecates
    /// them all: 400.
    TransferEncoding,
    /// Its content is longer than allowed: 413.
    TooLarge {
        /// The limit in bytes.
        max: u64,
    },
    /// It is asked for as text, and is not UTF-8: 400.
    NotText,
}

impl MultipartError {
    /// The status it answers with.
    pub fn status(&self) -> Status {
        match self {
            MultipartError::MediaType => Status::UNSUPPORTED_MEDIA_TYPE,
            MultipartError::Body(error) => error.status(),
            MultipartError::Boundary | MultipartError::Delimiter | MultipartError::Unfinished => {
                Status::BAD_REQUEST
            }
            MultipartError::PreambleTooLarge { .. } | MultipartError::TooManyParts { .. } => {
                Status::CONTENT_TOO_LARGE
            }
            MultipartError::Part { error, .. } => error.status(),
            MultipartError::Storage(_) => Status::INTERNAL_SERVER_ERROR,
        }
    }
}

impl PartError {
    /// The status it answers with.
    pub fn status(self) -> Status {
        match self {
            PartError::HeadersTooLarge { .. }
            | PartError::TooManyHeaders { .. }
            | PartError::TooLarge { .. } => Status::CONTENT_TOO_LARGE,
            _ => Status::BAD_REQUEST,
        }
    }
}

impl fmt::Display for MultipartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            MultipartError::MediaType => f.write_str("send multipart/form-data"),
            MultipartError::Boundary => {
                f.write_str("content-type must name one boundary of 1 to 70 characters (RFC 2046)")
            }
            MultipartError::Body(error) => error.fmt(f),
            MultipartError::Delimiter => {
                f.write_str("a boundary must be followed by the end of its line or by two dashes")
            }
            MultipartError::Unfinished => {
                f.write_str("the body ends before its final boundary; lines must end in CRLF")
            }
            MultipartError::PreambleTooLarge { max } => {
                write!(f, "at most {max} bytes may stand before the first boundary")
            }
            MultipartError::TooManyParts { max } => write!(f, "there may be at most {max} parts"),
            MultipartError::Part { part, error } => write!(f, "part {part}: {error}"),
            MultipartError::Storage(error) => write!(f, "the upload cannot be stored: {error}"),
        }
    }
}

impl fmt::Display for PartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PartError::HeadersTooLarge { max } => {
                write!(f, "its header fields may have at most {max} bytes")
            }
            PartError::TooManyHeaders { max } => {
                write!(f, "it may have at most {max} header fields")
            }
            PartError::Header => f.write_str("a line of its header is not `Name: value` in UTF-8"),
            PartError::DuplicateHeader => f.write_str("a header field is there twice"),
            PartError::NoDisposition => f.write_str("content-disposition is missing"),
            PartError::Disposition => {
                f.write_str("content-disposition must be like `form-data; name=\"field\"`")
            }
            PartError::NoName => f.write_str("content-disposition must have a name"),
            PartError::ExtendedParameter => f.write_str(
                "content-disposition must not have a parameter like `name*`, nor a `filename*` alone or \
                 in another charset; send `filename` in UTF-8",
            ),
            PartError::FileNames => f.write_str(
                "`filename` and `filename*` of content-disposition differ; send `filename` in UTF-8",
            ),
            PartError::TransferEncoding => {
                f.write_str("content-transfer-encoding must be binary: send the content as it is")
            }
            PartError::TooLarge { max } => write!(f, "it may have at most {max} bytes"),
            PartError::NotText => f.write_str("it must be text in UTF-8"),
        }
    }
}

impl std::error::Error for MultipartError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            MultipartError::Body(error) => Some(error),
            MultipartError::Part { error, .. } => Some(error),
            MultipartError::Storage(error) => Some(error),
            _ => None,
        }
    }
}

impl std::error::Error for PartError {}

impl IntoResponse for MultipartError {
    fn into_response(self) -> Response {
        match self {
            MultipartError::Body(error) => error.into_response(),
            MultipartError::Storage(error) => {
                let error = Escaped(error);
                limited!(error, "an upload cannot be stored", %error);
                Response::error_of(
                    ErrorKind::Internal,
                    Status::INTERNAL_SERVER_ERROR,
                    "the service's log says why",
                )
            }
            error => Response::error_of(ErrorKind::Multipart, error.status(), &error),
        }
    }
}

impl From<MultipartError> for io::Error {
    fn from(error: MultipartError) -> Self {
        match error {
            MultipartError::Body(error) => error.into(),
            MultipartError::Storage(error) => error,
            MultipartError::Unfinished => io::Error::new(io::ErrorKind::UnexpectedEof, error),
            error => io::Error::new(io::ErrorKind::InvalidData, error),
        }
    }
}

/// The error that reading a part has given, or else one of whatever the part was written to.
impl From<io::Error> for MultipartError {
    fn from(error: io::Error) -> Self {
        if let Some(error) = BodyError::of(&error) {
            return MultipartError::Body(error);
        }
        error.downcast::<MultipartError>().unwrap_or_else(MultipartError::Storage)
    }
}

impl From<BodyError> for MultipartError {
    fn from(error: BodyError) -> Self {
        MultipartError::Body(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_survives_its_way_through_io() {
        let error = PartError::TooLarge { max: 7 };
        let there = io::Error::from(MultipartError::Part { part: "`a`".to_owned(), error });
        assert_eq!(there.kind(), io::ErrorKind::InvalidData);
        let back = MultipartError::from(there);
        assert_eq!(back.to_string(), "part `a`: it may have at most 7 bytes");
        assert_eq!(back.status(), Status::CONTENT_TOO_LARGE);

        let body = MultipartError::from(io::Error::from(MultipartError::Body(BodyError::TimedOut)));
        assert!(matches!(body, MultipartError::Body(BodyError::TimedOut)));
        let full = MultipartError::from(io::Error::from(io::ErrorKind::StorageFull));
        assert!(matches!(full, MultipartError::Storage(_)));
    }

    #[test]
    fn what_is_wrong_with_the_storage_is_not_told_to_the_client() {
        let error = MultipartError::Storage(io::Error::other("/srv/secret is full"));
        let response = error.into_response();
        assert_eq!(response.status(), Status::INTERNAL_SERVER_ERROR);
        let body = response.into_body().into_bytes().expect("bytes");
        assert!(!String::from_utf8_lossy(&body).contains("secret"));
    }
}
