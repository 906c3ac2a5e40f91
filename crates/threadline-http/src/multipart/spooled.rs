//! [`Spooled`]: the content of a part, put aside in memory or in a file.
//!
//! Filled by [`Part::spool`](super::Part::spool). A part of a body that is in a file stays there. A file of its own is
//! readable by the service's user alone and
//! removed when nobody holds it any more; only a killed process leaves it behind.

use std::io::{self, Cursor, Read, Seek, SeekFrom, Write};
use std::path::Path;

use tempfile::NamedTempFile;
use threadline_engine::protocol::StoredFile;

use super::ranged::Ranged;

/// Content that has been put aside. Read it, or save it under a name; it is gone when it is dropped.
///
/// ```
/// use threadline_http::multipart::{Multipart, MultipartError};
///
/// /// Keeps the documents of a form if a field behind them says so.
/// fn submit(mut parts: Multipart<'_>) -> Result<(), MultipartError> {
///     let (mut documents, mut agreed) = (Vec::new(), false);
///     while let Some(part) = parts.next_part()? {
///         match part.name() {
///             "document" => documents.push(part.spool()?),
///             "agreed" => agreed = part.text()? == "yes",
///             _ => {}
///         }
///     }
///     for (number, document) in documents.into_iter().filter(|_| agreed).enumerate() {
///         document.save_to(format!("documents/{number}"))?;
///     }
///     Ok(())
/// }
/// # threadline_http::Router::new().post("/", submit).build().unwrap();
/// ```
#[derive(Debug)]
pub struct Spooled {
    store: Store,
    len: u64,
}

#[derive(Debug)]
enum Store {
    Memory(Cursor<Vec<u8>>),
    File(NamedTempFile),
    /// In the file of the body.
    Ranged(Ranged),
}

/// What happens to a file that is there already.
#[derive(Clone, Copy)]
enum Existing {
    Replace,
    Keep,
}

impl Spooled {
    /// A part of a body that is in a file.
    pub(super) fn ranged(file: StoredFile, start: u64, len: u64) -> Self {
        Spooled { store: Store::Ranged(Ranged::new(file, start, len)), len }
    }

    /// How long it is, in bytes.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether it is empty.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Its bytes, if they are in memory.
    pub fn as_bytes(&self) -> Option<&[u8]> {
        match &self.store {
            Store::Memory(bytes) => Some(bytes.get_ref()),
            Store::File(_) | Store::Ranged(_) => None,
        }
    }

    /// Where its file is, if it has one with a name.
    pub fn path(&self) -> Option<&Path> {
        match &self.store {
            Store::Memory(_) | Store::Ranged(_) => None,
            Store::File(file) => Some(file.path()),
        }
    }

    /// Makes it a file of that name, in place of one that is there. Nobody sees half of it: it is
    /// written beside its place and moved there. It can be read by the service's user alone (mode
    /// 0600), and is not flushed to the disk.
    ///
    /// # Errors
    /// Those of the file system; what was there before is still there.
    pub fn save_to(self, path: impl AsRef<Path>) -> io::Result<()> {
        self.save(path.as_ref(), Existing::Replace)
    }

    /// As [`Spooled::save_to`], but leaves a file that is there already as it is.
    ///
    /// # Errors
    /// [`io::ErrorKind::AlreadyExists`], and those of the file system.
    pub fn save_new(self, path: impl AsRef<Path>) -> io::Result<()> {
        self.save(path.as_ref(), Existing::Keep)
    }

    fn save(mut self, path: &Path, existing: Existing) -> io::Result<()> {
        if let Store::File(file) = self.store {
            match persist(file, path, existing) {
                Err(error) if error.error.kind() == io::ErrorKind::CrossesDevices => {
                    self.store = Store::File(error.file);
                }
                other => return Ok(other?),
            }
        }
        let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty());
        let mut copy = create(directory.unwrap_or(Path::new(".")))?;
        match &mut self.store {
            Store::Memory(bytes) => copy.write_all(bytes.get_ref())?,
            Store::File(file) => {
                file.rewind()?;
                // From file to file the kernel copies.
                io::copy(file.as_file_mut(), copy.as_file_mut())?;
            }
            Store::Ranged(range) => range.copy_to(copy.as_file_mut())?,
        }
        Ok(persist(copy, path, existing)?)
    }
}

fn create(directory: &Path) -> io::Result<NamedTempFile> {
    tempfile::Builder::new().prefix(".upload-").tempfile_in(directory)
}

fn persist(
    file: NamedTempFile,
    path: &Path,
    existing: Existing,
) -> Result<(), tempfile::PersistError> {
    match existing {
        Existing::Replace => file.persist(path).map(drop),
        Existing::Keep => file.persist_noclobber(path).map(drop),
    }
}

impl Read for Spooled {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match &mut self.store {
            Store::Memory(bytes) => bytes.read(buffer),
            Store::File(file) => file.read(buffer),
            Store::Ranged(range) => range.read(buffer),
        }
    }
}

impl Seek for Spooled {
    fn seek(&mut self, position: SeekFrom) -> io::Result<u64> {
        match &mut self.store {
            Store::Memory(bytes) => bytes.seek(position),
            Store::File(file) => file.seek(position),
            Store::Ranged(range) => range.seek(position),
        }
    }
}

/// Content on its way to be a [`Spooled`].
pub(super) struct Spool<'d> {
    directory: &'d Path,
    memory_max: usize,
    memory: Vec<u8>,
    /// Has all content, once the memory is not enough.
    file: Option<NamedTempFile>,
    len: u64,
}

impl<'d> Spool<'d> {
    pub(super) fn new(directory: &'d Path, memory_max: usize) -> Self {
        Spool { directory, memory_max, memory: Vec::new(), file: None, len: 0 }
    }

    /// All of it, to be read from its start.
    pub(super) fn finish(self) -> io::Result<Spooled> {
        let store = match self.file {
            Some(mut file) => {
                file.rewind()?;
                Store::File(file)
            }
            None => Store::Memory(Cursor::new(self.memory)),
        };
        Ok(Spooled { store, len: self.len })
    }
}

impl Write for Spool<'_> {
    fn write(&mut self, piece: &[u8]) -> io::Result<usize> {
        if self.file.is_none() && piece.len() > self.memory_max - self.memory.len() {
            let mut file = create(self.directory)?;
            file.write_all(&std::mem::take(&mut self.memory))?;
            self.file = Some(file);
        }
        let count = match &mut self.file {
            Some(file) => file.write(piece)?,
            None => self.memory.write(piece)?,
        };
        self.len += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn spooled(content: &[u8], memory_max: usize, directory: &Path) -> Spooled {
        let mut spool = Spool::new(directory, memory_max);
        for piece in content.chunks(3) {
            spool.write_all(piece).expect("written");
        }
        spool.finish().expect("finished")
    }

    fn names_in(directory: &Path) -> Vec<String> {
        let entries = fs::read_dir(directory).expect("a directory");
        entries
            .map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned())
            .collect()
    }

    #[test]
    fn it_is_in_memory_up_to_the_limit_and_in_a_file_beyond() {
        let directory = tempfile::tempdir().expect("a directory");
        for (content, has_file) in [("", false), ("12345678", false), ("123456789", true)] {
            let mut spooled = spooled(content.as_bytes(), 8, directory.path());
            assert_eq!(spooled.path().is_some(), has_file, "{content}");
            assert_eq!(spooled.as_bytes().is_none(), has_file, "{content}");
            assert_eq!(spooled.len(), content.len() as u64);
            assert_eq!(io::read_to_string(&mut spooled).expect("read"), content);
            spooled.rewind().expect("rewound");
            assert_eq!(io::read_to_string(&mut spooled).expect("read"), content, "again");
        }
        assert!(names_in(directory.path()).is_empty(), "files are removed");
    }

    #[test]
    fn it_is_saved_whole_from_memory_and_from_a_file() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("saved");
        for memory_max in [100, 0] {
            fs::write(&path, "what was there before").expect("written");
            spooled(b"content", memory_max, directory.path()).save_to(&path).expect("saved");
            assert_eq!(fs::read(&path).expect("read"), b"content");
            let kept = spooled(b"other", memory_max, directory.path()).save_new(&path);
            assert_eq!(kept.expect_err("is there").kind(), io::ErrorKind::AlreadyExists);
            assert_eq!(fs::read(&path).expect("read"), b"content");
        }
        assert_eq!(names_in(directory.path()), ["saved"], "nothing else is left");
    }

    #[test]
    fn what_cannot_be_saved_is_an_error() {
        let directory = tempfile::tempdir().expect("a directory");
        let nowhere = directory.path().join("nowhere/file");
        for memory_max in [100, 0] {
            let lost = spooled(b"content", memory_max, directory.path()).save_to(&nowhere);
            assert_eq!(lost.expect_err("no directory").kind(), io::ErrorKind::NotFound);
        }
        let mut spool = Spool::new(&nowhere, 0);
        assert!(spool.write_all(b"content").is_err());
        assert!(names_in(directory.path()).is_empty(), "nothing is left");
    }

    #[test]
    fn a_file_moves_to_another_file_system() {
        // Where this machine has no other, the first rename succeeds and the file is the same.
        let (here, there) = (tempfile::tempdir(), tempfile::tempdir_in("/dev/shm"));
        let (Ok(here), Ok(there)) = (here, there) else { return };
        let path = there.path().join("saved");
        spooled(b"content", 0, here.path()).save_to(&path).expect("saved");
        assert_eq!(fs::read(&path).expect("read"), b"content");
        assert!(names_in(here.path()).is_empty());
        assert_eq!(names_in(there.path()), ["saved"]);
    }
}
