//! A message connection as its shard keeps it: a slot in a slab, owned by one thread at a time.
//!
//! Slots live in pages that never move or go away while the shard lives, so a thread that has lost
//! its shard can finish with its connection by reference, without a count per connection.
//! [`Claim`] is the only way to a connection's state; whose turn it is, `ownership.rs` decides.

mod bytes;
mod calls;
mod deferring;
mod home;
mod outbox;
mod ownership;
mod relief;
mod rest;
mod sender;
mod session;
mod socket;
mod source;
mod waiting;

use std::any::Any;
use std::cell::UnsafeCell;
use std::fmt;
use std::ops::{Deref, DerefMut};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

pub use bytes::Bytes;
pub(crate) use calls::Calls;
pub use calls::{Answer, Deferred, NotAwaited, Outcome};
pub(crate) use home::Home;
pub(crate) use outbox::{Filled, Outbox, Owner, Watch};
use ownership::Ownership;
pub(crate) use ownership::{Claimed, Wait};
use rest::Rest;
pub(crate) use rest::{AtDrain, WaitsFor};
pub use sender::{SendError, Sender, SlowReceiver, WhenDrained};
pub use session::Session;
pub(crate) use session::{SessionParts, Successor, Upgrade};
pub(crate) use socket::Socket;
pub use source::{Fill, Source, SourceError};
pub(crate) use waiting::wait_for_room;

use crate::contained::Contained;
use crate::protocol::{Phase, Timeouts};
use crate::receiving::Receiving;
use crate::service::{MessageService, Service};
use crate::sys::Ticks;

/// Slots in a page: 64 KB of them or less.
const PAGE: usize = 256;

/// After so many messages for the pool in a row, the next is expected to be another one.
const REGULAR: u8 = 2;

/// What is known of a connection between two events, beyond its [`Session`].
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) session: Session,
    /// What it speaks: at first what its listener serves.
    pub(crate) service: Service,
    /// Bytes of a message that is not whole yet. No allocation while empty.
    pub(crate) partial: Vec<u8>,
    /// How many bytes `partial` needs before it is worth another look.
    pub(crate) want: u32,
    /// How many bytes of `partial` the protocol has already seen.
    pub(crate) seen: u32,
    /// What the protocol has noted about them. `None` between messages.
    pub(crate) memo: Option<Box<dyn Any + Send>>,
    /// The message whose content is being received. Boxed: exists only while it comes.
    pub(crate) receiving: Option<Box<Receiving>>,
    /// What is being waited for; `None` between messages.
    pub(crate) phase: Option<Phase>,
    /// When that phase began, or lingering did. Meaningful only then.
    pub(crate) phase_began: Ticks,
    /// An edge came for input that has not been read yet.
    pub(crate) unread: bool,
    /// How the connection ends, once that is decided.
    pub(crate) ending: Ending,
    /// `Protocol::opened` ran, so `Protocol::closed` must.
    pub(crate) opened: bool,
    /// How many of its messages in a row have belonged on the pool, as far as that is counted.
    pub(crate) pooled_in_a_row: u8,
}

impl State {
    /// A connection that has just been accepted.
    pub(crate) fn new(session: Session, service: Service) -> Self {
        State {
            session,
            service,
            partial: Vec::new(),
            want: 0,
            seen: 0,
            memo: None,
            receiving: None,
            phase: None,
            phase_began: 0,
            unread: false,
            ending: Ending::No,
            opened: false,
            pooled_in_a_row: 0,
        }
    }

    /// The protocol that it speaks, and what is known of that; `None` if it has a stream handler.
    pub(crate) fn messages(&self) -> Option<&MessageService> {
        match &self.service {
            Service::Messages(service) => Some(service),
            Service::Stream(_) | Service::Datagrams(_) => None,
        }
    }

    /// How long it may be idle.
    pub(crate) fn idle_limit(&self) -> Option<Ticks> {
        self.messages()?.idle()
    }

    /// The deadlines of its protocol.
    pub(crate) fn timeouts(&self) -> Option<&Timeouts> {
        self.messages().map(MessageService::timeouts)
    }

    /// How many calls may be deferred at once.
    pub(crate) fn calls_max(&self) -> usize {
        self.messages().map_or(1, MessageService::calls_max)
    }

    /// Drops what the protocol has noted, which is of a type of its own.
    pub(crate) fn forget(&mut self) {
        drop(self.memo.take().map(Contained::new));
    }

    /// Whether the next message, too, is expected to belong on the pool, and nothing else is to be done.
    pub(crate) fn is_regular_of_the_pool(&self) -> bool {
        self.pooled_in_a_row >= REGULAR && self.is_between_messages() && self.partial.is_empty()
    }

    /// Whether it is in the middle of nothing, and does not wait for the service to push: it can be
    /// closed without a loss.
    pub(crate) fn is_between_messages(&self) -> bool {
        let session = &self.session;
        let waits = session.output_waits() || session.has_sender() || session.has_calls();
        let is_waiting = self.phase.is_none() && self.receiving.is_none();
        !waits && is_waiting && self.ending == Ending::No
    }

    /// Whether its end would cut something off: a message that has begun to arrive, a call that has no
    /// answer yet, or a reply that is not out yet.
    pub(crate) fn is_in_the_middle(&self) -> bool {
        let has_begun = match self.ending {
            Ending::No => self.phase.is_some() || self.session.has_calls(),
            Ending::Pushing(_) => self.session.drain_waits_for_push(),
            Ending::AfterOutput | Ending::Lingering(_) => false,
        };
        has_begun || self.session.output_waits()
    }

    /// There are no more messages: the connection closes when the output is out. Who still has to answer a
    /// call need not.
    pub(crate) fn end_after_output(&mut self) {
        self.ending = Ending::AfterOutput;
        self.session.close_calls();
    }

    /// Goes on in another protocol, if that needs no thread. False if it does.
    #[cold]
    pub(crate) fn upgrade_in_place(&mut self) -> bool {
        let is_last =
            |service: &Service| matches!(service, Service::Messages(service) if service.is_last());
        if self.opened || is_last(&self.service) {
            return false;
        }
        let Some(to) = self.session.take_plain_upgrade() else { return false };
        self.begin_again(to);
        true
    }

    /// The first message of another protocol is next.
    pub(crate) fn begin_again(&mut self, service: MessageService) {
        self.forget();
        (self.seen, self.want, self.phase, self.pooled_in_a_row) = (0, 0, None, 0);
        self.session.limit_writes(service.write_limit());
        self.service = Service::Messages(service);
    }

    /// Whether the destructor of something of user code's runs with it.
    pub(crate) fn holds_values(&self) -> bool {
        // A protocol that was made for this connection alone.
        let is_last = matches!(&self.service, Service::Messages(service) if service.is_last());
        is_last || self.session.holds_values() || self.receiving.is_some()
    }

    /// How many bytes have come of the part of a message that is being waited for.
    pub(crate) fn received(&self) -> u64 {
        let kept = || self.partial.len() as u64;
        self.receiving.as_ref().map_or_else(kept, |receiving| receiving.received)
    }

    /// What its own thread, if it has one, is about to wait for.
    pub(crate) fn waits_for(&self) -> WaitsFor {
        if self.is_between_messages() {
            WaitsFor::NextMessage
        } else if self.is_in_the_middle() {
            WaitsFor::Message
        } else {
            WaitsFor::Service
        }
    }
}

impl Drop for State {
    fn drop(&mut self) {
        self.forget();
    }
}

/// How far a connection is on its way out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    /// It goes on.
    No,
    /// No more messages; close when the output is out.
    AfterOutput,
    /// No more messages; close when the output is out and nobody holds a sender any more. Counts the
    /// bytes thrown away.
    Pushing(u32),
    /// Our side is closed. Input is thrown away until the peer closes too, or a bound is reached:
    /// closing at once would make the kernel answer unread input with a reset, which can destroy
    /// the reply on its way (RFC 9112 §9.6). Counts the bytes thrown away.
    Lingering(u32),
}

/// One slot.
pub(crate) struct Connection {
    ownership: Ownership,
    /// Grows with every connection that uses the slot, so that an event or timer of an earlier one
    /// is recognised. Changed by the lease holder only.
    generation: AtomicU32,
    /// When the connection's current wait ends.
    pub(crate) deadline: AtomicU32,
    /// When it was last heard of: orders idle connections when room is needed.
    pub(crate) last_used: AtomicU32,
    /// When the wheel will look at it next. Lease holder only.
    pub(crate) scheduled: AtomicU32,
    /// The shard has heard that the peer sends no more. Lease holder only.
    hung_up: AtomicBool,
    /// Whether it may be ended to make room, if it has a thread of its own.
    pub(crate) rest: Rest,
    state: UnsafeCell<Option<State>>,
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection").field("ownership", &self.ownership).finish_non_exhaustive()
    }
}

#[allow(unsafe_code)] // as the lease's cell: one word decides who may use the value
// SAFETY: `state` is reached only through a `Claim`, and the ownership word hands out one at a
// time, with a Release/Acquire pair at each hand-over; `State` is `Send`.
unsafe impl Sync for Connection {}

/// Exclusive access to one connection. Ends by [`Claim::park`], [`Claim::bury`] or by being passed
/// on as an index to whoever owns it next ([`Claim::pass_on`]).
#[must_use = "a claim that is forgotten leaves its connection busy for ever"]
#[derive(Debug)]
pub(crate) struct Claim<'s> {
    connection: &'s Connection,
    pub(crate) index: u32,
}

impl Connection {
    fn vacant() -> Self {
        Connection {
            ownership: Ownership::dead(),
            generation: AtomicU32::new(0),
            deadline: AtomicU32::new(0),
            last_used: AtomicU32::new(0),
            scheduled: AtomicU32::new(0),
            hung_up: AtomicBool::new(false),
            rest: Rest::none(),
            state: UnsafeCell::new(None),
        }
    }

    pub(crate) fn generation(&self) -> u32 {
        self.generation.load(Ordering::Relaxed)
    }

    /// Whether it is parked at this moment.
    pub(crate) fn is_idle(&self) -> bool {
        self.ownership.is_idle()
    }

    /// Lease holder: take it to serve an event.
    pub(crate) fn claim(&self, index: u32) -> Result<Claim<'_>, Claimed> {
        match self.ownership.claim() {
            Claimed::Yours => Ok(Claim { connection: self, index }),
            other => Err(other),
        }
    }

    /// The next owner's side of [`Claim::pass_on`]: exactly one call for each.
    pub(crate) fn accept_claim(&self, index: u32) -> Claim<'_> {
        Claim { connection: self, index }
    }

    /// As [`Connection::accept_claim`], for the lease holder: edges that came meanwhile are no news
    /// to the new owner, which reads to the end anyway.
    pub(crate) fn take_over_claim(&self, index: u32) -> Claim<'_> {
        self.ownership.retain();
        Claim { connection: self, index }
    }

    /// The job of that wait: takes the connection over. `None` if the shard has taken it back.
    pub(crate) fn begin(&self, index: u32, wait: Wait) -> Option<Claim<'_>> {
        self.ownership.begin(wait).then_some(Claim { connection: self, index })
    }

    /// Lease holder: takes the connection back from the queue. `None` if its job has begun. An event that has
    /// been noted is forgotten: the new owner looks for input.
    pub(crate) fn take_back(&self, index: u32, wait: Wait) -> Option<Claim<'_>> {
        self.ownership.take_back(wait).then_some(Claim { connection: self, index })
    }

    /// Lease holder: the wait that it is in, if it waits for a thread at this moment.
    pub(crate) fn queued(&self) -> Option<Wait> {
        self.ownership.queued()
    }

    /// Lease holder: an event has said that the peer sends no more. No other will say it again.
    pub(crate) fn note_hang_up(&self) {
        self.hung_up.store(true, Ordering::Relaxed);
    }

    /// Lease holder: whether the peer sends no more, as far as its events have been served.
    pub(crate) fn has_hung_up(&self) -> bool {
        self.hung_up.load(Ordering::Relaxed)
    }

    /// Lease holder: a new connection in a vacant slot.
    pub(crate) fn admit(&self, index: u32, state: State, now: Ticks) -> Claim<'_> {
        self.ownership.admit();
        self.last_used.store(now, Ordering::Relaxed);
        self.scheduled.store(0, Ordering::Relaxed);
        self.hung_up.store(false, Ordering::Relaxed);
        self.rest.reset();
        let claim = Claim { connection: self, index };
        #[allow(unsafe_code)] // as `Claim::deref_mut`, for a slot that is still empty
        // SAFETY: the slot was dead and is busy now, so the claim just made is the only one.
        unsafe {
            *self.state.get() = Some(state);
        }
        claim
    }
}

impl<'s> Claim<'s> {
    /// The slot itself, for its timers.
    pub(crate) fn connection(&self) -> &'s Connection {
        self.connection
    }

    /// Parks the connection, for the thread that holds the lease and has all along.
    pub(crate) fn park_with_lease(self) {
        self.connection.ownership.release_with_lease();
    }

    /// Parks the connection from any thread; gives the claim back if an event came meanwhile.
    pub(crate) fn park(self) -> Result<(), Claim<'s>> {
        if self.connection.ownership.release() { Ok(()) } else { Err(self) }
    }

    /// Owner that holds the lease: puts the connection where a job takes it over, by [`Connection::begin`], or the
    /// shard takes it back.
    pub(crate) fn queue(self, wait: Wait) {
        self.connection.ownership.queue(wait);
    }

    /// Lets another thread be the owner, which calls [`Connection::accept_claim`].
    pub(crate) fn pass_on(self) -> u32 {
        self.index
    }

    /// Ends the connection: everything it holds is dropped, the socket closed. The slot's index goes
    /// back to the shard by the caller.
    pub(crate) fn bury(mut self) -> u32 {
        self.connection.generation.fetch_add(1, Ordering::Relaxed);
        drop(self.cell().take());
        self.connection.ownership.bury();
        self.index
    }

    #[allow(unsafe_code)] // as the lease's cell
    fn cell(&mut self) -> &mut Option<State> {
        // SAFETY: the ownership word has handed out this claim and no other, and `&mut self` rules
        // out any other borrow through it.
        unsafe { &mut *self.connection.state.get() }
    }
}

impl Deref for Claim<'_> {
    type Target = State;

    #[allow(unsafe_code)] // as the lease's cell
    fn deref(&self) -> &State {
        // SAFETY: as in `cell`; `&self` rules out `deref_mut`.
        let state = unsafe { &*self.connection.state.get() };
        state.as_ref().expect("a claimed slot holds a connection")
    }
}

impl DerefMut for Claim<'_> {
    fn deref_mut(&mut self) -> &mut State {
        self.cell().as_mut().expect("a claimed slot holds a connection")
    }
}

/// The slots of one shard. Grows page by page and never shrinks: a page is small, and a service that
/// had so many clients once may have them again.
#[derive(Debug)]
pub(crate) struct Slab {
    pages: Box<[OnceLock<Box<[Connection]>>]>,
}

impl Slab {
    /// Room for `connections_max`, none of it allocated yet.
    pub(crate) fn new(connections_max: usize) -> Self {
        Slab { pages: (0..connections_max.div_ceil(PAGE)).map(|_| OnceLock::new()).collect() }
    }

    /// How many slots there can be.
    pub(crate) fn capacity(&self) -> u32 {
        (self.pages.len() * PAGE) as u32
    }

    /// The slot of that number, if it was ever used.
    pub(crate) fn get(&self, index: u32) -> Option<&Connection> {
        let (page, slot) = (index as usize / PAGE, index as usize % PAGE);
        Some(&self.pages.get(page)?.get()?[slot])
    }

    /// The slot of that number, made if need be. `index` must be below the capacity.
    pub(crate) fn get_or_grow(&self, index: u32) -> &Connection {
        let (page, slot) = (index as usize / PAGE, index as usize % PAGE);
        let fresh = || (0..PAGE).map(|_| Connection::vacant()).collect();
        &self.pages[page].get_or_init(fresh)[slot]
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_slot_and_an_idle_connection_stay_small() {
        // The goal is 0.3 KB for an idle connection, with its timer entry and its slot.
        assert!(size_of::<Connection>() <= 248, "{} bytes", size_of::<Connection>());
    }
}
