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
//!
//! - `trial`: timing one call, and the verdict on it
//! - `tally`: what a shard has seen of its inline calls

mod tally;
#[cfg(all(test, not(loom)))]
mod tests;
mod trial;

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use parking_lot::RwLock;

use crate::log::limited;

pub(crate) use tally::Tally;
pub(crate) use trial::Trial;
use trial::Verdict;

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
