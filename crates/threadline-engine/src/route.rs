//! Routes and their proving: which user code may run on a shard's own thread.
//!
//! ```text
//!                  a streak of fast calls on the pool
//!    Unproven ---------------------------------------> Proven: runs inline
//!       ^                                                 |
//!       |   more than a fifth of its calls stall          |
//!       +---- the next streak must be twice as long ------+
//! ```
//!
//! Demotion goes by rate and not by one stall: a handler of which one call in a hundred blocks is
//! served twice as fast inline, where each stall costs one handoff, as on the pool, where each
//! call costs a wake-up. The hot path reads one word; all writing happens off it.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use parking_lot::RwLock;

use crate::log::limited;
use crate::sys::ThreadUsage;

const PROVEN: u32 = 1 << 31;
/// The streak asked for doubles with each demotion, up to this.
const STREAK_MAX: u32 = 1 << 14;

/// The engine's key for "the same piece of user code": an HTTP route, a listener's handler.
#[derive(Debug)]
pub struct Route {
    name: String,
    hint: Hint,
    /// `PROVEN`, or the length of the current streak of fast calls.
    standing: AtomicU32,
    /// How long the streak must become; 0 until the first call learns the setting.
    streak_needed: AtomicU32,
    /// Its number in this process, for a shard's tally. Another route may have it later.
    number: u32,
    /// How many routes there were before it: this no other route has.
    serial: u64,
    demotions: AtomicU64,
    stalls: AtomicU64,
    panics: AtomicU64,
}

/// What is known of a route beforehand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Hint {
    /// Nothing: the engine proves it.
    #[default]
    Prove,
    /// It never blocks: inline from the first call on. If it stalls all the same it is demoted.
    Inline,
    /// It may always block: never inline.
    Blocking,
}

/// Every route of the process by its number: a thread that takes over a shard knows the stalled call
/// only by that.
static ROUTES: RwLock<Numbers> =
    RwLock::new(Numbers { routes: Vec::new(), free: Vec::new(), made: 0 });

struct Numbers {
    routes: Vec<Weak<Route>>,
    /// Numbers whose routes are gone.
    free: Vec<u32>,
    made: u64,
}

/// The route of that number, if it is still in use.
pub(crate) fn by_number(number: u32) -> Option<Arc<Route>> {
    ROUTES.read().routes.get(number as usize)?.upgrade()
}

impl Drop for Route {
    fn drop(&mut self) {
        ROUTES.write().free.push(self.number);
    }
}

impl Route {
    /// A route that the engine proves. The name appears in logs and counters.
    pub fn new(name: impl Into<String>) -> Arc<Route> {
        Route::with_hint(name, Hint::Prove)
    }

    /// A route of which something is known.
    pub fn with_hint(name: impl Into<String>, hint: Hint) -> Arc<Route> {
        // Before the lock: how a name is made is up to the caller.
        let name = name.into();
        let numbers = &mut *ROUTES.write();
        let number = numbers.free.pop().unwrap_or_else(|| {
            numbers.routes.push(Weak::new());
            (numbers.routes.len() - 1) as u32
        });
        let serial = numbers.made;
        numbers.made += 1;
        let route = Arc::new(Route {
            name,
            hint,
            standing: AtomicU32::new(if hint == Hint::Inline { PROVEN } else { 0 }),
            streak_needed: AtomicU32::new(0),
            number,
            serial,
            demotions: AtomicU64::new(0),
            stalls: AtomicU64::new(0),
            panics: AtomicU64::new(0),
        });
        numbers.routes[number as usize] = Arc::downgrade(&route);
        route
    }

    /// The name it was made with.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What was known of it beforehand.
    pub fn hint(&self) -> Hint {
        self.hint
    }

    /// Whether its calls have been fast: under `Adaptive` they run on their shard's thread at present, and under
    /// every model replies to earlier messages are not sent before them but together with theirs.
    pub fn is_proven(&self) -> bool {
        self.standing.load(Ordering::Relaxed) & PROVEN != 0
    }

    /// How often it has lost its place on the shard's thread.
    pub fn demotions(&self) -> u64 {
        self.demotions.load(Ordering::Relaxed)
    }

    /// How often a shard has been taken over during one of its calls.
    pub fn stalls(&self) -> u64 {
        self.stalls.load(Ordering::Relaxed)
    }

    /// How often it has panicked.
    pub fn panics(&self) -> u64 {
        self.panics.load(Ordering::Relaxed)
    }

    pub(crate) fn number(&self) -> u32 {
        self.number
    }

    pub(crate) fn panicked(&self) {
        self.panics.fetch_add(1, Ordering::Relaxed);
    }

    /// Takes note of a call on the pool.
    fn prove(&self, verdict: Verdict, streak: u32) {
        if self.hint == Hint::Blocking || self.is_proven() {
            return;
        }
        match verdict {
            Verdict::Unclear => {}
            Verdict::Slow => self.standing.store(0, Ordering::Relaxed),
            Verdict::Fast => {
                let needed = self.streak_needed.load(Ordering::Relaxed).max(streak);
                // Threads that finish together may count over each other: a streak is a rule of
                // thumb, and one call more or less does not matter.
                let so_far = self.standing.load(Ordering::Relaxed) + 1;
                let standing = if so_far >= needed { PROVEN } else { so_far };
                self.standing.store(standing, Ordering::Relaxed);
            }
        }
    }

    /// Sends the route back to the pool.
    fn demote(&self, streak: u32) {
        let needed = self.streak_needed.load(Ordering::Relaxed).max(streak);
        self.streak_needed.store((needed * 2).min(STREAK_MAX), Ordering::Relaxed);
        self.standing.store(0, Ordering::Relaxed);
        self.demotions.fetch_add(1, Ordering::Relaxed);
        limited!(info, route: &self.name, "calls of this route stall: it must prove itself again");
    }
}

/// How a call on the pool went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
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
    usage: Option<ThreadUsage>,
}

impl Trial {
    pub(crate) fn begin(route: &Route) -> Self {
        let has_streak = !matches!(route.standing.load(Ordering::Relaxed), 0 | PROVEN..);
        Trial { usage: has_streak.then(ThreadUsage::now), began: Instant::now() }
    }

    pub(crate) fn end(self, route: &Route, limit: Duration, streak: u32) {
        route.prove(self.verdict(limit), streak);
    }

    fn verdict(&self, limit: Duration) -> Verdict {
        judge(self.began.elapsed(), limit, || {
            let (before, now) = (self.usage?, ThreadUsage::now());
            Some(Usage { blocked: before.blocked_until(&now), cpu: before.cpu_until(&now) })
        })
    }
}

/// What a call has done with its time.
#[derive(Debug, Clone, Copy)]
struct Usage {
    blocked: bool,
    cpu: Duration,
}

/// The verdict on a call that took so long; `usage` is looked at only where it matters.
fn judge(elapsed: Duration, limit: Duration, usage: impl FnOnce() -> Option<Usage>) -> Verdict {
    if elapsed < limit {
        return Verdict::Fast;
    }
    match usage() {
        Some(usage) if !usage.blocked && usage.cpu < limit => Verdict::Unclear,
        _ => Verdict::Slow,
    }
}

/// What one shard has seen of its inline calls. Belongs to the lease holder: plain numbers, so that
/// counting costs the hot path nothing.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    routes: Vec<Counts>,
}

#[derive(Debug, Default, Clone, Copy)]
struct Counts {
    /// Of which route: its number may have belonged to another.
    serial: u64,
    calls: u32,
    stalls: u32,
}

/// Counts are halved beyond this, so that old calls do not excuse new stalls for ever.
const WINDOW: u32 = 1 << 12;
/// Calls that a route has to its credit at first: two stalls in a row do not demote it, three do.
const CREDIT: u32 = 8;

impl Tally {
    /// An inline call of the route begins.
    pub(crate) fn count(&mut self, route: &Route) {
        let counts = self.counts(route);
        counts.calls += 1;
        if counts.calls >= WINDOW {
            counts.calls /= 2;
            counts.stalls /= 2;
        }
    }

    /// The shard was taken over during a call of the route, or a sample was slow.
    pub(crate) fn stalled(&mut self, route: &Route, streak: u32) {
        route.stalls.fetch_add(1, Ordering::Relaxed);
        let counts = self.counts(route);
        counts.stalls += 1;
        if counts.stalls * 5 > counts.calls + CREDIT {
            (counts.calls, counts.stalls) = (0, 0);
            if route.is_proven() {
                route.demote(streak);
            }
        }
    }

    fn counts(&mut self, route: &Route) -> &mut Counts {
        let number = route.number as usize;
        if number >= self.routes.len() {
            self.grow(number + 1);
        }
        let counts = &mut self.routes[number];
        if counts.serial != route.serial {
            *counts = Counts { serial: route.serial, ..Counts::default() };
        }
        counts
    }

    #[cold]
    fn grow(&mut self, len: usize) {
        self.routes.resize(len, Counts::default());
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

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
}
