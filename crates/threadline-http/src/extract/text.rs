//! `String`: the body as text.

use std::fmt;

use threadline_proto::response::Status;

use crate::body::BodyError;
use crate::framework_error::ErrorKind;
use crate::handler::{FromRequest, IntoResponse};
use crate::request::Request;
use crate::response::Response;

/// Why a request's body is no `String`. Its media type is not looked at.
#[derive(Debug)]
#[non_exhaustive]
pub enum TextRejection {
    /// The body cannot be had: the status of the error.
    Body(BodyError),
    /// It is not UTF-8: 400.
    NotUtf8 {
        /// The first byte that is not, from 0.
        at: usize,
    },
}

impl fmt::Display for TextRejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TextRejection::Body(error) => error.fmt(f),
            TextRejection::NotUtf8 { at } => write!(f, "the body is not UTF-8 from byte {at} on"),
        }
    }
}

impl std::error::Error for TextRejection {}

impl IntoResponse for TextRejection {
    fn into_response(self) -> Response {
        match self {
            TextRejection::Body(error) => error.into_response(),
            TextRejection::NotUtf8 { .. } => {
                Response::error_of(ErrorKind::Text, Status::BAD_REQUEST, self)
            }
        }
    }
}

impl FromRequest for String {
    type Rejection = TextRejection;

    fn from_request(request: &Request<'_>) -> Result<Self, TextRejection> {
        let bytes = request.bytes().map_err(TextRejection::Body)?.into_owned();
        String::from_utf8(bytes)
            .map_err(|error| TextRejection::NotUtf8 { at: error.utf8_error().valid_up_to() })
    }
}
