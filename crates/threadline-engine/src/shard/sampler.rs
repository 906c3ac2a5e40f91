//! Which inline calls of a shard are timed, and what it has seen of them.
//!
//! It belongs to the holder of the lease, so that counting costs a call no more than a few plain additions.

use crate::route::{Route, Tally};

/// How many inline calls there are for each one that is timed, to find handlers that are slow but never slow
/// enough for the monitor to see. Two clock reads in 64 calls cost nothing that can be measured.
const SAMPLE_EVERY: u32 = 64;
/// After a slow sample every call is timed for a while, so that the tally sees a rate.
const CLOSE_WATCH: u32 = 64;

/// What a shard knows of its inline calls, and which of them it times.
#[derive(Debug, Default)]
pub(super) struct Sampler {
    tally: Tally,
    /// Inline calls until one is timed.
    sample_in: u32,
    /// Timed calls left after a slow one.
    close_watch: u32,
}

impl Sampler {
    /// An inline call of the route begins. Says whether to time it.
    pub(super) fn count(&mut self, route: &Route) -> bool {
        self.tally.count(route);
        self.is_due()
    }

    /// Whether to time the next call. For callers that count only the calls that are timed, by
    /// [`Sampler::count_sample`].
    #[inline(always)]
    pub(super) fn is_due(&mut self) -> bool {
        let is_timed = self.sample_in == 0;
        self.sample_in = self.sample_in.saturating_sub(1);
        is_timed
    }

    pub(super) fn count_sample(&mut self, route: &Route) {
        self.tally.count(route);
    }

    /// A call of the route has stalled: the shard was taken over in it, or a sample was slow.
    pub(super) fn stalled(&mut self, route: &Route, streak: u32) {
        self.tally.stalled(route, streak);
    }

    /// The end of a call that was timed.
    pub(super) fn end_sample(&mut self, slow: bool) {
        if slow {
            self.close_watch = CLOSE_WATCH;
        }
        self.close_watch = self.close_watch.saturating_sub(1);
        self.sample_in = if self.close_watch > 0 { 0 } else { SAMPLE_EVERY };
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_slow_sample_is_followed_by_a_close_watch() {
        let route = Route::new("sampled");
        let mut sampler = Sampler::default();
        assert!(sampler.count(&route), "the first");
        sampler.end_sample(false);
        let until_next = (0..).take_while(|_| !sampler.count(&route)).count();
        assert_eq!(until_next, SAMPLE_EVERY as usize);
        sampler.end_sample(true);
        for _ in 1..CLOSE_WATCH {
            assert!(sampler.count(&route), "watched closely");
            sampler.end_sample(false);
        }
        assert!(!sampler.count(&route), "the watch is over");
    }
}
