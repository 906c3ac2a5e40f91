//! What the pool counts, for metrics and for tests of the promises.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};

use crate::queue::Queue;
use crate::roster::Roster;

/// A look at the pool. Taken without its lock: figures may be a moment apart from each other.
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
    /// Jobs accepted.
    pub submitted: u64,
    /// Jobs that ended, those that panicked included.
    pub completed: u64,
    /// Jobs that panicked.
    pub panicked: u64,
    /// Jobs given back, whatever the reason.
    pub rejected: u64,
    /// Idle threads woken for work: what the pool pays in system calls, next to `spawned`.
    pub wakes: u64,
    /// Threads started.
    pub spawned: u64,
    /// Threads the system refused to start.
    pub spawn_failures: u64,
    /// Threads that could not raise their nice value and run at the process's.
    pub nice_failures: u64,
}

/// The figures where they are kept. Those that change with every job are written under the pool's
/// lock and so need no read-modify-write; nothing is decided by any of them, hence relaxed.
#[derive(Default)]
pub(crate) struct Counters {
    threads: AtomicUsize,
    busy: AtomicUsize,
    idle: AtomicUsize,
    threads_peak: AtomicUsize,
    queue_len: AtomicUsize,
    queue_len_peak: AtomicUsize,
    pub(crate) submitted: LockedCounter,
    pub(crate) completed: LockedCounter,
    pub(crate) panicked: LockedCounter,
    pub(crate) rejected: LockedCounter,
    pub(crate) wakes: SharedCounter,
    pub(crate) spawned: SharedCounter,
    pub(crate) spawn_failures: SharedCounter,
    pub(crate) nice_failures: SharedCounter,
}

/// Written under the pool's lock only.
#[derive(Default)]
pub(crate) struct LockedCounter(AtomicU64);

impl LockedCounter {
    pub(crate) fn increment(&self) {
        self.0.store(self.0.load(Relaxed) + 1, Relaxed);
    }
}

/// Written by anybody at any time.
#[derive(Default)]
pub(crate) struct SharedCounter(AtomicU64);

impl SharedCounter {
    pub(crate) fn increment(&self) {
        self.0.fetch_add(1, Relaxed);
    }
}

impl Counters {
    /// Shows how things stand. Called under the pool's lock, after each change.
    pub(crate) fn publish(&self, roster: &Roster, queue: &Queue) {
        self.threads.store(roster.threads(), Relaxed);
        self.busy.store(roster.busy(), Relaxed);
        self.idle.store(roster.idle(), Relaxed);
        self.queue_len.store(queue.len(), Relaxed);
        raise(&self.threads_peak, roster.threads_proved());
        raise(&self.queue_len_peak, queue.len());
    }

    pub(crate) fn busy(&self) -> usize {
        self.busy.load(Relaxed)
    }

    pub(crate) fn read(&self, threads_max: usize) -> Stats {
        Stats {
            threads: self.threads.load(Relaxed),
            threads_max,
            busy: self.busy(),
            idle: self.idle.load(Relaxed),
            threads_peak: self.threads_peak.load(Relaxed),
            queue_len: self.queue_len.load(Relaxed),
            queue_len_peak: self.queue_len_peak.load(Relaxed),
            submitted: self.submitted.0.load(Relaxed),
            completed: self.completed.0.load(Relaxed),
            panicked: self.panicked.0.load(Relaxed),
            rejected: self.rejected.0.load(Relaxed),
            wakes: self.wakes.0.load(Relaxed),
            spawned: self.spawned.0.load(Relaxed),
            spawn_failures: self.spawn_failures.0.load(Relaxed),
            nice_failures: self.nice_failures.0.load(Relaxed),
        }
    }
}

fn raise(peak: &AtomicUsize, value: usize) {
    if value > peak.load(Relaxed) {
        peak.store(value, Relaxed);
    }
}
