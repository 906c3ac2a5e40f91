//! A thread of the pool: takes jobs and runs them until it is told to end.
//!
//! A panic of a job goes no further than here. The thread knows whose it is, so that a job which
//! waits for its own pool is noticed.

use std::cell::Cell;
use std::sync::Arc;

use crate::contained::{self, Outcome};
use crate::nice;
use crate::primitive::thread_local;
use crate::queue::Job;
use crate::shared::Shared;
use crate::slack;
use crate::sleeper::Sleeper;
use crate::times::Moment;

/// How a new thread comes to the pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Arrival {
    /// For work that waits: it is the one under way.
    Called,
    /// To stay. It is in the roster as idle.
    Enlisted,
}

/// A job that a thread has taken.
pub(crate) struct Taken {
    pub(crate) job: Job,
    pub(crate) submitted: Moment,
    pub(crate) started: Moment,
}

/// A job that a thread has run.
pub(crate) struct Ended {
    pub(crate) outcome: Outcome,
    pub(crate) submitted: Moment,
    pub(crate) started: Moment,
}

impl Taken {
    pub(crate) fn run(self) -> Ended {
        let Taken { job, submitted, started } = self;
        Ended { outcome: contained::run(job), submitted, started }
    }
}

pub(crate) fn run(shared: &Arc<Shared>, me: &Arc<Sleeper>, arrival: Arrival) {
    EMPLOYMENT.with(|employment| employment.set(Employment::of(shared)));
    me.is_me();
    let settings = shared.settings();
    if nice::raise_own(settings.nice).is_err() {
        shared.nice_failed();
    }
    if let Some(slack) = settings.timer_slack {
        slack::set_own(slack);
    }
    shared.run_hook(&settings.on_thread_start);
    let mut next = shared.first_job(me, arrival);
    while let Some(taken) = next {
        next = shared.next_job(me, taken.run());
    }
}

/// Which pool the current thread belongs to, and whether it waits, or waited, for the pool's
/// end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Employment {
    /// Address of the pool's [`Shared`], 0 on threads of no pool. Only compared: a thread keeps its
    /// pool alive, so no other pool can have the same.
    pool: usize,
    excused: bool,
}

impl Employment {
    const NONE: Employment = Employment { pool: 0, excused: false };

    fn of(shared: &Arc<Shared>) -> Self {
        Employment { pool: Arc::as_ptr(shared).addr(), excused: false }
    }
}

thread_local! {
    // loom's macro knows no `const` initialiser.
    #[allow(clippy::missing_const_for_thread_local)]
    static EMPLOYMENT: Cell<Employment> = Cell::new(Employment::NONE);
}

/// Who waits for a pool's end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Caller {
    /// A thread that is none of the pool's.
    Outside,
    /// One of the pool's, in a job, for the first time.
    Excused,
    /// The same, and not for the first time.
    ExcusedBefore,
}

/// Notes that the current thread waits for the end of `shared`'s pool.
pub(crate) fn excuse(shared: &Arc<Shared>) -> Caller {
    EMPLOYMENT.with(|employment| {
        let Employment { pool, excused } = employment.get();
        if pool != Employment::of(shared).pool {
            Caller::Outside
        } else if excused {
            Caller::ExcusedBefore
        } else {
            employment.set(Employment { pool, excused: true });
            Caller::Excused
        }
    })
}

/// Whether the current thread is one of a pool's.
pub(crate) fn is_of_a_pool() -> bool {
    EMPLOYMENT.with(|employment| employment.get().pool != 0)
}

/// Whether the current thread is one of `shared`'s pool.
pub(crate) fn belongs_to(shared: &Arc<Shared>) -> bool {
    EMPLOYMENT.with(|employment| employment.get().pool == Employment::of(shared).pool)
}

/// Whether the current thread, one of a pool's, was excused.
pub(crate) fn is_excused() -> bool {
    EMPLOYMENT.with(|employment| employment.get().excused)
}
