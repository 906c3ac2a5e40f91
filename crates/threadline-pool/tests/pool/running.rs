//! Jobs run, each alone in its failures.

use std::sync::{Arc, Barrier, mpsc};

use threadline_pool::ThreadPool;

use crate::{LONG, wait_for};

#[test]
fn a_job_runs_on_a_named_thread_of_the_pool() {
    let pool = ThreadPool::builder().name("baker").build().expect("a pool");
    let (names, inbox) = mpsc::channel();
    pool.try_submit(move || {
        names.send(std::thread::current().name().map(str::to_owned)).expect("a listener")
    })
    .expect("room");
    assert_eq!(inbox.recv_timeout(LONG).expect("it ran").as_deref(), Some("baker-0"));
}

#[test]
fn as_many_jobs_run_at_once_as_there_may_be_threads() {
    for threads_min in [0, 7, 16] {
        let builder = ThreadPool::builder().threads_min(threads_min).threads_max(16);
        let pool = builder.build().expect("a pool");
        // Opens only when all 16 are at work at the same time, and the test too.
        let barrier = Arc::new(Barrier::new(17));
        for _ in 0..16 {
            let barrier = Arc::clone(&barrier);
            pool.try_submit(move || {
                barrier.wait();
            })
            .expect("room");
        }
        barrier.wait();
        assert!(pool.shutdown(LONG));
        let stats = pool.stats();
        assert_eq!((stats.threads_peak, stats.spawned, stats.completed), (16, 16, 16));
    }
}

#[test]
fn jobs_of_one_thread_run_in_the_order_they_came() {
    let pool = ThreadPool::builder().threads_max(1).build().expect("a pool");
    let (numbers, inbox) = mpsc::channel();
    for number in 0..100 {
        let numbers = numbers.clone();
        pool.try_submit(move || numbers.send(number).expect("a listener")).expect("room");
    }
    drop(numbers);
    assert!(inbox.iter().eq(0..100));
}

/// Throws again when what it was thrown with is dropped.
struct Grenade;

impl Drop for Grenade {
    fn drop(&mut self) {
        std::panic::panic_any("the payload panics too");
    }
}

#[test]
fn a_panic_ends_its_job_and_nothing_else() {
    let pool = ThreadPool::builder().threads_max(1).build().expect("a pool");
    pool.try_submit(|| panic!("a job that panics, as it should")).expect("room");
    pool.try_submit(|| std::panic::panic_any(Grenade)).expect("room");
    let (names, inbox) = mpsc::channel();
    pool.try_submit(move || {
        names.send(std::thread::current().name().map(str::to_owned)).expect("a listener")
    })
    .expect("room");
    assert_eq!(inbox.recv_timeout(LONG).expect("it ran").as_deref(), Some("pool-0"));
    wait_for("all three counted", || (pool.stats().completed, pool.stats().idle) == (3, 1));
    let stats = pool.stats();
    assert_eq!((stats.panicked, stats.spawned, stats.busy), (2, 1, 0));
}

#[test]
fn a_job_may_submit_the_next() {
    fn countdown(pool: ThreadPool, left: u32, done: mpsc::Sender<()>) {
        let next = pool.clone();
        let job = move || match left {
            0 => done.send(()).expect("a listener"),
            _ => countdown(next, left - 1, done),
        };
        pool.try_submit(job).expect("room");
    }
    let pool = ThreadPool::builder().threads_max(2).build().expect("a pool");
    let (done, inbox) = mpsc::channel();
    countdown(pool, 1000, done);
    inbox.recv_timeout(LONG).expect("the last one ran");
}
