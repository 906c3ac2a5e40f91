//! Threads that stand ready to take over a shard.
//!
//! A shard may lend its lease only while a spare is *reserved* for it: then somebody can take over
//! at once, whatever the handler does. Reservations are kept while calls return, so the hot path
//! does nothing here; only a takeover uses one up, and the shard must reserve again before it lends
//! again. A spare that would leave counts the reservations first, under the same lock: "the last
//! spare is just leaving" hung Jetty (#6495, #4612).
//!
//! Spares are never niced, unlike pool threads: they are loop threads in waiting.

use std::collections::VecDeque;
use std::io;
use std::time::Duration;

use crate::primitive::{Condvar, Mutex, MutexGuard};

/// Spare threads and what each of them is to do. `T` is the task; generic so that the model below
/// needs no shards.
#[derive(Debug)]
pub(crate) struct Spares<T> {
    state: Mutex<State<T>>,
    work: Condvar,
    threads_max: usize,
}

#[derive(Debug)]
struct State<T> {
    /// Tasks handed out that no spare has picked up yet.
    tasks: VecDeque<T>,
    /// Threads that stand ready, those on their way to a task not counted.
    ready: usize,
    /// How many of them are promised to a shard. Never more than `ready`.
    reserved: usize,
    /// All threads: ready, on their way, or running a shard.
    threads: usize,
    stopping: bool,
}

/// How a reservation is to be had.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Reservation {
    /// A ready spare is promised to the caller.
    Made,
    /// There is none; the caller starts a thread that calls [`Spares::stand`] and may count on it.
    StartOne,
    /// There is none and there may be no more.
    Refused,
}

impl<T> State<T> {
    /// A ready thread ends.
    fn leave(&mut self) {
        self.threads -= 1;
        self.ready -= 1;
    }

    /// A ready thread ends, unless that breaks a promise.
    fn try_leave(&mut self) -> bool {
        let free = self.ready > self.reserved;
        if free {
            self.leave();
        }
        free
    }
}

impl<T> Spares<T> {
    pub(crate) fn new(threads_max: usize) -> Self {
        let state =
            State { tasks: VecDeque::new(), ready: 0, reserved: 0, threads: 0, stopping: false };
        Spares { state: Mutex::new(state), work: Condvar::new(), threads_max }
    }

    /// Promises a spare to the caller, for [`Spares::hand_over`] to use.
    pub(crate) fn reserve(&self, start: impl FnOnce() -> io::Result<()>) -> io::Result<bool> {
        match self.try_reserve() {
            Reservation::Made => Ok(true),
            Reservation::Refused => Ok(false),
            Reservation::StartOne => {
                start().map(|()| true).inspect_err(|_| self.unreserve_unborn())
            }
        }
    }

    fn try_reserve(&self) -> Reservation {
        let mut state = self.lock();
        if state.stopping {
            Reservation::Refused
        } else if state.ready > state.reserved {
            state.reserved += 1;
            Reservation::Made
        } else if state.threads < self.threads_max {
            // A thread that is being started counts as ready: a task given to it before it first
            // waits is found in the queue.
            state.threads += 1;
            state.ready += 1;
            state.reserved += 1;
            Reservation::StartOne
        } else {
            Reservation::Refused
        }
    }

    fn unreserve_unborn(&self) {
        let mut state = self.lock();
        state.threads -= 1;
        state.ready -= 1;
        state.reserved -= 1;
    }

    /// Gives a task to a spare, using up the caller's reservation. Never waits for a thread.
    pub(crate) fn hand_over(&self, task: T) {
        let mut state = self.lock();
        assert!(state.reserved > 0 && state.ready >= state.reserved, "handed over unreserved");
        state.reserved -= 1;
        state.ready -= 1;
        state.tasks.push_back(task);
        drop(state);
        self.work.notify_one();
    }

    /// A spare's wait for its next task. `None` tells the thread to end: the engine stops, or there
    /// was nothing to do for as long as `patience` and nobody relies on it.
    pub(crate) fn stand(&self, patience: Duration) -> Option<T> {
        let mut state = self.lock();
        loop {
            if let Some(task) = state.tasks.pop_front() {
                return Some(task);
            }
            if state.stopping {
                state.leave();
                return None;
            }
            let timed_out;
            (state, timed_out) = self.wait(state, patience);
            // A task that came with the last wake-up goes first.
            if timed_out && state.tasks.is_empty() && state.try_leave() {
                return None;
            }
        }
    }

    #[cfg(not(loom))]
    fn wait<'s>(
        &'s self,
        state: MutexGuard<'s, State<T>>,
        patience: Duration,
    ) -> (MutexGuard<'s, State<T>>, bool) {
        let waited = self.work.wait_timeout(state, patience);
        let (state, waited) = waited.unwrap_or_else(|poisoned| poisoned.into_inner());
        (state, waited.timed_out())
    }

    /// Loom has no time: the wait may end at any moment, as a time-out would.
    #[cfg(loom)]
    fn wait<'s>(
        &'s self,
        state: MutexGuard<'s, State<T>>,
        patience: Duration,
    ) -> (MutexGuard<'s, State<T>>, bool) {
        if patience.is_zero() {
            drop(state);
            loom::thread::yield_now();
            return (self.lock(), true);
        }
        let state = self.work.wait(state).unwrap_or_else(|poisoned| poisoned.into_inner());
        (state, false)
    }

    /// A thread that has lost its shard offers itself. False: the engine stops, and so must it.
    ///
    /// It is taken even if others stand ready: a handler that stalls now and then ties up a few
    /// threads at a time, and starting one costs more than keeping it for a while.
    pub(crate) fn join(&self) -> bool {
        let mut state = self.lock();
        state.ready += 1;
        if state.stopping {
            state.leave();
        }
        !state.stopping
    }

    /// Counts a thread that runs a shard from the start, so that it can [`Spares::join`] later.
    pub(crate) fn count_thread(&self) {
        self.lock().threads += 1;
    }

    /// A counted thread has ended without joining.
    pub(crate) fn discount_thread(&self) {
        self.lock().threads -= 1;
    }

    /// Threads in all, and how many of them stand ready.
    pub(crate) fn census(&self) -> (usize, usize) {
        let state = self.lock();
        (state.threads, state.ready)
    }

    /// Lets every waiting thread end.
    pub(crate) fn stop(&self) {
        self.lock().stopping = true;
        self.work.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, State<T>> {
        // No code that can panic runs under this lock, apart from the assertion above.
        self.state.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    const NOW: Duration = Duration::from_millis(1);

    #[test]
    fn a_reservation_is_made_of_ready_threads_or_new_ones_up_to_the_limit() {
        let spares = Spares::<()>::new(2);
        assert_eq!(spares.try_reserve(), Reservation::StartOne);
        assert_eq!(spares.try_reserve(), Reservation::StartOne);
        assert_eq!(spares.try_reserve(), Reservation::Refused);
        spares.hand_over(());
        assert_eq!(spares.try_reserve(), Reservation::Refused, "that thread has a task");
        assert_eq!(spares.stand(NOW), Some(()));
        assert!(spares.join());
        assert_eq!(spares.census(), (2, 2));
        assert_eq!(spares.try_reserve(), Reservation::Made);
    }

    #[test]
    fn a_thread_that_cannot_be_started_leaves_nothing_behind() {
        let spares = Spares::<()>::new(1);
        let failed = spares.reserve(|| Err(io::ErrorKind::WouldBlock.into()));
        assert!(failed.is_err());
        assert_eq!(spares.census(), (0, 0));
        assert!(spares.reserve(|| Ok(())).is_ok_and(|made| made));
    }

    #[test]
    fn spares_that_nobody_needs_leave_but_never_a_promised_one() {
        let spares = Spares::<()>::new(3);
        (0..3).for_each(|_| spares.count_thread());
        assert!(spares.join() && spares.join());
        assert_eq!(spares.try_reserve(), Reservation::Made);
        assert_eq!(spares.stand(NOW), None, "one of the two is not promised");
        assert_eq!(spares.census(), (2, 1));
        assert!(!spares.lock().try_leave(), "the other one is");
    }

    /// Threads, those that are ready, and those that are reserved.
    fn counts<T>(spares: &Spares<T>) -> (usize, usize, usize) {
        let state = spares.lock();
        (state.threads, state.ready, state.reserved)
    }

    fn with_counts<T>(threads: usize, ready: usize, reserved: usize) -> Spares<T> {
        let spares = Spares::new(8);
        let tasks = VecDeque::new();
        *spares.lock() = State { tasks, ready, reserved, threads, stopping: false };
        spares
    }

    #[test]
    fn every_transition_counts_what_it_says() {
        let spares = with_counts::<u8>(6, 4, 4);
        assert_eq!(spares.try_reserve(), Reservation::StartOne);
        assert_eq!(counts(&spares), (7, 5, 5), "a thread more, ready and promised");
        spares.unreserve_unborn();
        assert_eq!(counts(&spares), (6, 4, 4), "as before");
        spares.hand_over(1);
        assert_eq!(counts(&spares), (6, 3, 3), "on its way, and no longer promised");
        assert_eq!(spares.stand(NOW), Some(1));
        assert_eq!(counts(&spares), (6, 3, 3));
        assert!(spares.join());
        assert_eq!(counts(&spares), (6, 4, 3), "ready again");
        assert_eq!(spares.census(), (6, 4));
        assert_eq!(spares.try_reserve(), Reservation::Made);
        assert_eq!(counts(&spares), (6, 4, 4));
        assert!(spares.join());
        assert!(spares.lock().try_leave());
        assert_eq!(counts(&spares), (5, 4, 4), "the one that was not promised");
        spares.count_thread();
        assert_eq!(counts(&spares), (6, 4, 4));
        spares.discount_thread();
        assert_eq!(counts(&spares), (5, 4, 4));
        spares.stop();
        assert!(!spares.join(), "it has to end");
        assert_eq!(counts(&spares), (4, 4, 4));
    }

    #[test]
    fn a_start_that_fails_gives_back_its_reservation_and_no_other() {
        let spares = with_counts::<()>(5, 3, 3);
        let error = spares.reserve(|| Err(io::ErrorKind::WouldBlock.into()));
        assert_eq!(error.map_err(|error| error.kind()), Err(io::ErrorKind::WouldBlock));
        assert_eq!(counts(&spares), (5, 3, 3));
    }

    #[test]
    fn a_reservation_starts_no_thread_if_one_is_ready_or_none_is_allowed() {
        let no_start = || -> io::Result<()> { unreachable!("no thread is needed") };
        let spares = with_counts::<()>(8, 1, 0);
        assert!(spares.reserve(no_start).expect("no start"));
        assert!(!spares.reserve(no_start).expect("no start"), "all 8 exist");
        assert_eq!(counts(&spares), (8, 1, 1));
    }

    #[test]
    #[should_panic(expected = "handed over unreserved")]
    fn a_task_without_a_reservation_is_a_bug() {
        with_counts(2, 1, 0).hand_over(());
    }

    #[test]
    fn a_promised_spare_waits_beyond_its_patience() {
        let spares = with_counts::<u8>(2, 1, 1);
        std::thread::scope(|scope| {
            let spare = scope.spawn(|| spares.stand(NOW));
            std::thread::sleep(NOW * 20);
            spares.hand_over(1);
            assert_eq!(spare.join().expect("spare"), Some(1));
        });
    }

    #[test]
    fn a_wake_up_for_nothing_is_no_reason_to_leave() {
        let spares = with_counts::<u8>(2, 1, 0);
        std::thread::scope(|scope| {
            let spare = scope.spawn(|| spares.stand(Duration::from_secs(60)));
            for _ in 0..20 {
                spares.work.notify_all();
                std::thread::sleep(NOW);
            }
            assert_eq!(spares.try_reserve(), Reservation::Made);
            spares.hand_over(1);
            assert_eq!(spare.join().expect("spare"), Some(1));
        });
    }

    #[test]
    fn a_spare_that_sleeps_is_woken_by_the_stop() {
        let spares = with_counts::<u8>(2, 1, 1);
        std::thread::scope(|scope| {
            let spare = scope.spawn(|| spares.stand(Duration::from_secs(60)));
            std::thread::sleep(NOW * 20);
            spares.stop();
            assert_eq!(spare.join().expect("spare"), None);
        });
        assert_eq!(counts(&spares), (1, 0, 1));
    }

    #[test]
    fn stopping_ends_those_who_wait() {
        let spares = Spares::<()>::new(1);
        assert_eq!(spares.try_reserve(), Reservation::StartOne);
        spares.stop();
        assert_eq!(spares.stand(NOW), None);
        assert_eq!(spares.try_reserve(), Reservation::Refused);
    }
}

#[cfg(all(test, loom))]
mod model {
    use super::*;
    use loom::sync::Arc;
    use loom::thread;

    /// The last spare is just leaving while a shard reserves it: either it stays, and then the task
    /// is picked up, or the reservation is refused. (Jetty #6495, #4612.)
    #[test]
    fn a_promised_spare_does_not_leave() {
        loom::model(|| {
            let spares = Arc::new(Spares::<u32>::new(1));
            spares.count_thread();
            assert!(spares.join());
            let spare = {
                let spares = Arc::clone(&spares);
                // Its patience is over; once it has been promised it waits for its task.
                thread::spawn(move || {
                    let mut state = spares.lock();
                    if state.try_leave() {
                        return None;
                    }
                    drop(state);
                    spares.stand(Duration::MAX)
                })
            };
            let reserved = spares.try_reserve();
            match reserved {
                Reservation::Made => spares.hand_over(7),
                // It was gone already: a new thread may be started in its place.
                Reservation::StartOne => spares.unreserve_unborn(),
                Reservation::Refused => unreachable!("one thread is allowed"),
            }
            let task = spare.join().expect("spare");
            assert_eq!(task.is_some(), reserved == Reservation::Made, "a promise was broken");
        });
    }

    /// The same through `stand`, whose time-out may come at any moment.
    #[test]
    fn a_time_out_does_not_lose_a_task() {
        loom::model(|| {
            let spares = Arc::new(Spares::<u32>::new(1));
            spares.count_thread();
            assert!(spares.join());
            assert_eq!(spares.try_reserve(), Reservation::Made);
            let spare = {
                let spares = Arc::clone(&spares);
                thread::spawn(move || spares.stand(Duration::ZERO))
            };
            spares.hand_over(7);
            assert_eq!(spare.join().expect("spare"), Some(7));
        });
    }

    /// A task handed to a spare that is still on its way to its wait is not lost.
    #[test]
    fn a_task_finds_a_spare_that_is_just_starting() {
        loom::model(|| {
            let spares = Arc::new(Spares::<u32>::new(1));
            assert_eq!(spares.try_reserve(), Reservation::StartOne);
            let spare = {
                let spares = Arc::clone(&spares);
                thread::spawn(move || spares.stand(Duration::MAX))
            };
            spares.hand_over(7);
            assert_eq!(spare.join().expect("spare"), Some(7));
        });
    }
}
