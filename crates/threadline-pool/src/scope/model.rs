//! The revocable cell under loom: a thread of the pool and the owner want the same jobs. In every order
//! each runs once, and nothing of it is left when the owner goes on.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use loom::thread;

use super::cells::Cells;
use crate::contained;

/// Not loom's: it is only counted. A thread with a clone could look at the value that the owner lent.
type Lent = Arc<AtomicUsize>;

fn fill(cells: &Cells, lent: &Lent) -> u64 {
    let lent = Arc::clone(lent);
    cells.fill(Box::new(move || _ = lent.fetch_add(1, Ordering::SeqCst)))
}

/// As `Common::finish`, without a pool.
fn finish(cells: &Cells) {
    let panic = cells.finish(None, |job, _| contained::catch(job).err());
    assert!(panic.is_none());
}

fn assert_ended(lent: &Lent, runs: usize) {
    assert_eq!(lent.load(Ordering::SeqCst), runs);
    assert_eq!(Arc::strong_count(lent), 1, "a job is left that borrows");
}

#[test]
fn a_job_is_run_once_by_the_pool_or_by_the_owner_and_is_gone_when_the_owner_returns() {
    loom::model(|| {
        let (cells, lent) = (Arc::new(Cells::new()), Lent::default());
        let numbers = [fill(&cells, &lent), fill(&cells, &lent)];
        let worker = {
            let cells = Arc::clone(&cells);
            thread::spawn(move || numbers.into_iter().for_each(|number| cells.run(number)))
        };
        finish(&cells);
        assert_ended(&lent, 2);
        worker.join().expect("worker");
    });
}

#[test]
fn a_job_that_a_running_one_spawns_is_run_though_the_owner_waits_and_no_thread_comes() {
    loom::model(|| {
        let (cells, lent) = (Arc::new(Cells::new()), Lent::default());
        let number = {
            let (inner, lent) = (Arc::clone(&cells), Arc::clone(&lent));
            cells.fill(Box::new(move || {
                lent.fetch_add(1, Ordering::SeqCst);
                fill(&inner, &lent);
            }))
        };
        let worker = {
            let cells = Arc::clone(&cells);
            thread::spawn(move || cells.run(number))
        };
        finish(&cells);
        assert_ended(&lent, 2);
        worker.join().expect("worker");
    });
}

#[test]
fn two_threads_and_the_owner_share_two_jobs() {
    loom::model(|| {
        let (cells, lent) = (Arc::new(Cells::new()), Lent::default());
        let workers = [fill(&cells, &lent), fill(&cells, &lent)].map(|number| {
            let cells = Arc::clone(&cells);
            thread::spawn(move || cells.run(number))
        });
        finish(&cells);
        assert_ended(&lent, 2);
        workers.into_iter().for_each(|worker| worker.join().expect("worker"));
    });
}
