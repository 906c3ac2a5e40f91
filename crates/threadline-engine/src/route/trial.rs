//! Times a call that does not run inline and judges it: fast, slow, or neither; and what a slow one did.

use std::time::{Duration, Instant};

use super::Route;
use crate::sys::ThreadUsage;

/// A call that has had this much time classifies its route while it still runs: to wait for its end could be
/// to wait for a database that does not answer. Time in which the thread could have run but had no core does
/// not count.
pub(crate) const LONG: Duration = Duration::from_millis(10);

/// How a call went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    Fast,
    Slow(Slowness),
    /// It took long but neither slept nor computed: the thread was preempted, which says nothing
    /// about the route. Without this, a busy machine would keep every route off the shards.
    Unclear,
}

/// What a slow call has done with its time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Slowness {
    /// It slept or waited.
    Blocked,
    /// It kept a core busy nearly all the time.
    Computed,
    /// Nobody has looked.
    Unknown,
}

/// How closely to look at a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Depth {
    /// At its time, and while the route has a streak to lose at whether the thread was preempted: for one
    /// without, slow and unclear are the same, and asking the kernel costs half a microsecond.
    Time,
    /// At how long exactly the thread ran, waited for a core and slept. Costs some microseconds.
    Usage,
}

/// Times one call.
#[derive(Debug)]
pub(crate) struct Trial {
    began: Instant,
    depth: Depth,
    pub(super) usage: Option<ThreadUsage>,
}

impl Trial {
    pub(crate) fn begin(route: &Route, depth: Depth) -> Self {
        let usage = match depth {
            Depth::Usage => Some(ThreadUsage::with_waits()),
            Depth::Time => {
                let has_streak = !route.is_proven() && route.standing.streak() > 0;
                has_streak.then(ThreadUsage::now)
            }
        };
        Trial { usage, depth, began: Instant::now() }
    }

    pub(crate) fn end(self, route: &Route, limit: Duration, streak: u32) {
        route.prove(self.verdict(limit), streak);
    }

    pub(super) fn verdict(&self, limit: Duration) -> Verdict {
        let elapsed = self.began.elapsed();
        let verdict = judge(elapsed, limit, || {
            let before = self.usage?;
            let now = before.again();
            Some(Usage { cpu: before.cpu_until(&now), idle: before.idle_until(&now, elapsed) })
        });
        match (verdict, self.depth) {
            // Not exact enough to choose between the two.
            (Verdict::Slow(_), Depth::Time) => Verdict::Slow(Slowness::Unknown),
            (verdict, _) => verdict,
        }
    }
}

/// What a call has done with its time. The rest of it the thread waited for a core.
#[derive(Debug, Clone, Copy)]
pub(super) struct Usage {
    pub(super) cpu: Duration,
    pub(super) idle: Duration,
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
        Some(Usage { cpu, idle }) if cpu + idle < limit => Verdict::Unclear,
        Some(Usage { cpu, idle }) if is_computing(cpu, idle) => Verdict::Slow(Slowness::Computed),
        Some(_) => Verdict::Slow(Slowness::Blocked),
        None => Verdict::Slow(Slowness::Unknown),
    }
}

/// Whether a call with these times keeps a core busy. One that sleeps more than a fifth of its time would
/// leave cores unused if only as many ran as there are cores.
pub(crate) fn is_computing(cpu: Duration, idle: Duration) -> bool {
    idle * 5 <= cpu + idle
}
