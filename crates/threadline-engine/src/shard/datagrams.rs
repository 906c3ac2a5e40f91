//! Datagram services: a burst of datagrams a turn, each answered by its handler. Those that wait too long for a
//! pool thread are dropped.

use std::collections::VecDeque;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use threadline_pool::Ticket;
use tracing::field::display;

use super::key::Key;
use super::place::{OnPool, OnShard};
use super::turn::Turned;
use super::{Core, Desk, Sampler, Shard};
use crate::lease::Lease;
use crate::log::limited;
use crate::service::{DatagramService, Service};
use crate::sys::{Asked, Ticks, receive, reply, ticks_ceil};
use crate::turn::{Entry, Place, contain};

/// Datagrams taken at one go, so that a flood of them does not keep connections waiting.
const BURST: usize = 64;

/// Who a datagram is from, and which of our addresses it was sent to.
#[derive(Clone, Copy)]
struct Sender {
    peer: SocketAddr,
    asked: Asked,
}

/// The datagrams that wait for a pool thread: which ones, and since when.
#[derive(Default)]
pub(super) struct WaitingDatagrams {
    /// The oldest first. A datagram may stay here after its thread has come, until the next one is added.
    line: VecDeque<(Ticks, Ticket)>,
    /// How many of them have no thread yet.
    count: Arc<AtomicUsize>,
    /// The shard looks at them at a time that is set already.
    is_watched: bool,
}

/// A datagram that waits for a pool thread. Dropped without its thread, it is counted.
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
    fn add(&mut self, since: Ticks, place: Ticket) {
        // Threads come for them in their order, as good as always: the ones that wait are the last.
        let waiting = self.count.load(Ordering::Relaxed);
        let begun = self.line.len().saturating_sub(waiting);
        self.line.drain(..begun);
        self.line.push_back((since, place));
    }

    /// Takes out the one that has waited longest, if it came at that time or before.
    fn take_older(&mut self, came: Ticks) -> Option<Ticket> {
        let (since, place) = *self.line.front()?;
        if since > came {
            return None;
        }
        self.line.pop_front();
        Some(place)
    }
}

impl Waiting {
    /// A pool thread's part.
    fn answer(mut self) {
        if self.is_late() {
            return;
        }
        self.has_begun = true;
        self.count.fetch_sub(1, Ordering::Relaxed);
        let Waiting { shard, service, .. } = &self;
        let mut place = OnPool::new(shard, Sampler::default());
        place.enter(&service.route, 0);
        shard.answer(service, &self.socket, &self.datagram, self.from);
        place.leave(&service.route);
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
                self.answer_on_pool(&mut lease, service, socket, datagram, from);
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

    fn answer_on_pool(
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
        match self.shared.pool.try_submit(|| waiting.answer()) {
            Ok(place) => {
                lease.datagrams.add(since, place);
                self.watch_datagrams(lease);
            }
            // It counts itself as dropped.
            Err(_) => {
                self.home.counters.refused_overload.increment();
                let (route, peer) = (service.route.name(), from.peer);
                limited!(warn, route: route, "the pool is full: datagrams are dropped", %peer);
            }
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
            self.shared.pool.withdraw(place);
        }
        lease.datagrams.is_watched = false;
        self.watch_datagrams(lease);
    }
}
