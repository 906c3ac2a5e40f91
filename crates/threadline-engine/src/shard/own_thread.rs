//! Connections with a thread of their own: stream handlers under every model, message handlers under
//! `ThreadPerConnection`. And hooks, which run on a pool thread.

use std::io;
use std::mem;
use std::net::{Shutdown, SocketAddr};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::thread;
use std::time::{Duration, Instant};

use tracing::field::{DisplayValue, display};

use super::conversation::{Conversation, Pause};
use super::place::OnOwnThread;
use super::settle::NO_SLOT;
use super::timers::tell_closed;
use super::{Core, Desk, Shard};
use crate::connection::{Calls, Claim, Ending, Outbox, Socket, State, Successor, Upgrade};
use crate::handlers::stream::Faults;
use crate::handlers::{Connection, StreamOptions};
use crate::inbox::Note;
use crate::lease::Lease;
use crate::log::{Escaped, limited};
use crate::model::Model;
use crate::protocol::Refusal;
use crate::route::Route;
use crate::service::{Service, StreamService};
use crate::shared::Blockable;
use crate::transport::{Need, Transport};
use crate::turn::contain;

/// The shortest wait for an answer: none would be a busy loop.
const SHORTEST_WAIT: Duration = Duration::from_millis(1);
/// How long sendfile(2) may block a connection's own thread: as good as not at all.
const FILE_WAIT: Duration = Duration::from_millis(1);
/// How long a thread waits for room before it looks whether output still waits. The shard may have written the
/// last of it in the meantime: then there may be no room any more, and other deadlines apply.
const OUTPUT_LOOK: Duration = Duration::from_millis(500);
/// How often a thread that waits for the answer to a deferred call looks whether the client is still there.
const HANG_UP_LOOK: Duration = Duration::from_millis(500);

/// What becomes of a connection that is upgraded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Upgraded {
    /// Messages of another protocol are next.
    Messages,
    /// A stream handler has had it to its end.
    Over,
}

/// What a message connection's own thread may wait for.
struct OwnWaits {
    outbox: Arc<Outbox>,
    calls: Arc<Calls>,
}

impl Blockable for OwnWaits {
    fn shut_down(&self, how: Shutdown) {
        self.outbox.shut_down(how);
        self.calls.wake();
    }

    fn output_waits(&self) -> bool {
        self.outbox.output_waits()
    }
}

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
        let connection = Connection::new(socket, peer, &self.home, &service.options);
        self.run_handler(index, &service.route, connection, |connection| {
            (service.handler)(connection)
        });
        self.finish(index);
    }

    /// Runs code that has the connection to itself. It may block: a drain can reach it.
    fn run_handler(
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

    /// A pool thread's part where a message connection goes on in another protocol.
    pub(super) fn serve_upgrade(self: &Arc<Self>, mut claim: Claim<'_>) {
        match self.upgrade(&mut claim) {
            Upgraded::Messages => self.tell(Note::Returned(claim.pass_on())),
            Upgraded::Over => self.finish_claim(claim),
        }
    }

    /// Ends the session of one protocol and begins that of another, or runs a stream handler to its end.
    /// Hooks may ask for one more upgrade.
    fn upgrade(&self, claim: &mut Claim<'_>) -> Upgraded {
        while let Some(upgrade) = claim.session.take_upgrade() {
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

    fn run_successor(&self, successor: Successor, claim: &mut Claim<'_>) {
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
        let connection = Connection::new(socket, peer, &self.home, &StreamOptions::default())
            .map(|connection| connection.with_ahead(mem::take(&mut claim.partial)));
        let route = successor.route.clone();
        let route = route.as_ref().unwrap_or(&self.shared.successors);
        self.run_handler(claim.index, route, connection, |connection| successor.run(connection));
    }

    /// A thread for a message connection, under `ThreadPerConnection`.
    pub(super) fn start_own_thread(self: &Arc<Self>, claim: Claim<'_>) {
        let (shard, index) = (Arc::clone(self), claim.pass_on());
        let builder = thread::Builder::new().name("tl-connection".into());
        let run = self.shared.threads.wrap(move || shard.serve_alone(index));
        if let Err(error) = builder.spawn(run) {
            self.give_up(index, &error);
        }
    }

    /// No thread could be had: the thread limit is back-pressure, not a crash.
    fn give_up(self: &Arc<Self>, index: u32, error: &io::Error) {
        self.home.counters.spawn_failures.increment();
        limited!(warn, "no thread for a new connection: it is refused", %error);
        if let Some(connection) = self.slab.get(index) {
            let mut claim = connection.accept_claim(index);
            let mut out = Vec::new();
            self.refusal(&claim.service, Refusal::Overloaded, &[], &mut out);
            let _ = claim.session.reply(&out);
            self.finish_claim(claim);
        }
    }

    /// Serves one connection, blocking on it, until it ends.
    fn serve_alone(self: &Arc<Self>, index: u32) {
        let Some(connection) = self.slab.get(index) else { return };
        let mut claim = connection.accept_claim(index);
        let calls = Arc::clone(claim.session.calls_or_new());
        let waits = claim.session.outbox().map(|outbox| {
            let waits = Arc::new(OwnWaits { outbox: Arc::clone(outbox), calls });
            let blockable: Weak<OwnWaits> = Arc::downgrade(&waits);
            self.shared.blocked.enter(self.number, index, blockable);
            waits
        });
        self.run_open_hook(&mut claim);
        if let Err(error) = self.converse_alone(&mut claim) {
            tracing::debug!(peer = claim.session.peer_addr().map(display), %error, "connection ended");
        }
        self.shared.blocked.leave(self.number, index);
        drop(waits);
        self.finish_claim(claim);
    }

    /// Reads, blocking, and answers, until the connection ends. One read a turn, and only as the first
    /// thing in it, so that the read's deadline is that of the phase the connection is in.
    fn converse_alone(&self, claim: &mut Claim<'_>) -> io::Result<()> {
        let mut desk = Desk::new();
        let mut place = OnOwnThread::new(self, claim.connection());
        let mut read_timeout = None;
        let transport = claim.session.transport().ok_or(io::ErrorKind::NotConnected)?;
        transport.block()?;
        transport.set_write_limit(Some(FILE_WAIT))?;
        loop {
            if claim.session.upgrades() {
                match self.upgrade(claim) {
                    Upgraded::Messages => {}
                    Upgraded::Over => return Ok(()),
                }
            }
            if self.must_wait_for_answer(claim) {
                if !claim.connection().rest.wait(claim.waits_for())
                    || self.wait_for_answer(claim) == Pause::Over
                {
                    return Ok(());
                }
                continue;
            }
            let left = claim.time_left(self.home.clock.ticks(), self.shared.settings.linger);
            if left != read_timeout {
                let transport = claim.session.transport().ok_or(io::ErrorKind::NotConnected)?;
                transport.set_read_limit(left)?;
                read_timeout = left;
            }
            claim.unread = true;
            let connection = claim.connection();
            connection.last_used.store(self.home.clock.ticks(), Ordering::Relaxed);
            if !connection.rest.wait(claim.waits_for()) {
                return Ok(());
            }
            let budget = self.shared.settings.messages_per_turn;
            let mut conversation = Conversation {
                shard: self,
                state: &mut *claim,
                desk: &mut desk,
                place: &mut place,
                budget,
                dry: false,
                blocking: true,
            };
            let mut pause = conversation.run(false);
            if pause == Pause::Parked {
                let timed_out = conversation.dry;
                if claim.session.output_waits() || claim.ending != Ending::No {
                    if !connection.rest.wait(claim.waits_for()) {
                        return Ok(());
                    }
                    pause = self.wait_alone(claim)?;
                } else if timed_out {
                    pause = self.time_out_alone(claim, &mut desk);
                }
            }
            if matches!(pause, Pause::Over | Pause::Offload) {
                return Ok(());
            }
        }
    }

    fn must_wait_for_answer(&self, state: &State) -> bool {
        let session = &state.session;
        let is_held_up = state.ending == Ending::No && session.is_held_up(|| 1);
        is_held_up && !session.has_answer() && !session.output_waits()
    }

    /// Blocks until a call that was deferred has its answer, or the client is gone.
    fn wait_for_answer(&self, claim: &Claim<'_>) -> Pause {
        let left = claim.time_left(self.home.clock.ticks(), self.shared.settings.linger);
        let look = left.map_or(HANG_UP_LOOK, |left| left.clamp(SHORTEST_WAIT, HANG_UP_LOOK));
        claim.session.wait_for_answer(look);
        let has_answer =
            claim.session.has_answer() || claim.time_out_calls(self.home.clock.ticks());
        if !has_answer && claim.session.has_failed() { Pause::Over } else { Pause::Yield }
    }

    /// Blocks until there is room for output, or the peer of a closing connection has closed too. If a
    /// peer takes nothing for too long, the shard finds that out and closes the connection, which ends
    /// the wait; so it does while this thread sleeps in a read.
    fn wait_alone(&self, claim: &Claim<'_>) -> io::Result<Pause> {
        let Some(transport) = claim.session.transport() else { return Ok(Pause::Over) };
        if claim.session.output_waits() {
            wait_for_room(transport)?;
            return Ok(Pause::Yield);
        }
        if claim.ending == Ending::No {
            // The shard has written the last of it just now: there may be messages to go on with.
            return Ok(Pause::Yield);
        }
        let limit = claim.time_left(self.home.clock.ticks(), self.shared.settings.linger);
        match transport.wait(Need::Input, limit) {
            Ok(false) => {
                self.home.counters.lingered_too_long.increment();
                Ok(Pause::Over)
            }
            Ok(true) => Ok(Pause::Yield),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(Pause::Yield),
            Err(error) => Err(error),
        }
    }

    fn time_out_alone(&self, claim: &mut Claim<'_>, desk: &mut Desk) -> Pause {
        let Some(phase) = claim.phase else {
            if claim.session.has_sender() {
                return Pause::Yield;
            }
            self.home.counters.timeouts_idle.increment();
            tell_closed(claim, "it was idle for too long");
            return Pause::Over;
        };
        self.say_timed_out(phase, claim, desk)
    }

    /// Runs `Protocol::opened` on the pool; the connection comes back to the shard then.
    pub(super) fn open_hook<'s>(
        self: &'s Arc<Self>,
        lease: &mut Lease<'s, Core>,
        claim: Claim<'s>,
    ) {
        let open = |shard: &Arc<Shard>, mut claim: Claim<'_>| {
            shard.run_open_hook(&mut claim);
            shard.serve_upgrade(claim);
        };
        if let Err(mut claim) = self.pass_to_pool(claim, open) {
            claim.opened = false;
            self.end_with_lease(lease, claim);
        }
    }

    fn run_open_hook(&self, claim: &mut Claim<'_>) {
        let State { service, session, opened, .. } = &mut **claim;
        let Service::Messages(service) = service else { return };
        if !service.has_hooks() {
            return;
        }
        *opened = true;
        let mut out = Vec::new();
        let opened = contain(&self.shared.hooks, || service.protocol().opened(session, &mut out));
        // A session that is half set up serves nobody.
        let failed = opened.is_none() || claim.session.reply(&out).is_err();
        if failed || claim.session.closes() {
            claim.ending = Ending::AfterOutput;
        }
        claim.session.end_turn();
    }

    /// Runs `Protocol::closed` on the pool, if it is due, where the connection is ended then and what user
    /// code has left in it is dropped. Gives the claim back if the hook has run already, because the pool is
    /// no more.
    pub(super) fn close_on_pool<'s>(
        self: &Arc<Self>,
        mut claim: Claim<'s>,
    ) -> Result<u32, Claim<'s>> {
        claim.session.shut_down(Shutdown::Both);
        let (shard, index) = (Arc::clone(self), claim.index);
        let job = move || {
            if let Some(connection) = shard.slab.get(index) {
                let mut claim = connection.accept_claim(index);
                shard.run_close_hook(&mut claim);
                shard.bury(claim);
            }
        };
        match self.shared.pool.submit_essential(job) {
            Ok(()) => {
                claim.pass_on();
                Ok(NO_SLOT)
            }
            Err(_) => {
                self.run_close_hook(&mut claim);
                Err(claim)
            }
        }
    }

    fn run_close_hook(&self, claim: &mut Claim<'_>) {
        if !std::mem::take(&mut claim.opened) {
            return;
        }
        let State { service, session, .. } = &mut **claim;
        if let Service::Messages(service) = service {
            contain(&self.shared.hooks, || service.protocol().closed(session));
        }
    }

    fn bury(&self, claim: Claim<'_>) {
        self.shared.lifecycle.connection_closed();
        self.tell_freed(claim.bury());
    }

    /// Ends the connection in that slot, from a thread without the shard.
    fn finish(self: &Arc<Self>, index: u32) {
        if let Some(connection) = self.slab.get(index) {
            self.finish_claim(connection.accept_claim(index));
        }
    }

    pub(super) fn finish_claim(self: &Arc<Self>, claim: Claim<'_>) {
        let index = self.end(claim);
        if index != NO_SLOT {
            self.tell_freed(index);
        }
    }
}

/// Waits until there is room for output, but not for long: see [`OUTPUT_LOOK`].
fn wait_for_room(transport: &Transport) -> io::Result<()> {
    match transport.wait(Need::Room, Some(OUTPUT_LOOK)) {
        Err(error) if error.kind() != io::ErrorKind::Interrupted => Err(error),
        _ => Ok(()),
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

#[cfg(all(test, not(loom)))]
mod tests {
    use std::os::unix::net::UnixStream;
    use std::sync::mpsc::channel;

    use super::*;
    use crate::transport::Sent;

    /// The shard has written the last of what waited, and the peer reads nothing: no room will ever come.
    #[test]
    fn a_wait_for_room_ends_without_room() {
        let (ours, _peer) = UnixStream::pair().expect("a pair of sockets");
        ours.set_nonblocking(true).expect("a socket");
        let transport = Transport::plain(ours);
        let piece = [0; 1 << 16];
        while transport.write(&piece, piece.len()).expect("open") == Sent::All {}
        let (tell, told) = channel();
        let waiting = thread::spawn(move || tell.send(wait_for_room(&transport)));
        let waited = told.recv_timeout(Duration::from_secs(20)).expect("it looks again");
        assert!(waited.is_ok());
        waiting.join().expect("the thread").expect("told");
    }
}
