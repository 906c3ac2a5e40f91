//! One connection's turn: write what waits, cut messages out of what has come, read more.
//!
//! The same code runs on a shard's thread, on a pool thread that took a message over, and on a
//! connection's own thread; [`Place`] is the difference. It decides nothing about threads: it
//! comes back with a [`Pause`] that says what the connection needs next.

use std::io;
use std::mem;
use std::ops::Range;

use tracing::field::display;

use super::timers::tell_closed;
use super::{Desk, Shard};
use crate::connection::{Ending, State};
use crate::contained::Contained;
use crate::log::{Bytes, limited};
use crate::protocol::{AfterRefusal, Phase, Protocol, Refusal, Step};
use crate::service::Service;
use crate::transport::{Received, tell_unreadable};
use crate::turn::{Place, Turn, contain_protocol};

/// Replies are written when they have grown to this, even if more messages wait: 256 KB.
const OUTPUT_MAX: usize = 256 * 1024;

/// How much is read at first of a message of which nothing is known: heads and small bodies fit.
const FIRST_READ: usize = 16 * 1024;

/// What a connection needs next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pause {
    /// Nothing but time: bytes, or room for output.
    Parked,
    /// It has more to do, after others had their turn (or on another thread, if the shard is lost).
    Yield,
    /// Its first message belongs on a thread that may block; its bytes are in `State::partial`.
    Offload,
    /// A thread that may block, for its upgrade; what the next protocol reads first is in `State::partial`.
    Upgrade,
    /// Nothing: it has ended.
    Over,
}

/// What came of looking at some input.
enum Eaten {
    /// All whole messages are answered.
    WantMore,
    /// The first message in the rest belongs elsewhere.
    Offload,
    /// The budget is used up, or the thread has lost its shard.
    Enough,
    /// The protocol closes the connection.
    Close,
    /// The connection goes on in another protocol.
    Upgrade,
    /// The reply goes on by senders, and is the connection's last.
    Push,
}

pub(super) struct Conversation<'a> {
    pub(super) shard: &'a Shard,
    pub(super) state: &'a mut State,
    pub(super) desk: &'a mut Desk,
    pub(super) place: &'a mut (dyn Place + 'a),
    /// Messages left before others get their turn.
    pub(super) budget: u32,
    /// The last read found nothing.
    pub(super) dry: bool,
    /// Reads block: there is one a turn at most, and only as the first thing in it. The caller has set how
    /// long it may wait, which depends on what the connection waits for.
    pub(super) blocking: bool,
}

impl Conversation<'_> {
    /// Goes on until the connection has to wait for something. With `until_dry`, a short read is no
    /// sign that the socket is empty: the peer has closed, or an edge may have been missed.
    #[inline(always)]
    pub(super) fn run(&mut self, until_dry: bool) -> Pause {
        self.go_on(until_dry).unwrap_or_else(|error| {
            // The peer is gone; there is nobody to tell.
            self.shard.home.counters.count_vanished(&error);
            tell_unreadable(&error);
            Pause::Over
        })
    }

    #[inline(always)]
    fn go_on(&mut self, until_dry: bool) -> io::Result<Pause> {
        if self.state.session.output_waits()
            && let Some(pause) = self.flush()?
        {
            return Ok(pause);
        }
        loop {
            if self.state.session.output_waits() {
                // Back-pressure: a peer that does not read its replies gets no more of them.
                return Ok(Pause::Parked);
            }
            match self.state.ending {
                Ending::No => {}
                Ending::AfterOutput => self.close_our_side(),
                Ending::Lingering(_) | Ending::Pushing(_) => return self.linger(),
            }
            if self.state.ending == Ending::No && self.state.session.has_answer() {
                if let Some(pause) = self.answer_call()? {
                    return Ok(pause);
                }
                self.state.unread &= !self.blocking;
                continue;
            }
            let held_up = self.is_held_up();
            if self.state.ending == Ending::No && !held_up && self.has_news() {
                if let Some(pause) = self.eat_partial()? {
                    return Ok(pause);
                }
                self.state.unread &= !self.blocking;
                continue;
            }
            if self.state.ending != Ending::No {
                continue;
            }
            if held_up && until_dry && self.state.session.has_failed() {
                // The client that waits for the answer is gone.
                return Ok(Pause::Over);
            }
            if held_up || !self.state.unread {
                // A shard that looks for idle connections now and then may always find this one busy.
                if self.shard.shared.lifecycle.phase().is_closing()
                    && !self.state.is_in_the_middle()
                {
                    self.state.ending = Ending::AfterOutput;
                    continue;
                }
                return Ok(Pause::Parked);
            }
            if let Some(pause) = self.read(until_dry)? {
                return Ok(pause);
            }
        }
    }

    /// Writes what waits. What waits may be a file, and the disk slower than the peer.
    #[cold]
    fn flush(&mut self) -> io::Result<Option<Pause>> {
        self.place.lend();
        let flushed = self.state.session.flush();
        self.place.take_back();
        flushed?;
        self.state.unread &= !self.blocking;
        Ok(self.place.lost().then(|| self.stop_here()))
    }

    /// Whether `partial` holds something that the protocol has not seen and would want to.
    fn has_news(&self) -> bool {
        let state = &self.state;
        state.partial.len() > state.seen && state.partial.len() >= state.want
    }

    #[inline(always)]
    fn read(&mut self, until_dry: bool) -> io::Result<Option<Pause>> {
        let Some(transport) = self.state.session.transport() else {
            return Ok(Some(Pause::Over));
        };
        // The start of a message first: one that is long and read by its handler has its rest read where
        // it belongs, and not copied there. A message that is waited for as a whole is taken in large.
        let len = self.desk.input.len();
        let most = if self.state.want > 0 { len } else { FIRST_READ.min(len) };
        let buffer = &mut self.desk.input[..most];
        // On a connection's own thread this is where that thread waits.
        let received =
            if self.blocking { transport.read_blocking(buffer) } else { transport.read(buffer) };
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

    fn eat_partial(&mut self) -> io::Result<Option<Pause>> {
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
                    if self.is_held_up() {
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
    fn is_held_up(&self) -> bool {
        let calls_max = || if self.blocking { 1 } else { self.state.calls_max() };
        self.state.session.is_held_up(calls_max)
    }

    /// Writes the reply of a call that was deferred.
    #[cold]
    fn answer_call(&mut self) -> io::Result<Option<Pause>> {
        let Some(answer) = self.state.session.take_answer() else { return Ok(None) };
        // What the protocol leaves of it is user code's.
        let mut answer = Contained::new(answer);
        let step = self.ask(|protocol, turn| protocol.answer(&mut answer, turn));
        let eaten = match step {
            Step::Offload { .. } => {
                self.state.session.put_back(answer.into_inner());
                return self.answer(Eaten::Offload);
            }
            Step::Next { .. } if self.state.session.is_last_reply() => self.last_reply(),
            Step::Next { .. } => Eaten::WantMore,
            Step::Push => Eaten::Push,
            Step::Close | Step::Partial { .. } | Step::Streamed { .. } => Eaten::Close,
        };
        self.state.session.forget_calls();
        self.answer(eaten)
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
            Step::Close | Step::Partial { .. } | Step::Streamed { .. } => Eaten::Close,
        };
        self.between_messages();
        self.answer(eaten)
    }

    fn last_reply(&self) -> Eaten {
        if self.state.session.closes() { Eaten::Close } else { Eaten::Upgrade }
    }

    #[inline(always)]
    fn step(&mut self, input: &[u8]) -> Step {
        self.ask(|protocol, turn| protocol.step(input, turn))
    }

    #[inline(always)]
    fn ask(&mut self, ask: impl FnOnce(&dyn Protocol, &mut Turn<'_>) -> Step) -> Step {
        let State { service, session, memo, seen, .. } = &mut *self.state;
        let Service::Messages(service) = service else { return Step::Close };
        let mut turn = Turn {
            session,
            out: &mut self.desk.output,
            place: &mut *self.place,
            seen: *seen,
            memo,
            draining: self.shard.shared.lifecycle.phase().is_draining(),
            counters: &self.shard.home.counters,
            took: None,
        };
        // User code inside is contained already; this is for a protocol that panics itself. Whether its
        // reply is whole nobody knows: the connection ends.
        let protocols = &self.shard.shared.protocols;
        let step = contain_protocol(protocols, || ask(service.protocol(), &mut turn));
        step.unwrap_or(Step::Close)
    }

    fn between_messages(&mut self) {
        if self.state.seen > 0 {
            self.state.forget();
        }
        self.state.seen = 0;
        self.state.want = 0;
        self.state.phase = None;
    }

    fn wait_for(&mut self, phase: Phase, want: usize, seen: usize) {
        if self.state.phase != Some(phase) {
            self.state.phase = Some(phase);
            self.state.phase_began = self.shard.home.clock.ticks();
        }
        self.state.want = want;
        self.state.seen = seen;
    }

    /// Writes the replies and says how to go on; `None`: at once.
    #[inline(always)]
    fn answer(&mut self, eaten: Eaten) -> io::Result<Option<Pause>> {
        self.write()?;
        self.state.session.end_turn();
        let lost = self.place.lost();
        Ok(match eaten {
            Eaten::WantMore if lost => Some(self.stop_here()),
            Eaten::WantMore => None,
            Eaten::Enough if lost => Some(self.stop_here()),
            Eaten::Enough => Some(Pause::Yield),
            Eaten::Offload => {
                // The message is looked at afresh over there.
                self.between_messages();
                Some(Pause::Offload)
            }
            Eaten::Upgrade if self.state.upgrade_in_place() => lost.then(|| self.stop_here()),
            Eaten::Upgrade => Some(Pause::Upgrade),
            Eaten::Close => {
                self.state.ending = Ending::AfterOutput;
                None
            }
            // The last sender may have gone before the reply was written.
            Eaten::Push if !self.state.session.begin_push() => {
                self.state.ending = Ending::AfterOutput;
                None
            }
            Eaten::Push => {
                self.state.ending = Ending::Pushing(0);
                self.state.unread = true;
                None
            }
        })
    }

    /// The thread has lost its shard: the reply was the last it does for this connection.
    fn stop_here(&self) -> Pause {
        if self.state.unread || self.has_news() { Pause::Yield } else { Pause::Parked }
    }

    #[inline(always)]
    fn write(&mut self) -> io::Result<()> {
        if self.desk.output.is_empty() {
            return Ok(());
        }
        let written = self.state.session.reply(&self.desk.output);
        self.desk.clear_output();
        written
    }

    /// All output is out: says so to the peer, and waits for it to close too.
    fn close_our_side(&mut self) {
        self.state.session.shut_down_write();
        self.state.partial = Vec::new();
        self.state.ending = Ending::Lingering(0);
        // The bound on lingering is from here on, however busily the peer goes on sending.
        self.state.phase_began = self.shard.home.clock.ticks();
        self.state.unread = true;
    }

    /// Throws input away until the peer closes.
    fn linger(&mut self) -> io::Result<Pause> {
        let Some(transport) = self.state.session.transport() else { return Ok(Pause::Over) };
        let (Ending::Lingering(thrown) | Ending::Pushing(thrown)) = &mut self.state.ending else {
            return Ok(Pause::Over);
        };
        loop {
            match transport.read(&mut self.desk.input)? {
                Received::End => return Ok(Pause::Over),
                Received::Data(range) => *thrown = thrown.saturating_add(range.len() as u32),
                Received::Wait(_) => break,
            }
            if *thrown > self.shard.shared.settings.linger_bytes_max {
                self.shard.home.counters.lingered_too_long.increment();
                tell_closed(self.state, "the peer goes on sending after its last reply");
                return Ok(Pause::Over);
            }
        }
        self.state.unread = false;
        Ok(Pause::Parked)
    }

    /// Turns the waiting message away.
    pub(super) fn refuse(&mut self, why: Refusal) -> Pause {
        let input = mem::take(&mut self.state.partial);
        self.tell_refused(why, &input);
        match self.shard.refusal(&self.state.service, why, &input, &mut self.desk.output) {
            AfterRefusal::Continue { consumed } if why == Refusal::Overloaded => {
                self.state.partial = input;
                self.state.partial.drain(..consumed.min(self.state.partial.len()));
                self.between_messages();
            }
            _ => self.state.ending = Ending::AfterOutput,
        }
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
            limited!(warn, key: protocol, "the pool is full: messages are refused", protocol);
        }
    }
}

impl Shard {
    /// What a peer is told that is turned away. A protocol that panics says nothing, and so do services
    /// without one.
    pub(super) fn refusal(
        &self,
        service: &Service,
        why: Refusal,
        input: &[u8],
        out: &mut Vec<u8>,
    ) -> AfterRefusal {
        let Service::Messages(service) = service else { return AfterRefusal::Close };
        let start = out.len();
        let protocols = &self.shared.protocols;
        let refused = contain_protocol(protocols, || service.protocol().refuse(why, input, out));
        refused.unwrap_or_else(|| {
            out.truncate(start);
            AfterRefusal::Close
        })
    }
}

/// How much of a refused message the log shows, in bytes.
const SHOWN_MAX: usize = 64;
