//! Starting threads, giving them something, getting something back, and what a panic does.
//!
//! Run:  cargo run --release -p threadline-pool --example starting_threads
//! See:  the same sum by threads that own their data, threads that borrow it, and a pool.
//!
//! What it teaches: a thread is started with a closure and ends with its result; `join` waits for it
//! and hands the result over, or the panic. A thread that may outlive its starter has to own what it
//! uses (`move`, `Arc`); one that cannot may borrow (`thread::scope`). Starting one costs tens of
//! microseconds, so work that comes in small pieces goes to threads that are there already: a pool.

use std::sync::Arc;
use std::thread;

use threadline_pool::{JoinError, ThreadPool};

const NUMBERS: u64 = 1_000;
const THREADS: u64 = 4;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let expected = NUMBERS * (NUMBERS + 1) / 2;

    let owned = by_owning_threads()?;
    println!("threads that own their data:  {owned}");
    let borrowed = by_borrowing_threads();
    println!("threads that borrow it:       {borrowed}");
    let pooled = by_a_pool()?;
    println!("jobs of a pool:               {pooled}");
    assert_eq!([owned, borrowed, pooled], [expected; 3]);

    a_panic_ends_one_thread_only();
    Ok(())
}

fn numbers() -> Vec<u64> {
    (1..=NUMBERS).collect()
}

/// The part of a whole that belongs to one of the threads.
fn part(numbers: &[u64], of: u64) -> u64 {
    numbers.iter().filter(|number| *number % THREADS == of).sum()
}

fn by_owning_threads() -> std::io::Result<u64> {
    let numbers = Arc::new(numbers());
    let mut threads = Vec::new();
    for of in 0..THREADS {
        // The thread may outlive this function: it gets a handle of its own.
        let numbers = Arc::clone(&numbers);
        let thread = thread::Builder::new().name(format!("adder-{of}"));
        threads.push(thread.spawn(move || part(&numbers, of))?);
    }
    Ok(threads.into_iter().map(|thread| thread.join().expect("it does not panic")).sum())
}

fn by_borrowing_threads() -> u64 {
    let numbers = numbers();
    thread::scope(|scope| {
        let start = |of| {
            scope.spawn({
                let numbers = &numbers;
                move || part(numbers, of)
            })
        };
        let threads: Vec<_> = (0..THREADS).map(start).collect();
        threads.into_iter().map(|thread| thread.join().expect("it does not panic")).sum()
    })
}

fn by_a_pool() -> Result<u64, Box<dyn std::error::Error>> {
    let pool = ThreadPool::builder().name("adder").threads_max(2).build()?;
    let numbers = Arc::new(numbers());
    let mut tasks = Vec::new();
    for of in 0..THREADS {
        let numbers = Arc::clone(&numbers);
        tasks.push(pool.spawn(move || part(&numbers, of))?);
    }
    let mut sum = 0;
    for task in tasks {
        sum += task.join()?;
    }
    Ok(sum)
}

fn a_panic_ends_one_thread_only() {
    println!("now two panics, on purpose:");
    let thread = thread::spawn(|| -> u64 { panic!("the thread gives up") });
    assert!(thread.join().is_err(), "a panic is what `join` gives");

    let pool = ThreadPool::builder().threads_max(1).build().expect("a thread can be started");
    let task = pool.spawn(|| -> u64 { panic!("the job gives up") }).expect("there is room");
    match task.join() {
        Err(JoinError::Panicked(panic)) => println!("the task says why: {}", panic.message()),
        other => unreachable!("{other:?}"),
    }
    let after = pool.spawn(|| 7).expect("there is room");
    println!("and its thread goes on: {}", after.join().expect("it does not panic"));
}
