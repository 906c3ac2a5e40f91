//! What all threads of one engine share.

use std::collections::HashMap;
use std::net::{IpAddr, Shutdown, SocketAddr};
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock, Weak};

use parking_lot::Mutex;
use threadline_pool::ThreadPool;

use crate::bell::Bell;
use crate::connection::Home;
use crate::inbox::Note;
use crate::route::Route;
use crate::service::Service;
use crate::settings::Settings;
use crate::threads::Threads;

#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) settings: Settings,
    /// By listener number.
    pub(crate) services: Vec<Service>,
    pub(crate) pool: ThreadPool,
    pub(crate) threads: Arc<Threads>,
    pub(crate) bell: Bell,
    /// Connections of all shards and models.
    pub(crate) connections: AtomicUsize,
    pub(crate) peers: Peers,
    pub(crate) blocked: Blocked,
    /// Stands for `Protocol::step` where a panic is logged that is not a handler's.
    pub(crate) protocols: Arc<Route>,
    /// Stands for `Protocol::opened` and `Protocol::closed` where a panic is logged.
    pub(crate) hooks: Arc<Route>,
    /// Stands for code that a connection was handed over to, likewise.
    pub(crate) successors: Arc<Route>,
    /// What the shards can be told by, once they are there. In the order of their numbers.
    pub(crate) homes: OnceLock<Vec<Arc<Home>>>,
    /// Shards that have not closed their listeners yet.
    pub(crate) listening: AtomicUsize,
    phase: AtomicU8,
}

/// Where the engine is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub(crate) enum Phase {
    Running,
    /// No new connections; those there are finish. One that stays silent for a while is closed.
    Draining,
    /// As `Draining`, and a connection is closed as soon as it is between two messages.
    Closing,
    /// What is still there is cut off.
    Aborting,
    Stopped,
}

impl Phase {
    pub(crate) fn is_draining(self) -> bool {
        self >= Phase::Draining
    }

    pub(crate) fn is_closing(self) -> bool {
        self == Phase::Closing
    }
}

impl Shared {
    pub(crate) fn new(
        settings: Settings,
        services: Vec<Service>,
        pool: ThreadPool,
        threads: Arc<Threads>,
    ) -> Self {
        Shared {
            peers: Peers::new(settings.connections_per_peer_max),
            settings,
            services,
            pool,
            threads,
            bell: Bell::default(),
            connections: AtomicUsize::new(0),
            blocked: Blocked::default(),
            protocols: Route::new("protocol"),
            hooks: Route::new("connection hook"),
            successors: Route::new("handed-over connection"),
            homes: OnceLock::new(),
            listening: AtomicUsize::new(0),
            phase: AtomicU8::new(Phase::Running as u8),
        }
    }

    pub(crate) fn phase(&self) -> Phase {
        match self.phase.load(Ordering::Acquire) {
            0 => Phase::Running,
            1 => Phase::Draining,
            2 => Phase::Closing,
            3 => Phase::Aborting,
            _ => Phase::Stopped,
        }
    }

    /// Leaves a note with every shard but one.
    pub(crate) fn tell_others(&self, except: usize, note: Note) {
        let homes = self.homes.get().into_iter().flatten().enumerate();
        homes.filter(|(number, _)| *number != except).for_each(|(_, home)| home.tell(note));
    }

    pub(crate) fn set_phase(&self, phase: Phase) {
        self.phase.fetch_max(phase as u8, Ordering::AcqRel);
    }
}

/// Connections by peer address, if they are limited.
#[derive(Debug)]
pub(crate) struct Peers {
    limit: Option<usize>,
    counts: Mutex<HashMap<IpAddr, usize>>,
}

impl Peers {
    fn new(limit: Option<usize>) -> Self {
        Peers { limit, counts: Mutex::default() }
    }

    /// Counts a connection; false if its peer has too many already.
    pub(crate) fn admit(&self, peer: Option<SocketAddr>) -> bool {
        let (Some(limit), Some(peer)) = (self.limit, peer) else { return true };
        let mut counts = self.counts.lock();
        let count = counts.entry(peer.ip().to_canonical()).or_default();
        let admitted = *count < limit;
        *count += usize::from(admitted);
        admitted
    }

    /// A connection that was admitted has ended.
    pub(crate) fn leave(&self, peer: Option<SocketAddr>) {
        let (Some(_), Some(peer)) = (self.limit, peer) else { return };
        let mut counts = self.counts.lock();
        let ip = peer.ip().to_canonical();
        if let Some(count) = counts.get_mut(&ip) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&ip);
            }
        }
    }
}

/// A connection whose thread may be blocked on it: only a shutdown of the socket reaches it.
pub(crate) trait Blockable: Send + Sync {
    fn shut_down(&self, how: Shutdown);

    /// Whether output waits for the peer to read.
    fn output_waits(&self) -> bool {
        false
    }
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
