//! Tasks: results, cancelling, panics, joins from within.

use std::future::Future;
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::task::{Context, Poll, Wake};
use std::thread;
use std::time::Duration;

use crate::wait_for;
use threadline_pool::{Ended, JoinError, RejectReason, Task, ThreadPool};

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
