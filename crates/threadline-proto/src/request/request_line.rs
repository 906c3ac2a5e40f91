//! The words of the request line (RFC 9112 §3), each with the byte that ends it.

use crate::Method;
use crate::request::{ParseError, Version};
use crate::scan;

/// Why reading stops before the end of a head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stop {
    /// A rule is broken.
    Refused(ParseError),
    /// The bytes end here, and nothing is wrong so far. If there are more than a head may have,
    /// this is.
    Short(ParseError),
}

impl From<ParseError> for Stop {
    fn from(error: ParseError) -> Self {
        Stop::Refused(error)
    }
}

/// A request line, taken apart.
pub(super) struct RequestLine<'i> {
    pub(super) method: Method<'i>,
    /// Visible ASCII, at least one byte.
    pub(super) target: &'i [u8],
    /// How much of the target stands before its first `?` or `#`.
    pub(super) path_len: usize,
    pub(super) version: Version,
}

impl<'i> RequestLine<'i> {
    /// Reads the line that `text` begins with. Returns what is behind it, too.
    #[inline(always)]
    pub(super) fn read(text: &'i [u8], target_len_max: usize) -> Result<(Self, &'i [u8]), Stop> {
        let (method, text) = method(text)?;
        let path_len = scan::path_len(text);
        let (target, text) = target(text, path_len, target_len_max)?;
        let (version, text) = version(text)?;
        Ok((RequestLine { method, target, path_len, version }, text))
    }
}

/// The method and what follows it. The commonest two are known at a glance.
#[inline(always)]
fn method(text: &[u8]) -> Result<(Method<'_>, &[u8]), Stop> {
    if let Some(text) = text.strip_prefix(b"GET ") {
        return Ok((Method::Get, text));
    }
    if let Some(text) = text.strip_prefix(b"POST ") {
        return Ok((Method::Post, text));
    }
    any_method(text)
}

fn any_method(text: &[u8]) -> Result<(Method<'_>, &[u8]), Stop> {
    let (name, text) = text.split_at(scan::token_len(text));
    match (str::from_utf8(name), text) {
        (Ok(name), [b' ', text @ ..]) if !name.is_empty() => Ok((Method::from_token(name), text)),
        (_, []) => Err(Stop::Short(ParseError::Method)),
        _ => Err(ParseError::Method.into()),
    }
}

/// The target and what follows it. What it is made of is all that is looked at here; of that,
/// `path_len` bytes have been seen.
#[inline(always)]
fn target(text: &[u8], path_len: usize, len_max: usize) -> Result<(&[u8], &[u8]), Stop> {
    let len = match text.get(path_len) {
        Some(b'?' | b'#') => path_len + scan::visible_len(&text[path_len..]),
        _ => path_len,
    };
    let (target, text) = text.split_at(len);
    if len > len_max {
        return Err(ParseError::TargetTooLong.into());
    }
    match text {
        [b' ', text @ ..] if len > 0 => Ok((target, text)),
        [] => Err(Stop::Short(ParseError::TargetTooLong)),
        _ => Err(ParseError::Target.into()),
    }
}

/// The version and what follows its line.
#[inline(always)]
fn version(text: &[u8]) -> Result<(Version, &[u8]), Stop> {
    match text.strip_prefix(b"HTTP/1.1\r\n") {
        Some(text) => Ok((Version::Http11, text)),
        None => any_version(text),
    }
}

/// A well-formed version that is not spoken here gets another answer than nonsense, also when it
/// comes in pieces.
#[cold]
fn any_version(text: &[u8]) -> Result<(Version, &[u8]), Stop> {
    let shape = b"HTTP/0.0";
    let fits = text.iter().zip(shape).all(|(byte, expected)| match expected {
        b'0' => byte.is_ascii_digit(),
        _ => byte == expected,
    });
    if !fits {
        return Err(ParseError::Version.into());
    }
    let Some((version, text)) = text.split_at_checked(shape.len()) else {
        return Err(Stop::Short(ParseError::HeadTooLarge));
    };
    let version = match version {
        b"HTTP/1.1" => Version::Http11,
        b"HTTP/1.0" => Version::Http10,
        _ => return Err(ParseError::VersionUnsupported.into()),
    };
    match text {
        [b'\r', b'\n', text @ ..] => Ok((version, text)),
        [] | [b'\r'] => Err(Stop::Short(ParseError::HeadTooLarge)),
        _ => Err(ParseError::LineEnd.into()),
    }
}
