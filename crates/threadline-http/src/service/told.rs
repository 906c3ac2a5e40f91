//! What the log says at `debug` of each request, and of each that is refused.
//!
//! Called by the service behind each answer. All text of clients is escaped. Nothing is formatted or
//! copied, and no clock is read, unless some of the program is logged at that level.

use std::net::SocketAddr;
use std::time::Duration;

use threadline_engine::log::Bytes;
use threadline_engine::log::tracing::field::display;
use threadline_engine::log::tracing::level_filters::LevelFilter;
use threadline_proto::request::{self, Form, Head, HeaderSlots, Limits};
use threadline_proto::response::Status;

use crate::response::Response;

/// How much of a refused head, or of an error's text, is shown, in bytes.
const SHOWN_MAX: usize = 200;

/// Whether anything of the program is logged at `debug`.
#[inline]
pub(super) fn is_wanted() -> bool {
    LevelFilter::current() >= LevelFilter::DEBUG
}

/// What is kept of a response until it is sent.
pub(super) struct Told {
    status: Status,
    /// The text of an error, which says why: what is shown of it, and a byte more if there is more.
    reason: Option<Vec<u8>>,
}

impl Told {
    #[cold]
    pub(super) fn of(response: &Response) -> Self {
        let status = response.status();
        let text = response.body().as_bytes().filter(|_| status.is_error());
        let reason = text.map(|text| {
            let text = text.trim_ascii_end();
            text[..text.len().min(SHOWN_MAX + 1)].to_vec()
        });
        Told { status, reason }
    }

    /// Not the response that the handler has made.
    pub(super) fn with_status(self, status: Status) -> Self {
        Told { status, ..self }
    }

    /// A request has been answered.
    #[cold]
    pub(super) fn request(
        &self,
        head: &Head<'_, '_>,
        route: &str,
        peer: Option<SocketAddr>,
        took: Duration,
    ) {
        let (peer, method, target) = (peer.map(display), head.method.as_str(), target(head));
        let target = Bytes(target.as_bytes(), usize::MAX);
        let (status, duration_us) = (self.status.code(), took.as_micros() as u64);
        let reason = self.reason.as_deref().map(|reason| display(Bytes(reason, SHOWN_MAX)));
        tracing::debug!(peer, method, %target, status, duration_us, route, reason, "request");
    }
}

/// A request has been refused, and its connection with it.
#[cold]
pub(super) fn refused(
    response: &Response,
    input: &[u8],
    limits: &Limits,
    peer: Option<SocketAddr>,
) {
    if !tracing::enabled!(tracing::Level::DEBUG) {
        return;
    }
    let (told, peer) = (Told::of(response), peer.map(display));
    let reason = told.reason.as_deref().unwrap_or_default();
    let (status, reason) = (told.status.code(), Bytes(reason, SHOWN_MAX));
    let (line, number, at) = broken_line(input, limits);
    let text = Bytes(line, SHOWN_MAX);
    tracing::debug!(peer, status, %reason, line = number, byte = at, %text, "request refused");
}

/// The target as it came, but for the host of one that names it.
fn target(head: &Head<'_, '_>) -> String {
    let target = &head.target;
    match (target.form(), target.query()) {
        (Form::Authority(authority), _) => authority.to_owned(),
        (_, Some(query)) => format!("{}?{query}", target.path()),
        (_, None) => target.path().to_owned(),
    }
}

/// The line of a head in which it breaks a rule, its number from 1, and after how many bytes. The first
/// line where no rule of heads is broken: what is refused is the body then.
///
/// Asks the parser, which stops at the first broken rule and does not say where, about shorter and longer
/// beginnings.
fn broken_line<'i>(input: &'i [u8], limits: &Limits) -> (&'i [u8], usize, usize) {
    let is_refused = |len: usize| {
        let mut slots = HeaderSlots::new();
        request::parse(&input[..len], &mut slots, limits).is_err()
    };
    let (mut fine, mut refused) = (0, input.len());
    let at = if is_refused(refused) {
        while refused - fine > 1 {
            let middle = fine + (refused - fine) / 2;
            if is_refused(middle) { refused = middle } else { fine = middle }
        }
        fine
    } else {
        0
    };
    let start = input[..at].iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
    let end =
        input[at..].iter().position(|byte| *byte == b'\n').map_or(input.len(), |len| at + len);
    let line = input[start..end].strip_suffix(b"\r").unwrap_or(&input[start..end]);
    let number = 1 + input[..start].iter().filter(|byte| **byte == b'\n').count();
    (line, number, at)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn broken(head: &str) -> (String, usize) {
        let (line, number, _) = broken_line(head.as_bytes(), &Limits::default());
        (String::from_utf8_lossy(line).into_owned(), number)
    }

    #[test]
    fn the_line_that_breaks_a_rule_is_found() {
        let head = "GET / HTTP/1.1\r\nHost: x\r\nbad name: y\r\nz: 1\r\n\r\n";
        assert_eq!(broken(head), ("bad name: y".to_owned(), 3));
        assert_eq!(broken("GET / HTTP/3.0\r\nHost: x\r\n\r\n"), ("GET / HTTP/3.0".to_owned(), 1));
        assert_eq!(broken("GET /\u{7f} HTTP/1.1\r\n\r\n").1, 1);
        let twice = "GET / HTTP/1.1\r\nHost: x\r\nHost: x\r\n\r\n";
        let (_, number) = broken(twice);
        assert!(number >= 3, "{number}");
        assert_eq!(broken("GET / HTTP/1.1\r\nHost: x\r\n\r\n").1, 1, "nothing is broken");
        assert_eq!(broken(""), (String::new(), 1));
    }
}
