//! What the pool counts, for metrics and for tests of the promises.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use crate::RejectReason;
use crate::counter::{LockedCounter, SharedCounter};
use crate::lobby::Lobby;
use crate::queue::Queue;
use crate::roster::Roster;
use crate::tray::Tray;

/// A look at the pool, from [`ThreadPool::stats`](crate::ThreadPool::stats). Taken without its
/// lock: figures may be a moment apart from each other.
///
/// ```
/// use std::time::Duration;
/// use threadline_pool::ThreadPool;
///
/// let pool = ThreadPool::builder().threads_max(2).build()?;
/// for _ in 0..10 {
///     pool.submit(|| ())?;
/// }
/// assert!(pool.shutdown(Duration::from_secs(5)));
/// let stats = pool.stats();
/// assert_eq!((stats.submitted, stats.completed, stats.threads), (10, 10, 0));
/// assert!(stats.threads_peak <= stats.threads_max);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Threads there are, one that is being started included.
    pub threads: usize,
    /// Threads there may be (a setting).
    pub threads_max: usize,
    /// Threads that run a job.
    pub busy: usize,
    /// Threads that sleep and were not called. What is neither busy nor idle is under way.
    pub idle: usize,
    /// The most threads there ever were at once.
    pub threads_peak: usize,
    /// Jobs that wait, essential ones included.
    pub queue_len: usize,
    /// The most jobs that ever waited at once.
    pub queue_len_peak: usize,
    /// Submitters that wait for room ([`Policy::Block`](crate::Policy::Block)), those already
    /// called excepted.
    pub blocked: usize,
    /// Jobs accepted. Each is later completed or cancelled.
    pub submitted: u64,
    /// Jobs that ended, those that panicked included. A moment later their threads count as free.
    pub completed: u64,
    /// Jobs accepted and dropped without being run: to make room, because the pool ended, as tasks that were
    /// cancelled, or because they were withdrawn.
    pub cancelled: u64,
    /// Jobs that panicked, or whose drop did when they were cancelled.
    pub panicked: u64,
    /// Jobs given back, whatever the reason.
    pub rejected: u64,
    /// Jobs, among those accepted, whose submitter found the pool's lock taken and did not wait for it.
    pub posted: u64,
    /// Jobs, among those completed, that did not come out of the queue: run by their submitter
    /// ([`Policy::CallerRuns`](crate::Policy::CallerRuns)), the thread that joined the task, or the caller of
    /// [`scope`](crate::ThreadPool::scope).
    pub ran_in_caller: u64,
    /// Thread hooks that panicked.
    pub hook_panics: u64,
    /// Idle threads woken for work: what the pool pays in system calls, next to `spawned`.
    pub wakes: u64,
    /// Threads started.
    pub spawned: u64,
    /// Threads the system refused to start.
    pub spawn_failures: u64,
    /// Threads that could not raise their nice value and run at the process's.
    pub nice_failures: u64,
}

/// The figures where they are kept, except the jobs that ended, which the tray counts. Those that
/// change with every job are written under the pool's lock and so need no read-modify-write;
/// nothing is decided by any of them, hence relaxed.
#[derive(Default)]
pub(crate) struct Counters {
    pub(crate) per_job: PerJob,
    threads: AtomicUsize,
    busy: AtomicUsize,
    idle: AtomicUsize,
    threads_peak: AtomicUsize,
    blocked: AtomicUsize,
    /// 1 or 0.
    has_spare: AtomicUsize,
    /// How many ordinary jobs may join those that wait, the mail not counted.
    room: AtomicUsize,
    /// 1 or 0.
    closing: AtomicUsize,
    pub(crate) cancelled: LockedCounter,
    pub(crate) rejected: SharedCounter,
    pub(crate) posted: SharedCounter,
    pub(crate) panicked: SharedCounter,
    pub(crate) ran_in_caller: SharedCounter,
    pub(crate) hook_panics: SharedCounter,
    pub(crate) wakes: SharedCounter,
    pub(crate) spawned: SharedCounter,
    pub(crate) spawn_failures: SharedCounter,
    pub(crate) nice_failures: SharedCounter,
}

/// What changes with every job, on a cache line of its own: the one line of the counters that goes
/// from core to core with the lock.
#[derive(Default)]
#[repr(align(64))]
pub(crate) struct PerJob {
    pub(crate) submitted: LockedCounter,
    queue_len: AtomicUsize,
    queue_len_peak: AtomicUsize,
}

impl Counters {
    /// Shows how things stand. Called under the pool's lock, after each change. `room` is `None` once
    /// the pool closes.
    pub(crate) fn publish(
        &self,
        roster: &Roster,
        queue: &Queue,
        tray: &Tray,
        lobby: &Lobby,
        room: Option<usize>,
    ) {
        show(&self.room, room.unwrap_or(0));
        show(&self.closing, usize::from(room.is_none()));
        show(&self.threads, roster.threads());
        show(&self.busy, roster.busy());
        show(&self.idle, roster.idle());
        show(&self.blocked, lobby.len());
        let waiting = queue.len() + tray.len();
        show(&self.has_spare, usize::from(roster.has_spare(waiting)));
        raise(&self.threads_peak, roster.threads_proved());
        self.per_job.queue_len.store(queue.len(), Relaxed);
        raise(&self.per_job.queue_len_peak, queue.len() + tray.len());
    }

    pub(crate) fn busy(&self) -> usize {
        self.busy.load(Relaxed)
    }

    /// How many jobs were submitted so far, and how many wait: both may be a moment old.
    pub(crate) fn crowd(&self, tray: &Tray) -> (u64, usize) {
        (self.per_job.submitted.read(), self.per_job.queue_len.load(Relaxed) + tray.len())
    }

    /// What is to be said to one more ordinary job, besides so many in the mail, by how things stood when
    /// the pool's lock was last let go.
    pub(crate) fn admission(&self, posted: usize) -> Result<(), RejectReason> {
        if self.closing.load(Relaxed) == 1 {
            Err(RejectReason::ShutDown)
        } else if self.room.load(Relaxed) <= posted {
            Err(RejectReason::Full)
        } else {
            Ok(())
        }
    }

    pub(crate) fn has_spare(&self) -> bool {
        self.has_spare.load(Relaxed) == 1
    }

    pub(crate) fn read(&self, tray: &Tray, threads_max: usize) -> Stats {
        let ran_in_caller = self.ran_in_caller.read();
        Stats {
            threads: self.threads.load(Relaxed),
            threads_max,
            busy: self.busy(),
            idle: self.idle.load(Relaxed),
            threads_peak: self.threads_peak.load(Relaxed),
            queue_len: self.per_job.queue_len.load(Relaxed) + tray.len(),
            queue_len_peak: self.per_job.queue_len_peak.load(Relaxed),
            blocked: self.blocked.load(Relaxed),
            submitted: self.per_job.submitted.read(),
            completed: tray.completed() + ran_in_caller,
            cancelled: self.cancelled.read(),
            panicked: self.panicked.read(),
            rejected: self.rejected.read(),
            posted: self.posted.read(),
            ran_in_caller,
            hook_panics: self.hook_panics.read(),
            wakes: self.wakes.read(),
            spawned: self.spawned.read(),
            spawn_failures: self.spawn_failures.read(),
            nice_failures: self.nice_failures.read(),
        }
    }
}

/// Stores what is new only: a line that nobody writes stays in every core's cache.
fn show(figure: &AtomicUsize, value: usize) {
    if figure.load(Relaxed) != value {
        figure.store(value, Relaxed);
    }
}

fn raise(peak: &AtomicUsize, value: usize) {
    if value > peak.load(Relaxed) {
        peak.store(value, Relaxed);
    }
}
