//! The wake chain under loom: in every order in which threads can take their steps (up to a number
//! of preemptions), each job runs. A lost wake-up shows as a deadlock, because nobody closes the
//! pool, which would wake everybody, before the jobs ran.
//!
//! `RUSTFLAGS="--cfg loom" cargo test -p threadline-pool --release --lib`

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use loom::thread;

use crate::primitive::{Condvar, Mutex, lock};
use crate::{Builder, RejectReason, ThreadPool};

/// The model knows no clock: a time that is finite is over at once, and this one never is.
const FOR_EVER: Duration = Duration::MAX;
const AT_ONCE: Duration = Duration::ZERO;

fn check(model: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(2);
    builder.check(model);
}

fn pool(threads_min: usize, keep_alive: Duration) -> Builder {
    ThreadPool::builder().threads_min(threads_min).threads_max(2).keep_alive(keep_alive)
}

/// Counts down; waiting for it is waiting for the jobs.
struct Latch {
    left: Mutex<usize>,
    open: Condvar,
}

impl Latch {
    fn new(left: usize) -> Arc<Self> {
        Arc::new(Latch { left: Mutex::new(left), open: Condvar::new() })
    }

    fn count_down(&self) {
        let mut left = lock(&self.left);
        *left -= 1;
        if *left == 0 {
            self.open.notify_all();
        }
    }

    fn wait(&self) {
        let mut left = lock(&self.left);
        while *left > 0 {
            left = self.open.wait(left).expect("no panic under the lock");
        }
    }
}

fn submit_countdown(pool: &ThreadPool, latch: &Arc<Latch>) {
    let latch = Arc::clone(latch);
    pool.try_submit(move || latch.count_down()).expect("room");
}

fn end(pool: &ThreadPool, jobs: u64) {
    assert!(pool.shutdown(FOR_EVER));
    let stats = pool.stats();
    assert_eq!((stats.completed, stats.threads, stats.busy, stats.idle), (jobs, 0, 0, 0));
}

/// Two producers and two threads made on demand.
#[test]
fn jobs_of_two_producers_run_on_threads_that_are_started_for_them() {
    check(|| {
        let pool = pool(0, FOR_EVER).build().expect("a pool");
        let latch = Latch::new(2);
        let producer = {
            let (pool, latch) = (pool.clone(), Arc::clone(&latch));
            thread::spawn(move || submit_countdown(&pool, &latch))
        };
        submit_countdown(&pool, &latch);
        latch.wait();
        producer.join().expect("producer");
        end(&pool, 2);
    });
}

/// Two producers and two idle threads.
#[test]
fn jobs_of_two_producers_wake_idle_threads() {
    check(|| {
        let pool = pool(2, FOR_EVER).build().expect("a pool");
        let latch = Latch::new(2);
        let producer = {
            let (pool, latch) = (pool.clone(), Arc::clone(&latch));
            thread::spawn(move || submit_countdown(&pool, &latch))
        };
        submit_countdown(&pool, &latch);
        latch.wait();
        producer.join().expect("producer");
        end(&pool, 2);
    });
}

/// Jobs that end only together: the second thread must come although the producer, who found a
/// wake under way, may have woken the first alone.
#[test]
fn jobs_that_wait_for_each_other_both_have_a_thread() {
    for threads_min in [0, 2] {
        check(move || {
            let pool = pool(threads_min, FOR_EVER).build().expect("a pool");
            let latch = Latch::new(2);
            for _ in 0..2 {
                let latch = Arc::clone(&latch);
                pool.try_submit(move || {
                    latch.count_down();
                    latch.wait();
                })
                .expect("room");
            }
            latch.wait();
            end(&pool, 2);
        });
    }
}

/// The system gives no second thread. Whoever tried in vain leaves no job behind, though meanwhile
/// others relied on the one being started, and the thread there is went idle or would leave.
#[test]
fn a_start_that_fails_leaves_no_job_behind() {
    for (threads_min, keep_alive) in [(1, FOR_EVER), (0, AT_ONCE)] {
        check(move || {
            let pool = pool(threads_min, keep_alive).build().expect("a pool");
            let (busy, go, latch) = (Latch::new(1), Latch::new(1), Latch::new(2));
            occupy(&pool, &busy, &go);
            pool.shared().out_of_threads.store(true, Ordering::Relaxed);
            let producer = {
                let (pool, latch) = (pool.clone(), Arc::clone(&latch));
                // The start that fails is this one's.
                thread::spawn(move || submit_or_run(&pool, &latch))
            };
            go.count_down();
            submit_or_run(&pool, &latch);
            latch.wait();
            producer.join().expect("producer");
            assert!(pool.shutdown(FOR_EVER));
        });
    }
}

/// Has a thread of the pool stuck in a job until `go`.
fn occupy(pool: &ThreadPool, busy: &Arc<Latch>, go: &Arc<Latch>) {
    let (started, gate) = (Arc::clone(busy), Arc::clone(go));
    pool.try_submit(move || {
        started.count_down();
        gate.wait();
    })
    .expect("room");
    busy.wait();
}

/// With no thread left and none to be had, the job comes back: that is an answer too.
fn submit_or_run(pool: &ThreadPool, latch: &Arc<Latch>) {
    let latch = Arc::clone(latch);
    if let Err(rejected) = pool.try_submit(move || latch.count_down()) {
        assert_eq!(rejected.reason, RejectReason::NoThread);
        (rejected.job)();
    }
}

/// "The last thread is just leaving": its time is up at once, always.
#[test]
fn a_job_that_comes_while_the_last_thread_leaves_is_run() {
    check(|| {
        let pool = pool(0, AT_ONCE).build().expect("a pool");
        for _ in 0..2 {
            let latch = Latch::new(1);
            submit_countdown(&pool, &latch);
            latch.wait();
        }
        end(&pool, 2);
    });
}

/// Nobody waits for the pool's end, and the last handle is gone while the job is queued.
#[test]
fn a_dropped_pool_finishes_its_queue_and_its_threads_end() {
    check(|| {
        let latch = Latch::new(2);
        let pool = pool(1, FOR_EVER).build().expect("a pool");
        submit_countdown(&pool, &latch);
        submit_countdown(&pool, &latch);
        drop(pool);
        latch.wait();
    });
}
