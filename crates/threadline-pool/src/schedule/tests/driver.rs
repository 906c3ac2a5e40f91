//! A bug in the scheduler itself, played by a timetable that panics: what it costs, and what goes on.

use std::sync::mpsc;
use std::time::SystemTime;

use super::*;
use crate::schedule::timetable::Timetable;
use crate::schedule::{Every, ManualClock, Overlap, Scheduler};

const LONG: Duration = Duration::from_secs(20);
const SECOND: Duration = Duration::from_secs(1);

fn bench() -> (ManualClock, Scheduler) {
    let pool = ThreadPool::builder().threads_max(1).build().expect("a pool");
    let clock = ManualClock::at(SystemTime::UNIX_EPOCH + 24 * 3600 * SECOND);
    let scheduler = Scheduler::builder(&pool).clock(clock.clone()).build().expect("a scheduler");
    (clock, scheduler)
}

fn add_broken(scheduler: &Scheduler, first_after: Duration) -> JobHandle {
    let spec = Spec {
        timetable: Timetable::Broken,
        first_after,
        jitter: Duration::ZERO,
        overlap: Overlap::Never,
    };
    let shared = scheduler.shared();
    shared.add(None, spec, Work::often(|| (), shared.panics())).expect("room")
}

#[test]
fn a_timetable_that_panics_costs_its_own_job_alone() {
    let (clock, scheduler) = bench();
    let broken = add_broken(&scheduler, SECOND);
    let (ran, inbox) = mpsc::channel();
    let beat = move || ran.send(()).expect("a listener");
    scheduler.every(Every::fixed_rate(SECOND), beat).expect("room");
    for _ in 0..3 {
        clock.advance(SECOND);
        inbox.recv_timeout(LONG).expect("the other job goes on");
    }
    assert_eq!((scheduler.panics_contained(), broken.history().runs), (1, 0));
    assert_eq!(broken.info().next_in, None);
    assert!(scheduler.shutdown(LONG));
}

#[test]
fn a_panic_of_the_thread_does_not_end_it() {
    let (clock, scheduler) = bench();
    add_broken(&scheduler, 3600 * SECOND);
    let (ran, inbox) = mpsc::channel();
    let beat = move || ran.send(()).expect("a listener");
    scheduler.every(Every::fixed_rate(SECOND), beat).expect("room");
    // So far back that the plan begins anew, which panics.
    let began = Instant::now();
    clock.set_wall(SystemTime::UNIX_EPOCH);
    clock.advance(SECOND);
    inbox.recv_timeout(LONG).expect("after its pause the thread goes on");
    assert!(began.elapsed() >= PAUSE_AFTER_PANIC, "{:?}", began.elapsed());
    assert_eq!(scheduler.panics_contained(), 1);
    assert!(scheduler.shutdown(LONG));
}
