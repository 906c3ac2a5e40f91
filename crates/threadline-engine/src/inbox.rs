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
    /// A connection comes back from another thread that must not run the call of the route with that number: its
    /// message goes where the route belongs.
    Offloaded { index: u32, route: u32 },
    /// A connection comes back from another thread, to go on in another protocol.
    Upgrades(u32),
    /// A slot is free again.
    Freed(u32),
    /// Output of the connection with that key has begun to wait, or its end was announced: the shard
    /// looks at it from now on.
    OutputWaits(u64),
    /// A call of the connection with that key has its answer.
    Answered(u64),
    /// A stream handler has let go of a connection, which lingers.
    Leftover,
    /// Another shard needs room: close what has been idle longest.
    MakeRoom,
    /// Much memory of waiting bytes was freed: it goes back to the system after a while.
    MemoryFree,
    /// Too many bytes wait: end the slowest of the messages that are being received.
    SlowBodies,
    /// The engine's phase has changed.
    Phase,
    /// A test asks the shard to report when it has served everything that is ready.
    #[cfg(feature = "testing")]
    Probe,
}

#[derive(Debug, Default)]
pub(crate) struct Inbox {
    notes: Mutex<Notes>,
    /// Their number, so that an empty inbox costs its owner a load.
    count: AtomicUsize,
}

#[derive(Debug, Default)]
struct Notes {
    list: Vec<Note>,
    /// The thread that has left one of them wakes the shard.
    wakes: bool,
}

impl Inbox {
    /// Leaves a note. The caller decides whether to wake the shard.
    pub(crate) fn push(&self, note: Note) {
        self.push_to(&mut self.notes.lock(), note);
    }

    /// Leaves a note for which the shard must be woken. Returns whether the caller has to do that; otherwise
    /// another thread does.
    pub(crate) fn push_to_wake(&self, note: Note) -> bool {
        let mut notes = self.notes.lock();
        self.push_to(&mut notes, note);
        !std::mem::replace(&mut notes.wakes, true)
    }

    fn push_to(&self, notes: &mut Notes, note: Note) {
        notes.list.push(note);
        // The caller looks at the lease word next, the shard looks here after it has said that it
        // sleeps: the fences in the word see to it that one of the two sees the other.
        self.count.store(notes.list.len(), Ordering::Relaxed);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.count.load(Ordering::Relaxed) == 0
    }

    /// Moves the notes into `taken`, which must be empty, and leaves its capacity behind.
    pub(crate) fn take(&self, taken: &mut Vec<Note>) {
        let mut notes = self.notes.lock();
        std::mem::swap(&mut notes.list, taken);
        notes.wakes = false;
        self.count.store(0, Ordering::Relaxed);
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn one_of_those_who_want_the_shard_awake_wakes_it() {
        let inbox = Inbox::default();
        inbox.push(Note::Freed(1));
        assert!(inbox.push_to_wake(Note::Answered(2)), "nobody wakes it for a slot");
        assert!(!inbox.push_to_wake(Note::Answered(3)));
        let mut taken = Vec::new();
        inbox.take(&mut taken);
        assert_eq!(taken, [Note::Freed(1), Note::Answered(2), Note::Answered(3)]);
        assert!(inbox.is_empty());
        assert!(inbox.push_to_wake(Note::Answered(4)), "it may be asleep again");
    }
}
