//! What a queued job and an idle thread cost in memory of the process.

use std::sync::mpsc;
use std::time::Duration;

use threadline_pool::ThreadPool;

/// The figures, as a table.
pub fn table(smoke: bool) -> String {
    let (jobs, threads) = if smoke { (1000, 10) } else { (1_000_000, 500) };
    // Before the jobs, whose memory goes back to the system at some time after them.
    let idle_thread = idle_thread(threads);
    format!(
        "\n**memory**\n\n| what | bytes |\n|---|---|\n| a queued job that captures 16 bytes | {:.0} |\n\
         | an idle thread (resident; {threads} of them) | {:.0} |\n",
        queued_job(jobs),
        idle_thread,
    )
}

fn queued_job(jobs: usize) -> f64 {
    let pool = ThreadPool::builder().threads_max(1).queue_len_max(usize::MAX).build();
    let pool = pool.expect("a pool");
    let (gate, wait) = mpsc::channel::<()>();
    pool.try_submit(move || _ = wait.recv()).unwrap_or_else(|_| panic!("room"));
    let before = resident();
    for n in 0..jobs {
        let captured = [n; 2];
        pool.try_submit(move || _ = std::hint::black_box(captured))
            .unwrap_or_else(|_| panic!("room"));
    }
    let bytes = (resident() - before) / jobs as f64;
    drop(gate);
    assert!(pool.shutdown(Duration::from_secs(30)), "all jobs ran");
    bytes
}

fn idle_thread(threads: usize) -> f64 {
    let before = resident();
    let pool = ThreadPool::builder().threads_min(threads).threads_max(threads).build();
    let pool = pool.expect("a pool");
    // Each has run once, so that its stack is in use as that of a working thread is.
    crate::scenarios::blocking(&crate::contenders::Threadline(pool.clone()), threads);
    let bytes = (resident() - before) / threads as f64;
    assert!(pool.shutdown(Duration::from_secs(30)), "all threads ended");
    bytes
}

/// Resident memory of this process in bytes.
fn resident() -> f64 {
    let statm = std::fs::read_to_string("/proc/self/statm").expect("Linux");
    let pages: f64 = statm.split(' ').nth(1).and_then(|pages| pages.parse().ok()).expect("pages");
    pages * 4096.0
}
