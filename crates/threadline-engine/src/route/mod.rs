//! Routes and their classes: which user code may run on a shard's own thread, and where the rest runs.
//!
//! ```text
//!                  a streak of fast calls, in any class
//!    Unclassified -------------------------------------> Proven: runs inline
//!      |  |    ^                                           |
//!      |  |    |  more than a fifth of its calls stall     |
//!      |  |    +-- the next streak must be twice as long --+
//!      |  |
//!      |  +---> Blocking: pool threads ------------------+   a call lasts 10 ms, or 8 are slow,
//!      |           |            ^                        |   and the thread has slept
//!      |           | slow calls | slow calls or a        |
//!      |           | compute    | long one that sleeps   |
//!      |           v            |                        |
//!      +---> Computing: as many at a time as cores <-----+   ... and the thread has computed
//! ```
//!
//! The classes apply under the adaptive model. `Hint::Blocking`, `Hint::Computing` and `Hint::Streamed` are for good.
//!
//! Demotion goes by rate and not by one stall: a handler of which one call in a hundred blocks is
//! served twice as fast inline, where each stall costs one handoff, as on the pool, where each
//! call costs a wake-up. The hot path reads one word; all writing happens off it.
//!
//! - `standing`: the word with the class, and its transitions
//! - `trial`: timing one call, and the verdict on it
//! - `tally`: what a shard has seen of its inline calls

mod standing;
mod tally;
#[cfg(all(test, not(loom)))]
mod tests;
mod trial;

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use parking_lot::RwLock;

use crate::log::limited;
use crate::workers::Gate;

pub use standing::Class;
use standing::Standing;
pub(crate) use tally::Tally;
use trial::Verdict;
pub(crate) use trial::{Depth, LONG, Trial, is_computing};

/// The streak asked for doubles with each demotion, up to this.
const STREAK_MAX: u32 = 1 << 14;

/// The engine's key for "the same piece of user code": an HTTP route, a listener's handler.
#[derive(Debug)]
pub struct Route {
    name: String,
    hint: Hint,
    standing: Standing,
    /// How long the streak must become; 0 until the first call learns the setting.
    streak_needed: AtomicU32,
    /// Its number in this process, for a shard's tally. Another route may have it later.
    number: u32,
    /// How many routes there were before it: this no other route has.
    serial: u64,
    demotions: AtomicU64,
    stalls: AtomicU64,
    /// Shared by all that [`Route::streamed`] has made of it.
    panics: Arc<AtomicU64>,
    /// Its calls while it is unclassified: the few that are tried, and those that wait for the outcome.
    trials: Arc<Gate>,
    /// Its sources that are asked for more, and those that wait for that, unless they are on the pool.
    sources: Arc<Gate>,
}

/// Calls of one unclassified route that are tried at a time: more would only repeat what two can show, and
/// hold threads if the route blocks.
const TRIALS_MAX: usize = 2;

/// Sources of one route that are asked for more at a time off the pool. It bounds the threads that they hold if they
/// block although the calls of their route do not.
const SOURCES_MAX: usize = 4;

/// What is known of a route beforehand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Hint {
    /// Nothing: the engine proves it.
    #[default]
    Prove,
    /// It never blocks: inline from the first call on. If it stalls all the same it is demoted.
    Inline,
    /// It may always block: never inline, always on the pool.
    Blocking,
    /// It always keeps a core busy for long (hashing passwords, scaling images), or needs so much memory that
    /// few calls may run at a time: never inline, at most
    /// [`Settings::computing_max`](field@crate::Settings::computing_max) at a time.
    Computing,
    /// It waits for its peer while it runs, as a handler does that reads a body while it arrives: never inline,
    /// always on the pool, and under the models with a pool at most
    /// [`Settings::streamed_max`](field@crate::Settings::streamed_max) at a time.
    Streamed,
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

/// No route has this number.
pub(crate) const NO_ROUTE: u32 = u32::MAX;

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
        Route::make(name.into(), hint, Arc::default())
    }

    /// The same code where it waits for its peer: a route with [`Hint::Streamed`] and the name of this one. The
    /// panics of both are counted together.
    ///
    /// ```
    /// use threadline_engine::{Hint, Route};
    ///
    /// let route = Route::new("POST /upload");
    /// let streamed = route.streamed();
    /// assert_eq!((streamed.name(), streamed.hint()), ("POST /upload", Hint::Streamed));
    /// assert!(streamed.contain(|| panic!("no more paper")).is_err());
    /// assert_eq!((route.panics(), streamed.panics()), (1, 1));
    /// ```
    pub fn streamed(&self) -> Arc<Route> {
        Route::make(self.name.clone(), Hint::Streamed, Arc::clone(&self.panics))
    }

    fn make(name: String, hint: Hint, panics: Arc<AtomicU64>) -> Arc<Route> {
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
            standing: Standing::new(hint),
            streak_needed: AtomicU32::new(0),
            number,
            serial,
            demotions: AtomicU64::new(0),
            stalls: AtomicU64::new(0),
            panics,
            trials: Gate::new(TRIALS_MAX),
            sources: Gate::new(SOURCES_MAX),
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
        self.standing.is_proven()
    }

    /// What the engine has found out about it so far; what it was told with [`Hint::Blocking`] and
    /// [`Hint::Computing`]. Under models other than [`Model::Adaptive`](crate::Model::Adaptive) all that matters is
    /// whether it is proven.
    pub fn class(&self) -> Class {
        self.standing.class()
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

    /// The gate for its sources.
    pub(crate) fn sources(&self) -> &Arc<Gate> {
        &self.sources
    }

    /// The gate for its calls while it is unclassified.
    pub(crate) fn trials(&self) -> &Arc<Gate> {
        &self.trials
    }

    /// Whether the engine may classify it.
    pub(crate) fn is_open(&self) -> bool {
        !matches!(self.hint, Hint::Blocking | Hint::Computing | Hint::Streamed)
    }

    /// Whether its class may change, and few calls have confirmed it so far.
    pub(crate) fn is_young(&self) -> bool {
        self.is_open() && self.standing.is_young()
    }

    /// Takes note of a call that did not run inline.
    fn prove(&self, verdict: Verdict, streak: u32) {
        if !self.is_open() || self.is_proven() {
            return;
        }
        let needed = self.streak_needed.load(Ordering::Relaxed).max(streak);
        self.entered(self.standing.judge(verdict, needed));
    }

    /// Puts the route into a class while one of its calls still runs. A proven route stays that.
    pub(crate) fn classify(&self, class: Class) {
        if self.is_open() {
            self.entered(self.standing.classify(class));
        }
    }

    /// Calls that have waited for the route to be classified look for their way again.
    fn entered(&self, class: Option<Class>) {
        if let Some(class) = class {
            tracing::debug!(route = self.name, %class, "the class of a route has changed");
            self.trials.clear().for_each(|errand| errand.send_back());
        }
    }

    /// Takes the route off the shards: it is tried again.
    fn demote(&self, streak: u32) {
        if !self.standing.demote() {
            return;
        }
        let needed = self.streak_needed.load(Ordering::Relaxed).max(streak);
        self.streak_needed.store((needed * 2).min(STREAK_MAX), Ordering::Relaxed);
        self.demotions.fetch_add(1, Ordering::Relaxed);
        limited!(info, route: &self.name, "calls of this route stall: it must prove itself again");
    }
}
