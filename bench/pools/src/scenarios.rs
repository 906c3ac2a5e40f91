//! What the pools have to do. Each returns seconds, and checks that the work was done.

use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::contenders::{Pool, Rayon, Threadline};

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

/// Pools whose jobs can fork and join.
pub trait ForkJoin: Pool {
    fn join<A: Send, B: Send>(
        &self,
        a: impl FnOnce() -> A + Send,
        b: impl FnOnce() -> B + Send,
    ) -> (A, B);

    /// Runs both in one scope.
    fn scope_of_two(&self, a: impl FnOnce() + Send, b: impl FnOnce() + Send);
}

impl ForkJoin for Threadline {
    fn join<A: Send, B: Send>(
        &self,
        a: impl FnOnce() -> A + Send,
        b: impl FnOnce() -> B + Send,
    ) -> (A, B) {
        self.0.join(a, b)
    }

    fn scope_of_two(&self, a: impl FnOnce() + Send, b: impl FnOnce() + Send) {
        self.0.scope(|scope| {
            scope.spawn(|_| a());
            scope.spawn(|_| b());
        });
    }
}

impl ForkJoin for Rayon {
    fn join<A: Send, B: Send>(
        &self,
        a: impl FnOnce() -> A + Send,
        b: impl FnOnce() -> B + Send,
    ) -> (A, B) {
        rayon::join(a, b)
    }

    fn scope_of_two(&self, a: impl FnOnce() + Send, b: impl FnOnce() + Send) {
        rayon::scope(|scope| {
            scope.spawn(|_| a());
            scope.spawn(|_| b());
        });
    }
}

/// Fibonacci numbers by forking, down to `plain_from`: about a microsecond's worth at 15, next to
/// nothing but forks at 1.
pub fn fib<P: ForkJoin>(pool: &P, n: u32, plain_from: u32) -> f64 {
    fn forked<P: ForkJoin>(pool: &P, n: u32, plain_from: u32) -> u64 {
        if n <= plain_from {
            return plain(n);
        }
        let fork = |n| forked(pool, n, plain_from);
        let (a, b) = pool.join(|| fork(n - 1), || fork(n - 2));
        a + b
    }
    fn plain(n: u32) -> u64 {
        if n < 2 { u64::from(n) } else { plain(n - 1) + plain(n - 2) }
    }
    let began = Instant::now();
    assert_eq!(black_box(forked(pool, n, plain_from)), fibonacci(n));
    began.elapsed().as_secs_f64()
}

fn fibonacci(n: u32) -> u64 {
    (0..n).fold((0, 1), |(a, b), _| (b, a + b)).0
}

/// Quicksort, both halves in a scope, down to 2 000 elements.
pub fn quicksort<P: ForkJoin>(pool: &P, len: usize) -> f64 {
    fn sort<P: ForkJoin>(pool: &P, data: &mut [u32]) {
        if data.len() <= 2000 {
            data.sort_unstable();
            return;
        }
        let middle = partition(data);
        let (left, right) = data.split_at_mut(middle);
        pool.scope_of_two(|| sort(pool, left), || sort(pool, right));
    }
    // A fixed sequence, the same for each pool and round.
    let mut seed = 12345_u32;
    let mut data: Vec<u32> = (0..len)
        .map(|_| {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            seed >> 4
        })
        .collect();
    let began = Instant::now();
    sort(pool, &mut data);
    let seconds = began.elapsed().as_secs_f64();
    assert!(data.is_sorted(), "sorted");
    seconds
}

/// Hoare's partition around the median of three; both parts are shorter than the whole.
fn partition(data: &mut [u32]) -> usize {
    let (middle, last) = (data.len() / 2, data.len() - 1);
    let mut three = [data[0], data[middle], data[last]];
    three.sort_unstable();
    let pivot = three[1];
    let (mut low, mut high) = (0, last);
    loop {
        while data[low] < pivot {
            low += 1;
        }
        while data[high] > pivot {
            high -= 1;
        }
        if low >= high {
            return low.clamp(1, last);
        }
        data.swap(low, high);
        low += 1;
        high -= 1;
    }
}
