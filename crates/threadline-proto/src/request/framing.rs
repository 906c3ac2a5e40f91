//! Where a message ends (RFC 9112 §6): the rules that request smuggling is about.
//!
//! One rule stands above the others: whenever two recipients could come to different ends, the
//! request is refused.

use crate::request::{ParseError, Version};
use crate::token::list;

/// What follows a request head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Body {
    /// Nothing: no framing field, or a length of 0.
    Empty,
    /// So many bytes, at least 1.
    Length(u64),
    /// Chunks until the last one (RFC 9112 §7.1).
    Chunked,
}

/// What the framing fields said, collected while walking over them.
#[derive(Debug, Default)]
pub(super) struct Framing {
    length: Option<u64>,
    coding: Option<Coding>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Coding {
    /// `chunked` has come, and so nothing may follow.
    Chunked,
    /// One that is not known here, and `chunked` has not come yet.
    Unknown,
    /// A coding that is not known, then `chunked`.
    UnknownChunked,
}

impl Framing {
    /// A `Content-Length` field.
    #[inline]
    pub(super) fn content_length(&mut self, value: &[u8]) -> Result<(), ParseError> {
        if self.length.is_some() {
            return Err(ParseError::ContentLengthDuplicate);
        }
        self.length = Some(decimal(value).ok_or(ParseError::ContentLength)?);
        Ok(())
    }

    /// A `Transfer-Encoding` field. Several make one list (RFC 9110 §5.3).
    #[cold]
    pub(super) fn transfer_encoding(&mut self, value: &[u8]) -> Result<(), ParseError> {
        for name in list(value) {
            let is_chunked = name.eq_ignore_ascii_case(b"chunked");
            self.coding = Some(match (self.coding, is_chunked) {
                (None, true) => Coding::Chunked,
                (Some(Coding::Unknown), true) => Coding::UnknownChunked,
                // `chunked` twice, or not last.
                (Some(Coding::Chunked | Coding::UnknownChunked), _) => {
                    return Err(ParseError::TransferEncoding);
                }
                (None | Some(Coding::Unknown), false) if is_known_elsewhere(name) => {
                    Coding::Unknown
                }
                // Empty elements, parameters, `identity`, misspellings of `chunked`.
                (None | Some(Coding::Unknown), false) => return Err(ParseError::TransferEncoding),
            });
        }
        Ok(())
    }

    /// The verdict, once all fields have been seen.
    #[inline]
    pub(super) fn body(&self, version: Version) -> Result<Body, ParseError> {
        match (self.coding, self.length) {
            (None, None | Some(0)) => Ok(Body::Empty),
            (None, Some(length)) => Ok(Body::Length(length)),
            (Some(_), Some(_)) => Err(ParseError::FramedTwice),
            (Some(_), None) if version == Version::Http10 => Err(ParseError::TransferEncodingIn10),
            (Some(Coding::Chunked), None) => Ok(Body::Chunked),
            (Some(Coding::UnknownChunked), None) => Err(ParseError::TransferCodingUnknown),
            // Without a final `chunked` the end is not known (§6.3, 4.).
            (Some(Coding::Unknown), None) => Err(ParseError::TransferEncoding),
        }
    }
}

/// The other codings of the registry (RFC 9110 §18.6): they get 501 and not 400, since a sender may
/// well mean them.
fn is_known_elsewhere(name: &[u8]) -> bool {
    [&b"gzip"[..], b"x-gzip", b"deflate", b"compress", b"x-compress"]
        .iter()
        .any(|known| known.eq_ignore_ascii_case(name))
}

/// `1*DIGIT`, at most 19 of them: more cannot be told from an overflow by everybody.
fn decimal(text: &[u8]) -> Option<u64> {
    if text.is_empty() || text.len() > 19 {
        return None;
    }
    text.iter().try_fold(0_u64, |sum, byte| {
        let digit = byte.wrapping_sub(b'0');
        (digit < 10).then(|| sum * 10 + u64::from(digit))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(encodings: &[&str], lengths: &[&str]) -> Result<Body, ParseError> {
        let mut framing = Framing::default();
        for value in encodings {
            framing.transfer_encoding(value.as_bytes())?;
        }
        for value in lengths {
            framing.content_length(value.as_bytes())?;
        }
        framing.body(Version::Http11)
    }

    #[test]
    fn rfc9112_6_3_no_field_means_no_body() {
        assert_eq!(verdict(&[], &[]), Ok(Body::Empty));
        assert_eq!(verdict(&[], &["0"]), Ok(Body::Empty));
    }

    #[test]
    fn rfc9112_6_2_content_length_is_digits_alone() {
        assert_eq!(verdict(&[], &["5"]), Ok(Body::Length(5)));
        assert_eq!(
            verdict(&[], &["9999999999999999999"]),
            Ok(Body::Length(9_999_999_999_999_999_999))
        );
        for value in [
            "",
            "+5",
            "-1",
            "-0",
            "0x5",
            "1_0",
            "1 0",
            "5, 5",
            "5,6",
            "5,",
            "5.0",
            "1e3",
            "٥",
            "\"5\"",
            "18446744073709551616",
            "00000000000000000005",
            "5;",
            // The neighbours of the digits: as one, `1:` would be 20.
            "1:",
            "1/",
            ":",
            "/",
            "\u{b}5",
        ] {
            assert_eq!(verdict(&[], &[value]), Err(ParseError::ContentLength), "{value}");
        }
    }

    #[test]
    fn rfc9112_6_3_content_length_twice_is_refused_even_if_equal() {
        assert_eq!(verdict(&[], &["5", "5"]), Err(ParseError::ContentLengthDuplicate));
        assert_eq!(verdict(&[], &["5", "6"]), Err(ParseError::ContentLengthDuplicate));
    }

    #[test]
    fn rfc9112_6_1_transfer_encoding_excludes_content_length() {
        assert_eq!(verdict(&["chunked"], &["5"]), Err(ParseError::FramedTwice));
        assert_eq!(verdict(&["chunked"], &["0"]), Err(ParseError::FramedTwice));
        assert_eq!(verdict(&["gzip, chunked"], &["5"]), Err(ParseError::FramedTwice));
    }

    #[test]
    fn rfc9112_6_1_chunked_is_known_in_any_case() {
        assert_eq!(verdict(&["chunked"], &[]), Ok(Body::Chunked));
        assert_eq!(verdict(&["Chunked"], &[]), Ok(Body::Chunked));
    }

    #[test]
    fn rfc9112_6_3_chunked_is_last_and_once() {
        for values in [
            &["xchunked"][..],
            &["identity"],
            &["chunked, chunked"],
            &["chunked", "chunked"],
            &["chunked;p=1"],
            &[",chunked"],
            &["chunked,"],
            &[""],
            &["chunked, gzip"],
            &["gzip"],
            &["chunked", "gzip"],
            &["\u{b}chunked"],
            &["chunked\0"],
            &["identity, chunked"],
            &["\"chunked\""],
            &["chunked gzip"],
            &["cow"],
            &["cow, chunked"],
        ] {
            assert_eq!(verdict(values, &[]), Err(ParseError::TransferEncoding), "{values:?}");
        }
    }

    #[test]
    fn rfc9112_6_1_registered_codings_are_not_implemented() {
        assert_eq!(verdict(&["gzip, chunked"], &[]), Err(ParseError::TransferCodingUnknown));
        assert_eq!(verdict(&["x-gzip", "chunked"], &[]), Err(ParseError::TransferCodingUnknown));
    }

    #[test]
    fn rfc9112_6_1_http_1_0_has_no_transfer_encoding() {
        let mut framing = Framing::default();
        framing.transfer_encoding(b"chunked").expect("well-formed");
        assert_eq!(framing.body(Version::Http10), Err(ParseError::TransferEncodingIn10));
    }
}
