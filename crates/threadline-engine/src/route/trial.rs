//! Times a call on the pool and judges it: fast, slow, or neither.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::{PROVEN, Route};
use crate::sys::ThreadUsage;

/// How a call on the pool went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    Fast,
    Slow,
    /// It took long but neither slept nor computed: the thread was preempted, which says nothing
    /// about the route. Without this, a busy machine would keep every route off the shards.
    Unclear,
}

/// Times one call on the pool.
#[derive(Debug)]
pub(crate) struct Trial {
    began: Instant,
    /// Only for a route with a streak to lose: for one without, slow and unclear are the same, and
    /// asking the kernel costs half a microsecond.
    pub(super) usage: Option<ThreadUsage>,
}

impl Trial {
    pub(crate) fn begin(route: &Route) -> Self {
        let has_streak = !matches!(route.standing.load(Ordering::Relaxed), 0 | PROVEN..);
        Trial { usage: has_streak.then(ThreadUsage::now), began: Instant::now() }
    }

    pub(crate) fn end(self, route: &Route, limit: Duration, streak: u32) {
        route.prove(self.verdict(limit), streak);
    }

    pub(super) fn verdict(&self, limit: Duration) -> Verdict {
        judge(self.began.elapsed(), limit, || {
            let (before, now) = (self.usage?, ThreadUsage::now());
            Some(Usage { blocked: before.blocked_until(&now), cpu: before.cpu_until(&now) })
        })
    }
}

/// What a call has done with its time.
#[derive(Debug, Clone, Copy)]
pub(super) struct Usage {
    pub(super) blocked: bool,
    pub(super) cpu: Duration,
}

/// The verdict on a call that took so long; `usage` is looked at only where it matters.
pub(super) fn judge(
    elapsed: Duration,
    limit: Duration,
    usage: impl FnOnce() -> Option<Usage>,
) -> Verdict {
    if elapsed < limit {
        return Verdict::Fast;
    }
    match usage() {
        Some(usage) if !usage.blocked && usage.cpu < limit => Verdict::Unclear,
        _ => Verdict::Slow,
    }
}
