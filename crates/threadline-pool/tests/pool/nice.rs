//! Pool threads step back from others when the processor is short.
#![cfg(target_os = "linux")]

use std::sync::mpsc;

use threadline_pool::{Builder, ThreadPool};

use crate::LONG;

/// Field 19 of proc_pid_stat(5), of the calling thread.
fn own_nice() -> i32 {
    let stat = std::fs::read_to_string("/proc/thread-self/stat").expect("procfs");
    // The name, field 2, is in parentheses and may contain anything.
    let (_, rest) = stat.rsplit_once(") ").expect("a name");
    rest.split(' ').nth(16).expect("field 19").parse().expect("a number")
}

fn nice_in(builder: Builder) -> i32 {
    let pool = builder.build().expect("a pool");
    let (values, inbox) = mpsc::channel();
    pool.try_submit(move || values.send(own_nice()).expect("a listener")).expect("room");
    let nice = inbox.recv_timeout(LONG).expect("it ran");
    assert_eq!(pool.stats().nice_failures, 0);
    nice
}

#[test]
fn threads_run_at_the_nice_value_asked_for() {
    let outside = own_nice();
    assert_eq!(nice_in(ThreadPool::builder()), outside.max(5));
    assert_eq!(nice_in(ThreadPool::builder().nice(11)), outside.max(11));
    assert_eq!(nice_in(ThreadPool::builder().nice(19).threads_min(1)), 19);
    assert_eq!(nice_in(ThreadPool::builder().nice(0)), outside);
    assert_eq!(own_nice(), outside, "only the pool's threads changed");
}

#[test]
fn a_thread_that_is_nicer_already_stays_so() {
    let (values, inbox) = mpsc::channel();
    let outer = ThreadPool::builder().nice(12).build().expect("a pool");
    // Threads inherit the nice value of whoever starts them: here a thread at 12.
    outer
        .try_submit(move || {
            values.send(nice_in(ThreadPool::builder().nice(3))).expect("a listener")
        })
        .expect("room");
    let nice = inbox.recv_timeout(LONG).expect("it ran");
    assert!(nice >= 12, "{nice}");
}
