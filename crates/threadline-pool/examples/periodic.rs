//! A job in the background, again and again, until the program has done its work: and then an end
//! that neither cuts a run short nor waits for the next one.
//!
//! Run:  cargo run --release -p threadline-pool --example periodic
//! See:  samples while the main thread works, one that panics and harms nothing, and a clean end.
//!
//! What it teaches: a loop around `sleep` drifts by the length of each run, cannot be stopped while
//! it sleeps, and dies with its first panic. A scheduler does none of that.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::thread;
use std::time::Duration;

use threadline_pool::ThreadPool;
use threadline_pool::schedule::{Every, Scheduler};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let pool = ThreadPool::builder().name("background").build()?;
    let scheduler = Scheduler::new(&pool)?;

    let done = Arc::new(AtomicU64::new(0));
    let progress = Arc::clone(&done);
    let sampler = scheduler.job("sample").every(
        Every::fixed_rate(Duration::from_millis(100)),
        move || {
            let done = progress.load(Relaxed);
            assert!(!(40..60).contains(&done), "the sampler does not like the number {done}");
            println!("sample: {done} % done");
        },
    )?;

    work(&done);

    // No run starts any more; one that goes on is waited for, for so long at most.
    let ended = scheduler.shutdown(Duration::from_secs(5));
    println!("all runs ended in time: {ended}");

    let history = sampler.history();
    println!(
        "the sampler ran {} times: {} ok, {} panicked, {} missed",
        history.runs, history.succeeded, history.panicked, history.missed
    );
    pool.shutdown(Duration::from_secs(5));
    Ok(())
}

/// What the program is there for.
fn work(done: &AtomicU64) {
    for percent in 1..=100 {
        thread::sleep(Duration::from_millis(10));
        done.store(percent, Relaxed);
    }
}
