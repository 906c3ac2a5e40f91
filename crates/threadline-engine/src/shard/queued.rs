//! Connections that wait for a thread: what for, how long they may, and how the shard takes them back.
//!
//! Only the lease holder puts a connection in a queue, so that it alone keeps the books. A thread that begins with
//! one does not report that: the ownership word says whether the connection still waits, and names the wait
//! (`connection/ownership.rs`). As a rule a wait costs no timer: the entry that a connection has in the wheel anyway
//! is moved only if it is later than the wait may end.

use std::mem;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use threadline_pool::Ticket;

use super::close::tell_closed;
use super::errand::Kind;
use super::key::Key;
use super::offload::Urgency;
use super::{Core, Shard};
use crate::connection::{Connection, Wait};
use crate::lease::Lease;
use crate::log::limited;
use crate::route::{self, NO_ROUTE, Route};
use crate::settings::Settings;
use crate::shared::Shared;
use crate::sys::{Readiness, Ticks, ticks_ceil};
use crate::workers::{Position, Withdrawn};

/// Where a call waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Queue {
    /// In the pool's queue.
    Pool(Ticket),
    /// At the gate for calls of that kind: in line, or with a place and without a thread yet.
    Gate {
        kind: Kind,
        /// The number of the call's route.
        route: u32,
        position: Position,
    },
}

impl Queue {
    pub(super) fn at_gate(kind: Kind, route: &Route, position: Position) -> Self {
        Queue::Gate { kind, route: route.number(), position }
    }

    /// Frees the call's place. What is taken out of a gate is dropped.
    pub(super) fn withdraw(self, shared: &Shared) {
        let Shared { pool, workers, .. } = shared;
        let (kind, route, position) = match self {
            Queue::Pool(ticket) => return pool.withdraw(ticket),
            Queue::Gate { kind, route, position } => (kind, route, position),
        };
        // A route lives as long as its calls wait.
        let Some(route) = route::by_number(route) else { return };
        match kind.gate(shared, &route).withdraw(position) {
            Some(Withdrawn::Errand(errand)) => drop(errand),
            Some(Withdrawn::Job(job)) => workers.withdraw(pool, job),
            None => {}
        }
    }
}

/// What a connection waits for a thread for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Work {
    /// Its next message, whether or not that has been read. With `until_dry` it is read to the end.
    Message { until_dry: bool },
    /// The reply of a call that was deferred, or the rest of one that is made while it is sent.
    Answer { until_dry: bool },
    /// The end of one protocol and the beginning of another.
    Upgrade,
    /// The opening hook of its protocol.
    Open,
    /// Its stream handler.
    Stream,
}

/// The waits of a shard's connections for threads.
#[derive(Default)]
pub(super) struct Waits {
    /// By slot. What is known of a wait stays here after its end, until the next one of its slot.
    by_slot: Vec<Option<Entered>>,
    last: Wait,
}

/// How many more slots there is room for when one more is needed.
const SPARE_SLOTS: usize = 256;

/// How a connection came into the queue.
#[derive(Debug, Clone, Copy)]
struct Entered {
    work: Work,
    queue: Queue,
    since: Ticks,
    /// When the peer was found to send no more: the beginning of the wait if it was known then.
    hung_up: Option<Ticks>,
    /// It has been taken back: its message is refused if it belongs on a thread still.
    is_overdue: bool,
    /// The number of the route whose call the thread must not run, so that the message finds its way.
    way: u32,
}

/// What a look at a connection that waits has found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Look {
    /// It goes on until then at most, unless the peer hangs up.
    Open(Ticks),
    /// A thread has come, or it may wait for ever.
    Unbounded,
    /// The shard has taken the connection back.
    TakenBack,
}

/// Why a connection is taken back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Why {
    /// Nothing reaches the peer any more.
    Failed,
    /// The peer has closed its sending side, and the grace is over.
    HalfClosed,
    /// No thread has come in time.
    TooLong,
}

impl Work {
    /// Whether it has been accepted before: then it is not refused for want of a thread.
    fn is_accepted(self) -> bool {
        matches!(self, Work::Answer { .. } | Work::Upgrade)
    }

    /// Whether it may be refused when too many calls wait.
    pub(super) fn urgency(self) -> Urgency {
        if self.is_accepted() { Urgency::Essential } else { Urgency::Refusable }
    }
}

impl Waits {
    /// A wait that has not been used before.
    pub(super) fn next_wait(&mut self) -> Wait {
        self.last = self.last.next();
        self.last
    }

    /// Whether the connection has been taken back and its message is to be refused. Asked in its next turn.
    pub(super) fn take_overdue(&mut self, index: u32) -> bool {
        let entered = self.by_slot.get_mut(index as usize).and_then(Option::as_mut);
        entered.is_some_and(|entered| mem::take(&mut entered.is_overdue))
    }

    /// The connection has come back from a thread that must not run the call of that route.
    pub(super) fn set_way(&mut self, index: u32, route: u32) {
        if let Some(Some(entered)) = self.by_slot.get_mut(index as usize) {
            entered.way = route;
        }
    }

    /// The route of a message that belongs on another thread: the one with the number `refused`, or if the protocol
    /// needs another thread before it knows the route, the one that the message has come back with.
    pub(super) fn way(&mut self, index: u32, refused: u32) -> Option<Arc<Route>> {
        let entered = self.by_slot.get_mut(index as usize).and_then(Option::as_mut);
        let way = entered.map_or(NO_ROUTE, |entered| mem::replace(&mut entered.way, NO_ROUTE));
        route::by_number(if refused == NO_ROUTE { way } else { refused })
    }

    fn set(&mut self, index: u32, entered: Entered) {
        let index = index as usize;
        if self.by_slot.len() <= index {
            // Not twice as many: a service may have 100 000 connections.
            self.by_slot.reserve_exact(index + 1 - self.by_slot.len() + SPARE_SLOTS);
            self.by_slot.resize(index + 1, None);
        }
        self.by_slot[index] = Some(entered);
    }

    fn get(&self, index: u32) -> Option<Entered> {
        *self.by_slot.get(index as usize)?
    }
}

impl Entered {
    /// When its wait is over, and why, if no thread comes and the peer does nothing more. `None`: never.
    fn end(&self, settings: &Settings) -> Option<(Ticks, Why)> {
        if self.work.is_accepted() {
            return None;
        }
        let after = |since: Ticks, limit: Duration| since.saturating_add(ticks_ceil(limit));
        let half_closed = self
            .hung_up
            .zip(settings.half_closed_wait_max)
            .map(|(at, limit)| (after(at, limit), Why::HalfClosed));
        let too_long =
            settings.queue_wait_max.map(|limit| (after(self.since, limit), Why::TooLong));
        half_closed.into_iter().chain(too_long).min_by_key(|(at, _)| *at)
    }
}

impl Shard {
    /// A connection has begun to wait: looks at it when its wait may be over.
    pub(super) fn begin_wait<'s>(
        self: &'s Arc<Self>,
        lease: &mut Lease<'s, Core>,
        connection: &'s Connection,
        index: u32,
        work: Work,
        queue: Queue,
    ) {
        let since = lease.agenda.now();
        let hung_up = connection.has_hung_up().then_some(since);
        let entered = Entered { work, queue, since, hung_up, is_overdue: false, way: NO_ROUTE };
        self.watch_wait(lease, connection, index, entered);
    }

    /// The peer of a connection that waits for a thread has hung up.
    #[cold]
    pub(super) fn hung_up_in_queue<'s>(
        self: &'s Arc<Self>,
        lease: &mut Lease<'s, Core>,
        connection: &'s Connection,
        index: u32,
        wait: Wait,
        hang_up: HangUp,
    ) {
        if hang_up == HangUp::Failed {
            self.take_out(lease, connection, index, wait, Why::Failed);
        } else if let Some(mut entered) = lease.waits.get(index) {
            entered.hung_up.get_or_insert(lease.agenda.now());
            self.watch_wait(lease, connection, index, entered);
        }
    }

    /// A timer has fired for a connection that waits for a thread: takes it back if it has waited too long.
    pub(super) fn look_at_wait<'s>(
        self: &'s Arc<Self>,
        lease: &mut Lease<'s, Core>,
        connection: &'s Connection,
        index: u32,
        wait: Wait,
    ) -> Look {
        let entered = lease.waits.get(index);
        match entered.and_then(|entered| entered.end(&self.shared.settings)) {
            Some((at, why)) if at <= lease.agenda.now() => {
                self.take_out(lease, connection, index, wait, why)
            }
            Some((at, _)) => Look::Open(at),
            None => Look::Unbounded,
        }
    }

    /// Notes the wait, and looks at the connection when it may be over, unless it is to be looked at before.
    fn watch_wait(
        &self,
        lease: &mut Lease<'_, Core>,
        connection: &Connection,
        index: u32,
        entered: Entered,
    ) {
        lease.waits.set(index, entered);
        let Some((at, _)) = entered.end(&self.shared.settings) else { return };
        let scheduled = connection.scheduled.load(Ordering::Relaxed);
        if scheduled == 0 || at < scheduled {
            connection.scheduled.store(at, Ordering::Relaxed);
            let generation = connection.generation();
            lease.agenda.insert(at, Key::Connection { index, generation });
        }
    }

    /// Takes a connection back from the queue, if no thread has begun with it, and frees its place there.
    fn take_out<'s>(
        self: &'s Arc<Self>,
        lease: &mut Lease<'s, Core>,
        connection: &'s Connection,
        index: u32,
        wait: Wait,
        why: Why,
    ) -> Look {
        let Some(entered) = lease.waits.get(index) else { return Look::Unbounded };
        let Some(mut claim) = connection.take_back(index, wait) else { return Look::Unbounded };
        entered.queue.withdraw(&self.shared);
        // Threads are short: its next message is read before it waits for one.
        claim.pooled_in_a_row = 0;
        let counter = match why {
            Why::Failed | Why::HalfClosed => &self.home.counters.abandoned_calls,
            Why::TooLong => &self.home.counters.timeouts_queue,
        };
        counter.increment();
        match (why, entered.work) {
            (Why::HalfClosed, Work::Message { .. } | Work::Open) if !claim.session.has_calls() => {
                // The peer may still read earlier replies, which closing at once could destroy, and is to see an
                // end and not a reset, although nobody has read what it has sent.
                tell_closed(&claim, "the client has gone while its call waited for a thread");
                claim.end_after_output();
                lease.batch.push_ready(claim);
            }
            // A half-closed client that has deferred calls open still waits for their replies.
            (Why::HalfClosed | Why::TooLong, Work::Message { .. }) => {
                lease.waits.set(index, Entered { is_overdue: true, ..entered });
                lease.batch.push_ready(claim);
            }
            (Why::Failed, _) => {
                tell_closed(&claim, "the client has gone while it waited for a thread");
                self.end_with_lease(lease, claim);
            }
            (Why::HalfClosed, _) => {
                tell_closed(&claim, "the client has gone while it waited for a thread");
                self.leave_unserved(lease, claim);
            }
            (Why::TooLong, work) => {
                let protocol = claim.service.name();
                limited!(
                    warn, key: protocol,
                    "no pool thread has come in time: connections are closed", protocol
                );
                if work == Work::Open {
                    self.refuse_at_hook(lease, claim);
                } else {
                    self.leave_unserved(lease, claim);
                }
            }
        }
        Look::TakenBack
    }
}

/// How far a peer has gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum HangUp {
    /// It sends no more.
    HalfClosed,
    /// Nothing reaches it either.
    Failed,
}

impl HangUp {
    /// What an event says of it.
    #[inline(always)]
    pub(super) fn of(readiness: Readiness) -> Option<HangUp> {
        if !readiness.hang_up() {
            return None;
        }
        Some(if readiness.failure() { HangUp::Failed } else { HangUp::HalfClosed })
    }
}
