//! One file as it is sent: its content, and what it is told from its other versions by.
//!
//! Made by the sources, a directory or embedded files, and taken apart by the reply. Knows no path and
//! no request.

use std::fs::{File, Metadata};
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::time::SystemTime;

use super::hashes::Hashes;
use super::stamp::{Stamp, Time};
use crate::body::Body;
use crate::conditional::{Validators, tag_text};

/// A file that has been found.
#[derive(Debug)]
pub(super) struct Asset {
    pub(super) content: Content,
    /// In bytes, when it was found.
    pub(super) len: u64,
    version: Version,
}

/// Where the bytes are.
#[derive(Debug)]
pub(super) enum Content {
    File(File),
    Static(&'static [u8]),
}

/// What tells it from its other versions.
#[derive(Debug)]
enum Version {
    Stamp(Stamp),
    /// The hash of its content, which cannot change.
    Hash(u64),
}

/// How validators are made of files.
#[derive(Debug, Clone, Copy)]
pub(super) struct Tagging<'h> {
    pub(super) hashes: &'h Hashes,
    /// The longest file in bytes whose content is read for its tag.
    pub(super) len_max: u64,
}

impl Asset {
    /// An open file.
    pub(super) fn of_file(file: File, metadata: &Metadata) -> Self {
        let version = Version::Stamp(Stamp::of(metadata));
        Asset { content: Content::File(file), len: metadata.len(), version }
    }

    /// A file of the program.
    pub(super) fn of_static(content: &'static [u8], hash: u64) -> Self {
        let len = content.len() as u64;
        Asset { content: Content::Static(content), len, version: Version::Hash(hash) }
    }

    /// When it says that it was last changed, to be compared with other files; never, if it is part of the
    /// program.
    pub(super) fn modified(&self) -> Option<Time> {
        match &self.version {
            Version::Stamp(stamp) => Some(stamp.modified),
            Version::Hash(_) => None,
        }
    }

    /// What it is told from its other versions by. `coding` is that of a compressed sibling, whose tag must
    /// not be that of the file as it is (RFC 9110 §8.8.3.3).
    ///
    /// | the file | tag | date |
    /// | --- | --- | --- |
    /// | part of the program | of its content | none |
    /// | up to `Tagging::len_max` | of its content | `mtime`, if it can be believed |
    /// | longer | of its inode and dates | the same |
    /// | longer, and has changed a moment ago | none yet | the same |
    /// | longer, and the kernel has no date of its own | none | none |
    ///
    /// The tag of a file whose content was changed a moment ago is weak.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub(super) fn validators(
        &self,
        coding: Option<&str>,
        tagging: Tagging<'_>,
        now: SystemTime,
    ) -> io::Result<Validators> {
        let tag = |number, is_strong| {
            let weakness = if is_strong { "" } else { "W/" };
            let (text, coding) = (tag_text(self.len, number), coding.unwrap_or_default());
            let dash = if coding.is_empty() { "" } else { "-" };
            format!("{weakness}\"{text}{dash}{coding}\"")
        };
        let stamp = match &self.version {
            Version::Hash(hash) => {
                let etag = Some(tag(*hash, true));
                return Ok(Validators {
                    etag,
                    modified: None,
                    is_settled: true,
                    is_own_date: false,
                });
            }
            Version::Stamp(stamp) => stamp,
        };
        let (is_settled, is_certain) = (stamp.is_settled(now), stamp.is_certain(now));
        let number = match &self.content {
            Content::File(file) if self.len <= tagging.len_max => {
                Some(tagging.hashes.of(file, stamp, now)?)
            }
            _ => is_certain.then(|| stamp.number()),
        };
        Ok(Validators {
            etag: number.map(|number| tag(number, is_settled || is_certain)),
            modified: stamp.last_modified(),
            is_settled,
            is_own_date: stamp.is_own_date(),
        })
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
    use std::io::Write;
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;

    /// What is said of a file of this content and date, `later` after it was made.
    fn validators(content: &str, date: SystemTime, len_max: u64, later: Duration) -> Validators {
        let mut file = tempfile::tempfile().expect("a file");
        file.write_all(content.as_bytes()).expect("written");
        file.set_modified(date).expect("a date");
        let metadata = file.metadata().expect("metadata");
        let tagging = Tagging { hashes: &Hashes::new(1), len_max };
        let now = SystemTime::now() + later;
        Asset::of_file(file, &metadata).validators(None, tagging, now).expect("read")
    }

    fn is_strong(validators: &Validators) -> bool {
        validators.etag.as_ref().is_some_and(|etag| etag.starts_with('"'))
    }

    fn then() -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(784_111_777)
    }

    const AT_ONCE: Duration = Duration::ZERO;
    const LATER: Duration = Duration::from_secs(60);

    #[test]
    fn rfc9110_8_8_1_a_file_that_has_just_changed_has_a_weak_tag() {
        let fresh = validators("abc", SystemTime::now(), 9, AT_ONCE);
        assert!(fresh.etag.as_ref().is_some_and(|etag| etag.starts_with("W/\"")), "{fresh:?}");
        assert!(!fresh.is_settled);
        for len_max in [0, 9] {
            let old = validators("abc", then(), len_max, LATER);
            assert!(is_strong(&old) && old.is_settled, "{old:?}");
            // The kernel has seen no write since; only the date cannot be relied on.
            let future = validators("abc", SystemTime::now() + 2 * LATER, len_max, LATER);
            assert!(is_strong(&future) && !future.is_settled, "{future:?}");
        }
        // What is said of content is certain, what the kernel says of it is not yet.
        assert!(is_strong(&validators("abc", then(), 3, AT_ONCE)));
        assert_eq!(validators("abc", then(), 2, AT_ONCE).etag, None);
    }

    #[test]
    fn rfc9110_8_8_1_other_content_has_another_tag_whatever_the_date() {
        let dates = [UNIX_EPOCH, UNIX_EPOCH + Duration::from_secs(1), then()];
        for date in dates {
            for later in [AT_ONCE, LATER] {
                let etag = |content| validators(content, date, 3, later).etag;
                assert!(etag("one").is_some());
                assert_ne!(etag("one"), etag("two"), "{date:?} {later:?}");
                assert_eq!(etag("long").is_some(), later == LATER, "{date:?}");
            }
        }
        // The same content has the same tag, on every machine.
        let etag = |date| validators("one", date, 9, LATER).etag;
        assert!(dates.windows(2).all(|pair| etag(pair[0]) == etag(pair[1])));
    }

    #[test]
    fn a_date_that_cannot_be_believed_is_none() {
        for date in [UNIX_EPOCH - LATER, UNIX_EPOCH, UNIX_EPOCH + LATER] {
            for len_max in [0, 9] {
                let found = validators("one", date, len_max, LATER);
                assert_eq!(found.modified, None, "{date:?}");
                assert!(is_strong(&found), "{date:?}");
            }
        }
        assert_eq!(validators("one", then(), 0, LATER).modified, Some(then()));
        assert_eq!(validators("one", then(), 9, LATER).modified, Some(then()));
    }

    #[test]
    fn rfc9110_8_8_3_3_a_coding_has_a_tag_of_its_own() {
        let asset = Asset::of_static(b"abc", 7);
        let tagging = Tagging { hashes: &Hashes::new(0), len_max: 0 };
        let etag = |coding| {
            let found = asset.validators(coding, tagging, SystemTime::now()).expect("known");
            assert_eq!((found.modified, found.is_settled), (None, true));
            found.etag.expect("a tag")
        };
        assert_eq!(etag(None), "\"3-0000000000000007\"");
        assert_eq!(etag(Some("br")), "\"3-0000000000000007-br\"");
        assert_eq!(asset.modified(), None);
    }

    #[test]
    fn static_content_ends_where_it_ends() {
        let content = Content::Static(b"abc");
        let mut buffer = [0; 2];
        assert_eq!(content.read_at(&mut buffer, 2).expect("read"), 1);
        assert_eq!(content.read_at(&mut buffer, 9).expect("read"), 0);
        assert_eq!(content.into_body(1..9).as_bytes(), Some(&b"bc"[..]));
        let file = Content::File(tempfile::tempfile().expect("a file"));
        assert_eq!(file.into_body(3..3).as_bytes(), Some(&b""[..]));
    }
}
