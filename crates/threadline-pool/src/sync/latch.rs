//! [`Latch`]: waits until a number of things are done.

use std::time::Duration;

use super::patience::Patience;
use crate::primitive::{Condvar, Mutex, Waited, lock};

/// Counts down once; at zero it opens for good.
///
/// ```
/// use std::sync::Arc;
/// use threadline_pool::ThreadPool;
/// use threadline_pool::sync::Latch;
///
/// let pool = ThreadPool::builder().build()?;
/// let done = Arc::new(Latch::new(3));
/// for _ in 0..3 {
///     let done = Arc::clone(&done);
///     pool.try_submit(move || done.count_down())?;
/// }
/// done.wait();
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Latch {
    left: Mutex<usize>,
    bell: Condvar,
}

impl Latch {
    /// A latch that opens after `count` count-downs; with 0 it is open.
    pub fn new(count: usize) -> Self {
        Latch { left: Mutex::new(count), bell: Condvar::new() }
    }

    /// Counts down by one. Does nothing at zero.
    pub fn count_down(&self) {
        let mut left = lock(&self.left);
        let opens = *left == 1;
        *left = left.saturating_sub(1);
        drop(left);
        if opens {
            self.bell.notify_all();
        }
    }

    /// How many are left.
    pub fn count(&self) -> usize {
        *lock(&self.left)
    }

    /// Waits until it is open.
    pub fn wait(&self) {
        self.wait_for(Patience::endless());
    }

    /// Waits for at most `timeout`. Returns whether the latch is open.
    pub fn wait_timeout(&self, timeout: Duration) -> bool {
        self.wait_for(Patience::of(timeout))
    }

    fn wait_for(&self, mut patience: Patience) -> bool {
        let mut left = lock(&self.left);
        let mut waited = Waited::Woken;
        while *left > 0 && waited == Waited::Woken {
            (left, waited) = patience.sleep(&self.left, &self.bell, left);
        }
        *left == 0
    }
}
