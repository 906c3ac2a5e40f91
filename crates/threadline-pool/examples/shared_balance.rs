//! A balance that a hundred threads change: wrong without protection, and right in three ways.
//!
//! Run:  cargo run --release -p threadline-pool --example shared_balance
//! See:  what is left of 100 000 payments in each case, and how long it took.
//!
//! What it teaches: to read, to add and to write are three steps, and another thread may come in
//! between; its payment is lost then. Python's GIL does not help, as it may be handed on between any
//! two of them. Rust refuses the plain form at compile time (`cannot borrow as mutable`, or `cannot be
//! shared between threads safely`), so the wrong program here has to say it with an atomic that is
//! loaded and stored in two steps: no undefined behaviour, and wrong all the same. That a program
//! compiles means that it has no data race, not that it has no race.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use threadline_pool::sync::Queue;

const THREADS: u64 = 100;
const PAYMENTS: u64 = 1_000;

fn main() {
    let expected = THREADS * PAYMENTS;
    let (unprotected, _) = report("nothing (load, then store)", unprotected);
    for (name, account) in [
        ("a lock", locked as fn() -> u64),
        ("an atomic addition", atomic),
        ("a queue to one owner", owned),
    ] {
        let (balance, _) = report(name, account);
        assert_eq!(balance, expected, "{name} loses nothing");
    }
    println!("without protection {} of {expected} payments were lost", expected - unprotected);
}

fn report(name: &str, account: fn() -> u64) -> (u64, Duration) {
    let began = Instant::now();
    let balance = account();
    let took = began.elapsed();
    println!("{name:28} balance {balance:6}   {took:9.1?}");
    (balance, took)
}

/// Each payment by each thread.
fn pay(payment: impl Fn() + Sync) {
    thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| (0..PAYMENTS).for_each(|_| payment()));
        }
    });
}

fn unprotected() -> u64 {
    let balance = AtomicU64::new(0);
    pay(|| {
        let before = balance.load(Relaxed);
        // Whoever pays now is forgotten by the store below. Another thread gets its chance, as it
        // would once in a while without this.
        thread::yield_now();
        balance.store(before + 1, Relaxed);
    });
    balance.into_inner()
}

/// For anything that is more than a number. Waits for each other; simple, and right.
fn locked() -> u64 {
    let balance = Mutex::new(0);
    pay(|| *balance.lock().expect("nobody panics") += 1);
    balance.into_inner().expect("nobody panics")
}

/// One step of the processor. For single numbers.
fn atomic() -> u64 {
    let balance = AtomicU64::new(0);
    pay(|| {
        balance.fetch_add(1, Relaxed);
    });
    balance.into_inner()
}

/// Nobody shares the balance: one thread owns it, and is told what to do. For state that is complex, or
/// belongs to something that knows no threads.
fn owned() -> u64 {
    let payments = Queue::fifo(1_000);
    thread::scope(|scope| {
        let owner = scope.spawn(|| payments.iter().sum());
        pay(|| payments.put(1).expect("it is open"));
        payments.close();
        owner.join().expect("it does not panic")
    })
}
