//! [`parse`]: one look at the bytes where a request should begin.
//!
//! `httparse` does the splitting, at SIMD speed, and is lenient in places. What it lets pass and we
//! do not is checked on its result, at a cost per line and not per byte: line ends (a bare `LF`),
//! blank lines before the request line, the forms of the target. What it refuses it names coarsely;
//! the errors are told apart here.

use memchr::{memchr, memmem};

use crate::Method;
use crate::request::fields::Findings;
use crate::request::{
    Form, Head, HeaderSlots, Headers, Limits, ParseError, Parsed, Target, Version, host,
};

/// Parses the head of the request that `input` begins with.
///
/// `input` may be a part of a head, or more than one message; only the first head is looked at, and
/// never more than [`Limits::head_len_max`] bytes.
///
/// # Errors
/// [`ParseError`] says which rule is broken. What the bytes behind it mean is then unknown: answer
/// [`ParseError::status`] and close.
pub fn parse<'h, 'i>(
    input: &'i [u8],
    slots: &'h mut HeaderSlots<'i>,
    limits: &Limits,
) -> Result<Parsed<'h, 'i>, ParseError> {
    let blank = blank_line_len(input)?;
    // One byte more than allowed: enough to see that a head is too long, and no more is looked at.
    let end = input.len().min(limits.head_len_max.saturating_add(1));
    let text = &input[blank.min(end)..end];

    let slots = &mut slots.slots[..limits.headers_max.min(HeaderSlots::COUNT)];
    let mut request = httparse::Request::new(&mut []);
    let len = match request.parse_with_uninit_headers(text, slots) {
        Ok(httparse::Status::Complete(len)) => len,
        Ok(httparse::Status::Partial) => {
            let is_too_long = end > limits.head_len_max;
            return judge_partial(&request, text, is_too_long, limits);
        }
        Err(httparse::Error::Version) => return judge_version(&request, text),
        Err(error) => return Err(judge(error, &request)),
    };
    let (Some(method), Some(target), Some(version)) =
        (request.method, request.path, request.version)
    else {
        // A complete parse has all three.
        return Err(ParseError::Method);
    };
    let headers: &'h [httparse::Header<'i>] = request.headers;

    if blank + len > limits.head_len_max {
        return Err(ParseError::HeadTooLarge);
    }
    if target.len() > limits.target_len_max {
        return Err(ParseError::TargetTooLong);
    }
    check_line_ends(&text[..len], headers)?;
    let method = Method::from_token(method);
    let version = if version == 1 { Version::Http11 } else { Version::Http10 };
    let target = Target::parse(method, target)?;
    let findings = Findings::collect(headers, version)?;
    if !matches!(target.form(), Form::Origin | Form::Asterisk) {
        check_authority(&target, findings.host)?;
    }
    Ok(Parsed::Head(Head {
        method,
        target,
        version,
        headers: Headers(headers),
        host: findings.host,
        len: blank + len,
        body: findings.framing.body(version)?,
        keep_alive: findings.persists(version),
        expects_continue: findings.expects_continue,
    }))
}

/// Whether [`parse`] can say more of `input` than it said of its first `seen` bytes, where it said
/// [`Parsed::Partial`] or the body was not whole.
///
/// Keeps a head that comes byte by byte from being parsed once per byte: only a line end, the end of
/// the head or the limit can change the verdict for good.
#[inline]
pub fn worth_parsing(input: &[u8], seen: usize, limits: &Limits) -> bool {
    let new = input.get(seen..).unwrap_or_default();
    seen == 0
        || input.len() > limits.head_len_max
        || memchr(b'\n', new).is_some()
        // The head was whole before: it is the body that has come.
        || memmem::find(input, b"\r\n\r\n").is_some()
}

/// Length of the blank line that some clients send behind a body (RFC 9112 §2.2): one is ignored.
#[inline]
fn blank_line_len(input: &[u8]) -> Result<usize, ParseError> {
    match input {
        [b'\r', b'\n', b'\r' | b'\n', ..] => Err(ParseError::BlankLines),
        [b'\r', b'\n', ..] => Ok(2),
        // Not more than a part of it yet.
        [b'\r'] => Ok(1),
        [b'\r' | b'\n', ..] => Err(ParseError::LineEnd),
        _ => Ok(0),
    }
}

/// Refuses a bare `LF` as line end, which `httparse` takes.
///
/// `httparse` has made sure that each `CR` has its `LF` behind it, and that names begin where their
/// line does. So the two bytes before each name end the line before it, and it is enough to look
/// there and at the end.
#[inline]
fn check_line_ends(head: &[u8], headers: &[httparse::Header<'_>]) -> Result<(), ParseError> {
    let start = head.as_ptr() as usize;
    let ends_well = headers.iter().all(|header| {
        let name_at = header.name.as_ptr() as usize - start;
        matches!(head.get(name_at.wrapping_sub(2)..name_at), Some(b"\r\n"))
    });
    if ends_well && head.ends_with(b"\r\n\r\n") { Ok(()) } else { Err(ParseError::LineEnd) }
}

/// A target that names a host must name the one that `Host` names.
#[cold]
fn check_authority(target: &Target<'_>, host: Option<&[u8]>) -> Result<(), ParseError> {
    let (authority, secure) = match target.form() {
        Form::Absolute { authority, secure } => (authority, secure),
        Form::Authority(authority) => (authority, true),
        Form::Origin | Form::Asterisk => return Ok(()),
    };
    match host {
        Some(host) if !host::is_same(authority.as_bytes(), host, secure) => {
            Err(ParseError::HostMismatch)
        }
        _ => Ok(()),
    }
}

/// What a head that has not ended may already have done wrong: it is too long.
#[cold]
fn judge_partial<'h, 'i>(
    request: &httparse::Request<'_, '_>,
    text: &[u8],
    is_too_long: bool,
    limits: &Limits,
) -> Result<Parsed<'h, 'i>, ParseError> {
    if let (Some(method), None) = (request.method, request.path)
        && text.len() - (method.len() + 1) > limits.target_len_max
    {
        return Err(ParseError::TargetTooLong);
    }
    match (is_too_long, request.method, request.path) {
        (false, ..) => Ok(Parsed::Partial),
        (true, None, _) => Err(ParseError::Method),
        (true, Some(_), None) => Err(ParseError::TargetTooLong),
        (true, Some(_), Some(_)) => Err(ParseError::HeadTooLarge),
    }
}

/// Says more precisely what `httparse` did not like.
#[cold]
fn judge(error: httparse::Error, request: &httparse::Request<'_, '_>) -> ParseError {
    match error {
        httparse::Error::Token if request.method.is_none() => ParseError::Method,
        httparse::Error::Token => ParseError::Target,
        httparse::Error::TooManyHeaders => ParseError::TooManyHeaders,
        httparse::Error::HeaderName => ParseError::HeaderName,
        httparse::Error::HeaderValue => ParseError::HeaderValue,
        httparse::Error::Version => ParseError::Version,
        httparse::Error::NewLine | httparse::Error::Status => ParseError::LineEnd,
    }
}

/// A well-formed version that is not spoken here gets another answer than nonsense, also when it
/// comes in pieces.
#[cold]
fn judge_version<'h, 'i>(
    request: &httparse::Request<'_, '_>,
    text: &[u8],
) -> Result<Parsed<'h, 'i>, ParseError> {
    let (Some(method), Some(target)) = (request.method, request.path) else {
        return Err(ParseError::Version);
    };
    let version = text.get(method.len() + target.len() + 2..).unwrap_or_default();
    let shape = b"HTTP/0.0";
    let fits = version.iter().zip(shape).all(|(byte, expected)| match expected {
        b'0' => byte.is_ascii_digit(),
        _ => byte == expected,
    });
    match (fits, version.len() < shape.len()) {
        (false, _) => Err(ParseError::Version),
        (true, true) => Ok(Parsed::Partial),
        (true, false) => Err(ParseError::VersionUnsupported),
    }
}
