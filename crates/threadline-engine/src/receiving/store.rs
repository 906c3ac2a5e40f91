//! Where the content of a message is while it is received: first in a buffer of the thread, which is used again
//! and again, so that nothing is allocated for content that has all come within a turn; then in memory of the
//! connection; and in a file, once there is too much of it or the waiting bytes have no room.
//!
//! Nothing is reserved for what has not come.

use std::mem;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use super::Content;
use super::files::{BodyFiles, FileError, StoredFile, Writing};
use crate::shared::WaitingBytes;

/// What all stores of an engine share.
#[derive(Debug)]
pub(crate) struct Bodies {
    pub(crate) files: BodyFiles,
    pub(crate) budget: Arc<WaitingBytes>,
    /// How many bytes of one message's content are kept in memory.
    pub(crate) memory_len_max: usize,
    /// Shards have been asked to end slow messages, and none has begun.
    pub(crate) relief: AtomicBool,
    /// How many threads have begun to wait for room in files in memory.
    pub(crate) waits: AtomicUsize,
}

impl Bodies {
    /// False if shards have been asked already.
    pub(crate) fn begin_relief(&self) -> bool {
        !self.relief.swap(true, Ordering::Relaxed)
    }

    pub(crate) fn end_relief(&self) {
        self.relief.store(false, Ordering::Relaxed);
    }

    /// The number of a thread that begins to wait for room.
    pub(crate) fn begin_wait(&self) -> usize {
        self.waits.fetch_add(1, Ordering::Relaxed)
    }

    /// How many threads have begun to wait after that one.
    pub(crate) fn waits_since(&self, number: usize) -> usize {
        self.waits.load(Ordering::Relaxed).wrapping_sub(number).saturating_sub(1)
    }
}

/// Content so far.
pub(crate) struct Store {
    bodies: Arc<Bodies>,
    place: Place,
    /// How many waiting bytes it has taken.
    held: usize,
    /// It is too long for memory, or the waiting bytes have no room for it: it has to move to a file.
    is_over: bool,
    /// The thread's buffer, after the content has moved to a file.
    left: Option<Vec<u8>>,
}

enum Place {
    /// In a buffer of the thread, whose first bytes are content. All of it is initialised.
    Borrowed {
        buffer: Vec<u8>,
        len: usize,
    },
    /// In memory of its own.
    Memory(Vec<u8>),
    Writing(Writing),
    File(StoredFile),
}

/// By how much its own memory grows at least, as a part of what there is: a quarter is hardly ever copied, and
/// leaves a fifth unused at most.
const GROWTH: usize = 4;

impl Store {
    /// An empty one, which uses the thread's buffer until [`Store::settle`] or [`Store::take_buffer`].
    pub(crate) fn new(bodies: &Arc<Bodies>, buffer: Vec<u8>) -> Self {
        let place = Place::Borrowed { buffer, len: 0 };
        Store { bodies: Arc::clone(bodies), place, held: 0, is_over: false, left: None }
    }

    /// The content, which is whole. A file that is being written is taken for ended from now on.
    pub(crate) fn content(&mut self) -> Content<'_> {
        if matches!(self.place, Place::Writing(_))
            && let Place::Writing(file) = mem::replace(&mut self.place, Place::Memory(Vec::new()))
        {
            self.place = Place::File(file.end());
        }
        match &self.place {
            Place::Borrowed { buffer, len } => Content::Memory(&buffer[..*len]),
            Place::Memory(bytes) => Content::Memory(bytes),
            Place::File(file) => Content::File(file),
            Place::Writing(_) => Content::Memory(&[]),
        }
    }

    /// Whether content of `more` bytes belongs in a file, which only a thread that may block writes.
    pub(crate) fn needs_file_for(&self, more: usize) -> bool {
        self.is_over || self.is_full_with(more)
    }

    /// Whether content of `more` bytes has no place in memory, however much waits elsewhere.
    pub(crate) fn is_full_with(&self, more: usize) -> bool {
        self.memory_len().is_none_or(|len| len.saturating_add(more) > self.bodies.memory_len_max)
    }

    /// How many bytes more may be kept in memory, however much waits elsewhere; no bound for those of a file.
    pub(crate) fn memory_left(&self) -> usize {
        let len = self.memory_len();
        len.map_or(usize::MAX, |len| self.bodies.memory_len_max.saturating_sub(len))
    }

    fn memory_len(&self) -> Option<usize> {
        match &self.place {
            Place::Borrowed { len, .. } => Some(*len),
            Place::Memory(bytes) => Some(bytes.len()),
            Place::Writing(_) | Place::File(_) => None,
        }
    }

    /// How many waiting bytes it has taken.
    pub(crate) fn held(&self) -> usize {
        match &self.place {
            Place::Writing(file) => file.held(),
            _ => self.held,
        }
    }

    /// Whether it is in a file that is in memory.
    pub(crate) fn is_in_memory_file(&self) -> bool {
        matches!(&self.place, Place::Writing(file) if file.is_in_memory())
    }

    /// Whether it is in a buffer of the thread.
    pub(crate) fn is_borrowed(&self) -> bool {
        matches!(self.place, Place::Borrowed { .. })
    }

    /// Whether content is appended to a file.
    pub(crate) fn is_writing(&self) -> bool {
        matches!(self.place, Place::Writing(_))
    }

    /// Whether a part of it is in a file.
    pub(crate) fn has_file(&self) -> bool {
        matches!(self.place, Place::Writing(_) | Place::File(_))
    }

    /// Whether it has to move to a file before anything more comes.
    pub(crate) fn must_move(&self) -> bool {
        self.is_over && !self.has_file()
    }

    /// Room for `count` bytes behind the content, if that is in a buffer of the thread. Content that is put there
    /// is told by [`Store::filled`].
    pub(crate) fn room(&mut self, count: usize) -> Option<&mut [u8]> {
        let Place::Borrowed { buffer, len } = &mut self.place else { return None };
        let needed = *len + count;
        if buffer.len() < needed {
            buffer.resize(needed.max(2 * buffer.len()), 0);
        }
        Some(&mut buffer[*len..needed])
    }

    pub(crate) fn filled(&mut self, count: usize) {
        if let Place::Borrowed { len, .. } = &mut self.place {
            *len += count;
        }
    }

    /// Appends content. Blocks if it is in a file.
    pub(crate) fn append(&mut self, content: &[u8]) -> Result<(), FileError> {
        match &mut self.place {
            Place::Borrowed { .. } => {
                if let Some(room) = self.room(content.len()) {
                    room.copy_from_slice(content);
                    self.filled(content.len());
                }
            }
            Place::Memory(bytes) => {
                if bytes.capacity() - bytes.len() < content.len() {
                    bytes.reserve_exact(content.len().max(bytes.len() / GROWTH));
                }
                bytes.extend_from_slice(content);
                self.is_over |= bytes.len() > self.bodies.memory_len_max;
                self.hold();
            }
            Place::Writing(file) => file.append(content)?,
            Place::File(_) => {}
        }
        Ok(())
    }

    /// Takes waiting bytes for all memory of its own.
    fn hold(&mut self) {
        let Place::Memory(bytes) = &self.place else { return };
        let more = bytes.capacity().saturating_sub(self.held);
        if more > 0 && !self.bodies.budget.try_take(more) {
            // It is there already: it is counted until it has moved to a file.
            self.bodies.budget.take(more);
            self.is_over = true;
        }
        self.held += more;
    }

    /// Moves what there is to a file. Blocks.
    pub(crate) fn move_to_file(&mut self) -> Result<(), FileError> {
        if self.has_file() {
            return Ok(());
        }
        let mut file = Writing::begin(&self.bodies)?;
        if matches!(self.place, Place::Memory(_)) {
            // It moves: on a file system in memory it must not be counted twice.
            self.release();
        }
        if let Content::Memory(bytes) = self.content()
            && let Err(error) = file.append(bytes)
        {
            // It is where it was, and counted again.
            self.hold();
            return Err(error);
        }
        if let Place::Borrowed { buffer, .. } = mem::replace(&mut self.place, Place::Writing(file))
        {
            self.left = Some(buffer);
        }
        self.is_over = false;
        Ok(())
    }

    fn release(&mut self) {
        self.bodies.budget.give_back(mem::take(&mut self.held));
    }

    /// The end of a turn after which more is waited for: content in the thread's buffer gets memory of its own,
    /// and the buffer is the thread's again.
    pub(crate) fn settle(&mut self) -> Option<Vec<u8>> {
        let Place::Borrowed { buffer, len } = &mut self.place else { return None };
        let own = buffer[..*len].to_vec();
        let buffer = mem::take(buffer);
        // A turn may have received more than a connection keeps.
        self.is_over = own.len() > self.bodies.memory_len_max;
        self.place = Place::Memory(own);
        self.hold();
        Some(buffer)
    }

    /// The thread's buffer, if it has that still: nobody needs the content any more, or it has moved to a file.
    pub(crate) fn take_buffer(&mut self) -> Option<Vec<u8>> {
        if let Some(buffer) = self.left.take() {
            return Some(buffer);
        }
        let Place::Borrowed { buffer, len } = &mut self.place else { return None };
        *len = 0;
        Some(mem::take(buffer))
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        self.release();
    }
}
