//! Who is asking: basic and bearer authentication, and signed requests.
//!
//! | file | |
//! | --- | --- |
//! | `basic.rs` | [`BasicAuth`]: a name and a password (RFC 7617) |
//! | `bearer.rs` | [`BearerAuth`]: a token (RFC 6750) |
//! | `signed.rs` | `SignedRequests`: a signature over the request, by a shared key |
//!
//! Each leaves a [`Principal`] with the request. Secrets are compared in a time that does not depend
//! on where they differ. What a client sent is never logged and never sent back.

mod basic;
mod bearer;
#[cfg(feature = "hmac")]
mod signed;

use std::fmt;
use std::sync::Arc;

use subtle::ConstantTimeEq;
use threadline_proto::response::Status;

use crate::framework_error::ErrorKind;
use crate::response::Response;

pub use basic::BasicAuth;
pub use bearer::BearerAuth;
#[cfg(feature = "hmac")]
pub use signed::{SignedBy, SignedRequests};

/// Who is asking, as far as authentication has found out. Left in the request's extensions.
///
/// ```
/// use threadline_http::middleware::{BasicAuth, Principal};
/// use threadline_http::{Extension, Router};
///
/// fn greet(Extension(user): Extension<Principal>) -> String {
///     format!("hello, {user}\n")
/// }
///
/// let auth = BasicAuth::users("notes", [("alice", "correct horse battery staple")]);
/// let router = Router::new().get("/", greet).layer(auth);
/// # router.build().unwrap();
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Principal(Arc<str>);

impl Principal {
    /// Somebody of that name.
    pub fn new(name: impl Into<Arc<str>>) -> Self {
        Principal(name.into())
    }

    /// The name.
    pub fn name(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Principal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Whether two secrets are the same. Takes as long wherever they differ; only that their lengths do
/// can be told from the time.
fn is_same(left: &[u8], right: &[u8]) -> bool {
    left.ct_eq(right).into()
}

/// 401 with its challenge (RFC 9110 §15.5.2).
fn unauthorized(challenge: String) -> Response {
    let hint = "this needs credentials that are known here";
    Response::error_of(ErrorKind::Refused, Status::UNAUTHORIZED, hint)
        .with_header("www-authenticate", challenge)
}
