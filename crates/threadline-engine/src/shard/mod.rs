//! A shard: one epoll instance, its connections, its timers, its batch of ready events and the
//! cursor in it. Whoever holds its lease runs its loop.
//!
//! - `run`: the loop itself, and taking over
//! - `accept`: new connections, limits, running out of descriptors
//! - `conversation`: one connection's turn
//! - `settle`: where a connection goes after its turn
//! - `place`: where user code runs; lending the lease
//! - `timers`: deadlines that come
//! - `plan`: what a shard is made of
//! - `drain`: going down
//! - `datagrams`, `own_thread`: the two kinds of service that do not park
//! - `key`: what an event is about

mod accept;
mod conversation;
mod datagrams;
mod drain;
mod key;
mod own_thread;
mod place;
mod plan;
mod run;
mod settle;
mod timers;

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use crate::connection::{Home, Slab};
use crate::inbox::Note;
use crate::lease::{Lease, Leased, Snapshot};
use crate::listener::Source;
use crate::log::limited;
use crate::model::Model;
use crate::route::{Route, Tally};
use crate::shared::Shared;
use crate::spares::Spares;
use crate::sys::{Alarm, Epoll, Event, EventBuffer, Interest, ThreadNumber, Ticks, Waker};
use crate::wheel::Wheel;

pub(crate) use key::Key;
pub(crate) use plan::Plan;
pub(crate) use run::loop_thread;

/// Events taken from the kernel at once. More would only make the last of them older.
const BATCH: usize = 256;
/// A loop thread's input buffer: one read takes this much at most.
const INPUT_BUFFER: usize = 64 * 1024;
/// An output buffer that a large reply has made larger than this is given back.
const OUTPUT_KEPT: usize = 64 * 1024;

pub(crate) struct Shard {
    pub(crate) number: usize,
    /// The engine's, or that of isolated endpoints.
    pub(crate) model: Model,
    /// How many connections the engine may have if this shard is to accept one more.
    connections_max: usize,
    pub(crate) shared: Arc<Shared>,
    /// Threads that could take over. Those of all shards of the engine.
    spares: Arc<Spares<Takeover>>,
    pub(crate) home: Arc<Home>,
    core: Leased<Core>,
    slab: Slab,
    alarm: Alarm,
    /// A spare is reserved for this shard: it may lend its lease.
    backed: AtomicBool,
    /// The number of the route whose call the lease is lent to; `u32::MAX` if to none.
    calling: AtomicU32,
    /// The thread that holds the lease, or has lent it.
    holder: AtomicU32,
    /// Accepting is paused. Written by the lease holder.
    starved: AtomicBool,
}

/// What only the lease holder touches.
pub(crate) struct Core {
    /// The batch that is being worked through. A successor goes on at `cursor`.
    events: Vec<Event>,
    cursor: usize,
    /// Connections that have more to do, and gave way to others. They are still owned by the shard.
    ready: VecDeque<u32>,
    /// Slots to use again; those from `fresh` on were never used.
    free: Vec<u32>,
    fresh: u32,
    wheel: Wheel<Key>,
    /// When the alarm is set to go off.
    armed: Option<Ticks>,
    /// It has gone off. Deadlines are looked at behind the batch, in which their connections may have input.
    timers_due: bool,
    /// The time, as of the last wait.
    now: Ticks,
    sources: Vec<Source>,
    /// Accepting is paused, and why.
    paused: Option<accept::Paused>,
    /// The log has said that descriptors have run out, and not yet that accepting goes on.
    all_clear_due: bool,
    tally: Tally,
    /// Inline calls until one is timed, and timed calls left after a slow one.
    sample_in: u32,
    close_watch: u32,
    drain: Option<drain::Drain>,
    /// All sources are closed.
    deaf: bool,
    #[cfg(feature = "testing")]
    probe: run::Probe,
}

/// What a thread needs to serve connections. Belongs to the thread: neither shards nor parked
/// connections hold buffers.
#[derive(Debug)]
pub(crate) struct Desk {
    pub(crate) input: Box<[u8]>,
    pub(crate) output: Vec<u8>,
    events: EventBuffer,
    notes: Vec<Note>,
    fired: Vec<Key>,
}

/// A spare's task: take over this shard, if its holder is still in that loan.
#[derive(Debug)]
pub(crate) struct Takeover {
    pub(crate) shard: Arc<Shard>,
    seen: Snapshot,
}

impl fmt::Debug for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shard").field("number", &self.number).finish_non_exhaustive()
    }
}

impl Desk {
    /// For a loop thread.
    pub(crate) fn new() -> Self {
        Desk::with(INPUT_BUFFER, BATCH)
    }

    /// For a pool thread: it hardly reads, and there are many.
    fn for_pool() -> Self {
        Desk::with(INPUT_BUFFER / 16, 0)
    }

    fn with(input: usize, events: usize) -> Self {
        Desk {
            input: vec![0; input].into(),
            output: Vec::new(),
            events: EventBuffer::new(events),
            notes: Vec::new(),
            fired: Vec::new(),
        }
    }

    fn clear_output(&mut self) {
        if self.output.capacity() > OUTPUT_KEPT {
            self.output = Vec::new();
        } else {
            self.output.clear();
        }
    }
}

impl Shard {
    pub(crate) fn new(
        plan: Plan,
        shared: Arc<Shared>,
        spares: Arc<Spares<Takeover>>,
    ) -> io::Result<Arc<Shard>> {
        let Plan { number, model, connections_max, sources } = plan;
        let clock = shared.settings.clock.clone();
        let now = clock.ticks();
        let epoll = Epoll::new()?;
        let (waker, alarm) = (Waker::new()?, Alarm::new(clock.clone())?);
        epoll.add(&waker, Key::Waker.pack(), Interest::Source)?;
        epoll.add(&alarm, Key::Alarm.pack(), Interest::Source)?;
        for (source, number) in sources.iter().zip(0..) {
            epoll.add(source, Key::Source(number).pack(), source.interest())?;
        }
        let core = Core {
            events: Vec::with_capacity(BATCH),
            cursor: 0,
            ready: VecDeque::new(),
            free: Vec::new(),
            fresh: 0,
            wheel: Wheel::new(now),
            armed: None,
            timers_due: false,
            now,
            sources,
            paused: None,
            all_clear_due: false,
            tally: Tally::default(),
            sample_in: 0,
            close_watch: 0,
            drain: None,
            deaf: false,
            #[cfg(feature = "testing")]
            probe: run::Probe::default(),
        };
        Ok(Arc::new(Shard {
            number,
            model,
            connections_max,
            home: Arc::new(Home::new(epoll, waker, clock)),
            core: Leased::new(core),
            slab: Slab::new(connections_max.min(Key::CONNECTIONS_MAX)),
            shared,
            spares,
            alarm,
            backed: AtomicBool::new(false),
            calling: AtomicU32::new(u32::MAX),
            holder: AtomicU32::new(0),
            starved: AtomicBool::new(false),
        }))
    }

    /// What the lease says right now.
    pub(crate) fn look(&self) -> Snapshot {
        self.core.look()
    }

    /// The lease, if nobody holds it.
    pub(crate) fn fill(&self) -> Option<Lease<'_, Core>> {
        self.core.fill()
    }

    /// Leaves a note for whoever runs the shard, and wakes it if it sleeps.
    pub(crate) fn tell(&self, note: Note) {
        self.home.inbox.push(note);
        if self.look().is_polling() {
            self.home.waker.wake();
        }
    }

    /// Says that a slot is free. That can wait until the shard runs for another reason, unless clients
    /// wait for the room it makes.
    fn tell_freed(&self, index: u32) {
        if self.starved.load(Ordering::Relaxed) {
            self.tell(Note::Freed(index));
        } else {
            self.home.inbox.push(Note::Freed(index));
        }
    }

    /// Whether the lease may be lent: a spare is reserved, or could be just now.
    fn is_backed(&self) -> bool {
        self.backed.load(Ordering::Relaxed) || self.back()
    }

    #[cold]
    fn back(&self) -> bool {
        let start = || run::start_spare(&self.spares, &self.shared.threads);
        let reserved = self.spares.reserve(start).unwrap_or_else(|error| {
            self.home.counters.spawn_failures.increment();
            limited!(warn, "no spare thread can be started: calls go to the pool", %error);
            false
        });
        self.backed.store(reserved, Ordering::Relaxed);
        reserved
    }

    /// Publishes which route the lease is about to be lent to, if it is one.
    fn calling(&self, route: Option<&Route>) {
        self.calling.store(route.map_or(u32::MAX, Route::number), Ordering::Relaxed);
    }

    /// Monitor: the thread that holds the lease, or has lent it.
    pub(crate) fn holder(&self) -> ThreadNumber {
        ThreadNumber::from_raw(self.holder.load(Ordering::Relaxed))
    }

    /// Monitor: gives the shard of a stalled call to the spare that is reserved for it.
    pub(crate) fn hand_on(self: &Arc<Self>, seen: Snapshot) -> bool {
        // Without a reservation the shard has not been lent since the last takeover.
        let backed = self.backed.swap(false, Ordering::Relaxed);
        if backed {
            self.spares.hand_over(Takeover { shard: Arc::clone(self), seen });
        }
        backed
    }
}
