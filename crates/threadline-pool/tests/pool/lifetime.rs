//! Threads come with the work and go without it.

use std::sync::{Arc, Barrier};
use std::time::Duration;

use threadline_pool::ThreadPool;

use crate::{LONG, wait_for};

fn occupy_all(pool: &ThreadPool, threads: usize) {
    let barrier = Arc::new(Barrier::new(threads + 1));
    for _ in 0..threads {
        let barrier = Arc::clone(&barrier);
        pool.try_submit(move || {
            barrier.wait();
        })
        .expect("room");
    }
    barrier.wait();
}

#[test]
fn an_unused_pool_has_no_threads() {
    let pool = ThreadPool::builder().build().expect("a pool");
    assert_eq!((pool.stats().threads, pool.stats().spawned), (0, 0));
    assert!(pool.shutdown(Duration::ZERO));
}

#[test]
fn idle_threads_end_and_come_back_with_new_work() {
    let keep_alive = Duration::from_millis(1);
    let builder = ThreadPool::builder().threads_max(4).keep_alive(keep_alive);
    let pool = builder.build().expect("a pool");
    for round in 1..=3 {
        occupy_all(&pool, 4);
        wait_for("all threads gone", || pool.stats().threads == 0);
        let stats = pool.stats();
        assert_eq!((stats.completed, stats.idle, stats.busy), (4 * round, 0, 0));
    }
    assert!(pool.shutdown(LONG));
}

#[test]
fn the_least_threads_stay() {
    let keep_alive = Duration::from_millis(1);
    let builder = ThreadPool::builder().threads_min(2).threads_max(6).keep_alive(keep_alive);
    let pool = builder.build().expect("a pool");
    assert_eq!((pool.stats().threads, pool.stats().idle), (2, 2));
    occupy_all(&pool, 6);
    wait_for("the others gone", || pool.stats().idle == 2 && pool.stats().threads == 2);
    occupy_all(&pool, 2);
    assert_eq!(pool.stats().spawned, 6);
}

#[test]
fn a_keep_alive_without_end_is_no_trouble() {
    let pool = ThreadPool::builder().keep_alive(Duration::MAX).build().expect("a pool");
    occupy_all(&pool, 2);
    wait_for("idle", || pool.stats().idle == 2);
    assert!(pool.shutdown(Duration::MAX));
}
