//! A connection that has been accepted: its slot, its registration, and what serves it first.

use std::io;
use std::sync::Arc;

use super::key::Key;
use super::{Core, Shard};
use crate::connection::{Session, SessionParts, Socket, State, Watch};
use crate::lease::Lease;
use crate::model::Model;
use crate::protocol::Refusal;
use crate::service::Service;
use crate::sys::Interest;
use crate::transport::Transport;

impl Shard {
    /// Serves a connection that has been accepted.
    pub(super) fn admit<'s>(
        self: &'s Arc<Self>,
        lease: &mut Lease<'s, Core>,
        transport: Transport,
        peer: Option<std::net::SocketAddr>,
        service: Service,
    ) -> io::Result<()> {
        if !self.shared.peers.admit(peer) {
            self.home.counters.refused_per_peer.increment();
            tracing::debug!(peer = peer.map(display), "refused: the peer has too many connections");
            self.turn_away(lease, transport, &service);
            return Ok(());
        }
        self.shared.lifecycle.connection_opened();
        let index = lease.slots.take();
        let connection = self.slab.get_or_grow(index);
        let key = Key::Connection { index, generation: connection.generation() }.pack();
        let own_thread = self.model == Model::ThreadPerConnection;
        let watch = if own_thread { Watch::Nothing } else { Watch::Input };
        let home = Arc::clone(&self.home);
        let write_limit = service.write_limit();
        let socket = Socket::Own(transport);
        let parts = SessionParts { socket, peer, home, key, watch, write_limit };
        let state = State::new(Session::new(parts), service);
        let claim = connection.admit(index, state, lease.agenda.now());

        let registered = if own_thread { Ok(()) } else { self.register(&claim.session, key) };
        if let Err(error) = registered {
            if let Some(index) = self.end(claim) {
                lease.slots.free(index);
            }
            return Err(error);
        }
        match &claim.service {
            Service::Stream(service) if own_thread || service.options.starts_at_accept() => {
                let service = Arc::clone(service);
                self.start_stream(lease, service, claim);
            }
            Service::Stream(service) => {
                let idle = service.idle;
                self.park_for(lease, idle, claim);
            }
            Service::Messages(_) if own_thread => self.start_own_thread(claim),
            Service::Messages(service) if service.has_hooks() => {
                self.open_hook(lease, claim);
            }
            Service::Messages(_) => self.park(lease, claim),
            Service::Datagrams(_) => unreachable!("datagrams have no connections"),
        }
        Ok(())
    }

    fn register(&self, session: &Session, key: u64) -> io::Result<()> {
        let transport = session.transport().ok_or(io::ErrorKind::NotConnected)?;
        #[cfg(feature = "testing")]
        self.home.probes.note_connection(key, transport);
        self.home.epoll.add(transport, key, Interest::Input)
    }

    /// Tells a peer why it is not served, as far as it fits the socket's buffer.
    fn turn_away<'s>(
        self: &'s Arc<Self>,
        lease: &mut Lease<'s, Core>,
        transport: Transport,
        service: &Service,
    ) {
        let mut out = Vec::new();
        self.refusal(service, Refusal::TooManyConnections, &[], &mut out);
        let _ = transport.write(&out, usize::MAX);
        self.dismiss(lease, Socket::Own(transport));
    }
}
