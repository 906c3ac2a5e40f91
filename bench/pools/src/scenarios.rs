//! What the pools have to do. Each returns seconds, and checks that the work was done.

use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::contenders::Pool;

/// Counts jobs down and wakes who waits for the last.
struct Countdown {
    left: AtomicUsize,
    waiter: thread::Thread,
}

impl Countdown {
    fn of(jobs: usize) -> Arc<Self> {
        Arc::new(Countdown { left: AtomicUsize::new(jobs), waiter: thread::current() })
    }

    fn done(&self) {
        if self.left.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.waiter.unpark();
        }
    }

    fn wait(&self) {
        while self.left.load(Ordering::Acquire) > 0 {
            thread::park();
        }
    }
}

/// Empty jobs, each waited for before the next.
pub fn submit_and_join<P: Pool>(pool: &P, jobs: usize) -> f64 {
    let began = Instant::now();
    for n in 0..jobs {
        assert_eq!(pool.run(move || black_box(n)), n);
    }
    began.elapsed().as_secs_f64()
}

/// Tiny jobs from so many submitters at once.
pub fn fan_out<P: Pool>(pool: &P, jobs: usize, submitters: usize) -> f64 {
    let countdown = Countdown::of(jobs);
    let began = Instant::now();
    thread::scope(|scope| {
        for _ in 0..submitters {
            scope.spawn(|| {
                for _ in 0..jobs / submitters {
                    let countdown = Arc::clone(&countdown);
                    pool.execute(move || countdown.done());
                }
            });
        }
        (0..jobs % submitters).for_each(|_| countdown.done());
    });
    countdown.wait();
    began.elapsed().as_secs_f64()
}

/// Jobs that sleep 10 ms.
pub fn blocking<P: Pool>(pool: &P, jobs: usize) -> f64 {
    let countdown = Countdown::of(jobs);
    let began = Instant::now();
    for _ in 0..jobs {
        let countdown = Arc::clone(&countdown);
        pool.execute(move || {
            thread::sleep(Duration::from_millis(10));
            countdown.done();
        });
    }
    countdown.wait();
    began.elapsed().as_secs_f64()
}

/// From a submit to an idle pool until the job runs: the median.
pub fn idle_latency<P: Pool>(pool: &P, times: usize) -> f64 {
    let mut latencies: Vec<f64> = (0..times)
        .map(|_| {
            // Long enough for its threads to sleep.
            thread::sleep(Duration::from_millis(2));
            let submitted = Instant::now();
            pool.run(move || submitted.elapsed().as_secs_f64())
        })
        .collect();
    latencies.sort_by(f64::total_cmp);
    latencies[times / 2]
}
