//! Threads take jobs from the queue by the batch. From outside that must not be noticed: order,
//! bounds, and endings are those of one queue, and no job is stuck behind one that blocks.

use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use threadline_pool::{Policy, Priority, RejectReason, ThreadPool};

use crate::{Blocked, LONG, wait_for};

/// A pool whose one thread is stuck in a job that it took together with the `waiting` jobs behind
/// it.
struct Stuck {
    pool: ThreadPool,
    blocked: Blocked,
    names: mpsc::Sender<String>,
    inbox: mpsc::Receiver<String>,
}

impl Stuck {
    fn new(policy: Policy, waiting: usize) -> Self {
        let builder = ThreadPool::builder().threads_max(1).queue_len_max(waiting + 1);
        let pool = builder.when_full(policy).build().expect("a pool");
        let before = Blocked::running(&pool);
        let blocked = Blocked::submit(&pool);
        let (names, inbox) = mpsc::channel();
        let stuck = Stuck { pool, blocked, names, inbox };
        for number in 0..waiting {
            stuck.pool.try_submit(stuck.job(&number.to_string())).expect("room");
        }
        before.release();
        stuck.blocked.started.recv_timeout(LONG).expect("it starts");
        stuck
    }

    fn job(&self, name: &str) -> impl FnOnce() + Send + use<> {
        let (names, name) = (self.names.clone(), name.to_owned());
        move || names.send(name).expect("a listener")
    }

    /// Lets the thread go on; what it ran, in order.
    fn ran(self) -> Vec<String> {
        self.blocked.release();
        self.pool.shutdown(LONG);
        drop(self.names);
        self.inbox.iter().collect()
    }
}

#[test]
fn no_job_is_stuck_behind_one_that_blocks() {
    let pool = ThreadPool::builder().threads_max(2).build().expect("a pool");
    let before = [Blocked::running(&pool), Blocked::running(&pool)];
    let stuck = Blocked::submit(&pool);
    for _ in 0..100 {
        pool.submit(|| ()).expect("room");
    }
    before.into_iter().for_each(Blocked::release);
    wait_for("all others done", || (pool.stats().completed, pool.stats().idle) == (102, 1));
    stuck.release();
}

#[test]
fn jobs_that_wait_are_counted_and_keep_their_order() {
    let stuck = Stuck::new(Policy::Reject, 50);
    assert_eq!(stuck.pool.stats().queue_len, 50);
    let rejected =
        stuck.pool.try_submit(stuck.job("50")).and(stuck.pool.try_submit(stuck.job("x")));
    assert_eq!(rejected.expect_err("full").reason, RejectReason::Full);
    let expected: Vec<_> = (0..=50).map(|number| number.to_string()).collect();
    assert_eq!(stuck.ran(), expected);
}

#[test]
fn more_urgent_jobs_still_go_first() {
    let stuck = Stuck::new(Policy::Reject, 3);
    stuck.pool.submit_with(Priority::High, stuck.job("high")).expect("room");
    stuck.pool.submit_essential(stuck.job("essential")).expect("never full");
    assert_eq!(stuck.ran(), ["essential", "high", "0", "1", "2"]);
}

#[test]
fn the_oldest_is_still_the_one_that_gives_way() {
    let stuck = Stuck::new(Policy::DropOldest, 3);
    for name in ["3", "4", "5"] {
        stuck.pool.submit(stuck.job(name)).expect("taken");
    }
    assert_eq!(stuck.pool.stats().cancelled, 2);
    assert_eq!(stuck.ran(), ["2", "3", "4", "5"]);
}

#[test]
fn a_blocked_submitter_is_told_of_room_before_the_batch_is_done() {
    let stuck = Stuck::new(Policy::Block { timeout: Duration::MAX }, 3);
    let last = Blocked::submit(&stuck.pool);
    let (pool, job) = (stuck.pool.clone(), stuck.job("3"));
    thread::scope(|scope| {
        let submitter = scope.spawn(move || pool.submit(job));
        wait_for("it is blocked", || stuck.pool.stats().blocked == 1);
        stuck.blocked.open();
        // Only the last of the batch is stuck: there has been room since the first.
        last.started.recv_timeout(LONG).expect("it starts");
        submitter.join().expect("no panic").expect("taken");
        last.release();
    });
    assert_eq!(stuck.ran(), ["0", "1", "2", "3"]);
}

#[test]
fn all_that_wait_are_cancelled() {
    let stuck = Stuck::new(Policy::Reject, 50);
    assert!(!stuck.pool.shutdown_now(Duration::ZERO));
    let stats = stuck.pool.stats();
    assert_eq!((stats.cancelled, stats.queue_len), (50, 0));
    assert!(stuck.ran().is_empty());
}
