//! Trailer fields (RFC 9110 §6.5, RFC 9112 §7.1.2): the lines behind the last chunk.
//!
//! Checked line by line by the decoder, then handed out as borrowed text that is split again when
//! somebody asks, which few ever do. They are never merged into the header fields.

use std::fmt;

use crate::body::BodyError;
use crate::token::{is_token, is_value_byte, trim};

/// The trailer fields of a message in their order, names as they came.
///
/// ```
/// use threadline_proto::body::{Limits, Step, chunked::Decoder};
///
/// let mut decoder = Decoder::new(&Limits::default());
/// let Step::Done { consumed, trailers } = decoder.advance(b"0\r\nX-Sum: 42 \r\n\r\nGET")? else { panic!() };
/// assert_eq!(consumed, 17);
/// assert_eq!(trailers.get("x-sum"), Some(&b"42"[..]));
/// # Ok::<(), threadline_proto::body::BodyError>(())
/// ```
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct Trailers<'i> {
    /// Lines that each passed `check_line`, with their `CR LF`.
    lines: &'i [u8],
}

impl<'i> Trailers<'i> {
    pub(super) const NONE: Trailers<'static> = Trailers { lines: b"" };

    /// `lines` are whole lines, each of which passed [`check_line`].
    pub(super) fn of_checked(lines: &'i [u8]) -> Self {
        Trailers { lines }
    }

    /// The value of the first field of that name, in any case.
    pub fn get(&self, name: &str) -> Option<&'i [u8]> {
        self.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    /// All fields as name and value.
    pub fn iter(&self) -> impl Iterator<Item = (&'i str, &'i [u8])> + use<'i> {
        self.lines.split_inclusive(|byte| *byte == b'\n').filter_map(|line| {
            let (name, value) = split(line.strip_suffix(b"\r\n")?)?;
            Some((std::str::from_utf8(name).ok()?, value))
        })
    }

    /// How many fields there are.
    pub fn len(&self) -> usize {
        self.iter().count()
    }

    /// Whether there are none, as nearly always.
    pub fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }
}

impl fmt::Debug for Trailers<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter().map(|(k, v)| (k, String::from_utf8_lossy(v)))).finish()
    }
}

/// Checks one line, without its `CR LF`.
pub(super) fn check_line(line: &[u8]) -> Result<(), BodyError> {
    let (name, value) = split(line).ok_or(BodyError::TrailerName)?;
    if !is_token(name) {
        return Err(BodyError::TrailerName);
    }
    if !value.iter().all(|byte| is_value_byte(*byte)) {
        return Err(BodyError::TrailerValue);
    }
    if is_forbidden(name) {
        return Err(BodyError::TrailerForbidden);
    }
    Ok(())
}

/// Name and value, without the whitespace around the value.
fn split(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let colon = line.iter().position(|byte| *byte == b':')?;
    Some((&line[..colon], trim(&line[colon + 1..])))
}

/// Whether a field may not be sent behind the content, in any case of letters.
pub(super) fn is_forbidden(name: &[u8]) -> bool {
    FORBIDDEN.iter().any(|forbidden| forbidden.as_bytes().eq_ignore_ascii_case(name))
}

/// The kinds of field that RFC 9110 §6.5.1 names, with the members that RFC 7230 §4.1.2 lists and the
/// fields about the connection (RFC 9110 §7.6.1).
const FORBIDDEN: [&str; 37] = [
    // Framing and connection.
    "connection",
    "content-length",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    // Routing.
    "forwarded",
    "host",
    "max-forwards",
    "via",
    // Request modifiers.
    "cache-control",
    "expect",
    "if-match",
    "if-modified-since",
    "if-none-match",
    "if-range",
    "if-unmodified-since",
    "pragma",
    "range",
    // Authentication.
    "authorization",
    "cookie",
    "proxy-authenticate",
    "proxy-authorization",
    "set-cookie",
    "www-authenticate",
    // What the content is.
    "content-encoding",
    "content-range",
    "content-type",
    // Response control.
    "age",
    "date",
    "expires",
    "location",
    "retry-after",
    "vary",
    "warning",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc9112_5_1_trailer_lines_follow_the_rules_of_header_lines() {
        for line in ["A:", "A: b", "A:b\t", "A: \t b c \t", "x-ok!: \u{e4}", "A::b", "A: \x7e"] {
            assert_eq!(check_line(line.as_bytes()), Ok(()), "{line:?}");
        }
        for line in
            ["", "A", ":", ": b", " A: b", "\tA: b", "A : b", "A\t: b", "A b: c", "Ä: b", "A\0: b"]
        {
            assert_eq!(check_line(line.as_bytes()), Err(BodyError::TrailerName), "{line:?}");
        }
        for line in ["A: \r", "A: b\rc", "A: \0", "A: b\x0b", "A:\x7f", "A: b\nc"] {
            assert_eq!(check_line(line.as_bytes()), Err(BodyError::TrailerValue), "{line:?}");
        }
    }

    #[test]
    fn rfc9110_6_5_1_fields_that_must_come_first_are_forbidden() {
        for name in
            ["Content-Length", "TRANSFER-ENCODING", "host", "Authorization", "Set-Cookie", "TE"]
        {
            let line = format!("{name}: 1");
            assert_eq!(check_line(line.as_bytes()), Err(BodyError::TrailerForbidden), "{name}");
        }
        for name in ["Content-Digest", "ETag", "Server-Timing", "X-Host", "Hosts"] {
            assert_eq!(check_line(format!("{name}: 1").as_bytes()), Ok(()), "{name}");
        }
    }

    #[test]
    fn fields_are_split_as_they_were_checked() {
        let trailers = Trailers::of_checked(b"A: b\r\nC:\r\na: \td:e \r\n");
        let fields: Vec<_> = trailers.iter().collect();
        assert_eq!(fields, [("A", &b"b"[..]), ("C", b""), ("a", b"d:e")]);
        assert_eq!(
            (trailers.len(), trailers.get("c"), trailers.get("d")),
            (3, Some(&b""[..]), None)
        );
        assert!(Trailers::NONE.is_empty());
    }
}
