//! [`HeadWatch`]: when a head that comes in pieces is worth another look.
//!
//! [`parse`](crate::request::parse) keeps no state and begins at the first byte, so a head of one byte a
//! piece must not be parsed with each piece. The watch takes each byte once, follows where in the head it
//! is, and asks for the parser only where its verdict can change: at the end of a line, at a byte that
//! may not stand where it stands, and at a limit. It decides nothing itself; what it must never do is
//! miss a byte for which the parser would refuse the head.

use crate::request::{HeaderSlots, Limits};
use crate::scan;

/// Follows the bytes of a head that has begun to arrive and is not whole yet.
///
/// ```text
///   Blank --> Method -' '-> Target -' '-> Version -8th byte-> VersionEnd -CR, LF-> Line
///                                                                                  ^  |  | CR, LF
///                                              CR, LF +--- Value <-':'- Name <-----|--+  v
///                                                     +----------------------------+    Whole
/// ```
///
/// ```
/// use threadline_proto::request::{HeadWatch, Limits};
///
/// let (head, limits) = (b"GET / HTTP/1.1\r\nHost : x", Limits::default());
/// let mut watch = HeadWatch::new();
/// // `parse` has seen the first 20 bytes, and called them partial.
/// watch.is_due(&head[..20], &limits);
/// // A space may not stand before the colon (RFC 9112 §5.1), so the head is refused without its end.
/// assert!(watch.is_due(&head[..21], &limits));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct HeadWatch {
    /// How many bytes have been followed.
    at: usize,
    part: Part,
    /// How many field lines have begun.
    fields: usize,
}

/// Where in a head the next byte stands. Positions are counted from the start of the input.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Part {
    /// Before everything, where a blank line may stand.
    #[default]
    Blank,
    Method {
        start: usize,
    },
    Target {
        start: usize,
    },
    Version {
        start: usize,
    },
    /// After the eight bytes of a version.
    VersionEnd,
    /// At the start of a line.
    Line,
    Name,
    Value,
    /// After the `CR` of a line that has something in it, or of the blank line at the start.
    Lf,
    /// After the `CR` of the line that ends the head.
    LastLf,
    /// After the head, or after what the parser refuses.
    Over,
}

/// Whether the parser can say more, now that some bytes have been followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Found {
    Nothing,
    /// Perhaps: a line or a version has come to its end.
    Due,
    /// For sure: that is a fault, or the end of the head.
    End,
}

/// As long as all versions are: `HTTP/1.1`.
const VERSION_LEN: usize = 8;

impl HeadWatch {
    /// Before the first byte of a head.
    pub const fn new() -> Self {
        HeadWatch { at: 0, part: Part::Blank, fields: 0 }
    }

    /// Whether [`parse`](crate::request::parse) can say more of `input` than it said when this was asked
    /// last. `input` is all that has come of the head; what has been asked about before is not looked
    /// at again.
    pub fn is_due(&mut self, input: &[u8], limits: &Limits) -> bool {
        // The parser looks at no more than this, and says that it is too much.
        let is_too_long = input.len() > limits.head_len_max;
        let mut is_due = is_too_long || self.part == Part::Over;
        while self.part != Part::Over && self.at < input.len() {
            match self.follow(&input[self.at..], limits) {
                Found::Nothing => {}
                Found::Due => is_due = true,
                Found::End => {
                    self.part = Part::Over;
                    is_due = true;
                }
            }
        }
        is_due
    }

    /// Follows at least one of the bytes, or one part to the next. `rest` is not empty.
    fn follow(&mut self, rest: &[u8], limits: &Limits) -> Found {
        let (at, part) = (self.at, self.part);
        match part {
            Part::Blank => match rest {
                [b'\r', ..] if at == 0 => self.next(1, Part::Lf),
                _ => self.next(0, Part::Method { start: at }),
            },
            Part::Method { start } => {
                let len = scan::token_len(rest);
                match rest.get(len) {
                    None => self.next(len, part),
                    Some(b' ') if at + len > start => {
                        self.next(len + 1, Part::Target { start: at + len + 1 })
                    }
                    Some(_) => Found::End,
                }
            }
            Part::Target { start } => {
                let len = scan::visible_len(rest);
                if at + len - start > limits.target_len_max {
                    return Found::End;
                }
                match rest.get(len) {
                    None => self.next(len, part),
                    Some(b' ') if at + len > start => {
                        self.next(len + 1, Part::Version { start: at + len + 1 })
                    }
                    Some(_) => Found::End,
                }
            }
            Part::Version { start } => self.version(at - start, rest[0]),
            Part::VersionEnd => self.expect(b'\r', rest[0], Part::Lf),
            Part::Lf => match self.expect(b'\n', rest[0], Part::Line) {
                // Of a blank line the parser says nothing.
                Found::Nothing if at == 1 => self.next(0, Part::Blank),
                Found::Nothing => Found::Due,
                end => end,
            },
            Part::Line => match rest[0] {
                b'\r' => self.next(1, Part::LastLf),
                _ if self.fields >= limits.headers_max.min(HeaderSlots::COUNT) => Found::End,
                _ => {
                    self.fields += 1;
                    self.name(rest)
                }
            },
            Part::Name => self.name(rest),
            Part::Value => {
                let len = scan::value_len(rest);
                match rest.get(len) {
                    None => self.next(len, part),
                    Some(b'\r') => self.next(len + 1, Part::Lf),
                    Some(_) => Found::End,
                }
            }
            Part::LastLf | Part::Over => Found::End,
        }
    }

    fn version(&mut self, index: usize, byte: u8) -> Found {
        let fits = match b"HTTP/0.0"[index] {
            b'0' => byte.is_ascii_digit(),
            expected => byte == expected,
        };
        match index + 1 {
            _ if !fits => Found::End,
            // Whether the version is spoken here, the parser knows.
            VERSION_LEN => {
                self.next(1, Part::VersionEnd);
                Found::Due
            }
            _ => self.next(1, self.part),
        }
    }

    fn name(&mut self, rest: &[u8]) -> Found {
        let len = scan::token_len(rest);
        let is_empty = self.part == Part::Line && len == 0;
        match rest.get(len) {
            None => self.next(len, Part::Name),
            Some(b':') if !is_empty => self.next(len + 1, Part::Value),
            Some(_) => Found::End,
        }
    }

    fn expect(&mut self, expected: u8, byte: u8, next: Part) -> Found {
        if byte == expected { self.next(1, next) } else { Found::End }
    }

    /// Goes on after `len` bytes.
    fn next(&mut self, len: usize, part: Part) -> Found {
        self.at += len;
        self.part = part;
        Found::Nothing
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// At which of the bytes, counted from 1, another look is due.
    fn due(input: &str, limits: &Limits) -> Vec<usize> {
        let mut watch = HeadWatch::new();
        let is_due = |end: &usize| watch.is_due(&input.as_bytes()[..*end], limits);
        (1..=input.len()).filter(is_due).collect()
    }

    #[test]
    fn a_look_is_due_at_line_ends_and_after_a_version() {
        let input = "\r\nGET / HTTP/1.1\r\nHost: x\r\n\r\nand more";
        let line = "\r\nGET / HTTP/1.1".len();
        let (fields, end) = (line + 2 + "Host: x\r\n".len(), line + 2 + "Host: x\r\n\r\n".len());
        let head = [line, line + 2, fields];
        let behind: Vec<_> = (end..=input.len()).collect();
        assert_eq!(due(input, &Limits::default()), [&head[..], &behind].concat());
    }

    #[test]
    fn a_look_is_due_at_a_wrong_byte_and_ever_after() {
        for right in [
            "",
            "\r",
            "\r\n",
            "G",
            "GET /",
            "GET / ",
            "GET / HTT",
            "GET / HTTP/1.1\r",
            "GET / HTTP/1.1\r\nA",
            "GET / HTTP/1.1\r\nA: b",
            "GET / HTTP/1.1\r\nA: b\r",
            "GET / HTTP/1.1\r\nA: b\r\n\r",
        ] {
            let input = format!("{right}\0 \0");
            let at = right.len() + 1;
            let due = due(&input, &Limits::default());
            assert!(due.ends_with(&[at, at + 1, at + 2]), "{right:?}: {due:?}");
        }
        assert_eq!(due("\r\n GET", &Limits::default()), [3, 4, 5, 6], "an empty method");
        assert_eq!(due("GET  /", &Limits::default()), [5, 6], "an empty target");
        assert_eq!(due("GET / HTTP/1.1\r\n: b", &Limits::default()), [14, 16, 17, 18, 19]);
    }

    #[test]
    fn a_look_is_due_beyond_each_limit_and_not_before() {
        let limits = Limits::default();
        assert_eq!(due("GET /12", &limits.head_len_max(5)), [6, 7]);
        assert_eq!(due("GET /123", &limits.target_len_max(3)), [8]);
        let fields = "GET / HTTP/1.1\r\nA: b\r\nC: d";
        assert_eq!(due(fields, &limits.headers_max(2)), [14, 16, 22]);
        assert_eq!(due(fields, &limits.headers_max(1)), [14, 16, 22, 23, 24, 25, 26]);
    }
}
