//! A shard: one epoll instance, its connections, its timers, its batch of ready events and the
//! cursor in it. Whoever holds its lease runs its loop.
//!
//! What the holder of the lease works with, each with its own methods and without the rest of the shard:
//! - `batch`: the events, and the connections that wait for another turn
//! - `agenda`: timers, the alarm, the time
//! - `intake`: listeners and datagram sockets, and whether the shard accepts
//! - `slots`: which slots have connections
//! - `sampler`: which inline calls are timed, and what was seen of them
//!
//! The loop, and who runs it:
//! - `run`: the loop itself
//! - `handover`: threads that run shards, stand by for one, and take over
//! - `place`: where user code runs; lending the lease
//! - `desk`: a thread's buffers
//! - `plan`, `key`: what a shard is made of; what an event is about
//!
//! New clients:
//! - `accept`, `admit`: from the listener's queue to a slot
//! - `room`: closing idle connections for new ones
//! - `datagrams`: the kind of service that has no connections
//!
//! A connection's turn, from its event to the next:
//! - `turn`: how an event gets to its connection
//! - `conversation`, `messages`, `refusal`: one turn: writing what waits, answering what has come
//! - `receive`, `slow_bodies`: the content of messages that comes in pieces; which end to keep the budget
//! - `settle`: where the connection goes after it: parked, to the end of the queue, elsewhere
//! - `offload`, `errand`: to a thread off the shards; waiting for one at a gate
//! - `queued`: while it waits for one: how long it may, and taking it back
//! - `close`: away
//! - `leave`: connections that linger after their stream handler, or after they were turned away
//! - `deadlines`: turns that are due without an event
//! - `drain`: going down
//!
//! Code that has a thread and may block:
//! - `hooks`, `upgrade`, `streams`: the ends of a session, the next protocol, stream handlers
//! - `own_thread`: message connections under `ThreadPerConnection`

mod accept;
mod admit;
mod agenda;
mod batch;
mod close;
mod conversation;
mod datagrams;
mod deadlines;
mod desk;
mod drain;
mod errand;
mod handover;
mod hooks;
mod intake;
mod key;
mod leave;
mod messages;
mod offload;
mod own_thread;
mod place;
mod plan;
mod queued;
mod receive;
mod refusal;
mod room;
mod run;
mod sampler;
mod settle;
mod slots;
mod slow_bodies;
mod streams;
mod turn;
mod upgrade;

use std::fmt;
use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use parking_lot::Mutex;

use crate::connection::{Home, Slab};
use crate::inbox::Note;
use crate::lease::{Lease, Leased, Snapshot};
use crate::model::Model;
use crate::shared::Shared;
use crate::spares::Spares;
use crate::sys::{Epoll, Interest, Waker};

use agenda::Agenda;
use batch::Batch;
use datagrams::WaitingDatagrams;
use desk::Desk;
use handover::Lending;
pub(crate) use handover::{Takeover, loop_thread};
use intake::Intake;
pub(crate) use key::Key;
pub(crate) use leave::{Leftover, Nothing};
pub(crate) use plan::Plan;
use queued::Waits;
use sampler::Sampler;
use slots::Slots;

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
    lending: Lending,
    /// Connections whose stream handlers have let go of them, on their way to slots.
    leftovers: Mutex<Vec<Leftover>>,
    /// Accepting is paused. Written by the lease holder.
    starved: AtomicBool,
}

/// What only the lease holder touches.
pub(crate) struct Core {
    batch: Batch,
    agenda: Agenda,
    intake: Intake,
    slots: Slots,
    sampler: Sampler,
    waits: Waits,
    datagrams: WaitingDatagrams,
    drain: Option<drain::Drain>,
    /// A timer will look for slow messages whose content is received.
    looks_for_slow_bodies: bool,
    #[cfg(feature = "testing")]
    probe: run::Probe,
}

impl fmt::Debug for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shard").field("number", &self.number).finish_non_exhaustive()
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
        let (epoll, waker) = (Epoll::new()?, Waker::new()?);
        let agenda = Agenda::new(clock.clone())?;
        epoll.add(&waker, Key::Waker.pack(), Interest::Source)?;
        epoll.add(agenda.alarm(), Key::Alarm.pack(), Interest::Source)?;
        for (source, number) in sources.iter().zip(0..) {
            epoll.add(source, Key::Source(number).pack(), source.interest())?;
        }
        let core = Core {
            batch: Batch::new(),
            agenda,
            intake: Intake::new(sources),
            slots: Slots::default(),
            sampler: Sampler::default(),
            waits: Waits::default(),
            datagrams: WaitingDatagrams::default(),
            drain: None,
            looks_for_slow_bodies: false,
            #[cfg(feature = "testing")]
            probe: run::Probe::default(),
        };
        let (waiting, mailboxes) = (Arc::clone(&shared.waiting), Arc::downgrade(&shared.mailboxes));
        let home = Home::new(epoll, waker, clock, waiting, mailboxes);
        Ok(Arc::new(Shard {
            number,
            model,
            connections_max,
            home: Arc::new(home),
            core: Leased::new(core),
            slab: Slab::new(connections_max.min(Key::CONNECTIONS_MAX)),
            shared,
            spares,
            lending: Lending::new(),
            leftovers: Mutex::default(),
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
}
