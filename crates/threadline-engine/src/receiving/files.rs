//! Files for content that is too long for memory: they have no name, and are gone with their last handle.
//!
//! Written by threads that may block. Read by handlers at any offset, by several threads at once.

use std::fmt;
use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use rustix::fs::fstatfs;

use super::store::Bodies;

/// Where files for content are made, and how many there are.
#[derive(Debug)]
pub(crate) struct BodyFiles {
    dir: PathBuf,
    max: usize,
    open: AtomicUsize,
}

/// Why there is no file, or not all of it.
#[derive(Debug)]
pub(crate) enum FileError {
    /// There are as many as there may be.
    TooMany,
    /// The waiting bytes have no room for a file that is in memory.
    NoRoom,
    Io(io::Error),
}

/// Types of file systems whose files are in memory (statfs(2)).
const TMPFS: i128 = 0x0102_1994;
const RAMFS: i128 = 0x8584_58f6;

impl BodyFiles {
    pub(crate) fn new(dir: PathBuf, max: usize) -> Self {
        BodyFiles { dir, max, open: AtomicUsize::new(0) }
    }

    pub(crate) fn open(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }

    /// Counts one more, if there may be one more.
    fn enter(&self) -> bool {
        // Only the number counts: nothing else is ordered by it.
        let (set, fetch) = (Ordering::Relaxed, Ordering::Relaxed);
        let more = |open: usize| (open < self.max).then_some(open + 1);
        self.open.fetch_update(set, fetch, more).is_ok()
    }
}

/// The content of a message in a file. Clones share it.
///
/// The file has no name: nobody else finds it, and it is gone with the last clone, however the process ends.
#[derive(Clone)]
pub struct StoredFile(Arc<Inner>);

struct Inner {
    file: File,
    len: u64,
    permit: Permit,
}

/// The place of a file among those that there may be, and what it takes of the waiting bytes.
struct Permit {
    bodies: Arc<Bodies>,
    /// Whether its file system is in memory.
    is_in_memory: bool,
    held: usize,
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.bodies.budget.give_back(self.held);
        self.bodies.files.open.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A file that content is appended to.
pub(crate) struct Writing(Inner);

impl Writing {
    /// A new file. Blocks.
    pub(crate) fn begin(bodies: &Arc<Bodies>) -> Result<Self, FileError> {
        let files = &bodies.files;
        if !files.enter() {
            return Err(FileError::TooMany);
        }
        let bodies = Arc::clone(bodies);
        let mut permit = Permit { bodies, is_in_memory: false, held: 0 };
        // With O_TMPFILE where the file system has that; otherwise its name is removed at once.
        let file = tempfile::tempfile_in(&permit.bodies.files.dir).map_err(FileError::Io)?;
        // The type of the field differs by architecture.
        let is_memory = |kind: i128| [TMPFS, RAMFS].contains(&kind);
        permit.is_in_memory =
            fstatfs(&file).is_ok_and(|file_system| is_memory(file_system.f_type.into()));
        Ok(Writing(Inner { file, len: 0, permit }))
    }

    /// Appends content. Blocks.
    pub(crate) fn append(&mut self, content: &[u8]) -> Result<(), FileError> {
        let Inner { file, len, permit } = &mut self.0;
        if permit.is_in_memory {
            // Slower messages are ended for it, which takes a moment.
            if !permit.bodies.budget.try_exceed(content.len()) {
                return Err(FileError::NoRoom);
            }
            permit.held += content.len();
        }
        file.write_all(content).map_err(FileError::Io)?;
        *len += content.len() as u64;
        Ok(())
    }

    /// Whether its file system is in memory.
    pub(crate) fn is_in_memory(&self) -> bool {
        self.0.permit.is_in_memory
    }

    /// How many waiting bytes it has taken.
    pub(crate) fn held(&self) -> usize {
        self.0.permit.held
    }

    /// All of it is there.
    pub(crate) fn end(self) -> StoredFile {
        StoredFile(Arc::new(self.0))
    }
}

impl StoredFile {
    /// Its length in bytes.
    pub fn len(&self) -> u64 {
        self.0.len
    }

    /// Whether it has no bytes.
    pub fn is_empty(&self) -> bool {
        self.0.len == 0
    }

    /// Reads bytes from `offset` on, and returns how many; 0 at the end. Several threads can read at once.
    ///
    /// # Errors
    /// The system's, if the disk fails.
    pub fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        loop {
            match self.0.file.read_at(buffer, offset) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                read => return read,
            }
        }
    }

    /// The file itself, to copy from it in the kernel. Its position is shared with all clones: use offsets.
    pub fn file(&self) -> &File {
        &self.0.file
    }
}

impl fmt::Debug for StoredFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StoredFile({} bytes)", self.len())
    }
}
