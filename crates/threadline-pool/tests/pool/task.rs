//! Tasks: results, cancelling, panics, joins from within.

use std::future::Future;
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::task::{Context, Poll, Wake};
use std::thread;
use std::time::Duration;

use crate::wait_for;
use threadline_pool::{Ended, JoinError, Policy, RejectReason, Task, ThreadPool};

fn pool(threads: usize) -> ThreadPool {
    ThreadPool::builder().threads_max(threads).build().expect("a pool")
}

/// A pool whose one thread is busy until the gate opens.
fn blocked_pool() -> (ThreadPool, mpsc::Sender<()>) {
    let pool = pool(1);
    let (gate, wait) = mpsc::channel::<()>();
    let (begun, reached) = mpsc::channel();
    pool.try_submit(move || {
        begun.send(()).expect("somebody waits");
        let _ = wait.recv();
    })
    .expect("room");
    reached.recv().expect("begun");
    (pool, gate)
}

#[test]
fn results_come_back() {
    let pool = pool(2);
    let tasks: Vec<_> = (0..100).map(|n| pool.spawn(move || n * 2).expect("room")).collect();
    for (n, task) in tasks.into_iter().enumerate() {
        assert_eq!(task.join().expect("returned"), n * 2);
    }
}

#[test]
fn a_panic_comes_back_with_its_message_and_place() {
    let pool = pool(1);
    let what = String::from("good");
    let line = line!() + 1;
    let task = pool.spawn(move || -> u32 { panic!("no {what}") }).expect("room");
    let Err(JoinError::Panicked(panic)) = task.join() else { panic!("it panicked") };
    assert_eq!(panic.message(), "no good");
    let location = panic.location().expect("known");
    assert!(location.contains(&format!("task.rs:{line}:")), "{location}");
    assert!(panic.into_payload().is::<String>());
    // The thread goes on.
    assert_eq!(pool.spawn(|| 1).expect("room").join().expect("returned"), 1);
}

#[test]
fn a_panic_with_any_payload_can_go_on_elsewhere() {
    let pool = pool(1);
    let task = pool.spawn(|| std::panic::resume_unwind(Box::new(7_u8))).expect("room");
    let error: JoinError = task.join().expect_err("it panicked");
    assert!(error.to_string().contains("(no message)"));
    let again = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| error.resume()));
    assert_eq!(again.expect_err("it went on").downcast_ref(), Some(&7_u8));
}

#[test]
fn a_task_cancelled_before_it_begins_never_runs() {
    let (pool, gate) = blocked_pool();
    let runs = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&runs);
    let task = pool.spawn(move || counted.fetch_add(1, Ordering::SeqCst)).expect("room");
    assert!(!task.is_done());
    assert!(task.cancel(), "it had not begun");
    assert!(task.is_done() && !task.cancel());
    // Its closure is gone with it, not with the queued job.
    assert_eq!(Arc::strong_count(&runs), 1);
    assert!(task.join().expect_err("cancelled").is_cancelled());
    drop(gate);
    assert!(pool.shutdown(Duration::from_secs(30)));
    assert_eq!(runs.load(Ordering::SeqCst), 0);
}

#[test]
fn a_running_task_is_asked_to_end() {
    let pool = pool(1);
    let (begun, reached) = mpsc::channel();
    let task = pool
        .spawn_cancellable(move |token| {
            begun.send(()).expect("somebody waits");
            while token.check().is_ok() {
                thread::yield_now();
            }
            "what there was"
        })
        .expect("room");
    reached.recv().expect("begun");
    assert!(!task.cancel(), "it runs");
    assert_eq!(task.join().expect("returned"), "what there was");
}

#[test]
fn a_rejected_job_comes_back_whole() {
    let pool = pool(1);
    pool.shutdown(Duration::ZERO);
    let value = String::from("kept");
    let rejected = pool.spawn(move || value).expect_err("shut down");
    assert_eq!(rejected.reason, RejectReason::ShutDown);
    assert_eq!((rejected.job)(), "kept");
}

#[test]
fn jobs_that_join_each_other_need_no_second_thread() {
    let pool = pool(1);
    fn nested(pool: &ThreadPool, depth: u32) -> u32 {
        if depth == 0 {
            return 1;
        }
        let inner = pool.clone();
        let task = pool.spawn(move || nested(&inner, depth - 1)).expect("room");
        task.join().expect("returned") + 1
    }
    let outer = pool.clone();
    let task = pool.spawn(move || nested(&outer, 3)).expect("room");
    assert_eq!(task.join().expect("returned"), 4);
    assert_eq!(pool.stats().threads_peak, 1);
}

#[test]
fn two_pools_can_wait_for_each_other() {
    let (left, right) = (pool(1), pool(1));
    let (here, there) = (left.clone(), right.clone());
    let task = left.spawn(move || {
        let back = there.spawn(move || here.spawn(|| 1).expect("room").join().expect("returned"));
        back.expect("room").join().expect("returned") + 1
    });
    assert_eq!(task.expect("room").join().expect("returned"), 2);
}

#[test]
fn a_join_can_be_given_up_and_taken_up_again() {
    let (pool, gate) = blocked_pool();
    let task = pool.spawn(|| 5).expect("room");
    assert!(!task.wait_timeout(Duration::from_millis(1)));
    let task = task.join_timeout(Duration::from_millis(1)).expect_err("not begun");
    drop(gate);
    assert_eq!(task.join_timeout(Duration::from_secs(30)).expect("ended").expect("returned"), 5);
}

#[test]
fn a_dropped_task_runs_all_the_same() {
    let pool = pool(1);
    let (said, heard) = mpsc::channel();
    drop(pool.spawn(move || said.send("here")).expect("room"));
    assert_eq!(heard.recv(), Ok("here"));
}

#[test]
fn callbacks_are_called_in_order_once_and_their_panics_stay_with_them() {
    let (pool, gate) = blocked_pool();
    let (said, heard) = mpsc::channel();
    let task = pool.spawn(|| 1).expect("room");
    let first = said.clone();
    task.on_done(move |how| {
        let _ = first.send((1, how));
    });
    task.on_done(|_| panic!("on purpose"));
    let second = said.clone();
    task.on_done(move |how| {
        let _ = second.send((2, how));
    });
    drop(gate);
    assert_eq!(heard.recv(), Ok((1, Ended::Returned)));
    assert_eq!(heard.recv(), Ok((2, Ended::Returned)));
    // Left after the end, it is called here and now.
    task.on_done(move |how| {
        let _ = said.send((3, how));
    });
    assert_eq!(heard.try_recv(), Ok((3, Ended::Returned)));
    assert_eq!(heard.recv(), Err(mpsc::RecvError), "each once");
    assert_eq!(task.join().expect("returned"), 1);
}

#[test]
fn each_kind_of_end_is_told() {
    let (pool, gate) = blocked_pool();
    let ends = Arc::new(Mutex::new(Vec::new()));
    let note = |task: &Task<u32>| {
        let ends = Arc::clone(&ends);
        task.on_done(move |how| ends.lock().expect("lock").push(how));
    };
    let (cancelled, panicked) = (
        pool.spawn(|| 1).expect("room"),
        pool.spawn(|| -> u32 { panic!("on purpose") }).expect("room"),
    );
    note(&cancelled);
    note(&panicked);
    cancelled.cancel();
    drop(gate);
    panicked.join().expect_err("panicked");
    // Who joins may be back before the callbacks have run.
    wait_for("both are told", || ends.lock().expect("lock").len() == 2);
    assert_eq!(*ends.lock().expect("lock"), [Ended::Cancelled, Ended::Panicked]);
}

/// Runs a future in this thread, without a runtime.
fn block_on<F: Future>(future: F) -> F::Output {
    struct Unpark(thread::Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Arc::new(Unpark(thread::current())).into();
    let mut context = Context::from_waker(&waker);
    let mut future = pin!(future);
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut context) {
            return output;
        }
        thread::park();
    }
}

#[test]
fn a_task_can_be_awaited_without_a_runtime() {
    let (pool, gate) = blocked_pool();
    let (first, second) = (pool.spawn(|| 1).expect("room"), pool.spawn(|| 2).expect("room"));
    let opener = thread::spawn(move || drop(gate));
    let sum = block_on(async { first.await.expect("returned") + second.await.expect("returned") });
    assert_eq!(sum, 3);
    opener.join().expect("opener");
}

/// A pool whose one thread is busy, and whose queue has room for two.
fn blocked_pool_for_two(policy: Policy) -> (ThreadPool, crate::Blocked) {
    let builder = ThreadPool::builder().threads_max(1).queue_len_max(2);
    let pool = builder.when_full(policy).build().expect("a pool");
    let blocked = crate::Blocked::running(&pool);
    (pool, blocked)
}

#[test]
fn a_cancelled_task_gives_its_place_in_the_queue_back() {
    for policy in [Policy::Reject, Policy::DropOldest] {
        let (pool, stuck) = blocked_pool_for_two(policy);
        let held = pool.spawn(|| 1).expect("room");
        for _ in 0..100 {
            let task = pool.spawn(|| 2).expect("room");
            assert_eq!(pool.stats().queue_len, 2);
            assert!(task.cancel());
            assert_eq!(pool.stats().queue_len, 1);
        }
        stuck.release();
        assert_eq!(held.join().expect("it was never displaced"), 1);
        assert!(pool.shutdown(Duration::from_secs(30)));
        let stats = pool.stats();
        assert_eq!((stats.submitted, stats.completed, stats.cancelled), (102, 2, 100));
    }
}

#[test]
fn cancelling_makes_room_for_a_submitter_that_waits() {
    let policy = Policy::Block { timeout: Duration::from_secs(30) };
    let (pool, stuck) = blocked_pool_for_two(policy);
    let tasks = [pool.spawn(|| 1).expect("room"), pool.spawn(|| 2).expect("room")];
    let submitter = {
        let pool = pool.clone();
        thread::spawn(move || pool.spawn(|| 3).map(drop).is_ok())
    };
    wait_for("it waits", || pool.stats().blocked == 1);
    assert!(tasks[1].cancel());
    assert!(submitter.join().expect("no panic"), "the thread is still busy");
    stuck.release();
}

#[test]
fn a_task_that_runs_or_has_ended_has_no_place_to_give_back() {
    let pool = pool(1);
    let (begun, reached) = mpsc::channel();
    let (gate, wait) = mpsc::channel::<()>();
    let running = pool.spawn(move || {
        begun.send(()).expect("somebody waits");
        let _ = wait.recv();
    });
    let running = running.expect("room");
    reached.recv().expect("begun");
    let waiting = pool.spawn(|| ()).expect("room");
    assert!(!running.cancel());
    assert_eq!(pool.stats().queue_len, 1);
    drop(gate);
    waiting.join().expect("returned");
    running.join().expect("returned");
    assert_eq!((pool.stats().cancelled, pool.stats().ran_in_caller), (0, 0));
}

#[test]
fn what_a_joiner_runs_itself_leaves_the_queue() {
    let pool = ThreadPool::builder().threads_max(1).queue_len_max(2).build().expect("a pool");
    let inner = pool.clone();
    let task = pool.spawn(move || {
        // On the only thread, so that nobody else takes anything out of the queue.
        for n in 0..10 {
            let queued = inner.clone();
            let task = inner.spawn(move || (n, queued.stats().queue_len)).expect("room");
            assert_eq!(task.join().expect("returned"), (n, 0), "it has left before it runs");
        }
    });
    task.expect("room").join().expect("no panic");
    assert!(pool.shutdown(Duration::from_secs(30)));
    let stats = pool.stats();
    assert_eq!((stats.completed, stats.ran_in_caller, stats.cancelled), (11, 10, 0));
}

#[test]
fn tasks_that_are_cancelled_while_threads_take_them_are_counted_once() {
    for threads_min in [0, 2] {
        let builder = ThreadPool::builder().threads_min(threads_min).threads_max(2);
        let pool = builder.queue_len_max(16).build().expect("a pool");
        let runs = Arc::new(AtomicUsize::new(0));
        let cancelled = AtomicUsize::new(0);
        thread::scope(|threads| {
            for _ in 0..2 {
                threads.spawn(|| {
                    for n in 0..5_000 {
                        let counted = Arc::clone(&runs);
                        let job = move || _ = counted.fetch_add(1, Ordering::SeqCst);
                        let Ok(task) = pool.spawn(job) else {
                            thread::yield_now();
                            continue;
                        };
                        if n % 3 > 0 && task.cancel() {
                            cancelled.fetch_add(1, Ordering::SeqCst);
                        }
                    }
                });
            }
        });
        assert!(pool.shutdown(Duration::from_secs(60)));
        let stats = pool.stats();
        let (runs, cancelled) = (runs.load(Ordering::SeqCst), cancelled.into_inner());
        assert_eq!(runs + cancelled, stats.submitted as usize);
        assert_eq!(stats.submitted, stats.completed + stats.cancelled);
        // One that a thread has taken just before it is cancelled counts as completed.
        assert!(stats.cancelled as usize <= cancelled);
        assert_eq!((stats.queue_len, stats.ran_in_caller), (0, 0));
    }
}
