//! The end: nothing accepted is lost, nothing is accepted after it, and it does not hang.

use std::sync::{Arc, Barrier, mpsc};
use std::time::Duration;

use threadline_pool::{RejectReason, ThreadPool};

use crate::{Blocked, LONG};

#[test]
fn queued_jobs_are_finished_first() {
    let pool = ThreadPool::builder().threads_max(2).build().expect("a pool");
    let blocked = [Blocked::running(&pool), Blocked::running(&pool)];
    for _ in 0..500 {
        pool.try_submit(|| ()).expect("room");
    }
    assert!(!pool.shutdown(Duration::ZERO));
    blocked.into_iter().for_each(Blocked::release);
    assert!(pool.shutdown(LONG));
    let stats = pool.stats();
    assert_eq!((stats.completed, stats.threads, stats.queue_len), (502, 0, 0));
}

#[test]
fn a_stuck_job_does_not_hold_it_up_beyond_the_deadline() {
    let pool = ThreadPool::builder().build().expect("a pool");
    let blocked = Blocked::running(&pool);
    assert!(!pool.shutdown(Duration::from_millis(5)));
    assert_eq!(pool.stats().busy, 1);
    blocked.release();
    assert!(pool.shutdown(LONG));
}

#[test]
fn afterwards_nothing_is_accepted() {
    let pool = ThreadPool::builder().threads_min(1).build().expect("a pool");
    assert!(pool.shutdown(LONG));
    let nothing: fn() = || ();
    for submitted in [pool.try_submit(nothing), pool.submit_essential(nothing)] {
        assert_eq!(submitted.expect_err("shut down").reason, RejectReason::ShutDown);
    }
    assert!(pool.shutdown(Duration::ZERO));
}

#[test]
fn within_a_job_it_does_not_wait_for_itself() {
    let pool = ThreadPool::builder().threads_min(3).build().expect("a pool");
    let (results, inbox) = mpsc::channel();
    let inner = pool.clone();
    pool.try_submit(move || results.send(inner.shutdown(LONG)).expect("a listener")).expect("room");
    assert_eq!(inbox.recv_timeout(LONG), Ok(true));
    assert!(pool.shutdown(LONG));
    assert_eq!(pool.stats().threads, 0);
}

#[test]
fn two_jobs_that_shut_down_do_not_wait_for_each_other() {
    let pool = ThreadPool::builder().build().expect("a pool");
    // Both jobs run until both have their answer.
    let both = Arc::new(Barrier::new(2));
    let (results, inbox) = mpsc::channel();
    for _ in 0..2 {
        let (inner, both, results) = (pool.clone(), Arc::clone(&both), results.clone());
        pool.try_submit(move || {
            both.wait();
            let ended = inner.shutdown(LONG);
            both.wait();
            let _ = results.send(ended);
        })
        .expect("room");
    }
    assert_eq!(inbox.recv_timeout(LONG), Ok(true));
    assert_eq!(inbox.recv_timeout(LONG), Ok(true));
    assert!(pool.shutdown(LONG));
}

#[test]
fn a_job_may_shut_down_another_pool_and_waits_for_it() {
    let outer = ThreadPool::builder().build().expect("a pool");
    let inner = ThreadPool::builder().build().expect("a pool");
    let blocked = Blocked::running(&inner);
    let (results, inbox) = mpsc::channel();
    outer
        .try_submit(move || {
            let _ = results.send(inner.shutdown(Duration::ZERO));
            blocked.release();
            let _ = results.send(inner.shutdown(LONG));
        })
        .expect("room");
    assert_eq!(inbox.recv_timeout(LONG), Ok(false));
    assert_eq!(inbox.recv_timeout(LONG), Ok(true));
}

#[test]
fn dropping_the_last_handle_finishes_the_queue_without_blocking() {
    let pool = ThreadPool::builder().threads_max(1).build().expect("a pool");
    let blocked = Blocked::running(&pool);
    let (results, inbox) = mpsc::channel();
    for number in 0..10 {
        let results = results.clone();
        pool.try_submit(move || results.send(number).expect("a listener")).expect("room");
    }
    drop(results);
    drop(pool.clone());
    drop(pool);
    // Still alive here, with the only thread stuck: the drop did not wait.
    blocked.release();
    assert!(inbox.iter().eq(0..10));
}

#[test]
fn threads_of_a_dropped_pool_end() {
    struct Farewell(mpsc::Sender<()>);
    impl Drop for Farewell {
        fn drop(&mut self) {
            let _ = self.0.send(());
        }
    }
    thread_local!(static FAREWELL: std::cell::RefCell<Option<Farewell>> =
        const { std::cell::RefCell::new(None) });

    let pool = ThreadPool::builder().keep_alive(Duration::MAX).build().expect("a pool");
    let (farewell, inbox) = mpsc::channel();
    pool.try_submit(move || FAREWELL.set(Some(Farewell(farewell)))).expect("room");
    drop(pool);
    inbox.recv_timeout(LONG).expect("the thread's locals were dropped: it ended");
}

#[test]
fn the_last_handle_may_be_dropped_by_a_job() {
    let pool = ThreadPool::builder().build().expect("a pool");
    let (gate, gate_out) = mpsc::channel::<()>();
    let (results, inbox) = mpsc::channel();
    let inner = pool.clone();
    pool.try_submit(move || {
        let _ = gate_out.recv();
        drop(inner);
        let _ = results.send(());
    })
    .expect("room");
    drop(pool);
    drop(gate);
    inbox.recv_timeout(LONG).expect("no deadlock");
}
