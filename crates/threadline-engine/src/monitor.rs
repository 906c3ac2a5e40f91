//! The monitor: one slow-ticking thread that hands on the shards of stalled handlers.
//!
//! It is the safety net, not the mechanism: proving keeps routes that block off the shards. It finds
//! a shard that is still in the very loan it was in a tick ago, and gives it to a spare.
//!
//! **It runs in the batch class** (`SCHED_BATCH`). A wake-up in that class never preempts a running
//! thread, so on a saturated core its ticks cost next to nothing: the monitor becomes runnable and
//! waits. The moment the loop thread blocks in a handler, the core is free and the monitor runs,
//! whatever its tick. In the normal class a 200 us tick was measured at 15 % of throughput.
//!
//! **After a stall it looks closely** for a while: a call in which the thread is on no core has
//! blocked, and need not be watched for a whole tick. The thread's CPU clock tells, for 0.3 us. With
//! ticks alone, a handler of which one call in a hundred blocks was served at two thirds of the rate;
//! with a tick between handing on and the next look, at 0.85 of it.
//! A monitor that does not sleep at all after a stall, at nice 19, was tried and lost: other programs on
//! the core then keep it from running for milliseconds.
//!
//! **It watches calls off the shards** that run as trials or compute (`workers/watch.rs`), with the same ticks.
//!
//! **It sleeps when nothing runs.** A loop thread that wakes from its poll looks whether the monitor
//! sleeps, once a batch, and rings the [`Bell`].

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use crate::lease::Snapshot;
use crate::shard::Shard;
use crate::shared::{Phase, Shared};
use crate::sys::{become_batch, cpu_of, punctual_sleeps};
use crate::workers::LOOK_EVERY;

/// After this long without any shard running it goes to sleep.
const REST_AFTER: Duration = Duration::from_millis(100);
/// How long after a stall it looks more often.
const RESTLESS_FOR: Duration = Duration::from_millis(100);
/// A sleeping monitor looks all the same this often: a guard against a bell that was not heard.
const LONGEST_SLEEP: Duration = Duration::from_secs(5);

#[derive(Debug)]
pub(crate) struct Monitor {
    shards: Vec<Arc<Shard>>,
    /// What each shard's lease said at the last look, and when it first said so.
    seen: Vec<(Snapshot, Instant)>,
    last_stall: Option<Instant>,
    last_motion: Instant,
}

/// What a look at the shards has found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Sight {
    /// Every shard polls, as at the last look.
    Quiet,
    /// Some shard runs.
    Motion,
    /// Some shard was stalled, and has been handed on.
    Stall,
}

impl Monitor {
    pub(crate) fn new(shards: Vec<Arc<Shard>>) -> Self {
        let seen = shards.iter().map(|shard| (shard.look(), Instant::now())).collect();
        Monitor { shards, seen, last_stall: None, last_motion: Instant::now() }
    }

    /// Runs until the engine stops.
    pub(crate) fn run(mut self) {
        let Some(shared) = self.shards.first().map(|shard| Arc::clone(&shard.shared)) else {
            return;
        };
        shared.bell.belongs_to_this_thread();
        if let Err(error) = become_batch() {
            tracing::debug!(%error, "the monitor stays in the normal scheduling class");
        }
        punctual_sleeps();
        while shared.lifecycle.phase() != Phase::Stopped {
            let settings = &shared.settings;
            shared.workers.watch.look();
            let restless = self.last_stall.is_some_and(|stall| stall.elapsed() < RESTLESS_FOR);
            match self.look_round(restless) {
                // The spare that was woken runs in this thread's stead, so that the next look is due
                // when the core is free again: perhaps because the very next call has blocked.
                Sight::Stall => continue,
                Sight::Motion => self.last_motion = Instant::now(),
                Sight::Quiet if self.last_motion.elapsed() > REST_AFTER => self.rest(&shared),
                Sight::Quiet => {}
            }
            let tick =
                if restless { settings.monitor_tick_after_stall } else { settings.monitor_tick };
            let watches = !shared.workers.watch.is_empty();
            thread::park_timeout(if watches { tick.min(LOOK_EVERY) } else { tick });
        }
    }

    /// Looks at every shard, and hands on those that are stalled.
    fn look_round(&mut self, restless: bool) -> Sight {
        let mut sight = Sight::Quiet;
        for (shard, (seen, since)) in self.shards.iter().zip(&mut self.seen) {
            let now = shard.look();
            if now != *seen || !now.is_polling() {
                sight = sight.max(Sight::Motion);
            }
            if now != *seen {
                (*seen, *since) = (now, Instant::now());
            }
            // A tick may be shorter than what counts as fast.
            let limit = shard.shared.settings.proving_limit;
            let stalled = now.is_lent()
                && (since.elapsed() >= limit || (restless && has_blocked(shard, now)));
            if stalled && shard.hand_on(now) {
                self.last_stall = Some(Instant::now());
                sight = Sight::Stall;
            }
        }
        sight
    }

    /// Sleeps until a loop thread rings, or the thread of a call that is to be watched.
    fn rest(&mut self, shared: &Shared) {
        let all_poll = || self.shards.iter().all(|shard| shard.look().is_polling());
        let is_quiet = || all_poll() && shared.workers.watch.is_empty();
        shared.bell.sleep(LONGEST_SLEEP, is_quiet);
        self.last_motion = Instant::now();
    }
}

/// Whether the call that the lease is lent to has gone to sleep. The yield lets a thread that was
/// merely preempted, perhaps by the monitor itself, go on; its clock then runs.
fn has_blocked(shard: &Shard, loan: Snapshot) -> bool {
    let holder = shard.holder();
    let before = cpu_of(holder);
    thread::yield_now();
    shard.look() == loan && before.is_some() && before == cpu_of(holder)
}
