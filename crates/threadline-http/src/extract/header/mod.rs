//! [`Header`]: a header field as a type.
//!
//! | file | |
//! | --- | --- |
//! | `media.rs` | [`MediaType`], [`ContentType`] |
//! | `accept.rs` | [`Accept`], [`AcceptLanguage`]: what the client would rather have |
//! | `credentials.rs` | [`Basic`], [`Bearer`]: the two kinds of `Authorization` |
//! | `entity_tags.rs` | [`IfNoneMatch`], [`IfMatch`]: which versions the client has or means |
//! | `plain.rs` | fields that are a text: [`Host`], [`Origin`], [`Referer`], [`UserAgent`] |

mod accept;
mod credentials;
mod entity_tags;
mod media;
mod plain;

use std::fmt;

use threadline_proto::response::Status;

use super::OptionalFromRequest;
use crate::framework_error::ErrorKind;
use crate::handler::{FromRequest, IntoResponse};
use crate::request::Request;
use crate::response::Response;

pub use accept::{Accept, AcceptLanguage, Preferences};
pub use credentials::{Basic, Bearer, OtherCredentials};
pub use entity_tags::{EntityTags, IfMatch, IfNoneMatch, NotEntityTags};
pub use media::{ContentType, MediaType, NotAMediaType};
pub use plain::{Host, Origin, Referer, UserAgent};

/// A header field, parsed. Missing or malformed, it is a 400 that names it; as an `Option` it may be
/// missing.
///
/// ```
/// use threadline_http::extract::header::Accept;
/// use threadline_http::testing::TestClient;
/// use threadline_http::{Header, Router};
///
/// fn page(Header(accept): Header<Accept>) -> &'static str {
///     accept.best(&["text/html", "application/json"]).unwrap_or("neither")
/// }
///
/// let client = TestClient::new(Router::new().get("/", page))?;
/// let get = |accept| client.get("/").header("accept", accept).send();
/// assert_eq!(get("application/json;q=0.9, text/*;q=0.8").text(), "application/json");
/// assert_eq!(get("image/png").text(), "neither");
/// # Ok::<(), threadline_http::RouterError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header<T>(pub T);

/// A type that a header field can be.
///
/// ```
/// use threadline_http::FromHeader;
///
/// /// How often the client has tried before.
/// struct Attempt(u32);
///
/// impl FromHeader for Attempt {
///     const NAME: &'static str = "x-attempt";
///     type Error = std::num::ParseIntError;
///
///     fn from_header(value: &str) -> Result<Self, Self::Error> {
///         value.parse().map(Attempt)
///     }
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a header field",
    label = "not a type that `Header` can hold",
    note = "those that come with threadline are in `extract::header`; implement `FromHeader` for others"
)]
pub trait FromHeader: Sized {
    /// The field's name, in lower case.
    const NAME: &'static str;

    /// Whether its value is a list, whose parts may come in several fields (RFC 9110 §5.3): they are
    /// joined by `, `. Otherwise a second field is an error.
    const IS_LIST: bool = false;

    /// Why a value is none. Sent to the client.
    type Error: fmt::Display;

    /// Parses the value, which is UTF-8 and without whitespace around it.
    ///
    /// # Errors
    /// Says what the value should have been.
    fn from_header(value: &str) -> Result<Self, Self::Error>;
}

/// A header field is missing or wrong: 400.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeaderRejection {
    name: &'static str,
    reason: Reason,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Reason {
    Missing,
    Repeated,
    NotUtf8,
    Malformed(String),
}

impl HeaderRejection {
    /// The field's name.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Whether it is not there at all.
    pub fn is_missing(&self) -> bool {
        self.reason == Reason::Missing
    }
}

impl fmt::Display for HeaderRejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "header field `{}`", self.name)?;
        match &self.reason {
            Reason::Missing => f.write_str(" is missing"),
            Reason::Repeated => f.write_str(" may come only once"),
            Reason::NotUtf8 => f.write_str(" is not UTF-8"),
            Reason::Malformed(reason) => write!(f, ": {reason}"),
        }
    }
}

impl std::error::Error for HeaderRejection {}

impl IntoResponse for HeaderRejection {
    fn into_response(self) -> Response {
        Response::error_in(ErrorKind::Header, Status::BAD_REQUEST, self.name, &self)
    }
}

impl<T: FromHeader> FromRequest for Header<T> {
    type Rejection = HeaderRejection;

    fn from_request(request: &Request<'_>) -> Result<Self, HeaderRejection> {
        let missing = HeaderRejection { name: T::NAME, reason: Reason::Missing };
        Self::optional_from_request(request)?.ok_or(missing)
    }
}

impl<T: FromHeader> OptionalFromRequest for Header<T> {
    type Rejection = HeaderRejection;

    fn optional_from_request(request: &Request<'_>) -> Result<Option<Self>, HeaderRejection> {
        parse(request).map_err(|reason| HeaderRejection { name: T::NAME, reason })
    }
}

fn parse<T: FromHeader>(request: &Request<'_>) -> Result<Option<Header<T>>, Reason> {
    let mut values = request.headers().all(T::NAME);
    let Some(first) = values.next() else { return Ok(None) };
    let first = text(first)?;
    let mut joined = None;
    for value in values {
        if !T::IS_LIST {
            return Err(Reason::Repeated);
        }
        let joined = joined.get_or_insert_with(|| first.to_owned());
        joined.push_str(", ");
        joined.push_str(text(value)?);
    }
    let value = T::from_header(joined.as_deref().unwrap_or(first));
    value.map(|value| Some(Header(value))).map_err(|error| Reason::Malformed(error.to_string()))
}

fn text(value: &[u8]) -> Result<&str, Reason> {
    std::str::from_utf8(value).map_err(|_| Reason::NotUtf8)
}
