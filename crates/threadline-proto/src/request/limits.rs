//! Bounds on a request head. Bounds on bodies belong to whoever stores them.

use crate::request::HeaderSlots;

/// How large a request head may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// The whole head in bytes. Beyond: 431. Default 16 KB, twice what browsers send with a full
    /// cookie jar.
    pub head_len_max: usize,
    /// The number of fields, at most [`HeaderSlots::COUNT`]. Beyond: 431. Default 100.
    pub headers_max: usize,
    /// The request target in bytes. Beyond: 414. Default 8 000, the least that RFC 9112 §3 asks
    /// for.
    pub target_len_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Limits { head_len_max: 16 * 1024, headers_max: 100, target_len_max: 8_000 }
    }
}

impl Limits {
    /// Sets the longest head in bytes.
    pub fn head_len_max(mut self, bytes: usize) -> Self {
        self.head_len_max = bytes;
        self
    }

    /// Sets the largest number of fields; more than [`HeaderSlots::COUNT`] counts as that.
    pub fn headers_max(mut self, count: usize) -> Self {
        self.headers_max = count.min(HeaderSlots::COUNT);
        self
    }

    /// Sets the longest request target in bytes.
    pub fn target_len_max(mut self, bytes: usize) -> Self {
        self.target_len_max = bytes;
        self
    }
}
