//! [`Part`]: one field of a form, or one file.
//!
//! Handed out by [`Multipart::next_part`](super::Multipart::next_part), one at a time: it reads from the
//! connection. Never keeps more in memory than the limits say.

use std::fmt;
use std::io::{self, BufRead, Read, Write};
use std::path::Path;

use threadline_engine::protocol::StoredFile;

use super::head::safe_file_name;
use super::spooled::Spool;
use super::stream::Stream;
use super::{MultipartError, PartError, PartHeaders, Spooled};

/// One part of a multipart body. Its content is read from the connection while it is asked for, by
/// [`Read`] or [`BufRead`] or as a whole; what is not read is skipped.
///
/// ```
/// use threadline_http::multipart::{Multipart, MultipartError};
///
/// fn upload(mut parts: Multipart<'_>) -> Result<String, MultipartError> {
///     let mut title = String::new();
///     while let Some(part) = parts.next_part()? {
///         match part.name() {
///             "title" => title = part.text()?,
///             "photo" => {
///                 let path = format!("photos/{}", part.safe_file_name().unwrap_or("unnamed"));
///                 part.spool()?.save_to(path)?;
///             }
///             _ => {} // not wanted: skipped
///         }
///     }
///     Ok(format!("stored {title}\n"))
/// }
/// # threadline_http::Router::new().post("/", upload).build().unwrap();
/// ```
pub struct Part<'m, 'a> {
    stream: &'m mut Stream<'a>,
}

impl<'m, 'a> Part<'m, 'a> {
    pub(super) fn new(stream: &'m mut Stream<'a>) -> Self {
        Part { stream }
    }

    /// The name of the form's field. Not unique: a field may have several values (RFC 7578 §4.3).
    ///
    /// It is given as it was sent, in UTF-8. Browsers send quotes and line ends in names as `%22`,
    /// `%0D` and `%0A`, and a percent sign as itself, so this cannot be undone.
    pub fn name(&self) -> &str {
        &self.stream.head.name
    }

    /// What the client calls its file, as it was sent, like [`Part::name`]; none for fields that are not
    /// files. A client that sends `filename*` too must mean the same name, and gets it decoded.
    ///
    /// Do not use it as a path: it may be `../../etc/passwd`. Take [`Part::safe_file_name`], or better
    /// a name of your own.
    pub fn file_name(&self) -> Option<&str> {
        self.stream.head.file_name.as_deref()
    }

    /// The last component of [`Part::file_name`], as a name that is safe in a directory of the service's
    /// own: no separators of any system, no dots at the start, no control characters, at most 255 bytes.
    /// None if there is no file name, or nothing of it is left.
    ///
    /// It is not unique, and its extension says nothing about the content.
    pub fn safe_file_name(&self) -> Option<&str> {
        safe_file_name(self.file_name()?)
    }

    /// What the client says that the content is, such as `image/png`. Without one it is `text/plain`
    /// (RFC 7578 §4.4).
    pub fn content_type(&self) -> Option<&str> {
        self.headers().get("content-type")
    }

    /// All header fields. Those other than `Content-Disposition`, `Content-Type` and
    /// `Content-Transfer-Encoding` mean nothing (RFC 7578 §4.8).
    pub fn headers(&self) -> &PartHeaders {
        &self.stream.head.headers
    }

    /// The rest of the content.
    ///
    /// # Errors
    /// [`MultipartError`]; [`PartError::TooLarge`] beyond
    /// [`MultipartLimits::memory_len_max`](super::MultipartLimits::memory_len_max), by default 2 MB.
    pub fn bytes(self) -> Result<Vec<u8>, MultipartError> {
        let max = self.stream.limits().memory_len_max;
        let mut bytes = Vec::new();
        loop {
            let piece = self.stream.content()?;
            let len = piece.len();
            if len == 0 {
                return Ok(bytes);
            }
            if len > max - bytes.len() {
                return Err(self.stream.part_error(PartError::TooLarge { max: max as u64 }));
            }
            bytes.extend_from_slice(piece);
            self.stream.consume(len);
        }
    }

    /// The rest of the content, as text in UTF-8 (RFC 7578 §5.1.2). Text in another charset can be had
    /// by [`Part::bytes`].
    ///
    /// # Errors
    /// Those of [`Part::bytes`], and [`PartError::NotText`].
    pub fn text(self) -> Result<String, MultipartError> {
        let stream = self.stream;
        let bytes = Part::new(stream).bytes()?;
        String::from_utf8(bytes).map_err(|_| stream.part_error(PartError::NotText))
    }

    /// Puts the rest of the content aside, so that the next part can be looked at. Where the body is in a file,
    /// the content stays there, and the file is kept with it. Otherwise it goes to memory if it is short, else to
    /// a temporary file, as
    /// [`MultipartLimits::spool_memory_max`](super::MultipartLimits::spool_memory_max) says (64 KB).
    ///
    /// # Errors
    /// [`MultipartError`]; [`MultipartError::Storage`] if there is no room for the file.
    pub fn spool(self) -> Result<Spooled, MultipartError> {
        self.spool_in(std::env::temp_dir())
    }

    /// As [`Part::spool`], with the file in a directory of your choice. In the file system where it is
    /// to be saved, [`Spooled::save_to`] need not copy it.
    ///
    /// # Errors
    /// Those of [`Part::spool`].
    pub fn spool_in(self, directory: impl AsRef<Path>) -> Result<Spooled, MultipartError> {
        if let Some(file) = self.stream.stored() {
            return self.stay_in(file);
        }
        let memory_max = self.stream.limits().spool_memory_max;
        let mut spool = Spool::new(directory.as_ref(), memory_max);
        loop {
            let piece = self.stream.content()?;
            let len = piece.len();
            if len == 0 {
                return spool.finish().map_err(MultipartError::Storage);
            }
            spool.write_all(piece).map_err(MultipartError::Storage)?;
            self.stream.consume(len);
        }
    }

    /// Finds out where the content ends in the file of its body.
    fn stay_in(self, file: StoredFile) -> Result<Spooled, MultipartError> {
        let mut range = None;
        loop {
            let len = self.stream.content()?.len() as u64;
            let start = self.stream.position();
            // Content is in one piece: what stands around it is not within.
            let (first, total) = range.unwrap_or((start, 0));
            range = Some((first, total + len));
            if len == 0 {
                return Ok(Spooled::ranged(file, first, total));
            }
            self.stream.consume(usize::try_from(len).unwrap_or(usize::MAX));
        }
    }
}

/// Errors carry a [`MultipartError`].
impl Read for Part<'_, '_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.fill_buf()?.read(buffer)?;
        self.consume(count);
        Ok(count)
    }
}

/// Content where it has arrived, without copying it.
impl BufRead for Part<'_, '_> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        Ok(self.stream.content()?)
    }

    fn consume(&mut self, count: usize) {
        self.stream.consume(count);
    }
}

impl fmt::Debug for Part<'_, '_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Part")
            .field("name", &self.name())
            .field("file_name", &self.file_name())
            .field("headers", self.headers())
            .finish_non_exhaustive()
    }
}
