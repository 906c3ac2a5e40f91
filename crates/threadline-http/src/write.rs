//! Writes a response behind whatever the connection has to send already.
//!
//! The one place where a handler's header fields meet the wire, and where a message's framing is
//! decided. It appends; what it wrote of a bad response it takes back.

use std::cell::Cell;
use std::io;

use threadline_engine::{Bytes, Fill, Source, SourceError};
use threadline_proto::Method;
use threadline_proto::request::{Head, Version};
use threadline_proto::response::{HeadWriter, HeaderError, Payload, Persistence, Status};

use crate::body::{Body, Extent, Framing, Kind, PushFraming, ReadSource};
use crate::date;
use crate::exchange::Line;
use crate::fault::Fault;
use crate::response::Response;

/// Up to here content is copied behind its head, so that several responses go out at once. A longer one is sent from
/// where it is: 64 KB.
pub(crate) const COPIED_MAX: usize = 64 * 1024;

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
    /// The request was a `HEAD`, and is answered by what answers `GET`: all fields as for that, and no
    /// content (RFC 9110 §9.3.2).
    LeftOut,
    /// The request was a `HEAD`, and its handler answers no `GET`: an empty body says nothing of the length
    /// that the content of `GET` would have.
    Undeclared,
    /// The request was a `CONNECT`: the client takes what follows a 2xx for a tunnel (RFC 9110 §9.3.6).
    Tunnel,
}

impl Manner {
    /// As fits a request.
    #[inline]
    pub(crate) fn answering(head: &Head<'_, '_>) -> Self {
        let content = match head.method {
            Method::Head => Content::LeftOut,
            Method::Connect => Content::Tunnel,
            _ => Content::Sent,
        };
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

    /// As fits a handler that does not answer `GET`.
    #[inline]
    pub(crate) fn without_get(self) -> Self {
        match self.content {
            Content::LeftOut => Manner { content: Content::Undeclared, ..self },
            _ => self,
        }
    }

    /// Whether nothing has to be known but the response.
    #[inline]
    pub(crate) fn is_plain(self) -> bool {
        matches!(self.content, Content::Sent | Content::LeftOut)
    }

    fn leaves_content_out(self) -> bool {
        matches!(self.content, Content::LeftOut | Content::Undeclared)
    }

    /// The same, and the connection ends.
    pub(crate) fn closing(self) -> Self {
        Manner { persistence: Persistence::Close, ..self }
    }

    /// Whether the connection ends behind the response.
    pub(crate) fn closes(self) -> bool {
        self.persistence == Persistence::Close
    }

    /// What becomes of the connection behind a response that is whole.
    pub(crate) fn after(self) -> After {
        if self.closes() { After::Close } else { After::Next }
    }
}

/// Writes a response of the service's own.
#[cold]
pub(crate) fn write_own(out: &mut Vec<u8>, response: &Response, manner: Manner) {
    let start = out.len();
    if write(out, response, manner).is_err() {
        // Not with the responses made here; a plain status is always right.
        out.truncate(start);
        begin(out, Status::INTERNAL_SERVER_ERROR).finish(Payload::Length(0), manner.persistence);
    }
}

/// What becomes of the connection behind a response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum After {
    Next,
    Close,
    Push,
    /// It is not there yet.
    Later,
}

/// Sends a response that is more than bytes behind a head: they are left in `out` for the engine, and
/// everything else is sent on the line; what stood in `out` before goes first.
pub(crate) struct Responder<'e, L> {
    pub(crate) line: &'e mut L,
    pub(crate) out: &'e mut Vec<u8>,
    pub(crate) manner: Manner,
    pub(crate) is_http_11: bool,
    /// Something of the response is on its way: it cannot become another.
    pub(crate) begun: &'e Cell<bool>,
}

/// Why a response is not sent as the handler has made it.
#[derive(Debug)]
pub(crate) enum Failure {
    /// It must not be sent: nothing of it is.
    Refused(Fault),
    /// The client is gone.
    Line(io::Error),
    /// The body could not be made, or is not as long as it said.
    Body(io::Error),
}

/// The length that a handler of `HEAD` alone declares: the field, or the body beside it. The field is taken
/// out of the response; the writer writes it.
fn declared(response: &mut Response) -> Result<Option<u64>, Fault> {
    const NAME: &str = "content-length";
    let is_unsaid = response.body.as_bytes().is_some_and(<[u8]>::is_empty);
    let of_body = if is_unsaid { None } else { response.body.len() };
    let (field, another) = {
        let mut fields = response.headers().filter(|(name, _)| name.eq_ignore_ascii_case(NAME));
        (fields.next(), fields.next())
    };
    let len = match (field, another) {
        (None, _) => return Ok(of_body),
        (Some((_, digits)), None) if digits.as_bytes().iter().all(u8::is_ascii_digit) => {
            digits.to_str().and_then(|digits| digits.parse().ok()).ok_or(Fault::Length)?
        }
        _ => return Err(Fault::Length),
    };
    if !is_unsaid && of_body != Some(len) {
        return Err(Fault::Length);
    }
    response.remove_header(NAME);
    Ok(Some(len))
}

impl<L: Line> Responder<'_, L> {
    /// Sends a response of any kind. When it is refused, its fields are left in `response`.
    pub(crate) fn respond(mut self, response: &mut Response) -> Result<After, Failure> {
        if let Some(fault) = self.status_fault(response) {
            return Err(Failure::Refused(fault));
        }
        let payload = self.payload(response).map_err(Failure::Refused)?;
        let body = response.take_body();
        // Pushed content is the last of its connection, and so is content that only ends with it.
        if matches!(body.0, Kind::Push(_)) || payload == Payload::UntilClose {
            self.manner = self.manner.closing();
        }
        let start = self.out.len();
        write_head(self.out, response, payload, self.manner.persistence).map_err(|refused| {
            let fault = Fault::field(refused);
            self.out.truncate(start);
            Failure::Refused(fault)
        })?;
        let is_whole = self.manner.leaves_content_out() || response.status.omits_content();
        if is_whole || body.is_empty() {
            return Ok(self.manner.after());
        }
        let sent = self.send(body, payload);
        if sent.is_err() && !self.begun.get() {
            // What stood there before are earlier responses.
            self.out.truncate(start);
        }
        sent
    }

    fn status_fault(&self, response: &Response) -> Option<Fault> {
        let status = response.status;
        match self.manner.content {
            Content::Tunnel if (200..300).contains(&status.code()) => Some(Fault::Tunnel(status)),
            _ => response.status_fault(),
        }
    }

    fn payload(&self, response: &mut Response) -> Result<Payload, Fault> {
        let is_undeclared = self.manner.content == Content::Undeclared;
        let len = if is_undeclared { declared(response)? } else { response.body.len() };
        Ok(match (len, &response.body.0) {
            (Some(len), _) => Payload::Length(usize::try_from(len).unwrap_or(usize::MAX)),
            (None, Kind::Bytes(_)) => Payload::Unsaid,
            (None, _) if self.is_http_11 => Payload::Chunked,
            (None, _) => Payload::UntilClose,
        })
    }

    fn send(&mut self, body: Body, payload: Payload) -> Result<After, Failure> {
        let chunked = payload == Payload::Chunked;
        match body.0 {
            Kind::Bytes(bytes) if bytes.len() <= COPIED_MAX => self.out.extend_from_slice(&bytes),
            Kind::Bytes(bytes) => self.send_bytes(bytes)?,
            Kind::File { file, range } => {
                self.begun.set(true);
                self.line.send_file(self.out, file, range).map_err(Failure::Line)?;
                self.out.clear();
            }
            Kind::Reader { reader, len, memory } => {
                let framing = match len {
                    Some(len) => Framing::Length(len),
                    None if chunked => Framing::Chunked,
                    None => Framing::UntilClose,
                };
                self.send_source(ReadSource::new(reader, framing, memory), framing)?;
            }
            Kind::Push(start) => {
                if !chunked && start.extent == Extent::Finite {
                    self.line.begin_until_close();
                }
                self.send_bytes(Bytes::EMPTY)?;
                let framing = if chunked { PushFraming::Chunked } else { PushFraming::UntilClose };
                start.begin(self.line.sender(), framing);
                return Ok(After::Push);
            }
        }
        Ok(self.manner.after())
    }

    /// Sends bytes from where they are.
    fn send_bytes(&mut self, bytes: Bytes) -> Result<(), Failure> {
        self.begun.set(true);
        let sent = self.line.send_bytes(self.out, bytes);
        self.out.clear();
        sent.map_err(Failure::Line)
    }

    fn send_source(&mut self, mut source: ReadSource, framing: Framing) -> Result<(), Failure> {
        match framing {
            // The first piece goes out with the head: a reader that fails at once becomes another response.
            Framing::Length(_) => {
                if source.fill(self.out).map_err(Failure::Body)? == Fill::End {
                    return Ok(());
                }
            }
            // The head goes out before the first piece is there: it may take long.
            Framing::Chunked => {}
            Framing::UntilClose => self.line.begin_until_close(),
        }
        self.begun.set(true);
        let sent = self.line.send_source(self.out, source);
        self.out.clear();
        sent.map_err(|error| match error {
            SourceError::Source(error) => Failure::Body(error),
            SourceError::Peer(error) => Failure::Line(error),
        })
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

#[inline(always)]
fn append<'r>(
    out: &mut Vec<u8>,
    response: &'r Response,
    manner: Manner,
) -> Result<(), (&'r str, HeaderError)> {
    let content = response.body.as_bytes().unwrap_or_default();
    // Room for a head of the usual size, so that the buffer grows once if at all.
    out.reserve(256 + content.len());
    write_head(out, response, Payload::Length(content.len()), manner.persistence)?;
    if !manner.leaves_content_out() && !response.status.forbids_content() {
        out.extend_from_slice(content);
    }
    Ok(())
}

#[inline(always)]
fn begin(out: &mut Vec<u8>, status: Status) -> HeadWriter<'_> {
    HeadWriter::with_date(out, status, &date::preamble())
}

#[inline(always)]
fn write_head<'r>(
    out: &mut Vec<u8>,
    response: &'r Response,
    payload: Payload,
    persistence: Persistence,
) -> Result<(), (&'r str, HeaderError)> {
    let mut writer = begin(out, response.status);
    if let Some(media_type) = &response.content_type {
        writer.content_type(media_type.as_bytes()).map_err(|error| ("content-type", error))?;
    }
    if let Some(upgrade) = response.other_protocol() {
        writer.upgrade(&upgrade.protocol).map_err(|error| ("upgrade", error))?;
    }
    for (name, value) in &response.headers {
        writer.header(name, value.as_bytes()).map_err(|error| (&**name, error))?;
    }
    writer.finish(payload, persistence);
    Ok(())
}
