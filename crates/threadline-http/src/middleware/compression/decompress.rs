//! [`Decompression`]: requests whose bodies come compressed.
//!
//! The handler reads the decoded body and need not know. The header fields stay as they came, with
//! `Content-Encoding` and the length of what was sent. Never decodes what nobody reads, and never
//! more than the bounds allow.

use threadline_proto::response::Status;

use crate::body::Incoming;
use crate::framework_error::ErrorKind;
use crate::middleware::compression::Coding;
use crate::middleware::compression::decoder::{Bounds, Decoded};
use crate::middleware::fields::elements;
use crate::middleware::layer::{BeforeBody, Middleware, Next};
use crate::request::Request;
use crate::response::Response;

/// Middleware that decodes request bodies with a `Content-Encoding`.
///
/// | the body | the answer |
/// | --- | --- |
/// | in a coding that is not known here, or in several | 415, with those that are in `Accept-Encoding` |
/// | longer, when decoded, than the route takes, or than [`Decompression::len_max`] where it is set | 413 |
/// | more than [`Decompression::ratio_max`] times longer than it came | 413 |
/// | not coded as it says, cut off, or with something behind it | 400 |
///
/// The last three come while the handler reads: they are errors of [`Request::bytes`] and of the
/// reader, and extractors answer with them. A route's limit
/// ([`HttpSettings::body_len_max`](crate::HttpSettings::body_len_max),
/// [`Methods::body_len_max`](crate::Methods::body_len_max)) holds for the body as it came, too.
///
/// ```
/// use threadline_http::middleware::Decompression;
/// use threadline_http::{Router, post};
///
/// let router = Router::new()
///     .route("/import", post(|body: Vec<u8>| body).body_len_max(8 * 1024 * 1024)) // decoded
///     .layer(Decompression::new());
/// # router.build().unwrap();
/// ```
#[derive(Debug, Clone, Copy)]
pub struct Decompression {
    /// `None`: the route's limit.
    len_max: Option<u64>,
    ratio_max: u32,
}

impl Default for Decompression {
    fn default() -> Self {
        Decompression::new()
    }
}

impl Decompression {
    /// Decodes all codings there are, into no more than the route takes and 100 times what came.
    pub const fn new() -> Self {
        Decompression { len_max: None, ratio_max: 100 }
    }

    /// Sets the longest decoded body in bytes, in place of the route's limit: lower or higher.
    pub const fn len_max(mut self, bytes: u64) -> Self {
        self.len_max = Some(bytes);
        self
    }

    /// Sets how many times longer a body may become. The first 64 KB are not held to it. Default 100:
    /// text seldom reaches 20, a bomb has 1 000.
    pub const fn ratio_max(mut self, ratio: u32) -> Self {
        self.ratio_max = ratio;
        self
    }
}

impl Middleware for Decompression {
    fn handle(&self, request: &Request<'_>, next: Next<'_>) -> Response {
        let coding = match coding_of(request) {
            None => return next.run(request),
            Some(None) => return unsupported(),
            Some(Some(coding)) => coding,
        };
        let len_max = self.len_max.unwrap_or_else(|| request.body_len_max());
        let bounds = Bounds { len_max, ratio_max: self.ratio_max };
        let decoded = Decoded::new(coding, request.body, bounds);
        let body = Incoming::Arriving(&decoded);
        next.run(&Request { body, is_decoded: true, ..request.clone() })
    }

    fn before_body(&self, request: &Request<'_>) -> BeforeBody {
        match coding_of(request) {
            Some(None) => BeforeBody::Refuse(unsupported()),
            None | Some(Some(_)) => BeforeBody::Pass,
        }
    }
}

/// How the body is coded: `None` if it is not, `Some(None)` if that is not known here.
fn coding_of(request: &Request<'_>) -> Option<Option<Coding>> {
    let mut names = elements(request.headers(), "content-encoding")
        .filter(|name| !name.eq_ignore_ascii_case("identity"));
    let name = names.next()?;
    let is_empty = request.content_length() == Some(0);
    // Another layer of this kind has decoded it.
    if is_empty || request.is_decoded {
        return None;
    }
    // One after the other is legal, used by nobody, and a bomb in a bomb.
    Some(if names.next().is_some() { None } else { Coding::from_name(name) })
}

/// RFC 9110 §12.5.3: `Accept-Encoding` in a 415 says what would have been taken.
fn unsupported() -> Response {
    let known = Coding::ALL.iter().map(|coding| coding.name()).collect::<Vec<_>>().join(", ");
    let hint = format_args!("send the body as it is, or with one content-encoding of: {known}");
    Response::error_of(ErrorKind::MediaType, Status::UNSUPPORTED_MEDIA_TYPE, hint)
        .with_header("accept-encoding", known.clone())
}
