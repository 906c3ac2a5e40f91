//! What a shard tells a test of how far it is: for `settle.rs`, which waits until nothing moves any more.

use std::collections::HashMap;
use std::sync::Weak;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

use crate::transport::{Link, Transport};

/// How often a wait for a shard looks whether the engine has stopped.
const LOOK: Duration = Duration::from_millis(10);

/// What a shard tells of how far it is.
#[derive(Debug, Default)]
pub(crate) struct Probes {
    /// Probes that it has answered: all that was ready when they came has been served.
    answered: Mutex<u64>,
    changed: Condvar,
    /// Events, notes and connections that it has served.
    moves: AtomicU64,
    /// The simulated connections by their keys, as their events do not say whether the peer has hung up.
    links: Mutex<HashMap<u64, Weak<Link>>>,
}

impl Probes {
    pub(crate) fn note_move(&self) {
        self.moves.fetch_add(1, Ordering::SeqCst);
    }

    pub(crate) fn answer(&self) {
        *self.answered.lock() += 1;
        self.changed.notify_all();
    }

    pub(crate) fn note_connection(&self, key: u64, transport: &Transport) {
        if let Transport::Scripted(scripted) = transport {
            self.links.lock().insert(key, scripted.link());
        }
    }

    /// Whether the peer of that connection, if it is a simulated one, has closed its sending side, and whether
    /// the connection has failed.
    pub(crate) fn hang_up(&self, key: u64) -> Option<(bool, bool)> {
        let link = self.links.lock().get(&key).and_then(Weak::upgrade)?;
        let script = link.lock();
        Some((script.has_hung_up(), script.has_failed()))
    }

    pub(super) fn moves(&self) -> u64 {
        self.moves.load(Ordering::SeqCst)
    }

    pub(super) fn answered(&self) -> u64 {
        *self.answered.lock()
    }

    pub(super) fn is_answered_since(&self, seen: u64) -> bool {
        let mut answered = self.answered.lock();
        if *answered == seen {
            self.changed.wait_for(&mut answered, LOOK);
        }
        *answered > seen
    }
}
