//! A conversation that receives the content of a message, a turn at a time.
//!
//! A turn takes what has come, up to a bound; then the connection is parked with what there is. Loop threads
//! write no files: where content belongs in one, a thread for files goes on (`workers/`), which runs no handler and
//! so is not held up by one. When all of it is there, or it cannot be had, the connection goes back to its shard, and
//! the protocol is asked where the call belongs.

use std::io;
use std::mem;
use std::sync::Arc;

use tracing::field::display;

use super::conversation::{Conversation, Eaten, Pause};
use super::desk::with_pool_desk;
use super::place::OnWriter;
use super::{Desk, Shard};
use crate::connection::Claim;
use crate::log::limited;
use crate::protocol::{Phase, Step};
use crate::receiving::{FileError, Lost, Receive, Receiving, Store};
use crate::shared::Shared;
use crate::sys::Ticks;
use crate::transport::{Ahead, Patience, Received};

/// What a turn takes of the content of messages before others have theirs.
const TAKEN_MAX: usize = 256 * 1024;

/// What is read at a time.
const READ_MAX: usize = 64 * 1024;

/// By how much content of unknown length may be longer than what is kept in memory, before it goes to a file.
const BEYOND_MAX: usize = 4 * 1024;

/// How a turn's receiving ends.
enum Went {
    /// The message is whole, or cannot be had.
    ToItsEnd,
    /// Nothing more is there.
    Dry,
    /// Others have their turn.
    Enough,
    /// A thread that may write files has to go on.
    NeedsWriter,
}

impl Conversation<'_> {
    /// Begins to receive the content that follows a head. `ahead` has come of it, or of what follows.
    #[cold]
    pub(super) fn begin_receiving(&mut self, head: &[u8], ahead: &[u8]) -> Eaten {
        let Some(receive) = self.receive.take() else {
            let protocol = self.state.service.name();
            tracing::error!(protocol, "Step::Receive needs a decoder: call Turn::receive first");
            return Eaten::Close;
        };
        self.between_messages();
        self.wait_for(Phase::Body, 0, 0);
        let receiving = self.new_receiving(head, ahead, receive);
        self.state.receiving = Some(receiving);
        Eaten::Receive
    }

    fn new_receiving(&mut self, head: &[u8], ahead: &[u8], receive: Receive) -> Box<Receiving> {
        let store = Store::new(&self.shard.shared.bodies, mem::take(&mut self.desk.body));
        let mut receiving = Receiving::new(head, receive, store);
        let Receiving { framing, store, .. } = &mut *receiving;
        if let Some(room) = store.room(ahead.len()) {
            room.copy_from_slice(ahead);
            let count = framing.decode(room);
            store.filled(count);
        }
        receiving.received = ahead.len() as u64;
        self.bound_memory(&mut receiving);
        receiving
    }

    /// Goes on with the message that is being received.
    #[cold]
    pub(super) fn go_on_receiving(&mut self, until_dry: bool) -> io::Result<Option<Pause>> {
        let Some(mut receiving) = self.state.receiving.take() else { return Ok(None) };
        let went = match self.take_in(&mut receiving, until_dry) {
            Ok(Went::ToItsEnd) if self.place.may_call() => return self.deliver(receiving),
            Ok(went) => went,
            Err(error) => {
                self.give_up(receiving);
                return Err(error);
            }
        };
        if matches!(went, Went::Dry) && receiving.received == 0 {
            self.desk.output.extend_from_slice(receiving.invite.take().unwrap_or_default());
        }
        self.settle(&mut receiving);
        let must_move = receiving.store.must_move() && receiving.framing.end.is_none();
        let must_move = must_move && !self.shard.is_isolated();
        self.state.receiving = Some(receiving);
        self.write()?;
        Ok(Some(match went {
            _ if must_move => Pause::Write,
            Went::Dry => Pause::Parked,
            Went::NeedsWriter => Pause::Write,
            Went::Enough if self.writes_files() => Pause::Write,
            Went::Enough | Went::ToItsEnd => Pause::Yield,
        }))
    }

    /// Whether the content is in a file, and this thread may write it.
    fn writes_files(&self) -> bool {
        let has_file =
            self.state.receiving.as_ref().is_some_and(|receiving| receiving.store.has_file());
        has_file && self.place.may_write() && !self.blocking
    }

    /// Takes what has come.
    fn take_in(&mut self, receiving: &mut Receiving, until_dry: bool) -> io::Result<Went> {
        while receiving.framing.end.is_none() {
            // Where the length is not known, what comes may be framing alone: only content that is there counts.
            let (most, known) = match receiving.framing.remaining() {
                Some(left) => (left.clamp(1, READ_MAX as u64) as usize, left),
                None => (receiving.store.memory_left().clamp(BEYOND_MAX, READ_MAX), 0),
            };
            let is_isolated = self.shard.is_isolated();
            let rest = usize::try_from(known).unwrap_or(usize::MAX);
            if is_isolated && receiving.store.is_full_with(rest) {
                let max = self.shard.shared.bodies.memory_len_max;
                receiving.framing.lose(Lost::TooLong { max });
                break;
            }
            let needs_file = !is_isolated && receiving.store.needs_file_for(rest.min(most));
            if needs_file && !receiving.store.is_writing() && self.place.may_write() {
                let (moved, waited) = self.with_room(|| receiving.store.move_to_file());
                self.state.phase_began += waited;
                self.keep_buffer(receiving.store.take_buffer());
                self.note_file(&moved);
                if let Err(error) = moved {
                    receiving.framing.lose(self.lost(error));
                }
                self.keep_budget(&receiving.store);
                continue;
            }
            if !self.state.unread {
                return Ok(Went::Dry);
            }
            if self.taken >= TAKEN_MAX {
                self.shard.home.counters.yields.increment();
                return Ok(Went::Enough);
            }
            if needs_file && !self.place.may_write() {
                // The event may be an old one: no thread is troubled for nothing.
                let transport = self.state.session.transport();
                if transport.is_some_and(|transport| transport.ahead() == Ahead::Nothing) {
                    self.state.unread = false;
                    return Ok(Went::Dry);
                }
                return Ok(Went::NeedsWriter);
            }
            if !self.read_content(receiving, most, until_dry)? {
                return Ok(Went::Dry);
            }
        }
        Ok(Went::ToItsEnd)
    }

    /// Reads once. False if nothing is there.
    fn read_content(
        &mut self,
        receiving: &mut Receiving,
        most: usize,
        until_dry: bool,
    ) -> io::Result<bool> {
        let Some(transport) = self.state.session.transport() else {
            receiving.framing.lose(Lost::Ended);
            return Ok(true);
        };
        let Receiving { framing, store, .. } = receiving;
        let (kept, want) = (framing.tail.len(), framing.tail.len() + most);
        // Where content is in a buffer of the thread, it is read right behind it.
        let body = &mut self.desk.body;
        let raw = match store.room(want) {
            Some(room) => room,
            None => {
                if body.len() < want {
                    body.resize(want, 0);
                }
                &mut body[..want]
            }
        };
        raw[..kept].copy_from_slice(&framing.tail);
        // On a connection's own thread this is where that thread waits, once in a turn.
        let waits = self.blocking && !self.has_read;
        self.has_read = true;
        let patience = if waits { Patience::Limit } else { Patience::None };
        let count = match transport.read_with(&mut raw[kept..], patience) {
            Ok(Received::Data(range)) => {
                let (start, count) = (kept + range.start, range.len());
                if range.start > 0 {
                    raw.copy_within(start..start + count, kept);
                }
                count
            }
            Ok(Received::End) => {
                framing.lose(Lost::Ended);
                return Ok(true);
            }
            Ok(Received::Wait(_)) => {
                self.state.unread = false;
                self.dry = waits;
                return Ok(false);
            }
            // Only of a blocking read, whose limit the caller computes anew.
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {
                self.state.unread = false;
                return Ok(false);
            }
            Err(error) => return Err(error),
        };
        // What has been emptied makes a new edge when more comes.
        self.state.unread = until_dry || !transport.is_emptied_by(count, most);
        let content_len = framing.decode(&mut raw[..kept + count]);
        receiving.received += count as u64;
        self.taken += count;
        if store.is_borrowed() {
            store.filled(content_len);
        } else {
            let content = &self.desk.body[..content_len];
            let (stored, waited) = self.with_room(|| store.append(content));
            self.state.phase_began += waited;
            if let Err(error) = stored {
                receiving.framing.lose(self.lost(error));
            }
        }
        self.bound_memory(receiving);
        self.keep_budget(&receiving.store);
        Ok(true)
    }

    /// Refuses content of an isolated endpoint that is longer than memory allows, even if it is whole.
    fn bound_memory(&self, receiving: &mut Receiving) {
        if self.shard.is_isolated() && receiving.store.is_full_with(0) {
            let max = self.shard.shared.bodies.memory_len_max;
            receiving.framing.lose(Lost::TooLong { max });
        }
    }

    fn keep_budget(&self, store: &Store) {
        if store.is_in_memory_file() {
            self.shard.keep_budget_of_bodies();
        }
    }

    /// Stores something. If it is refused for lack of room, slow messages are ended for it, which takes a moment.
    /// Returns that time as well, which is not the peer's.
    fn with_room(
        &self,
        mut store: impl FnMut() -> Result<(), FileError>,
    ) -> (Result<(), FileError>, Ticks) {
        match store() {
            Err(FileError::NoRoom) => {
                let clock = &self.shard.home.clock;
                let began = clock.ticks();
                let stored = self.shard.store_when_there_is_room(self.blocking, store);
                (stored, clock.ticks().saturating_sub(began))
            }
            stored => (stored, 0),
        }
    }

    /// Calls the protocol with a message that has been received, or cannot be.
    fn deliver(&mut self, mut receiving: Box<Receiving>) -> io::Result<Option<Pause>> {
        let is_over =
            self.state.session.is_cut_off() && receiving.framing.end == Some(Err(Lost::Ended));
        let step = match receiving.received() {
            Some(received) if !is_over => {
                self.ask(|protocol, turn| protocol.received(received, turn))
            }
            _ => Step::Close,
        };
        if matches!(step, Step::Offload { .. }) {
            self.settle(&mut receiving);
            self.state.receiving = Some(receiving);
            return self.answer(Eaten::Offload);
        }
        self.state.partial = mem::take(&mut receiving.framing.rest);
        let has_ended = receiving.framing.end == Some(Err(Lost::Ended));
        self.give_up(receiving);
        self.between_messages();
        self.budget = self.budget.saturating_sub(1);
        let eaten = match step {
            Step::Next { .. } if self.state.session.is_last_reply() => self.last_reply(),
            Step::Next { .. } if has_ended => Eaten::Close,
            Step::Next { .. } if self.budget == 0 || self.place.lost() => Eaten::Enough,
            Step::Next { .. } => Eaten::WantMore,
            Step::Push => Eaten::Push,
            Step::Close => Eaten::Close,
            Step::Partial { .. }
            | Step::Streamed { .. }
            | Step::Receive { .. }
            | Step::Offload { .. } => {
                let protocol = self.state.service.name();
                tracing::error!(protocol, ?step, "no answer to a message that has been received");
                Eaten::Close
            }
        };
        self.answer(eaten)
    }

    /// The end of a turn after which more is waited for: the thread has its buffer back.
    pub(super) fn settle(&mut self, receiving: &mut Receiving) {
        let buffer = receiving.store.settle();
        self.keep_buffer(buffer);
    }

    /// The thread has lost its shard: another one goes on.
    pub(super) fn settle_receiving(&mut self) {
        if let Some(mut receiving) = self.state.receiving.take() {
            self.settle(&mut receiving);
            self.state.receiving = Some(receiving);
        }
    }

    fn keep_buffer(&mut self, buffer: Option<Vec<u8>>) {
        if let Some(buffer) = buffer {
            self.desk.keep_body(buffer);
        }
    }

    /// Nobody needs it any more.
    pub(super) fn give_up(&mut self, mut receiving: Box<Receiving>) {
        let buffer = receiving.store.take_buffer();
        self.keep_buffer(buffer);
        if !self.place.may_write() && receiving.store.has_file() {
            self.shard.discard(receiving);
        }
    }

    fn note_file(&self, made: &Result<(), FileError>) {
        if made.is_ok() {
            self.shard.home.counters.bodies_in_files.increment();
        }
    }

    /// Counts and logs that content could not be stored.
    fn lost(&self, error: FileError) -> Lost {
        let counters = &self.shard.home.counters;
        let peer = self.state.session.peer_addr();
        let peer = peer.map(display);
        match error {
            FileError::TooMany => {
                counters.refused_body_files.increment();
                let max = self.shard.shared.settings.body_files_max;
                let reason = "there are body_files_max files";
                limited!(warn, "a body is refused", reason, peer, max);
                Lost::NoRoom
            }
            FileError::NoRoom => {
                counters.refused_body_files.increment();
                let max = self.shard.shared.settings.waiting_bytes_max;
                let reason = "body_dir is in memory, and waiting_bytes_max is reached";
                limited!(warn, "a body is refused", reason, peer, max);
                Lost::NoRoom
            }
            FileError::Io(error) => {
                counters.body_file_errors.increment();
                let dir = self.shard.shared.settings.body_dir.display();
                limited!(error, "a body is refused: it cannot be stored", %dir, %error, peer);
                Lost::NotStored
            }
        }
    }
}

impl Shard {
    /// Whether it serves isolated endpoints, and so has no other threads to rely on.
    pub(super) fn is_isolated(&self) -> bool {
        self.number >= self.shared.settings.shards
    }

    /// Drops what has been received of a message where files are written: to close a large one takes long.
    pub(super) fn discard(&self, receiving: Box<Receiving>) {
        let Shared { workers, pool, .. } = &*self.shared;
        // If there are no threads any more, it is dropped here with the job.
        workers.submit_file(pool, move || drop(receiving));
    }

    /// Passes the connection to a thread that writes files, which goes on receiving. The claim comes back if there
    /// is none any more.
    pub(super) fn pass_to_writer<'s>(self: &Arc<Self>, claim: Claim<'s>) -> Result<(), Claim<'s>> {
        let (shard, index) = (Arc::clone(self), claim.index);
        let job = move || {
            if let Some(connection) = shard.slab.get(index) {
                shard.write_off(connection.accept_claim(index));
            }
        };
        let Shared { workers, pool, .. } = &*self.shared;
        if !workers.submit_file(pool, job) {
            return Err(claim);
        }
        claim.pass_on();
        Ok(())
    }

    /// The part of a thread that writes files. It answers nothing: the shard does, or finds the thread for it.
    fn write_off(self: &Arc<Self>, mut claim: Claim<'_>) {
        with_pool_desk(|desk| {
            let until_dry = claim.unread;
            let pause = match self.converse(&mut claim, desk, &mut OnWriter, until_dry) {
                Pause::Offload => Pause::Yield,
                pause => pause,
            };
            self.settle_elsewhere(claim, pause, desk.refused);
        });
    }
}

impl Desk {
    /// Keeps the thread's buffer for content, unless it has grown beyond what a thread may keep.
    pub(super) fn keep_body(&mut self, buffer: Vec<u8>) {
        if buffer.capacity() <= self.body_kept {
            self.body = buffer;
        }
    }
}
