//! Connections that are left over: their stream handler has ended, or they have been turned away.
//!
//! Our side is closed first. As long as the peer has not closed too, the transport lingers on its shard as that of a
//! message connection does: parked, in a slot, with the same bounds. Closing at once would let the kernel answer
//! what the peer sends with a reset, which destroys output on its way (RFC 9112 §9.6).

use std::mem;
use std::net::SocketAddr;
use std::sync::Arc;

use super::key::Key;
use super::{Core, Shard};
use crate::connection::{Claim, Ending, Session, Socket, State};
use crate::inbox::Note;
use crate::lease::Lease;
use crate::protocol::{AfterRefusal, Protocol, Refusal, Step, Timeouts};
use crate::service::Service;
use crate::shared::Phase;
use crate::sys::Interest;
use crate::transport::Ahead;
use crate::turn::Turn;

/// A connection that nobody serves any more.
#[derive(Debug)]
pub(crate) struct Leftover {
    pub(crate) socket: Socket,
    pub(crate) peer: Option<SocketAddr>,
    /// The service has ended the reads: what looks like the peer's end is none.
    pub(crate) reads_ended: bool,
}

impl Leftover {
    /// Closes our side. Says whether the peer may still send.
    fn close_our_side(&self) -> bool {
        let transport = self.socket.transport();
        match transport.ahead() {
            // Nothing is left to read, and nothing comes: a plain close resets nothing.
            Ahead::End if !self.reads_ended => false,
            _ => {
                transport.close_write();
                true
            }
        }
    }
}

impl Shard {
    /// Takes a connection over whose last handle was dropped, on any thread.
    pub(crate) fn take_leftover(&self, leftover: Leftover) {
        if !leftover.close_our_side() || self.shared.lifecycle.phase() >= Phase::Aborting {
            return;
        }
        // Before the handler's own connection is discounted, so that a drain does not miss it.
        self.shared.lifecycle.leftover_opened();
        self.shared.peers.stay(leftover.peer);
        self.leftovers.lock().push(leftover);
        self.tell(Note::Leftover);
    }

    /// Ends a connection whose stream handler is not run: nobody has read what its peer has sent. It lingers in a
    /// slot of its own, unless nothing is left to read.
    pub(super) fn leave_unserved<'s>(
        self: &'s Arc<Self>,
        lease: &mut Lease<'s, Core>,
        mut claim: Claim<'s>,
    ) {
        let peer = claim.session.peer_addr();
        if let Some(socket) = claim.session.take_socket() {
            // It is registered anew for its own slot.
            let _ = self.home.epoll.remove(socket.transport());
            self.take_leftover(Leftover { socket, peer, reads_ended: false });
        }
        self.end_with_lease(lease, claim);
    }

    /// A note has come: connections are left over.
    pub(super) fn linger_leftovers<'s>(self: &'s Arc<Self>, lease: &mut Lease<'s, Core>) {
        let leftovers = mem::take(&mut *self.leftovers.lock());
        for leftover in leftovers {
            let peer = leftover.peer;
            if !self.linger(lease, leftover) {
                self.shared.lifecycle.leftover_closed();
                self.shared.peers.leave(peer);
            }
        }
    }

    /// Closes a connection that was turned away, after what it was told. Only while there is plenty of room does it
    /// get a slot for that: a flood of connections that are turned away must not take those of others.
    pub(super) fn dismiss<'s>(self: &'s Arc<Self>, lease: &mut Lease<'s, Core>, socket: Socket) {
        let leftover = Leftover { socket, peer: None, reads_ended: false };
        let lifecycle = &self.shared.lifecycle;
        if lifecycle.connections() < self.connections_max / 2 && leftover.close_our_side() {
            lifecycle.leftover_opened();
            if !self.linger(lease, leftover) {
                lifecycle.leftover_closed();
            }
        }
    }

    /// Gives it a slot, where it lingers. False if it could not, and is closed.
    fn linger<'s>(self: &'s Arc<Self>, lease: &mut Lease<'s, Core>, leftover: Leftover) -> bool {
        if !lease.slots.has_free(self.slab.capacity()) {
            return false;
        }
        let index = lease.slots.take();
        let connection = self.slab.get_or_grow(index);
        let key = Key::Connection { index, generation: connection.generation() }.pack();
        let home = Arc::clone(&self.home);
        let session = Session::left_over(leftover, home, key);
        let registered = session
            .transport()
            .is_some_and(|transport| self.home.epoll.add(transport, key, Interest::Input).is_ok());
        if !registered {
            lease.slots.free(index);
            return false;
        }
        let mut state = State::new(session, self.shared.nothing.clone());
        state.ending = Ending::Lingering(0);
        state.phase_began = self.home.clock.ticks();
        let claim = connection.admit(index, state, lease.agenda.now());
        // What has come is thrown away in its turn, and an event may have been missed.
        lease.batch.push_ready(claim);
        true
    }
}

/// The protocol of a connection that nobody serves any more: it looks at nothing.
#[derive(Debug, Default)]
pub(crate) struct Nothing(Timeouts);

impl Nothing {
    pub(crate) fn service() -> Service {
        Service::messages(Arc::new(Nothing::default()))
    }
}

impl Protocol for Nothing {
    fn name(&self) -> &'static str {
        "left over"
    }

    fn step(&self, _input: &[u8], _turn: &mut Turn<'_>) -> Step {
        Step::Close
    }

    fn refuse(&self, _why: Refusal, _input: &[u8], _out: &mut Vec<u8>) -> AfterRefusal {
        AfterRefusal::Close
    }

    fn timeouts(&self) -> &Timeouts {
        &self.0
    }
}
