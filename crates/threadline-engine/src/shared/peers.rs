//! Connections by peer address, if they are limited.
//!
//! Shards ask when they accept a connection, and say when it ends. Without a limit neither costs anything.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};

use parking_lot::Mutex;

/// Connections by peer address, if they are limited.
#[derive(Debug)]
pub(crate) struct Peers {
    limit: Option<usize>,
    counts: Mutex<HashMap<IpAddr, usize>>,
}

impl Peers {
    pub(super) fn new(limit: Option<usize>) -> Self {
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

    /// Counts a connection that goes on, whatever the limit is.
    pub(crate) fn stay(&self, peer: Option<SocketAddr>) {
        if let (Some(_), Some(peer)) = (self.limit, peer) {
            *self.counts.lock().entry(peer.ip().to_canonical()).or_default() += 1;
        }
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

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_peer_has_its_limit_on_all_ports_and_as_a_mapped_address() {
        let peers = Peers::new(Some(2));
        let peer = |address: &str| Some(address.parse::<SocketAddr>().expect("an address"));
        assert!(peers.admit(peer("192.0.2.1:1000")));
        assert!(peers.admit(peer("[::ffff:192.0.2.1]:1001")));
        assert!(!peers.admit(peer("192.0.2.1:1002")));
        assert!(peers.admit(peer("192.0.2.2:1000")), "another one");
        assert!(peers.admit(None), "a Unix socket has no peer to count");
        peers.leave(peer("192.0.2.1:1000"));
        assert!(peers.admit(peer("192.0.2.1:1002")), "one has left");
    }

    #[test]
    fn peers_that_have_left_are_forgotten() {
        let peers = Peers::new(Some(1));
        let peer = Some(SocketAddr::from(([192, 0, 2, 1], 1000)));
        assert!(peers.admit(peer));
        peers.leave(peer);
        assert!(peers.counts.lock().is_empty());
    }
}
