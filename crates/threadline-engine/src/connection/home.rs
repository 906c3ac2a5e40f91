//! What every connection of a shard can reach from any thread: where its socket is registered, where
//! things are counted, the shard's mail, and the connections whose output waits.

use std::collections::HashMap;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Weak};

use parking_lot::Mutex;

use super::outbox::Outbox;
use crate::counters::Counters;
use crate::inbox::{Inbox, Note};
use crate::shared::{Mailboxes, WaitingBytes};
use crate::sys::{Clock, Epoll, Waker};

/// The part of a shard that its connections share, and may outlive.
#[derive(Debug)]
pub(crate) struct Home {
    pub(crate) epoll: Epoll,
    pub(crate) counters: Counters,
    pub(crate) inbox: Inbox,
    pub(crate) waker: Waker,
    pub(crate) outputs: Outputs,
    pub(crate) clock: Clock,
    /// The engine's budget of waiting bytes.
    pub(crate) waiting: Arc<WaitingBytes>,
    /// Those of all shards, this one included. Weak, since they hold it.
    pub(super) mailboxes: Weak<Mailboxes>,
    /// The shard drains. Tells senders, and orders nothing else.
    pub(crate) draining: AtomicBool,
    #[cfg(feature = "testing")]
    pub(crate) probes: crate::testing::Probes,
}

impl Home {
    pub(crate) fn new(
        epoll: Epoll,
        waker: Waker,
        clock: Clock,
        waiting: Arc<WaitingBytes>,
        mailboxes: Weak<Mailboxes>,
    ) -> Self {
        let (counters, inbox) = (Counters::default(), Inbox::default());
        Home {
            epoll,
            counters,
            inbox,
            waker,
            outputs: Outputs::default(),
            clock,
            waiting,
            mailboxes,
            draining: AtomicBool::new(false),
            #[cfg(feature = "testing")]
            probes: Default::default(),
        }
    }

    /// Counts bytes that do not wait any more. If many have been freed, the shard returns them to the system later.
    pub(crate) fn give_back(&self, count: usize) {
        self.waiting.give_back(count);
        if self.waiting.note_freed(count) {
            self.tell(Note::MemoryFree);
        }
    }

    /// The home of connections that have no engine around them.
    #[cfg(test)]
    pub(crate) fn alone(epoll: Epoll, waker: Waker, clock: Clock) -> Self {
        let waiting = Arc::new(WaitingBytes::new(usize::MAX));
        Home::new(epoll, waker, clock, waiting, Weak::new())
    }

    /// Asks the shard to report when it has served everything that is ready.
    #[cfg(feature = "testing")]
    pub(crate) fn probe(&self) {
        self.tell(Note::Probe);
    }

    /// Leaves a note for the thread that runs the shard, and wakes it whether or not it sleeps: for threads that
    /// do not know the shard's lease, where a system call does not matter.
    pub(crate) fn tell(&self, note: Note) {
        if self.inbox.push_to_wake(note) {
            self.waker.wake();
        }
    }
}

/// The outboxes of a shard in which output has waited, by the key of their connection: for the shard, which
/// may have to look at one whose connection another thread has.
#[derive(Debug, Default)]
pub(crate) struct Outputs {
    by_key: Mutex<HashMap<u64, Weak<Outbox>>>,
}

impl Outputs {
    pub(super) fn insert(&self, key: u64, outbox: Weak<Outbox>) {
        self.by_key.lock().insert(key, outbox);
    }

    pub(super) fn remove(&self, key: u64) {
        self.by_key.lock().remove(&key);
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.by_key.lock().len()
    }

    /// All outboxes in which output has ever waited, of connections that are open still.
    pub(super) fn all(&self) -> Vec<Arc<Outbox>> {
        self.by_key.lock().values().filter_map(Weak::upgrade).collect()
    }

    /// The outbox of that connection, if output has ever waited in it.
    pub(crate) fn get(&self, key: u64) -> Option<Arc<Outbox>> {
        self.by_key.lock().get(&key).and_then(Weak::upgrade)
    }
}
