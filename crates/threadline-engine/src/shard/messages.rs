//! A conversation's input: reading, and cutting messages out of what has come.
//!
//! Whole messages are answered from the thread's own buffer; only the rest of one that is not whole is kept
//! with its connection. What a message is, and what is answered, the protocol says.

use std::io;
use std::mem;
use std::ops::Range;

use super::conversation::{Conversation, Eaten, Pause};
use crate::connection::State;
use crate::protocol::{Phase, Protocol, Step};
use crate::service::Service;
use crate::transport::{Patience, Received};
use crate::turn::{Turn, contain_protocol};

/// Replies are written when they have grown to this, even if more messages wait: 256 KB.
const OUTPUT_MAX: usize = 256 * 1024;

/// How much is read at first of a message of which nothing is known: heads and small bodies fit.
const FIRST_READ: usize = 16 * 1024;

impl Conversation<'_> {
    /// Whether `partial` holds something that the protocol has not seen and would want to.
    pub(super) fn has_news(&self) -> bool {
        let state = &self.state;
        let len = state.partial.len();
        len > state.seen as usize && len >= state.want as usize
    }

    #[inline(always)]
    pub(super) fn read(&mut self, until_dry: bool) -> io::Result<Option<Pause>> {
        let Some(transport) = self.state.session.transport() else {
            return Ok(Some(Pause::Over));
        };
        // The start of a message first: one that is long and read by its handler has its rest read where
        // it belongs, and not copied there. A message that is waited for as a whole is taken in large.
        let len = self.desk.input.len();
        let most = if self.state.want > 0 { len } else { FIRST_READ.min(len) };
        let buffer = &mut self.desk.input[..most];
        // On a connection's own thread this is where that thread waits.
        let patience = if self.blocking { Patience::Limit } else { Patience::None };
        let received = transport.read_with(buffer, patience);
        let range = match received {
            Ok(Received::Data(range)) => range,
            Ok(Received::End) => return self.end_of_input(),
            Ok(Received::Wait(_)) => {
                self.state.unread = false;
                self.dry = true;
                return Ok(None);
            }
            // Only of a blocking read, whose limit the caller computes anew.
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {
                self.state.unread = false;
                return Ok(None);
            }
            Err(error) => return Err(error),
        };
        // What has been emptied makes a new edge when more comes.
        let may_have_more = until_dry || !transport.is_emptied_by(range.len(), most);
        self.state.unread = may_have_more && !self.blocking;
        if self.state.partial.is_empty() {
            self.eat_fresh(range)
        } else {
            self.state.partial.extend_from_slice(&self.desk.input[range]);
            Ok(None)
        }
    }

    /// The fast path: whole messages are answered from the thread's own buffer.
    #[inline(always)]
    fn eat_fresh(&mut self, range: Range<usize>) -> io::Result<Option<Pause>> {
        let input = mem::take(&mut self.desk.input);
        let fresh = &input[range];
        let (used, eaten) = self.eat(fresh);
        if used < fresh.len() && !matches!(eaten, Eaten::Close | Eaten::Push) {
            self.state.partial.extend_from_slice(&fresh[used..]);
        }
        self.desk.input = input;
        self.answer(eaten)
    }

    pub(super) fn eat_partial(&mut self) -> io::Result<Option<Pause>> {
        let mut input = mem::take(&mut self.state.partial);
        let (used, eaten) = self.eat(&input);
        if used < input.len() && !matches!(eaten, Eaten::Close | Eaten::Push) {
            input.drain(..used);
            self.state.partial = input;
        }
        self.answer(eaten)
    }

    /// Answers the whole messages at the start of `input` into the desk's output. Says how many
    /// bytes they had.
    fn eat(&mut self, input: &[u8]) -> (usize, Eaten) {
        let mut used = 0;
        while used < input.len() {
            if self.budget == 0 {
                self.shard.home.counters.yields.increment();
                return (used, Eaten::Enough);
            }
            match self.step(&input[used..]) {
                Step::Next { consumed } => {
                    if consumed == 0 || consumed > input.len() - used {
                        return (used, self.miscounted(consumed, input.len() - used));
                    }
                    used += consumed;
                    self.between_messages();
                    self.budget -= 1;
                    if self.state.session.is_last_reply() {
                        return (used, self.last_reply());
                    }
                    // Replies that wait hold up further messages as much as answers that have yet to come.
                    if self.is_held_up() || self.state.session.output_waits() {
                        return (used, Eaten::WantMore);
                    }
                    if self.place.lost() || self.desk.output.len() >= OUTPUT_MAX {
                        return (used, Eaten::Enough);
                    }
                }
                Step::Streamed { rest } => {
                    // Nothing of the input is left: the step has read on from its end.
                    self.between_messages();
                    self.state.partial = rest;
                    self.state.unread = true;
                    let is_last = self.state.session.is_last_reply();
                    return (input.len(), if is_last { self.last_reply() } else { Eaten::Enough });
                }
                Step::Receive { head_len } => {
                    let rest = &input[used..];
                    if head_len == 0 || head_len > rest.len() {
                        return (used, self.miscounted(head_len, rest.len()));
                    }
                    let (head, ahead) = rest.split_at(head_len);
                    return (input.len(), self.begin_receiving(head, ahead));
                }
                Step::Push => return (used, Eaten::Push),
                Step::Close => return (used, Eaten::Close),
                Step::Partial { phase, want } => {
                    self.wait_for(phase, want, input.len() - used);
                    return (used, Eaten::WantMore);
                }
                Step::Offload { .. } => return (used, Eaten::Offload),
            }
        }
        (used, Eaten::WantMore)
    }

    /// Whether further messages have to wait for the answers to earlier ones.
    #[inline(always)]
    pub(super) fn is_held_up(&self) -> bool {
        let calls_max = || if self.blocking { 1 } else { self.state.calls_max() };
        self.state.session.is_held_up(calls_max)
    }

    /// The protocol is wrong about its own message: where the next one begins is not known.
    #[cold]
    fn miscounted(&self, consumed: usize, len: usize) -> Eaten {
        let protocol = self.state.service.name();
        tracing::error!(protocol, consumed, len, "a message has from 1 to all bytes of its input");
        Eaten::Close
    }

    /// The peer sends no more. What has come of a message that is not whole is for the protocol to judge.
    /// Once nothing of it is left, the next read finds the end again; so does the thread that it is
    /// offloaded to. Where it was us who cut the connection off, the peer may have had more to say.
    #[cold]
    fn end_of_input(&mut self) -> io::Result<Option<Pause>> {
        if self.state.session.has_calls() && !self.state.session.has_failed() {
            // The client may still read their replies. Behind the last the end is found again.
            self.state.unread = false;
            return Ok(Some(Pause::Parked));
        }
        if self.state.partial.is_empty() || self.state.session.is_cut_off() {
            return Ok(Some(Pause::Over));
        }
        let input = mem::take(&mut self.state.partial);
        let step = self.ask(|protocol, turn| protocol.end_of_input(&input, turn));
        let eaten = match step {
            Step::Next { .. } if self.state.session.is_last_reply() => self.last_reply(),
            Step::Next { .. } => Eaten::WantMore,
            Step::Push => Eaten::Push,
            Step::Offload { .. } => {
                self.state.partial = input;
                Eaten::Offload
            }
            // Nothing more will come.
            Step::Close | Step::Partial { .. } | Step::Streamed { .. } | Step::Receive { .. } => {
                Eaten::Close
            }
        };
        self.between_messages();
        self.answer(eaten)
    }

    /// What follows a message whose reply is the connection's last in this protocol. Replies that come later
    /// come first.
    pub(super) fn last_reply(&self) -> Eaten {
        match &self.state.session {
            session if session.has_calls() => Eaten::WantMore,
            session if session.closes() => Eaten::Close,
            _ => Eaten::Upgrade,
        }
    }

    #[inline(always)]
    fn step(&mut self, input: &[u8]) -> Step {
        self.ask(|protocol, turn| protocol.step(input, turn))
    }

    #[inline(always)]
    pub(super) fn ask(&mut self, ask: impl FnOnce(&dyn Protocol, &mut Turn<'_>) -> Step) -> Step {
        let State { service, session, memo, seen, .. } = &mut *self.state;
        let Service::Messages(service) = service else { return Step::Close };
        let mut turn = Turn {
            session,
            out: &mut self.desk.output,
            place: &mut *self.place,
            seen: *seen as usize,
            memo,
            receive: &mut self.receive,
            draining: self.shard.shared.lifecycle.phase().is_draining(),
            counters: &self.shard.home.counters,
            budget: &mut self.budget,
            took: None,
        };
        // User code inside is contained already; this is for a protocol that panics itself. Whether its
        // reply is whole nobody knows: the connection ends.
        let protocols = &self.shard.shared.protocols;
        let step = contain_protocol(protocols, || ask(service.protocol(), &mut turn));
        step.unwrap_or(Step::Close)
    }

    pub(super) fn between_messages(&mut self) {
        if self.state.seen > 0 {
            self.state.forget();
        }
        self.state.seen = 0;
        self.state.want = 0;
        self.state.phase = None;
    }

    pub(super) fn wait_for(&mut self, phase: Phase, want: usize, seen: usize) {
        if self.state.phase != Some(phase) {
            self.state.phase = Some(phase);
            self.state.phase_began = self.shard.home.clock.ticks();
        }
        // Of more than 4 GB, which no protocol here has, it would be looked at too often.
        self.state.want = u32::try_from(want).unwrap_or(u32::MAX);
        self.state.seen = u32::try_from(seen).unwrap_or(u32::MAX);
    }
}
