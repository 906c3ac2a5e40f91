//! Message connections with a thread of their own, under `ThreadPerConnection`.
//!
//! The thread blocks: on reads, on room for output, on answers to deferred calls. It says what it waits for, so
//! that a drain, and a shard that makes room, can call it off.

use std::io;
use std::net::Shutdown;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::thread;
use std::time::Duration;

use parking_lot::Mutex;

use super::close::tell_closed;
use super::conversation::{Conversation, Pause};
use super::place::OnOwnThread;
use super::upgrade::Upgraded;
use super::{Desk, Leftover, Shard};
use crate::connection::{Calls, Claim, Ending, Outbox, State};
use crate::log::limited;
use crate::protocol::{Phase, Refusal};
use crate::receiving::Receiving;
use crate::shared::{Blockable, BlockedBody};
use crate::sys::Ticks;
use crate::transport::{Need, Transport};

/// The shortest wait for an answer: none would be a busy loop.
const SHORTEST_WAIT: Duration = Duration::from_millis(1);
/// How long sendfile(2) may block a connection's own thread: as good as not at all.
const FILE_WAIT: Duration = Duration::from_millis(1);
/// How long a thread waits for room before it looks whether output still waits. The shard may have written the
/// last of it in the meantime: then there may be no room any more, and other deadlines apply.
const OUTPUT_LOOK: Duration = Duration::from_millis(500);
/// How often a thread that waits for the answer to a deferred call looks whether the client is still there.
const HANG_UP_LOOK: Duration = Duration::from_millis(500);

/// How often a thread that waits for content looks whether its message is to end because it takes memory.
const BODY_LOOK: Duration = Duration::from_millis(500);

/// What a message connection's own thread may wait for.
struct OwnWaits {
    outbox: Arc<Outbox>,
    calls: Arc<Calls>,
    /// The message whose content is received, as it was before the wait.
    body: Mutex<Option<BlockedBody>>,
}

impl OwnWaits {
    fn note_body(&self, receiving: Option<&Receiving>, began: Ticks) {
        let mut body = self.body.lock();
        let is_ended = body.is_some_and(|body| body.is_ended && body.began == began);
        *body = receiving.and_then(|receiving| {
            let (held, received) = (receiving.store.held(), receiving.received);
            (held > 0).then_some(BlockedBody { held, received, began, is_ended })
        });
    }

    /// Whether the message that has begun then is to end. One that has waited for us since has begun later.
    fn body_is_ended(&self, began: Ticks) -> bool {
        self.body.lock().is_some_and(|body| body.is_ended && body.began == began)
    }
}

impl Blockable for OwnWaits {
    fn shut_down(&self, how: Shutdown) {
        self.outbox.shut_down(how);
        self.calls.wake();
    }

    fn output_waits(&self) -> bool {
        self.outbox.output_waits()
    }

    fn body(&self) -> Option<BlockedBody> {
        *self.body.lock()
    }

    fn end_body(&self) {
        if let Some(body) = &mut *self.body.lock() {
            body.is_ended = true;
        }
    }
}

impl Shard {
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
    pub(super) fn give_up(self: &Arc<Self>, index: u32, error: &io::Error) {
        self.home.counters.spawn_failures.increment();
        limited!(warn, "no thread for a new connection: it is refused", %error);
        if let Some(connection) = self.slab.get(index) {
            let mut claim = connection.accept_claim(index);
            let mut out = Vec::new();
            self.refusal(&claim.service, Refusal::Overloaded, &[], &mut out);
            let _ = claim.session.reply(&out);
            let (socket, peer) = (claim.session.take_socket(), claim.session.peer_addr());
            if let Some(socket) = socket {
                self.take_leftover(Leftover { socket, peer, reads_ended: false });
            }
            self.finish_claim(claim);
        }
    }

    /// Serves one connection, blocking on it, until it ends.
    fn serve_alone(self: &Arc<Self>, index: u32) {
        let Some(connection) = self.slab.get(index) else { return };
        let mut claim = connection.accept_claim(index);
        let calls = Arc::clone(claim.session.calls_or_new());
        let waits = claim.session.outbox().map(|outbox| {
            let (outbox, body) = (Arc::clone(outbox), Mutex::new(None));
            let waits = Arc::new(OwnWaits { outbox, calls, body });
            let blockable: Weak<OwnWaits> = Arc::downgrade(&waits);
            self.shared.blocked.enter(self.number, index, blockable);
            waits
        });
        self.run_open_hook(&mut claim);
        if let Err(error) = self.converse_alone(&mut claim, waits.as_deref()) {
            tracing::debug!(peer = claim.session.peer_addr().map(display), %error, "connection ended");
        }
        self.shared.blocked.leave(self.number, index);
        drop(waits);
        self.finish_claim(claim);
    }

    /// Reads, blocking, and answers, until the connection ends. One read a turn, and only as the first
    /// thing in it, so that the read's deadline is that of the phase the connection is in.
    fn converse_alone(
        self: &Arc<Self>,
        claim: &mut Claim<'_>,
        waits: Option<&OwnWaits>,
    ) -> io::Result<()> {
        let mut desk = Desk::new();
        let mut place = OnOwnThread::new(self, claim.connection());
        let mut read_timeout = None;
        let mut takes_memory = false;
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
            let mut left = claim.time_left(self.home.clock.ticks(), self.shared.settings.linger);
            if takes_memory || claim.receiving.is_some() {
                // As far as it waits with the connection: what has come within a turn takes none yet.
                let receiving = claim.receiving.as_deref();
                takes_memory = receiving.is_some_and(|receiving| receiving.store.held() > 0);
                if let Some(waits) = waits {
                    waits.note_body(receiving, claim.phase_began);
                }
            }
            if takes_memory {
                left = Some(left.map_or(BODY_LOOK, |left| left.min(BODY_LOOK)));
            }
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
            let mut conversation =
                Conversation::new(self, &mut *claim, &mut desk, &mut place, budget).blocking();
            let mut pause = conversation.run(false);
            if pause == Pause::Parked {
                let timed_out = conversation.dry;
                if claim.session.output_waits() || claim.ending != Ending::No {
                    if !connection.rest.wait(claim.waits_for()) {
                        return Ok(());
                    }
                    pause = self.wait_alone(claim)?;
                } else if timed_out && !(takes_memory && self.has_time_left(claim)) {
                    pause = self.time_out_alone(claim, &mut desk);
                }
            }
            if takes_memory
                && !matches!(pause, Pause::Over | Pause::Offload)
                && claim.receiving.is_some()
                && waits.is_some_and(|waits| waits.body_is_ended(claim.phase_began))
            {
                self.home.counters.bodies_over_budget.increment();
                pause = self.say_timed_out(Phase::Body, claim, &mut desk);
            }
            if matches!(pause, Pause::Over | Pause::Offload) {
                return Ok(());
            }
        }
    }

    /// Whether what the connection waits for may still come in time.
    fn has_time_left(&self, state: &State) -> bool {
        let left = state.time_left(self.home.clock.ticks(), self.shared.settings.linger);
        left != Some(Duration::ZERO)
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
}

/// Waits until there is room for output, but not for long: see [`OUTPUT_LOOK`].
fn wait_for_room(transport: &Transport) -> io::Result<()> {
    match transport.wait(Need::Room, Some(OUTPUT_LOOK)) {
        Err(error) if error.kind() != io::ErrorKind::Interrupted => Err(error),
        _ => Ok(()),
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
