//! Datagram services: a burst of datagrams a turn, each answered by its handler. Those that wait too long for a
//! thread are dropped.

use std::collections::VecDeque;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use tracing::field::display;

use super::errand::{Kind, start};
use super::key::Key;
use super::offload::{Urgency, applies};
use super::place::{OnPool, OnShard, Pass};
use super::queued::Queue;
use super::turn::Turned;
use super::{Core, Desk, Sampler, Shard};
use crate::lease::Lease;
use crate::log::limited;
use crate::route::Route;
use crate::service::{DatagramService, Service};
use crate::sys::{Asked, Ticks, receive, reply, ticks_ceil};
use crate::turn::{Entry, Place, contain};
use crate::workers::{Admission, Errand, Permit, Waiter};

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
    /// The oldest first. A datagram may stay here after its thread has come, until the next one is added.
    line: VecDeque<(Ticks, Queue)>,
    /// How many of them have no thread yet.
    count: Arc<AtomicUsize>,
    /// The shard looks at them at a time that is set already.
    is_watched: bool,
}

/// A datagram that waits for a thread. Dropped without its thread, it is counted.
struct Waiting {
    shard: Arc<Shard>,
    service: Arc<DatagramService>,
    socket: Arc<OwnedFd>,
    datagram: Vec<u8>,
    from: Sender,
    since: Ticks,
    count: Arc<AtomicUsize>,
    has_begun: bool,
}

impl WaitingDatagrams {
    fn add(&mut self, since: Ticks, place: Queue) {
        // Threads come for them in their order, as good as always: the ones that wait are the last.
        let waiting = self.count.load(Ordering::Relaxed);
        let begun = self.line.len().saturating_sub(waiting);
        self.line.drain(..begun);
        self.line.push_back((since, place));
    }

    /// Takes out the one that has waited longest, if it came at that time or before.
    fn take_older(&mut self, came: Ticks) -> Option<Queue> {
        let (since, place) = *self.line.front()?;
        if since > came {
            return None;
        }
        self.line.pop_front();
        Some(place)
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
        self.count.fetch_sub(1, Ordering::Relaxed);
        shard.answer(&service, &self.socket, &self.datagram, self.from);
        place.leave(&service.route);
        place.into_pass()
    }

    /// Passes the datagram to a thread that may run its handler. Where too many calls wait it is dropped. Returns
    /// where it waits.
    fn find_way(self) -> Option<Queue> {
        let (shard, route, from) =
            (Arc::clone(&self.shard), Arc::clone(&self.service.route), self.from);
        let queue = self.pass_on(&shard, &route);
        if queue.is_none() {
            // It has counted itself as dropped.
            shard.home.counters.refused_overload.increment();
            let (route, peer) = (route.name(), from.peer);
            limited!(warn, route: route, "the pool is full: datagrams are dropped", %peer);
        }
        queue
    }

    fn pass_on(self, shard: &Arc<Shard>, route: &Arc<Route>) -> Option<Queue> {
        let Some(kind) = shard.kind_of(route) else {
            let job = || drop(self.answer(Pass::Pool));
            return shard.shared.pool.try_submit(job).ok().map(Queue::Pool);
        };
        let gate = shard.gate(kind, route);
        if let Some(permit) = gate.try_enter() {
            let errand = Box::new(AtGate { waiting: self, kind, waiter: None });
            return errand.start(permit).ok().map(|()| Queue::Threads);
        }
        let waiter = Some(shard.wait_at_gate(Urgency::Refusable)?);
        let errand = Box::new(AtGate { waiting: self, kind, waiter });
        match gate.enter(errand, || applies(kind, route)) {
            Admission::Waits(position) => {
                shard.home.counters.calls_parked.increment();
                Some(Queue::of(kind, route, position))
            }
            Admission::Admitted(errand, permit) => {
                errand.start(permit).ok().map(|()| Queue::Threads)
            }
            Admission::Void(errand) => {
                errand.send_back();
                Some(Queue::Threads)
            }
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
        self.count.fetch_sub(1, Ordering::Relaxed);
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
        waiting.answer(kind.pass(permit)).into_permit()
    }

    fn start(self: Box<Self>, permit: Permit) -> Result<(), Permit> {
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
        let count = Arc::clone(&lease.datagrams.count);
        count.fetch_add(1, Ordering::Relaxed);
        let since = lease.agenda.now();
        let (shard, of_job) = (Arc::clone(self), Arc::clone(service));
        let waiting = Waiting {
            shard,
            service: of_job,
            socket,
            datagram,
            from,
            since,
            count,
            has_begun: false,
        };
        if let Some(queue) = waiting.find_way() {
            lease.datagrams.add(since, queue);
            self.watch_datagrams(lease);
        }
    }

    /// Looks at the datagram that has waited longest when its time may be over.
    fn watch_datagrams(&self, lease: &mut Lease<'_, Core>) {
        let Some(limit) = self.shared.settings.queue_wait_max else { return };
        if lease.datagrams.is_watched {
            return;
        }
        if let Some(&(since, _)) = lease.datagrams.line.front() {
            lease.datagrams.is_watched = true;
            lease.agenda.insert(since.saturating_add(ticks_ceil(limit)), Key::Datagrams);
        }
    }

    /// Withdraws the datagrams that have waited too long for a thread: their places in the queue are free then.
    pub(super) fn drop_late_datagrams(&self, lease: &mut Lease<'_, Core>) {
        let Some(limit) = self.shared.settings.queue_wait_max else { return };
        let came = lease.agenda.now().saturating_sub(ticks_ceil(limit));
        while let Some(place) = lease.datagrams.take_older(came) {
            place.withdraw(&self.shared);
        }
        lease.datagrams.is_watched = false;
        self.watch_datagrams(lease);
    }
}
