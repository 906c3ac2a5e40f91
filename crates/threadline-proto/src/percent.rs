//! Percent-encoding (RFC 3986 §2.1): one component decoded, and paths in one spelling.
//!
//! Decoding comes after splitting: `%2F` in a segment is a slash in the text and no separator. A path is
//! compared and split in its normal form, and its components are decoded afterwards, once.

use std::borrow::Cow;
use std::fmt;

use memchr::memchr;

/// Why a component has no decoded text. The sender's fault: 400.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum DecodeError {
    /// A `%` without two hexadecimal digits behind it.
    Escape,
    /// The decoded bytes are not UTF-8.
    Utf8,
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            DecodeError::Escape => "a `%` must have two hexadecimal digits behind it",
            DecodeError::Utf8 => "it does not decode to UTF-8",
        })
    }
}

impl std::error::Error for DecodeError {}

/// Decodes one component. Borrows when there is nothing to decode.
///
/// # Errors
/// [`DecodeError`] when an escape is malformed or the result is not UTF-8.
pub fn decode(component: &str) -> Result<Cow<'_, str>, DecodeError> {
    let Some(first) = memchr(b'%', component.as_bytes()) else {
        return Ok(Cow::Borrowed(component));
    };
    let mut decoded = Vec::with_capacity(component.len());
    let (plain, mut rest) = component.as_bytes().split_at(first);
    decoded.extend_from_slice(plain);
    while let [byte, tail @ ..] = rest {
        let (byte, tail) = match (byte, tail) {
            (b'%', [high, low, tail @ ..]) => (hex(*high)? << 4 | hex(*low)?, tail),
            (b'%', _) => return Err(DecodeError::Escape),
            _ => (*byte, tail),
        };
        decoded.push(byte);
        rest = tail;
    }
    String::from_utf8(decoded).map(Cow::Owned).map_err(|_| DecodeError::Utf8)
}

/// Why a path has no normal form. The sender's fault: 400.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum PathError {
    /// A `%` without two hexadecimal digits after it.
    Escape,
    /// A segment is an encoded `.` or `..`, such as `%2e%2e`. Clients resolve such segments before they ask
    /// (RFC 3986 §5.2.4), encoded ones too (WHATWG URL); one that is left is meant for a recipient that
    /// decodes twice.
    DotSegment,
}

impl fmt::Display for PathError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            PathError::Escape => "a `%` in the path must have two hexadecimal digits after it",
            PathError::DotSegment => "the path has an encoded `.` or `..` for a segment",
        })
    }
}

impl std::error::Error for PathError {}

/// The normal form of a path: the spelling that all equivalent ones share (RFC 3986 §6.2.2).
///
/// Unreserved characters are not encoded, the digits of escapes are capitals, and what may not stand in a
/// path is encoded. Reserved characters stay as they are: `%2F` is not a separator, and `%3B` is not `;`. A path
/// without an escape is returned as it is.
///
/// # Errors
/// [`PathError`] when an escape is malformed, or stands for a `.` of a segment that is `.` or `..`.
///
/// ```
/// use threadline_proto::percent::{PathError, normalize};
///
/// assert_eq!(normalize("/%68ello/%c3%a9%2f").as_deref(), Ok("/hello/%C3%A9%2F"));
/// assert_eq!(normalize("/a/%2e%2e/b"), Err(PathError::DotSegment));
/// ```
#[inline]
pub fn normalize(path: &str) -> Result<Cow<'_, str>, PathError> {
    match memchr(b'%', path.as_bytes()) {
        None => Ok(Cow::Borrowed(path)),
        Some(_) => normalize_all(path),
    }
}

/// As [`normalize`], for a path without an escape too, which may be UTF-8.
///
/// # Errors
/// Those of [`normalize`].
#[cold]
pub fn normalize_all(path: &str) -> Result<Cow<'_, str>, PathError> {
    let mut normal = String::with_capacity(path.len());
    for (number, segment) in path.split('/').enumerate() {
        if number > 0 {
            normal.push('/');
        }
        let start = normal.len();
        normalize_segment(segment.as_bytes(), &mut normal)?;
        let made = &normal[start..];
        if matches!(made, "." | "..") && made != segment {
            return Err(PathError::DotSegment);
        }
    }
    Ok(if normal == path { Cow::Borrowed(path) } else { Cow::Owned(normal) })
}

fn normalize_segment(mut rest: &[u8], normal: &mut String) -> Result<(), PathError> {
    while let [byte, tail @ ..] = rest {
        let (byte, is_escaped, tail) = match (byte, tail) {
            (b'%', [high, low, tail @ ..]) => {
                let digit = |digit| hex(digit).map_err(|_| PathError::Escape);
                (digit(*high)? << 4 | digit(*low)?, true, tail)
            }
            (b'%', _) => return Err(PathError::Escape),
            _ => (*byte, false, tail),
        };
        if is_unreserved(byte) || (!is_escaped && is_delimiter(byte)) {
            normal.push(char::from(byte));
        } else {
            normal.push('%');
            for digit in [byte >> 4, byte & 15] {
                normal.push(char::from(b"0123456789ABCDEF"[usize::from(digit)]));
            }
        }
        rest = tail;
    }
    Ok(())
}

/// `unreserved` (RFC 3986 §2.3): the same whether encoded or not.
const fn is_unreserved(byte: u8) -> bool {
    matches!(byte, b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~')
}

/// What else may stand in a segment as it is (RFC 3986 §3.3).
const fn is_delimiter(byte: u8) -> bool {
    matches!(
        byte,
        b'!' | b'$' | b'&' | b'\'' | b'(' | b')' | b'*' | b'+' | b',' | b';' | b'=' | b':' | b'@'
    )
}

fn hex(digit: u8) -> Result<u8, DecodeError> {
    match digit {
        b'0'..=b'9' => Ok(digit - b'0'),
        b'a'..=b'f' => Ok(digit - b'a' + 10),
        b'A'..=b'F' => Ok(digit - b'A' + 10),
        _ => Err(DecodeError::Escape),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_normal_form_is_its_own_and_says_the_same(path in "(/([!-~]|%[0-9a-fA-F]{2}){0,6}){1,4}") {
            if let Ok(normal) = normalize(&path) {
                let again = normalize(&normal).map(Cow::into_owned);
                prop_assert_eq!(again.as_deref(), Ok(&*normal));
                let components = |path: &str| -> Vec<_> {
                    path.split('/').map(|part| decode(part).map(Cow::into_owned)).collect()
                };
                prop_assert_eq!(components(&normal), components(&path));
            }
        }
    }

    #[test]
    fn plain_text_is_borrowed() {
        assert!(matches!(decode("plain+text"), Ok(Cow::Borrowed("plain+text"))));
    }

    #[test]
    fn escapes_are_decoded_once() {
        assert_eq!(decode("%C3%A4%2f%2541").as_deref(), Ok("ä/%41"));
    }

    #[test]
    fn rfc3986_6_2_2_equivalent_paths_have_one_normal_form() {
        for (path, normal) in [
            ("/", "/"),
            ("", ""),
            ("/%68ello", "/hello"),
            ("/%68%65%6C%6c%6F", "/hello"),
            ("/%c3%a9%C3%A9", "/%C3%A9%C3%A9"),
            ("/%2d%2e%5F%7e%30", "/-._~0"),
            // Reserved characters are not the same as their escapes.
            ("/a%2fb%3b%3A", "/a%2Fb%3B%3A"),
            ("/a;b:%20", "/a;b:%20"),
            // What may not stand in a path means its escape.
            ("/a|b{%20}", "/a%7Cb%7B%20%7D"),
            ("/%7c%5b%5c", "/%7C%5B%5C"),
            // Once: what decodes to an escape is not one.
            ("/%2541", "/%2541"),
            ("/%00%7f%ff", "/%00%7F%FF"),
            ("//%61//", "//a//"),
            // Dots that are more than a segment, or do not come encoded.
            ("/%2e%2e%2e/a%2e/.b%2e", "/.../a./.b."),
            ("/../%61/.", "/../a/."),
            ("/%2e%2e%2f", "/..%2F"),
        ] {
            assert_eq!(normalize(path).as_deref(), Ok(normal), "{path}");
            assert_eq!(normalize(normal).as_deref(), Ok(normal), "{normal} is not its own");
            assert_eq!(normalize_all(path).as_deref(), Ok(normal), "{path}");
        }
        for same in ["/a|b", "/a%20b"] {
            assert!(matches!(normalize(same), Ok(Cow::Borrowed(text)) if text == same), "{same}");
        }
        assert_eq!(normalize_all("/\u{e9}|").as_deref(), Ok("/%C3%A9%7C"));
    }

    #[test]
    fn paths_that_could_be_read_in_two_ways_have_no_normal_form() {
        for path in ["/%", "/%4", "/a%4/b", "/%zz", "/%%41", "/%+1", "/ok/%6"] {
            assert_eq!(normalize(path), Err(PathError::Escape), "{path}");
        }
        for path in
            ["/%2e", "/%2e/", "/a/%2e%2e", "/a/%2E%2e/b", "/.%2e/b", "/%2e./b", "%2e", "/a/%2E/b"]
        {
            assert_eq!(normalize(path), Err(PathError::DotSegment), "{path}");
        }
    }

    #[test]
    fn errors_say_what_is_wrong() {
        assert!(DecodeError::Escape.to_string().contains("two hexadecimal digits"));
        assert!(DecodeError::Utf8.to_string().contains("UTF-8"));
        assert!(PathError::Escape.to_string().contains("two hexadecimal digits"));
        assert!(PathError::DotSegment.to_string().contains("encoded `.` or `..`"));
    }

    #[test]
    fn malformed_escapes_are_refused() {
        for text in ["%", "%4", "a%4", "%zz", "%+1", "%%41"] {
            assert_eq!(decode(text), Err(DecodeError::Escape), "{text}");
        }
    }

    #[test]
    fn overlong_and_broken_utf8_is_refused() {
        for text in ["%c0%af", "%ff", "%e2%82"] {
            assert_eq!(decode(text), Err(DecodeError::Utf8), "{text}");
        }
    }
}
