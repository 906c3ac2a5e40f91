//! Tests of proving and demotion: streaks, verdicts and tallies.

use std::time::Duration;

use super::tally::{Counts, WINDOW};
use super::trial::{Usage, judge};
use super::*;
use crate::sys::ThreadUsage;

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
    route.prove(Verdict::Slow, 32);
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
    assert!(Route::with_hint("fast", Hint::Inline).is_proven());
    let blocking = Route::with_hint("slow", Hint::Blocking);
    (0..1000).for_each(|_| blocking.prove(Verdict::Fast, 32));
    assert!(!blocking.is_proven());
}

#[test]
fn a_call_that_sleeps_is_slow_and_one_that_returns_is_fast() {
    let limit = Duration::from_micros(100);
    let route = Route::new("test");
    for streak in 0..2 {
        let trial = Trial::begin(&route);
        std::thread::sleep(Duration::from_millis(1));
        assert_eq!(trial.verdict(limit), Verdict::Slow, "with a streak of {streak}");
        assert_eq!(Trial::begin(&route).verdict(Duration::from_secs(60)), Verdict::Fast);
        route.prove(Verdict::Fast, 32);
    }
}

#[test]
fn a_call_that_was_preempted_is_neither_fast_nor_slow() {
    let limit = Duration::from_micros(100);
    let tick = Duration::from_nanos(1);
    let usage = |blocked, cpu| Some(Usage { blocked, cpu });
    // What it has done matters only if it took long.
    let unasked = || -> Option<Usage> { unreachable!("a fast call") };
    assert_eq!(judge(limit - tick, limit, unasked), Verdict::Fast);
    assert_eq!(judge(limit, limit, || usage(false, limit - tick)), Verdict::Unclear);
    assert_eq!(judge(limit, limit, || usage(false, limit)), Verdict::Slow, "it computed");
    assert_eq!(judge(limit, limit, || usage(true, Duration::ZERO)), Verdict::Slow, "it slept");
    assert_eq!(judge(limit, limit, || None), Verdict::Slow, "nothing is known");
}

#[test]
fn an_unclear_call_keeps_the_streak_and_adds_nothing_to_it() {
    let route = Route::new("test");
    (0..3).for_each(|_| route.prove(Verdict::Fast, 4));
    (0..100).for_each(|_| route.prove(Verdict::Unclear, 4));
    assert_eq!(route.standing.load(Ordering::Relaxed), 3);
    route.prove(Verdict::Fast, 4);
    assert!(route.is_proven());
}

#[test]
fn usage_is_looked_at_only_while_there_is_a_streak_to_lose() {
    let route = Route::new("test");
    assert!(Trial::begin(&route).usage.is_none(), "slow and unclear are the same");
    Trial::begin(&route).end(&route, Duration::from_secs(60), 2);
    assert_eq!(route.standing.load(Ordering::Relaxed), 1, "a fast call");
    assert!(Trial::begin(&route).usage.is_some());
    Trial::begin(&route).end(&route, Duration::from_secs(60), 2);
    assert!(route.is_proven() && Trial::begin(&route).usage.is_none(), "no streak any more");
    // A late end of a trial changes nothing of that.
    Trial::begin(&route).end(&route, Duration::ZERO, 2);
    assert!(route.is_proven());
}

#[test]
fn a_call_that_computes_for_long_is_slow() {
    let route = Route::new("test");
    route.prove(Verdict::Fast, 32);
    let (limit, trial) = (Duration::from_millis(2), Trial::begin(&route));
    let before = trial.usage.expect("it has a streak");
    while before.cpu_until(&ThreadUsage::now()) < limit * 2 {
        std::hint::spin_loop();
    }
    assert_eq!(trial.verdict(limit), Verdict::Slow);
}

#[test]
fn the_longest_streak_is_bounded() {
    let route = proven(32);
    for demotion in 1..=20 {
        route.demote(32);
        assert!(!route.is_proven());
        assert_eq!(route.demotions(), demotion);
    }
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
    assert!(by_number(number).is_none() && by_number(u32::MAX).is_none());
    (0..3).for_each(|_| two.panicked());
    assert_eq!((two.panics(), two.stalls(), two.demotions()), (3, 0, 0));
}
