//! Wake-ups are spent with care. (The exact steps of the chain are tested beside the code.)

use std::sync::{Arc, Barrier};

use threadline_pool::ThreadPool;

use crate::{Blocked, wait_for};

#[test]
fn a_busy_pool_costs_its_producer_no_wake() {
    let pool = ThreadPool::builder().threads_min(1).threads_max(1).build().expect("a pool");
    let blocked = Blocked::running(&pool);
    for _ in 0..1000 {
        pool.try_submit(|| ()).expect("room");
    }
    blocked.release();
    wait_for("all done", || pool.stats().completed == 1001);
    let stats = pool.stats();
    assert_eq!((stats.wakes, stats.spawned), (1, 1));
}

#[test]
fn each_idle_thread_is_woken_once_for_jobs_that_need_them_all() {
    let pool = ThreadPool::builder().threads_min(8).threads_max(8).build().expect("a pool");
    let barrier = Arc::new(Barrier::new(9));
    for _ in 0..8 {
        let barrier = Arc::clone(&barrier);
        pool.try_submit(move || {
            barrier.wait();
        })
        .expect("room");
    }
    barrier.wait();
    assert_eq!(pool.stats().wakes, 8);
}

#[test]
fn an_idle_thread_is_woken_before_another_is_started() {
    let pool = ThreadPool::builder().threads_max(8).build().expect("a pool");
    for round in 1..=50 {
        pool.try_submit(|| ()).expect("room");
        wait_for("idle again", || {
            let stats = pool.stats();
            (stats.completed, stats.idle) == (round, 1)
        });
    }
    let stats = pool.stats();
    assert_eq!((stats.spawned, stats.wakes), (1, 49));
}
