//! Waiting until an engine has nothing more to do.

use std::thread;
use std::time::{Duration, Instant};

use super::{Clock, PATIENCE};
use crate::engine::Engine;
use crate::model::Model;
use crate::shared::Phase;
use crate::sys::Clock as EngineClock;

impl Engine {
    /// Waits until nothing moves any more: the shards have served every event, deadline and note that there
    /// was, and every thread of the engine that has a connection waits for its peer or for an answer. From
    /// here on only the test can make something happen.
    ///
    /// A handler that waits for something else, such as a channel, keeps the engine busy:
    /// [`Engine::settle_shards`] leaves it alone.
    ///
    /// # Panics
    /// If the engine does not go by a [`Clock`] of a test, or is still busy after 10 s.
    pub fn settle(&self) {
        self.settle_with(|engine, clock| {
            let pool = engine.shared.pool.stats();
            let own_threads = match engine.shared.settings.model {
                Model::ThreadPerConnection => engine.shared.lifecycle.connections(),
                _ => 0,
            };
            pool.queue_len == 0 && clock.resting() >= pool.busy + own_threads
        });
    }

    /// As [`Engine::settle`], for the shards alone: handlers may run elsewhere, or wait.
    ///
    /// # Panics
    /// As [`Engine::settle`].
    pub fn settle_shards(&self) {
        self.settle_with(|_, _| true);
    }

    /// Lets so much time pass in steps of at most `step`, and settles after each.
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

    /// Has each shard serve what there is.
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
