//! Many producers at once: each job runs exactly once, in every kind of pool.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use threadline_pool::{Builder, Policy, Priority, ThreadPool};

use crate::LONG;

const PRODUCERS: usize = 8;
const JOBS_EACH: usize = 20_000;

type Produce = fn(&ThreadPool, &Arc<Vec<AtomicU8>>, usize);

fn every_job_runs_once(builder: Builder) {
    every_job_of(produce, builder);
}

fn every_job_of(produce: Produce, builder: Builder) {
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

/// Leaves the waiting to the pool, and mixes the priorities.
fn produce_by_policy(pool: &ThreadPool, runs: &Arc<Vec<AtomicU8>>, producer: usize) {
    let priorities = [Priority::Low, Priority::Normal, Priority::High];
    for number in 0..JOBS_EACH {
        let runs = Arc::clone(runs);
        let job = move || {
            runs[producer * JOBS_EACH + number].fetch_add(1, Relaxed);
        };
        pool.submit_with(priorities[number % 3], job).expect("taken in the end");
    }
}

#[test]
fn from_submitters_that_block() {
    let policy = Policy::Block { timeout: LONG };
    for keep_alive in [Duration::ZERO, LONG] {
        let builder = ThreadPool::builder().threads_max(3).keep_alive(keep_alive);
        every_job_of(produce_by_policy, builder.when_full(policy));
    }
}

#[test]
fn from_submitters_that_run_what_does_not_fit() {
    let builder = ThreadPool::builder().threads_max(2).when_full(Policy::CallerRuns);
    every_job_of(produce_by_policy, builder);
}

/// Says how often it was dropped, run or not.
struct Counted(Arc<AtomicUsize>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_add(1, Relaxed);
    }
}

#[test]
fn jobs_that_give_way_are_dropped_once_and_the_others_run_once() {
    let builder = ThreadPool::builder().threads_max(2).queue_len_max(16);
    let pool = builder.when_full(Policy::DropOldest).build().expect("a pool");
    let (runs, drops) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    thread::scope(|scope| {
        for _ in 0..PRODUCERS {
            scope.spawn(|| {
                for _ in 0..JOBS_EACH {
                    let (runs, counted) = (Arc::clone(&runs), Counted(Arc::clone(&drops)));
                    pool.submit(move || {
                        let _counted = counted;
                        runs.fetch_add(1, Relaxed);
                    })
                    .expect("always taken");
                }
            });
        }
    });
    assert!(pool.shutdown(LONG));
    let (stats, total) = (pool.stats(), PRODUCERS * JOBS_EACH);
    assert_eq!((drops.load(Relaxed), stats.submitted), (total, total as u64));
    assert_eq!(stats.completed, runs.load(Relaxed) as u64);
    assert_eq!(stats.completed + stats.cancelled, total as u64);
}

/// The same for a minute: `cargo test -p threadline-pool --release -- --ignored for_a_minute`.
#[test]
#[ignore = "runs for 60 seconds"]
fn for_a_minute() {
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(60) {
        on_one_thread();
        on_a_few_threads_that_stay();
        on_threads_that_leave_whenever_they_can();
        from_submitters_that_block();
        from_submitters_that_run_what_does_not_fit();
        jobs_that_give_way_are_dropped_once_and_the_others_run_once();
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
