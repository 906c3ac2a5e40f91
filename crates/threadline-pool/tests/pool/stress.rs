//! Many producers at once: each job runs exactly once, in every kind of pool.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering::Relaxed};
use std::thread;
use std::time::Duration;

use threadline_pool::{Builder, ThreadPool};

use crate::LONG;

const PRODUCERS: usize = 8;
const JOBS_EACH: usize = 20_000;

fn every_job_runs_once(builder: Builder) {
    let pool = builder.queue_len_max(64).build().expect("a pool");
    let runs: Arc<Vec<AtomicU8>> =
        Arc::new((0..PRODUCERS * JOBS_EACH).map(|_| AtomicU8::new(0)).collect());
    thread::scope(|scope| {
        for producer in 0..PRODUCERS {
            let (pool, runs) = (&pool, &runs);
            scope.spawn(move || produce(pool, runs, producer));
        }
    });
    assert!(pool.shutdown(LONG));
    assert!(runs.iter().all(|count| count.load(Relaxed) == 1));
    let (stats, total) = (pool.stats(), (PRODUCERS * JOBS_EACH) as u64);
    assert_eq!((stats.submitted, stats.completed), (total, total));
    assert_eq!((stats.threads, stats.busy, stats.idle, stats.queue_len), (0, 0, 0, 0));
}

fn produce(pool: &ThreadPool, runs: &Arc<Vec<AtomicU8>>, producer: usize) {
    for number in 0..JOBS_EACH {
        let runs = Arc::clone(runs);
        let mut job = move || {
            runs[producer * JOBS_EACH + number].fetch_add(1, Relaxed);
        };
        if number % 16 == 0 {
            pool.submit_essential(job).expect("never full");
            continue;
        }
        while let Err(rejected) = pool.try_submit(job) {
            job = rejected.job;
            thread::yield_now();
        }
    }
}

#[test]
fn on_one_thread() {
    every_job_runs_once(ThreadPool::builder().threads_max(1));
}

#[test]
fn on_a_few_threads_that_stay() {
    every_job_runs_once(ThreadPool::builder().threads_min(4).threads_max(4));
}

#[test]
fn on_threads_that_leave_whenever_they_can() {
    every_job_runs_once(ThreadPool::builder().threads_max(6).keep_alive(Duration::ZERO));
}
