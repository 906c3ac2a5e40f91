//! [`HeaderValue`]: the value of a response's header field.
//!
//! Text nearly always. Values may also have bytes that are not UTF-8 (`obs-text`, RFC 9110 §5.5), which a
//! program that passes on what it was sent must not change. Not checked here: the writer refuses control
//! characters.

use std::borrow::Cow;
use std::fmt;

/// The value of a header field: made of text or of bytes.
///
/// ```
/// use threadline_http::{HeaderValue, Response};
///
/// // "naïve", in Latin-1.
/// let response = Response::text("").with_header("x-a", "text").with_header("x-b", b"na\xefve");
/// assert_eq!((response.header("x-a"), response.header("x-b")), (Some("text"), None));
/// assert_eq!(response.header_bytes("x-b"), Some(&b"na\xefve"[..]));
/// assert_eq!(HeaderValue::from("text").to_str(), Some("text"));
/// ```
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct HeaderValue(Cow<'static, [u8]>);

impl HeaderValue {
    /// A value that is known when the program is compiled.
    pub const fn from_static(text: &'static str) -> Self {
        HeaderValue(Cow::Borrowed(text.as_bytes()))
    }

    /// Its bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Its text; `None` if it is not UTF-8.
    pub fn to_str(&self) -> Option<&str> {
        str::from_utf8(&self.0).ok()
    }

    /// A copy of its text, which for a literal is the literal.
    pub(crate) fn to_text(&self) -> Option<Cow<'static, str>> {
        match &self.0 {
            Cow::Borrowed(text) => str::from_utf8(text).ok().map(Cow::Borrowed),
            Cow::Owned(text) => str::from_utf8(text).ok().map(|text| Cow::Owned(text.to_owned())),
        }
    }
}

impl From<&'static str> for HeaderValue {
    fn from(text: &'static str) -> Self {
        HeaderValue::from_static(text)
    }
}

impl From<String> for HeaderValue {
    fn from(text: String) -> Self {
        HeaderValue(Cow::Owned(text.into_bytes()))
    }
}

impl From<Cow<'static, str>> for HeaderValue {
    fn from(text: Cow<'static, str>) -> Self {
        match text {
            Cow::Borrowed(text) => text.into(),
            Cow::Owned(text) => text.into(),
        }
    }
}

impl From<&'static [u8]> for HeaderValue {
    fn from(bytes: &'static [u8]) -> Self {
        HeaderValue(Cow::Borrowed(bytes))
    }
}

impl<const LEN: usize> From<&'static [u8; LEN]> for HeaderValue {
    fn from(bytes: &'static [u8; LEN]) -> Self {
        HeaderValue(Cow::Borrowed(bytes))
    }
}

impl From<Vec<u8>> for HeaderValue {
    fn from(bytes: Vec<u8>) -> Self {
        HeaderValue(Cow::Owned(bytes))
    }
}

impl From<Cow<'static, [u8]>> for HeaderValue {
    fn from(bytes: Cow<'static, [u8]>) -> Self {
        HeaderValue(bytes)
    }
}

/// By their bytes.
impl PartialEq<str> for HeaderValue {
    fn eq(&self, text: &str) -> bool {
        self.as_bytes() == text.as_bytes()
    }
}

/// By their bytes.
impl PartialEq<[u8]> for HeaderValue {
    fn eq(&self, bytes: &[u8]) -> bool {
        self.as_bytes() == bytes
    }
}

impl fmt::Debug for HeaderValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.0.escape_ascii())
    }
}
