//! One connection's turn: write what waits, answer the messages that have come, read more.
//!
//! The same code runs on a shard's thread, on a pool thread that took a message over, and on a
//! connection's own thread; [`Place`] is the difference. It decides nothing about threads: it
//! comes back with a [`Pause`] that says what the connection needs next. How messages are cut out of the input
//! is in `messages.rs`.

use std::io;
use std::mem;

use super::close::tell_closed;
use super::{Desk, Shard};
use crate::connection::{Ending, Filled, State};
use crate::contained::Contained;
use crate::protocol::Step;
use crate::receiving::Receive;
use crate::transport::{Received, tell_unreadable};
use crate::turn::{OUTPUT_KEPT, Place, clear_output};

/// What a connection needs next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pause {
    /// Nothing but time: bytes, or room for output.
    Parked,
    /// It has more to do, after others had their turn (or on another thread, if the shard is lost).
    Yield,
    /// Its first message belongs on a thread that may block; its bytes are in `State::partial`.
    Offload,
    /// A thread that may block, for its source to be asked for more.
    Fill,
    /// A thread that may write files, for the content of the message that is being received.
    Write,
    /// A thread that may block, for its upgrade; what the next protocol reads first is in `State::partial`.
    Upgrade,
    /// Nothing: it has ended.
    Over,
}

/// What came of looking at some input.
pub(super) enum Eaten {
    /// All whole messages are answered.
    WantMore,
    /// The first message in the rest belongs elsewhere.
    Offload,
    /// The budget is used up, or the thread has lost its shard.
    Enough,
    /// The protocol closes the connection.
    Close,
    /// A message's head has come, and its content is received.
    Receive,
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
    /// How the message is received whose head has been looked at last, until that begins.
    pub(super) receive: Option<Receive>,
    /// How many bytes of content this turn has received.
    pub(super) taken: usize,
    /// Something has been read in this turn.
    pub(super) has_read: bool,
    /// The last read found nothing.
    pub(super) dry: bool,
    /// Reads block: there is one a turn at most, and only as the first thing in it. The caller has set how
    /// long it may wait, which depends on what the connection waits for.
    pub(super) blocking: bool,
}

impl<'a> Conversation<'a> {
    pub(super) fn new(
        shard: &'a Shard,
        state: &'a mut State,
        desk: &'a mut Desk,
        place: &'a mut (dyn Place + 'a),
        budget: u32,
    ) -> Self {
        let (receive, taken, has_read, dry, blocking) = (None, 0, false, false, false);
        Conversation { shard, state, desk, place, budget, receive, taken, has_read, dry, blocking }
    }

    /// The same, on a connection's own thread.
    pub(super) fn blocking(self) -> Self {
        Conversation { blocking: true, ..self }
    }
}

impl Conversation<'_> {
    /// Goes on until the connection has to wait for something. With `until_dry`, a short read is no
    /// sign that the socket is empty: the peer has closed, or an edge may have been missed.
    #[inline(always)]
    pub(super) fn run(&mut self, until_dry: bool) -> Pause {
        let pause = self.go_on(until_dry).unwrap_or_else(|error| {
            // The peer is gone; there is nobody to tell.
            self.shard.home.counters.count_vanished(&error);
            tell_unreadable(&error);
            Pause::Over
        });
        // Not where output begins to wait: a handler runs there, and its call would be taken for one that waits.
        self.state.session.keep_budget();
        pause
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
                if !self.state.session.wants_fill() {
                    return Ok(Pause::Parked);
                }
                if let Some(pause) = self.fill()? {
                    return Ok(pause);
                }
                continue;
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
            if self.state.ending == Ending::No && self.state.receiving.is_some() {
                if let Some(pause) = self.go_on_receiving(until_dry)? {
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
                    self.state.end_after_output();
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

    /// Asks the source of the reply that waits for more. `None`: goes on at once.
    #[cold]
    fn fill(&mut self) -> io::Result<Option<Pause>> {
        let most = self.place.fill_max();
        if most == 0 {
            return Ok(Some(Pause::Fill));
        }
        let filled = self.state.session.fill(most, &self.shard.shared.protocols)?;
        self.state.unread &= !self.blocking;
        Ok(match filled {
            Filled::Stalled => Some(Pause::Parked),
            Filled::Enough => Some(Pause::Yield),
            Filled::Ended => None,
            Filled::CutOff => {
                self.state.end_after_output();
                None
            }
        })
    }

    /// Writes the reply of a call that was deferred.
    #[cold]
    fn answer_call(&mut self) -> io::Result<Option<Pause>> {
        let Some(answer) = self.state.session.take_answer() else { return Ok(None) };
        // What the protocol leaves of it is user code's.
        let mut answer = Contained::new(answer);
        self.place.set_answering(true);
        let step = self.ask(|protocol, turn| protocol.answer(&mut answer, turn));
        self.place.set_answering(false);
        let eaten = match step {
            Step::Offload { .. } => {
                self.state.session.put_back(answer.into_inner());
                return self.answer(Eaten::Offload);
            }
            Step::Next { .. } if self.state.session.is_last_reply() => self.last_reply(),
            Step::Next { .. } => Eaten::WantMore,
            Step::Push => Eaten::Push,
            Step::Close | Step::Partial { .. } | Step::Streamed { .. } | Step::Receive { .. } => {
                Eaten::Close
            }
        };
        self.state.session.forget_calls();
        self.answer(eaten)
    }

    /// Writes the replies and says how to go on; `None`: at once.
    #[inline(always)]
    pub(super) fn answer(&mut self, eaten: Eaten) -> io::Result<Option<Pause>> {
        self.write()?;
        self.state.session.end_turn();
        let lost = self.place.lost();
        Ok(match eaten {
            Eaten::WantMore if lost => Some(self.stop_here()),
            Eaten::WantMore => None,
            Eaten::Enough if lost => Some(self.stop_here()),
            Eaten::Receive if lost => {
                self.settle_receiving();
                Some(Pause::Yield)
            }
            Eaten::Receive => {
                // The first look at what has come does not wait.
                self.state.unread |= self.blocking;
                self.has_read |= self.blocking;
                None
            }
            Eaten::Enough => Some(Pause::Yield),
            Eaten::Offload => {
                // The message is looked at afresh over there.
                self.between_messages();
                self.desk.refused = self.place.refused();
                Some(Pause::Offload)
            }
            Eaten::Upgrade if self.state.upgrade_in_place() => lost.then(|| self.stop_here()),
            Eaten::Upgrade => Some(Pause::Upgrade),
            Eaten::Close => {
                self.state.end_after_output();
                None
            }
            // The last sender may have gone before the reply was written.
            Eaten::Push if !self.state.session.begin_push() => {
                self.state.end_after_output();
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
        if self.state.session.wants_fill() {
            return Pause::Fill;
        }
        if self.state.unread || self.has_news() { Pause::Yield } else { Pause::Parked }
    }

    #[inline(always)]
    pub(super) fn write(&mut self) -> io::Result<()> {
        if self.desk.output.is_empty() {
            return Ok(());
        }
        let output = &mut self.desk.output;
        let written = if output.len() > OUTPUT_KEPT {
            // A buffer of that size is not kept: what the peer does not take waits in it.
            self.state.session.send_bytes(&[], mem::take(output))
        } else {
            self.state.session.reply(output)
        };
        clear_output(&mut self.desk.output);
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
                // It is bounded by time alone then.
                Received::End if self.state.session.reads_ended() => break,
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
}
