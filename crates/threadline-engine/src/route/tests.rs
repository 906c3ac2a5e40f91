//! Tests of proving and demotion: streaks, verdicts and tallies.

use std::time::Duration;

use super::tally::{Counts, WINDOW};
use super::trial::{Slowness, Usage, judge};
use super::*;
use crate::sys::ThreadUsage;
use crate::workers::{Admission, Errand, Permit};

const BLOCKED: Verdict = Verdict::Slow(Slowness::Blocked);
const COMPUTED: Verdict = Verdict::Slow(Slowness::Computed);
const SLOW: Verdict = Verdict::Slow(Slowness::Unknown);

fn proven(streak: u32) -> Arc<Route> {
    let route = Route::new("test");
    (0..streak).for_each(|_| route.prove(Verdict::Fast, streak));
    assert!(route.is_proven());
    route
}

#[test]
fn a_streak_of_fast_calls_proves_a_route_and_a_slow_one_breaks_it() {
    let route = Route::new("test");
    (0..31).for_each(|_| route.prove(Verdict::Fast, 32));
    route.prove(SLOW, 32);
    (0..31).for_each(|_| route.prove(Verdict::Fast, 32));
    assert!(!route.is_proven());
    route.prove(Verdict::Unclear, 32);
    assert!(!route.is_proven());
    route.prove(Verdict::Fast, 32);
    assert!(route.is_proven());
}

#[test]
fn stalls_in_a_row_demote_and_the_next_proof_is_longer() {
    let (route, mut tally) = (proven(32), Tally::default());
    let mut stalls = 0;
    while route.is_proven() {
        tally.count(&route);
        tally.stalled(&route, 32);
        stalls += 1;
    }
    assert_eq!(stalls, 3);
    (0..63).for_each(|_| route.prove(Verdict::Fast, 32));
    assert!(!route.is_proven());
    route.prove(Verdict::Fast, 32);
    assert!(route.is_proven());
}

#[test]
fn a_number_is_given_back_and_what_was_counted_under_it_is_not() {
    let mut tally = Tally::default();
    let route = proven(32);
    let number = route.number();
    assert!(by_number(number).is_some_and(|found| Arc::ptr_eq(&found, &route)));
    tally.stalled(&route, 32);
    assert_eq!(tally.counts(&route).stalls, 1);
    drop(route);
    // Other tests make routes, too: one of the next has the number.
    let mut others = Vec::new();
    let next = loop {
        let route = Route::new("next");
        if route.number() == number {
            break route;
        }
        others.push(route);
        assert!(others.len() < 10_000, "the number was not given back");
    };
    assert!(by_number(number).is_some_and(|found| Arc::ptr_eq(&found, &next)));
    assert_eq!((tally.counts(&next).stalls, tally.counts(&next).calls), (0, 0));
}

#[test]
fn one_stall_in_a_hundred_calls_does_not_demote() {
    let (route, mut tally) = (proven(32), Tally::default());
    for call in 0..100_000 {
        tally.count(&route);
        if call % 100 == 0 {
            tally.stalled(&route, 32);
        }
    }
    assert!(route.is_proven());
    assert_eq!(route.stalls(), 1_000);
}

#[test]
fn one_stall_in_three_calls_demotes() {
    let (route, mut tally) = (proven(32), Tally::default());
    for call in 0..60 {
        tally.count(&route);
        if call % 3 == 0 {
            tally.stalled(&route, 32);
        }
    }
    assert!(!route.is_proven());
}

#[test]
fn hints_are_taken_at_their_word() {
    assert_eq!(Route::with_hint("fast", Hint::Inline).class(), Class::Proven);
    for (hint, class) in [(Hint::Blocking, Class::Blocking), (Hint::Computing, Class::Computing)] {
        let route = Route::with_hint("slow", hint);
        for verdict in [Verdict::Fast, BLOCKED, COMPUTED] {
            (0..1000).for_each(|_| route.prove(verdict, 32));
            route.classify(Class::Unclassified);
            assert_eq!(route.class(), class, "after {verdict:?}");
        }
    }
}

#[test]
fn eight_slow_calls_of_a_kind_classify_a_route_by_what_they_did() {
    for (verdict, class) in
        [(BLOCKED, Class::Blocking), (COMPUTED, Class::Computing), (SLOW, Class::Blocking)]
    {
        let route = Route::new("slow");
        for _ in 0..7 {
            route.prove(verdict, 32);
            route.prove(Verdict::Fast, 32);
            route.prove(Verdict::Unclear, 32);
            assert_eq!(route.class(), Class::Unclassified, "they may have been its first calls");
        }
        route.prove(verdict, 32);
        assert_eq!(route.class(), class);
    }
}

/// What waits for the trials of a route.
struct Waits(Arc<AtomicU64>);

impl Errand for Waits {
    fn run(self: Box<Self>, permit: Permit) -> Option<Permit> {
        Some(permit)
    }

    fn start(self: Box<Self>, permit: Permit) -> Result<(), Permit> {
        Err(permit)
    }

    fn send_back(self: Box<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// A route with two trials and one call that waits for them; how many calls were sent back.
fn wanted() -> (Arc<Route>, [Permit; 2], Arc<AtomicU64>) {
    let (route, sent_back) = (Route::new("wanted"), Arc::default());
    let trials = route.trials();
    let permits = [(); 2].map(|()| trials.try_enter().expect("a place"));
    let errand = Box::new(Waits(Arc::clone(&sent_back)));
    assert!(matches!(trials.enter(errand, || true), Admission::Waits(_)));
    (route, permits, sent_back)
}

#[test]
fn slow_calls_of_the_other_kind_do_not_classify_a_route() {
    let (route, _permits, sent_back) = wanted();
    // They wait for what the others compute.
    for _ in 0..7 {
        route.prove(BLOCKED, 32);
        route.prove(COMPUTED, 32);
    }
    assert_eq!((route.class(), sent_back.load(Ordering::Relaxed)), (Class::Unclassified, 0));
    route.prove(COMPUTED, 32);
    assert_eq!((route.class(), sent_back.load(Ordering::Relaxed)), (Class::Computing, 1));
    assert_eq!(route.trials().held(), 0);
}

#[test]
fn a_route_whose_first_calls_are_slow_can_still_be_proven() {
    let route = Route::new("lazy");
    (0..7).for_each(|_| route.prove(BLOCKED, 32));
    (0..32).for_each(|_| route.prove(Verdict::Fast, 32));
    assert_eq!(route.class(), Class::Proven);
}

#[test]
fn calls_that_wait_for_trials_go_on_when_the_route_is_classified_whatever_it_is() {
    let (route, _permits, sent_back) = wanted();
    (0..31).for_each(|_| route.prove(Verdict::Fast, 32));
    assert_eq!(sent_back.load(Ordering::Relaxed), 0);
    route.prove(Verdict::Fast, 32);
    assert_eq!((route.class(), sent_back.load(Ordering::Relaxed)), (Class::Proven, 1));
    let (route, _permits, sent_back) = wanted();
    route.classify(Class::Computing);
    assert_eq!((route.class(), sent_back.load(Ordering::Relaxed)), (Class::Computing, 1));
}

#[test]
fn a_route_moves_between_blocking_and_computing_by_calls_in_a_row() {
    let route = Route::new("both");
    route.classify(Class::Blocking);
    (0..10).for_each(|_| {
        route.prove(COMPUTED, 32);
        route.prove(COMPUTED, 32);
        route.prove(BLOCKED, 32);
    });
    assert_eq!(route.class(), Class::Blocking);
    // Calls that nobody looked at closely are no evidence.
    for verdict in [COMPUTED, SLOW, COMPUTED, SLOW] {
        route.prove(verdict, 32);
        assert_eq!(route.class(), Class::Blocking);
    }
    route.prove(COMPUTED, 32);
    assert_eq!(route.class(), Class::Computing);
    (0..3).for_each(|_| route.prove(BLOCKED, 32));
    assert_eq!(route.class(), Class::Blocking);
}

#[test]
fn a_class_is_young_until_enough_calls_have_confirmed_it() {
    let route = Route::new("young");
    route.classify(Class::Blocking);
    (0..30).for_each(|_| route.prove(BLOCKED, 32));
    [SLOW, COMPUTED, Verdict::Fast].into_iter().for_each(|verdict| route.prove(verdict, 32));
    assert!(route.is_young());
    route.prove(BLOCKED, 32);
    assert!(!route.is_young());
    (0..100).for_each(|_| route.prove(BLOCKED, 32));
    assert_eq!((route.class(), route.is_young()), (Class::Blocking, false));
    (0..3).for_each(|_| route.prove(COMPUTED, 32));
    assert_eq!((route.class(), route.is_young()), (Class::Computing, true));
    assert!(!Route::with_hint("told", Hint::Blocking).is_young());
}

#[test]
fn a_route_of_any_class_can_be_proven() {
    for class in [Class::Unclassified, Class::Blocking, Class::Computing] {
        let route = Route::new("fast at last");
        route.classify(class);
        route.prove(if class == Class::Blocking { COMPUTED } else { BLOCKED }, 32);
        (0..31).for_each(|_| route.prove(Verdict::Fast, 32));
        assert_eq!(route.class(), class);
        route.prove(Verdict::Fast, 32);
        assert_eq!(route.class(), Class::Proven);
        route.classify(Class::Blocking);
        assert!(route.is_proven(), "a late finding changes nothing");
    }
}

#[test]
fn a_demoted_route_is_tried_again() {
    let route = proven(32);
    route.demote(32);
    assert_eq!(route.class(), Class::Unclassified);
    route.demote(32);
    assert_eq!(route.demotions(), 1, "it was proven once");
}

#[test]
fn a_streak_longer_than_the_word_can_count_is_the_longest_there_is() {
    let route = Route::new("doubted");
    (0..65_534).for_each(|_| route.prove(Verdict::Fast, u32::MAX));
    assert_eq!(route.class(), Class::Unclassified);
    route.prove(Verdict::Fast, u32::MAX);
    assert_eq!(route.class(), Class::Proven);
}

#[test]
fn classes_have_names() {
    let classes = [Class::Unclassified, Class::Proven, Class::Blocking, Class::Computing];
    let names = classes.map(|class| class.to_string());
    assert_eq!(names, ["unclassified", "proven", "blocking", "computing"]);
    assert_eq!(format!("{:>9}", Class::Proven), "   proven");
}

#[test]
fn a_call_that_sleeps_is_slow_and_one_that_returns_is_fast() {
    let (limit, sleep) = (Duration::from_micros(100), Duration::from_millis(1));
    for (depth, verdict) in [(Depth::Time, SLOW), (Depth::Usage, BLOCKED)] {
        let route = Route::new("test");
        for streak in 0..2 {
            let trial = Trial::begin(&route, depth);
            std::thread::sleep(sleep);
            assert_eq!(trial.verdict(limit), verdict, "with a streak of {streak}");
            let trial = Trial::begin(&route, depth);
            assert_eq!(trial.verdict(Duration::from_secs(60)), Verdict::Fast);
            route.prove(Verdict::Fast, 32);
        }
    }
}

#[test]
fn a_call_that_was_preempted_is_neither_fast_nor_slow() {
    let limit = Duration::from_micros(100);
    let usage = |cpu, idle| {
        Some(Usage { cpu: Duration::from_micros(cpu), idle: Duration::from_micros(idle) })
    };
    // What it has done matters only if it took long.
    let unasked = || -> Option<Usage> { unreachable!("a fast call") };
    assert_eq!(judge(limit - Duration::from_nanos(1), limit, unasked), Verdict::Fast);
    assert_eq!(judge(limit, limit, || usage(99, 0)), Verdict::Unclear);
    assert_eq!(judge(limit, limit, || usage(49, 50)), Verdict::Unclear);
    assert_eq!(judge(limit, limit, || usage(100, 0)), COMPUTED);
    assert_eq!(judge(limit, limit, || usage(80, 20)), COMPUTED);
    assert_eq!(judge(limit, limit, || usage(79, 21)), BLOCKED);
    assert_eq!(judge(limit, limit, || usage(0, 100)), BLOCKED);
    assert_eq!(judge(limit, limit, || None), SLOW, "nothing is known");
}

#[test]
fn an_unclear_call_keeps_the_streak_and_adds_nothing_to_it() {
    let route = Route::new("test");
    (0..3).for_each(|_| route.prove(Verdict::Fast, 4));
    (0..100).for_each(|_| route.prove(Verdict::Unclear, 4));
    assert_eq!(route.standing.streak(), 3);
    route.prove(Verdict::Fast, 4);
    assert!(route.is_proven());
}

#[test]
fn usage_is_looked_at_only_while_there_is_a_streak_to_lose() {
    let (route, begin) = (Route::new("test"), |route: &_| Trial::begin(route, Depth::Time));
    assert!(begin(&route).usage.is_none(), "slow and unclear are the same");
    begin(&route).end(&route, Duration::from_secs(60), 2);
    assert_eq!(route.standing.streak(), 1, "a fast call");
    assert!(begin(&route).usage.is_some());
    begin(&route).end(&route, Duration::from_secs(60), 2);
    assert!(route.is_proven() && begin(&route).usage.is_none(), "no streak any more");
    // A late end of a trial changes nothing of that.
    begin(&route).end(&route, Duration::ZERO, 2);
    assert!(route.is_proven());
    assert!(Trial::begin(&route, Depth::Usage).usage.is_some(), "it was asked for");
}

#[test]
fn a_call_that_computes_for_long_is_slow() {
    let route = Route::new("test");
    let (limit, trial) = (Duration::from_millis(2), Trial::begin(&route, Depth::Usage));
    let before = trial.usage.expect("it was asked for");
    while before.cpu_until(&ThreadUsage::now()) < limit * 5 {
        std::hint::spin_loop();
    }
    assert_eq!(trial.verdict(limit), COMPUTED);
}

#[test]
fn the_longest_streak_is_bounded() {
    let route = proven(32);
    for demotion in 1..=9 {
        route.demote(32);
        assert!(!route.is_proven());
        assert_eq!(route.demotions(), demotion);
        (0..STREAK_MAX).for_each(|_| route.prove(Verdict::Fast, 32));
        assert!(route.is_proven());
    }
    route.demote(32);
    (1..STREAK_MAX).for_each(|_| route.prove(Verdict::Fast, 32));
    assert!(!route.is_proven());
    route.prove(Verdict::Fast, 32);
    assert!(route.is_proven());
    assert_eq!(STREAK_MAX, 16_384);
}

#[test]
fn old_calls_and_stalls_count_half_after_a_window() {
    let (route, mut tally) = (proven(32), Tally::default());
    *tally.counts(&route) = Counts { serial: route.serial, calls: WINDOW - 2, stalls: 11 };
    tally.count(&route);
    let counts = *tally.counts(&route);
    assert_eq!((counts.calls, counts.stalls), (WINDOW - 1, 11));
    tally.count(&route);
    let counts = *tally.counts(&route);
    assert_eq!((counts.calls, counts.stalls), (WINDOW / 2, 5));
    assert_eq!(WINDOW, 4_096);
}

#[test]
fn a_route_is_demoted_when_more_than_a_fifth_of_its_calls_stall() {
    for (calls, stays) in [(7, true), (6, false)] {
        let (other, route, mut tally) = (proven(32), proven(32), Tally::default());
        (0..calls).for_each(|_| tally.count(&route));
        (0..3).for_each(|_| tally.stalled(&route, 32));
        assert_eq!(route.is_proven(), stays, "3 stalls in {calls} calls, with 8 to its credit");
        assert_eq!((route.stalls(), route.demotions()), (3, u64::from(!stays)));
        let counts = *tally.counts(&route);
        // A demotion begins a new page.
        assert_eq!((counts.calls, counts.stalls), if stays { (7, 3) } else { (0, 0) });
        // Another route's calls are its own.
        let others = *tally.counts(&other);
        assert_eq!((others.calls, others.stalls, other.stalls()), (0, 0, 0));
        assert!(other.is_proven());
    }
}

#[test]
fn a_route_that_is_not_proven_is_not_demoted() {
    let (route, mut tally) = (Route::new("test"), Tally::default());
    (0..10).for_each(|_| tally.stalled(&route, 32));
    assert_eq!((route.stalls(), route.demotions()), (10, 0));
}

#[test]
fn a_route_is_found_by_its_number_while_it_is_in_use() {
    let (one, two) = (Route::with_hint("one", Hint::Blocking), Route::new("two"));
    assert_ne!(one.number(), two.number());
    for route in [&one, &two] {
        let found = by_number(route.number()).expect("in use");
        assert!(Arc::ptr_eq(&found, route));
    }
    assert_eq!((one.name(), one.hint()), ("one", Hint::Blocking));
    assert_eq!((two.name(), two.hint()), ("two", Hint::Prove));
    assert!(!two.is_proven() && !one.is_proven());
    let number = one.number();
    drop(one);
    assert!(by_number(number).is_none() && by_number(NO_ROUTE).is_none());
    (0..3).for_each(|_| two.panicked());
    assert_eq!((two.panics(), two.stalls(), two.demotions()), (3, 0, 0));
}
