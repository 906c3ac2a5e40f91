//! What is due when: the scheduler's state machine, without clock, thread or job.
//!
//! It is told what happens, and the time on both clocks, and says which jobs start and when it wants
//! to be asked again. Called by the driver, under its lock. The rules it keeps stand in `README.md`
//! beside this file; its tests are in `tests/plan.rs`.

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant, SystemTime};

use super::agenda::{Agenda, Cause, JobId};
use super::jitter::Random;
use super::timetable::{Now, Slot, Timetable};

/// Whether a job may start while a run of it goes on.
///
/// ```
/// use std::time::Duration;
/// use threadline_pool::{ThreadPool, schedule::{Every, Overlap, Scheduler}};
///
/// let pool = ThreadPool::builder().build()?;
/// let scheduler = Scheduler::new(&pool)?;
/// let probe = scheduler.job("probe").overlap(Overlap::Allowed);
/// probe.every(Every::fixed_rate(Duration::from_secs(1)), || ())?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Overlap {
    /// It waits for the run to end, and starts late, or misses it. The default.
    #[default]
    Never,
    /// It starts at once. If runs last longer than the period, ever more of them go on at the same
    /// time; the pool's bounds are the only limit then, and what it rejects is not run.
    Allowed,
}

/// All that the plan needs to know of a job.
#[derive(Debug, Clone)]
pub(super) struct Spec {
    pub(super) timetable: Timetable,
    /// Until the first run. Calendars have no use for it.
    pub(super) first_after: Duration,
    /// Each run comes late by a random time up to this.
    pub(super) jitter: Duration,
    pub(super) overlap: Overlap,
}

/// A job to start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Due {
    pub(super) id: JobId,
    /// Runs that it should have had before and did not.
    pub(super) missed: u64,
}

/// How a run ended, as far as the plan goes by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ending {
    /// It ran, or never will.
    Done,
    /// The pool had no room for it. It may have some later.
    NoRoom,
}

/// What a run's end means for its job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Remains {
    Job,
    /// It was there for one run, or was removed: the plan knows it no more.
    Nothing,
}

/// A job that is due only once and finds no room in the pool comes again after this: soon enough for
/// people, and seldom enough for a pool in trouble.
pub(super) const RETRY_AFTER: Duration = Duration::from_secs(1);

/// A step back of the wall clock up to this is waited out: calendar jobs begin again where they had
/// got to. Beyond, the clock is taken to have been wrong, and the plan begins anew. As cron(8) has
/// it.
pub(super) const STEP_BACK_MAX: Duration = Duration::from_secs(3 * 60 * 60);

#[derive(Debug)]
struct Entry {
    spec: Spec,
    /// The next slot. None while it is not known (a fixed delay counts from a run's end) and when
    /// there is none any more.
    slot: Option<Slot>,
    /// How late the next run comes: drawn together with `slot`.
    jitter: Duration,
    /// The slot that the latest run by timetable was for.
    last: Option<Slot>,
    running: usize,
    paused: bool,
    /// Somebody asked for a run that has not started.
    requested: bool,
    /// Where the job stands in the agenda: kept by [`Entry::line_up`] alone.
    lined_up: Option<Slot>,
}

pub(super) struct Plan {
    entries: HashMap<JobId, Entry>,
    agenda: Agenda,
    random: Random,
    /// The latest time of day seen since the plan began, or began anew.
    wall_latest: Option<SystemTime>,
}

impl Plan {
    pub(super) fn new(seed: u64) -> Self {
        Plan {
            entries: HashMap::new(),
            agenda: Agenda::default(),
            random: Random::new(seed),
            wall_latest: None,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn add(&mut self, id: JobId, spec: Spec, now: Now) {
        self.follow_wall(now);
        let slot = spec.timetable.first(spec.first_after, now);
        let jitter = self.random.up_to(spec.jitter);
        let mut entry = Entry {
            spec,
            slot,
            jitter,
            last: None,
            running: 0,
            paused: false,
            requested: false,
            lined_up: None,
        };
        entry.line_up(id, &mut self.agenda);
        self.entries.insert(id, entry);
    }

    /// False if there is no such job. A run that goes on is not the plan's concern any more.
    pub(super) fn remove(&mut self, id: JobId) -> bool {
        let Some(mut entry) = self.entries.remove(&id) else { return false };
        entry.leave(id, &mut self.agenda);
        true
    }

    /// Stops the timetable, not a run. False if there is no such job.
    pub(super) fn pause(&mut self, id: JobId) -> bool {
        self.change(id, |entry, _| entry.paused = true)
    }

    /// False if there is no such job.
    pub(super) fn resume(&mut self, id: JobId, now: Now) -> bool {
        self.change(id, |entry, random| {
            if std::mem::take(&mut entry.paused) {
                let now = now.earlier(entry.jitter);
                let next = entry.slot.and_then(|slot| entry.spec.timetable.resume(slot, now));
                if next != entry.slot {
                    entry.set_slot(next, random);
                }
            }
        })
    }

    /// Asks for a run beside the timetable. False if there is no such job.
    pub(super) fn run_now(&mut self, id: JobId) -> bool {
        self.change(id, |entry, _| entry.requested = true)
    }

    /// Starts what is due: counts each as running and adds it to `due`. Returns how many jobs were given
    /// up, because their timetables panicked: a bug there must not cost the other jobs.
    pub(super) fn poll(&mut self, now: Now, due: &mut Vec<Due>) -> u64 {
        self.follow_wall(now);
        let mut given_up = 0;
        while let Some((id, cause)) = self.agenda.first_due(now) {
            let mut missed = 0;
            let start = |entry: &mut Entry, random: &mut Random| {
                missed = entry.start(cause, now, random);
            };
            match catch_unwind(AssertUnwindSafe(|| self.change(id, start))) {
                Ok(known) => {
                    debug_assert!(known, "who stands in the agenda is in the plan");
                    due.push(Due { id, missed });
                }
                Err(_) => {
                    given_up += 1;
                    self.change(id, |entry, _| (entry.slot, entry.requested) = (None, false));
                }
            }
        }
        given_up
    }

    /// When to poll again, in monotonic time. None: not before something changes.
    pub(super) fn next_wake(&self, now: Now) -> Option<Instant> {
        self.agenda.next_wake(now)
    }

    /// A run that `poll` started has ended.
    pub(super) fn ended(&mut self, id: JobId, ending: Ending, now: Now) -> Remains {
        let known = self.change(id, |entry, random| entry.end(ending, now, random));
        let is_over = |entry: &Entry| entry.spec.timetable.is_once() && entry.slot.is_none();
        if !known {
            Remains::Nothing
        } else if self.entries.get(&id).is_some_and(is_over) {
            self.remove(id);
            Remains::Nothing
        } else {
            Remains::Job
        }
    }

    /// How long until the job is due by its timetable; zero if it waits for a run to end. None if
    /// it is paused, or that is not known yet, or will not be.
    pub(super) fn next_in(&self, id: JobId, now: Now) -> Option<Duration> {
        let entry = self.entries.get(&id).filter(|entry| !entry.paused)?;
        Some(entry.due()?.time_left(now))
    }

    pub(super) fn is_paused(&self, id: JobId) -> bool {
        self.entries.get(&id).is_some_and(|entry| entry.paused)
    }

    fn change(&mut self, id: JobId, change: impl FnOnce(&mut Entry, &mut Random)) -> bool {
        let Some(entry) = self.entries.get_mut(&id) else { return false };
        change(entry, &mut self.random);
        entry.line_up(id, &mut self.agenda);
        true
    }

    /// Steps of the wall clock. One forward needs nothing: what it passed is due. After one back,
    /// slots that have passed stay passed, unless it goes too far back to wait it out.
    fn follow_wall(&mut self, now: Now) {
        let latest = self.wall_latest.map_or(now.wall, |latest| latest.max(now.wall));
        let set_back = latest.duration_since(now.wall).unwrap_or_default();
        if set_back <= STEP_BACK_MAX {
            self.wall_latest = Some(latest);
            return;
        }
        self.wall_latest = Some(now.wall);
        for (id, entry) in &mut self.entries {
            let next = entry.spec.timetable.begin_anew(entry.last, now);
            if next.is_some() {
                entry.set_slot(next, &mut self.random);
                entry.line_up(*id, &mut self.agenda);
            }
        }
    }
}

impl Entry {
    /// Returns how many runs were missed before this one.
    fn start(&mut self, cause: Cause, now: Now, random: &mut Random) -> u64 {
        let slot = self.slot.filter(|_| cause == Cause::Due);
        // As late as the jitter made it is not late. First, for if it panics nothing has started.
        let taken = slot.map(|slot| self.spec.timetable.take(slot, now.earlier(self.jitter)));
        self.running += 1;
        // Whoever asked for a run gets this one.
        self.requested = false;
        let Some(taken) = taken else {
            if self.spec.timetable.is_met_by_any_run() {
                self.slot = None;
            }
            return 0;
        };
        self.last = Some(taken.slot);
        self.set_slot(taken.next, random);
        taken.missed
    }

    fn end(&mut self, ending: Ending, now: Now, random: &mut Random) {
        self.running -= 1;
        if self.slot.is_some() {
            return;
        }
        if ending == Ending::NoRoom && self.spec.timetable.is_once() {
            self.slot = Slot::Monotonic(now.monotonic).later(RETRY_AFTER);
            self.jitter = Duration::ZERO;
        } else {
            self.set_slot(self.spec.timetable.after_run(now), random);
        }
    }

    fn set_slot(&mut self, slot: Option<Slot>, random: &mut Random) {
        self.slot = slot;
        self.jitter = random.up_to(self.spec.jitter);
    }

    fn due(&self) -> Option<Slot> {
        self.slot?.later(self.jitter)
    }

    /// Puts the job where it belongs in the agenda, after any change. A job that may not start while
    /// it runs waits outside; when it comes back, it may be overdue.
    fn line_up(&mut self, id: JobId, agenda: &mut Agenda) {
        self.leave(id, agenda);
        let may_start = self.running == 0 || self.spec.overlap == Overlap::Allowed;
        if may_start && !self.paused {
            self.lined_up = self.due();
        }
        if let Some(due) = self.lined_up {
            agenda.insert(due, id);
        }
        if may_start && self.requested {
            agenda.request(id);
        }
    }

    fn leave(&mut self, id: JobId, agenda: &mut Agenda) {
        if let Some(due) = self.lined_up.take() {
            agenda.remove(due, id);
        }
        agenda.withdraw_request(id);
    }
}

#[cfg(all(test, not(loom)))]
#[path = "tests/plan.rs"]
mod tests;
