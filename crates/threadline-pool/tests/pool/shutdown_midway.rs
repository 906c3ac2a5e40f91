//! The end comes in the middle of something: a thread's start, the drop of an oldest job, a job
//! that its submitter runs, a wait within a job. Whatever it is goes on to its own end, no job is
//! lost sight of, and no thread stays.

use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use threadline_pool::sync::Event;
use threadline_pool::{Builder, OnDrop, Policy, RejectReason, ThreadPool};

use crate::{Blocked, LONG, wait_for};

type Shutdown = fn(&ThreadPool, Duration) -> bool;

/// Both kinds of it, and of how many jobs that wait each completes and cancels, when one does.
const BOTH: [(Shutdown, (u64, u64)); 2] =
    [(ThreadPool::shutdown, (1, 0)), (ThreadPool::shutdown_now, (0, 1))];

/// Says that it was reached, and holds up whoever reached it.
#[derive(Clone, Default)]
struct Checkpoint(Arc<Gate>);

#[derive(Default)]
struct Gate {
    reached: Event,
    open: Event,
}

impl Checkpoint {
    fn pass(&self) {
        self.0.reached.set();
        assert!(self.0.open.wait_timeout(LONG), "nobody opened the gate");
    }

    fn wait_until_reached(&self) {
        assert!(self.0.reached.wait_timeout(LONG), "nobody came to the gate");
    }

    fn open(&self) {
        self.0.open.set();
    }

    /// How many hold it, this one included.
    fn holders(&self) -> usize {
        Arc::strong_count(&self.0)
    }
}

/// A pool whose only thread is held up in its start, with one job that waits for it and says so
/// when it runs.
fn starting_pool(builder: Builder) -> (ThreadPool, Checkpoint, mpsc::Receiver<()>) {
    let start = Checkpoint::default();
    let hook = start.clone();
    let builder = builder.threads_max(1).on_thread_start(move || hook.pass());
    let pool = builder.build().expect("a pool");
    let (ran, inbox) = mpsc::channel();
    pool.submit(move || ran.send(()).expect("a listener")).expect("room");
    start.wait_until_reached();
    (pool, start, inbox)
}

#[test]
fn a_thread_that_starts_is_waited_for() {
    for (shutdown, ends) in BOTH {
        let (pool, start, ran) = starting_pool(ThreadPool::builder());
        assert!(!shutdown(&pool, Duration::ZERO), "its thread has not ended, nor begun");
        assert_eq!(pool.stats().threads, 1);
        start.open();
        assert!(shutdown(&pool, LONG));
        let stats = pool.stats();
        assert_eq!((stats.completed, stats.cancelled), ends);
        assert_eq!((stats.threads, ran.try_iter().count() as u64), (0, ends.0));
    }
}

#[test]
fn a_pool_may_be_dropped_while_its_thread_starts() {
    let disconnected = Err(mpsc::RecvTimeoutError::Disconnected);
    for (on_drop, expected) in [(OnDrop::Finish, Ok(())), (OnDrop::Cancel, disconnected)] {
        let (pool, start, ran) = starting_pool(ThreadPool::builder().on_drop(on_drop));
        drop(pool);
        let dropped = ran.try_recv() == Err(mpsc::TryRecvError::Disconnected);
        assert_eq!(dropped, on_drop == OnDrop::Cancel, "by the drop, not by the thread");
        start.open();
        assert_eq!(ran.recv_timeout(LONG), expected);
        // The hook goes with what the threads share, when the last of them has ended.
        wait_for("the thread gone", || start.holders() == 1);
    }
}

/// A job that is slow to drop.
struct SlowToDrop(Checkpoint);

impl Drop for SlowToDrop {
    fn drop(&mut self) {
        self.0.pass();
    }
}

#[test]
fn while_the_oldest_job_is_dropped_for_a_new_one() {
    for (shutdown, (completed, cancelled)) in BOTH {
        let builder = ThreadPool::builder().threads_max(1).queue_len_max(1);
        let pool = builder.when_full(Policy::DropOldest).build().expect("a pool");
        let blocked = Blocked::running(&pool);
        let drop_begins = Checkpoint::default();
        let oldest = SlowToDrop(drop_begins.clone());
        pool.submit(move || drop(oldest)).expect("room for one");
        thread::scope(|scope| {
            let submitter = scope.spawn(|| pool.submit(|| ()).is_ok());
            drop_begins.wait_until_reached();
            // The drop holds nothing up: it is nobody's business but the submitter's.
            assert!(!shutdown(&pool, Duration::ZERO), "a job runs");
            assert_eq!(pool.stats().queue_len as u64, completed, "the new job was accepted");
            blocked.release();
            assert!(shutdown(&pool, LONG));
            drop_begins.open();
            assert!(submitter.join().expect("no panic"));
        });
        let stats = pool.stats();
        // Besides the new job: the blocked one ran, and the oldest did not.
        assert_eq!((stats.completed, stats.cancelled), (completed + 1, cancelled + 1));
    }
}

#[test]
fn a_job_that_its_submitter_runs_is_no_threads_business() {
    for (shutdown, _) in BOTH {
        let (pool, blocked) = pool_whose_callers_run();
        let in_caller = Checkpoint::default();
        let job = in_caller.clone();
        thread::scope(|scope| {
            let submitter = scope.spawn(|| pool.submit(move || job.pass()).is_ok());
            in_caller.wait_until_reached();
            blocked.release();
            assert!(shutdown(&pool, LONG), "all threads ended");
            assert_eq!(pool.stats().ran_in_caller, 0, "the job goes on");
            in_caller.open();
            assert!(submitter.join().expect("no panic"));
        });
        let stats = pool.stats();
        assert_eq!((stats.ran_in_caller, stats.completed, stats.cancelled), (1, 2, 0));
    }
}

#[test]
fn a_job_that_its_submitter_runs_may_end_the_pool() {
    for (shutdown, _) in BOTH {
        let (pool, blocked) = pool_whose_callers_run();
        let (answers, inbox) = mpsc::channel();
        let inner = pool.clone();
        let job = move || {
            let ended = shutdown(&inner, Duration::ZERO);
            let refused = inner.submit(|| ()).map_err(|rejected| rejected.reason);
            answers.send((ended, refused)).expect("a listener");
        };
        pool.submit(job).expect("run at once");
        assert_eq!(inbox.try_recv(), Ok((false, Err(RejectReason::ShutDown))));
        blocked.release();
        assert!(shutdown(&pool, LONG));
    }
}

/// Its only thread is stuck, it has no queue, and who submits runs the job.
fn pool_whose_callers_run() -> (ThreadPool, Blocked) {
    let builder = ThreadPool::builder().threads_max(1).queue_len_max(0);
    let pool = builder.when_full(Policy::CallerRuns).build().expect("a pool");
    let blocked = Blocked::running(&pool);
    (pool, blocked)
}

#[test]
fn a_deadline_missed_within_a_job_is_told_and_the_wait_may_go_on() {
    for (shutdown, _) in BOTH {
        let pool = ThreadPool::builder().threads_max(2).build().expect("a pool");
        let blocked = Blocked::running(&pool);
        let (answers, inbox) = mpsc::channel();
        let inner = pool.clone();
        let job = move || {
            for patience in [Duration::from_millis(1), LONG] {
                let _ = answers.send(shutdown(&inner, patience));
            }
        };
        pool.submit(job).expect("room");
        assert_eq!(inbox.recv_timeout(LONG), Ok(false), "the other job is stuck");
        blocked.release();
        assert_eq!(inbox.recv_timeout(LONG), Ok(true));
        assert!(shutdown(&pool, LONG));
    }
}

#[test]
fn tasks_are_told_how_they_ended() {
    for (shutdown, (completed, _)) in BOTH {
        let pool = ThreadPool::builder().threads_max(1).build().expect("a pool");
        let begun = Checkpoint::default();
        let job = begun.clone();
        let running = pool.spawn(move || job.pass()).expect("room");
        begun.wait_until_reached();
        let waiting = pool.spawn(|| 7).expect("room");
        assert!(!shutdown(&pool, Duration::ZERO));
        assert_eq!(waiting.is_done(), completed == 0, "cancelled at once, or waiting for its turn");
        begun.open();
        running.join().expect("what runs is let to end");
        match waiting.join() {
            Ok(result) => assert_eq!((result, completed), (7, 1)),
            Err(error) => assert!(error.is_cancelled() && completed == 0, "{error}"),
        }
        assert!(shutdown(&pool, LONG));
    }
}
