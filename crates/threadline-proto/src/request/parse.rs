//! [`parse`]: one look at the bytes where a request should begin.
//!
//! Byte after byte in the order of the wire, and the first broken rule decides; so a head that comes
//! in pieces is refused for the same reason as one that comes whole. Nothing that RFC 9112 lets a
//! recipient tolerate is tolerated: a line ends in `CR LF`, one space parts the words of the request
//! line, a colon follows its name at once, and no line is folded.

use crate::request::fields::Findings;
use crate::request::headers::Field;
use crate::request::request_line::{RequestLine, Stop};
use crate::request::{
    Form, Head, HeaderSlots, Headers, Limits, ParseError, Parsed, Target, Version, host,
};
use crate::scan;
use crate::token::trim;

impl Stop {
    #[cold]
    fn verdict<'h, 'i>(self, is_too_long: bool) -> Result<Parsed<'h, 'i>, ParseError> {
        match self {
            Stop::Short(_) if !is_too_long => Ok(Parsed::Partial),
            Stop::Short(error) | Stop::Refused(error) => Err(error),
        }
    }
}

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
    parse_with(input, slots, limits, Findings::default())
}

/// As [`parse`], of a head whose `Expect` asks for something that is not known: that alone is no error. For
/// servers that want to know more of a request that [`ParseError::Expectation`] refuses.
///
/// # Errors
/// As [`parse`], but never [`ParseError::Expectation`].
#[cold]
pub fn parse_any_expectation<'h, 'i>(
    input: &'i [u8],
    slots: &'h mut HeaderSlots<'i>,
    limits: &Limits,
) -> Result<Parsed<'h, 'i>, ParseError> {
    parse_with(input, slots, limits, Findings::of_any_expectation())
}

#[inline(always)]
fn parse_with<'h, 'i>(
    input: &'i [u8],
    slots: &'h mut HeaderSlots<'i>,
    limits: &Limits,
    mut findings: Findings<'i>,
) -> Result<Parsed<'h, 'i>, ParseError> {
    let blank = blank_line_len(input)?;
    // One byte more than allowed: enough to see that a head is too long, and no more is looked at.
    let end = input.len().min(limits.head_len_max.saturating_add(1));
    let is_too_long = end > limits.head_len_max;

    let text = &input[blank.min(end)..end];
    let (line, text) = match RequestLine::read(text, limits.target_len_max) {
        Ok(read) => read,
        Err(stop) => return stop.verdict(is_too_long),
    };
    let RequestLine { method, target, path_len, version } = line;
    let Some(target) = Target::parse(method, target, path_len) else {
        return Err(ParseError::Target);
    };

    let behind = match read_fields(text, slots, limits, version, &mut findings) {
        Ok(behind) => behind,
        Err(stop) => return stop.verdict(is_too_long),
    };
    if is_too_long && behind.is_empty() {
        return Err(ParseError::HeadTooLarge);
    }
    let host = findings.host_of(version)?;
    if target.names_a_host() {
        check_authority(&target, host)?;
    }
    Ok(Parsed::Head(Head {
        method,
        target,
        version,
        headers: Headers(&slots.fields),
        host,
        len: end - behind.len(),
        body: findings.framing.body(version)?,
        keep_alive: findings.persists(version),
        expects_continue: findings.expects_continue,
        may_upgrade: findings.may_upgrade(version),
    }))
}

/// All field lines, and the empty one that ends them. Returns what is behind it.
#[inline(always)]
fn read_fields<'i>(
    mut text: &'i [u8],
    slots: &mut HeaderSlots<'i>,
    limits: &Limits,
    version: Version,
    findings: &mut Findings<'i>,
) -> Result<&'i [u8], Stop> {
    let headers_max = limits.headers_max.min(HeaderSlots::COUNT);
    let fields = &mut slots.fields;
    fields.clear();
    loop {
        if let Some(behind) = text.strip_prefix(b"\r\n") {
            return Ok(behind);
        }
        if fields.len() >= headers_max && !matches!(text, [] | [b'\r' | b'\n', ..]) {
            return Err(ParseError::TooManyHeaders.into());
        }
        let field;
        (field, text) = field_line(text)?;
        findings.add(field.name, field.value, version)?;
        fields.push(field);
    }
}

/// A field line (RFC 9112 §5) and what follows it.
#[inline(always)]
fn field_line(text: &[u8]) -> Result<(Field<'_>, &[u8]), Stop> {
    // A line that begins with whitespace is an obsolete folding (§5.2): no token, and so no name.
    // Nor is there one where whitespace stands before the colon (§5.1).
    let (name, text) = text.split_at(scan::token_len(text));
    let text = match text {
        // A space behind the colon is as good as always there.
        [b':', b' ', value @ ..] | [b':', value @ ..] if !name.is_empty() => value,
        _ => return Err(no_name(name, text)),
    };
    let (value, text) = text.split_at(scan::value_len(text));
    match text.strip_prefix(b"\r\n") {
        Some(text) => Ok((Field { name, value: trim(value) }, text)),
        None => Err(no_line_end(text)),
    }
}

/// Why what begins with `name` and goes on with `text` is no field line, nor the empty one.
#[cold]
fn no_name(name: &[u8], text: &[u8]) -> Stop {
    match (name, text) {
        (_, []) | ([], [b'\r']) => Stop::Short(ParseError::HeadTooLarge),
        ([], [b'\r' | b'\n', ..]) => ParseError::LineEnd.into(),
        _ => ParseError::HeaderName.into(),
    }
}

/// Why a field line does not end where its value does.
#[cold]
fn no_line_end(text: &[u8]) -> Stop {
    match text {
        [] | [b'\r'] => Stop::Short(ParseError::HeadTooLarge),
        [b'\n', ..] => ParseError::LineEnd.into(),
        _ => ParseError::HeaderValue.into(),
    }
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
