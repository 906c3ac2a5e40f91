//! Stream handlers: they get the whole connection, and a thread for as long as they run.
//!
//! That is a pool thread, or one that is started for the connection under `ThreadPerConnection`. A handler
//! blocks on its connection: while it may, a drain reaches it by the socket.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Weak};
use std::thread;
use std::time::Instant;

use tracing::field::{DisplayValue, display};

use super::queued::Work;
use super::{Core, Shard};
use crate::connection::Claim;
use crate::handlers::Connection;
use crate::handlers::stream::Faults;
use crate::lease::Lease;
use crate::log::{Escaped, limited};
use crate::model::Model;
use crate::route::Route;
use crate::service::{Service, StreamService};
use crate::shared::Blockable;
use crate::turn::contain;

impl Shard {
    /// A stream connection's first byte has come: its handler gets a thread.
    pub(super) fn start_stream<'s>(
        self: &'s Arc<Self>,
        lease: &mut Lease<'s, Core>,
        service: Arc<StreamService>,
        claim: Claim<'s>,
    ) {
        if self.model == Model::ThreadPerConnection {
            return self.start_stream_alone(claim);
        }
        if let Err(claim) = self.pass_to_pool(lease, claim, Work::Stream) {
            let peer = claim.session.peer_addr().map(display);
            let route = service.route.name();
            limited!(warn, route: route, "the pool is full: a connection is closed", peer);
            self.leave_unserved(lease, claim);
        }
    }

    /// Starts a thread for a stream handler, under `ThreadPerConnection`.
    fn start_stream_alone(self: &Arc<Self>, claim: Claim<'_>) {
        let (shard, index) = (Arc::clone(self), claim.pass_on());
        let job = self.shared.threads.wrap(move || {
            if let Some(connection) = shard.slab.get(index) {
                shard.run_stream(connection.accept_claim(index));
            }
        });
        let spawned = thread::Builder::new().name("tl-connection".into()).spawn(job);
        if let Err(error) = spawned {
            self.give_up(index, &error);
        }
    }

    /// A pool thread's part. While it waits for one, the connection is in epoll: a client that goes is noticed.
    pub(super) fn serve_stream(self: &Arc<Self>, claim: Claim<'_>) {
        if let Some(transport) = claim.session.transport() {
            let _ = self.home.epoll.remove(transport);
        }
        self.run_stream(claim);
    }

    fn run_stream(self: &Arc<Self>, mut claim: Claim<'_>) {
        let (index, peer) = (claim.index, claim.session.peer_addr());
        if let Service::Stream(service) = &claim.service {
            let service = Arc::clone(service);
            if let Some(socket) = claim.session.take_socket() {
                let connection = Connection::new(socket, peer, self, &service.options);
                self.run_handler(index, &service.route, connection, |connection| {
                    (service.handler)(connection)
                });
            }
        }
        self.finish_claim(claim);
    }

    /// Runs code that has the connection to itself. It may block: a drain can reach it.
    pub(super) fn run_handler(
        &self,
        index: u32,
        route: &Route,
        connection: io::Result<Connection>,
        handler: impl FnOnce(Connection) -> io::Result<()>,
    ) {
        self.home.counters.calls_pooled.increment();
        let connection = match connection {
            Ok(connection) => connection,
            Err(error) => {
                return tracing::debug!(%error, "connection lost before it was served");
            }
        };
        let (peer, faults) = (connection.peer_addr().map(display), connection.faults());
        let began = tracing::enabled!(tracing::Level::DEBUG).then(Instant::now);
        if began.is_some() {
            tracing::debug!(peer, route = route.name(), "stream begins");
        }
        let socket: Weak<dyn Blockable> = connection.blockable();
        if let Some(slot) = self.slab.get(index) {
            slot.rest.stream();
        }
        self.shared.blocked.enter(self.number, index, socket);
        let ended = contain(route, || handler(connection));
        // The error may be of the service's own making: how it reads, and its drop, are user code, too.
        contain(route, || tell_end(route, peer, began, ended, &faults));
        self.shared.blocked.leave(self.number, index);
    }
}

/// Says how a stream handler has ended: `None` if by a panic, which has been said.
fn tell_end(
    route: &Route,
    peer: Option<DisplayValue<SocketAddr>>,
    began: Option<Instant>,
    ended: Option<io::Result<()>>,
    faults: &Faults,
) {
    if let Some(Err(error)) = &ended
        && !faults.explain(error)
    {
        let error = Escaped(error);
        limited!(warn, route: route.name(), "a stream handler failed", peer, %error);
    }
    if let Some(began) = began {
        let (route, duration_us) = (route.name(), began.elapsed().as_micros() as u64);
        let error = ended.map(|result| result.err().map(|error| display(Escaped(error))));
        let (panicked, error) = (error.is_none(), error.flatten());
        tracing::debug!(peer, route, duration_us, panicked, error, "stream ended");
    }
}
