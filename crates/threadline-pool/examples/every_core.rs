//! A computation that uses every core, by threads alone.
//!
//! Run:  cargo run --release -p threadline-pool --example every_core
//! See:  the same primes counted by one thread, by jobs over ranges, and by splitting in halves.
//!
//! What it teaches: Rust's threads run at the same time, all of them. What takes Python processes, with
//! their memory and their copies of everything that is said between them, is a `map` here, or a `join`
//! of two halves, each of which may be split again: whoever has nothing to do takes over a half. Halves
//! are better where the pieces are not equally long, as here, where large numbers take longer.

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

    let (alone, one_thread) = timed(|| count(0..LIMIT));
    let (mapped, by_map) = timed(|| {
        let pieces = (0..LIMIT / PIECE).map(|piece| piece * PIECE..(piece + 1) * PIECE);
        pool.map(pieces, count).map(|result| result.expect("it does not panic")).sum()
    });
    let (halved, by_halves) = timed(|| split(&pool, 0..LIMIT));

    println!("{alone} primes below {LIMIT}, on {cores} cores");
    println!("one thread   {one_thread:9.1?}");
    for (name, took) in [("map", by_map), ("halves", by_halves)] {
        println!(
            "{name:12} {took:9.1?}   {:.2} times as fast",
            one_thread.as_secs_f64() / took.as_secs_f64()
        );
    }
    assert_eq!([mapped, halved], [alone; 2]);
    Ok(())
}

fn split(pool: &ThreadPool, range: Range<u32>) -> usize {
    if range.len() <= PIECE as usize {
        return count(range);
    }
    let middle = range.start.midpoint(range.end);
    let (lower, upper) =
        pool.join(|| split(pool, range.start..middle), || split(pool, middle..range.end));
    lower + upper
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
