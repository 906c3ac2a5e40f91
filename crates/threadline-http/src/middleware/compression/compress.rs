//! [`Compression`]: which responses are compressed, and what their fields say then.
//!
//! Small content in memory is compressed at once and keeps its length; everything else is compressed
//! while it is read, a piece at a time, and sent in chunks. Never twice: what has a
//! `Content-Encoding` is left alone.

use threadline_engine::log::{Escaped, limited};
use threadline_proto::Method;
use threadline_proto::response::Status;

use crate::body::{Body, Kind};
use crate::fault::internal_error;
use crate::middleware::compression::coding::negotiate;
use crate::middleware::compression::encoder::{Encoder, Encoding, encode};
use crate::middleware::compression::{Coding, Effort};
use crate::middleware::fields::add_vary;
use crate::middleware::layer::{Middleware, Next};
use crate::request::Request;
use crate::response::{Response, Selected};
use crate::selected::CodedAround;

/// Middleware that compresses responses for clients that want it (`Accept-Encoding` with its
/// weights, RFC 9110 §12.5.3).
///
/// Compressed is content of a media type that is worth it (text, JSON, XML, JavaScript, SVG,
/// WebAssembly and the like), from 1 KB on or of a length that is not known. Left alone are partial
/// content, what has a `Content-Encoding` already, what says `Cache-Control: no-transform`, content
/// with a digest of itself in its fields, and pushed content, server-sent events included.
///
/// A strong `ETag` becomes a weak one, as the bytes are no longer those it names (RFC 9110 §8.8.1),
/// and `Vary: accept-encoding` is added whether or not this client gets it compressed. A 304, a 206 and the
/// answer to a `HEAD` say the same as the 200 would (RFC 9110 §15.3.7, §15.4.5). Of files that a client gets
/// compressed it gets no ranges: parts of the file as it is would be none of what it has.
///
/// Do not compress secrets together with what an attacker chooses: the length gives them away
/// (BREACH).
///
/// ```
/// use threadline_http::Router;
/// use threadline_http::middleware::{Compression, Effort};
///
/// let compression = Compression::new().len_min(256).effort(Effort::Fast);
/// let router = Router::new().get("/", || "front page".repeat(100)).layer(compression);
/// # router.build().unwrap();
/// ```
#[derive(Debug, Clone)]
pub struct Compression {
    codings: Vec<Coding>,
    len_min: u64,
    effort: Effort,
    worth: fn(&str) -> bool,
}

/// Up to so many bytes are compressed at once, with their length kept.
const AT_ONCE_MAX: usize = 256 * 1024;

impl Default for Compression {
    fn default() -> Self {
        Compression::new()
    }
}

impl Compression {
    /// All codings there are, in the order of [`Coding::ALL`].
    pub fn new() -> Self {
        let (codings, effort) = (Coding::ALL.to_vec(), Effort::default());
        Compression { codings, len_min: 1024, effort, worth: is_worth_it }
    }

    /// Sets the codings, the one that is preferred among equal ones first.
    pub fn codings(mut self, codings: impl IntoIterator<Item = Coding>) -> Self {
        self.codings = codings.into_iter().collect();
        self
    }

    /// Sets the shortest content in bytes that is compressed. Default 1 KB: below, a packet is a
    /// packet.
    pub fn len_min(mut self, bytes: u64) -> Self {
        self.len_min = bytes;
        self
    }

    /// Sets how hard to try. Default [`Effort::Balanced`].
    pub fn effort(mut self, effort: Effort) -> Self {
        self.effort = effort;
        self
    }

    /// Sets which media types are compressed: asked with the type alone, in lower case, without
    /// parameters. Default: those that [`Compression`] names.
    pub fn media_types(mut self, worth: fn(&str) -> bool) -> Self {
        self.worth = worth;
        self
    }

    /// Whether a representation is compressed for clients that want it.
    fn is_eligible(&self, selected: &Selected) -> bool {
        !selected.is_fixed
            && selected.len.is_none_or(|len| len >= self.len_min.max(1))
            && selected.media_type.as_deref().is_some_and(|media_type| {
                let (essence, _) = media_type.split_once(';').unwrap_or((media_type, ""));
                (self.worth)(&essence.trim().to_ascii_lowercase())
            })
    }

    /// What the response is, or stands for. `None` if it has no content that could be compressed.
    fn selected(&self, request: &Request<'_>, response: &Response) -> Option<Selected> {
        if let Some(selected) = response.selected() {
            return Some(selected.clone());
        }
        let selected = response.as_selected();
        match response.status() {
            Status::PARTIAL_CONTENT => Some(Selected { len: whole_len(response), ..selected }),
            Status::NOT_MODIFIED => Some(Selected { len: None, ..selected }),
            status if status.omits_content() => None,
            _ if matches!(response.body().0, Kind::Push(_)) => None,
            // Its handler declares the length that the content of `GET` has.
            _ if request.method() == Method::Head && response.body().is_empty() => {
                let len = response.header("content-length")?.parse().ok();
                Some(Selected { len, ..selected })
            }
            _ => Some(selected),
        }
    }

    /// Whether what the response stands for is compressed for clients that want it. Where a handler's 304 or
    /// 206 does not say what that is, it may be: a field too many does no harm.
    fn is_compressed(&self, response: &Response, selected: &Selected) -> bool {
        let is_unknown = match (response.status(), selected.media_type.as_deref()) {
            (Status::NOT_MODIFIED, None) => true,
            (Status::PARTIAL_CONTENT, Some(media_type)) => {
                media_type.starts_with("multipart/byteranges")
            }
            _ => false,
        };
        if is_unknown { !selected.is_fixed } else { self.is_eligible(selected) }
    }

    /// Compresses the content. `None` if that does not make it shorter.
    fn compress(&self, response: &mut Response, coding: Coding) -> std::io::Result<Option<Body>> {
        if let Some(bytes) = response.body().as_bytes().filter(|bytes| bytes.len() <= AT_ONCE_MAX) {
            let encoded = encode(bytes, coding, self.effort)?;
            return Ok((encoded.len() < bytes.len()).then(|| encoded.into()));
        }
        let mut body = response.take_body();
        let len = body.len();
        let memory = body.take_memory().plus(Encoder::memory(coding, self.effort, len));
        let encoder = Encoder::new(coding, self.effort, len)?;
        let reader = Box::new(Encoding::new(body.into_reader()?, encoder));
        Ok(Some(Body(Kind::Reader { reader, len: None, memory })))
    }
}

impl Middleware for Compression {
    fn handle(&self, request: &Request<'_>, next: Next<'_>) -> Response {
        let is_wanted = || negotiate(request.headers(), &self.codings).is_some();
        if request.headers().get("range").is_some() && is_wanted() {
            let policy = self.clone();
            let is_coded = move |selected: &Selected| policy.is_eligible(selected);
            request.extensions().insert(CodedAround::new(is_coded));
        }
        next.run(request).finished_by(self, request, Compression::finish)
    }
}

impl Compression {
    fn finish(&self, request: &Request<'_>, mut response: Response) -> Response {
        let selected = self.selected(request, &response);
        if !selected.is_some_and(|selected| self.is_compressed(&response, &selected)) {
            return response;
        }
        add_vary(&mut response, "accept-encoding");
        let wanted = negotiate(request.headers(), &self.codings);
        let Some(coding) = wanted else { return response };
        // Whether or not it gets shorter: a 304 cannot know that, and has to say the same.
        weaken_etag(&mut response);
        if matches!(response.status(), Status::PARTIAL_CONTENT | Status::NOT_MODIFIED) {
            return response;
        }
        response.remove_header("accept-ranges");
        if request.method() == Method::Head && response.body().is_empty() {
            response.remove_header("content-length");
            response.set_header("content-encoding", coding.name());
            return response;
        }
        match self.compress(&mut response, coding) {
            Ok(Some(body)) => {
                response.set_body(body);
                response.set_header("content-encoding", coding.name());
            }
            Ok(None) => {}
            Err(error) => {
                let error = Escaped(error);
                limited!(error, route: request.route(), "the response is not sent", %error);
                return internal_error();
            }
        }
        response
    }
}

/// How long the whole is that a 206 is a part of (RFC 9110 §14.4).
fn whole_len(response: &Response) -> Option<u64> {
    response.header("content-range")?.rsplit_once('/')?.1.parse().ok()
}

/// RFC 9110 §8.8.1: other bytes of the same meaning have a weak validator.
fn weaken_etag(response: &mut Response) {
    let strong = response.header_bytes("etag").filter(|etag| etag.starts_with(b"\""));
    let weak = strong.map(|etag| [b"W/", etag].concat());
    if let Some(weak) = weak {
        response.set_header("etag", weak);
    }
}

/// Whether content of that media type, in lower case, gets shorter: text, and what is text under
/// another name. Images, video, archives and fonts in WOFF are compressed already.
fn is_worth_it(media_type: &str) -> bool {
    const OTHERS: [&str; 14] = [
        "application/json",
        "application/xml",
        "application/javascript",
        "application/ecmascript",
        "application/x-javascript",
        "application/graphql",
        "application/wasm",
        "application/x-ndjson",
        "application/sql",
        "application/rtf",
        "application/vnd.ms-fontobject",
        "font/ttf",
        "font/otf",
        "image/bmp",
    ];
    if media_type == "text/event-stream" {
        // Its pieces have to arrive one by one, in full.
        return false;
    }
    media_type.starts_with("text/")
        || media_type.ends_with("+json")
        || media_type.ends_with("+xml")
        || media_type.ends_with("+text")
        || OTHERS.contains(&media_type)
}
