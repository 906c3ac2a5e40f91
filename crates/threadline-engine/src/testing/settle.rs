//! Waiting until an engine has nothing left to do.

use std::thread;
use std::time::{Duration, Instant};

use threadline_pool::Stats;

use super::{Clock, PATIENCE};
use crate::engine::Engine;
use crate::model::Model;
use crate::shared::Phase;
use crate::sys::Clock as EngineClock;

impl Engine {
    /// Waits until the engine is quiescent: the shards have served every event, deadline and note, the pool's
    /// queue is empty, and each thread that serves a connection waits for its peer or for an answer. Then only
    /// the test can cause further activity.
    ///
    /// A handler that waits for something else, such as a channel, keeps the engine busy: use
    /// [`Engine::settle_shards`] there.
    ///
    /// # Panics
    /// If the engine does not use a test's [`Clock`], or is still busy after 10 s.
    pub fn settle(&self) {
        self.settle_with(|engine, clock| {
            let lifecycle = &engine.shared.lifecycle;
            let (pool, workers) = (engine.shared.pool.stats(), engine.shared.workers.census());
            let pools = [pool, workers.trials, workers.computing, workers.files];
            let is_empty = |pool: &Stats| pool.queue_len == 0;
            let busy: usize = pools.iter().map(|pool| pool.busy).sum();
            let own_threads = match engine.shared.settings.model {
                Model::ThreadPerConnection => {
                    lifecycle.connections().saturating_sub(lifecycle.leftovers())
                }
                _ => 0,
            };
            pools.iter().all(is_empty) && clock.resting() >= busy + own_threads
        });
    }

    /// As [`Engine::settle`], for the shards only. Handlers may be running on other threads.
    ///
    /// # Panics
    /// As [`Engine::settle`].
    pub fn settle_shards(&self) {
        self.settle_with(|_, _| true);
    }

    /// Advances the clock by `time` in steps of at most `step`, and settles after each step.
    ///
    /// # Panics
    /// As [`Engine::settle`]; if `step` is zero.
    pub fn pass(&self, time: Duration, step: Duration) {
        assert!(!step.is_zero(), "time passes in steps of more than 0");
        let clock = self.test_clock();
        self.settle();
        let mut left = time;
        while !left.is_zero() {
            let now = left.min(step);
            clock.advance(now);
            self.settle();
            left -= now;
        }
    }

    fn settle_with(&self, is_quiet: impl Fn(&Engine, &Clock) -> bool) {
        let clock = self.test_clock();
        let until = Instant::now() + PATIENCE;
        let mut quiet_rounds = 0;
        while quiet_rounds < 2 {
            let before = self.moves(clock);
            self.probe_shards(until);
            if self.moves(clock) == before && is_quiet(self, clock) {
                quiet_rounds += 1;
                continue;
            }
            quiet_rounds = 0;
            assert!(
                Instant::now() < until,
                "the engine is still busy after {PATIENCE:?}: {:?}, {} threads wait for peers",
                self.gauges(),
                clock.resting()
            );
            thread::yield_now();
        }
    }

    fn test_clock(&self) -> &Clock {
        match &self.shared.settings.clock {
            EngineClock::Test(clock) => clock,
            EngineClock::System => panic!("start the engine with Settings::with_clock"),
        }
    }

    fn moves(&self, clock: &Clock) -> u64 {
        clock.moves() + self.shards.iter().map(|shard| shard.home.probes.moves()).sum::<u64>()
    }

    /// Waits until each shard has served everything that is ready.
    fn probe_shards(&self, until: Instant) {
        let probes = self.shards.iter().map(|shard| {
            let seen = shard.home.probes.answered();
            shard.home.probe();
            (shard, seen)
        });
        for (shard, seen) in probes.collect::<Vec<_>>() {
            while !shard.home.probes.is_answered_since(seen) {
                if self.shared.lifecycle.phase() == Phase::Stopped {
                    return;
                }
                let number = shard.number;
                assert!(Instant::now() < until, "shard {number} is still busy after {PATIENCE:?}");
            }
        }
    }
}
