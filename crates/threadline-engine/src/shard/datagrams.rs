//! Datagram services: a burst of datagrams a turn, each answered by its handler.

use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags};

use super::place::{OnPool, OnShard};
use super::settle::Turned;
use super::{Core, Desk, Shard};
use crate::lease::Lease;
use crate::service::{DatagramService, Service};
use crate::turn::{Place, contain};

/// Datagrams taken at one go, so that a flood of them does not keep connections waiting.
const BURST: usize = 64;

impl Shard {
    pub(super) fn receive<'s>(
        self: &'s Arc<Self>,
        mut lease: Lease<'s, Core>,
        number: usize,
        desk: &mut Desk,
    ) -> Turned<'s> {
        for _ in 0..BURST {
            let Some(source) = lease.sources.get(number) else { break };
            let Service::Datagrams(service) = &self.shared.services[source.service as usize] else {
                break;
            };
            let received =
                rustix::net::recvfrom(source.as_fd(), &mut desk.input[..], RecvFlags::TRUNC);
            let (count, peer) = match received {
                Ok((_, count, peer)) => (count, peer.and_then(|peer| peer.try_into().ok())),
                Err(Errno::AGAIN) => break,
                // Errors of earlier sends (ECONNREFUSED) are reported here; they are nobody's.
                Err(_) => continue,
            };
            self.home.counters.datagrams.increment();
            let (Some(peer), true) = (peer, count <= desk.input.len()) else {
                self.home.counters.datagrams_dropped.increment();
                continue;
            };
            let socket = source.socket();
            let mut place = OnShard::new(self, lease);
            if place.enter(&service.route) {
                self.answer(service, &socket, &desk.input[..count], peer);
                place.leave(&service.route);
            } else {
                self.answer_on_pool(service, socket, &desk.input[..count], peer);
            }
            lease = place.lease?;
        }
        Some(lease)
    }

    fn answer(
        &self,
        service: &DatagramService,
        socket: &OwnedFd,
        datagram: &[u8],
        peer: SocketAddr,
    ) {
        let reply = contain(&service.route, || (service.handler)(datagram, peer)).flatten();
        if let Some(reply) = reply
            && rustix::net::sendto(socket, &reply, SendFlags::DONTWAIT, &peer).is_err()
        {
            // Too large, or the socket's buffer is full: datagrams may be lost, threads may not wait.
            self.home.counters.datagrams_dropped.increment();
        }
    }

    fn answer_on_pool(
        self: &Arc<Self>,
        service: &DatagramService,
        socket: Arc<OwnedFd>,
        datagram: &[u8],
        peer: SocketAddr,
    ) {
        let (shard, service, datagram) = (Arc::clone(self), service.clone(), datagram.to_vec());
        let submitted = self.shared.pool.try_submit(move || {
            let mut place = OnPool::new(&shard);
            place.enter(&service.route);
            shard.answer(&service, &socket, &datagram, peer);
            place.leave(&service.route);
        });
        if submitted.is_err() {
            self.home.counters.refused_overload.increment();
            self.home.counters.datagrams_dropped.increment();
        }
    }
}
