//! Writes one response head.
//!
//! Called once per response, by the service and never by user code, on a buffer that may hold
//! earlier responses: it only appends, and on a refused field the caller truncates.

use std::fmt;

use crate::response::{Preamble, Status};
use crate::token::{is_field_value, is_token};

/// Appends a response head to a buffer.
///
/// ```
/// use threadline_proto::response::{HeadWriter, HeaderError, Payload, Persistence, Status};
///
/// let mut out = Vec::new();
/// let mut writer = HeadWriter::new(&mut out, Status::OK);
/// writer.header("etag", b"\"1\"")?;
/// // Response splitting stops here.
/// assert_eq!(writer.header("location", b"/\r\nset-cookie: a=b"), Err(HeaderError::Value));
/// // So does a second opinion on the framing.
/// assert_eq!(writer.header("Content-Length", b"3"), Err(HeaderError::Reserved));
/// writer.finish(Payload::Length(2), Persistence::Close);
/// out.extend_from_slice(b"ok");
/// assert_eq!(
///     out,
///     b"HTTP/1.1 200 OK\r\netag: \"1\"\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok"
/// );
/// # Ok::<(), HeaderError>(())
/// ```
#[derive(Debug)]
#[must_use = "a head must be finished, or the buffer truncated"]
pub struct HeadWriter<'o> {
    out: &'o mut Vec<u8>,
    status: Status,
}

/// What follows the head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Payload {
    /// So many bytes, or the answer to a `HEAD` that would have had so many. Nothing is said of
    /// them where the status forbids content (RFC 9110 §8.6). A `205` always has none, and says so,
    /// whatever is asked for here (RFC 9110 §15.3.6).
    Length(usize),
    /// Chunks, written by [`chunked::Encoder`](crate::body::chunked::Encoder), or the answer to a
    /// `HEAD` that would have had them. Only for HTTP/1.1 clients (RFC 9112 §6.1); for those of
    /// HTTP/1.0 there is `UntilClose`. Where the status forbids content nothing is said.
    Chunked,
    /// Content of a length that nobody knows, up to the end of the connection (RFC 9112 §6.3). The
    /// head always says `connection: close` then, unless the status forbids content.
    UntilClose,
    /// Nothing, and no length is known: an interim response, or a `304` whose length is not known.
    Unsaid,
}

/// What the head says about the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Persistence {
    /// Nothing: an HTTP/1.1 connection goes on.
    Implied,
    /// It goes on, for an HTTP/1.0 client that asked for it.
    KeepAlive,
    /// It ends behind this message.
    Close,
}

/// Why a header field is refused. Always the fault of whoever set it: 500.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum HeaderError {
    /// The name is not a token (RFC 9110 §5.1).
    Name,
    /// The value has a `CR`, `LF`, `NUL` or other control character in it, or whitespace around it
    /// (RFC 9110 §5.5).
    Value,
    /// The field belongs to the writer: framing, connection and date.
    Reserved,
    /// The field cannot be a trailer: who reads the content must know it first (RFC 9110 §6.5.1).
    Trailer,
}

impl fmt::Display for HeaderError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            HeaderError::Name => "a header name must be a token",
            HeaderError::Value => {
                "a header value must have no control characters, and no space around it"
            }
            HeaderError::Reserved => "this header is written by the server itself",
            HeaderError::Trailer => "this header must stand before the content, not behind it",
        })
    }
}

impl std::error::Error for HeaderError {}

/// Fields that say where a message ends or what becomes of the connection. A handler that could set
/// them could desynchronise the connection (RFC 9112 §11.1).
const RESERVED: [&str; 7] = [
    "content-length",
    "transfer-encoding",
    "connection",
    "keep-alive",
    "trailer",
    "upgrade",
    "date",
];

impl<'o> HeadWriter<'o> {
    /// Writes the status line.
    ///
    /// The version is always 1.1: it says what the server can do, not what the client asked in
    /// (RFC 9110 §6.2).
    #[inline]
    pub fn new(out: &'o mut Vec<u8>, status: Status) -> Self {
        if status == Status::OK {
            out.extend_from_slice(Preamble::STATUS_LINE);
        } else {
            write_status_line(out, status);
        }
        HeadWriter { out, status }
    }

    /// Writes the status line and the date, as every response to a request begins.
    #[inline(always)]
    pub fn with_date(out: &'o mut Vec<u8>, status: Status, preamble: &Preamble) -> Self {
        if status == Status::OK {
            out.extend_from_slice(preamble.bytes());
        } else {
            write_status_line(out, status);
            out.extend_from_slice(preamble.date_line());
        }
        HeadWriter { out, status }
    }

    /// Writes one field of the handler's.
    ///
    /// # Errors
    /// [`HeaderError`] when it would break the message; nothing is written then.
    pub fn header(&mut self, name: &str, value: &[u8]) -> Result<(), HeaderError> {
        if !is_token(name.as_bytes()) {
            return Err(HeaderError::Name);
        }
        if RESERVED.iter().any(|reserved| reserved.eq_ignore_ascii_case(name)) {
            return Err(HeaderError::Reserved);
        }
        self.checked(name, value)
    }

    /// Writes the media type of the content.
    ///
    /// # Errors
    /// [`HeaderError::Value`] when it would break the message; nothing is written then.
    #[inline(always)]
    pub fn content_type(&mut self, value: &[u8]) -> Result<(), HeaderError> {
        // What text and JSON are sent as: known to be fine, and copied as one. Compared as a whole, where a
        // pattern of bytes would be compared byte by byte.
        if value == b"text/plain; charset=utf-8" {
            self.out.extend_from_slice(b"content-type: text/plain; charset=utf-8\r\n");
        } else if value == b"application/json" {
            self.out.extend_from_slice(b"content-type: application/json\r\n");
        } else {
            return self.checked("content-type", value);
        }
        Ok(())
    }

    /// Writes that the server speaks another protocol: with `101`, from here on; with any other status,
    /// on demand (RFC 9110 §7.8, §15.5.22).
    ///
    /// # Errors
    /// [`HeaderError::Value`] when it is no name with an optional version; nothing is written then.
    pub fn upgrade(&mut self, protocol: &str) -> Result<(), HeaderError> {
        if !protocol.splitn(2, '/').all(|part| is_token(part.as_bytes())) {
            return Err(HeaderError::Value);
        }
        self.append("connection", b"upgrade");
        self.append("upgrade", protocol.as_bytes());
        Ok(())
    }

    /// Writes the framing and the empty line. The content, if any, comes right behind.
    #[inline(always)]
    pub fn finish(self, payload: Payload, persistence: Persistence) {
        let HeadWriter { out, status } = self;
        let payload = if status == Status::OK { payload } else { payload_of(status, payload) };
        match payload {
            Payload::Length(length) => {
                out.extend_from_slice(b"content-length: ");
                out.extend_from_slice(itoa::Buffer::new().format(length).as_bytes());
            }
            Payload::Chunked => out.extend_from_slice(b"transfer-encoding: chunked"),
            // The end of the connection is all there is to end the message.
            Payload::UntilClose => return out.extend_from_slice(b"connection: close\r\n\r\n"),
            Payload::Unsaid => return end_fields(out, persistence),
        }
        // One piece less than line after line.
        match persistence {
            Persistence::Implied => out.extend_from_slice(b"\r\n\r\n"),
            Persistence::KeepAlive | Persistence::Close => {
                out.extend_from_slice(b"\r\n");
                end_fields(out, persistence);
            }
        }
    }

    fn checked(&mut self, name: &str, value: &[u8]) -> Result<(), HeaderError> {
        if !is_field_value(value) {
            return Err(HeaderError::Value);
        }
        self.append(name, value);
        Ok(())
    }

    fn append(&mut self, name: &str, value: &[u8]) {
        self.out.extend_from_slice(name.as_bytes());
        self.out.extend_from_slice(b": ");
        self.out.extend_from_slice(value);
        self.out.extend_from_slice(b"\r\n");
    }
}

/// What follows the head of a response of this status.
#[inline]
fn payload_of(status: Status, payload: Payload) -> Payload {
    match status {
        _ if status.forbids_content() => Payload::Unsaid,
        Status::RESET_CONTENT => Payload::Length(0),
        _ => payload,
    }
}

/// Writes any status line; that of 200 stands ready.
#[cold]
fn write_status_line(out: &mut Vec<u8>, status: Status) {
    out.extend_from_slice(b"HTTP/1.1 ");
    out.extend_from_slice(itoa::Buffer::new().format(status.code()).as_bytes());
    // The space stays when the reason is empty (RFC 9112 §4).
    out.push(b' ');
    out.extend_from_slice(status.reason().as_bytes());
    out.extend_from_slice(b"\r\n");
}

/// Writes what the head says of the connection, and the empty line.
#[cold]
fn end_fields(out: &mut Vec<u8>, persistence: Persistence) {
    out.extend_from_slice(match persistence {
        Persistence::Implied => b"\r\n",
        Persistence::KeepAlive => b"connection: keep-alive\r\n\r\n",
        Persistence::Close => b"connection: close\r\n\r\n",
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(status: Status, payload: Payload, persistence: Persistence) -> String {
        let mut out = Vec::new();
        HeadWriter::new(&mut out, status).finish(payload, persistence);
        String::from_utf8(out).expect("ASCII")
    }

    #[test]
    fn rfc9112_6_3_statuses_without_content_have_no_length() {
        for status in [Status::CONTINUE, Status::NO_CONTENT, Status::NOT_MODIFIED] {
            assert!(!head(status, Payload::Length(3), Persistence::Implied).contains("length"));
        }
        assert!(head(Status::OK, Payload::Length(0), Persistence::Implied).contains("length: 0\r"));
    }

    #[test]
    fn rfc9110_15_3_6_a_205_says_that_it_has_no_content() {
        let expected = "HTTP/1.1 205 Reset Content\r\ncontent-length: 0\r\n\r\n";
        for payload in [Payload::Length(3), Payload::Chunked, Payload::UntilClose, Payload::Unsaid]
        {
            assert_eq!(head(Status::RESET_CONTENT, payload, Persistence::Implied), expected);
        }
    }

    #[test]
    fn a_head_begins_with_its_status_line_and_the_date() {
        let preamble = Preamble::new(b"Sun, 06 Nov 1994 08:49:37 GMT");
        for (status, line) in [(Status::OK, "200 OK"), (Status::NOT_FOUND, "404 Not Found")] {
            let mut out = b"earlier".to_vec();
            HeadWriter::with_date(&mut out, status, &preamble)
                .finish(Payload::Length(0), Persistence::Implied);
            let expected = format!(
                "earlierHTTP/1.1 {line}\r\ndate: Sun, 06 Nov 1994 08:49:37 GMT\r\n\
                 content-length: 0\r\n\r\n"
            );
            assert_eq!(String::from_utf8(out).expect("ASCII"), expected);
        }
    }

    #[test]
    fn every_media_type_is_written_or_refused() {
        for media_type in
            ["text/plain; charset=utf-8", "application/json", "text/html", "text/plain"]
        {
            let mut out = Vec::new();
            let mut writer = HeadWriter::new(&mut out, Status::OK);
            assert_eq!(writer.content_type(media_type.as_bytes()), Ok(()));
            writer.finish(Payload::Length(0), Persistence::Implied);
            let expected = format!(
                "HTTP/1.1 200 OK\r\ncontent-type: {media_type}\r\ncontent-length: 0\r\n\r\n"
            );
            assert_eq!(String::from_utf8(out).expect("ASCII"), expected);
        }
        for bad in ["text/plain\r\nx: y", "a\0", " text/plain", "text/plain\t"] {
            let mut out = Vec::new();
            let mut writer = HeadWriter::new(&mut out, Status::OK);
            let refused = writer.content_type(bad.as_bytes());
            assert_eq!(refused, Err(HeaderError::Value), "{bad:?}");
            writer.finish(Payload::Length(0), Persistence::Implied);
            assert_eq!(out, b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
        }
    }

    #[test]
    fn rfc9112_6_1_chunks_are_announced_where_there_may_be_content() {
        assert_eq!(
            head(Status::OK, Payload::Chunked, Persistence::Implied),
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
        );
        for status in [Status::SWITCHING_PROTOCOLS, Status::NO_CONTENT, Status::NOT_MODIFIED] {
            assert!(!head(status, Payload::Chunked, Persistence::Implied).contains("encoding"));
        }
    }

    #[test]
    fn rfc9112_6_3_content_without_an_end_closes_the_connection_whatever_is_asked() {
        for persistence in [Persistence::Implied, Persistence::KeepAlive, Persistence::Close] {
            assert_eq!(
                head(Status::OK, Payload::UntilClose, persistence),
                "HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n"
            );
        }
        let empty = head(Status::NO_CONTENT, Payload::UntilClose, Persistence::Implied);
        assert!(!empty.contains("close"));
    }

    #[test]
    fn rfc9112_4_an_unknown_status_keeps_the_space() {
        let status = Status::from_code(299).expect("three digits");
        assert_eq!(
            head(status, Payload::Unsaid, Persistence::KeepAlive),
            "HTTP/1.1 299 \r\nconnection: keep-alive\r\n\r\n"
        );
    }

    #[test]
    fn rfc9110_5_5_control_characters_in_values_are_refused() {
        let mut out = Vec::new();
        let mut writer = HeadWriter::new(&mut out, Status::OK);
        for value in [&b"a\rb"[..], b"a\nb", b"a\0b", b"\x7f", b"a\r\nb: c", b" a", b"a\t"] {
            assert_eq!(writer.header("x", value), Err(HeaderError::Value), "{value:?}");
        }
        for value in [&b""[..], b"a b", b"a\tb", "ä".as_bytes()] {
            assert_eq!(writer.header("x", value), Ok(()), "{value:?}");
        }
    }

    #[test]
    fn rfc9110_5_1_names_that_are_no_tokens_are_refused() {
        let mut out = Vec::new();
        let mut writer = HeadWriter::new(&mut out, Status::OK);
        for name in ["", "a b", "a:", "a\r\nb", "ä", "a\0"] {
            assert_eq!(writer.header(name, b"x"), Err(HeaderError::Name), "{name:?}");
        }
    }

    #[test]
    fn framing_fields_are_refused_in_any_case() {
        let mut out = Vec::new();
        let mut writer = HeadWriter::new(&mut out, Status::OK);
        for name in ["Content-Length", "TRANSFER-ENCODING", "connection", "Date", "Upgrade"] {
            assert_eq!(writer.header(name, b"1"), Err(HeaderError::Reserved), "{name}");
        }
    }

    #[test]
    fn rfc9110_7_8_an_upgrade_is_a_name_and_perhaps_a_version() {
        let mut out = Vec::new();
        let mut writer = HeadWriter::new(&mut out, Status::SWITCHING_PROTOCOLS);
        for bad in ["", "a b", "a\r\nb: c", "/1", "a/", "a/1/2", "a,b"] {
            assert_eq!(writer.upgrade(bad), Err(HeaderError::Value), "{bad:?}");
        }
        assert_eq!(writer.upgrade("echo/1.0"), Ok(()));
        writer.finish(Payload::Unsaid, Persistence::Implied);
        let head = "HTTP/1.1 101 Switching Protocols\r\n\
                    connection: upgrade\r\nupgrade: echo/1.0\r\n\r\n";
        assert_eq!(String::from_utf8(out).expect("ASCII"), head);
    }

    #[test]
    fn an_error_says_what_is_expected() {
        for (error, part) in [
            (HeaderError::Name, "must be a token"),
            (HeaderError::Value, "no control characters"),
            (HeaderError::Reserved, "written by the server"),
            (HeaderError::Trailer, "before the content"),
        ] {
            assert!(error.to_string().contains(part), "{error}");
        }
    }

    #[test]
    fn a_refused_field_leaves_no_trace() {
        let mut out = Vec::new();
        let mut writer = HeadWriter::new(&mut out, Status::OK);
        assert!(writer.header("x", b"\r").is_err());
        writer.finish(Payload::Length(0), Persistence::Implied);
        assert_eq!(out, b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
    }
}
