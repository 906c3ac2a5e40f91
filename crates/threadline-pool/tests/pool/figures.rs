//! What the pool tells about itself adds up.

use std::sync::mpsc;
use std::time::{Duration, Instant};

use threadline_pool::{Policy, ThreadPool};

use crate::{Blocked, LONG, wait_for};

#[test]
fn every_job_accepted_is_waiting_running_completed_or_cancelled() {
    let builder = ThreadPool::builder().threads_max(2).queue_len_max(4);
    let pool = builder.when_full(Policy::DropOldest).build().expect("a pool");
    let blocked = [Blocked::running(&pool), Blocked::running(&pool)];
    for _ in 0..10 {
        pool.submit(|| ()).expect("taken");
    }
    let stats = pool.stats();
    assert_eq!((stats.submitted, stats.completed, stats.cancelled), (12, 0, 6));
    assert_eq!((stats.busy, stats.queue_len, stats.idle), (2, 4, 0));
    blocked.into_iter().for_each(Blocked::release);
    assert!(pool.shutdown(LONG));
    let stats = pool.stats();
    assert_eq!((stats.submitted, stats.completed, stats.cancelled), (12, 6, 6));
    assert_eq!((stats.queue_len_peak, stats.threads_peak), (4, 2));
}

#[test]
fn waits_and_runs_are_measured() {
    let pool = ThreadPool::builder().threads_max(1).build().expect("a pool");
    let begun = Instant::now();
    let blocked = Blocked::running(&pool);
    let (done, inbox) = mpsc::channel();
    pool.submit(move || done.send(()).expect("a listener")).expect("room");
    let waits_since = Instant::now();
    // Busy until the clock has moved: what the second job waited is at least this.
    wait_for("a moment passed", || waits_since.elapsed() >= Duration::from_micros(100));
    let waited_at_least = waits_since.elapsed();
    blocked.release();
    inbox.recv_timeout(LONG).expect("it ran");
    assert!(pool.shutdown(LONG));
    let (times, all) = (pool.times(), begun.elapsed());
    assert_eq!((times.queue_wait.count(), times.run.count()), (2, 2));
    assert!(times.queue_wait.max() >= waited_at_least && times.queue_wait.max() <= all);
    assert!(times.run.max() >= waited_at_least && times.run.max() <= all);
    assert!(times.run.sum() <= all, "one thread runs one job at a time");
    assert_eq!(times.queue_wait.quantile(1.0), Some(times.queue_wait.max()));
}

#[test]
fn a_pool_that_does_not_measure_has_empty_histograms() {
    let pool = ThreadPool::builder().measure_times(false).build().expect("a pool");
    for _ in 0..10 {
        pool.submit(|| ()).expect("room");
    }
    assert!(pool.shutdown(LONG));
    let times = pool.times();
    assert_eq!((times.queue_wait.count(), times.run.count()), (0, 0));
    assert_eq!(pool.stats().completed, 10);
}
