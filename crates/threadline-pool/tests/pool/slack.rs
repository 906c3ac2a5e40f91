//! How late the threads' timers may be.
#![cfg(target_os = "linux")]

use std::sync::mpsc;
use std::time::Duration;

use threadline_pool::{Builder, ThreadPool};

use crate::LONG;

/// The timer slack that a job of the pool finds, in nanoseconds.
fn slack_in(builder: Builder) -> u64 {
    let pool = builder.build().expect("a pool");
    let (values, inbox) = mpsc::channel();
    pool.try_submit(move || values.send(own_slack()).expect("a listener")).expect("room");
    inbox.recv_timeout(LONG).expect("it ran")
}

fn own_slack() -> u64 {
    rustix::thread::current_timer_slack().expect("prctl")
}

#[test]
fn timers_may_be_as_late_as_was_said() {
    let outside = own_slack();
    let slack = |micros| ThreadPool::builder().timer_slack(Duration::from_micros(micros));
    assert_eq!(slack_in(ThreadPool::builder()), outside);
    assert_eq!(slack_in(slack(300)), 300_000);
    assert_eq!(slack_in(slack(300).threads_min(1)), 300_000);
    assert_eq!(slack_in(slack(0)), 1, "as punctual as can be, and not the default");
    assert_eq!(own_slack(), outside, "only the pool's threads changed");
}
