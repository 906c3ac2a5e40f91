//! What is known about a route: one word, with its class, its streak of fast calls, the votes for another
//! class, and how well the present one is founded. This file owns the word; the drawing of the transitions is in `mod.rs`.
//!
//! The hot path reads one bit of it. All writing is off the hot path, by compare-and-swap: two threads that
//! judge calls at the same time must not undo a change of class. A streak is a rule of thumb, so that all
//! accesses are relaxed; what a class leads to is ordered by the locks of the gates and the pools.

use std::fmt;
use std::sync::atomic::{AtomicU32, Ordering};

use super::Hint;
use super::trial::{Slowness, Verdict};

const PROVEN: u32 = 1 << 31;
const BLOCKING: u32 = 1 << 30;
const COMPUTING: u32 = 1 << 29;
const CLASSES: u32 = PROVEN | BLOCKING | COMPUTING;

/// One slow call of the class that the route is in. Counted in the bits from 24 on, up to 31.
const CONFIRMATION: u32 = 1 << 24;
const CONFIRMATIONS: u32 = 0x1f << 24;
/// A vote of a slow call for its own kind. Four bits count those of each kind.
const BLOCKED: u32 = 1 << 16;
const COMPUTED: u32 = 1 << 20;
const VOTES_MAX: u32 = 0xf;
const VOTES: u32 = (BLOCKED + COMPUTED) * VOTES_MAX;
const STREAK: u32 = BLOCKED - 1;

/// The number of slow calls of one kind that classify a route, if no call lasts [`LONG`](super::LONG). It is not
/// one, because the first calls of a route fill caches, open connections and wait for each other. A wrong class is
/// expensive: calls of a route that is classified as blocking wait for pool threads, and get one for each call.
const SLOW_TO_CLASSIFY: u32 = 8;
/// The number of slow calls of the other kind in a row that move a route between blocking and computing.
const SLOW_TO_MOVE: u32 = 3;

/// What the engine has found out about a route, and so where its calls run under
/// [`Model::Adaptive`](crate::Model::Adaptive).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Class {
    /// Too little is known. Its calls are tried on trial threads, two at a time.
    Unclassified,
    /// Its calls are fast: they run on their shard's thread.
    Proven,
    /// Its calls sleep or wait: they run on pool threads.
    Blocking,
    /// Its calls keep a core busy: they run on threads of their own, as many at a time as there are cores
    /// ([`Settings::computing_max`](field@crate::Settings::computing_max)).
    Computing,
}

impl Class {
    /// The class in one lowercase word, for logs and status pages.
    pub fn name(self) -> &'static str {
        match self {
            Class::Unclassified => "unclassified",
            Class::Proven => "proven",
            Class::Blocking => "blocking",
            Class::Computing => "computing",
        }
    }

    fn bit(self) -> u32 {
        match self {
            Class::Unclassified => 0,
            Class::Proven => PROVEN,
            Class::Blocking => BLOCKING,
            Class::Computing => COMPUTING,
        }
    }

    fn of(word: u32) -> Self {
        match word & CLASSES {
            0 => Class::Unclassified,
            BLOCKING => Class::Blocking,
            COMPUTING => Class::Computing,
            _ => Class::Proven,
        }
    }
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// The word.
#[derive(Debug)]
pub(super) struct Standing(AtomicU32);

impl Standing {
    pub(super) fn new(hint: Hint) -> Self {
        let class = match hint {
            Hint::Prove => Class::Unclassified,
            Hint::Inline => Class::Proven,
            Hint::Blocking | Hint::Streamed => Class::Blocking,
            Hint::Computing => Class::Computing,
        };
        Standing(AtomicU32::new(class.bit()))
    }

    #[inline(always)]
    pub(super) fn is_proven(&self) -> bool {
        self.0.load(Ordering::Relaxed) & PROVEN != 0
    }

    pub(super) fn class(&self) -> Class {
        Class::of(self.0.load(Ordering::Relaxed))
    }

    /// Fast calls in a row of a route that is not proven.
    pub(super) fn streak(&self) -> u32 {
        self.0.load(Ordering::Relaxed) & STREAK
    }

    /// Whether few calls have confirmed its class: the next ones are looked at closely.
    pub(super) fn is_young(&self) -> bool {
        self.0.load(Ordering::Relaxed) & CONFIRMATIONS < CONFIRMATIONS
    }

    /// Takes note of a call that did not run inline. Returns the class if it has changed.
    pub(super) fn judge(&self, verdict: Verdict, streak: u32) -> Option<Class> {
        self.change(|word| after(word, verdict, streak))
    }

    /// Puts a route that is not proven into a class. Returns the class if it has changed.
    pub(super) fn classify(&self, class: Class) -> Option<Class> {
        self.change(|word| if word & PROVEN == 0 { class.bit() } else { word })
    }

    /// Takes the proof back. False if there was none.
    pub(super) fn demote(&self) -> bool {
        self.change(|word| if word & PROVEN == 0 { word } else { 0 }).is_some()
    }

    fn change(&self, next: impl Fn(u32) -> u32) -> Option<Class> {
        let mut changed = None;
        let _ = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |word| {
            let to = next(word);
            changed = (Class::of(to) != Class::of(word)).then(|| Class::of(to));
            (to != word).then_some(to)
        });
        changed
    }
}

/// The word after a call with that verdict.
fn after(word: u32, verdict: Verdict, streak: u32) -> u32 {
    let class = Class::of(word);
    let how = match verdict {
        // The late end of a call that began before the route was proven says nothing about it.
        _ if class == Class::Proven => return word,
        Verdict::Unclear => return word,
        Verdict::Fast if (word & STREAK) + 1 >= streak.min(STREAK) => return PROVEN,
        Verdict::Fast => return word + 1,
        Verdict::Slow(how) => how,
    };
    let stays = word & !STREAK;
    let (vote, its_class) = match how {
        Slowness::Computed => (COMPUTED, Class::Computing),
        Slowness::Blocked | Slowness::Unknown => (BLOCKED, Class::Blocking),
    };
    let needed = match class {
        Class::Unclassified => SLOW_TO_CLASSIFY,
        // Nothing that speaks against the class.
        _ if how == Slowness::Unknown => return stays,
        _ if its_class == class => return confirmed(stays & !VOTES),
        _ => SLOW_TO_MOVE,
    };
    if stays / vote % (VOTES_MAX + 1) + 1 >= needed { its_class.bit() } else { stays + vote }
}

fn confirmed(word: u32) -> u32 {
    if word & CONFIRMATIONS == CONFIRMATIONS { word } else { word + CONFIRMATION }
}
