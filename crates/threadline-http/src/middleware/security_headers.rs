//! [`SecurityHeaders`]: what browsers shall not do with the responses.
//!
//! Each field has a default that does not break a service that knows nothing of it, or none. What a
//! handler has set itself stays.

use std::borrow::Cow;
use std::time::Duration;

use crate::middleware::layer::{Middleware, Next, Refused};
use crate::request::Request;
use crate::response::Response;

/// Middleware that adds header fields for browsers, where the handler has not set them:
///
/// | field | default |
/// | --- | --- |
/// | `x-content-type-options` | `nosniff` |
/// | `x-frame-options` | `DENY` |
/// | `referrer-policy` | `strict-origin-when-cross-origin` |
/// | `cross-origin-opener-policy` | `same-origin` |
/// | `cross-origin-resource-policy` | `same-origin` |
/// | `content-security-policy` | none: only you know what your pages load |
/// | `permissions-policy` | none |
/// | `strict-transport-security` | none: see [`SecurityHeaders::hsts`] |
///
/// ```
/// use std::time::Duration;
/// use threadline_http::Router;
/// use threadline_http::middleware::SecurityHeaders;
///
/// let headers = SecurityHeaders::new()
///     .set("content-security-policy", "default-src 'self'")
///     .set("x-frame-options", "SAMEORIGIN")
///     .without("cross-origin-resource-policy")
///     .hsts(Duration::from_secs(365 * 24 * 3600));
/// let router = Router::new().get("/", || "front page").layer(headers);
/// # router.build().unwrap();
/// ```
#[derive(Debug, Clone)]
pub struct SecurityHeaders {
    fields: Vec<(Cow<'static, str>, Cow<'static, str>)>,
}

const DEFAULTS: [(&str, &str); 5] = [
    ("x-content-type-options", "nosniff"),
    ("x-frame-options", "DENY"),
    ("referrer-policy", "strict-origin-when-cross-origin"),
    ("cross-origin-opener-policy", "same-origin"),
    ("cross-origin-resource-policy", "same-origin"),
];

impl Default for SecurityHeaders {
    fn default() -> Self {
        SecurityHeaders::new()
    }
}

impl SecurityHeaders {
    /// The defaults of the table above.
    pub fn new() -> Self {
        let fields = DEFAULTS.iter().map(|&(name, value)| (name.into(), value.into())).collect();
        SecurityHeaders { fields }
    }

    /// No fields, to [`SecurityHeaders::set`] each.
    pub fn none() -> Self {
        SecurityHeaders { fields: Vec::new() }
    }

    /// Sets a field.
    pub fn set(
        self,
        name: impl Into<Cow<'static, str>>,
        value: impl Into<Cow<'static, str>>,
    ) -> Self {
        let name = name.into();
        let mut headers = self.without(&name);
        headers.fields.push((name, value.into()));
        headers
    }

    /// Leaves a field out.
    pub fn without(mut self, name: &str) -> Self {
        self.fields.retain(|(known, _)| !known.eq_ignore_ascii_case(name));
        self
    }

    /// Tells browsers to use TLS alone for this host and its subdomains for `max_age` (RFC 6797). This
    /// cannot be taken back before that: be sure that every name has a certificate. Browsers ignore
    /// it in responses that came without TLS.
    pub fn hsts(self, max_age: Duration) -> Self {
        let value = format!("max-age={}; includeSubDomains", max_age.as_secs());
        self.set("strict-transport-security", value)
    }
}

impl Middleware for SecurityHeaders {
    fn handle(&self, request: &Request<'_>, next: Next<'_>) -> Response {
        next.run(request).finished_by(self, request, SecurityHeaders::finish)
    }

    fn refused(&self, _refused: &Refused<'_>, response: &mut Response) {
        self.add_to(response);
    }
}

impl SecurityHeaders {
    fn finish(&self, _request: &Request<'_>, mut response: Response) -> Response {
        self.add_to(&mut response);
        response
    }

    fn add_to(&self, response: &mut Response) {
        for (name, value) in &self.fields {
            if response.header_bytes(name).is_none() {
                response.append_header(name.clone(), value.clone());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Status;
    use crate::middleware::testing::{Stack, request};

    fn run(headers: SecurityHeaders, handler: fn(&Request<'_>) -> Response) -> Response {
        Stack::of(headers).run(request("GET /", ""), handler)
    }

    #[test]
    fn every_default_is_there() {
        let response = run(SecurityHeaders::new(), |_| Response::new(Status::OK));
        for (name, value) in DEFAULTS {
            assert_eq!(response.header(name), Some(value), "{name}");
        }
        assert_eq!(response.headers().count(), DEFAULTS.len());
    }

    #[test]
    fn a_handlers_own_field_stays() {
        let own = |_: &Request<'_>| {
            Response::new(Status::OK).with_header("X-Frame-Options", "SAMEORIGIN")
        };
        let response = run(SecurityHeaders::new(), own);
        assert_eq!(response.header("x-frame-options"), Some("SAMEORIGIN"));
        assert_eq!(response.headers().count(), DEFAULTS.len());
    }

    #[test]
    fn fields_can_be_set_and_left_out() {
        let headers = SecurityHeaders::new()
            .without("Referrer-Policy")
            .set("X-Frame-Options", "SAMEORIGIN")
            .hsts(Duration::from_secs(60));
        let response = run(headers, |_| Response::new(Status::OK));
        assert_eq!(response.header("referrer-policy"), None);
        assert_eq!(response.header("x-frame-options"), Some("SAMEORIGIN"));
        let hsts = response.header("strict-transport-security");
        assert_eq!(hsts, Some("max-age=60; includeSubDomains"));
        let none = run(SecurityHeaders::none(), |_| Response::new(Status::OK));
        assert_eq!(none.headers().count(), 0);
    }
}
