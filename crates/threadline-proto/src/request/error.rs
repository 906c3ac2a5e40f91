//! What can be wrong with a request head, and what the client is told.
//!
//! Every error here is the client's fault (or that of somebody between), and after each of them the
//! connection must be closed: where the next message would begin is not known for sure.

use std::fmt;

use crate::response::Status;

/// Why a request head is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ParseError {
    /// More than one blank line before the request line (RFC 9112 §2.2). 400.
    BlankLines,
    /// The method is not a token (RFC 9112 §3.1); also what a TLS hello looks like. 400.
    Method,
    /// The target is not of the form that its method asks for, or has a fragment, a control
    /// character, a space or a byte beyond ASCII in it (RFC 9112 §3.2). 400.
    Target,
    /// The target is longer than [`Limits::target_len_max`](crate::request::Limits). 414.
    TargetTooLong,
    /// The third word of the request line is no HTTP version (RFC 9112 §2.3). 400.
    Version,
    /// It is one that is not spoken here, HTTP/2's preface included (RFC 9110 §15.6.6). 505.
    VersionUnsupported,
    /// A line does not end in `CR LF`: bare `LF`, bare `CR` (RFC 9112 §2.2). 400.
    LineEnd,
    /// A field name is empty, no token, has space before its colon or no colon; or the line begins
    /// with space, that is, an obsolete folding (RFC 9112 §5.1, §5.2). 400.
    HeaderName,
    /// A field value has a control character in it (RFC 9110 §5.5). 400.
    HeaderValue,
    /// The head is longer than [`Limits::head_len_max`](crate::request::Limits) (RFC 6585 §5). 431.
    HeadTooLarge,
    /// More fields than [`Limits::headers_max`](crate::request::Limits). 431.
    TooManyHeaders,
    /// An HTTP/1.1 request without `Host` (RFC 9112 §3.2). 400.
    HostMissing,
    /// `Host` twice (RFC 9112 §3.2). 400.
    HostDuplicate,
    /// `Host` is not a host with an optional port (RFC 9112 §3.2, RFC 9110 §4.2). 400.
    HostInvalid,
    /// The target names another host than `Host` does (RFC 9112 §3.2.2 lets the target win; two
    /// recipients that disagree on this can be played off against each other). 400.
    HostMismatch,
    /// `Content-Length` is not a row of at most 19 digits (RFC 9112 §6.3). 400.
    ContentLength,
    /// `Content-Length` twice, even with the same value (RFC 9112 §6.3). 400.
    ContentLengthDuplicate,
    /// `Content-Length` and `Transfer-Encoding` (RFC 9112 §6.1). 400.
    FramedTwice,
    /// `Transfer-Encoding` in HTTP/1.0 (RFC 9112 §6.1). 400.
    TransferEncodingIn10,
    /// `Transfer-Encoding` does not end in exactly one `chunked` (RFC 9112 §6.3). 400.
    TransferEncoding,
    /// `Transfer-Encoding` has a coding that is not known here before a final `chunked`
    /// (RFC 9112 §6.1). 501.
    TransferCodingUnknown,
    /// A field that becomes `Content-Length` or `Transfer-Encoding` when `_` is taken for `-`, as
    /// gateways do that make variables of names (RFC 3875 §4.1.18): framing for them, and none here.
    /// 400.
    FramingLookalike,
    /// `Expect` asks for something else than `100-continue` (RFC 9110 §10.1.1). 417.
    Expectation,
}

impl ParseError {
    /// The status that answers it.
    pub fn status(self) -> Status {
        match self {
            ParseError::TargetTooLong => Status::URI_TOO_LONG,
            ParseError::VersionUnsupported => Status::HTTP_VERSION_NOT_SUPPORTED,
            ParseError::HeadTooLarge | ParseError::TooManyHeaders => {
                Status::REQUEST_HEADER_FIELDS_TOO_LARGE
            }
            ParseError::TransferCodingUnknown => Status::NOT_IMPLEMENTED,
            ParseError::Expectation => Status::EXPECTATION_FAILED,
            _ => Status::BAD_REQUEST,
        }
    }

    /// One line that tells the client's author what to mend. Never has input in it.
    pub fn hint(self) -> &'static str {
        match self {
            ParseError::BlankLines => "more than one blank line before the request line",
            ParseError::Method => "this is no HTTP request line; is the client speaking TLS?",
            ParseError::Target => {
                "the request target is malformed; spaces and what is not ASCII must be percent-encoded"
            }
            ParseError::TargetTooLong => "the request target is too long",
            ParseError::Version => {
                "the request line must end in HTTP/1.1; a space in its target must be percent-encoded"
            }
            ParseError::VersionUnsupported => "only HTTP/1.1 and HTTP/1.0 are spoken here",
            ParseError::LineEnd => "every line of a head must end in CR LF",
            ParseError::HeaderName => "a header line must be a token, a colon and a value",
            ParseError::HeaderValue => "a header value has a control character in it",
            ParseError::HeadTooLarge => "the request head is too large",
            ParseError::TooManyHeaders => "the request has too many headers",
            ParseError::HostMissing => "an HTTP/1.1 request must have a Host header",
            ParseError::HostDuplicate => "there must be only one Host header",
            ParseError::HostInvalid => "the Host header must be a host and an optional port",
            ParseError::HostMismatch => "the request target and the Host header differ",
            ParseError::ContentLength => "Content-Length must be a decimal number",
            ParseError::ContentLengthDuplicate => "there must be only one Content-Length header",
            ParseError::FramedTwice => "Content-Length and Transfer-Encoding exclude each other",
            ParseError::TransferEncodingIn10 => "HTTP/1.0 has no Transfer-Encoding",
            ParseError::TransferEncoding => "Transfer-Encoding must be exactly `chunked`",
            ParseError::TransferCodingUnknown => "only the transfer coding `chunked` is known",
            ParseError::FramingLookalike => "a framing header must be written with a hyphen",
            ParseError::Expectation => "only `Expect: 100-continue` is known",
        }
    }
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.hint())
    }
}

impl std::error::Error for ParseError {}
