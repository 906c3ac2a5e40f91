//! [`Barrier`]: threads that go on in step.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use super::patience::Patience;
use crate::primitive::{Condvar, Mutex, Waited, lock};

/// A place where a fixed number of threads wait for each other, again and again.
///
/// If one of them gives up (its time is up), the step can never be complete: the barrier breaks, and
/// all who wait at it, and all who come, are told, until it is [`reset`](Barrier::reset).
///
/// ```
/// use std::thread;
/// use threadline_pool::sync::Barrier;
///
/// let barrier = Barrier::new(3);
/// let leaders: usize = thread::scope(|scope| {
///     let step = || usize::from(barrier.wait().unwrap().is_leader());
///     let threads: Vec<_> = (0..3).map(|_| scope.spawn(step)).collect();
///     threads.into_iter().map(|thread| thread.join().unwrap()).sum()
/// });
/// assert_eq!(leaders, 1);
/// ```
#[derive(Debug)]
pub struct Barrier {
    parties: usize,
    state: Mutex<State>,
    bell: Condvar,
}

#[derive(Debug)]
struct State {
    arrived: usize,
    /// How the present step ends. Each has its own, so that a thread that is late to wake still learns
    /// of the step that it waited for. Written and read under the lock, which orders it.
    step: Arc<AtomicU8>,
}

const OPEN: u8 = 0;
const COMPLETE: u8 = 1;
const BROKEN: u8 = 2;

impl State {
    fn fresh() -> Self {
        State { arrived: 0, step: Arc::new(AtomicU8::new(OPEN)) }
    }

    fn end_step(&self, how: u8) {
        self.step.store(how, Ordering::Relaxed);
    }

    fn is_broken(&self) -> bool {
        self.step.load(Ordering::Relaxed) == BROKEN
    }
}

/// A step is complete.
///
/// ```
/// use threadline_pool::sync::Barrier;
///
/// let alone = Barrier::new(1);
/// assert!(alone.wait()?.is_leader());
/// # Ok::<(), threadline_pool::sync::BarrierBroken>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Turn {
    leader: bool,
}

impl Turn {
    /// Whether this thread was the last to come: true for one of each step.
    pub fn is_leader(&self) -> bool {
        self.leader
    }
}

/// A thread has given up, or the barrier was reset: this step will not be complete.
///
/// ```
/// use std::time::Duration;
/// use threadline_pool::sync::{Barrier, BarrierBroken};
///
/// let barrier = Barrier::new(2);
/// // Nobody else comes.
/// assert_eq!(barrier.wait_timeout(Duration::from_millis(1)), Err(BarrierBroken));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BarrierBroken;

impl fmt::Display for BarrierBroken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the barrier is broken: a thread has given up waiting")
    }
}

impl std::error::Error for BarrierBroken {}

impl Barrier {
    /// A barrier for `parties` threads.
    ///
    /// # Panics
    /// If `parties` is 0: no thread could ever pass.
    pub fn new(parties: usize) -> Self {
        assert!(parties > 0, "a barrier is for at least one thread");
        Barrier { parties, state: Mutex::new(State::fresh()), bell: Condvar::new() }
    }

    /// Waits for the others.
    ///
    /// # Errors
    /// [`BarrierBroken`], also while waiting.
    pub fn wait(&self) -> Result<Turn, BarrierBroken> {
        self.wait_for(Patience::endless())
    }

    /// Waits for at most `timeout`; then breaks the barrier.
    ///
    /// # Errors
    /// [`BarrierBroken`], also while waiting.
    pub fn wait_timeout(&self, timeout: Duration) -> Result<Turn, BarrierBroken> {
        self.wait_for(Patience::of(timeout))
    }

    /// Whether a thread has given up since the last reset.
    pub fn is_broken(&self) -> bool {
        lock(&self.state).is_broken()
    }

    /// Makes it as new. Those who wait at it are told that it is broken.
    pub fn reset(&self) {
        let mut state = lock(&self.state);
        state.end_step(BROKEN);
        *state = State::fresh();
        drop(state);
        self.bell.notify_all();
    }

    fn wait_for(&self, mut patience: Patience) -> Result<Turn, BarrierBroken> {
        let mut state = lock(&self.state);
        if state.is_broken() {
            return Err(BarrierBroken);
        }
        state.arrived += 1;
        if state.arrived == self.parties {
            state.end_step(COMPLETE);
            *state = State::fresh();
            drop(state);
            self.bell.notify_all();
            return Ok(Turn { leader: true });
        }
        let step = Arc::clone(&state.step);
        loop {
            let waited;
            (state, waited) = patience.sleep(&self.state, &self.bell, state);
            match (step.load(Ordering::Relaxed), waited) {
                (COMPLETE, _) => return Ok(Turn { leader: false }),
                (BROKEN, _) => return Err(BarrierBroken),
                (_, Waited::Woken) => {}
                (_, Waited::TimedOut) => {
                    state.end_step(BROKEN);
                    drop(state);
                    self.bell.notify_all();
                    return Err(BarrierBroken);
                }
            }
        }
    }
}
