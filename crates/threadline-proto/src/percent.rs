//! Percent-decoding (RFC 3986 §2.1) of one component: a path segment, a query value.
//!
//! Decoding comes after splitting: `%2F` in a segment is a slash in the text and no separator.

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
    use super::*;

    #[test]
    fn plain_text_is_borrowed() {
        assert!(matches!(decode("plain+text"), Ok(Cow::Borrowed("plain+text"))));
    }

    #[test]
    fn escapes_are_decoded_once() {
        assert_eq!(decode("%C3%A4%2f%2541").as_deref(), Ok("ä/%41"));
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
