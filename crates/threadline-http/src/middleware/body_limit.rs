//! [`BodyLimit`]: how long request bodies may be, as far as a handler reads them.
//!
//! The service's own limit ([`HttpSettings::body_len_max`](crate::HttpSettings::body_len_max),
//! [`Methods::body_len_max`](crate::Methods::body_len_max)) refuses a body before a byte of it is read. This
//! one can be around some routes of many, and inside `Decompression` it counts decoded bytes. It can
//! only lower the service's limit.

use crate::body::{BodyError, Incoming, Pieces, ReadBody};
use crate::handler::IntoResponse;
use crate::middleware::layer::{BeforeBody, Middleware, Next};
use crate::request::Request;
use crate::response::Response;

/// Middleware that answers 413 to longer bodies: at once where the length is known, and as the error
/// of the body's reader where it is not.
///
/// ```
/// use threadline_http::Router;
/// use threadline_http::middleware::BodyLimit;
///
/// let notes = Router::new().post("/", |note: Vec<u8>| note).layer(BodyLimit::new(4 * 1024));
/// # notes.build().unwrap();
/// ```
#[derive(Debug, Clone, Copy)]
pub struct BodyLimit {
    max: u64,
}

impl BodyLimit {
    /// Bodies may have at most `bytes`.
    pub const fn new(bytes: u64) -> Self {
        BodyLimit { max: bytes }
    }
}

impl Middleware for BodyLimit {
    fn handle(&self, request: &Request<'_>, next: Next<'_>) -> Response {
        let max = self.max;
        match (request.content_length(), request.body) {
            (Some(len), _) if len > max => BodyError::TooLarge { max }.into_response(),
            // Its length is known, and framing makes sure of it.
            (Some(_), _) | (None, Incoming::Whole(_) | Incoming::Stored(_)) => next.run(request),
            (None, Incoming::Arriving(body)) => {
                let limited = Limited { body, max };
                next.run(&Request { body: Incoming::Arriving(&limited), ..request.clone() })
            }
        }
    }

    fn before_body(&self, request: &Request<'_>) -> BeforeBody {
        let max = self.max;
        match request.content_length() {
            Some(len) if len > max => {
                BeforeBody::Refuse(BodyError::TooLarge { max }.into_response())
            }
            _ => BeforeBody::Pass,
        }
    }
}

/// A body that fails when it is longer than allowed.
struct Limited<'b> {
    body: &'b (dyn ReadBody + 'b),
    max: u64,
}

impl ReadBody for Limited<'_> {
    fn open(&self) -> Result<Box<dyn Pieces + '_>, BodyError> {
        let max = self.max;
        Ok(Box::new(LimitedPieces { pieces: self.body.open()?, max, left: max }))
    }

    fn is_as_framed(&self) -> bool {
        self.body.is_as_framed()
    }
}

struct LimitedPieces<'b> {
    pieces: Box<dyn Pieces + 'b>,
    max: u64,
    left: u64,
}

impl Pieces for LimitedPieces<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize, BodyError> {
        let count = self.pieces.read(buffer)?;
        let left = self.left.checked_sub(count as u64);
        self.left = left.ok_or(BodyError::TooLarge { max: self.max })?;
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Status;
    use crate::middleware::testing::{PieceByPiece, Stack, request_with};

    /// A layer that hides how long the body is, as a chunked one or a decoded one does.
    fn unknown_length(request: &Request<'_>, next: Next<'_>) -> Response {
        let Incoming::Arriving(body) = request.body else { panic!("arriving") };
        let hidden = Hidden(body);
        next.run(&Request { body: Incoming::Arriving(&hidden), ..request.clone() })
    }

    struct Hidden<'b>(&'b (dyn ReadBody + 'b));

    impl ReadBody for Hidden<'_> {
        fn open(&self) -> Result<Box<dyn crate::body::Pieces + '_>, BodyError> {
            self.0.open()
        }

        fn is_as_framed(&self) -> bool {
            false
        }
    }

    fn echo(request: &Request<'_>) -> Result<Vec<u8>, BodyError> {
        Ok(request.bytes()?.into_owned())
    }

    #[test]
    fn a_length_that_is_known_is_refused_before_the_handler() {
        let stack = Stack::of(BodyLimit::new(3));
        let longer = stack
            .run(request_with("POST /", "", b"abcd"), |_| -> Response { panic!("let through") });
        assert_eq!(longer.status(), Status::CONTENT_TOO_LARGE);
        assert_eq!(stack.run(request_with("POST /", "", b"abc"), echo).status(), Status::OK);
    }

    #[test]
    fn a_length_that_is_not_known_is_counted() {
        let stack = Stack::of(BodyLimit::new(3)).around(unknown_length);
        let post = request_with("POST /", "", b"");
        let run = |pieces: &[&[u8]]| {
            let pieces = PieceByPiece::new(pieces.iter().copied());
            (stack.run_arriving(&post, &pieces, echo).status(), pieces.fetched())
        };
        assert_eq!(run(&[b"a", b"bc"]), (Status::OK, 2));
        // What follows is not read.
        assert_eq!(run(&[b"ab", b"cd", b"e"]), (Status::CONTENT_TOO_LARGE, 2));
    }
}
