//! Where a connection goes after its turn: parked, to the end of the queue, to the pool, or away.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::conversation::{Conversation, Pause};
use super::key::Key;
use super::place::{OnPool, OnShard};
use super::{Core, Desk, Shard};
use crate::connection::{Claim, Claimed, Ending, State};
use crate::inbox::Note;
use crate::lease::Lease;
use crate::model::Model;
use crate::protocol::Refusal;
use crate::service::Service;
use crate::sys::{Readiness, Ticks, ticks_ceil};
use crate::transport::Ahead;
use crate::turn::Place;

/// The lease after a turn; `None` if the shard has been lost in it.
pub(super) type Turned<'s> = Option<Lease<'s, Core>>;

impl Shard {
    /// A connection's event.
    #[inline(always)]
    pub(super) fn serve_connection<'s>(
        self: &'s Arc<Self>,
        lease: Lease<'s, Core>,
        index: u32,
        generation: u32,
        readiness: Readiness,
        desk: &mut Desk,
    ) -> Turned<'s> {
        let Some(connection) = self.slab.get(index) else { return Some(lease) };
        // An event for an earlier connection of this slot, which has been closed in this batch.
        if connection.generation() != generation {
            return Some(lease);
        }
        match connection.claim(index) {
            Ok(mut claim) => {
                claim.unread |= readiness.input();
                let hang_up = readiness.hang_up() || claim.session.has_hung_up();
                self.turn(lease, claim, hang_up, desk)
            }
            // Its owner will hand it over, but may run a handler for long meanwhile, or sleep in a read: what
            // is pushed does not wait for that.
            Err(Claimed::Noted) if readiness.output() => {
                let key = Key::Connection { index, generation };
                if let Some(outbox) = self.home.outputs.get(key.pack()) {
                    outbox.flush_for_owner();
                }
                Some(lease)
            }
            Err(_) => Some(lease),
        }
    }

    /// A call of a connection has its answer: the connection gets a turn, now or from its owner.
    pub(super) fn note_answer(&self, lease: &mut Lease<'_, Core>, key: u64) {
        let Key::Connection { index, generation } = Key::unpack(key) else { return };
        let connection = self.slab.get(index).filter(|slot| slot.generation() == generation);
        if let Some(Ok(claim)) = connection.map(|connection| connection.claim(index)) {
            lease.ready.push_back(claim.pass_on());
        }
    }

    /// A connection that the shard already owns goes on.
    pub(super) fn resume<'s>(
        self: &'s Arc<Self>,
        lease: Lease<'s, Core>,
        index: u32,
        desk: &mut Desk,
    ) -> Turned<'s> {
        let Some(connection) = self.slab.get(index) else { return Some(lease) };
        let mut claim = connection.take_over_claim(index);
        // An edge may have come and gone while another thread had it.
        claim.unread = true;
        self.turn(lease, claim, true, desk)
    }

    #[inline(always)]
    fn turn<'s>(
        self: &'s Arc<Self>,
        lease: Lease<'s, Core>,
        mut claim: Claim<'s>,
        until_dry: bool,
        desk: &mut Desk,
    ) -> Turned<'s> {
        if let Service::Stream(service) = &claim.service {
            if until_dry && is_at_end(&claim) {
                let mut lease = lease;
                self.end_with_lease(&mut lease, claim);
                return Some(lease);
            }
            self.start_stream(Arc::clone(service), claim);
            return Some(lease);
        }
        // The shard need not read what most likely belongs on the pool, nor copy it, nor the protocol look
        // at it twice.
        if claim.is_regular_of_the_pool() && self.shared.pool.has_spare() {
            match self.pass_message(claim, until_dry) {
                Ok(()) => {
                    self.home.counters.passed_unread.increment_alone();
                    return Some(lease);
                }
                Err(refused) => claim = refused,
            }
        }
        let mut place = OnShard::new(self, lease);
        let pause = self.converse(&mut claim, desk, &mut place, until_dry);
        match place.lease {
            Some(mut lease) => {
                self.settle_with_lease(&mut lease, claim, pause, desk);
                Some(lease)
            }
            None => {
                self.settle_elsewhere(claim, pause, desk);
                None
            }
        }
    }

    #[inline(always)]
    fn converse(
        &self,
        state: &mut State,
        desk: &mut Desk,
        place: &mut dyn Place,
        until_dry: bool,
    ) -> Pause {
        let budget = self.shared.settings.messages_per_turn;
        Conversation { shard: self, state, desk, place, budget, dry: false, blocking: false }
            .run(until_dry)
    }

    /// On the shard's thread: nobody else has looked at the connection meanwhile.
    fn settle_with_lease<'s>(
        self: &'s Arc<Self>,
        lease: &mut Lease<'s, Core>,
        claim: Claim<'s>,
        pause: Pause,
        desk: &mut Desk,
    ) {
        let Some((claim, pause)) = self.send_to_pool(claim, pause, desk) else {
            return;
        };
        match pause {
            Pause::Parked => self.park(lease, claim),
            Pause::Yield => lease.ready.push_back(claim.pass_on()),
            Pause::Over | Pause::Offload | Pause::Upgrade => self.end_with_lease(lease, claim),
        }
    }

    /// On a thread without the shard: the connection goes back by one compare-and-swap where it can.
    fn settle_elsewhere<'s>(self: &'s Arc<Self>, claim: Claim<'s>, pause: Pause, desk: &mut Desk) {
        let Some((claim, pause)) = self.send_to_pool(claim, pause, desk) else {
            return;
        };
        match pause {
            Pause::Parked if is_plainly_idle(&claim) => {
                let now = self.home.clock.ticks();
                let connection = claim.connection();
                connection.last_used.store(now, Ordering::Relaxed);
                let deadline = claim.idle_limit().map_or(Ticks::MAX, |idle| now + idle);
                connection.deadline.store(deadline, Ordering::Relaxed);
                // The lease holder takes its entry out of the wheel for good only with the connection, so that
                // one which is seen here stays until it has been looked at again.
                let scheduled = connection.scheduled.load(Ordering::Relaxed);
                let is_scheduled = scheduled != 0 && scheduled <= deadline;
                let parked =
                    if is_scheduled || deadline == Ticks::MAX { claim.park() } else { Err(claim) };
                if let Err(claim) = parked {
                    self.tell(Note::Returned(claim.pass_on()));
                }
            }
            // A deadline is to be set, and only the lease holder can.
            Pause::Parked | Pause::Yield => self.tell(Note::Returned(claim.pass_on())),
            Pause::Over | Pause::Offload | Pause::Upgrade => self.finish_claim(claim),
        }
    }

    /// Gives a connection that needs another thread to the pool. Where that has no room, a message is
    /// refused, and its connection goes on to be settled like any other; one that was to be upgraded has had
    /// its last reply, and ends. A call that was deferred has been accepted: its answer is not refused.
    fn send_to_pool<'s>(
        self: &Arc<Self>,
        claim: Claim<'s>,
        pause: Pause,
        desk: &mut Desk,
    ) -> Option<(Claim<'s>, Pause)> {
        match pause {
            Pause::Offload => {
                // If the shard knows of more to read, it is read there, to the end.
                let until_dry = claim.unread;
                if claim.session.has_answer() {
                    let claim = self.pass_answer(claim, until_dry).err()?;
                    return Some((claim, Pause::Over));
                }
                let mut claim = self.pass_message(claim, until_dry).err()?;
                let pause = self.refuse(&mut claim, Refusal::Overloaded, desk);
                Some((claim, pause))
            }
            Pause::Upgrade => {
                let claim = self.pass_to_pool(claim, Shard::serve_upgrade).err()?;
                Some((claim, Pause::Over))
            }
            pause => Some((claim, pause)),
        }
    }

    /// Has a pool thread go on with the connection. The claim comes back if the pool is full.
    pub(super) fn pass_to_pool<'s>(
        self: &Arc<Self>,
        claim: Claim<'s>,
        work: impl FnOnce(&Arc<Shard>, Claim<'_>) + Send + 'static,
    ) -> Result<(), Claim<'s>> {
        let (shard, index) = (Arc::clone(self), claim.index);
        let job = move || {
            if let Some(connection) = shard.slab.get(index) {
                work(&shard, connection.accept_claim(index));
            }
        };
        if self.shared.pool.try_submit(job).is_err() {
            self.home.counters.refused_overload.increment();
            return Err(claim);
        }
        claim.pass_on();
        Ok(())
    }

    /// Has a pool thread answer the connection's message, whether or not it has been read yet.
    fn pass_message<'s>(
        self: &Arc<Self>,
        claim: Claim<'s>,
        until_dry: bool,
    ) -> Result<(), Claim<'s>> {
        let work = move |shard: &Arc<Shard>, claim: Claim<'_>| shard.work_off(claim, until_dry);
        self.pass_to_pool(claim, work)
    }

    /// Has a pool thread write the reply of a call that was deferred, even if the pool's queue is full. The
    /// claim comes back if there is no pool any more.
    fn pass_answer<'s>(
        self: &Arc<Self>,
        claim: Claim<'s>,
        until_dry: bool,
    ) -> Result<(), Claim<'s>> {
        let (shard, index) = (Arc::clone(self), claim.index);
        let job = move || {
            if let Some(connection) = shard.slab.get(index) {
                shard.work_off(connection.accept_claim(index), until_dry);
            }
        };
        if self.shared.pool.submit_essential(job).is_err() {
            return Err(claim);
        }
        claim.pass_on();
        Ok(())
    }

    /// Turns the connection's message away, without a place to run user code.
    pub(super) fn refuse(&self, state: &mut State, why: Refusal, desk: &mut Desk) -> Pause {
        let place = &mut OnPool::new(self);
        Conversation { shard: self, state, desk, place, budget: 0, dry: false, blocking: false }
            .refuse(why)
    }

    /// A pool thread's part: answers the message, and those behind it that are already here.
    fn work_off(self: &Arc<Self>, mut claim: Claim<'_>, until_dry: bool) {
        with_pool_desk(|desk| {
            let mut place = OnPool::new(self);
            let pause = self.converse(&mut claim, desk, &mut place, until_dry);
            let is_as_expected = !place.met_proven && claim.is_between_messages();
            claim.pooled_in_a_row =
                if is_as_expected { claim.pooled_in_a_row.saturating_add(1) } else { 0 };
            self.settle_elsewhere(claim, pause, desk);
        });
    }

    /// Parks a connection until its next event or deadline.
    pub(super) fn park<'s>(&self, lease: &mut Lease<'s, Core>, claim: Claim<'s>) {
        let wait = if is_plainly_idle(&claim) {
            claim.idle_limit()
        } else {
            let left = claim.time_left(lease.now, self.shared.settings.linger);
            left.map(|left| ticks_ceil(left).max(1))
        };
        self.park_for(lease, wait, claim);
    }

    /// Parks a connection until its next event, or for so long.
    pub(super) fn park_for<'s>(
        &self,
        lease: &mut Lease<'s, Core>,
        wait: Option<Ticks>,
        claim: Claim<'s>,
    ) {
        let now = lease.now;
        let connection = claim.connection();
        connection.last_used.store(now, Ordering::Relaxed);
        let deadline = wait.map_or(Ticks::MAX, |wait| now + wait);
        connection.deadline.store(deadline, Ordering::Relaxed);
        // While the entry in the wheel is not later than the deadline, it need not move: when it
        // fires, the deadline is looked at again.
        let scheduled = connection.scheduled.load(Ordering::Relaxed);
        if wait.is_some() && (scheduled == 0 || deadline < scheduled) {
            connection.scheduled.store(deadline, Ordering::Relaxed);
            let key = Key::Connection { index: claim.index, generation: connection.generation() };
            lease.wheel.insert(deadline, key);
        }
        claim.park_with_lease();
    }

    /// Ends a connection from any thread; the caller gives the slot back to the shard.
    pub(super) fn end(self: &Arc<Self>, mut claim: Claim<'_>) -> u32 {
        self.home.counters.closed.increment();
        self.shared.peers.leave(claim.session.peer_addr());
        // Destructors may block, as hooks may. The event loop has nowhere else to go with them; hooks alone
        // need the pool under every model.
        let elsewhere = self.model != Model::EventLoop && claim.holds_values();
        if claim.opened || elsewhere {
            claim = match self.close_on_pool(claim) {
                Ok(index) => return index,
                Err(claim) => claim,
            };
        }
        self.shared.lifecycle.connection_closed();
        claim.bury()
    }

    /// A slot can be used again.
    pub(super) fn free_slot(&self, lease: &mut Lease<'_, Core>, index: u32) {
        // A closing hook has it still: it frees the slot itself.
        if index != NO_SLOT {
            lease.free.push(index);
            self.resume_accept_after_close(lease);
        }
    }
}

/// Instead of an index, where the slot is freed later and by somebody else.
pub(super) const NO_SLOT: u32 = u32::MAX;

/// Nothing is under way: only the idle deadline applies.
fn is_plainly_idle(state: &State) -> bool {
    let session = &state.session;
    let waits = session.output_waits() || session.has_calls();
    state.phase.is_none() && state.ending == Ending::No && !waits
}

/// The peer has closed, and nothing is left to read.
fn is_at_end(state: &State) -> bool {
    state.session.transport().is_none_or(|transport| transport.ahead() == Ahead::End)
}

/// Something waits to be read.
pub(super) fn has_input(state: &State) -> bool {
    state.session.transport().is_some_and(|transport| transport.ahead() == Ahead::Data)
}

/// Runs `work` with the calling pool thread's own buffers.
pub(super) fn with_pool_desk<R>(work: impl FnOnce(&mut Desk) -> R) -> R {
    use std::cell::RefCell;
    thread_local! {
        static DESK: RefCell<Desk> = RefCell::new(Desk::for_pool());
    }
    DESK.with_borrow_mut(work)
}
