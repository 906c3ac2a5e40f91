//! When a job is due, as arithmetic: the slots of its timetable, without clock or thread.
//!
//! A *slot* is a moment at which the timetable wants a run, before jitter. Called by the plan only,
//! which keeps one slot for each job, the next, and asks here what becomes of it.

use std::time::{Duration, Instant, SystemTime};

#[cfg(feature = "cron")]
use super::cron::Cron;
use super::every::Pace;

/// One moment, read on both clocks.
#[derive(Debug, Clone, Copy)]
pub(super) struct Now {
    pub(super) monotonic: Instant,
    pub(super) wall: SystemTime,
}

impl Now {
    /// This much earlier. Where the types cannot hold that, this moment itself.
    pub(super) fn earlier(self, by: Duration) -> Self {
        Now {
            monotonic: self.monotonic.checked_sub(by).unwrap_or(self.monotonic),
            wall: self.wall.checked_sub(by).unwrap_or(self.wall),
        }
    }
}

/// A moment on the clock that the timetable goes by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Slot {
    Monotonic(Instant),
    #[cfg_attr(not(feature = "cron"), allow(dead_code, reason = "only calendars go by it"))]
    Wall(SystemTime),
}

impl Slot {
    /// None beyond the end of time: never.
    pub(super) fn later(self, by: Duration) -> Option<Self> {
        match self {
            Slot::Monotonic(at) => at.checked_add(by).map(Slot::Monotonic),
            Slot::Wall(at) => at.checked_add(by).map(Slot::Wall),
        }
    }

    /// How long it is until then; nothing if it has passed.
    pub(super) fn time_left(self, now: Now) -> Duration {
        match self {
            Slot::Monotonic(at) => at.saturating_duration_since(now.monotonic),
            Slot::Wall(at) => at.duration_since(now.wall).unwrap_or_default(),
        }
    }

    fn has_passed(self, now: Now) -> bool {
        match self {
            Slot::Monotonic(at) => at <= now.monotonic,
            Slot::Wall(at) => at <= now.wall,
        }
    }
}

/// When a job wants to run.
#[derive(Debug, Clone)]
pub(super) enum Timetable {
    Once,
    Every(Pace),
    #[cfg(feature = "cron")]
    Cron(Cron),
    /// Stands for a bug: panics when its slot is taken, and when the plan begins anew.
    #[cfg(all(test, not(loom)))]
    Broken,
}

/// What a run that starts now leaves of the slots up to now.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Taken {
    /// The slot the run is for: the latest that has passed.
    pub(super) slot: Slot,
    /// Slots before it that had no run, and get none any more.
    pub(super) missed: u64,
    /// The first slot after now. None if that is not known before the run ends, or there is none.
    pub(super) next: Option<Slot>,
}

impl Timetable {
    /// The first slot of a job added now.
    pub(super) fn first(&self, first_after: Duration, now: Now) -> Option<Slot> {
        match self {
            Timetable::Once | Timetable::Every(_) => {
                Slot::Monotonic(now.monotonic).later(first_after)
            }
            #[cfg(feature = "cron")]
            Timetable::Cron(cron) => cron.next_after(now.wall).map(Slot::Wall),
            #[cfg(all(test, not(loom)))]
            Timetable::Broken => Slot::Monotonic(now.monotonic).later(first_after),
        }
    }

    /// A run starts, for `slot`, which has passed, or for a later one that has passed as well.
    pub(super) fn take(&self, slot: Slot, now: Now) -> Taken {
        match (self, slot) {
            (Timetable::Every(Pace::FixedRate(period)), Slot::Monotonic(at)) => {
                take_from_grid(at, *period, now.monotonic)
            }
            #[cfg(feature = "cron")]
            (Timetable::Cron(cron), Slot::Wall(at)) => take_from_calendar(at, cron, now.wall),
            #[cfg(all(test, not(loom)))]
            (Timetable::Broken, _) => panic!("a broken timetable, as it should be"),
            _ => Taken { slot, missed: 0, next: None },
        }
    }

    /// The next slot when a run has ended and `take` knew none.
    pub(super) fn after_run(&self, now: Now) -> Option<Slot> {
        match self {
            Timetable::Every(Pace::FixedDelay(delay)) => {
                Slot::Monotonic(now.monotonic).later(*delay)
            }
            _ => None,
        }
    }

    /// The next slot of a job that goes on after a pause. Slots of a grid or calendar that passed are
    /// skipped; what is due once, or once after the last run, is due still.
    pub(super) fn resume(&self, slot: Slot, now: Now) -> Option<Slot> {
        if self.is_met_by_any_run() || !slot.has_passed(now) {
            return Some(slot);
        }
        self.take(slot, now).next
    }

    /// The next slot when the wall clock was set back so far that the plan begins anew, and `last`
    /// was the latest slot that had a run. None if this timetable does not go by that clock.
    #[cfg_attr(not(feature = "cron"), allow(unused_variables, reason = "for calendars alone"))]
    pub(super) fn begin_anew(&self, last: Option<Slot>, now: Now) -> Option<Slot> {
        #[cfg(feature = "cron")]
        if let Timetable::Cron(cron) = self {
            let next = cron.next_after(now.wall)?;
            let has_run = last == Some(Slot::Wall(next));
            return if has_run { cron.next_after(next) } else { Some(next) }.map(Slot::Wall);
        }
        #[cfg(all(test, not(loom)))]
        assert!(!matches!(self, Timetable::Broken), "a broken timetable, as it should be");
        None
    }

    /// True if a run that is asked for stands for the run that is due.
    pub(super) fn is_met_by_any_run(&self) -> bool {
        matches!(self, Timetable::Once | Timetable::Every(Pace::FixedDelay(_)))
    }

    pub(super) fn is_once(&self) -> bool {
        matches!(self, Timetable::Once)
    }
}

fn take_from_grid(at: Instant, period: Duration, now: Instant) -> Taken {
    let late = now.saturating_duration_since(at).as_nanos();
    // Zero is refused when the job is added.
    let period_nanos = period.as_nanos().max(1);
    let since_slot = nanos(late % period_nanos);
    let slot = now.checked_sub(since_slot).unwrap_or(at);
    Taken {
        slot: Slot::Monotonic(slot),
        missed: u64::try_from(late / period_nanos).unwrap_or(u64::MAX),
        next: slot.checked_add(period).map(Slot::Monotonic),
    }
}

/// Slots are counted one by one, and no further than this: a clock that leaps by years must not
/// hold the scheduler up for as long as it takes to count their minutes.
#[cfg(feature = "cron")]
pub(super) const MISSED_AT_ONCE_MAX: u64 = 1_000;

#[cfg(feature = "cron")]
fn take_from_calendar(at: SystemTime, cron: &Cron, now: SystemTime) -> Taken {
    let (mut slot, mut missed, mut next) = (at, 0, cron.next_after(at));
    while let Some(passed) = next.filter(|next| *next <= now) {
        missed += 1;
        if missed == MISSED_AT_ONCE_MAX {
            (slot, next) = (now, cron.next_after(now));
            break;
        }
        (slot, next) = (passed, cron.next_after(passed));
    }
    Taken { slot: Slot::Wall(slot), missed, next: next.map(Slot::Wall) }
}

/// `Duration::from_nanos` for more than 64 bits of them.
fn nanos(nanos: u128) -> Duration {
    const PER_SECOND: u128 = 1_000_000_000;
    let seconds = u64::try_from(nanos / PER_SECOND).unwrap_or(u64::MAX);
    let rest = u32::try_from(nanos % PER_SECOND).unwrap_or(0);
    Duration::new(seconds, rest)
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    const fn secs(secs: u64) -> Duration {
        Duration::from_secs(secs)
    }

    #[test]
    fn a_grid_keeps_its_phase_however_late_the_run() {
        let start = Instant::now();
        for (late, missed, slot, next) in
            [(0, 0, 0, 10), (9, 0, 0, 10), (10, 1, 10, 20), (35, 3, 30, 40)]
        {
            let taken = take_from_grid(start, secs(10), start + secs(late));
            let at = |offset| Slot::Monotonic(start + secs(offset));
            let expected = Taken { slot: at(slot), missed, next: Some(at(next)) };
            assert_eq!(taken, expected, "{late} s late");
        }
    }

    #[test]
    fn what_lies_beyond_the_end_of_time_is_never() {
        let now = Now { monotonic: Instant::now(), wall: SystemTime::now() };
        assert_eq!(Timetable::Once.first(Duration::MAX, now), None);
        let taken = take_from_grid(now.monotonic, Duration::MAX, now.monotonic);
        assert_eq!(taken.next, None);
    }
}
