//! What a handler answers: a status, header fields and a body.
//!
//! Framing, `Date` and `Connection` are not here: the service writes them. Status and fields are checked
//! when the response is written, in one place (`write.rs`); a bad one becomes a 500 and a line in the log.
//! What becomes of an upgrade is in `upgrade.rs`, and of what a response stands for in `selected.rs`.

use std::borrow::Cow;
use std::fmt;

use threadline_engine::Session;
use threadline_proto::response::Status;

use crate::body::{Body, Kind};
use crate::deferred::Pending;
use crate::framework_error::FrameworkError;
use crate::header_value::HeaderValue;
use crate::write::COPIED_MAX;

/// What plain text is sent as.
pub(crate) const TEXT: &str = "text/plain; charset=utf-8";
/// What bytes are sent as unless the handler knows better.
const BYTES: &str = "application/octet-stream";

/// A response.
///
/// | status | what is sent |
/// | --- | --- |
/// | 200 to 599 | the response |
/// | 204, 304 | no content and no length (RFC 9110 §8.6); a body is left out, with one warning for each route |
/// | 205 | `content-length: 0` (RFC 9110 §15.3.6); a body is left out in the same way |
/// | 101 | only what [`Response::upgrade`] makes |
/// | any other | 500, and a line in the log: it cannot end a request |
///
/// ```
/// use threadline_http::{Response, Status};
///
/// let response = Response::new(Status::CREATED)
///     .with_header("location", "/notes/7")
///     .with_content_type("application/json")
///     .with_body(r#"{"id": 7}"#);
/// assert_eq!(response.status(), Status::CREATED);
/// ```
#[derive(Debug)]
#[must_use = "a response does nothing until it is returned from a handler"]
pub struct Response {
    pub(crate) status: Status,
    /// Apart from the others, so that most responses need no list of headers and no allocation.
    pub(crate) content_type: Option<HeaderValue>,
    pub(crate) headers: Vec<(Cow<'static, str>, HeaderValue)>,
    pub(crate) body: Body,
    pub(crate) close: bool,
    /// What it is beyond that. Boxed, and one for all: hardly any response has one.
    pub(crate) aside: Option<Box<Aside>>,
}

/// What a response is beyond a head and content.
#[derive(Debug)]
pub(crate) enum Aside {
    /// Another protocol, in which the connection is to go on.
    Upgrade(Upgrade),
    /// Of a 304 or a 206: what the layers around cannot see of it.
    #[cfg_attr(
        not(any(feature = "gzip", feature = "brotli", feature = "zstd")),
        expect(dead_code, reason = "only compression looks at it")
    )]
    Selected(Selected),
    /// It is not there yet: all else is a placeholder.
    Pending(Pending),
    /// The error of the framework that it tells of, as long as it has its default form.
    Error(FrameworkError),
    /// The 500 of a handler or layer that has panicked, and the message of the panic.
    Panicked(String),
}

/// A protocol, and what speaks it.
pub(crate) struct Upgrade {
    pub(crate) protocol: Cow<'static, str>,
    /// `None` where the protocol is only named.
    pub(crate) handler: Option<Box<UpgradeHandler>>,
}

/// Tells a connection what to go on in.
pub(crate) type UpgradeHandler = dyn FnOnce(&mut Session) + Send;

impl Upgrade {
    /// Whether the connection is to go on in the protocol.
    pub(crate) fn is_offered(&self) -> bool {
        self.handler.is_some()
    }
}

impl fmt::Debug for Upgrade {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Upgrade").field("protocol", &self.protocol).finish_non_exhaustive()
    }
}

/// The representation that a 304 or a 206 is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Selected {
    pub(crate) media_type: Option<Cow<'static, str>>,
    /// In bytes, where that is known.
    pub(crate) len: Option<u64>,
    /// Whether its bytes must stay as they are: coded already, with a digest in its fields, or by
    /// `Cache-Control: no-transform`.
    pub(crate) is_fixed: bool,
}

/// 200 without content.
impl Default for Response {
    fn default() -> Self {
        Response::new(Status::OK)
    }
}

impl Response {
    /// A response without content.
    pub const fn new(status: Status) -> Self {
        Response::with(status, None, Body::EMPTY)
    }

    /// The common part, without anything that would be made only to be replaced.
    const fn with(status: Status, content_type: Option<HeaderValue>, body: Body) -> Self {
        Response { status, content_type, headers: Vec::new(), body, close: false, aside: None }
    }

    /// 200 with plain text.
    pub fn text(text: impl Into<Cow<'static, str>>) -> Self {
        Response::with(Status::OK, Some(HeaderValue::from_static(TEXT)), text.into().into())
    }

    /// 200 with bytes of no particular type.
    pub fn bytes(bytes: impl Into<Body>) -> Self {
        Response::with(Status::OK, Some(HeaderValue::from_static(BYTES)), bytes.into())
    }

    /// A short text that says what is wrong, for people: `404 Not Found: {hint}`.
    ///
    /// Do not put the client's input into the hint unless you mean it to be sent back.
    pub fn error(status: Status, hint: impl fmt::Display) -> Self {
        Response::text(format!("{status}: {hint}\n")).with_status(status)
    }

    /// Sets the status. [`Response`] says which ones can be sent.
    pub fn with_status(mut self, status: Status) -> Self {
        self.remember(|| Box::new(move |response| response.status = status));
        self.status = status;
        self
    }

    /// Adds a header field; `content-type` is replaced, all others may come several times. Values are text or
    /// bytes: see [`HeaderValue`].
    ///
    /// Fields that the server writes itself (`content-length`, `transfer-encoding`, `connection`,
    /// `date` ...), names that are no tokens and values with control characters make the response a
    /// 500. Only a handler of `HEAD` alone may say `content-length`: see [`Router::head`].
    ///
    /// [`Router::head`]: crate::Router::head
    pub fn with_header(
        mut self,
        name: impl Into<Cow<'static, str>>,
        value: impl Into<HeaderValue>,
    ) -> Self {
        self.append_header(name, value);
        self
    }

    /// Sets a header field, in place of all earlier ones of that name.
    pub fn set_header(
        &mut self,
        name: impl Into<Cow<'static, str>>,
        value: impl Into<HeaderValue>,
    ) {
        let (name, value) = (name.into(), value.into());
        self.remember(|| {
            let (name, value) = (name.clone(), value.clone());
            Box::new(move |response| response.set_header(name, value))
        });
        if name.eq_ignore_ascii_case("content-type") {
            self.content_type = Some(value);
            return;
        }
        self.headers.retain(|(known, _)| !known.eq_ignore_ascii_case(&name));
        self.headers.push((name, value));
    }

    /// Adds a header field beside earlier ones of that name; `content-type` is replaced.
    pub fn append_header(
        &mut self,
        name: impl Into<Cow<'static, str>>,
        value: impl Into<HeaderValue>,
    ) {
        let (name, value) = (name.into(), value.into());
        self.remember(|| {
            let (name, value) = (name.clone(), value.clone());
            Box::new(move |response| response.append_header(name, value))
        });
        if name.eq_ignore_ascii_case("content-type") {
            self.content_type = Some(value);
            return;
        }
        self.headers.push((name, value));
    }

    /// Removes all header fields of that name.
    pub fn remove_header(&mut self, name: &str) {
        self.remember(|| {
            let name = name.to_owned();
            Box::new(move |response| response.remove_header(&name))
        });
        if name.eq_ignore_ascii_case("content-type") {
            self.content_type = None;
        }
        self.headers.retain(|(known, _)| !known.eq_ignore_ascii_case(name));
    }

    /// Sets the media type of the body.
    pub fn with_content_type(mut self, media_type: impl Into<HeaderValue>) -> Self {
        let media_type = media_type.into();
        self.remember(|| {
            let media_type = media_type.clone();
            Box::new(move |response| response.content_type = Some(media_type))
        });
        self.content_type = Some(media_type);
        self
    }

    /// Sets the body; the media type stays what it was.
    pub fn with_body(mut self, body: impl Into<Body>) -> Self {
        self.set_body(body);
        self
    }

    /// Ends the connection behind this response.
    pub fn with_close(mut self) -> Self {
        self.remember(|| Box::new(|response| response.close = true));
        self.close = true;
        self
    }

    /// The status.
    pub fn status(&self) -> Status {
        self.status
    }

    /// The media type of the body, where it is UTF-8.
    pub fn content_type(&self) -> Option<&str> {
        self.content_type.as_ref()?.to_str()
    }

    /// The value of the first header field of that name, in any case, where it is UTF-8.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.header_bytes(name).and_then(|value| str::from_utf8(value).ok())
    }

    /// The value of the first header field of that name, in any case, whether it is UTF-8 or not.
    pub fn header_bytes(&self, name: &str) -> Option<&[u8]> {
        if name.eq_ignore_ascii_case("content-type") {
            return self.content_type.as_ref().map(HeaderValue::as_bytes);
        }
        let mut named = self.headers().filter(|(known, _)| known.eq_ignore_ascii_case(name));
        named.next().map(|(_, value)| value.as_bytes())
    }

    /// The other header fields as name and value, in order.
    pub fn headers(&self) -> impl Iterator<Item = (&str, &HeaderValue)> {
        self.headers.iter().map(|(name, value)| (&**name, value))
    }

    /// The body.
    pub fn body(&self) -> &Body {
        &self.body
    }

    /// Takes the body out; the response is left without content.
    pub fn take_body(&mut self) -> Body {
        std::mem::take(&mut self.body)
    }

    /// Whether it is a head and bytes, with a status that can be sent with them, and leaves the connection
    /// as it is. Large content is better sent from where it is.
    #[inline]
    pub(crate) fn is_plain(&self) -> bool {
        let Kind::Bytes(content) = &self.body.0 else { return false };
        let fits = self.status == Status::OK
            || (self.status.is_final() && (content.is_empty() || !self.status.omits_content()));
        let fits = fits && content.len() <= COPIED_MAX;
        fits && self.aside.is_none() && !self.close
    }

    /// Puts another body in place of this one.
    pub fn set_body(&mut self, body: impl Into<Body>) {
        let body = body.into();
        match self.pending() {
            Some(pending) => pending.then.push(Box::new(move |response| response.set_body(body))),
            None => {
                drop(self.take_error());
                self.body = body;
            }
        }
    }

    /// The body alone.
    pub fn into_body(self) -> Body {
        self.body
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_default_response_is_200_without_content() {
        let response = Response::default();
        assert_eq!((response.status(), response.body().len()), (Status::OK, Some(0)));
        assert_eq!((response.content_type(), response.headers().count()), (None, 0));
    }

    #[test]
    fn rfc9110_5_5_values_may_be_bytes() {
        let mut response = Response::text("")
            .with_header("x-a", vec![0xe4])
            .with_header("x-b", &[0xff_u8][..])
            .with_header("Content-Type", b"text/\xff");
        response.set_header("x-b", Cow::Borrowed(&b"\xfe"[..]));
        response.append_header("x-b", String::from("text"));
        assert_eq!(
            (response.header("x-a"), response.header_bytes("X-A")),
            (None, Some(&[0xe4][..]))
        );
        assert_eq!(response.header_bytes("x-b"), Some(&b"\xfe"[..]));
        assert_eq!(response.content_type(), None);
        assert_eq!(response.header_bytes("content-type"), Some(&b"text/\xff"[..]));
        let last = response.headers().last().expect("a field");
        assert_eq!((last.0, last.1.to_str()), ("x-b", Some("text")));
        assert!(*last.1 == *"text" && *last.1 == b"text"[..]);
        assert_eq!(format!("{:?}", HeaderValue::from(b"a\xff\"")), r#""a\xff\"""#);
    }
}
