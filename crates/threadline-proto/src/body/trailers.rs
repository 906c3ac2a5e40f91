//! Trailer fields (RFC 9110 §6.5, RFC 9112 §7.1.2): the lines behind the last chunk.
//!
//! Checked by the decoder as they come, then handed out as borrowed text that is split again when
//! somebody asks, which few ever do. They are never merged into the header fields. Those that frame, route
//! or authenticate cost the message; others that belong into the header are left out.

use std::fmt;

use crate::body::BodyError;
use crate::scan;
use crate::token::{is_token_byte, trim};

/// The trailer fields of a message in their order, names as they came. Fields that say nothing after the
/// content, such as `Content-Type` and `Vary`, are not among them (RFC 9110 §6.5.1).
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
    /// Lines that have been followed to their ends, with their `CR LF`.
    lines: &'i [u8],
}

impl<'i> Trailers<'i> {
    pub(super) const NONE: Trailers<'static> = Trailers { lines: b"" };

    /// `lines` are whole lines, which [`Part::follow`] has gone over.
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
            let name = std::str::from_utf8(name).ok()?;
            (!contains(&DROPPED, name.as_bytes())).then_some((name, value))
        })
    }

    /// How many fields there are.
    pub fn len(&self) -> usize {
        self.iter().count()
    }

    /// Whether there are none, as nearly always.
    pub fn is_empty(&self) -> bool {
        self.iter().next().is_none()
    }
}

impl fmt::Debug for Trailers<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter().map(|(k, v)| (k, String::from_utf8_lossy(v)))).finish()
    }
}

/// Where in a trailer section the next byte stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    /// At the start of a line.
    Line,
    Name,
    Value,
    /// After the `CR` of a line with a field.
    Lf,
    /// After the `CR` of the empty line.
    LastLf,
    /// After the section.
    End,
}

impl Part {
    /// Follows bytes of one part, at least one. `rest` is not empty. Says how many they are, and where the
    /// next one stands. The rules are those of header lines, in the order of the wire: a wrong byte is
    /// refused when it comes, and for the same reason whatever comes after it.
    pub(super) fn follow(self, rest: &[u8]) -> Result<(usize, Part), BodyError> {
        match (self, rest[0]) {
            (Part::Line, b'\r') => Ok((1, Part::LastLf)),
            (Part::Line, b'\n') => Err(BodyError::LineEnd),
            (Part::Line, byte) if !is_token_byte(byte) => Err(BodyError::TrailerName),
            (Part::Line | Part::Name, _) => {
                let len = scan::token_len(rest);
                match rest.get(len) {
                    None => Ok((len, Part::Name)),
                    Some(b':') => Ok((len + 1, Part::Value)),
                    Some(_) => Err(BodyError::TrailerName),
                }
            }
            (Part::Value, _) => {
                let len = scan::value_len(rest);
                match rest.get(len) {
                    None => Ok((len, Part::Value)),
                    Some(b'\r') => Ok((len + 1, Part::Lf)),
                    Some(b'\n') => Err(BodyError::LineEnd),
                    Some(_) => Err(BodyError::TrailerValue),
                }
            }
            (Part::Lf, b'\n') => Ok((1, Part::Line)),
            (Part::Lf, _) => Err(BodyError::TrailerValue),
            (Part::LastLf, b'\n') => Ok((1, Part::End)),
            (Part::LastLf, _) => Err(BodyError::LineEnd),
            (Part::End, _) => Ok((0, Part::End)),
        }
    }
}

/// Whether a line that has been followed to its end has a field that costs the message.
pub(super) fn is_refused_line(line: &[u8]) -> bool {
    split(line).is_some_and(|(name, _)| contains(&REFUSED, name))
}

/// Name and value, without the whitespace around the value.
fn split(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let colon = line.iter().position(|byte| *byte == b':')?;
    Some((&line[..colon], trim(&line[colon + 1..])))
}

/// Whether a field may not be sent behind the content, in any case of letters.
pub(super) fn is_forbidden(name: &[u8]) -> bool {
    contains(&REFUSED, name) || contains(&DROPPED, name)
}

fn contains(names: &[&str], name: &[u8]) -> bool {
    names.iter().any(|known| known.as_bytes().eq_ignore_ascii_case(name))
}

// The kinds of field that RFC 9110 §6.5.1 names, with the members that RFC 7230 §4.1.2 lists and the
// fields about the connection (RFC 9110 §7.6.1).

/// Those that frame, route or authenticate a message: a recipient that merged one into the header would
/// take the message for another. They are not sent by accident.
const REFUSED: [&str; 19] = [
    // Framing and connection.
    "connection",
    "content-length",
    "expect",
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
    // Authentication.
    "authorization",
    "cookie",
    "proxy-authenticate",
    "proxy-authorization",
    "set-cookie",
    "www-authenticate",
];

/// Those that mean nothing after the content. Proxies and frameworks send them, as they send what a
/// program has set late; a recipient may ignore them (§6.5.1), and does here.
const DROPPED: [&str; 18] = [
    // Request modifiers.
    "cache-control",
    "if-match",
    "if-modified-since",
    "if-none-match",
    "if-range",
    "if-unmodified-since",
    "pragma",
    "range",
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

    /// The first field of a section, in pieces of one byte and as a whole.
    fn check_line(line: &str) -> Result<(), BodyError> {
        let section = format!("{line}\r\n");
        let of_pieces = |len: usize| {
            let (mut part, mut at) = (Part::Line, 0);
            while at < section.len() {
                let end = section.len().min(at + len);
                let (count, next) = part.follow(&section.as_bytes()[at..end])?;
                assert!(count > 0 && count <= len);
                (at, part) = (at + count, next);
            }
            assert_eq!(part, Part::Line, "{line:?}");
            let is_refused = is_refused_line(line.as_bytes());
            if is_refused { Err(BodyError::TrailerForbidden) } else { Ok(()) }
        };
        let whole = of_pieces(section.len());
        assert_eq!(of_pieces(1), whole, "{line:?}");
        whole
    }

    #[test]
    fn rfc9112_5_1_trailer_lines_follow_the_rules_of_header_lines() {
        for line in ["A:", "A: b", "A:b\t", "A: \t b c \t", "x-ok!: \u{e4}", "A::b", "A: \x7e"] {
            assert_eq!(check_line(line), Ok(()), "{line:?}");
        }
        for line in [
            "A", ":", ": b", " A: b", "\tA: b", "A : b", "A\t: b", "A b: c", "Ä: b", "A\0: b",
            "A\n",
        ] {
            assert_eq!(check_line(line), Err(BodyError::TrailerName), "{line:?}");
        }
        for line in ["A: \r", "A: b\rc", "A: \0", "A: b\x0b", "A:\x7f"] {
            assert_eq!(check_line(line), Err(BodyError::TrailerValue), "{line:?}");
        }
        for line in ["A: b\nc", "A:\n", "\n", "\rA: b"] {
            assert_eq!(check_line(line), Err(BodyError::LineEnd), "{line:?}");
        }
    }

    #[test]
    fn rfc9110_6_5_1_fields_that_frame_route_or_authenticate_are_refused() {
        for name in
            ["Content-Length", "TRANSFER-ENCODING", "host", "Authorization", "Set-Cookie", "TE"]
        {
            let line = format!("{name}: 1");
            assert_eq!(check_line(&line), Err(BodyError::TrailerForbidden), "{name}");
        }
        for name in ["Content-Digest", "ETag", "Server-Timing", "X-Host", "Hosts", "Content-Type"] {
            assert_eq!(check_line(&format!("{name}: 1")), Ok(()), "{name}");
        }
    }

    #[test]
    fn rfc9110_6_5_1_fields_that_come_too_late_are_left_out() {
        let lines = b"Vary: *\r\nA: b\r\ncontent-TYPE: text/html\r\nC:\r\n";
        let trailers = Trailers::of_checked(lines);
        assert_eq!(trailers.iter().collect::<Vec<_>>(), [("A", &b"b"[..]), ("C", b"")]);
        assert_eq!((trailers.len(), trailers.get("vary"), trailers.is_empty()), (2, None, false));
        assert_eq!(format!("{trailers:?}"), r#"{"A": "b", "C": ""}"#);
        let trailers = Trailers::of_checked(b"Vary: *\r\n");
        assert_eq!((trailers.len(), trailers.is_empty()), (0, true));
        for name in DROPPED {
            assert!(is_forbidden(name.to_uppercase().as_bytes()), "we do not send {name} either");
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
