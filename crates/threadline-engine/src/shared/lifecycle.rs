//! Where the engine is in its life, and what still keeps it from the next phase: shards that listen, and
//! connections.
//!
//! The engine moves it on; shards look at the phase and count. Phases only ever go forward.

use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};

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

#[derive(Debug)]
pub(crate) struct Lifecycle {
    phase: AtomicU8,
    /// Shards that have not closed their listeners yet.
    listening: AtomicUsize,
    /// Connections of all shards and models.
    connections: AtomicUsize,
    /// Those of them that nobody serves any more: they linger.
    leftovers: AtomicUsize,
}

impl Lifecycle {
    pub(super) fn new() -> Self {
        Lifecycle {
            phase: AtomicU8::new(Phase::Running as u8),
            listening: AtomicUsize::new(0),
            connections: AtomicUsize::new(0),
            leftovers: AtomicUsize::new(0),
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

    /// Goes on to that phase, unless a later one has been reached.
    pub(crate) fn enter(&self, phase: Phase) {
        self.phase.fetch_max(phase as u8, Ordering::AcqRel);
    }

    /// As many shards are going to listen.
    pub(crate) fn listen(&self, shards: usize) {
        self.listening.store(shards, Ordering::Relaxed);
    }

    /// A shard has closed its listeners. Pairs with [`Lifecycle::is_listening`]: who sees that none listens
    /// sees the connections that were accepted last.
    pub(crate) fn stop_listening(&self) {
        self.listening.fetch_sub(1, Ordering::Release);
    }

    /// Whether a shard has listeners.
    pub(crate) fn is_listening(&self) -> bool {
        self.listening.load(Ordering::Acquire) > 0
    }

    pub(crate) fn connection_opened(&self) {
        self.connections.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn connection_closed(&self) {
        self.connections.fetch_sub(1, Ordering::Relaxed);
    }

    /// A connection goes on only to linger.
    pub(crate) fn leftover_opened(&self) {
        self.leftovers.fetch_add(1, Ordering::Relaxed);
        self.connection_opened();
    }

    pub(crate) fn leftover_closed(&self) {
        self.connection_closed();
        self.leftovers.fetch_sub(1, Ordering::Relaxed);
    }

    /// How many connections only linger.
    #[cfg(feature = "testing")]
    pub(crate) fn leftovers(&self) -> usize {
        self.leftovers.load(Ordering::Relaxed)
    }

    /// How many connections are open.
    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn phases_only_go_forward() {
        let lifecycle = Lifecycle::new();
        assert_eq!(lifecycle.phase(), Phase::Running);
        let all = [Phase::Draining, Phase::Closing, Phase::Aborting, Phase::Stopped];
        for phase in all {
            lifecycle.enter(phase);
            assert_eq!(lifecycle.phase(), phase);
            lifecycle.enter(Phase::Draining);
            assert_eq!(lifecycle.phase(), phase, "not back");
        }
    }
}
