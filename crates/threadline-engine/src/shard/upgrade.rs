//! Connections that go on in another protocol, on a thread that may block: its hooks and stream handlers do.
//!
//! Where no hook is concerned, a conversation changes its protocol by itself.

use std::mem;
use std::sync::Arc;

use super::conversation::Pause;
use super::{Core, Desk, Shard};
use crate::connection::{Claim, Successor, Upgrade};
use crate::handlers::{Connection, StreamOptions};
use crate::inbox::Note;
use crate::lease::Lease;

/// What becomes of a connection that is upgraded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Upgraded {
    /// Messages of another protocol are next.
    Messages,
    /// A stream handler has had it to its end.
    Over,
}

impl Shard {
    /// A connection that another thread has passed on to the shard goes to the pool, for its upgrade.
    pub(super) fn start_upgrade<'s>(
        self: &'s Arc<Self>,
        lease: &mut Lease<'s, Core>,
        index: u32,
        desk: &mut Desk,
    ) {
        if let Some(connection) = self.slab.get(index) {
            let claim = connection.take_over_claim(index);
            self.settle_with_lease(lease, claim, Pause::Upgrade, desk);
        }
    }

    /// A pool thread's part where a message connection goes on in another protocol.
    pub(super) fn serve_upgrade(self: &Arc<Self>, mut claim: Claim<'_>) {
        match self.upgrade(&mut claim) {
            Upgraded::Messages => self.tell(Note::Returned(claim.pass_on())),
            Upgraded::Over => self.finish_claim(claim),
        }
    }

    /// Ends the session of one protocol and begins that of another, or runs a stream handler to its end.
    /// Hooks may ask for one more upgrade.
    pub(super) fn upgrade(self: &Arc<Self>, claim: &mut Claim<'_>) -> Upgraded {
        // Replies that come later are of the protocol that they were asked in.
        while !claim.session.has_calls()
            && let Some(upgrade) = claim.session.take_upgrade()
        {
            let (service, attachment) = match upgrade {
                Upgrade::Messages(service, attachment) => (service, attachment),
                Upgrade::Stream(successor) => {
                    self.run_successor(successor, claim);
                    return Upgraded::Over;
                }
            };
            self.run_close_hook(claim);
            claim.session.begin_again(attachment);
            claim.begin_again(service);
            self.run_open_hook(claim);
        }
        Upgraded::Messages
    }

    fn run_successor(self: &Arc<Self>, successor: Successor, claim: &mut Claim<'_>) {
        let write_limit = claim.timeouts().and_then(|timeouts| timeouts.write);
        // What the messages and senders have left goes out first.
        if claim.session.send_last(write_limit).is_err() {
            return;
        }
        if let Some(transport) = claim.session.transport() {
            let _ = self.home.epoll.remove(transport);
        }
        let peer = claim.session.peer_addr();
        let Some(socket) = claim.session.take_socket() else { return };
        let connection = Connection::new(socket, peer, self, &StreamOptions::default())
            .map(|connection| connection.with_ahead(mem::take(&mut claim.partial)));
        let route = successor.route.clone();
        let route = route.as_ref().unwrap_or(&self.shared.successors);
        self.run_handler(claim.index, route, connection, |connection| successor.run(connection));
    }
}
