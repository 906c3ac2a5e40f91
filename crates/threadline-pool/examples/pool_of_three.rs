//! A pool of three workers and ten jobs; and what happens when more comes than it can take.
//!
//! Run:  cargo run --release -p threadline-pool --example pool_of_three
//! See:  which thread did which job, and what each policy does with two jobs too many.
//!
//! What it teaches: a pool bounds how much is done at once, and its queue bounds how much waits. A queue
//! without a bound only moves the problem to the memory, and to the clients, whose answers come when
//! nobody waits for them any more. So somebody has to say what happens when it is full: the submitter
//! is told, or waits, or does it itself, or the oldest job goes.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::thread;
use std::time::Duration;

use threadline_pool::sync::Latch;
use threadline_pool::{Policy, ThreadPool};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    ten_jobs()?;
    println!();
    for (name, policy) in [
        ("reject", Policy::Reject),
        ("block for 50 ms", Policy::Block { timeout: Duration::from_millis(50) }),
        ("run in the caller", Policy::CallerRuns),
        ("drop the oldest", Policy::DropOldest),
    ] {
        too_many_jobs(name, policy)?;
    }
    Ok(())
}

fn ten_jobs() -> Result<(), Box<dyn std::error::Error>> {
    let pool = ThreadPool::builder().name("worker").threads_max(3).build()?;
    // An ordered map of the results of ten jobs that block.
    let who = pool.map(1..=10, |job| {
        thread::sleep(Duration::from_millis(30));
        (job, thread::current().name().unwrap_or_default().to_owned())
    });
    let mut by_worker = BTreeMap::<String, Vec<u32>>::new();
    for result in who {
        let (job, worker) = result?;
        by_worker.entry(worker).or_default().push(job);
    }
    for (worker, jobs) in &by_worker {
        println!("{worker} did the jobs {jobs:?}");
    }
    assert!(by_worker.len() <= 3, "no more than three at once");
    Ok(())
}

/// One thread, which is stuck, room for two jobs, and four that come.
fn too_many_jobs(name: &str, policy: Policy) -> Result<(), Box<dyn std::error::Error>> {
    let pool = ThreadPool::builder().threads_max(1).queue_len_max(2).when_full(policy).build()?;
    let gate = Arc::new(Latch::new(1));
    let started = Arc::new(Latch::new(1));
    pool.submit({
        let (gate, started) = (Arc::clone(&gate), Arc::clone(&started));
        move || {
            started.count_down();
            gate.wait();
        }
    })?;
    started.wait();

    let ran = Arc::new(AtomicUsize::new(0));
    let mut given_back = 0;
    for _ in 0..4 {
        let ran = Arc::clone(&ran);
        if pool.submit(move || _ = ran.fetch_add(1, Relaxed)).is_err() {
            given_back += 1;
        }
    }
    gate.count_down();
    assert!(pool.shutdown(Duration::from_secs(10)), "all jobs end");

    let (ran, stats) = (ran.load(Relaxed), pool.stats());
    println!(
        "{name:18} {ran} of 4 ran ({} in the caller), {given_back} given back, {} dropped",
        stats.ran_in_caller, stats.cancelled
    );
    assert_eq!(ran + given_back + usize::try_from(stats.cancelled)?, 4, "none is lost unnoticed");
    Ok(())
}
