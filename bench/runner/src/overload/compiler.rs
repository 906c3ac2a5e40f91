//! Threads that compute on every core at the usual priority, as a compiler does.
//!
//! They sort numbers that do not fit the core's own caches. Threads and not processes: the scheduler
//! treats them alike outside of control groups.

use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

/// Threads that compute until it is dropped.
#[derive(Debug)]
pub struct Compiler {
    ends: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

/// Numbers that each thread sorts again and again: more than fit a core's own caches.
const NUMBERS: usize = 512 * 1024;

impl Compiler {
    /// Starts a thread for each core.
    pub fn start() -> Compiler {
        let ends = Arc::new(AtomicBool::new(false));
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let start = |seed: usize| {
            let ends = Arc::clone(&ends);
            std::thread::spawn(move || compute(seed as u64, &ends))
        };
        Compiler { threads: (1..=cores).map(start).collect(), ends }
    }
}

fn compute(seed: u64, ends: &AtomicBool) {
    let mut state = seed;
    let mut numbers = vec![0_u64; NUMBERS];
    while !ends.load(Ordering::Relaxed) {
        for number in &mut numbers {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            *number = state;
        }
        numbers.sort_unstable();
        black_box(&numbers);
    }
}

impl Drop for Compiler {
    fn drop(&mut self) {
        self.ends.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}
