//! What a client is told when the engine turns it away or gives up on it.

use threadline_engine::protocol::{AfterRefusal, Refusal};
use threadline_proto::request::{self, Body, HeaderSlots, Limits, Parsed};
use threadline_proto::response::Status;

use crate::response::Response;
use crate::settings::HttpSettings;
use crate::write::{Manner, write_own};

/// Answers a refusal.
#[cold]
pub(crate) fn refuse(
    why: Refusal,
    input: &[u8],
    out: &mut Vec<u8>,
    settings: &HttpSettings,
) -> AfterRefusal {
    match why {
        Refusal::Overloaded => return refuse_message(input, out, settings),
        Refusal::TooManyConnections => {
            write_own(out, &try_later("too many connections"), Manner::refusing(input));
        }
        Refusal::TimedOut(_) if is_blank(input) => {
            // An idle connection: no request, and so no response.
        }
        Refusal::TimedOut(_) => {
            let hint = "the request did not arrive in time";
            let response = Response::error(Status::REQUEST_TIMEOUT, hint);
            write_own(out, &response, Manner::refusing(input));
        }
    }
    AfterRefusal::Close
}

/// The pool is full: this request is refused, and the connection goes on where its end is known.
fn refuse_message(input: &[u8], out: &mut Vec<u8>, settings: &HttpSettings) -> AfterRefusal {
    let response = try_later("the service is overloaded");
    let mut slots = HeaderSlots::new();
    let Some((manner, len)) = measure(input, &mut slots, &settings.limits) else {
        write_own(out, &response, Manner::refusing(input));
        return AfterRefusal::Close;
    };
    write_own(out, &response, manner);
    if manner.closes() { AfterRefusal::Close } else { AfterRefusal::Continue { consumed: len } }
}

/// How a whole message is answered, and its length. `None` if it is not whole.
fn measure<'i>(
    input: &'i [u8],
    slots: &mut HeaderSlots<'i>,
    limits: &Limits,
) -> Option<(Manner, usize)> {
    let Ok(Parsed::Head(head)) = request::parse(input, slots, limits) else { return None };
    let body_len = match head.body {
        Body::Empty => 0,
        Body::Length(len) => usize::try_from(len).ok()?,
        Body::Chunked => return None,
    };
    let len = head.len.checked_add(body_len).filter(|len| *len <= input.len())?;
    Some((Manner::answering(&head), len))
}

fn try_later(hint: &'static str) -> Response {
    Response::error(Status::SERVICE_UNAVAILABLE, hint).with_header("retry-after", "1")
}

/// Nothing, or the blank line that may come behind a body.
pub(crate) fn is_blank(input: &[u8]) -> bool {
    matches!(input, b"" | b"\r" | b"\r\n")
}
