//! Giving a shard away while its thread runs user code: the threads that run shards, and how they change.
//!
//! A thread starts with a shard of its own or as a spare. It loses its shard when a call has blocked: the
//! monitor then hands the shard on, or the thread itself does if the code says that it is about to block. A
//! thread without a shard stands by for another one. The lease decides which thread may take the shard.

use std::cell::RefCell;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Weak};
use std::thread;
use std::time::Duration;

use super::run::{Ended, run_contained};
use super::{Desk, Shard};
use crate::lease::Snapshot;
use crate::log::limited;
use crate::model::Model;
use crate::route::{self, NO_ROUTE, Route};
use crate::spares::Spares;
use crate::sys::ThreadNumber;
use crate::threads::Threads;

/// How long a spare that nobody relies on waits for a stall before it ends.
const PATIENCE: Duration = Duration::from_secs(10);

/// A spare's task: take over this shard, if its holder is still in that loan.
#[derive(Debug)]
pub(crate) struct Takeover {
    pub(crate) shard: Arc<Shard>,
    seen: Snapshot,
}

/// What other threads see of the lease's holder, and what it needs to lend the lease.
#[derive(Debug)]
pub(super) struct Lending {
    /// A spare is reserved for this shard: it may lend its lease.
    backed: AtomicBool,
    /// The number of the route whose call the lease is lent to; `NO_ROUTE` if to none.
    calling: AtomicU32,
    /// The thread that holds the lease, or has lent it.
    holder: AtomicU32,
}

impl Lending {
    pub(super) fn new() -> Self {
        Lending {
            backed: AtomicBool::new(false),
            calling: AtomicU32::new(NO_ROUTE),
            holder: AtomicU32::new(0),
        }
    }
}

/// A thread that starts with a shard of its own.
pub(crate) fn loop_thread(shard: Arc<Shard>) {
    shard.spares.count_thread();
    let mut desk = Desk::new();
    let ended = match shard.fill() {
        Some(lease) => run_contained(&shard, lease, &mut desk),
        None => Ended::Stopped,
    };
    stand_by(&shard.spares, &mut desk, ended);
}

/// A thread that starts by waiting for a shard.
fn spare_thread(spares: &Spares<Takeover>) {
    let mut desk = Desk::new();
    if let Some(takeover) = spares.stand(PATIENCE) {
        let ended = take_over(&takeover, &mut desk);
        stand_by(spares, &mut desk, ended);
    }
}

fn start_spare(spares: &Arc<Spares<Takeover>>, threads: &Arc<Threads>) -> io::Result<()> {
    let spares = Arc::clone(spares);
    let builder = thread::Builder::new().name("tl-spare".into());
    builder.spawn(threads.wrap(move || spare_thread(&spares))).map(drop)
}

/// What a thread does once it runs no shard: it offers itself as a spare, for as long as it is needed.
fn stand_by(spares: &Spares<Takeover>, desk: &mut Desk, mut ended: Ended) {
    while ended == Ended::Lost {
        if !spares.join() {
            return;
        }
        let Some(takeover) = spares.stand(PATIENCE) else { return };
        ended = take_over(&takeover, desk);
    }
    spares.discount_thread();
}

fn take_over(takeover: &Takeover, desk: &mut Desk) -> Ended {
    let shard = &takeover.shard;
    let Some(mut lease) = shard.core.take(takeover.seen) else {
        // Its holder came back in time.
        return Ended::Lost;
    };
    shard.home.counters.handoffs.increment();
    let number = shard.lending.calling.load(Ordering::Relaxed);
    if let Some(route) = route::by_number(number) {
        lease.sampler.stalled(&route, shard.shared.settings.proving_streak);
    }
    run_contained(shard, lease, desk)
}

impl Shard {
    /// Whether the lease may be lent: a spare is reserved, or could be just now.
    pub(super) fn is_backed(&self) -> bool {
        self.lending.backed.load(Ordering::Relaxed) || self.back()
    }

    #[cold]
    fn back(&self) -> bool {
        let start = || start_spare(&self.spares, &self.shared.threads);
        let reserved = self.spares.reserve(start).unwrap_or_else(|error| {
            self.home.counters.spawn_failures.increment();
            limited!(warn, "no spare thread can be started: calls go to the pool", %error);
            false
        });
        self.lending.backed.store(reserved, Ordering::Relaxed);
        reserved
    }

    /// This thread holds the lease from now on. If user code on it says that it is about to block, the shard
    /// is handed on at once, instead of when the monitor notices.
    pub(super) fn begin_to_hold(self: &Arc<Self>) {
        self.lending.holder.store(ThreadNumber::current().raw(), Ordering::Relaxed);
        if self.model == Model::Adaptive {
            OWN.set(Arc::downgrade(self));
            threadline_pool::set_hook(Some(hand_on_own));
        }
    }

    /// Publishes which route the lease is about to be lent to, if it is one.
    pub(super) fn calling(&self, route: Option<&Route>) {
        self.lending.calling.store(route.map_or(NO_ROUTE, Route::number), Ordering::Relaxed);
    }

    /// Monitor: the thread that holds the lease, or has lent it.
    pub(crate) fn holder(&self) -> ThreadNumber {
        ThreadNumber::from_raw(self.lending.holder.load(Ordering::Relaxed))
    }

    /// Monitor: gives the shard of a stalled call to the spare that is reserved for it.
    pub(crate) fn hand_on(self: &Arc<Self>, seen: Snapshot) -> bool {
        // Without a reservation the shard has not been lent since the last takeover.
        let backed = self.lending.backed.swap(false, Ordering::Relaxed);
        if backed {
            self.spares.hand_over(Takeover { shard: Arc::clone(self), seen });
        }
        backed
    }
}

thread_local! {
    /// The shard that this thread ran last.
    static OWN: RefCell<Weak<Shard>> = const { RefCell::new(Weak::new()) };
}

fn hand_on_own() {
    // Gone while the thread's destructors run, which may block, too.
    let Ok(Some(shard)) = OWN.try_with(|own| own.borrow().upgrade()) else { return };
    let seen = shard.look();
    // If it is lent, and still by this thread, then to the code that is about to block.
    if seen.is_lent() && shard.holder() == ThreadNumber::current() {
        shard.hand_on(seen);
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    struct AsksAtTheEnd;

    impl Drop for AsksAtTheEnd {
        fn drop(&mut self) {
            // A panic here would abort the process.
            hand_on_own();
        }
    }

    thread_local! {
        static BEFORE: AsksAtTheEnd = const { AsksAtTheEnd };
        static BEHIND: AsksAtTheEnd = const { AsksAtTheEnd };
    }

    /// In whatever order a thread's own values are dropped.
    #[test]
    fn a_destructor_of_a_thread_that_has_run_a_shard_may_be_about_to_block() {
        let thread = thread::spawn(|| {
            BEFORE.with(|_| ());
            OWN.set(Weak::new());
            BEHIND.with(|_| ());
        });
        thread.join().expect("thread");
    }
}
