//! Queues are bounded, threads too, and refusals give the job back.

use std::sync::mpsc;

use threadline_pool::{RejectReason, ThreadPool};

use crate::{Blocked, LONG, wait_for};

#[test]
fn at_the_brim_the_job_comes_back() {
    let pool = ThreadPool::builder().threads_max(1).queue_len_max(3).build().expect("a pool");
    let blocked = Blocked::running(&pool);
    for _ in 0..3 {
        pool.try_submit(|| ()).expect("room to wait");
    }
    let (proof, inbox) = mpsc::channel();
    let rejected = pool.try_submit(move || proof.send(5).expect("a listener")).expect_err("full");
    assert_eq!(rejected.reason, RejectReason::Full);
    assert_eq!(rejected.to_string(), "the pool's queue is full");
    (rejected.job)();
    assert_eq!(inbox.recv(), Ok(5));
    let stats = pool.stats();
    assert_eq!((stats.queue_len, stats.queue_len_peak, stats.rejected), (3, 3, 1));
    blocked.release();
    wait_for("an empty queue", || pool.stats().queue_len == 0);
    pool.try_submit(|| ()).expect("room again");
}

#[test]
fn with_no_queue_jobs_are_taken_as_long_as_a_thread_may_be_had() {
    let pool = ThreadPool::builder().threads_max(3).queue_len_max(0).build().expect("a pool");
    // Submitted at once: none has arrived when the next one comes.
    let blocked: Vec<_> = (0..3).map(|_| Blocked::submit(&pool)).collect();
    let rejected = pool.try_submit(|| ()).expect_err("all threads are spoken for");
    assert_eq!(rejected.reason, RejectReason::Full);
    blocked.iter().for_each(|job| job.started.recv_timeout(LONG).expect("it runs"));
    blocked.into_iter().for_each(Blocked::release);
    wait_for("idle threads", || pool.stats().idle == 3);
    for _ in 0..3 {
        pool.try_submit(|| ()).expect("an idle thread takes it");
    }
}

#[test]
fn essential_jobs_pass_a_full_queue_and_run_first() {
    let pool = ThreadPool::builder().threads_max(1).queue_len_max(1).build().expect("a pool");
    let blocked = Blocked::running(&pool);
    let (order, inbox) = mpsc::channel();
    let note = |what: &'static str| {
        let order = order.clone();
        move || order.send(what).expect("a listener")
    };
    pool.try_submit(note("ordinary")).expect("room for one");
    pool.try_submit(note("refused")).expect_err("full");
    pool.submit_essential(note("essential 1")).expect("never full");
    pool.submit_essential(note("essential 2")).expect("never full");
    assert_eq!(pool.stats().queue_len, 3);
    blocked.release();
    drop(order);
    let order: Vec<_> = inbox.iter().collect();
    assert_eq!(&order[..3], ["essential 1", "essential 2", "ordinary"]);
    assert_eq!(order.len(), 3);
}

#[test]
fn a_system_without_threads_gives_the_job_back() {
    // More address space than there is: the system cannot make such a stack.
    let pool = ThreadPool::builder().stack_size(1 << 52).build().expect("a pool");
    let rejected = pool.try_submit(|| ()).expect_err("no thread");
    assert_eq!(rejected.reason, RejectReason::NoThread);
    let error = ThreadPool::builder().stack_size(1 << 52).threads_min(1).build();
    assert!(error.is_err());
    assert!(pool.shutdown(LONG));
}
