//! Writes a response behind whatever the connection has to send already.
//!
//! The one place where a handler's header fields meet the wire, and where a message's framing is
//! decided. It appends; what it wrote of a bad response it takes back.

use threadline_proto::Method;
use threadline_proto::request::{Head, Version};
use threadline_proto::response::{HeadWriter, HeaderError, Payload, Persistence, Status};

use crate::date;
use crate::response::Response;

/// How a response is to be written, whatever it says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Manner {
    pub(crate) content: Content,
    pub(crate) persistence: Persistence,
}

/// Whether the content follows the head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Content {
    Sent,
    /// The request was a `HEAD`: all fields as for `GET`, and no content (RFC 9110 §9.3.2).
    LeftOut,
}

impl Manner {
    /// As fits a request.
    #[inline]
    pub(crate) fn answering(head: &Head<'_, '_>) -> Self {
        let content = if head.method == Method::Head { Content::LeftOut } else { Content::Sent };
        let persistence = match (head.keep_alive, head.version) {
            (false, _) => Persistence::Close,
            (true, Version::Http11) => Persistence::Implied,
            (true, Version::Http10) => Persistence::KeepAlive,
        };
        Manner { content, persistence }
    }

    /// As fits a request that was not understood. If it may have been a `HEAD`, content would be
    /// taken for the next response.
    pub(crate) fn refusing(input: &[u8]) -> Self {
        let content = if input.starts_with(b"HEAD ") { Content::LeftOut } else { Content::Sent };
        Manner { content, persistence: Persistence::Close }
    }

    /// The same, and the connection ends.
    pub(crate) fn closing(self) -> Self {
        Manner { persistence: Persistence::Close, ..self }
    }

    /// Whether the connection ends behind the response.
    pub(crate) fn closes(self) -> bool {
        self.persistence == Persistence::Close
    }
}

/// Writes a response of the service's own.
#[cold]
pub(crate) fn write_own(out: &mut Vec<u8>, response: &Response, manner: Manner) {
    let start = out.len();
    if write(out, response, manner).is_err() {
        // Not with the responses made here; a plain status is always right.
        out.truncate(start);
        HeadWriter::with_date(out, Status::INTERNAL_SERVER_ERROR, &date::preamble())
            .finish(Payload::Length(0), manner.persistence);
    }
}

/// Writes a response. When it is refused, `out` is as it was.
///
/// # Errors
/// The name of the header field that is refused, and why.
#[inline]
pub(crate) fn write<'r>(
    out: &mut Vec<u8>,
    response: &'r Response,
    manner: Manner,
) -> Result<(), (&'r str, HeaderError)> {
    let start = out.len();
    let written = append(out, response, manner);
    if written.is_err() {
        out.truncate(start);
    }
    written
}

#[inline]
fn append<'r>(
    out: &mut Vec<u8>,
    response: &'r Response,
    manner: Manner,
) -> Result<(), (&'r str, HeaderError)> {
    let content = response.body.as_bytes();
    // Room for a head of the usual size, so that the buffer grows once if at all.
    out.reserve(256 + content.len());
    let mut writer = HeadWriter::with_date(out, response.status, &date::preamble());
    if let Some(media_type) = &response.content_type {
        writer.content_type(media_type).map_err(|error| ("content-type", error))?;
    }
    for (name, value) in &response.headers {
        writer.header(name, value.as_bytes()).map_err(|error| (&**name, error))?;
    }
    writer.finish(Payload::Length(content.len()), manner.persistence);
    if manner.content == Content::Sent && !response.status.forbids_content() {
        out.extend_from_slice(content);
    }
    Ok(())
}
