//! The plan by a clock that the test moves: what starts when, what is missed, and when the plan
//! wants to be asked again.

use super::super::every::Pace;
use super::*;

const fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

const RATE: Timetable = Timetable::Every(Pace::FixedRate(secs(10)));
const DELAY: Timetable = Timetable::Every(Pace::FixedDelay(secs(10)));

/// A plan, and a clock that shows seconds since the test began.
struct Bench {
    plan: Plan,
    start: Now,
    now: Now,
    next_id: u64,
}

impl Bench {
    fn new() -> Self {
        let now = Now { monotonic: Instant::now(), wall: SystemTime::UNIX_EPOCH };
        Bench { plan: Plan::new(7), start: now, now, next_id: 0 }
    }

    fn add(&mut self, timetable: Timetable, first_after: u64) -> JobId {
        self.add_with(timetable, first_after, Duration::ZERO, Overlap::Never)
    }

    fn add_with(
        &mut self,
        timetable: Timetable,
        first_after: u64,
        jitter: Duration,
        overlap: Overlap,
    ) -> JobId {
        let id = JobId(self.next_id);
        self.next_id += 1;
        let spec = Spec { timetable, first_after: secs(first_after), jitter, overlap };
        self.plan.add(id, spec, self.now);
        id
    }

    /// Sets the time to `second`, and returns what starts.
    fn at(&mut self, second: u64) -> Vec<Due> {
        let on = secs(second).saturating_sub(self.now.monotonic - self.start.monotonic);
        self.now.monotonic += on;
        self.now.wall += on;
        self.poll()
    }

    fn poll(&mut self) -> Vec<Due> {
        let mut due = Vec::new();
        self.plan.poll(self.now, &mut due);
        due
    }

    /// How many runs of `id` start at `second`, and how many it missed.
    fn starts(&mut self, id: JobId, second: u64) -> (usize, u64) {
        let due = self.at(second);
        let of_job = due.iter().filter(|due| due.id == id);
        (of_job.clone().count(), of_job.map(|due| due.missed).sum())
    }

    fn end(&mut self, id: JobId) -> Remains {
        self.plan.ended(id, Ending::Done, self.now)
    }

    /// The second at which the plan wants to be asked again.
    fn wake(&self) -> Option<u64> {
        let wake = self.plan.next_wake(self.now)?;
        Some(wake.duration_since(self.start.monotonic).as_secs())
    }
}

#[test]
fn a_job_for_one_run_starts_at_its_time_and_is_gone_after() {
    let mut bench = Bench::new();
    let job = bench.add(Timetable::Once, 5);
    assert_eq!(bench.wake(), Some(5));
    assert_eq!(bench.starts(job, 4), (0, 0));
    assert_eq!(bench.starts(job, 5), (1, 0));
    assert_eq!((bench.wake(), bench.plan.len()), (None, 1));
    assert_eq!(bench.end(job), Remains::Nothing);
    assert_eq!(bench.plan.len(), 0);
}

#[test]
fn a_job_for_one_run_comes_again_if_the_pool_has_no_room() {
    let mut bench = Bench::new();
    let job = bench.add(Timetable::Once, 5);
    assert_eq!(bench.starts(job, 5), (1, 0));
    assert_eq!(bench.plan.ended(job, Ending::NoRoom, bench.now), Remains::Job);
    assert_eq!(bench.wake(), Some(6));
    assert_eq!(bench.starts(job, 6), (1, 0));
    assert_eq!(bench.end(job), Remains::Nothing);
}

#[test]
fn what_is_due_at_the_same_moment_starts_in_the_order_it_was_added() {
    let mut bench = Bench::new();
    let ids: Vec<_> = [9, 5, 5, 5].map(|second| bench.add(Timetable::Once, second)).into();
    let started: Vec<_> = bench.at(9).into_iter().map(|due| due.id).collect();
    assert_eq!(started, [ids[1], ids[2], ids[3], ids[0]]);
}

#[test]
fn a_fixed_rate_keeps_its_grid_when_runs_take_time() {
    let mut bench = Bench::new();
    let job = bench.add(RATE, 10);
    for slot in [10, 20, 30] {
        assert_eq!(bench.starts(job, slot), (1, 0));
        bench.at(slot + 3);
        assert_eq!(bench.end(job), Remains::Job);
        assert_eq!(bench.wake(), Some(slot + 10));
    }
}

#[test]
fn a_fixed_delay_counts_from_the_end_of_the_run() {
    let mut bench = Bench::new();
    let job = bench.add(DELAY, 0);
    assert_eq!(bench.starts(job, 0), (1, 0));
    assert_eq!(bench.wake(), None);
    assert_eq!(bench.starts(job, 25), (0, 0));
    bench.end(job);
    assert_eq!(bench.wake(), Some(35));
    assert_eq!(bench.starts(job, 35), (1, 0));
}

#[test]
fn a_run_that_outlasts_its_period_makes_one_late_run_and_the_rest_are_missed() {
    let mut bench = Bench::new();
    let job = bench.add(RATE, 10);
    assert_eq!(bench.starts(job, 10), (1, 0));
    // 20, 30 and 40 pass; nothing is to be done meanwhile.
    assert_eq!((bench.starts(job, 45), bench.wake()), ((0, 0), None));
    bench.end(job);
    assert_eq!(bench.starts(job, 45), (1, 2), "for 40, late; 20 and 30 are missed");
    bench.end(job);
    assert_eq!(bench.wake(), Some(50), "the grid stays");
}

#[test]
fn a_scheduler_that_comes_late_makes_up_for_one_run() {
    let mut bench = Bench::new();
    let job = bench.add(RATE, 10);
    assert_eq!(bench.starts(job, 39), (1, 2));
    bench.end(job);
    assert_eq!(bench.starts(job, 40), (1, 0));
}

#[test]
fn with_overlap_allowed_runs_start_at_their_time_however_many_go_on() {
    let mut bench = Bench::new();
    let job = bench.add_with(RATE, 10, Duration::ZERO, Overlap::Allowed);
    for slot in [10, 20, 30] {
        assert_eq!(bench.starts(job, slot), (1, 0));
    }
    for _ in 0..3 {
        assert_eq!(bench.end(job), Remains::Job);
    }
    assert_eq!(bench.starts(job, 40), (1, 0));
}

#[test]
fn jitter_delays_each_start_within_its_bound_and_leaves_the_grid_alone() {
    let mut bench = Bench::new();
    let job = bench.add_with(RATE, 10, secs(9), Overlap::Never);
    let mut delays = Vec::new();
    for slot in (10..=500).step_by(10) {
        assert_eq!(bench.starts(job, slot - 1), (0, 0));
        let wake = bench.plan.next_wake(bench.now).expect("it goes on");
        let second = wake.duration_since(bench.start.monotonic);
        assert!((secs(slot)..=secs(slot + 9)).contains(&second), "{second:?} for {slot}");
        bench.now.wall += wake - bench.now.monotonic;
        bench.now.monotonic = wake;
        assert_eq!(bench.poll(), [Due { id: job, missed: 0 }]);
        bench.end(job);
        delays.push(second - secs(slot));
    }
    delays.sort_unstable();
    assert!(delays[0] < secs(3) && delays[49] > secs(6), "they differ: {delays:?}");
}

#[test]
fn a_paused_job_does_not_start_and_goes_on_with_the_grid() {
    let mut bench = Bench::new();
    let job = bench.add(RATE, 10);
    assert!(bench.plan.pause(job));
    assert_eq!((bench.starts(job, 25), bench.wake()), ((0, 0), None));
    assert!(bench.plan.resume(job, bench.now));
    assert_eq!(bench.wake(), Some(30));
    assert_eq!(bench.starts(job, 30), (1, 0), "what passed in the pause is not missed");
    assert!(bench.plan.pause(job), "while it runs");
    bench.end(job);
    assert_eq!(bench.starts(job, 45), (0, 0));
    assert!(bench.plan.resume(job, bench.now));
    assert!(bench.plan.resume(job, bench.now), "again: nothing changes");
    assert_eq!(bench.starts(job, 50), (1, 0));
}

#[test]
fn a_pause_that_ends_before_the_jitter_does_costs_no_run() {
    let mut bench = Bench::new();
    let job = bench.add_with(RATE, 10, secs(9), Overlap::Never);
    let due = bench.plan.next_in(job, bench.now).expect("it is due");
    assert!(due > secs(10), "the seed of this bench draws some jitter: {due:?}");
    assert_eq!(bench.starts(job, 10), (0, 0));
    bench.plan.pause(job);
    bench.plan.resume(job, bench.now);
    assert_eq!(bench.plan.next_in(job, bench.now), Some(due - secs(10)));
}

#[test]
fn what_is_due_once_comes_when_its_pause_ends() {
    let mut bench = Bench::new();
    let (once, delay) = (bench.add(Timetable::Once, 5), bench.add(DELAY, 5));
    for job in [once, delay] {
        bench.plan.pause(job);
    }
    assert_eq!(bench.at(60), []);
    for job in [once, delay] {
        bench.plan.resume(job, bench.now);
    }
    assert_eq!(bench.at(60).len(), 2);
}

#[test]
fn a_run_that_is_asked_for_does_not_move_the_grid() {
    let mut bench = Bench::new();
    let job = bench.add(RATE, 10);
    bench.at(4);
    assert!(bench.plan.run_now(job));
    assert!(bench.plan.run_now(job), "the same run");
    assert_eq!(bench.wake(), Some(4));
    assert_eq!(bench.starts(job, 4), (1, 0));
    bench.end(job);
    assert_eq!((bench.starts(job, 9), bench.wake()), ((0, 0), Some(10)));
}

#[test]
fn a_run_that_is_asked_for_waits_for_the_one_that_goes_on() {
    let mut bench = Bench::new();
    let job = bench.add(RATE, 10);
    assert_eq!(bench.starts(job, 10), (1, 0));
    assert!(bench.plan.run_now(job));
    assert_eq!((bench.starts(job, 11), bench.wake()), ((0, 0), None));
    bench.end(job);
    assert_eq!(bench.starts(job, 12), (1, 0));
    bench.end(job);
    assert_eq!(bench.wake(), Some(20));
}

#[test]
fn a_run_that_is_asked_for_comes_in_a_pause_too() {
    let mut bench = Bench::new();
    let job = bench.add(RATE, 10);
    bench.plan.pause(job);
    bench.plan.run_now(job);
    assert_eq!(bench.starts(job, 1), (1, 0));
    bench.end(job);
    assert_eq!(bench.starts(job, 60), (0, 0));
}

#[test]
fn a_run_that_is_asked_for_stands_for_the_one_run_and_restarts_a_delay() {
    let mut bench = Bench::new();
    let (once, delay) = (bench.add(Timetable::Once, 50), bench.add(DELAY, 10));
    bench.plan.run_now(once);
    bench.plan.run_now(delay);
    assert_eq!(bench.at(7).len(), 2);
    assert_eq!((bench.end(once), bench.end(delay)), (Remains::Nothing, Remains::Job));
    assert_eq!(bench.wake(), Some(17));
    assert_eq!(bench.starts(once, 60), (0, 0));
}

#[test]
fn a_job_removed_while_it_runs_is_gone_at_once() {
    let mut bench = Bench::new();
    let job = bench.add(RATE, 10);
    assert_eq!(bench.starts(job, 10), (1, 0));
    bench.plan.run_now(job);
    assert!(bench.plan.remove(job));
    assert_eq!(bench.end(job), Remains::Nothing);
    assert_eq!((bench.at(100), bench.wake()), (vec![], None));
    assert!(!bench.plan.remove(job) && !bench.plan.pause(job) && !bench.plan.run_now(job));
}

/// A bug in a timetable costs its own job and no other.
#[test]
fn a_timetable_that_panics_is_given_up() {
    let mut bench = Bench::new();
    let (broken, job) = (bench.add(Timetable::Broken, 5), bench.add(RATE, 5));
    bench.at(4);
    bench.now.monotonic += secs(1);
    let mut due = Vec::new();
    assert_eq!(bench.plan.poll(bench.now, &mut due), 1);
    assert_eq!(due, [Due { id: job, missed: 0 }]);
    bench.end(job);
    assert_eq!((bench.plan.next_in(broken, bench.now), bench.wake()), (None, Some(15)));
    assert_eq!(bench.plan.poll(bench.now, &mut due), 0);
    // It is there still, and runs when it is asked to.
    bench.plan.run_now(broken);
    assert_eq!(bench.starts(broken, 6), (1, 0));
    assert_eq!(bench.end(broken), Remains::Job);
}

#[test]
fn what_passed_in_a_pause_is_skipped_even_if_nothing_follows() {
    let mut bench = Bench::new();
    let spec = Spec {
        timetable: Timetable::Every(Pace::FixedRate(Duration::MAX)),
        first_after: secs(5),
        jitter: Duration::ZERO,
        overlap: Overlap::Never,
    };
    bench.plan.add(JobId(9), spec, bench.now);
    bench.plan.pause(JobId(9));
    bench.at(6);
    bench.plan.resume(JobId(9), bench.now);
    assert_eq!((bench.at(7), bench.wake()), (vec![], None));
}

#[test]
fn a_time_beyond_the_end_of_time_never_comes() {
    let mut bench = Bench::new();
    let spec = Spec {
        timetable: Timetable::Once,
        first_after: Duration::MAX,
        jitter: Duration::ZERO,
        overlap: Overlap::Never,
    };
    bench.plan.add(JobId(9), spec, bench.now);
    assert_eq!(bench.wake(), None);
    assert_eq!(bench.plan.next_in(JobId(9), bench.now), None);
    bench.plan.run_now(JobId(9));
    assert_eq!(bench.at(1).len(), 1);
    assert_eq!(bench.end(JobId(9)), Remains::Nothing);
}

#[test]
fn a_step_of_the_wall_clock_does_not_move_delays_and_periods() {
    let mut bench = Bench::new();
    let job = bench.add(RATE, 10);
    bench.now.wall += secs(86_400);
    assert_eq!((bench.poll(), bench.wake()), (vec![], Some(10)));
    bench.now.wall = SystemTime::UNIX_EPOCH - secs(86_400);
    assert_eq!((bench.poll(), bench.wake()), (vec![], Some(10)));
    assert_eq!(bench.starts(job, 10), (1, 0));
}

#[cfg(feature = "cron")]
mod calendar {
    use super::super::super::Cron;
    use super::super::super::agenda::WALL_LOOK_MAX;
    use super::super::super::timetable::MISSED_AT_ONCE_MAX;
    use super::*;

    const MINUTE: u64 = 60;
    const HOUR: u64 = 3600;

    /// The bench's wall clock starts at midnight of 1 January 1970, UTC.
    fn add(bench: &mut Bench, expression: &str) -> JobId {
        let cron = Cron::parse(expression, "UTC").expect("a cron expression");
        bench.add(Timetable::Cron(cron), 0)
    }

    /// The wall clock is set, and no time passes.
    fn set_wall(bench: &mut Bench, second: u64) {
        bench.now.wall = SystemTime::UNIX_EPOCH + secs(second);
    }

    /// Lets an hour or so pass, minute by minute, and returns the times of day at which `job` ran.
    fn run_for(bench: &mut Bench, job: JobId, minutes: u64) -> Vec<u64> {
        let mut ran = Vec::new();
        for _ in 0..minutes {
            bench.now.monotonic += secs(MINUTE);
            bench.now.wall += secs(MINUTE);
            for due in bench.poll() {
                assert_eq!((due.id, due.missed), (job, 0));
                let at = bench.now.wall.duration_since(SystemTime::UNIX_EPOCH).expect("later");
                ran.push(at.as_secs() / MINUTE);
                bench.end(job);
            }
        }
        ran
    }

    #[test]
    fn the_wall_clock_is_looked_at_once_a_minute_at_least() {
        let mut bench = Bench::new();
        let job = add(&mut bench, "0 1 * * *");
        assert_eq!(bench.wake(), Some(WALL_LOOK_MAX.as_secs()));
        assert_eq!(bench.starts(job, HOUR - 10), (0, 0));
        assert_eq!(bench.wake(), Some(HOUR));
        assert_eq!(bench.starts(job, HOUR), (1, 0));
    }

    #[test]
    fn a_step_forward_runs_a_skipped_job_once() {
        let mut bench = Bench::new();
        let (hourly, daily) = (add(&mut bench, "0 * * * *"), add(&mut bench, "0 12 * * *"));
        set_wall(&mut bench, 5 * HOUR + 7);
        let due = bench.poll();
        assert_eq!(due, [Due { id: hourly, missed: 4 }]);
        bench.end(hourly);
        assert_eq!(bench.poll(), []);
        set_wall(&mut bench, 12 * HOUR);
        assert_eq!(bench.poll().len(), 2);
        assert_eq!(bench.plan.next_in(daily, bench.now), Some(secs(24 * HOUR)));
    }

    #[test]
    fn a_leap_by_years_is_counted_up_to_a_bound() {
        let mut bench = Bench::new();
        let job = add(&mut bench, "* * * * *");
        set_wall(&mut bench, 50 * 365 * 24 * HOUR + 30);
        assert_eq!(bench.poll(), [Due { id: job, missed: MISSED_AT_ONCE_MAX }]);
        bench.end(job);
        assert_eq!(bench.plan.next_in(job, bench.now), Some(secs(30)));
    }

    #[test]
    fn a_step_back_runs_nothing_twice() {
        let mut bench = Bench::new();
        let job = add(&mut bench, "*/10 * * * *");
        assert_eq!(run_for(&mut bench, job, 60), [10, 20, 30, 40, 50, 60]);
        set_wall(&mut bench, 15 * MINUTE);
        assert_eq!(run_for(&mut bench, job, 60), [70], "what had passed has passed");
        // Step by step, and never far enough to begin anew.
        for _ in 0..4 {
            set_wall(&mut bench, 35 * MINUTE);
            assert_eq!(run_for(&mut bench, job, 30), []);
        }
        assert_eq!(run_for(&mut bench, job, 20), [80]);
    }

    #[test]
    fn a_step_back_by_more_than_three_hours_begins_anew() {
        let mut bench = Bench::new();
        let job = add(&mut bench, "0 * * * *");
        let hours = |hours: &[u64]| hours.iter().map(|hour| hour * 60).collect::<Vec<_>>();
        assert_eq!(run_for(&mut bench, job, 5 * 60), hours(&[1, 2, 3, 4, 5]));
        set_wall(&mut bench, 2 * HOUR);
        assert_eq!(run_for(&mut bench, job, 3 * 60), [], "three hours are waited out");
        set_wall(&mut bench, 2 * HOUR - 1);
        assert_eq!(bench.poll(), []);
        assert_eq!(run_for(&mut bench, job, 3 * 60), hours(&[2, 3, 4]));
    }

    #[test]
    fn small_steps_back_add_up() {
        let mut bench = Bench::new();
        let job = add(&mut bench, "0 * * * *");
        run_for(&mut bench, job, 10 * 60);
        for hour in [8, 6] {
            set_wall(&mut bench, hour * HOUR);
            assert_eq!(bench.poll(), []);
        }
        assert_eq!(run_for(&mut bench, job, 60), [7 * 60]);
    }

    #[test]
    fn even_a_plan_that_begins_anew_does_not_repeat_its_latest_run() {
        let mut bench = Bench::new();
        let job = add(&mut bench, "0 12 * * *");
        set_wall(&mut bench, 20 * HOUR);
        assert_eq!(bench.poll(), [Due { id: job, missed: 0 }]);
        bench.end(job);
        set_wall(&mut bench, 10 * HOUR);
        assert_eq!(run_for(&mut bench, job, 30 * 60), [36 * 60]);
    }

    #[test]
    fn a_calendar_goes_on_after_a_pause_without_making_up() {
        let mut bench = Bench::new();
        let job = add(&mut bench, "0 * * * *");
        bench.plan.pause(job);
        assert_eq!((bench.starts(job, 5 * HOUR + 5), bench.wake()), ((0, 0), None));
        bench.plan.resume(job, bench.now);
        assert_eq!(bench.poll(), []);
        assert_eq!(bench.starts(job, 6 * HOUR), (1, 0));
    }

    /// The plan and daylight saving together: the night of 31 March 2024 in Berlin, in which 2:30
    /// does not exist, and that of 27 October, in which it does twice.
    #[test]
    fn a_nightly_job_runs_once_in_each_night_of_a_change() {
        for midnight in [1_711_839_600, 1_729_980_000] {
            let mut bench = Bench::new();
            set_wall(&mut bench, midnight);
            let cron = Cron::parse("30 2 * * *", "Europe/Berlin").expect("a cron expression");
            let job = bench.add(Timetable::Cron(cron), 0);
            assert_eq!(run_for(&mut bench, job, 20 * 60).len(), 1);
        }
    }
}
