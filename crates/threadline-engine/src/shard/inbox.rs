//! Notes that other threads leave for whoever runs the shard.
//!
//! Leaving one costs a lock, and a system call only if the shard sleeps. The race between a note and
//! a shard that is going to sleep is settled by the lease word: see `lease/README.md`, "Sleeping".

use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;

/// What there is to tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Note {
    /// A connection comes back from another thread, with something still to do.
    Returned(u32),
    /// A slot is free again.
    Freed(u32),
    /// Output of the connection with that key has begun to wait, or its end was announced: the shard
    /// looks at it from now on.
    OutputWaits(u64),
    /// A call of the connection with that key has its answer.
    Answered(u64),
    /// Another shard needs room: close what has been idle longest.
    MakeRoom,
    /// The engine's phase has changed.
    Phase,
}

#[derive(Debug, Default)]
pub(crate) struct Inbox {
    notes: Mutex<Vec<Note>>,
    /// Their number, so that an empty inbox costs its owner a load.
    count: AtomicUsize,
}

impl Inbox {
    /// Leaves a note. Says whether it is the only one: if not, the shard is awake, or somebody wakes it.
    pub(crate) fn push(&self, note: Note) -> bool {
        let mut notes = self.notes.lock();
        notes.push(note);
        // The caller looks at the lease word next, the shard looks here after it has said that it
        // sleeps: the fences in the word see to it that one of the two sees the other.
        self.count.store(notes.len(), Ordering::Relaxed);
        notes.len() == 1
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.count.load(Ordering::Relaxed) == 0
    }

    /// Moves the notes into `taken`, which must be empty, and leaves its capacity behind.
    pub(crate) fn take(&self, taken: &mut Vec<Note>) {
        let mut notes = self.notes.lock();
        std::mem::swap(&mut *notes, taken);
        self.count.store(0, Ordering::Relaxed);
    }
}
