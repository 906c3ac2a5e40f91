//! Forms with files: `multipart/form-data` (RFC 7578), read while it arrives.
//!
//! | file | |
//! | --- | --- |
//! | `boundary.rs` | [`Boundary`]: what the request's `Content-Type` says |
//! | `parser.rs`, `step.rs` | [`Parser`]: the syntax, as a state machine without I/O |
//! | `headers.rs`, `head.rs` | [`PartHeaders`]: a part's fields, and what they mean |
//! | `parameters.rs` | parameters of a field's value |
//! | `stream.rs` | the body, fed to the parser |
//! | `part.rs` | [`Part`]: one field or file |
//! | `ranged.rs` | a part where it is in the file of its body |
//! | `spooled.rs` | [`Spooled`]: content put aside, in memory or in a file |
//! | `limits.rs` | [`MultipartLimits`] |
//! | `error.rs` | [`MultipartError`] and [`PartError`] |
//!
//! Strict: what two readers could take differently is refused. Parts within a part (`multipart/mixed`,
//! deprecated by RFC 7578 §4.3) are content like any other.

mod boundary;
mod error;
mod file_name;
mod head;
mod headers;
mod limits;
mod parameters;
mod parser;
mod part;
mod ranged;
mod spooled;
mod step;
mod stream;
#[cfg(test)]
mod tests;

use std::fmt;

use crate::request::Request;
use stream::Stream;

pub use boundary::Boundary;
pub use error::{MultipartError, PartError};
pub use headers::PartHeaders;
pub use limits::MultipartLimits;
pub use parser::Parser;
pub use part::Part;
pub use spooled::Spooled;
pub use step::{ParseError, Step};

/// A request's body as `multipart/form-data`: parts one after the other.
///
/// It is the last parameter of a handler, behind up to twelve extractors; a handler that needs the
/// request itself takes that and makes one by [`Multipart::of`].
///
/// ```
/// use threadline_http::multipart::{Multipart, MultipartError};
/// use threadline_http::testing::TestClient;
/// use threadline_http::{Path, Router, post};
///
/// fn upload(Path(album): Path<String>, mut parts: Multipart<'_>) -> Result<String, MultipartError> {
///     let mut list = format!("{album}:\n");
///     while let Some(part) = parts.next_part()? {
///         list.push_str(part.name());
///         list.push_str(&format!(" has {} bytes\n", part.spool()?.len()));
///     }
///     Ok(list)
/// }
///
/// let router = Router::new().route("/albums/{album}", post(upload).body_len_max(100_000_000));
/// let response = TestClient::new(router)?
///     .post("/albums/summer")
///     .header("content-type", "multipart/form-data; boundary=x")
///     .body("--x\r\nContent-Disposition: form-data; name=\"title\"\r\n\r\nBeach\r\n--x--\r\n")
///     .send();
/// assert_eq!(response.text(), "summer:\ntitle has 5 bytes\n");
/// # Ok::<(), threadline_http::RouterError>(())
/// ```
///
/// | the request | the answer |
/// | --- | --- |
/// | has not exactly one `Content-Type`, or not of `multipart/form-data` | 415 |
/// | names no boundary, two, or what is none | 400 |
/// | has a body that ends before its final boundary, or a boundary with something behind it on its line | 400 |
/// | has a part without `Content-Disposition: form-data` and a name, with malformed or duplicate fields, with a `filename*` that is not the `filename`, or in a coding | 400 |
/// | is longer than the route or [`MultipartLimits`] allow | 413 |
pub struct Multipart<'a> {
    stream: Stream<'a>,
}

impl<'a> Multipart<'a> {
    /// The body of this request.
    ///
    /// # Errors
    /// [`MultipartError`] if it is not multipart, or if a part of it has been read already.
    pub fn of(request: &Request<'a>) -> Result<Self, MultipartError> {
        let left = request.extensions().get::<MultipartLimits>().map(|limits| *limits);
        let limits = left.or_else(|| request.state::<MultipartLimits>().copied());
        let boundary = Boundary::of(request.headers())?;
        let stream = Stream::new(boundary, request.body, limits.unwrap_or_default());
        Ok(Multipart { stream })
    }

    /// Sets other limits. They hold from here on.
    pub fn limits(mut self, limits: MultipartLimits) -> Self {
        self.stream.set_limits(limits);
        self
    }

    /// The next part; none behind the last one. What has not been read of the one before is skipped.
    ///
    /// # Errors
    /// [`MultipartError`]. After one of the body or its syntax there is no going on: it comes again.
    pub fn next_part(&mut self) -> Result<Option<Part<'_, 'a>>, MultipartError> {
        let is_there = self.stream.next_part()?;
        Ok(is_there.then(|| Part::new(&mut self.stream)))
    }
}

impl fmt::Debug for Multipart<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Multipart").field("limits", self.stream.limits()).finish_non_exhaustive()
    }
}
