//! Threads that run calls off the shards, beside the pool, what calls wait for, and threads that write files.
//!
//! Under the adaptive model a call goes by the class of its route: one of a blocking route to the pool, one of
//! an unclassified route to a trial thread, one of a computing route to a computing thread. So an unknown
//! route never waits for those that are known to block, and all cores together compute as fast as they can,
//! with the memory of as many calls as there are cores. Shards decide the way (`shard/offload.rs`).
//!
//! - `gate`: bounds how many calls of one kind run at a time; the others wait in line, parked
//! - `watch`: calls that run as trials or compute, as the monitor sees them

mod gate;
mod watch;

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use threadline_pool::{Builder, Rejected, Stats, ThreadPool, Ticket};

use crate::settings::{Settings, cores};
use crate::threads::Threads;

pub(crate) use gate::{Admission, Errand, Gate, Permit, Position, Withdrawn, run_in_turn};
pub(crate) use watch::{LOOK_EVERY, Watch, WatchedCall, Why};

/// Bound of the queues of trial and computing threads, which is never met: a trial gets there only if a thread is
/// free for it, and computing calls only with a place at their gate.
const QUEUE_LEN_MAX: usize = 1 << 20;

/// The least bound on the threads that write files: one slow write must not hold up all content.
const FILE_THREADS_MIN: usize = 2;

/// The threads of one engine that run calls, by what calls they run, and those that write files.
#[derive(Debug)]
pub(crate) struct Workers {
    /// For calls of unclassified routes. No nice value: a first call is not slower than others.
    trials: ThreadPool,
    /// For calls of computing routes, and for sources of routes that do not block; for destructors when the
    /// pool is stuck.
    computing: ThreadPool,
    /// Write the content of messages to files, and delete these. They answer no message, so that no handler holds
    /// up content.
    files: ThreadPool,
    /// How many threads write files at most.
    pub(crate) files_max: usize,
    /// Bounds how many computing calls run at a time.
    pub(crate) cores: Arc<Gate>,
    /// Bounds how many calls that wait for their peers have a pool thread at a time.
    pub(crate) streams: Arc<Gate>,
    /// Calls that wait at any gate.
    waiting: Arc<AtomicUsize>,
    pub(crate) watch: Watch,
}

/// What the threads are doing.
#[derive(Debug)]
pub(crate) struct Census {
    pub(crate) trials: Stats,
    pub(crate) computing: Stats,
    #[cfg(feature = "testing")]
    pub(crate) files: Stats,
    /// Calls that have a place to compute.
    pub(crate) computing_held: usize,
    pub(crate) computing_waiting: usize,
    /// Calls that have a place to wait for their peers.
    pub(crate) streamed: usize,
    /// Calls that wait at any gate.
    pub(crate) parked: usize,
}

/// A job with a call in the queue of one of the pools.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum QueuedJob {
    /// The pool that runs blocking calls.
    Pool(Ticket),
    Trials(Ticket),
    Computing(Ticket),
}

/// Counts a call that waits at a gate, until it is dropped.
#[derive(Debug)]
pub(crate) struct Waiter(Arc<AtomicUsize>);

impl Drop for Waiter {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Workers {
    /// Starts no thread: those come with their calls.
    pub(crate) fn new(settings: &Settings, threads: &Arc<Threads>) -> io::Result<Workers> {
        let trials = pool_builder(settings, threads)
            .name("tl-trial")
            .threads_max(settings.trial_threads_max)
            .queue_len_max(QUEUE_LEN_MAX);
        // More threads than may compute: a call that turns out to sleep keeps its thread, not its place.
        let computing = pool_builder(settings, threads)
            .name("tl-compute")
            .threads_max(settings.computing_max().saturating_add(settings.pool_threads_max))
            .queue_len_max(QUEUE_LEN_MAX)
            .nice(settings.computing_nice);
        let files_max = cores().max(FILE_THREADS_MIN);
        let files = pool_builder(settings, threads)
            .name("tl-files")
            .threads_max(files_max)
            .queue_len_max(QUEUE_LEN_MAX)
            .nice(settings.pool_nice);
        Ok(Workers {
            trials: trials.nice(0).build()?,
            computing: computing.build()?,
            files: files.build()?,
            files_max,
            cores: Gate::new(settings.computing_max()),
            streams: Gate::new(settings.streamed_max()),
            waiting: Arc::default(),
            watch: Watch::new(settings.monitor_tick),
        })
    }

    /// Runs the job on a trial thread; on one of `pool` if there is none for it: every trial thread runs a call
    /// that turned out to block.
    pub(crate) fn submit_trial<F>(
        &self,
        pool: &ThreadPool,
        job: F,
    ) -> Result<QueuedJob, Rejected<F>>
    where
        F: FnOnce() + Send + 'static,
    {
        // In a burst, threads that are on their way to earlier trials are none for this one.
        match self.trials.submit_to_spare(job) {
            Ok(ticket) => Ok(QueuedJob::Trials(ticket)),
            Err(rejected) => pool.try_submit(rejected.job).map(QueuedJob::Pool),
        }
    }

    /// Runs the job, which has a place to compute or to ask a source for more, on a computing thread.
    pub(crate) fn submit_computing<F>(
        &self,
        pool: &ThreadPool,
        job: F,
    ) -> Result<QueuedJob, Rejected<F>>
    where
        F: FnOnce() + Send + 'static,
    {
        match self.computing.try_submit(job) {
            Ok(ticket) => Ok(QueuedJob::Computing(ticket)),
            Err(rejected) => pool.try_submit(rejected.job).map(QueuedJob::Pool),
        }
    }

    /// Takes the job out of its queue, and drops it with its permit. Does nothing if a thread has begun with it.
    pub(crate) fn withdraw(&self, pool: &ThreadPool, job: QueuedJob) {
        match job {
            QueuedJob::Pool(ticket) => pool.withdraw(ticket),
            QueuedJob::Trials(ticket) => self.trials.withdraw(ticket),
            QueuedJob::Computing(ticket) => self.computing.withdraw(ticket),
        }
    }

    /// Runs a job that writes or deletes files, on a thread of `pool` if none can be started for it. False if there
    /// is no thread any more.
    pub(crate) fn submit_file<F>(&self, pool: &ThreadPool, job: F) -> bool
    where
        F: FnOnce() + Send + 'static,
    {
        let submitted = self.files.submit_essential(job).map(drop);
        submitted.or_else(|rejected| pool.submit_essential(rejected.job).map(drop)).is_ok()
    }

    /// Runs a job that drops values of user code, on a thread of `pool`, or on another if that has none to spare:
    /// what the values hold must not stay because others are stuck. False if there is no thread any more.
    pub(crate) fn submit_drop<F>(&self, pool: &ThreadPool, job: F) -> bool
    where
        F: FnOnce() + Send + 'static,
    {
        pool.submit_to_spare(job)
            .or_else(|rejected| self.computing.submit_essential(rejected.job))
            .or_else(|rejected| pool.submit_essential(rejected.job))
            .is_ok()
    }

    /// Figures for gauges.
    pub(crate) fn census(&self) -> Census {
        let (trials, computing) = (self.trials.stats(), self.computing.stats());
        Census {
            trials,
            computing,
            #[cfg(feature = "testing")]
            files: self.files.stats(),
            computing_held: self.cores.held(),
            computing_waiting: self.cores.waiting(),
            streamed: self.streams.held(),
            parked: self.waiting.load(Ordering::Relaxed),
        }
    }

    /// Waits until no call waits at a gate, and ends the threads. False if one still runs a handler after the time
    /// that is `left`. The pool must still run: calls whose route has just been classified go there.
    pub(crate) fn shutdown(&self, left: impl Fn() -> Duration) -> bool {
        while self.waiting.load(Ordering::Relaxed) > 0 && !left().is_zero() {
            // Rare, and for the drain alone.
            thread::sleep(left().min(Duration::from_millis(1)));
        }
        let pools = [&self.trials, &self.computing, &self.files];
        pools.map(|pool| pool.shutdown(left())) == [true; 3]
    }

    /// Lets one more call wait at a gate, unless `len_max` calls wait there and in the pool's queue.
    pub(crate) fn wait(&self, pool: &ThreadPool, len_max: usize) -> Option<Waiter> {
        // Two that come together may pass the bound by one.
        if self.waiting.load(Ordering::Relaxed) + pool.stats().queue_len >= len_max {
            return None;
        }
        self.waiting.fetch_add(1, Ordering::Relaxed);
        Some(Waiter(Arc::clone(&self.waiting)))
    }
}

/// What all pools of an engine have in common.
pub(crate) fn pool_builder(settings: &Settings, threads: &Arc<Threads>) -> Builder {
    let builder = ThreadPool::builder()
        .keep_alive(settings.pool_keep_alive)
        .timer_slack(settings.pool_timer_slack)
        // Two clock reads a call; the engine times what it needs to know itself.
        .measure_times(false);
    if !threads.has_hooks() {
        return builder;
    }
    let (starting, stopping) = (Arc::clone(threads), Arc::clone(threads));
    builder.on_thread_start(move || starting.start()).on_thread_stop(move || stopping.stop())
}
