//! Turning messages and peers away: what they are told, and what the log says.
//!
//! The words are the protocol's. A message is refused without a place to run user code, so that it can be
//! done on any thread.

use std::mem;

use tracing::field::display;

use super::conversation::{Conversation, Pause};
use super::place::{OnPool, Pass};
use super::{Desk, Sampler, Shard};
use crate::connection::State;
use crate::log::{Bytes, limited};
use crate::protocol::{AfterRefusal, Phase, Protocol, Refusal};
use crate::receiving::Receiving;
use crate::service::Service;
use crate::turn::contain_protocol;

/// How much of a refused message the log shows, in bytes.
const SHOWN_MAX: usize = 64;

impl Shard {
    /// Turns the connection's message away, without a place to run user code.
    pub(super) fn refuse(&self, state: &mut State, why: Refusal, desk: &mut Desk) -> Pause {
        let place = &mut OnPool::new(self, Pass::Pool, Sampler::default());
        Conversation::new(self, state, desk, place, 0).refuse(why)
    }

    /// What a peer is told that is turned away. A protocol that panics says nothing, and so do services
    /// without one.
    pub(super) fn refusal(
        &self,
        service: &Service,
        why: Refusal,
        input: &[u8],
        out: &mut Vec<u8>,
    ) -> AfterRefusal {
        self.refusal_by(service, out, |protocol, out| protocol.refuse(why, input, out))
    }

    fn refusal_by(
        &self,
        service: &Service,
        out: &mut Vec<u8>,
        refuse: impl FnOnce(&dyn Protocol, &mut Vec<u8>) -> AfterRefusal,
    ) -> AfterRefusal {
        let Service::Messages(service) = service else { return AfterRefusal::Close };
        let start = out.len();
        let protocols = &self.shared.protocols;
        let refused = contain_protocol(protocols, || refuse(service.protocol(), out));
        refused.unwrap_or_else(|| {
            out.truncate(start);
            AfterRefusal::Close
        })
    }

    pub(super) fn say_timed_out(&self, phase: Phase, state: &mut State, desk: &mut Desk) -> Pause {
        match phase {
            Phase::Head => self.home.counters.timeouts_head.increment(),
            Phase::Body => self.home.counters.timeouts_body.increment(),
        }
        self.refuse(state, Refusal::TimedOut(phase), desk)
    }
}

impl Conversation<'_> {
    /// Turns the waiting message away.
    pub(super) fn refuse(&mut self, why: Refusal) -> Pause {
        if let Some(receiving) = self.state.receiving.take() {
            return self.refuse_received(why, receiving);
        }
        let input = mem::take(&mut self.state.partial);
        self.tell_refused(why, &input);
        match self.shard.refusal(&self.state.service, why, &input, &mut self.desk.output) {
            AfterRefusal::Continue { consumed } if why == Refusal::Overloaded => {
                self.state.partial = input;
                self.state.partial.drain(..consumed.min(self.state.partial.len()));
                self.between_messages();
            }
            _ => self.state.end_after_output(),
        }
        self.write_refusal()
    }

    /// Turns the message away that is being received, or has been.
    fn refuse_received(&mut self, why: Refusal, mut receiving: Box<Receiving>) -> Pause {
        let head = mem::take(&mut receiving.head);
        let is_whole = receiving.framing.end == Some(Ok(()));
        let rest = mem::take(&mut receiving.framing.rest);
        self.give_up(receiving);
        self.tell_refused(why, &head);
        let (shard, service) = (self.shard, &self.state.service);
        let out = &mut self.desk.output;
        let after = if is_whole {
            shard
                .refusal_by(service, out, |protocol, out| protocol.refuse_received(why, &head, out))
        } else {
            shard.refusal(service, why, &head, out)
        };
        match after {
            AfterRefusal::Continue { .. } if is_whole => {
                self.state.partial = rest;
                self.between_messages();
            }
            _ => self.state.end_after_output(),
        }
        self.write_refusal()
    }

    fn write_refusal(&mut self) -> Pause {
        match self.write() {
            Ok(()) => Pause::Yield,
            Err(_) => Pause::Over,
        }
    }

    #[cold]
    fn tell_refused(&self, why: Refusal, input: &[u8]) {
        let (protocol, peer) = (self.state.service.name(), self.state.session.peer_addr());
        let (peer, begin) = (peer.map(display), Bytes(input, SHOWN_MAX));
        tracing::debug!(protocol, peer, received = input.len(), %begin, "refused: {why}");
        if why == Refusal::Overloaded {
            limited!(warn, key: protocol, "no pool thread is free: messages are refused", protocol);
        }
    }
}
