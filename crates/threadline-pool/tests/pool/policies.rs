//! Each policy at the brim: what `submit` does when the queue is full.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use threadline_pool::{Policy, Priority, RejectReason, ThreadPool};

use crate::{Blocked, LONG, wait_for};

const FOR_EVER: Policy = Policy::Block { timeout: Duration::MAX };

/// One thread, stuck in a job, and so many more jobs may wait.
fn stuck_pool(policy: Policy, queue_len_max: usize) -> (ThreadPool, Blocked) {
    let builder = ThreadPool::builder().threads_max(1).queue_len_max(queue_len_max);
    let pool = builder.when_full(policy).build().expect("a pool");
    let blocked = Blocked::running(&pool);
    (pool, blocked)
}

#[test]
fn by_default_the_job_comes_back() {
    let (pool, blocked) = stuck_pool(Policy::default(), 1);
    pool.submit(|| ()).expect("room");
    assert_eq!(pool.submit(|| ()).expect_err("full").reason, RejectReason::Full);
    blocked.release();
}

#[test]
fn whatever_the_policy_try_submit_only_gives_the_job_back() {
    for policy in [Policy::Reject, FOR_EVER, Policy::CallerRuns, Policy::DropOldest] {
        let (pool, blocked) = stuck_pool(policy, 1);
        pool.try_submit(|| ()).expect("room");
        assert_eq!(pool.try_submit(|| ()).expect_err("full").reason, RejectReason::Full);
        let stats = pool.stats();
        assert_eq!((stats.queue_len, stats.cancelled, stats.ran_in_caller), (1, 0, 0));
        blocked.release();
    }
}

#[test]
fn a_blocked_submitter_goes_on_when_there_is_room() {
    for queue_len_max in [0, 1, 5] {
        let (pool, blocked) = stuck_pool(FOR_EVER, queue_len_max);
        for _ in 0..queue_len_max {
            pool.submit(|| ()).expect("room");
        }
        thread::scope(|scope| {
            let submitters: Vec<_> = (0..3).map(|_| scope.spawn(|| pool.submit(|| ()))).collect();
            wait_for("three blocked", || pool.stats().blocked == 3);
            blocked.release();
            for submitter in submitters {
                submitter.join().expect("no panic").expect("accepted");
            }
        });
        assert!(pool.shutdown(LONG));
        let stats = pool.stats();
        assert_eq!(stats.completed, queue_len_max as u64 + 4);
        assert_eq!((stats.blocked, stats.rejected), (0, 0));
        // One more while the idle thread is on its way to it: that one does not wait.
        assert!(stats.queue_len_peak <= queue_len_max + 1);
    }
}

#[test]
fn a_blocked_submitter_gets_its_job_back_when_the_time_is_up() {
    let policy = Policy::Block { timeout: Duration::from_millis(2) };
    let (pool, blocked) = stuck_pool(policy, 1);
    pool.submit(|| ()).expect("room");
    let (proof, inbox) = mpsc::channel();
    let rejected = pool.submit(move || proof.send(7).expect("a listener")).expect_err("full");
    assert_eq!(rejected.reason, RejectReason::TimedOut);
    (rejected.job)();
    assert_eq!(inbox.try_recv(), Ok(7));
    let stats = pool.stats();
    assert_eq!((stats.rejected, stats.submitted, stats.blocked), (1, 2, 0));
    blocked.release();
}

#[test]
fn with_no_time_to_wait_a_full_queue_is_told_at_once() {
    let (pool, blocked) = stuck_pool(Policy::Block { timeout: Duration::ZERO }, 0);
    assert_eq!(pool.submit(|| ()).expect_err("full").reason, RejectReason::TimedOut);
    blocked.release();
}

#[test]
fn a_job_that_submits_to_its_own_full_pool_does_not_wait_for_itself() {
    let builder = ThreadPool::builder().threads_max(1).queue_len_max(1);
    let pool = builder.when_full(FOR_EVER).build().expect("a pool");
    let (names, inbox) = mpsc::channel();
    let inner = pool.clone();
    pool.submit(move || {
        for job in ["queued", "run at once", "run at once too"] {
            let names = names.clone();
            inner.submit(move || names.send(job).expect("a listener")).expect("accepted");
        }
    })
    .expect("room");
    let order: Vec<_> = (0..3).map(|_| inbox.recv_timeout(LONG).expect("it ran")).collect();
    assert_eq!(order, ["run at once", "run at once too", "queued"]);
    wait_for("all counted", || pool.stats().completed == 4);
    assert_eq!(pool.stats().ran_in_caller, 2);
}

#[test]
fn the_caller_runs_what_does_not_fit() {
    let (pool, blocked) = stuck_pool(Policy::CallerRuns, 1);
    let (ids, inbox) = mpsc::channel();
    for _ in 0..2 {
        let ids = ids.clone();
        pool.submit(move || ids.send(thread::current().id()).expect("a listener")).expect("run");
    }
    assert_eq!(inbox.try_recv(), Ok(thread::current().id()), "the second, before the first");
    let stats = pool.stats();
    assert_eq!((stats.ran_in_caller, stats.completed, stats.queue_len), (1, 1, 1));
    blocked.release();
    assert_ne!(inbox.recv_timeout(LONG), Ok(thread::current().id()));
}

#[test]
fn a_panic_in_the_caller_is_contained_as_on_a_thread() {
    let (pool, blocked) = stuck_pool(Policy::CallerRuns, 0);
    pool.submit(|| panic!("a job that panics, as it should")).expect("run");
    let stats = pool.stats();
    assert_eq!((stats.panicked, stats.completed, stats.ran_in_caller), (1, 1, 1));
    blocked.release();
}

#[test]
fn jobs_that_submit_in_their_caller_do_not_use_up_its_stack() {
    fn descend(pool: &ThreadPool, depth: &Arc<AtomicUsize>) -> Result<(), RejectReason> {
        let (inner, deeper) = (pool.clone(), Arc::clone(depth));
        let job = move || {
            deeper.fetch_add(1, Relaxed);
            let _ = descend(&inner, &deeper);
        };
        pool.submit(job).map_err(|rejected| rejected.reason)
    }
    let (pool, blocked) = stuck_pool(Policy::CallerRuns, 0);
    let depth = Arc::new(AtomicUsize::new(0));
    for round in 1..=2 {
        assert_eq!(descend(&pool, &depth), Ok(()));
        assert_eq!(depth.load(Relaxed), 32 * round);
        assert_eq!(pool.stats().rejected, round as u64);
    }
    blocked.release();
}

#[test]
fn the_oldest_job_makes_room_for_the_newest() {
    let (pool, blocked) = stuck_pool(Policy::DropOldest, 3);
    let (numbers, inbox) = mpsc::channel();
    for number in 0..10 {
        let numbers = numbers.clone();
        pool.submit(move || numbers.send(number).expect("a listener")).expect("taken");
    }
    drop(numbers);
    let stats = pool.stats();
    assert_eq!((stats.queue_len, stats.queue_len_peak, stats.cancelled), (3, 3, 7));
    blocked.release();
    assert!(inbox.iter().eq(7..10));
    assert!(pool.shutdown(LONG));
    let stats = pool.stats();
    assert_eq!((stats.submitted, stats.completed, stats.rejected), (11, 4, 0));
}

#[test]
fn a_job_makes_no_room_for_one_of_lower_priority() {
    let (pool, blocked) = stuck_pool(Policy::DropOldest, 2);
    let (names, inbox) = mpsc::channel();
    let submit = |priority, name: &'static str| {
        let names = names.clone();
        pool.submit_with(priority, move || names.send(name).expect("a listener"))
            .map_err(|rejected| rejected.reason)
    };
    assert_eq!(submit(Priority::High, "high"), Ok(()));
    assert_eq!(submit(Priority::Low, "low"), Ok(()));
    assert_eq!(submit(Priority::Normal, "normal"), Ok(()), "the low one gives way");
    assert_eq!(submit(Priority::Low, "low again"), Err(RejectReason::Full));
    blocked.release();
    let order: Vec<_> = (0..2).map(|_| inbox.recv_timeout(LONG).expect("it ran")).collect();
    assert_eq!(order, ["high", "normal"]);
    assert_eq!(pool.stats().cancelled, 1);
}

#[test]
fn with_none_that_waits_none_makes_room() {
    let (pool, blocked) = stuck_pool(Policy::DropOldest, 0);
    pool.submit_essential(|| ()).expect("never full");
    assert_eq!(pool.submit(|| ()).expect_err("full").reason, RejectReason::Full);
    assert_eq!(pool.stats().cancelled, 0);
    blocked.release();
}

/// Calls the pool when it is dropped, and panics then.
struct Troublemaker(ThreadPool, mpsc::Sender<bool>);

impl Drop for Troublemaker {
    fn drop(&mut self) {
        let _ = self.1.send(self.0.submit_essential(|| ()).is_ok());
        panic!("a job whose drop panics, as it should");
    }
}

#[test]
fn a_dropped_job_may_call_the_pool_and_panic() {
    let (pool, blocked) = stuck_pool(Policy::DropOldest, 1);
    let (results, inbox) = mpsc::channel();
    let trouble = Troublemaker(pool.clone(), results);
    pool.submit(move || drop(trouble)).expect("room");
    pool.submit(|| ()).expect("taken, and no panic");
    assert_eq!(inbox.try_recv(), Ok(true));
    let stats = pool.stats();
    assert_eq!((stats.cancelled, stats.panicked, stats.queue_len), (1, 1, 2));
    blocked.release();
}
