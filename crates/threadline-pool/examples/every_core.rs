//! A computation that uses every core, by threads alone.
//!
//! Run:  cargo run --release -p threadline-pool --example every_core
//! See:  the same primes counted by one thread, by a `map` over ranges, and by jobs that borrow.
//!
//! What it teaches: Rust's threads run at the same time, all of them. What takes Python processes, with
//! their memory and their copies of everything that is said between them, is a `map` here, or a `scope`
//! whose jobs write into what the caller owns. There are more pieces than cores, because large numbers take
//! longer: a thread that has ended a short piece takes the next. To split a computation into pieces of less
//! than some 10 us, or as it goes, use rayon: see `cargo run -p threadline --example computing`.

use std::ops::Range;
use std::thread;
use std::time::{Duration, Instant};

use threadline_pool::ThreadPool;

const LIMIT: u32 = 600_000;
/// Worth some hundred microseconds.
const PIECE: u32 = 2_000;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let cores = thread::available_parallelism()?.get();
    let pool = ThreadPool::builder().threads_max(cores).nice(0).build()?;

    let pieces = || (0..LIMIT / PIECE).map(|piece| piece * PIECE..(piece + 1) * PIECE);
    let (alone, one_thread) = timed(|| count(0..LIMIT));
    let (mapped, by_map) =
        timed(|| pool.map(pieces(), count).map(|count| count.expect("it does not panic")).sum());
    let (borrowed, by_scope) = timed(|| {
        let mut counts = vec![0; pieces().len()];
        pool.scope(|scope| {
            for (piece, found) in pieces().zip(&mut counts) {
                scope.spawn(move |_| *found = count(piece));
            }
        });
        counts.iter().sum()
    });

    println!("{alone} primes below {LIMIT}, on {cores} cores");
    println!("one thread   {one_thread:9.1?}");
    for (name, took) in [("map", by_map), ("scope", by_scope)] {
        println!(
            "{name:12} {took:9.1?}   {:.2} times as fast",
            one_thread.as_secs_f64() / took.as_secs_f64()
        );
    }
    assert_eq!([mapped, borrowed], [alone; 2]);
    Ok(())
}

fn count(range: Range<u32>) -> usize {
    range.filter(|number| is_prime(*number)).count()
}

fn is_prime(number: u32) -> bool {
    let divisors = || (2..).take_while(|divisor| divisor * divisor <= number);
    number >= 2 && divisors().all(|divisor| !number.is_multiple_of(divisor))
}

fn timed(work: impl FnOnce() -> usize) -> (usize, Duration) {
    let began = Instant::now();
    (work(), began.elapsed())
}
