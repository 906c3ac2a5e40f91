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
//! **It sleeps when nothing runs.** A loop thread that wakes from its poll looks whether the monitor
//! sleeps, once a batch, and rings the [`Bell`].

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use crate::lease::Snapshot;
use crate::shard::Shard;
use crate::shared::Phase;
use crate::sys::become_batch;

/// After this long without any shard running it goes to sleep.
const REST_AFTER: Duration = Duration::from_millis(100);
/// How long after a stall it looks more often.
const RESTLESS_FOR: Duration = Duration::from_millis(100);
/// How long a call must go on, seen from close up, to count as stalled in restless times.
const CLOSE_LOOK: Duration = Duration::from_micros(30);
/// A sleeping monitor looks all the same this often: a guard against a bell that was not heard.
const LONGEST_SLEEP: Duration = Duration::from_secs(5);

/// Wakes the monitor.
#[derive(Debug, Default)]
pub(crate) struct Bell {
    asleep: AtomicBool,
    monitor: OnceLock<Thread>,
}

impl Bell {
    /// To be called by a loop thread that has just stopped polling. A load, as long as the monitor
    /// is awake. The fence at the end of a poll pairs with the one in the monitor's look: of a
    /// monitor that goes to sleep and a thread that starts to run, at least one sees the other.
    pub(crate) fn ring(&self) {
        if self.asleep.load(Ordering::Relaxed) && self.asleep.swap(false, Ordering::Relaxed) {
            self.wake();
        }
    }

    /// Wakes the monitor whether or not it needs it, for the engine's end.
    pub(crate) fn wake(&self) {
        if let Some(monitor) = self.monitor.get() {
            monitor.unpark();
        }
    }
}

#[derive(Debug)]
pub(crate) struct Monitor {
    shards: Vec<Arc<Shard>>,
    /// What each shard's lease said at the last look.
    seen: Vec<Snapshot>,
    last_stall: Option<Instant>,
    last_motion: Instant,
}

impl Monitor {
    pub(crate) fn new(shards: Vec<Arc<Shard>>) -> Self {
        let seen = shards.iter().map(|shard| shard.look()).collect();
        Monitor { shards, seen, last_stall: None, last_motion: Instant::now() }
    }

    /// Runs until the engine stops.
    pub(crate) fn run(mut self) {
        let Some(shared) = self.shards.first().map(|shard| Arc::clone(&shard.shared)) else {
            return;
        };
        let _ = shared.bell.monitor.set(thread::current());
        if let Err(error) = become_batch() {
            tracing::debug!(%error, "the monitor stays in the normal scheduling class");
        }
        while shared.phase() != Phase::Stopped {
            let settings = &shared.settings;
            let restless = self.last_stall.is_some_and(|stall| stall.elapsed() < RESTLESS_FOR);
            let tick =
                if restless { settings.monitor_tick_after_stall } else { settings.monitor_tick };
            thread::park_timeout(tick);
            if self.look_round(restless) {
                self.last_motion = Instant::now();
            } else if self.last_motion.elapsed() > REST_AFTER {
                self.rest(&shared.bell);
            }
        }
    }

    /// Looks at every shard, and hands on those that are stalled. Says whether any is running.
    fn look_round(&mut self, restless: bool) -> bool {
        let mut motion = false;
        for (shard, seen) in self.shards.iter().zip(&mut self.seen) {
            let now = shard.look();
            let stalled = now.is_lent()
                && (now == *seen || (restless && still_there_after_a_close_look(shard, now)));
            if stalled && shard.hand_on(now) {
                self.last_stall = Some(Instant::now());
            }
            motion |= now != *seen || !now.is_polling();
            *seen = now;
        }
        motion
    }

    /// Sleeps until a loop thread rings.
    fn rest(&mut self, bell: &Bell) {
        bell.asleep.store(true, Ordering::Relaxed);
        if self.shards.iter().all(|shard| shard.look().is_polling()) {
            thread::park_timeout(LONGEST_SLEEP);
        }
        bell.asleep.store(false, Ordering::Relaxed);
        self.last_motion = Instant::now();
    }
}

/// In restless times a whole tick is too long to wait for the second look. Since the monitor runs
/// only when the core has nothing better to do, a call that it finds has most likely blocked. The
/// yield lets a loop thread that was merely preempted by the monitor itself go on.
fn still_there_after_a_close_look(shard: &Shard, first: Snapshot) -> bool {
    let began = Instant::now();
    loop {
        thread::yield_now();
        if shard.look() != first {
            return false;
        }
        if began.elapsed() >= CLOSE_LOOK {
            return true;
        }
        std::hint::spin_loop();
    }
}
