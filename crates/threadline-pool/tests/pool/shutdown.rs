//! The end: nothing accepted is lost, nothing is accepted after it, and it does not hang.

use std::sync::{Arc, Barrier, mpsc};
use std::time::Duration;

use threadline_pool::{Builder, OnDrop, Policy, RejectReason, ThreadPool};

use crate::{Blocked, LONG, wait_for};

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
fn dropping_the_last_handle_cancels_the_queue_if_told_so() {
    let builder = ThreadPool::builder().threads_max(1).on_drop(OnDrop::Cancel);
    let pool = builder.build().expect("a pool");
    let blocked = Blocked::running(&pool);
    let (results, inbox) = mpsc::channel();
    for number in 0..10 {
        let results = results.clone();
        pool.submit(move || results.send(number).expect("a listener")).expect("room");
    }
    drop(results);
    drop(pool.clone());
    assert_eq!(pool.stats().queue_len, 10, "this was not the last handle");
    drop(pool);
    // With the jobs, the last sender is gone; the running job was not waited for.
    assert_eq!(inbox.try_recv(), Err(mpsc::TryRecvError::Disconnected));
    blocked.release();
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

/// What waits is dropped, what runs is waited for.
#[test]
fn at_once_means_without_the_queue() {
    let pool = ThreadPool::builder().threads_max(2).build().expect("a pool");
    let blocked = [Blocked::running(&pool), Blocked::running(&pool)];
    let (results, inbox) = mpsc::channel::<()>();
    for _ in 0..500 {
        let results = results.clone();
        pool.submit(move || results.send(()).expect("a listener")).expect("room");
    }
    let essential = results.clone();
    pool.submit_essential(move || essential.send(()).expect("a listener")).expect("never full");
    drop(results);
    assert!(!pool.shutdown_now(Duration::from_millis(1)), "two jobs run");
    let stats = pool.stats();
    assert_eq!((stats.cancelled, stats.queue_len, stats.busy), (501, 0, 2));
    assert_eq!(inbox.try_recv(), Err(mpsc::TryRecvError::Disconnected), "all were dropped");
    blocked.into_iter().for_each(Blocked::release);
    assert!(pool.shutdown_now(LONG));
    let stats = pool.stats();
    assert_eq!((stats.submitted, stats.completed, stats.cancelled), (503, 2, 501));
}

#[test]
fn patience_may_come_to_an_end() {
    let pool = ThreadPool::builder().threads_max(1).build().expect("a pool");
    let blocked = Blocked::running(&pool);
    pool.submit(|| ()).expect("room");
    assert!(!pool.shutdown(Duration::ZERO));
    assert_eq!(pool.stats().queue_len, 1);
    assert!(!pool.shutdown_now(Duration::ZERO));
    assert_eq!(pool.stats().cancelled, 1);
    blocked.release();
    assert!(pool.shutdown(LONG));
}

type Shutdown = fn(&ThreadPool, Duration) -> bool;

/// Both kinds of it, for what holds for either.
const BOTH: [Shutdown; 2] = [ThreadPool::shutdown, ThreadPool::shutdown_now];

fn pool_of(builder: Builder) -> ThreadPool {
    builder.build().expect("a pool")
}

#[test]
fn a_pool_that_never_ran_anything_ends_at_once_and_twice() {
    for shutdown in BOTH {
        let pool = pool_of(ThreadPool::builder());
        assert!(shutdown(&pool, Duration::ZERO));
        assert!(shutdown(&pool, Duration::ZERO));
        assert_eq!(pool.submit(|| ()).expect_err("shut down").reason, RejectReason::ShutDown);
    }
}

#[test]
fn idle_threads_end() {
    for shutdown in BOTH {
        let pool = pool_of(ThreadPool::builder().threads_min(3));
        assert_eq!(pool.stats().idle, 3);
        assert!(shutdown(&pool, LONG));
        assert_eq!((pool.stats().idle, pool.stats().threads), (0, 0));
    }
}

#[test]
fn from_all_sides_at_once() {
    for shutdown in BOTH {
        let pool = pool_of(ThreadPool::builder().threads_max(3));
        for _ in 0..50 {
            pool.submit(|| ()).expect("room");
        }
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| assert!(shutdown(&pool, LONG)));
            }
        });
        let stats = pool.stats();
        assert_eq!(stats.completed + stats.cancelled, 50);
    }
}

#[test]
fn a_job_may_end_its_pool_at_once() {
    let pool = pool_of(ThreadPool::builder().threads_max(1));
    let (results, inbox) = mpsc::channel();
    let inner = pool.clone();
    let (gate, gate_out) = mpsc::channel::<()>();
    pool.submit(move || {
        let _ = gate_out.recv();
        results.send(inner.shutdown_now(LONG)).expect("a listener");
    })
    .expect("room");
    for _ in 0..3 {
        pool.submit(|| ()).expect("room");
    }
    drop(gate);
    assert_eq!(inbox.recv_timeout(LONG), Ok(true));
    assert!(pool.shutdown(LONG));
    assert_eq!((pool.stats().cancelled, pool.stats().completed), (3, 1));
}

/// Everything is stuck: the thread in a job, the queue full, submitters waiting for room.
#[test]
fn blocked_submitters_get_their_jobs_back() {
    let policy = Policy::Block { timeout: Duration::MAX };
    for shutdown in BOTH {
        let builder = ThreadPool::builder().threads_max(1).queue_len_max(1).when_full(policy);
        let pool = pool_of(builder);
        let blocked = Blocked::running(&pool);
        pool.submit(|| ()).expect("room for one");
        std::thread::scope(|scope| {
            let submitters: Vec<_> = (0..3).map(|_| scope.spawn(|| pool.submit(|| ()))).collect();
            wait_for("three blocked", || pool.stats().blocked == 3);
            assert!(!shutdown(&pool, Duration::ZERO));
            for submitter in submitters {
                let rejected = submitter.join().expect("no panic").expect_err("shut down");
                assert_eq!(rejected.reason, RejectReason::ShutDown);
                (rejected.job)();
            }
        });
        blocked.release();
        assert!(shutdown(&pool, LONG));
        let stats = pool.stats();
        assert_eq!((stats.submitted, stats.completed + stats.cancelled), (2, 2));
    }
}

#[test]
fn a_cancelled_job_may_call_the_pool_and_panic() {
    struct Troublemaker(ThreadPool, mpsc::Sender<Option<RejectReason>>);
    impl Drop for Troublemaker {
        fn drop(&mut self) {
            let answer = self.0.submit(|| ()).err().map(|rejected| rejected.reason);
            let _ = self.1.send(answer);
            panic!("a job whose drop panics, as it should");
        }
    }
    let pool = pool_of(ThreadPool::builder().threads_max(1));
    let blocked = Blocked::running(&pool);
    let (answers, inbox) = mpsc::channel();
    for _ in 0..2 {
        let trouble = Troublemaker(pool.clone(), answers.clone());
        pool.submit(move || drop(trouble)).expect("room");
    }
    assert!(!pool.shutdown_now(Duration::ZERO));
    assert!(inbox.try_iter().eq([Some(RejectReason::ShutDown); 2]));
    assert_eq!((pool.stats().cancelled, pool.stats().panicked), (2, 2));
    blocked.release();
    assert!(pool.shutdown(LONG));
}
