//! One file as it is sent: its content, and what it is told from its other versions by.
//!
//! Made by the sources, a directory or embedded files, and taken apart by the reply. Knows no path and
//! no request.

use std::fs::{File, Metadata};
use std::io;
use std::ops::Range;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::time::{Duration, SystemTime};

use super::conditional::Validators;
use crate::body::Body;

/// A file that has been found.
#[derive(Debug)]
pub(super) struct Asset {
    pub(super) content: Content,
    /// In bytes, when it was found.
    pub(super) len: u64,
    pub(super) validators: Validators,
}

/// Where the bytes are.
#[derive(Debug)]
pub(super) enum Content {
    File(File),
    Static(&'static [u8]),
}

/// A file that has been changed more recently may change again without a difference in its date: its
/// validators are weak (RFC 9110 §8.8.1). A date counts seconds, and clocks are a little apart.
const SETTLES_IN: Duration = Duration::from_secs(2);

impl Asset {
    /// An open file.
    pub(super) fn of_file(file: File, metadata: &Metadata) -> Self {
        let modified = metadata.modified().ok();
        let is_settled = modified.is_some_and(|then| {
            SystemTime::now().duration_since(then).is_ok_and(|age| age >= SETTLES_IN)
        });
        let weakness = if is_settled { "" } else { "W/" };
        // Not the inode: the same file has the same tag on every machine behind a balancer.
        let (seconds, nanoseconds) = (metadata.mtime(), metadata.mtime_nsec());
        let len = metadata.len();
        let etag = format!("{weakness}\"{seconds:x}.{nanoseconds:x}-{len:x}\"");
        Asset {
            content: Content::File(file),
            len,
            validators: Validators { etag, modified, is_settled },
        }
    }

    /// When it was last changed, if that is not in the future (RFC 9110 §8.8.2.1).
    pub(super) fn last_modified(&self) -> Option<SystemTime> {
        self.validators.modified.map(|then| then.min(SystemTime::now()))
    }
}

impl Content {
    /// A part of it, as the content of a response.
    pub(super) fn into_body(self, part: Range<u64>) -> Body {
        match self {
            _ if part.is_empty() => Body::EMPTY,
            Content::File(file) => Body::file_range(file, part),
            Content::Static(bytes) => Body::from(slice(bytes, &part)),
        }
    }

    /// As [`std::io::Read::read`], from a place.
    pub(super) fn read_at(&self, buffer: &mut [u8], at: u64) -> io::Result<usize> {
        match self {
            Content::File(file) => file.read_at(buffer, at),
            Content::Static(bytes) => {
                let bytes = slice(bytes, &(at..at.saturating_add(buffer.len() as u64)));
                buffer[..bytes.len()].copy_from_slice(bytes);
                Ok(bytes.len())
            }
        }
    }
}

/// What there is of a part.
fn slice(bytes: &'static [u8], part: &Range<u64>) -> &'static [u8] {
    let end = |at: u64| usize::try_from(at).map_or(bytes.len(), |at| at.min(bytes.len()));
    bytes.get(end(part.start)..end(part.end)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;

    fn asset(age: Duration) -> Asset {
        let file = tempfile::tempfile().expect("a file");
        file.set_modified(SystemTime::now() - age).expect("a date");
        let metadata = file.metadata().expect("metadata");
        Asset::of_file(file, &metadata)
    }

    #[test]
    fn rfc9110_8_8_1_a_file_that_has_just_changed_has_a_weak_tag() {
        let fresh = asset(Duration::ZERO).validators;
        assert!(fresh.etag.starts_with("W/\"") && !fresh.is_settled, "{fresh:?}");
        let old = asset(Duration::from_secs(60)).validators;
        assert!(old.etag.starts_with('"') && old.is_settled, "{old:?}");
    }

    #[test]
    fn rfc9110_8_8_2_1_no_date_is_in_the_future() {
        let file = tempfile::tempfile().expect("a file");
        file.set_modified(SystemTime::now() + Duration::from_secs(1000)).expect("a date");
        let metadata = file.metadata().expect("metadata");
        let asset = Asset::of_file(file, &metadata);
        assert!(asset.last_modified().expect("a date") <= SystemTime::now());
        assert!(!asset.validators.is_settled);
    }

    #[test]
    fn a_date_before_1970_has_a_tag_too() {
        let file = tempfile::tempfile().expect("a file");
        file.set_modified(UNIX_EPOCH - Duration::from_secs(1000)).expect("a date");
        let metadata = file.metadata().expect("metadata");
        assert!(Asset::of_file(file, &metadata).validators.etag.starts_with('"'));
    }

    #[test]
    fn static_content_ends_where_it_ends() {
        let content = Content::Static(b"abc");
        let mut buffer = [0; 2];
        assert_eq!(content.read_at(&mut buffer, 2).expect("read"), 1);
        assert_eq!(content.read_at(&mut buffer, 9).expect("read"), 0);
        assert_eq!(content.into_body(1..9).as_bytes(), Some(&b"bc"[..]));
    }
}
