//! The bounds and deadlines of an HTTP service, with their defaults.

use threadline_engine::Timeouts;
use threadline_proto::body;
use threadline_proto::request::Limits;

use crate::middleware::MethodOverride;

/// Settings of an HTTP service. Every default is finite.
///
/// ```
/// use threadline_http::{HttpSettings, Router};
///
/// let settings = HttpSettings::default().body_len_max(10 * 1024 * 1024);
/// let router = Router::new().post("/", |body: Vec<u8>| body.len().to_string()).settings(settings);
/// # router.build().unwrap();
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct HttpSettings {
    /// Bounds on request heads: 16 KB, 100 headers, a target of 8 000 bytes.
    pub limits: Limits,
    /// Bounds on what stands around the content of a chunked body: 256 bytes of extensions of one chunk
    /// and 16 KB of all, 64 trailer fields in 8 KB.
    pub chunk_limits: body::Limits,
    /// The longest request body in bytes, where its route says nothing else. Beyond: 413. Default
    /// 2 MB.
    pub body_len_max: u64,
    /// How long each phase of a connection may take.
    pub timeouts: Timeouts,
    /// Whether a `POST` may say that it is another method. Default: no.
    pub method_override: MethodOverride,
}

impl Default for HttpSettings {
    fn default() -> Self {
        HttpSettings {
            limits: Limits::default(),
            chunk_limits: body::Limits::default(),
            body_len_max: 2 * 1024 * 1024,
            timeouts: Timeouts::default(),
            method_override: MethodOverride::Off,
        }
    }
}

impl HttpSettings {
    /// Sets the bounds on request heads.
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Sets the bounds on what stands around the content of a chunked body.
    pub fn chunk_limits(mut self, limits: body::Limits) -> Self {
        self.chunk_limits = limits;
        self
    }

    /// Sets the longest request body in bytes.
    pub fn body_len_max(mut self, bytes: u64) -> Self {
        self.body_len_max = bytes;
        self
    }

    /// Sets the deadlines.
    pub fn timeouts(mut self, timeouts: Timeouts) -> Self {
        self.timeouts = timeouts;
        self
    }

    /// Sets whether a `POST` may say that it is another method.
    pub fn method_override(mut self, method_override: MethodOverride) -> Self {
        self.method_override = method_override;
        self
    }
}
