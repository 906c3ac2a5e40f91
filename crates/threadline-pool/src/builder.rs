//! The pool's settings: each with its default, the reason for it, and its check.

use std::io;
use std::time::Duration;

use crate::hooks::Hook;
use crate::{OnDrop, Policy, ThreadPool};

/// Settings of a [`ThreadPool`] to be. From [`ThreadPool::builder`].
///
/// ```
/// use std::time::Duration;
/// use threadline_pool::{Policy, ThreadPool};
///
/// let pool = ThreadPool::builder()
///     .name("resize")
///     .threads_max(8)
///     .queue_len_max(100)
///     .when_full(Policy::Block { timeout: Duration::from_secs(2) })
///     .on_thread_start(|| println!("{:?} begins", std::thread::current().name()))
///     .build()?;
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug, Clone)]
#[must_use = "a builder does nothing until `build` is called"]
pub struct Builder {
    settings: Settings,
}

#[derive(Debug, Clone)]
pub(crate) struct Settings {
    pub(crate) threads_min: usize,
    pub(crate) threads_max: usize,
    pub(crate) queue_len_max: usize,
    pub(crate) keep_alive: Duration,
    pub(crate) name: String,
    pub(crate) stack_size: Option<usize>,
    pub(crate) nice: u8,
    pub(crate) timer_slack: Option<Duration>,
    pub(crate) when_full: Policy,
    pub(crate) on_drop: OnDrop,
    pub(crate) measure_times: bool,
    pub(crate) on_thread_start: Hook,
    pub(crate) on_thread_stop: Hook,
}

impl Builder {
    pub(crate) fn new() -> Self {
        let settings = Settings {
            threads_min: 0,
            threads_max: 512,
            queue_len_max: 4096,
            keep_alive: Duration::from_secs(10),
            name: "pool".to_owned(),
            stack_size: None,
            nice: 5,
            timer_slack: None,
            when_full: Policy::default(),
            on_drop: OnDrop::default(),
            measure_times: true,
            on_thread_start: Hook::default(),
            on_thread_stop: Hook::default(),
        };
        Builder { settings }
    }

    /// Threads that are started at once and stay without work. Default 0: a pool that is not used
    /// costs nothing. With 1 or more, a job is never refused for want of a thread.
    pub fn threads_min(mut self, threads_min: usize) -> Self {
        self.settings.threads_min = threads_min;
        self
    }

    /// The most threads there may be. Default 512: enough for hundreds of jobs that wait on
    /// something at once, at about 34 KB each; beyond that the queue is the back-pressure.
    pub fn threads_max(mut self, threads_max: usize) -> Self {
        self.settings.threads_max = threads_max;
        self
    }

    /// The most ordinary jobs that may wait while no thread is free. Default 4 096: eight rounds of
    /// work for 512 threads, so that a burst is taken and a standing overload is told early.
    /// With 0 a job is taken only if a thread can take it at once.
    pub fn queue_len_max(mut self, queue_len_max: usize) -> Self {
        self.settings.queue_len_max = queue_len_max;
        self
    }

    /// How long a thread stays without work, beyond `threads_min`. Default 10 s: longer than the
    /// gaps in steady traffic, short enough that a burst's threads are soon gone.
    pub fn keep_alive(mut self, keep_alive: Duration) -> Self {
        self.settings.keep_alive = keep_alive;
        self
    }

    /// What the threads are called: `<name>-<n>`. Default `"pool"`. Debuggers and `top` show the
    /// first 15 bytes.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.settings.name = name.into();
        self
    }

    /// Stack of each thread, in bytes. Default: what `std` takes, 2 MB or `RUST_MIN_STACK`. Only
    /// touched pages cost memory.
    pub fn stack_size(mut self, stack_size: usize) -> Self {
        self.settings.stack_size = Some(stack_size);
        self
    }

    /// Nice value of the threads, 0 to 19. Default 5: threads that serve many go before those that
    /// serve one, while the pool still gets its share on a saturated machine (19 gives the others
    /// the best tails and can starve the pool). Never lowers the value that the process came with.
    /// Threads and processes that a job starts inherit it. On systems other than Linux, where nice
    /// values belong to processes, it does nothing. If the system refuses, the thread runs anyway
    /// and `Stats::nice_failures` counts it.
    pub fn nice(mut self, nice: u8) -> Self {
        self.settings.nice = nice;
        self
    }

    /// How late sleeps and time-outs of jobs may end, besides what a busy machine adds to that. Default:
    /// what the thread that starts one has, as a rule the system's 50 us. With more, threads whose times
    /// are close wake together, at less cost for all; with less, they are more punctual. Threads and
    /// processes that a job starts inherit it. Does nothing on systems other than Linux.
    pub fn timer_slack(mut self, slack: Duration) -> Self {
        self.settings.timer_slack = Some(slack);
        self
    }

    /// What [`ThreadPool::submit`] does when the queue is full. Default [`Policy::Reject`].
    /// `try_submit` and `submit_essential` do not follow it.
    pub fn when_full(mut self, policy: Policy) -> Self {
        self.settings.when_full = policy;
        self
    }

    /// What becomes of waiting jobs when the last handle is dropped. Default [`OnDrop::Finish`].
    pub fn on_drop(mut self, on_drop: OnDrop) -> Self {
        self.settings.on_drop = on_drop;
        self
    }

    /// Whether the pool measures how long jobs wait and run, for [`ThreadPool::times`]. Default
    /// true. It costs two readings of the clock for each job (a third for one that a thread is
    /// woken for), some 60 ns together, 8 bytes for each job that waits, and 5 KB for the pool.
    /// Worth switching off when jobs take less than a microsecond, or when the submitter measures
    /// them.
    pub fn measure_times(mut self, measure: bool) -> Self {
        self.settings.measure_times = measure;
        self
    }

    /// Run by each new thread, before its first job: to set up thread-locals, to name or pin the
    /// thread. Default none. The pool's jobs wait for it, and no other thread is woken meanwhile:
    /// keep it short. If it panics, the panic is reported by the panic hook and counted in
    /// `Stats::hook_panics`, and the thread goes on.
    pub fn on_thread_start(mut self, hook: impl Fn() + Send + Sync + 'static) -> Self {
        self.settings.on_thread_start = Hook::new(hook);
        self
    }

    /// Run by each thread that ends, after its last job. Default none. The thread is not counted in
    /// `Stats::threads` any more and another may already have taken its place, but `shutdown` waits
    /// for it. A panic is treated as one in `on_thread_start`.
    pub fn on_thread_stop(mut self, hook: impl Fn() + Send + Sync + 'static) -> Self {
        self.settings.on_thread_stop = Hook::new(hook);
        self
    }

    /// Makes the pool and starts its `threads_min` threads.
    ///
    /// # Errors
    /// [`io::ErrorKind::InvalidInput`] for settings that make no sense. "no thread could be started: ...",
    /// with the kind of the system's error, if one of the `threads_min` threads cannot be started.
    pub fn build(self) -> io::Result<ThreadPool> {
        self.settings.check()?;
        ThreadPool::start(self.settings)
    }
}

impl Settings {
    fn check(&self) -> io::Result<()> {
        let Settings { threads_min, threads_max, nice, .. } = self;
        let problem = if *threads_max == 0 {
            "threads_max is 0: it must be at least 1".to_owned()
        } else if threads_min > threads_max {
            format!("threads_min is {threads_min}, more than threads_max, which is {threads_max}")
        } else if *nice > 19 {
            format!("nice is {nice}: it goes from 0 to 19")
        } else if self.name.contains('\0') {
            "name contains a NUL byte".to_owned()
        } else {
            return Ok(());
        };
        Err(io::Error::new(io::ErrorKind::InvalidInput, problem))
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::RejectReason;

    #[test]
    fn a_thread_that_cannot_be_started_is_named_so() {
        // A stack larger than the address space.
        let builder = ThreadPool::builder().stack_size(1 << 48);
        let error = builder.clone().threads_min(1).build().expect_err("no such stack");
        assert!(error.to_string().starts_with("no thread could be started: "), "{error}");
        let pool = builder.build().expect("no thread is needed yet");
        let rejected = pool.submit(|| ()).expect_err("no such stack");
        assert_eq!(rejected.reason, RejectReason::NoThread);
        assert!(rejected.to_string().starts_with("no thread could be started: "), "{rejected}");
        assert_eq!(pool.stats().spawn_failures, 1);
    }

    #[test]
    fn settings_that_make_no_sense_are_refused_by_name() {
        let builders = [
            (ThreadPool::builder().threads_max(0), "threads_max is 0"),
            (ThreadPool::builder().threads_min(3).threads_max(2), "threads_min is 3"),
            (ThreadPool::builder().nice(20), "nice is 20"),
            (ThreadPool::builder().name("a\0b"), "name contains"),
        ];
        for (builder, expected) in builders {
            let error = builder.build().expect_err(expected);
            assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
            assert!(error.to_string().starts_with(expected), "{error}");
        }
    }
}
