//! The thread hooks: once at the start, once at the end of each thread, and harmless if they fail.

use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Barrier, Mutex, mpsc};
use std::thread;
use std::time::Duration;

use threadline_pool::ThreadPool;

use crate::{LONG, wait_for};

#[test]
fn each_thread_runs_both_hooks_once_around_its_jobs() {
    let (events, inbox) = mpsc::channel();
    let tell = move |what: &'static str| {
        let events = events.clone();
        move || events.send((thread::current().id(), what)).expect("a listener")
    };
    let pool = ThreadPool::builder()
        .threads_min(1)
        .on_thread_start(tell("start"))
        .on_thread_stop(tell("stop"))
        .build()
        .expect("a pool");
    let both = Arc::new(Barrier::new(2));
    for _ in 0..2 {
        let (both, job) = (Arc::clone(&both), tell("job"));
        pool.submit(move || {
            both.wait();
            job();
        })
        .expect("room");
    }
    assert!(pool.shutdown(LONG));
    // No waiting here: after a shutdown the stop hooks have run.
    let events: Vec<_> = inbox.try_iter().collect();
    let first = events[0].0;
    let of_one: Vec<_> = events.iter().filter(|(id, _)| *id == first).map(|(_, e)| *e).collect();
    let of_other: Vec<_> = events.iter().filter(|(id, _)| *id != first).map(|(_, e)| *e).collect();
    assert_eq!((of_one, of_other), (vec!["start", "job", "stop"], vec!["start", "job", "stop"]));
}

#[test]
fn hooks_that_panic_are_counted_and_the_thread_goes_on() {
    let pool = ThreadPool::builder()
        .threads_max(1)
        .on_thread_start(|| panic!("a start hook that panics, as it should"))
        .on_thread_stop(|| panic!("a stop hook that panics, as it should"))
        .build()
        .expect("a pool");
    let (done, inbox) = mpsc::channel();
    pool.submit(move || done.send(1).expect("a listener")).expect("room");
    assert_eq!(inbox.recv_timeout(LONG), Ok(1));
    assert_eq!(pool.stats().hook_panics, 1);
    assert!(pool.shutdown(LONG));
    let stats = pool.stats();
    assert_eq!((stats.hook_panics, stats.panicked, stats.completed), (2, 0, 1));
}

/// A thread in its stop hook counts as gone: it must not be relied on for a job.
#[test]
fn a_job_that_comes_while_the_only_thread_runs_its_stop_hook_gets_another() {
    let (gate, gate_out) = mpsc::channel::<()>();
    let gate_out = Mutex::new(gate_out);
    let stopping = Arc::new(AtomicUsize::new(0));
    let entered = Arc::clone(&stopping);
    let pool = ThreadPool::builder()
        .threads_max(1)
        .keep_alive(Duration::from_millis(1))
        .on_thread_stop(move || {
            // Only the first is held up.
            if entered.fetch_add(1, SeqCst) == 0 {
                let _ = gate_out.lock().expect("one at a time").recv();
            }
        })
        .build()
        .expect("a pool");
    pool.submit(|| ()).expect("room");
    wait_for("the thread stopping", || stopping.load(SeqCst) == 1);
    assert_eq!(pool.stats().threads, 0);

    let (done, inbox) = mpsc::channel();
    pool.submit(move || done.send(2).expect("a listener")).expect("a new thread");
    assert_eq!(inbox.recv_timeout(LONG), Ok(2));
    assert!(!pool.shutdown(Duration::from_millis(1)), "a hook still runs");
    drop(gate);
    assert!(pool.shutdown(LONG));
    assert_eq!(stopping.load(SeqCst), 2);
}

#[test]
fn threads_of_a_dropped_pool_run_their_stop_hook_too() {
    let balance = Arc::new(AtomicUsize::new(0));
    let (up, down) = (Arc::clone(&balance), Arc::clone(&balance));
    let pool = ThreadPool::builder()
        .threads_min(3)
        .on_thread_start(move || {
            up.fetch_add(1, SeqCst);
        })
        .on_thread_stop(move || {
            down.fetch_sub(1, SeqCst);
        })
        .build()
        .expect("a pool");
    drop(pool);
    // The hooks, and with them their handles, go when the last thread went.
    wait_for("all threads gone", || Arc::strong_count(&balance) == 1);
    assert_eq!(balance.load(SeqCst), 0);
}
