//! Datagram services: a burst of datagrams a turn, each answered by its handler.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Instant;

use tracing::field::display;

use super::place::{OnPool, OnShard};
use super::turn::Turned;
use super::{Core, Desk, Sampler, Shard};
use crate::lease::Lease;
use crate::log::limited;
use crate::service::{DatagramService, Service};
use crate::sys::{Asked, receive, reply};
use crate::turn::{Entry, Place, contain};

/// Datagrams taken at one go, so that a flood of them does not keep connections waiting.
const BURST: usize = 64;

/// Who a datagram is from, and which of our addresses it was sent to.
#[derive(Clone, Copy)]
struct Sender {
    peer: SocketAddr,
    asked: Asked,
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
            if place.enter(&service.route, 0) == Entry::Here {
                self.answer(service, &socket, &desk.input[..len], from);
                place.leave(&service.route);
            } else {
                self.answer_on_pool(service, socket, &desk.input[..len], from);
            }
            lease = place.lease?;
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
        service: &Arc<DatagramService>,
        socket: Arc<OwnedFd>,
        datagram: &[u8],
        from: Sender,
    ) {
        let (shard, of_job, datagram) = (Arc::clone(self), Arc::clone(service), datagram.to_vec());
        let submitted = self.shared.pool.try_submit(move || {
            let mut place = OnPool::new(&shard, Sampler::default());
            place.enter(&of_job.route, 0);
            shard.answer(&of_job, &socket, &datagram, from);
            place.leave(&of_job.route);
        });
        if submitted.is_err() {
            self.home.counters.refused_overload.increment();
            self.home.counters.datagrams_dropped.increment();
            let (route, peer) = (service.route.name(), from.peer);
            limited!(warn, route: route, "the pool is full: datagrams are dropped", %peer);
        }
    }
}
