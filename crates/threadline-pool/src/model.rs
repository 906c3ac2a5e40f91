//! The wake chain, blocked submitters and the pool's end under loom: in every order in which
//! threads can take their steps (up to a number of preemptions), each job runs or is given back. A
//! lost wake-up shows as a deadlock, because nobody closes the pool, which would wake everybody,
//! before the jobs ran.
//!
//! `RUSTFLAGS="--cfg loom" cargo test -p threadline-pool --release --lib`

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use loom::thread;

use crate::primitive::{Condvar, Mutex, lock};
use crate::{Builder, Policy, RejectReason, ThreadPool};

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

fn run_jobs_of_two_producers(pool: &ThreadPool) {
    let latch = Latch::new(2);
    let producer = {
        let (pool, latch) = (pool.clone(), Arc::clone(&latch));
        thread::spawn(move || submit_countdown(&pool, &latch))
    };
    submit_countdown(pool, &latch);
    latch.wait();
    producer.join().expect("producer");
}

/// Two producers and two threads made on demand.
#[test]
fn jobs_of_two_producers_run_on_threads_that_are_started_for_them() {
    check(|| {
        let pool = pool(0, FOR_EVER).build().expect("a pool");
        run_jobs_of_two_producers(&pool);
        end(&pool, 2);
    });
}

/// Two producers and two idle threads.
#[test]
fn jobs_of_two_producers_wake_idle_threads() {
    check(|| {
        let pool = pool(2, FOR_EVER).build().expect("a pool");
        run_jobs_of_two_producers(&pool);
        end(&pool, 2);
    });
}

/// Two submitters and one thread, which goes to sleep meanwhile. Whoever finds the lock taken posts its
/// job and does not look again: the one who has it must.
#[test]
fn a_job_posted_while_the_lock_is_taken_is_run() {
    // Not modelled: counts over all orders.
    static POSTED: AtomicUsize = AtomicUsize::new(0);
    check(|| {
        let pool = pool(1, FOR_EVER).threads_max(1).build().expect("a pool");
        run_jobs_of_two_producers(&pool);
        POSTED.fetch_add(pool.stats().posted as usize, Ordering::Relaxed);
        end(&pool, 2);
    });
    assert!(POSTED.load(Ordering::Relaxed) > 0, "no order in which the lock was taken");
}

/// Two jobs, one of which is withdrawn while the thread of the pool comes for them and others have the lock: that
/// one runs or is dropped, once, and its place is free in the end. The other runs.
#[test]
fn a_job_that_is_withdrawn_runs_or_is_dropped_and_leaves_no_place_taken() {
    static POSTED: AtomicUsize = AtomicUsize::new(0);
    static DROPPED: AtomicUsize = AtomicUsize::new(0);
    check(|| {
        let pool = pool(1, FOR_EVER).threads_max(1).build().expect("a pool");
        let latch = Latch::new(1);
        let other = {
            let (pool, latch) = (pool.clone(), Arc::clone(&latch));
            thread::spawn(move || submit_countdown(&pool, &latch))
        };
        let ran = Arc::new(AtomicUsize::new(0));
        let runs = Arc::clone(&ran);
        let ticket = pool.try_submit(move || _ = runs.fetch_add(1, Ordering::Relaxed));
        pool.withdraw(ticket.expect("room"));
        latch.wait();
        other.join().expect("submitter");
        assert!(pool.shutdown(FOR_EVER));
        let stats = pool.stats();
        assert_eq!((stats.submitted, stats.queue_len), (2, 0));
        assert_eq!(stats.completed + stats.cancelled, 2);
        assert_eq!(ran.load(Ordering::Relaxed) as u64 + stats.cancelled, 1);
        assert_eq!(Arc::strong_count(&ran), 1, "the job is gone");
        POSTED.fetch_add(stats.posted as usize, Ordering::Relaxed);
        DROPPED.fetch_add(stats.cancelled as usize, Ordering::Relaxed);
    });
    assert!(POSTED.load(Ordering::Relaxed) > 0, "no order in which the lock was taken");
    assert!(DROPPED.load(Ordering::Relaxed) > 0, "no order in which it was dropped");
}

/// Posted while another thread closes the pool: it runs or comes back.
#[test]
fn a_job_posted_to_a_pool_that_closes_runs_or_comes_back() {
    check(|| {
        let pool = pool(1, FOR_EVER).threads_max(1).build().expect("a pool");
        let latch = Latch::new(1);
        let submitter = {
            let (pool, latch) = (pool.clone(), Arc::clone(&latch));
            thread::spawn(move || {
                if let Err(rejected) = pool.try_submit(move || latch.count_down()) {
                    (rejected.job)();
                }
            })
        };
        pool.shutdown(FOR_EVER);
        submitter.join().expect("submitter");
        latch.wait();
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
    submit_gate(pool, busy, go);
    busy.wait();
}

/// A job that says when it begins and then waits for `go`.
fn submit_gate(pool: &ThreadPool, busy: &Arc<Latch>, go: &Arc<Latch>) {
    let (started, gate) = (Arc::clone(busy), Arc::clone(go));
    pool.try_submit(move || {
        started.count_down();
        gate.wait();
    })
    .expect("room");
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

const BLOCK: Policy = Policy::Block { timeout: FOR_EVER };
const BLOCK_NOT: Policy = Policy::Block { timeout: AT_ONCE };

/// One thread and no queue: as many jobs are taken as there are threads free for them.
fn narrow_pool(threads_min: usize, policy: Policy) -> ThreadPool {
    let builder = ThreadPool::builder().threads_min(threads_min).threads_max(1);
    builder.keep_alive(FOR_EVER).queue_len_max(0).when_full(policy).build().expect("a pool")
}

/// Two submitters that wait for one place: each is woken, though only one of them at a time.
#[test]
fn blocked_submitters_all_get_their_room() {
    check(|| {
        let pool = narrow_pool(1, BLOCK);
        let latch = Latch::new(2);
        let other = {
            let (pool, latch) = (pool.clone(), Arc::clone(&latch));
            thread::spawn(move || pool.submit(move || latch.count_down()).expect("room"))
        };
        let mine = Arc::clone(&latch);
        pool.submit(move || mine.count_down()).expect("room");
        latch.wait();
        other.join().expect("submitter");
        end(&pool, 2);
    });
}

/// The place is taken when both come, and is given up while they go to sleep.
#[test]
fn a_submitter_that_goes_to_sleep_while_room_appears_is_woken() {
    check(|| {
        let pool = narrow_pool(0, BLOCK);
        let (busy, go, latch) = (Latch::new(1), Latch::new(1), Latch::new(2));
        occupy(&pool, &busy, &go);
        let other = {
            let (pool, latch, go) = (pool.clone(), Arc::clone(&latch), Arc::clone(&go));
            thread::spawn(move || {
                go.count_down();
                pool.submit(move || latch.count_down()).expect("room");
            })
        };
        let mine = Arc::clone(&latch);
        pool.submit(move || mine.count_down()).expect("room");
        latch.wait();
        other.join().expect("submitter");
        end(&pool, 3);
    });
}

/// One whose time is up leaves; that it may just have been called must not cost the other its call.
#[test]
fn a_submitter_whose_time_is_up_does_not_take_the_call_of_another_along() {
    check(|| {
        let pool = narrow_pool(1, BLOCK_NOT);
        let patient = Latch::new(2);
        let other = {
            let (pool, latch) = (pool.clone(), Arc::clone(&patient));
            thread::spawn(move || submit_until_taken(&pool, &latch))
        };
        submit_until_taken(&pool, &patient);
        patient.wait();
        other.join().expect("submitter");
        end(&pool, 2);
    });
}

/// Either the pool takes it, or the time is up and it comes back, to be run here.
fn submit_until_taken(pool: &ThreadPool, latch: &Arc<Latch>) {
    let latch = Arc::clone(latch);
    if let Err(rejected) = pool.submit(move || latch.count_down()) {
        assert_eq!(rejected.reason, RejectReason::TimedOut);
        pool.submit_essential(rejected.job).expect("never full");
    }
}

/// A pool that ends while somebody waits for room in it: the job runs or comes back, never neither.
#[test]
fn a_blocked_submitter_comes_back_from_a_pool_that_ends() {
    for cancel in [false, true] {
        check(move || {
            let pool = narrow_pool(0, BLOCK);
            let (busy, go, latch) = (Latch::new(1), Latch::new(1), Latch::new(1));
            occupy(&pool, &busy, &go);
            let submitter = {
                let (pool, latch) = (pool.clone(), Arc::clone(&latch));
                thread::spawn(move || pool.submit(move || latch.count_down()).is_ok())
            };
            go.count_down();
            let ended = if cancel { pool.shutdown_now(FOR_EVER) } else { pool.shutdown(FOR_EVER) };
            assert!(ended);
            let taken = u64::from(submitter.join().expect("submitter"));
            let stats = pool.stats();
            assert_eq!((stats.submitted, stats.rejected), (1 + taken, 1 - taken));
            assert_eq!(stats.completed + stats.cancelled, stats.submitted);
            assert!(cancel || stats.cancelled == 0);
        });
    }
}

/// The first thread lays out the jobs behind its own; they wait as much as any, so that it must
/// call the second thread for them.
#[test]
fn jobs_that_are_laid_out_still_get_a_thread_called() {
    check(|| {
        let pool = pool(2, FOR_EVER).build().expect("a pool");
        let (pair, latch) = (Latch::new(2), Latch::new(3));
        for number in 0..3 {
            let (pair, latch) = (Arc::clone(&pair), Arc::clone(&latch));
            pool.try_submit(move || {
                latch.count_down();
                // The first two end only together.
                if number < 2 {
                    pair.count_down();
                    pair.wait();
                }
            })
            .expect("room");
        }
        latch.wait();
        end(&pool, 3);
    });
}

/// Two jobs are laid out, one more waits in the queue, and that is all there may be. The submitter
/// must be told when the first of the two is taken: the second one ends only after that.
#[test]
fn a_job_taken_from_those_laid_out_makes_room_for_a_blocked_submitter() {
    check(|| {
        let builder = ThreadPool::builder().threads_max(1).keep_alive(FOR_EVER);
        let pool = builder.queue_len_max(3).when_full(BLOCK).build().expect("a pool");
        let (first, go_first) = (Latch::new(1), Latch::new(1));
        let (second, go_second, taken) = (Latch::new(1), Latch::new(1), Latch::new(1));
        occupy(&pool, &first, &go_first);
        submit_gate(&pool, &second, &go_second);
        pool.try_submit(|| ()).expect("room");
        submit_gate(&pool, &Latch::new(1), &taken);
        go_first.count_down();
        second.wait();
        pool.try_submit(|| ()).expect("room for one more");
        let submitter = {
            let pool = pool.clone();
            thread::spawn(move || {
                pool.submit(|| ()).expect("room in the end");
                taken.count_down();
            })
        };
        go_second.count_down();
        submitter.join().expect("submitter");
        end(&pool, 6);
    });
}

/// Cancelling races a thread that comes for the job: it is run or dropped, and the thread ends.
#[test]
fn a_cancelled_job_is_run_or_dropped_and_nobody_stays() {
    check(|| {
        let pool = pool(1, FOR_EVER).build().expect("a pool");
        let latch = Latch::new(3);
        (0..3).for_each(|_| submit_countdown(&pool, &latch));
        assert!(pool.shutdown_now(FOR_EVER));
        let stats = pool.stats();
        assert_eq!((stats.completed + stats.cancelled, stats.threads), (3, 0));
        assert_eq!(*lock(&latch.left) as u64, stats.cancelled);
    });
}

/// With a stop hook a thread leaves in two steps; neither a job nor the end is lost between them.
#[test]
fn a_job_that_comes_while_the_last_thread_runs_its_stop_hook_is_run() {
    check(|| {
        let stops = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&stops);
        let hook = move || {
            counted.fetch_add(1, Ordering::Relaxed);
        };
        let pool = pool(0, AT_ONCE).on_thread_stop(hook).build().expect("a pool");
        for _ in 0..2 {
            let latch = Latch::new(1);
            submit_countdown(&pool, &latch);
            latch.wait();
        }
        end(&pool, 2);
        assert_eq!(stops.load(Ordering::Relaxed) as u64, pool.stats().spawned);
    });
}
