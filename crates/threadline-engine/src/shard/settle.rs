//! Where a connection goes after its turn: parked, to the end of the queue, to the pool, or away.
//!
//! With the lease that costs no more than setting a deadline. A thread that has lost its shard gives the
//! connection back, as a note if need be.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::conversation::Pause;
use super::key::Key;
use super::{Core, Desk, Shard};
use crate::connection::{Claim, Ending, State};
use crate::inbox::Note;
use crate::lease::Lease;
use crate::sys::{Ticks, ticks_ceil};

impl Shard {
    /// On the shard's thread: nobody else has looked at the connection meanwhile.
    pub(super) fn settle_with_lease<'s>(
        self: &'s Arc<Self>,
        lease: &mut Lease<'s, Core>,
        claim: Claim<'s>,
        pause: Pause,
        desk: &mut Desk,
    ) {
        // What nearly every turn ends with.
        if pause == Pause::Parked {
            return self.park(lease, claim);
        }
        let Some((claim, pause)) = self.send_to_pool(lease, claim, pause, desk) else {
            return;
        };
        match pause {
            Pause::Parked => self.park(lease, claim),
            Pause::Yield => lease.batch.push_ready(claim),
            Pause::Over | Pause::Offload | Pause::Fill | Pause::Write | Pause::Upgrade => {
                self.end_with_lease(lease, claim);
            }
        }
    }

    /// On a thread without the shard: the connection goes back by one compare-and-swap where it can. `refused` is the
    /// number of the route that is offloaded.
    pub(super) fn settle_elsewhere<'s>(
        self: &'s Arc<Self>,
        claim: Claim<'s>,
        pause: Pause,
        refused: u32,
    ) {
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
            // A deadline is to be set, or the connection to be put in the pool's queue, and only the lease holder
            // can. It finds the message again.
            Pause::Parked | Pause::Yield | Pause::Fill => {
                self.tell(Note::Returned(claim.pass_on()));
            }
            Pause::Offload => {
                self.tell(Note::Offloaded { index: claim.pass_on(), route: refused });
            }
            Pause::Upgrade => self.tell(Note::Upgrades(claim.pass_on())),
            Pause::Write => {
                if let Err(claim) = self.pass_to_writer(claim) {
                    self.finish_claim(claim);
                }
            }
            Pause::Over => self.finish_claim(claim),
        }
    }

    /// Parks a connection until its next event or deadline.
    pub(super) fn park<'s>(&self, lease: &mut Lease<'s, Core>, claim: Claim<'s>) {
        let wait = if is_plainly_idle(&claim) {
            claim.idle_limit()
        } else {
            let left = claim.time_left(lease.agenda.now(), self.shared.settings.linger);
            // A deadline that is over is not moved, however often a few bytes come.
            left.map(|left| if left.is_zero() { 0 } else { ticks_ceil(left) })
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
        let now = lease.agenda.now();
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
            lease.agenda.insert(deadline, key);
        }
        claim.park_with_lease();
    }
}

/// Nothing is under way: only the idle deadline applies.
#[inline(always)]
fn is_plainly_idle(state: &State) -> bool {
    let session = &state.session;
    let waits = session.output_waits() || session.may_have_calls();
    state.phase.is_none() && state.ending == Ending::No && !waits
}
