//! The hashes of files' content, so that each version of a file is read for its tag once.
//!
//! Asked for each file that is sent and is not too long. Keeps a number for each file, never its content,
//! and believes only what the kernel says of versions (`stamp.rs`): where a change might go unseen, the
//! content is read each time. The lock is not held while a file is read.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::fs::FileExt;
use std::sync::{PoisonError, RwLock};
use std::time::SystemTime;

use super::stamp::Stamp;
use crate::conditional::ContentHash;

/// See the module.
#[derive(Debug)]
pub(super) struct Hashes {
    /// By device and inode: the version whose hash it is, and the hash.
    known: RwLock<HashMap<(u64, u64), (Stamp, u64)>>,
    /// The number of files that are known at most. When another one comes, all are forgotten: each is read
    /// once more then, and no order of use has to be kept.
    files_max: usize,
}

impl Hashes {
    pub(super) fn new(files_max: usize) -> Self {
        Hashes { known: RwLock::default(), files_max }
    }

    /// The hash of the file that has this stamp.
    ///
    /// # Errors
    /// If it cannot be read.
    pub(super) fn of(&self, file: &File, stamp: &Stamp, now: SystemTime) -> io::Result<u64> {
        let key = (stamp.device, stamp.inode);
        if let Some(hash) = self.known(key, stamp) {
            return Ok(hash);
        }
        let hash = read(file, stamp.len)?;
        if stamp.is_certain(now) {
            self.learn(key, *stamp, hash);
        }
        Ok(hash)
    }

    fn known(&self, key: (u64, u64), stamp: &Stamp) -> Option<u64> {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        known.get(&key).filter(|(known, _)| known == stamp).map(|(_, hash)| *hash)
    }

    fn learn(&self, key: (u64, u64), stamp: Stamp, hash: u64) {
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= self.files_max && !known.contains_key(&key) {
            known.clear();
        }
        if self.files_max > 0 {
            known.insert(key, (stamp, hash));
        }
    }
}

/// The hash of the first `len` bytes, or of as many as there are: a file that has become shorter fails
/// where it is sent.
fn read(file: &File, len: u64) -> io::Result<u64> {
    let mut hash = ContentHash::default();
    io::copy(&mut At { file, at: 0 }.take(len), &mut hash)?;
    Ok(hash.finish())
}

/// Reads a file without moving the place that its descriptor has.
struct At<'f> {
    file: &'f File,
    at: u64,
}

impl Read for At<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read_at(buffer, self.at)?;
        self.at += count as u64;
        Ok(count)
    }
}

impl Write for ContentHash {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn file(content: &[u8]) -> (File, Stamp) {
        let mut file = tempfile::tempfile().expect("a file");
        file.write_all(content).expect("written");
        let stamp = Stamp::of(&file.metadata().expect("metadata"));
        (file, stamp)
    }

    fn hash(content: &[u8]) -> u64 {
        let mut hash = ContentHash::default();
        hash.update(content);
        hash.finish()
    }

    /// When the kernel's dates of files made just now are past.
    fn later() -> SystemTime {
        SystemTime::now() + Duration::from_secs(60)
    }

    fn len(hashes: &Hashes) -> usize {
        hashes.known.read().expect("lock").len()
    }

    #[test]
    fn all_of_a_file_is_hashed() {
        let hashes = Hashes::new(4);
        for len in [0, 1, 8191, 8192, 8193, 100_000] {
            let content: Vec<u8> = (0..len).map(|at| (at / 7) as u8).collect();
            let (file, stamp) = file(&content);
            assert_eq!(hashes.of(&file, &stamp, later()).expect("read"), hash(&content), "{len}");
        }
        // No more than the stamp says, and no less than there is.
        let longer: Vec<u8> = (0..100_000).map(|at| (at / 7) as u8).collect();
        let (known, stamp) = file(&longer);
        let part = Stamp { len: 8193, ..stamp };
        assert_eq!(hashes.of(&known, &part, later()).expect("read"), hash(&longer[..8193]));
        let (file, stamp) = file(b"hello");
        file.set_len(2).expect("cut");
        assert_eq!(hashes.of(&file, &stamp, later()).expect("read"), hash(b"he"));
    }

    #[test]
    fn a_version_that_is_certain_is_read_once() {
        let hashes = Hashes::new(4);
        let (known, stamp) = file(b"one");
        let first = hashes.of(&known, &stamp, later()).expect("read");
        let (other, _) = file(b"two");
        assert_eq!(hashes.of(&other, &stamp, later()).expect("known"), first);
        // Another stamp is another version.
        let longer = Stamp { len: 2, ..stamp };
        assert_eq!(hashes.of(&other, &longer, later()).expect("read"), hash(b"tw"));
        assert_eq!(len(&hashes), 1, "the older version is forgotten");
    }

    #[test]
    fn files_are_known_beside_each_other() {
        let hashes = Hashes::new(3);
        let stamps = [b"one", b"two"].map(|content| {
            let (file, stamp) = file(content);
            hashes.of(&file, &stamp, later()).expect("read");
            // Open, so that the next one has another inode.
            (file, stamp)
        });
        let (other, _) = file(b"other");
        let known = stamps.map(|(_, stamp)| hashes.of(&other, &stamp, later()).expect("known"));
        assert_eq!(known, [hash(b"one"), hash(b"two")]);
    }

    #[test]
    fn a_version_that_is_not_certain_is_read_each_time() {
        let hashes = Hashes::new(4);
        let (one, stamp) = file(b"one");
        let (two, _) = file(b"two");
        let now = SystemTime::now();
        assert_eq!(hashes.of(&one, &stamp, now).expect("read"), hash(b"one"));
        assert_eq!(hashes.of(&two, &stamp, now).expect("read"), hash(b"two"));
        assert_eq!(len(&hashes), 0);
    }

    #[test]
    fn no_more_files_are_known_than_allowed() {
        for max in [0, 1, 3] {
            let hashes = Hashes::new(max);
            let files: Vec<_> = (0..10_u8).map(|n| file(&[n])).collect();
            for (n, (file, stamp)) in files.iter().enumerate() {
                let known = hashes.of(file, stamp, later()).expect("read");
                assert_eq!(known, hash(&[n as u8]));
                assert!(len(&hashes) <= max, "{max}");
            }
            // What is known already needs no room.
            let before = len(&hashes);
            let (file, stamp) = &files[9];
            hashes.of(file, &Stamp { len: 0, ..*stamp }, later()).expect("read");
            assert_eq!(len(&hashes), before);
        }
    }
}
