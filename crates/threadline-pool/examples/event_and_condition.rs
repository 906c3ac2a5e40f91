//! Threads that wait for each other: an event, and a condition.
//!
//! Run:  cargo run --release -p threadline-pool --example event_and_condition
//! See:  runners that start together, a wait that gives up in time, and a tank that never overflows.
//!
//! What it teaches: an *event* is a thing that happened, and stays so: whoever waits for it later goes
//! on at once, so no wake-up can be lost. A *condition* is a question about shared state, asked under
//! the lock of that state. `wait` lets go of the lock while it sleeps; one that wakes asks again, in a
//! loop, since somebody else may have been quicker, and since a wake-up may come for no reason at all.
//! Whoever changes the state notifies. Every wait in a service has a time limit.

use std::sync::{Condvar, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use threadline_pool::sync::Event;

/// Far longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(10);

fn main() {
    an_event();
    a_condition();
}

fn an_event() {
    let start = Event::new();
    let early = start.wait_timeout(Duration::from_millis(20));
    println!("nobody has fired the gun, so the wait gave up: {}", !early);
    assert!(!early);

    let fired = thread::scope(|scope| {
        let runners: Vec<_> = (1..=3)
            .map(|runner| {
                let start = &start;
                scope.spawn(move || {
                    assert!(start.wait_timeout(PATIENCE), "the gun is fired");
                    (runner, Instant::now())
                })
            })
            .collect();
        let fired = Instant::now();
        start.set();
        for runner in runners {
            let (number, started) = runner.join().expect("it runs");
            println!("runner {number} started {:?} after the gun", started - fired);
        }
        fired
    });
    // It stays set.
    start.wait();
    println!("who comes late goes on at once ({:?} after the gun)", fired.elapsed());
}

const CAPACITY: u32 = 3;
const DROPS: u32 = 20;

/// A tank that one thread fills and another empties.
#[derive(Default)]
struct Tank {
    level: Mutex<u32>,
    changed: Condvar,
}

impl Tank {
    /// Waits until the level allows it, then changes the level.
    fn change(&self, allowed: impl Fn(u32) -> bool, by: i32) -> u32 {
        let level = self.level.lock().expect("nobody panics");
        // `wait_timeout_while` is the loop: it asks again each time it wakes.
        let wait = self.changed.wait_timeout_while(level, PATIENCE, |level| !allowed(*level));
        let (mut level, waited) = wait.expect("nobody panics");
        assert!(!waited.timed_out(), "the other thread does its part");
        *level = level.checked_add_signed(by).expect("it was allowed");
        // The other may have waited for just this.
        self.changed.notify_one();
        *level
    }
}

fn a_condition() {
    let tank = Tank::default();
    thread::scope(|scope| {
        let filler = scope.spawn(|| {
            (0..DROPS).map(|_| tank.change(|level| level < CAPACITY, 1)).max().expect("drops")
        });
        scope.spawn(|| (0..DROPS).for_each(|_| _ = tank.change(|level| level > 0, -1)));
        let highest = filler.join().expect("it fills");
        println!(
            "{DROPS} drops went through; the tank never held more than {highest} of {CAPACITY}"
        );
        assert!(highest <= CAPACITY);
    });
    assert_eq!(*tank.level.lock().expect("nobody panics"), 0);
}
