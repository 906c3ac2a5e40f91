//! Which job is next: due times in order, on both clocks, and the jobs that were asked to run now.
//!
//! Called by the plan only. Each job stands here at most once in each line, and leaves without a
//! trace, so that the agenda is never longer than the list of jobs.

use std::collections::BTreeSet;
use std::time::{Duration, Instant, SystemTime};

use super::timetable::{Now, Slot};

/// Numbers jobs in the order they were added; jobs due at the same moment start in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct JobId(pub(super) u64);

/// The wall clock may be set at any time, and nobody says so. While a job waits for it, it is looked
/// at this often: a step forward is noticed that much late at most, and one idle wake-up a minute
/// costs nothing worth a system call that would tell.
pub(super) const WALL_LOOK_MAX: Duration = Duration::from_secs(60);

#[derive(Debug, Default)]
pub(super) struct Agenda {
    monotonic: BTreeSet<(Instant, JobId)>,
    wall: BTreeSet<(SystemTime, JobId)>,
    requested: BTreeSet<JobId>,
}

/// Why a job starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cause {
    /// Its timetable says so.
    Due,
    /// Somebody asked for it.
    Requested,
}

impl Agenda {
    pub(super) fn insert(&mut self, due: Slot, id: JobId) {
        match due {
            Slot::Monotonic(at) => self.monotonic.insert((at, id)),
            Slot::Wall(at) => self.wall.insert((at, id)),
        };
    }

    pub(super) fn remove(&mut self, due: Slot, id: JobId) {
        match due {
            Slot::Monotonic(at) => self.monotonic.remove(&(at, id)),
            Slot::Wall(at) => self.wall.remove(&(at, id)),
        };
    }

    pub(super) fn request(&mut self, id: JobId) {
        self.requested.insert(id);
    }

    pub(super) fn withdraw_request(&mut self, id: JobId) {
        self.requested.remove(&id);
    }

    /// The next job to start now. It stays until it is removed.
    pub(super) fn first_due(&self, now: Now) -> Option<(JobId, Cause)> {
        let monotonic = self.monotonic.first().filter(|(at, _)| *at <= now.monotonic);
        let wall = || self.wall.first().filter(|(at, _)| *at <= now.wall).map(|(_, id)| id);
        if let Some(id) = monotonic.map(|(_, id)| id).or_else(wall) {
            return Some((*id, Cause::Due));
        }
        self.requested.first().map(|id| (*id, Cause::Requested))
    }

    /// When to look again, in monotonic time. None: not before something changes.
    pub(super) fn next_wake(&self, now: Now) -> Option<Instant> {
        if !self.requested.is_empty() {
            return Some(now.monotonic);
        }
        let monotonic = self.monotonic.first().map(|(at, _)| *at);
        let wall = self.wall.first().and_then(|(at, _)| {
            let left = Slot::Wall(*at).time_left(now);
            now.monotonic.checked_add(left.min(WALL_LOOK_MAX))
        });
        [monotonic, wall].into_iter().flatten().min()
    }
}
