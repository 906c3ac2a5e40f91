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

use super::Shard;
use crate::connection::{Claim, Socket};
use crate::handlers::Connection;
use crate::handlers::stream::Faults;
use crate::log::{Escaped, limited};
use crate::model::Model;
use crate::route::Route;
use crate::service::StreamService;
use crate::shared::Blockable;
use crate::turn::contain;

impl Shard {
    /// A stream connection's first byte has come: its handler gets a thread.
    pub(super) fn start_stream(
        self: &Arc<Self>,
        service: Arc<StreamService>,
        mut claim: Claim<'_>,
    ) {
        let own_thread = self.model == Model::ThreadPerConnection;
        if let (Some(transport), false) = (claim.session.transport(), own_thread) {
            let _ = self.home.epoll.remove(transport);
        }
        let (shard, of_job, index) = (Arc::clone(self), Arc::clone(&service), claim.index);
        let peer = claim.session.peer_addr();
        let Some(socket) = claim.session.take_socket() else { return };
        let job = move || shard.run_stream(&of_job, index, socket, peer);
        claim.pass_on();
        if own_thread {
            let job = self.shared.threads.wrap(job);
            let spawned = thread::Builder::new().name("tl-connection".into()).spawn(job);
            if let Err(error) = spawned {
                self.give_up(index, &error);
            }
        } else if let Err(_rejected) = self.shared.pool.try_submit(job) {
            self.home.counters.refused_overload.increment();
            let peer = peer.map(display);
            let route = service.route.name();
            limited!(warn, route: route, "the pool is full: a connection is closed", peer);
            self.finish(index);
        }
    }

    fn run_stream(
        self: &Arc<Self>,
        service: &StreamService,
        index: u32,
        socket: Socket,
        peer: Option<SocketAddr>,
    ) {
        let connection = Connection::new(socket, peer, self, &service.options);
        self.run_handler(index, &service.route, connection, |connection| {
            (service.handler)(connection)
        });
        self.finish(index);
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
