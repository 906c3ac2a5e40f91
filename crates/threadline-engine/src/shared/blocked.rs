//! Connections whose threads may be blocked on them.
//!
//! Stream handlers and connections' own threads sleep in system calls, where no note reaches them. They are
//! listed here while they may, so that a shard that drains or makes room can end their wait.

use std::collections::HashMap;
use std::net::Shutdown;
use std::sync::{Arc, Weak};

use parking_lot::Mutex;

use crate::sys::Ticks;

/// A connection whose thread may be blocked on it: only a shutdown of the socket reaches it.
pub(crate) trait Blockable: Send + Sync {
    fn shut_down(&self, how: Shutdown);

    /// Whether output waits for the peer to read.
    fn output_waits(&self) -> bool {
        false
    }

    /// The message whose content its thread is receiving, if that takes waiting bytes.
    fn body(&self) -> Option<BlockedBody> {
        None
    }

    /// Has its thread end that message before long: it is too slow.
    fn end_body(&self) {}
}

/// A message whose content is received by a thread that may be blocked on it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct BlockedBody {
    /// How many waiting bytes it takes.
    pub(crate) held: usize,
    /// How many bytes have come of it.
    pub(crate) received: u64,
    /// When it began.
    pub(crate) began: Ticks,
    /// Its thread is to end it.
    pub(crate) is_ended: bool,
}

/// Connections that have a thread of their own, so that a drain can reach them. By key: the shard's
/// number and the slot's.
#[derive(Default)]
pub(crate) struct Blocked {
    sockets: Mutex<HashMap<(usize, u32), Weak<dyn Blockable>>>,
}

impl std::fmt::Debug for Blocked {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // What is written to is the caller's: the lock is let go first.
        let count = self.len();
        f.debug_struct("Blocked").field("sockets", &count).finish()
    }
}

impl Blocked {
    /// Keeps track of a socket until [`Blocked::leave`].
    pub(crate) fn enter(&self, shard: usize, slot: u32, socket: Weak<dyn Blockable>) {
        self.sockets.lock().insert((shard, slot), socket);
    }

    pub(crate) fn leave(&self, shard: usize, slot: u32) {
        self.sockets.lock().remove(&(shard, slot));
    }

    /// Those of a shard, with their slots.
    pub(crate) fn of_shard(&self, shard: usize) -> Vec<(u32, Arc<dyn Blockable>)> {
        let sockets = self.sockets.lock();
        let of_shard = sockets.iter().filter(|((of, _), _)| *of == shard);
        of_shard.filter_map(|((_, slot), socket)| Some((*slot, socket.upgrade()?))).collect()
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.sockets.lock().len()
    }

    /// Whether the connection in that slot has a thread of its own.
    pub(crate) fn contains(&self, shard: usize, slot: u32) -> bool {
        self.sockets.lock().contains_key(&(shard, slot))
    }

    /// Whether output waits for the peer of the connection in that slot.
    pub(crate) fn output_waits(&self, shard: usize, slot: u32) -> bool {
        self.socket(shard, slot).is_some_and(|socket| socket.output_waits())
    }

    /// Closes one or both directions of the socket in that slot, if a thread may block on it.
    pub(crate) fn shut_down(&self, shard: usize, slot: u32, how: Shutdown) {
        if let Some(socket) = self.socket(shard, slot) {
            socket.shut_down(how);
        }
    }

    fn socket(&self, shard: usize, slot: u32) -> Option<Arc<dyn Blockable>> {
        self.sockets.lock().get(&(shard, slot)).and_then(Weak::upgrade)
    }
}
