//! What the file system says of a file's version, and what a validator can be made of it.
//!
//! The date of the last change (`mtime`) is whatever a tool has set it to: images that are built
//! reproducibly have 0, 1 or a date of the 1980s for all files of all versions, `cp -p` and `rsync -a` keep
//! that of another file. So a tag is made of the content where that is not too long, and otherwise of what
//! only the kernel sets: the inode and its last change (`ctime`, inode(7)). Never reads the file.

use std::fs::Metadata;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::os::unix::fs::MetadataExt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::date;

/// A version of a file, as far as its metadata tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Stamp {
    pub(super) device: u64,
    pub(super) inode: u64,
    /// In bytes.
    pub(super) len: u64,
    /// The last change of the content. Any tool can set it.
    pub(super) modified: Time,
    /// The last change of the content or of the inode. Only the kernel sets it.
    pub(super) changed: Time,
}

/// Seconds and nanoseconds since 1970, before it if negative.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Time {
    pub(super) seconds: i64,
    pub(super) nanoseconds: i64,
}

/// What has been changed more recently may change again without a difference in its dates (RFC 9110
/// §8.8.1, §8.8.2.2): they count ticks of some milliseconds, or seconds, and clocks are a little apart.
const SETTLES_IN: Duration = Duration::from_secs(2);

/// Older dates say nothing: 1 January 1990, before there was a web. Archives and images that are built
/// reproducibly have 0 or 1 (Nix, OSTree), 1980 (ZIP), 1984 (Yarn) or 1985 (npm) for every version.
const EARLIEST: i64 = 631_152_000;
const LATEST: i64 = date::LAST_SECOND as i64;

impl Stamp {
    pub(super) fn of(metadata: &Metadata) -> Self {
        let time = |seconds, nanoseconds| Time { seconds, nanoseconds };
        Stamp {
            device: metadata.dev(),
            inode: metadata.ino(),
            len: metadata.len(),
            modified: time(metadata.mtime(), metadata.mtime_nsec()),
            changed: time(metadata.ctime(), metadata.ctime_nsec()),
        }
    }

    /// When the content was last changed, where that can be believed.
    pub(super) fn last_modified(&self) -> Option<SystemTime> {
        let Time { seconds, nanoseconds } = self.modified;
        if !self.modified.is_credible() {
            return None;
        }
        let whole = Duration::from_secs(u64::try_from(seconds).ok()?);
        UNIX_EPOCH.checked_add(whole + Duration::from_nanos(u64::try_from(nanoseconds).ok()?))
    }

    /// Whether the content was last changed so long ago that the next change has another date.
    pub(super) fn is_settled(&self, now: SystemTime) -> bool {
        self.modified.is_past(now)
    }

    /// Whether the date is that of the last change by the kernel's word too. Not where a tool has set it
    /// (`cp -p`, `rsync -a`, `tar`, builds with `SOURCE_DATE_EPOCH`): other content may have the same.
    pub(super) fn is_own_date(&self) -> bool {
        self.changed.seconds.saturating_sub(self.modified.seconds) <= SETTLES_IN.as_secs() as i64
    }

    /// Whether the same stamp is the same content, by the kernel's word. Not where it has no date of its
    /// own, as on images that are mounted read-only, nor within a moment after a change.
    pub(super) fn is_certain(&self, now: SystemTime) -> bool {
        self.changed.is_credible() && self.changed.is_past(now)
    }

    /// A number that differs between versions, if the stamp is certain.
    pub(super) fn number(&self) -> u64 {
        // Not the device: its number may be another one after each start.
        let mut hasher = DefaultHasher::new();
        (self.inode, self.modified, self.changed).hash(&mut hasher);
        hasher.finish()
    }
}

impl Time {
    fn is_credible(self) -> bool {
        (EARLIEST + 1..=LATEST).contains(&self.seconds)
    }

    /// Whether it is so long ago that nothing that happens now has the same time.
    fn is_past(self, now: SystemTime) -> bool {
        let since_1970 = now.duration_since(UNIX_EPOCH).unwrap_or_default();
        let latest = since_1970.saturating_sub(SETTLES_IN);
        let (seconds, nanoseconds) = (latest.as_secs(), latest.subsec_nanos());
        let seconds = i64::try_from(seconds).unwrap_or(i64::MAX);
        self <= Time { seconds, nanoseconds: i64::from(nanoseconds) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_700_000_000;

    fn time(seconds: i64) -> Time {
        Time { seconds, nanoseconds: 5 }
    }

    fn stamp(modified: i64, changed: i64) -> Stamp {
        let (modified, changed) = (time(modified), time(changed));
        Stamp { device: 1, inode: 2, len: 3, modified, changed }
    }

    #[test]
    fn a_date_that_a_tool_has_set_is_not_the_files_own() {
        assert!(stamp(NOW, NOW).is_own_date() && stamp(NOW, NOW + 2).is_own_date());
        // Renamed, linked or given other rights later: it may as well have been written.
        assert!(!stamp(NOW, NOW + 3).is_own_date());
        assert!(!stamp(i64::MIN, i64::MAX).is_own_date());
        // On an image that is mounted read-only, which has one date for all.
        assert!(stamp(NOW, NOW).is_own_date() && stamp(NOW, 0).is_own_date());
    }

    fn now() -> SystemTime {
        UNIX_EPOCH + Duration::new(NOW as u64, 5)
    }

    #[test]
    fn dates_of_no_web_and_of_no_calendar_are_left_out() {
        for (seconds, expected) in [
            (i64::MIN, false),
            (-1, false),
            (0, false),
            (1, false),
            (315_532_800, false), // ZIP
            (456_789_000, false), // Yarn
            (499_162_500, false), // npm
            (631_152_000, false),
            (631_152_001, true),
            (NOW, true),
            (253_402_300_799, true),
            (253_402_300_800, false),
            (i64::MAX, false),
        ] {
            let date = stamp(seconds, NOW).last_modified();
            assert_eq!(date.is_some(), expected, "{seconds}");
            let exact =
                date.is_none_or(|date| date == UNIX_EPOCH + Duration::new(seconds as u64, 5));
            assert!(exact, "{seconds}");
        }
    }

    #[test]
    fn rfc9110_8_8_2_2_a_date_tells_versions_apart_when_it_is_past() {
        for (seconds, expected) in
            [(NOW - 3, true), (NOW - 2, true), (NOW - 1, false), (NOW, false), (NOW + 9, false)]
        {
            assert_eq!(stamp(seconds, 0).is_settled(now()), expected, "{seconds}");
            assert_eq!(stamp(0, seconds).is_certain(now()), expected, "{seconds}");
        }
        let just = Stamp { modified: Time { seconds: NOW - 2, nanoseconds: 6 }, ..stamp(0, 0) };
        assert!(!just.is_settled(now()));
        // A kernel's date that says nothing.
        for changed in [0, 1, -5] {
            assert!(!stamp(NOW - 9, changed).is_certain(now()), "{changed}");
        }
    }

    #[test]
    fn every_sign_of_another_version_changes_the_number() {
        let known = stamp(1, NOW);
        assert_eq!(known.number(), Stamp { device: 9, ..known }.number());
        for other in [
            Stamp { inode: 3, ..known },
            stamp(2, NOW),
            stamp(1, NOW + 1),
            Stamp { changed: Time { seconds: NOW, nanoseconds: 6 }, ..known },
            Stamp { modified: Time { seconds: 1, nanoseconds: 6 }, ..known },
        ] {
            assert_ne!(known.number(), other.number(), "{other:?}");
        }
    }

    #[test]
    fn a_stamp_is_what_the_system_says() {
        let file = tempfile::tempfile().expect("a file");
        file.set_len(7).expect("a length");
        file.set_modified(UNIX_EPOCH + Duration::new(1, 9)).expect("a date");
        let metadata = file.metadata().expect("metadata");
        let stamp = Stamp::of(&metadata);
        assert_eq!((stamp.device, stamp.inode, stamp.len), (metadata.dev(), metadata.ino(), 7));
        assert_eq!(stamp.modified, Time { seconds: 1, nanoseconds: 9 });
        assert_eq!(stamp.last_modified(), None);
        assert!(stamp.changed.is_credible() && !stamp.is_certain(SystemTime::now()));
    }
}
