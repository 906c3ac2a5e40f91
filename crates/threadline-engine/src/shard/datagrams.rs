//! Datagram services: a burst of datagrams a turn, each answered by its handler. Those that wait too long for a
//! thread are dropped.

use std::collections::VecDeque;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use parking_lot::Mutex;
use tracing::field::display;

use super::errand::{Kind, Passed, start};
use super::key::Key;
use super::offload::Urgency;
use super::place::{OnPool, OnShard, Pass};
use super::queued::Queue;
use super::turn::Turned;
use super::{Core, Desk, Sampler, Shard};
use crate::lease::Lease;
use crate::log::limited;
use crate::service::{DatagramService, Service};
use crate::shared::Shared;
use crate::sys::{Asked, Ticks, receive, reply, ticks_ceil};
use crate::turn::{Entry, Place, contain};
use crate::workers::{Errand, Permit, Waiter};

/// Datagrams taken at one go, so that a flood of them does not keep connections waiting.
const BURST: usize = 64;

/// Who a datagram is from, and which of our addresses it was sent to.
#[derive(Clone, Copy)]
struct Sender {
    peer: SocketAddr,
    asked: Asked,
}

/// The datagrams that wait for a thread: which ones, and since when.
#[derive(Default)]
pub(super) struct WaitingDatagrams {
    /// The oldest first. A datagram may stay here after its thread has come, until there are as many of those as of
    /// others.
    line: VecDeque<(Ticks, Arc<Whereabouts>)>,
    /// How many of them have no thread yet.
    count: Arc<AtomicUsize>,
    /// The shard looks at them at a time that is set already.
    is_watched: bool,
}

/// Where a datagram waits. Other threads may move it: when the class of its route changes.
struct Whereabouts {
    stage: Mutex<Stage>,
    /// [`WaitingDatagrams::count`].
    count: Arc<AtomicUsize>,
}

enum Stage {
    /// At a queue, or on its way from one to another; and how many ways it has looked for.
    Waits(Option<Queue>, u32),
    /// A thread has come for it, or it has been dropped.
    Ended,
    /// It has waited too long, wherever it is.
    Late,
}

/// The number of datagrams with a thread that may stay in the line, however few others are there.
const ENDED_MAX: usize = 64;

/// A datagram that waits for a thread. Dropped without its thread, it is counted.
struct Waiting {
    shard: Arc<Shard>,
    service: Arc<DatagramService>,
    socket: Arc<OwnedFd>,
    datagram: Vec<u8>,
    from: Sender,
    since: Ticks,
    whereabouts: Arc<Whereabouts>,
    has_begun: bool,
}

impl Whereabouts {
    fn new(count: &Arc<AtomicUsize>) -> Arc<Self> {
        count.fetch_add(1, Ordering::Relaxed);
        Arc::new(Whereabouts { stage: Mutex::new(Stage::Waits(None, 0)), count: Arc::clone(count) })
    }

    /// The datagram looks for its way. Returns the number of this way.
    fn leave(&self) -> u32 {
        match &mut *self.stage.lock() {
            Stage::Waits(place, ways) => {
                *place = None;
                *ways += 1;
                *ways
            }
            Stage::Ended | Stage::Late => 0,
        }
    }

    /// On that way it has come to that queue. If it is late by now, or has ended, it leaves that again.
    fn arrive(&self, way: u32, queue: Queue, shared: &Shared) {
        match &mut *self.stage.lock() {
            Stage::Waits(place, ways) => {
                // It may have been sent on already.
                if *ways == way {
                    *place = Some(queue);
                }
                return;
            }
            Stage::Ended | Stage::Late => {}
        }
        queue.withdraw(shared);
    }

    /// The datagram waits no more.
    fn end(&self) {
        self.count.fetch_sub(1, Ordering::Relaxed);
        *self.stage.lock() = Stage::Ended;
    }

    /// The datagram has waited too long. Returns where it is, if it waits still.
    fn make_late(&self) -> Option<Queue> {
        let mut stage = self.stage.lock();
        let Stage::Waits(place, _) = *stage else { return None };
        *stage = Stage::Late;
        place
    }

    fn waits(&self) -> bool {
        matches!(*self.stage.lock(), Stage::Waits(..))
    }
}

impl WaitingDatagrams {
    fn add(&mut self, since: Ticks, datagram: Arc<Whereabouts>) {
        let waiting = self.count.load(Ordering::Relaxed);
        // Rarely, so that each costs a constant time. They end in any order: each service has its own threads.
        if self.line.len() >= 2 * waiting + ENDED_MAX {
            self.line.retain(|(_, datagram)| datagram.waits());
        }
        self.line.push_back((since, datagram));
    }

    /// Takes out the one that has waited longest, if it came at that time or before.
    fn take_older(&mut self, came: Ticks) -> Option<Arc<Whereabouts>> {
        if self.line.front()?.0 > came {
            return None;
        }
        self.line.pop_front().map(|(_, datagram)| datagram)
    }
}

impl Waiting {
    /// The part of a thread off the shards. Returns what is left of the pass. If the class of the route has changed
    /// meanwhile, the datagram goes to the threads that the new one asks for.
    fn answer(mut self, pass: Pass) -> Pass {
        if self.is_late() {
            return pass;
        }
        let (shard, service) = (Arc::clone(&self.shard), Arc::clone(&self.service));
        let mut place = OnPool::new(&shard, pass, Sampler::default());
        if place.enter(&service.route, 0) != Entry::Here {
            let pass = place.into_pass();
            self.find_way();
            return pass;
        }
        self.has_begun = true;
        self.whereabouts.end();
        shard.answer(&service, &self.socket, &self.datagram, self.from);
        place.leave(&service.route);
        place.into_pass()
    }

    /// Passes the datagram to a thread that may run its handler. Where too many calls wait it is dropped.
    fn find_way(self) {
        let (shard, route, from) =
            (Arc::clone(&self.shard), Arc::clone(&self.service.route), self.from);
        let whereabouts = Arc::clone(&self.whereabouts);
        let way = whereabouts.leave();
        let passed = match shard.kind_of(&route) {
            Some(kind) => {
                let at_gate = |waiter| AtGate { waiting: self, kind, waiter };
                shard.pass_gate(kind, &route, Urgency::Refusable, at_gate)
            }
            None => {
                let job = || drop(self.answer(Pass::Pool));
                let submitted = shard.shared.pool.try_submit(job);
                submitted.map_or(Passed::Full, |ticket| Passed::Yes(Queue::Pool(ticket)))
            }
        };
        match passed {
            Passed::Yes(queue) => whereabouts.arrive(way, queue, &shard.shared),
            Passed::Full => {
                // It has counted itself as dropped.
                shard.home.counters.refused_overload.increment();
                let (route, peer) = (route.name(), from.peer);
                limited!(warn, route: route, "the pool is full: datagrams are dropped", %peer);
            }
            // Looks for its way again.
            Passed::Void(errand) => errand.send_back(),
        }
    }

    fn is_late(&self) -> bool {
        let waited = self.shard.home.clock.ticks().saturating_sub(self.since);
        let limit = self.shard.shared.settings.queue_wait_max;
        limit.is_some_and(|limit| waited >= ticks_ceil(limit))
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        if self.has_begun {
            return;
        }
        self.whereabouts.end();
        let counters = &self.shard.home.counters;
        counters.datagrams_dropped.increment();
        if self.is_late() {
            counters.timeouts_queue.increment();
            let (route, peer) = (self.service.route.name(), self.from.peer);
            limited!(warn, route: route, "no pool thread has come in time: datagrams are dropped", %peer);
        }
    }
}

/// A datagram at a gate.
struct AtGate {
    waiting: Waiting,
    kind: Kind,
    /// `None` if it has had a place at once.
    waiter: Option<Waiter>,
}

impl Errand for AtGate {
    fn run(self: Box<Self>, permit: Permit) -> Option<Permit> {
        let AtGate { waiting, kind, waiter } = *self;
        drop(waiter);
        waiting.answer(Pass::Place(kind, permit)).into_permit()
    }

    fn start(mut self: Box<Self>, permit: Permit) -> Result<(), Permit> {
        // In the queue of a pool it counts there.
        let _until_queued = self.waiter.take();
        let (shard, kind) = (Arc::clone(&self.waiting.shard), self.kind);
        // Without a thread it is dropped.
        let started = start(&shard, kind, Urgency::Refusable, self, permit);
        started.map_err(|(_errand, permit)| permit)
    }

    fn send_back(self: Box<Self>) {
        let AtGate { waiting, waiter, .. } = *self;
        waiting.find_way();
        // Only now: a drain waits for those that are counted.
        drop(waiter);
    }
}

impl Shard {
    pub(super) fn receive<'s>(
        self: &'s Arc<Self>,
        mut lease: Lease<'s, Core>,
        number: usize,
        desk: &mut Desk,
    ) -> Turned<'s> {
        for _ in 0..BURST {
            let Some(source) = lease.intake.get(number) else { break };
            let Service::Datagrams(service) = &self.shared.services[source.service as usize] else {
                break;
            };
            let received = match receive(source, &mut desk.input, source.bound) {
                Ok(received) => received,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                // Errors of earlier replies (ECONNREFUSED) are reported here; they are nobody's.
                Err(_) => continue,
            };
            self.home.counters.datagrams.increment();
            // What is cut off is not handed over: its rest may have been what matters.
            let (Some(peer), false) = (received.peer, received.is_cut) else {
                self.home.counters.datagrams_dropped.increment();
                let (peer, bytes) = (received.peer.map(display), received.len);
                tracing::debug!(peer, bytes, "a datagram is dropped: it is longer than the buffer");
                continue;
            };
            let from = Sender { peer, asked: received.asked };
            let (socket, len) = (source.socket(), received.len);
            let mut place = OnShard::new(self, lease);
            let runs_here = place.enter(&service.route, 0) == Entry::Here;
            if runs_here {
                self.answer(service, &socket, &desk.input[..len], from);
                place.leave(&service.route);
            }
            lease = place.lease?;
            if !runs_here {
                let datagram = desk.input[..len].to_vec();
                self.answer_elsewhere(&mut lease, service, socket, datagram, from);
            }
        }
        Some(lease)
    }

    fn answer(&self, service: &DatagramService, socket: &OwnedFd, datagram: &[u8], from: Sender) {
        let Sender { peer, asked } = from;
        let began = tracing::enabled!(tracing::Level::DEBUG).then(Instant::now);
        let answer = contain(&service.route, || (service.handler)(datagram, peer)).flatten();
        if let Some(began) = began {
            let (bytes, reply) = (datagram.len(), answer.as_ref().map(Vec::len));
            let (route, duration_us) = (service.route.name(), began.elapsed().as_micros() as u64);
            tracing::debug!(%peer, route, bytes, reply, duration_us, "datagram");
        }
        if let Some(answer) = answer
            && let Err(error) = reply(socket, &answer, peer, asked)
        {
            // Too large, or the socket's buffer is full: datagrams may be lost, threads may not wait.
            self.home.counters.datagrams_dropped.increment();
            tracing::debug!(%peer, bytes = answer.len(), %error, "the reply to a datagram is lost");
        }
    }

    fn answer_elsewhere(
        self: &Arc<Self>,
        lease: &mut Lease<'_, Core>,
        service: &Arc<DatagramService>,
        socket: Arc<OwnedFd>,
        datagram: Vec<u8>,
        from: Sender,
    ) {
        let whereabouts = Whereabouts::new(&lease.datagrams.count);
        let since = lease.agenda.now();
        let (shard, of_job) = (Arc::clone(self), Arc::clone(service));
        let waiting = Waiting {
            shard,
            service: of_job,
            socket,
            datagram,
            from,
            since,
            whereabouts: Arc::clone(&whereabouts),
            has_begun: false,
        };
        waiting.find_way();
        if self.shared.settings.queue_wait_max.is_some() && whereabouts.waits() {
            lease.datagrams.add(since, whereabouts);
            self.watch_datagrams(lease);
        }
    }

    /// Looks at the datagram that has waited longest when its time may be over.
    fn watch_datagrams(&self, lease: &mut Lease<'_, Core>) {
        let Some(limit) = self.shared.settings.queue_wait_max else { return };
        if lease.datagrams.is_watched {
            return;
        }
        if let Some(since) = lease.datagrams.line.front().map(|(since, _)| *since) {
            lease.datagrams.is_watched = true;
            lease.agenda.insert(since.saturating_add(ticks_ceil(limit)), Key::Datagrams);
        }
    }

    /// Withdraws the datagrams that have waited too long for a thread: their places in the queue are free then.
    pub(super) fn drop_late_datagrams(&self, lease: &mut Lease<'_, Core>) {
        let Some(limit) = self.shared.settings.queue_wait_max else { return };
        let came = lease.agenda.now().saturating_sub(ticks_ceil(limit));
        while let Some(datagram) = lease.datagrams.take_older(came) {
            if let Some(queue) = datagram.make_late() {
                queue.withdraw(&self.shared);
            }
        }
        lease.datagrams.is_watched = false;
        self.watch_datagrams(lease);
    }
}
