//! What can be the result of a handler.

use std::borrow::Cow;
use std::convert::Infallible;
use std::io;

use threadline_engine::log::{Escaped, limited};
use threadline_proto::response::Status;

use crate::body::BodyError;
use crate::framework_error::ErrorKind;
use crate::response::Response;

/// A type that can be answered, and so be the result of a handler.
///
/// | type | response |
/// | --- | --- |
/// | `&'static str`, `String`, `Cow<'static, str>` | 200, plain text in UTF-8 |
/// | `Vec<u8>`, `&'static [u8]` | 200, bytes |
/// | [`Status`] | that status; an error's body says its name |
/// | `(Status, T)` | as `T`, with that status |
/// | `([(name, value); N], T)`, `(Status, [(name, value); N], T)` | as `T`, with these fields |
/// | `Json<T>`, [`Html`](crate::Html), [`Redirect`](crate::Redirect), `Problem` | see there |
/// | `Option<T>` | as `T`, or 404 |
/// | `io::Error` | 500, and a line in the log; as [`BodyError`] if it is one |
/// | `Result<T, E>` | as `T` or as `E` |
/// | `()` | 204 |
/// | [`Response`] | itself |
///
/// ```
/// use threadline_http::{IntoResponse, Response, Status};
///
/// enum Refused { NoTea, Closed }
///
/// impl IntoResponse for Refused {
///     fn into_response(self) -> Response {
///         match self {
///             Refused::NoTea => Response::error(Status::NOT_FOUND, "no tea is left"),
///             Refused::Closed => (Status::SERVICE_UNAVAILABLE, "come back at nine").into_response(),
///         }
///     }
/// }
///
/// fn brew(hour: u32) -> Result<&'static str, Refused> {
///     if hour < 9 { Err(Refused::Closed) } else { Err(Refused::NoTea) }
/// }
/// assert_eq!(brew(8).into_response().status(), Status::SERVICE_UNAVAILABLE);
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a response",
    label = "a handler cannot return this",
    note = "return a string, bytes, `Status`, `(Status, T)`, `Result<T, E>` of them, `Response` \
            or `()`; or implement `IntoResponse` for it"
)]
pub trait IntoResponse {
    /// Makes the response.
    fn into_response(self) -> Response;
}

impl IntoResponse for Response {
    fn into_response(self) -> Response {
        self
    }
}

impl IntoResponse for &'static str {
    #[inline]
    fn into_response(self) -> Response {
        Response::text(self)
    }
}

impl IntoResponse for String {
    fn into_response(self) -> Response {
        Response::text(self)
    }
}

impl IntoResponse for Cow<'static, str> {
    fn into_response(self) -> Response {
        Response::text(self)
    }
}

impl IntoResponse for &'static [u8] {
    fn into_response(self) -> Response {
        Response::bytes(self)
    }
}

impl IntoResponse for Vec<u8> {
    fn into_response(self) -> Response {
        Response::bytes(self)
    }
}

impl IntoResponse for Status {
    fn into_response(self) -> Response {
        if self.is_error() { Response::of_status(self) } else { Response::new(self) }
    }
}

impl IntoResponse for () {
    fn into_response(self) -> Response {
        Response::new(Status::NO_CONTENT)
    }
}

impl<T: IntoResponse> IntoResponse for (Status, T) {
    fn into_response(self) -> Response {
        self.1.into_response().with_status(self.0)
    }
}

impl<T: IntoResponse, E: IntoResponse> IntoResponse for Result<T, E> {
    fn into_response(self) -> Response {
        match self {
            Ok(value) => value.into_response(),
            Err(error) => error.into_response(),
        }
    }
}

/// The client's part in it, if the error is one of reading the body; otherwise 500, and the error goes
/// into the log, not to the client.
impl IntoResponse for io::Error {
    fn into_response(self) -> Response {
        if let Some(error) = BodyError::of(&self) {
            return error.into_response();
        }
        limited!(error, "a handler failed", error = %Escaped(&self));
        Response::error_of(
            ErrorKind::Internal,
            Status::INTERNAL_SERVER_ERROR,
            "the service's log says why",
        )
    }
}

impl IntoResponse for Infallible {
    fn into_response(self) -> Response {
        match self {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn summary(reply: impl IntoResponse) -> (u16, Option<String>, Vec<u8>) {
        let response = reply.into_response();
        let content_type = response.content_type().map(str::to_owned);
        (
            response.status().code(),
            content_type,
            response.body().as_bytes().expect("bytes").to_vec(),
        )
    }

    #[test]
    fn strings_are_text_and_bytes_are_bytes() {
        let text = Some("text/plain; charset=utf-8".to_owned());
        assert_eq!(summary("a"), (200, text.clone(), b"a".to_vec()));
        assert_eq!(summary(String::from("a")), (200, text.clone(), b"a".to_vec()));
        assert_eq!(summary(Cow::Borrowed("a")), (200, text, b"a".to_vec()));
        let bytes = Some("application/octet-stream".to_owned());
        assert_eq!(summary(vec![1, 2]), (200, bytes.clone(), vec![1, 2]));
        assert_eq!(summary(&b"ab"[..]), (200, bytes, b"ab".to_vec()));
    }

    #[test]
    fn statuses_alone_and_with_content() {
        assert_eq!(summary(()), (204, None, vec![]));
        assert_eq!(summary(Status::ACCEPTED), (202, None, vec![]));
        assert_eq!(summary(Status::CONFLICT).2, b"409 Conflict\n");
        assert_eq!(summary((Status::CREATED, "a")).0, 201);
        let failed: Result<&'static str, (Status, String)> =
            Err((Status::BAD_GATEWAY, "a".to_owned()));
        assert_eq!(summary(failed).0, 502);
    }

    #[test]
    fn io_errors_tell_the_client_only_what_is_its_business() {
        let (status, _, text) = summary(io::Error::other("password file is gone"));
        assert_eq!((status, text.windows(8).any(|word| word == b"password")), (500, false));
        assert_eq!(summary(io::Error::other(BodyError::TooLarge { max: 1 })).0, 413);
    }
}
