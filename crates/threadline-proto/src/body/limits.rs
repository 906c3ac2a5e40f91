//! Bounds on the framing of a chunked body. Bounds on the content belong to whoever stores it.

/// How much may stand around the content of a chunked body.
///
/// Without these a client could send any number of bytes without ever sending content, and no limit on
/// content would notice.
///
/// ```
/// use threadline_proto::body::Limits;
///
/// // A service that wants no trailers.
/// let limits = Limits::default().trailers_max(0);
/// assert_eq!(limits.trailers_len_max, 8 * 1024);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// The extensions of one chunk in bytes, from the first `;` to the line's end. Beyond: 400.
    /// Default 256; the extensions that are in use (signatures of object stores) take about 90.
    pub extension_len_max: usize,
    /// The extensions of all chunks of a message in bytes. Beyond: 400. Default 16 KB, as much as a
    /// head may have.
    pub extensions_len_max: usize,
    /// The trailer section in bytes, with its empty line. Beyond: 431. Default 8 KB.
    pub trailers_len_max: usize,
    /// The number of trailer fields. Beyond: 431. Default 64.
    pub trailers_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            extension_len_max: 256,
            extensions_len_max: 16 * 1024,
            trailers_len_max: 8 * 1024,
            trailers_max: 64,
        }
    }
}

impl Limits {
    /// Sets how long the extensions of one chunk may be, in bytes.
    pub fn extension_len_max(mut self, bytes: usize) -> Self {
        self.extension_len_max = bytes;
        self
    }

    /// Sets how long the extensions of all chunks may be together, in bytes.
    pub fn extensions_len_max(mut self, bytes: usize) -> Self {
        self.extensions_len_max = bytes;
        self
    }

    /// Sets how long the trailer section may be, in bytes.
    pub fn trailers_len_max(mut self, bytes: usize) -> Self {
        self.trailers_len_max = bytes;
        self
    }

    /// Sets how many trailer fields there may be.
    pub fn trailers_max(mut self, count: usize) -> Self {
        self.trailers_max = count;
        self
    }
}
