//! The bounds and deadlines of an HTTP service, with their defaults.

use threadline_engine::Timeouts;
use threadline_proto::request::Limits;

/// Settings of an HTTP service. Every default is finite.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct HttpSettings {
    /// Bounds on request heads: 16 KB, 100 headers, a target of 8 000 bytes.
    pub limits: Limits,
    /// The longest request body in bytes. Beyond: 413. Default 2 MB: a body is kept in memory until
    /// it is whole.
    pub body_len_max: usize,
    /// How long each phase of a connection may take.
    pub timeouts: Timeouts,
}

impl Default for HttpSettings {
    fn default() -> Self {
        HttpSettings {
            limits: Limits::default(),
            body_len_max: 2 * 1024 * 1024,
            timeouts: Timeouts::default(),
        }
    }
}

impl HttpSettings {
    /// Sets the bounds on request heads.
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Sets the longest request body in bytes.
    pub fn body_len_max(mut self, bytes: usize) -> Self {
        self.body_len_max = bytes;
        self
    }

    /// Sets the deadlines.
    pub fn timeouts(mut self, timeouts: Timeouts) -> Self {
        self.timeouts = timeouts;
        self
    }
}
