//! Log lines that stay few and whole, whatever clients do.
//!
//! [`limited!`](crate::limited) writes an event of `tracing` for something that a client, an overload or a
//! broken disk can repeat: at most [`LINES_DEFAULT`] lines in [`PERIOD_DEFAULT`] from one place in the code
//! for one key, which is the route where there is one. What is left out is counted and told with the next
//! line, or by [`report`]. [`Escaped`] and [`Bytes`] show text of clients without control characters.
//!
//! It is here, and not a filter of the subscriber that `threadline-service` starts, so that programs with
//! a subscriber of their own are spared the flood as well. Engine, HTTP and service share it, and handlers
//! may use it. Nothing here is called unless a line of that level is wanted, and no lock is held while a
//! subscriber runs.

use std::cell::Cell;
use std::fmt::{self, Display, Write as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;

use crate::route::{self, Route};
use crate::sys::{Clock, Ticks, ticks_ceil, ticks_long};

#[doc(inline)]
pub use crate::limited;
/// For the macro.
#[doc(hidden)]
pub use tracing;

/// Lines that one place may write for one key in a period: 5.
pub const LINES_DEFAULT: u32 = 5;
/// The period: 10 s.
pub const PERIOD_DEFAULT: Duration = Duration::from_secs(10);

/// Keys that a place tells apart; all others share the lines of one key more. Routes are few, and a key
/// that a client can choose must not take memory without bound.
const KEYS_MAX: usize = 64;
/// Bytes that are kept of a key.
const KEY_LEN_MAX: usize = 128;

static LINES: AtomicU32 = AtomicU32::new(LINES_DEFAULT);
/// The period in ticks; 0 stands for the default.
static PERIOD: AtomicU32 = AtomicU32::new(0);
static SUPPRESSED: AtomicU64 = AtomicU64::new(0);
static LOST: AtomicU64 = AtomicU64::new(0);
/// Places that have left out lines and not told so yet.
static PENDING: Mutex<Vec<&'static Site>> = Mutex::new(Vec::new());

/// Sets how many lines one place may write for one key, at least 1, in how long. For the whole process,
/// at any time. Default: [`LINES_DEFAULT`] in [`PERIOD_DEFAULT`].
///
/// ```
/// use std::time::Duration;
///
/// threadline_engine::log::set_limit(20, Duration::from_secs(60));
/// ```
pub fn set_limit(lines: u32, period: Duration) {
    LINES.store(lines.max(1), Ordering::Relaxed);
    PERIOD.store(ticks_ceil(period), Ordering::Relaxed);
}

/// The period that [`set_limit`] has set, or the default: how often [`report`] has something to tell.
pub fn period() -> Duration {
    ticks_long(period_ticks())
}

/// How many lines [`limited!`](crate::limited) has left out in this process.
pub fn suppressed_lines() -> u64 {
    SUPPRESSED.load(Ordering::Relaxed)
}

/// How many log lines could not be written in this process: their reader is gone or does not read, or the
/// disk is full.
pub fn lost_lines() -> u64 {
    LOST.load(Ordering::Relaxed)
}

/// Counts lines that could not be written; for what writes them.
pub fn count_lost(lines: u64) {
    LOST.fetch_add(lines, Ordering::Relaxed);
}

/// Tells how many lines were left out in periods that are over, where no later line has told it. The log
/// that `threadline-service` starts calls it, and the engine at the end of a drain. Others may call it now
/// and then, from any thread.
pub fn report() {
    report_at(Clock::System.ticks(), Due::Over);
}

/// The same, of periods that are not over too: the process is about to end.
pub fn report_all() {
    report_at(Clock::System.ticks(), Due::All);
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Due {
    Over,
    All,
}

fn report_at(now: Ticks, due: Due) {
    let sites = PENDING.lock().clone();
    for site in sites {
        for (key, more) in site.take_due(now, due) {
            (site.report)(&key, more);
        }
    }
}

/// Writes an event of `tracing` unless this place has written [enough of them](crate::log::set_limit) for
/// the same key lately. Returns whether it was written.
///
/// The level comes first, then, if it is not the current route, what to tell repetitions apart by, then the
/// message, which is a literal, then fields as `tracing` writes them. Text of clients belongs into
/// [`Escaped`](crate::log::Escaped) or behind `?`. The line names the route that the thread is serving.
///
/// ```
/// use threadline_engine::{limited, log::Escaped};
///
/// # let (error, path) = (std::io::Error::other("no"), "/a");
/// limited!(warn, "cannot reach the database", error = %Escaped(&error));
/// limited!(error, key: path, "cannot read a file", path, error = %Escaped(&error));
/// limited!(info, route: "GET /", "this route is slow");
/// ```
///
/// The first line of the next period says how many were left out: `cannot reach the database (1 234 more
/// in the last 10 s)`.
#[macro_export]
macro_rules! limited {
    ($level:ident, route: $route:expr, $message:literal $(, $($fields:tt)+)?) => {
        if $crate::limited!(@enabled $level) {
            let route: &str = $route;
            $crate::limited!(@line $level, route = route, $message $(, $($fields)+)?)
        } else {
            false
        }
    };
    ($level:ident, key: $key:expr, $message:literal $(, $($fields:tt)+)?) => {
        if $crate::limited!(@enabled $level) {
            static SITE: $crate::log::Site = $crate::log::Site::new(|key, more| {
                let key = $crate::log::Escaped(key);
                $crate::log::tracing::$level!(%key, "{}{}", $message, more);
            });
            if let Some(more) = SITE.admit($key) {
                $crate::log::tracing::$level!($($($fields)+,)? "{}{}", $message, more);
                true
            } else {
                false
            }
        } else {
            false
        }
    };
    ($level:ident, $message:literal $(, $($fields:tt)+)?) => {
        if $crate::limited!(@enabled $level) {
            let current = $crate::log::current_route();
            let route = current.as_ref().map_or("", |route| route.name());
            $crate::limited!(@line $level, route = route, $message $(, $($fields)+)?)
        } else {
            false
        }
    };
    (@line $level:ident, route = $route:ident, $message:literal $(, $($fields:tt)+)?) => {{
        static SITE: $crate::log::Site = $crate::log::Site::new(|route, more| {
            let route = (!route.is_empty()).then_some(route);
            $crate::log::tracing::$level!(route, "{}{}", $message, more);
        });
        if let Some(more) = SITE.admit($route) {
            let $route = (!$route.is_empty()).then_some($route);
            $crate::log::tracing::$level!($route, $($($fields)+,)? "{}{}", $message, more);
            true
        } else {
            false
        }
    }};
    (@enabled error) => { $crate::log::tracing::enabled!($crate::log::tracing::Level::ERROR) };
    (@enabled warn) => { $crate::log::tracing::enabled!($crate::log::tracing::Level::WARN) };
    (@enabled info) => { $crate::log::tracing::enabled!($crate::log::tracing::Level::INFO) };
}

/// A place in the code that writes lines: the state of one [`limited!`](crate::limited).
#[doc(hidden)]
#[derive(Debug)]
pub struct Site {
    report: fn(&str, More),
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    keys: Vec<Window>,
    /// For keys beyond [`KEYS_MAX`].
    others: Option<Window>,
    /// It is in [`PENDING`]. Exactly while a window has suppressed lines.
    is_pending: bool,
}

/// The lines of one key in the current period.
#[derive(Debug)]
struct Window {
    key: Box<str>,
    began: Ticks,
    written: u32,
    suppressed: u64,
}

/// How many lines were left out, and in how long. Its text goes behind a message; empty for none.
#[doc(hidden)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct More {
    lines: u64,
    within: Duration,
}

impl Site {
    /// `report` tells how many lines of a key were left out.
    pub const fn new(report: fn(&str, More)) -> Self {
        let state = State { keys: Vec::new(), others: None, is_pending: false };
        Site { report, state: Mutex::new(state) }
    }

    /// Whether one more line may be written, and how many were left out before it.
    pub fn admit(&'static self, key: &str) -> Option<More> {
        self.admit_at(key, Clock::System.ticks())
    }

    fn admit_at(&'static self, key: &str, now: Ticks) -> Option<More> {
        let mut state = self.state.lock();
        let admitted = state.window(key, now).admit(now);
        if admitted.is_none() {
            SUPPRESSED.fetch_add(1, Ordering::Relaxed);
            if !state.is_pending {
                state.is_pending = true;
                PENDING.lock().push(self);
            }
        }
        admitted
    }

    fn take_due(&'static self, now: Ticks, due: Due) -> Vec<(Box<str>, More)> {
        let mut state = self.state.lock();
        let mut taken = Vec::new();
        for window in state.windows_mut() {
            if window.suppressed > 0 && (due == Due::All || window.is_over(now)) {
                taken.push((window.key.clone(), window.take_more(now)));
            }
        }
        if state.windows_mut().all(|window| window.suppressed == 0) {
            state.is_pending = false;
            PENDING.lock().retain(|site| !std::ptr::eq(*site, self));
        }
        taken
    }
}

impl State {
    fn windows_mut(&mut self) -> impl Iterator<Item = &mut Window> {
        self.keys.iter_mut().chain(&mut self.others)
    }

    fn window(&mut self, key: &str, now: Ticks) -> &mut Window {
        let key = shortened(key);
        if let Some(at) = self.keys.iter().position(|window| *window.key == *key) {
            return &mut self.keys[at];
        }
        if self.keys.len() < KEYS_MAX {
            self.keys.push(Window::new(key, now));
            let last = self.keys.len() - 1;
            return &mut self.keys[last];
        }
        // A key whose period is over gives way, if it has nothing left to tell.
        let is_done = |window: &Window| window.suppressed == 0 && window.is_over(now);
        match self.keys.iter().position(is_done) {
            Some(at) => {
                self.keys[at] = Window::new(key, now);
                &mut self.keys[at]
            }
            None => self.others.get_or_insert_with(|| Window::new("others", now)),
        }
    }
}

impl Window {
    fn new(key: &str, now: Ticks) -> Self {
        Window { key: key.into(), began: now, written: 0, suppressed: 0 }
    }

    fn is_over(&self, now: Ticks) -> bool {
        now.saturating_sub(self.began) >= period_ticks()
    }

    fn admit(&mut self, now: Ticks) -> Option<More> {
        let mut more = More { lines: 0, within: Duration::ZERO };
        if self.is_over(now) {
            more = self.take_more(now);
            (self.began, self.written) = (now, 0);
        }
        if self.written < LINES.load(Ordering::Relaxed) {
            self.written += 1;
            Some(more)
        } else {
            self.suppressed += 1;
            None
        }
    }

    fn take_more(&mut self, now: Ticks) -> More {
        let within = ticks_long(now.saturating_sub(self.began));
        More { lines: std::mem::take(&mut self.suppressed), within }
    }
}

fn period_ticks() -> Ticks {
    match PERIOD.load(Ordering::Relaxed) {
        0 => ticks_ceil(PERIOD_DEFAULT),
        ticks => ticks,
    }
}

fn shortened(key: &str) -> &str {
    if key.len() <= KEY_LEN_MAX {
        return key;
    }
    let end = (0..=KEY_LEN_MAX).rev().find(|&end| key.is_char_boundary(end));
    &key[..end.unwrap_or(0)]
}

impl Display for More {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.lines {
            0 => Ok(()),
            lines => write!(f, " ({lines} more in the last {} s)", self.within.as_secs().max(1)),
        }
    }
}

thread_local! {
    /// The number of the route whose code this thread runs; `u32::MAX` for none.
    static CURRENT: Cell<u32> = const { Cell::new(u32::MAX) };
}

/// The route whose handler the calling thread runs, if it runs one: for log lines that are to name it.
/// Takes a lock; not meant for every request.
pub fn current_route() -> Option<Arc<Route>> {
    route::by_number(CURRENT.get())
}

/// Runs `code` as code of `route`: [`current_route`] is that route meanwhile. The engine calls handlers so;
/// this is for what calls them without an engine.
pub fn within<R>(route: &Route, code: impl FnOnce() -> R) -> R {
    /// Also after a panic.
    struct PutBack(u32);
    impl Drop for PutBack {
        fn drop(&mut self) {
            CURRENT.set(self.0);
        }
    }
    let _outer = PutBack(CURRENT.replace(route.number()));
    code()
}

/// Shows a value as its `Display` does, with control characters escaped: a client cannot end the log line
/// with it, colour it or turn its direction.
///
/// ```
/// use threadline_engine::log::Escaped;
///
/// assert_eq!(Escaped("a\nb\u{1b}[2J").to_string(), r"a\nb\u{1b}[2J");
/// ```
#[derive(Debug, Clone, Copy)]
pub struct Escaped<T>(pub T);

impl<T: Display> Display for Escaped<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(Escaping(f), "{}", self.0)
    }
}

struct Escaping<'f, 'w>(&'f mut fmt::Formatter<'w>);

impl fmt::Write for Escaping<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for piece in text.split_inclusive(is_harmful) {
            match piece.chars().next_back().filter(|last| is_harmful(*last)) {
                Some(last) => {
                    let harmless = &piece[..piece.len() - last.len_utf8()];
                    write!(self.0, "{harmless}{}", last.escape_default())?;
                }
                None => self.0.write_str(piece)?,
            }
        }
        Ok(())
    }
}

/// Control characters (C0, DEL, C1), line and paragraph separators, and what changes the direction of text.
fn is_harmful(character: char) -> bool {
    character.is_control()
        || matches!(
            character,
            '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
        )
}

/// Shows the first `.1` bytes of what a client has sent as text: what is not printable ASCII is escaped.
///
/// ```
/// use threadline_engine::log::Bytes;
///
/// assert_eq!(Bytes(b"GET /\xff\r\n", 80).to_string(), r"GET /\xff\r\n");
/// assert_eq!(Bytes(b"a long line", 6).to_string(), "a long...");
/// ```
#[derive(Debug, Clone, Copy)]
pub struct Bytes<'b>(pub &'b [u8], pub usize);

impl Display for Bytes<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Bytes(bytes, max) = *self;
        let shown = &bytes[..bytes.len().min(max)];
        write!(f, "{}{}", shown.escape_ascii(), if shown.len() < bytes.len() { "..." } else { "" })
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    /// What the sites of these tests have reported.
    static TOLD: Mutex<Vec<(String, u64)>> = Mutex::new(Vec::new());

    fn note(key: &str, more: More) {
        TOLD.lock().push((key.to_owned(), more.lines));
    }

    fn told_of(key: &str) -> Vec<u64> {
        TOLD.lock().iter().filter(|(k, _)| k == key).map(|(_, lines)| *lines).collect()
    }

    fn lines(site: &'static Site, key: &str, count: usize, now: Ticks) -> usize {
        (0..count).filter(|_| site.admit_at(key, now).is_some()).count()
    }

    const MINUTE: Ticks = 4000;
    const BUDGET: usize = LINES_DEFAULT as usize;

    #[test]
    fn a_flood_is_a_few_lines_and_a_count() {
        static SITE: Site = Site::new(|_, _| {});
        let before = suppressed_lines();
        assert_eq!(lines(&SITE, "flood", 1000, MINUTE), BUDGET);
        assert!(suppressed_lines() - before >= 995);
        // The next line says how many there were.
        let period = ticks_ceil(PERIOD_DEFAULT);
        assert_eq!(SITE.admit_at("flood", MINUTE + period - 1), None);
        let more = SITE.admit_at("flood", MINUTE + period).expect("a line");
        assert_eq!(more.to_string(), " (996 more in the last 10 s)");
        // Told once.
        let more = SITE.admit_at("flood", MINUTE + period).expect("a line");
        assert_eq!(more.to_string(), "");
    }

    #[test]
    fn the_end_of_a_flood_is_told_without_another_line() {
        static SITE: Site = Site::new(note);
        lines(&SITE, "tail", 25, MINUTE);
        for (key, more) in SITE.take_due(MINUTE, Due::Over) {
            note(&key, more);
        }
        assert_eq!(told_of("tail"), []);
        report_at(2 * MINUTE, Due::Over);
        report_at(2 * MINUTE, Due::All);
        assert_eq!(told_of("tail"), [20]);
        lines(&SITE, "tail", 6, 3 * MINUTE);
        report_at(3 * MINUTE, Due::All);
        assert_eq!(told_of("tail"), [20, 1]);
    }

    #[test]
    fn keys_have_lines_of_their_own_and_are_bounded() {
        static SITE: Site = Site::new(|_, _| {});
        for key in 0..KEYS_MAX {
            assert_eq!(lines(&SITE, &format!("key {key}"), 100, MINUTE), BUDGET);
        }
        // All others share the lines of one.
        let others = (0..1000).map(|key| lines(&SITE, &format!("other {key}"), 2, MINUTE));
        assert_eq!(others.sum::<usize>(), BUDGET);
        assert_eq!(SITE.state.lock().keys.len(), KEYS_MAX);
        // Keys of a period that is over, and told, give way.
        let told = SITE.take_due(2 * MINUTE, Due::Over);
        assert_eq!(told.len(), KEYS_MAX + 1);
        assert_eq!(lines(&SITE, "late", 100, 2 * MINUTE), BUDGET);
        assert_eq!(SITE.state.lock().keys.len(), KEYS_MAX);
    }

    #[test]
    fn long_keys_are_cut_between_characters() {
        assert_eq!(shortened("short"), "short");
        let long = "ä".repeat(100);
        assert_eq!(shortened(&long), "ä".repeat(64));
        assert_eq!(shortened(&format!("a{long}")).len(), 127);
    }

    #[test]
    fn the_route_of_a_thread_is_known_and_forgotten() {
        let name = || current_route().map(|route| route.name().to_owned());
        assert_eq!(name(), None);
        let (outer, inner) = (Route::new("outer"), Route::new("inner"));
        within(&outer, || {
            assert_eq!(name().as_deref(), Some("outer"));
            let caught = std::panic::catch_unwind(|| within(&inner, || panic!("on purpose")));
            assert!(caught.is_err());
            assert_eq!(name().as_deref(), Some("outer"));
        });
        assert_eq!(name(), None);
    }

    #[test]
    fn what_could_end_or_turn_a_line_is_escaped() {
        let evil = "a\r\nINFO forged\t\u{0}\u{1b}[31m\u{85}\u{2028}\u{202e}ä\\";
        let shown = Escaped(evil).to_string();
        assert!(!shown.chars().any(is_harmful), "{shown}");
        assert!(shown.starts_with(r"a\r\nINFO forged\t\u{0}\u{1b}[31m"), "{shown}");
        assert!(shown.ends_with(r"ä\"), "{shown}");
    }
}
