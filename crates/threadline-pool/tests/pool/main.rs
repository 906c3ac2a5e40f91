//! The pool's promises, seen from outside. One module per kind of behaviour.
#![cfg(not(loom))]

mod bounds;
mod figures;
mod hooks;
mod laid_out;
mod lifetime;
mod many;
mod nice;
mod panics;
mod policies;
mod priorities;
mod queue;
mod running;
mod schedule;
mod scope;
mod shutdown;
mod shutdown_midway;
mod slack;
mod stress;
mod sync;
mod task;
mod waking;

use std::sync::mpsc;
use std::time::{Duration, Instant};

use threadline_pool::ThreadPool;

/// Far longer than anything here takes; a test that runs into it fails.
const LONG: Duration = Duration::from_secs(20);

/// Waits for a phase that nobody announces, such as a thread's falling asleep.
fn wait_for(what: &str, reached: impl Fn() -> bool) {
    let deadline = Instant::now() + LONG;
    while !reached() {
        assert!(Instant::now() < deadline, "never reached: {what}");
        std::thread::yield_now();
    }
}

/// A job that says when it runs and then blocks until its gate is dropped.
struct Blocked {
    started: mpsc::Receiver<()>,
    gate: mpsc::Sender<()>,
}

impl Blocked {
    fn submit(pool: &ThreadPool) -> Self {
        let (started_in, started) = mpsc::channel();
        let (gate, gate_out) = mpsc::channel::<()>();
        pool.try_submit(move || {
            let _ = started_in.send(());
            let _ = gate_out.recv();
        })
        .expect("room");
        Blocked { started, gate }
    }

    /// Submits and waits until a thread is stuck in it.
    fn running(pool: &ThreadPool) -> Self {
        let blocked = Self::submit(pool);
        blocked.started.recv_timeout(LONG).expect("it starts");
        blocked
    }

    fn release(self) {
        drop(self.gate);
    }

    /// Lets it go, and keeps its place in a struct.
    fn open(&self) {
        self.gate.send(()).expect("it waits");
    }
}
