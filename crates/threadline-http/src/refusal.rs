//! What a client is told when the engine turns it away or gives up on it.

use threadline_engine::protocol::{AfterRefusal, Refusal};
use threadline_proto::request::{Body, Head};
use threadline_proto::response::Status;

use crate::framework_error::ErrorKind;
use crate::response::Response;
use crate::write::{Manner, write_own};

/// What the client is told; `None` if it has asked for nothing.
#[cold]
pub(crate) fn response(why: Refusal, input: &[u8]) -> Option<Response> {
    Some(match why {
        Refusal::Overloaded => try_later(ErrorKind::Overloaded, "the service is overloaded"),
        Refusal::TooManyConnections => {
            try_later(ErrorKind::TooManyConnections, "too many connections")
        }
        // An idle connection: no request, and so no response.
        Refusal::TimedOut(_) if is_blank(input) => return None,
        Refusal::TimedOut(_) => {
            let hint = "the request did not arrive in time";
            Response::error_of(ErrorKind::RequestTimedOut, Status::REQUEST_TIMEOUT, hint)
        }
    })
}

/// How much of a refused message there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Extent {
    /// What is in the input.
    Input,
    /// All of it, and the input is its head.
    Received,
}

/// Writes it. If the pool is full, this request is refused and the connection goes on where its end is known.
pub(crate) fn write(
    why: Refusal,
    response: &Response,
    head: Option<&Head<'_, '_>>,
    input: &[u8],
    extent: Extent,
    out: &mut Vec<u8>,
) -> AfterRefusal {
    let whole = head.and_then(|head| match extent {
        Extent::Input => measure(head, input),
        Extent::Received => Some((Manner::answering(head), input.len())),
    });
    match whole {
        Some((manner, len)) if why == Refusal::Overloaded => {
            write_own(out, response, manner);
            if manner.closes() {
                AfterRefusal::Close
            } else {
                AfterRefusal::Continue { consumed: len }
            }
        }
        _ => {
            write_own(out, response, Manner::refusing(input));
            AfterRefusal::Close
        }
    }
}

/// How a whole message is answered, and its length. `None` if it is not whole.
fn measure(head: &Head<'_, '_>, input: &[u8]) -> Option<(Manner, usize)> {
    let body_len = match head.body {
        Body::Empty => 0,
        Body::Length(len) => usize::try_from(len).ok()?,
        Body::Chunked => return None,
    };
    let len = head.len.checked_add(body_len).filter(|len| *len <= input.len())?;
    Some((Manner::answering(head), len))
}

fn try_later(kind: ErrorKind, hint: &'static str) -> Response {
    Response::error_of(kind, Status::SERVICE_UNAVAILABLE, hint).with_header("retry-after", "1")
}

/// Nothing, or the blank line that may come behind a body.
pub(crate) fn is_blank(input: &[u8]) -> bool {
    matches!(input, b"" | b"\r" | b"\r\n")
}
