//! The bounds on a multipart body, with their defaults and reasons.
//!
//! Read by the parser, which enforces those on the bytes, and by [`Part`](super::Part), which enforces
//! those on memory. The bound on the body as a whole is the route's own
//! ([`Methods::body_len_max`](crate::Methods::body_len_max)) and comes first.

/// How much a multipart body may have of everything.
///
/// Set for all routes by [`Router::state`](crate::Router::state), for some by middleware that leaves it
/// in the request's [extensions](crate::Request::extensions), and for one by
/// [`Multipart::limits`](super::Multipart::limits). The nearest one holds, as a whole. Beyond any of
/// them: 413.
///
/// ```
/// use threadline_http::multipart::{Multipart, MultipartError, MultipartLimits};
/// use threadline_http::{Router, post};
///
/// fn upload(mut parts: Multipart<'_>) -> Result<String, MultipartError> {
///     let mut len = 0;
///     while let Some(part) = parts.next_part()? {
///         len += part.spool()?.len();
///     }
///     Ok(format!("{len} bytes\n"))
/// }
///
/// let router = Router::new()
///     .state(MultipartLimits::default().parts_max(10).part_len_max(50_000_000))
///     .route("/photos", post(upload).body_len_max(100_000_000));
/// # router.build().unwrap();
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct MultipartLimits {
    /// How many parts there may be. Default 1 000: more fields than forms have, and too few to make
    /// their handling a burden.
    pub parts_max: usize,
    /// How many header fields a part may have. Default 16; browsers send two.
    pub headers_max: usize,
    /// The header fields of one part in bytes, with the empty line behind them. Default 8 KB: a long
    /// file name in any script, twice.
    pub headers_len_max: usize,
    /// What may stand before the first boundary, in bytes; it is skipped. Default 1 KB: a remark for
    /// programs that do not know MIME, which nobody sends any more.
    pub preamble_len_max: u64,
    /// The content of one part in bytes. Default 1 GB: it is the body's own limit that counts, until a
    /// route raises it.
    pub part_len_max: u64,
    /// How much [`Part::bytes`](super::Part::bytes) and [`Part::text`](super::Part::text) take into
    /// memory. Default 2 MB: as much as a body has by default.
    pub memory_len_max: usize,
    /// Up to how many bytes [`Part::spool`](super::Part::spool) keeps a part in memory; a longer one goes to a
    /// file. Default 64 KB, so that [`MultipartLimits::parts_max`] of them are no burden either.
    pub spool_memory_max: usize,
}

impl Default for MultipartLimits {
    fn default() -> Self {
        MultipartLimits {
            parts_max: 1_000,
            headers_max: 16,
            headers_len_max: 8 * 1024,
            preamble_len_max: 1024,
            part_len_max: 1024 * 1024 * 1024,
            memory_len_max: 2 * 1024 * 1024,
            spool_memory_max: 64 * 1024,
        }
    }
}

impl MultipartLimits {
    /// Sets how many parts there may be.
    pub fn parts_max(mut self, count: usize) -> Self {
        self.parts_max = count;
        self
    }

    /// Sets how many header fields a part may have.
    pub fn headers_max(mut self, count: usize) -> Self {
        self.headers_max = count;
        self
    }

    /// Sets how long the header fields of one part may be, in bytes.
    pub fn headers_len_max(mut self, bytes: usize) -> Self {
        self.headers_len_max = bytes;
        self
    }

    /// Sets how much may stand before the first boundary, in bytes.
    pub fn preamble_len_max(mut self, bytes: u64) -> Self {
        self.preamble_len_max = bytes;
        self
    }

    /// Sets how long the content of one part may be, in bytes.
    pub fn part_len_max(mut self, bytes: u64) -> Self {
        self.part_len_max = bytes;
        self
    }

    /// Sets how many bytes of a part are taken into memory when it is asked for as a whole.
    pub fn memory_len_max(mut self, bytes: usize) -> Self {
        self.memory_len_max = bytes;
        self
    }

    /// Sets from how many bytes on a spooled part goes to a file.
    pub fn spool_memory_max(mut self, bytes: usize) -> Self {
        self.spool_memory_max = bytes;
        self
    }
}
