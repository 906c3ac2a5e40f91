//! Urgent jobs first, but none waits for ever.

use std::sync::mpsc;

use threadline_pool::{Priority, RejectReason, ThreadPool};

use crate::{Blocked, LONG};

/// Has one thread run jobs of these priorities, all of which wait when it begins.
fn run_in_order(submitted: &[Priority]) -> Vec<(Priority, usize)> {
    let pool = ThreadPool::builder().threads_max(1).build().expect("a pool");
    let blocked = Blocked::running(&pool);
    let (names, inbox) = mpsc::channel();
    for (number, &priority) in submitted.iter().enumerate() {
        let names = names.clone();
        let job = move || names.send((priority, number)).expect("a listener");
        pool.submit_with(priority, job).expect("room");
    }
    drop(names);
    blocked.release();
    assert!(pool.shutdown(LONG));
    inbox.iter().collect()
}

#[test]
fn higher_priorities_go_first_and_equals_in_their_order() {
    use Priority::{High, Low, Normal};
    let order = run_in_order(&[Low, Normal, High, Low, Normal, High]);
    assert_eq!(order, [(High, 2), (High, 5), (Normal, 1), (Normal, 4), (Low, 0), (Low, 3)]);
}

#[test]
fn a_low_job_runs_in_the_midst_of_a_flood() {
    let mut submitted = vec![Priority::Low; 2];
    submitted.extend([Priority::High; 100]);
    let order = run_in_order(&submitted);
    assert_eq!((order[16], order[33]), ((Priority::Low, 0), (Priority::Low, 1)));
}

#[test]
fn all_priorities_share_one_bound() {
    let pool = ThreadPool::builder().threads_max(1).queue_len_max(2).build().expect("a pool");
    let blocked = Blocked::running(&pool);
    pool.submit_with(Priority::Low, || ()).expect("room");
    pool.submit_with(Priority::High, || ()).expect("room");
    for priority in [Priority::Low, Priority::Normal, Priority::High] {
        let rejected = pool.submit_with(priority, || ()).expect_err("full");
        assert_eq!(rejected.reason, RejectReason::Full);
    }
    blocked.release();
}
