//! [`MethodOverride`]: `PUT`, `PATCH` and `DELETE` for clients that can only `POST`.
//!
//! It decides which route answers, so it is a setting of the service and no layer: layers are around
//! a route that is found already. Off unless asked for: a proxy or firewall that lets `POST` through
//! and nothing else would be passed by.

use threadline_proto::Method;
use threadline_proto::request::Head;

/// Whether `X-HTTP-Method-Override` says what is to be done. Set by
/// [`HttpSettings::method_override`](crate::HttpSettings::method_override).
///
/// ```
/// use threadline_http::middleware::MethodOverride;
/// use threadline_http::{HttpSettings, Router};
///
/// let settings = HttpSettings::default().method_override(MethodOverride::Header);
/// let router = Router::new().delete("/notes/{id}", || ()).settings(settings);
/// # router.build().unwrap();
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum MethodOverride {
    /// The method is what the request line says.
    #[default]
    Off,
    /// A `POST` with `X-HTTP-Method-Override: PUT`, `PATCH` or `DELETE` is one of those, for the
    /// router, middleware and handlers alike. Another value, or two, gets a 400; other methods are
    /// not overridden.
    Header,
}

/// The field has a value that is not allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BadOverride;

impl BadOverride {
    pub(crate) const HINT: &'static str = "x-http-method-override may be PUT, PATCH or DELETE";
}

impl MethodOverride {
    /// Has the head say what is to be done.
    #[inline]
    pub(crate) fn apply(self, head: &mut Head<'_, '_>) -> Result<(), BadOverride> {
        if self == MethodOverride::Off || head.method != Method::Post {
            return Ok(());
        }
        let mut values = head.headers.all("x-http-method-override");
        head.method = match (values.next(), values.next()) {
            (None, _) => Method::Post,
            (Some(b"PUT"), None) => Method::Put,
            (Some(b"PATCH"), None) => Method::Patch,
            (Some(b"DELETE"), None) => Method::Delete,
            _ => return Err(BadOverride),
        };
        Ok(())
    }
}
