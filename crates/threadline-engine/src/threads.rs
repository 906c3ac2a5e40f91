//! The threads that run handlers: what the program runs at the start and at the end of each, and how many
//! of them exist.
//!
//! Loop threads, spares and connections' own threads are started by [`Threads::wrap`], which runs the two
//! hooks around them. Pool threads are counted by the pool, which calls [`Threads::start`] and
//! [`Threads::stop`]. The monitor runs no handlers and has no hooks. A hook is user code: it never runs
//! under a lock, and its panic ends here.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::contained::Contained;
use crate::route::Route;
use crate::turn::contain;

/// Code that runs on each thread that may run handlers: [`Settings::on_thread_start`] and
/// [`Settings::on_thread_stop`]. Default: none.
///
/// ```
/// use threadline_engine::{Settings, ThreadHook};
///
/// let mut settings = Settings::default();
/// settings.on_thread_start = ThreadHook::new(|| println!("a thread begins"));
/// ```
///
/// [`Settings::on_thread_start`]: crate::Settings::on_thread_start
/// [`Settings::on_thread_stop`]: crate::Settings::on_thread_stop
#[derive(Clone, Default)]
pub struct ThreadHook(Option<Contained<Arc<dyn Fn() + Send + Sync>>>);

impl ThreadHook {
    /// A hook that calls `code`. A panic of `code` is logged and counted
    /// ([`Counts::thread_hook_panics`](crate::Counts::thread_hook_panics)), and the thread goes on.
    pub fn new(code: impl Fn() + Send + Sync + 'static) -> Self {
        ThreadHook(Some(Contained::new(Arc::new(code))))
    }
}

impl fmt::Debug for ThreadHook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "set" } else { "none" })
    }
}

/// The hooks of one engine, and its threads outside of the pool.
#[derive(Debug)]
pub(crate) struct Threads {
    on_start: ThreadHook,
    on_stop: ThreadHook,
    /// Stands for the hooks where a panic is logged, and counts their panics.
    route: Arc<Route>,
    /// Threads of [`Threads::wrap`] that have not run their stop hook yet, those that are just being
    /// started included.
    running: AtomicUsize,
}

impl Threads {
    pub(crate) fn new(on_start: ThreadHook, on_stop: ThreadHook) -> Arc<Self> {
        let (route, running) = (Route::new("thread hook"), AtomicUsize::new(0));
        Arc::new(Threads { on_start, on_stop, route, running })
    }

    pub(crate) fn has_hooks(&self) -> bool {
        self.on_start.0.is_some() || self.on_stop.0.is_some()
    }

    /// `run` with the hooks around it, for a new thread. The thread counts from here on, so that a drain
    /// cannot end between its start and its first step; if it is not started, dropping what is returned
    /// takes it back.
    pub(crate) fn wrap(
        self: &Arc<Self>,
        run: impl FnOnce() + Send + 'static,
    ) -> impl FnOnce() + Send + 'static {
        self.running.fetch_add(1, Ordering::Relaxed);
        let mut member = Member { threads: Arc::clone(self), started: false };
        move || {
            member.start();
            // What `run` has captured is dropped with it, before the stop hook.
            run();
        }
    }

    /// Runs the start hook on the calling thread.
    pub(crate) fn start(&self) {
        self.run(&self.on_start);
    }

    /// Runs the stop hook on the calling thread.
    pub(crate) fn stop(&self) {
        self.run(&self.on_stop);
    }

    fn run(&self, hook: &ThreadHook) {
        if let Some(code) = &hook.0 {
            contain(&self.route, &***code);
        }
    }

    /// How many threads of [`Threads::wrap`] there are.
    pub(crate) fn running(&self) -> usize {
        // Pairs with the release in `Member::drop`: what the stop hooks have done is seen.
        self.running.load(Ordering::Acquire)
    }

    /// How many hooks have panicked.
    pub(crate) fn hook_panics(&self) -> u64 {
        self.route.panics()
    }
}

/// One thread's place among the counted ones; its drop runs the stop hook, also when the thread unwinds.
struct Member {
    threads: Arc<Threads>,
    started: bool,
}

impl Member {
    fn start(&mut self) {
        self.started = true;
        self.threads.start();
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        if self.started {
            self.threads.stop();
        }
        self.threads.running.fetch_sub(1, Ordering::Release);
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::sync::Mutex;

    use super::*;

    type Events = Arc<Mutex<Vec<&'static str>>>;

    fn threads(events: &Events) -> Arc<Threads> {
        let hook = |name| {
            let events = Arc::clone(events);
            ThreadHook::new(move || events.lock().expect("sound").push(name))
        };
        Threads::new(hook("start"), hook("stop"))
    }

    #[test]
    fn hooks_run_around_a_thread_once_each() {
        let events = Events::default();
        let (threads, inner) = (threads(&events), Arc::clone(&events));
        let run = threads.wrap(move || inner.lock().expect("sound").push("run"));
        assert_eq!(threads.running(), 1);
        std::thread::spawn(run).join().expect("the thread");
        assert_eq!(*events.lock().expect("sound"), ["start", "run", "stop"]);
        assert_eq!(threads.running(), 0);
    }

    #[test]
    fn a_thread_that_is_not_started_has_no_hooks_and_does_not_count() {
        let events = Events::default();
        let threads = threads(&events);
        drop(threads.wrap(|| ()));
        assert!(events.lock().expect("sound").is_empty());
        assert_eq!(threads.running(), 0);
    }

    #[test]
    fn a_thread_that_unwinds_runs_its_stop_hook() {
        let events = Events::default();
        let threads = threads(&events);
        assert!(std::thread::spawn(threads.wrap(|| panic!("as asked"))).join().is_err());
        assert_eq!(*events.lock().expect("sound"), ["start", "stop"]);
        assert_eq!(threads.running(), 0);
    }

    #[test]
    fn hooks_that_panic_are_counted_and_the_thread_goes_on() {
        let fails = || ThreadHook::new(|| panic!("as asked"));
        let threads = Threads::new(fails(), fails());
        std::thread::spawn(threads.wrap(|| ())).join().expect("the thread");
        assert_eq!((threads.hook_panics(), threads.running()), (2, 0));
    }
}
