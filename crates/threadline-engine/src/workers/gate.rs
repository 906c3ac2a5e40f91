//! Bounds how many calls of one kind run at a time. The others wait in line: parked, first in, first out,
//! without a thread.
//!
//! How to use it, for any kind of call with a bound:
//! 1. [`Gate::try_enter`] gives a [`Permit`] if a place is free. The call keeps it while it runs.
//! 2. Otherwise describe the call as an [`Errand`] and give it to [`Gate::enter`]. A [`Position`] means that
//!    it waits; whatever may withdraw the call keeps the position for [`Gate::withdraw`].
//! 3. A thread that has finished asks [`Permit::hand_on`] for the next errand and runs it itself, so that a
//!    busy gate wakes no threads. [`run_in_turn`] is this loop.
//! 4. A permit that is dropped frees its place, and the next errand starts on a thread of its own.
//! 5. Code that puts an errand with its permit in the queue of a pool calls [`Gate::queued`]. The errand can then be
//!    withdrawn from there, too.
//!
//! A gate has no bound on its line: the caller decides whether one more may wait (`Workers::wait`). No errand is
//! run, started or dropped under the gate's lock.

use std::collections::BTreeMap;
use std::fmt;
use std::mem;
use std::panic::RefUnwindSafe;
use std::sync::Arc;

use parking_lot::Mutex;

use super::QueuedJob;

/// A call that waits for a place.
pub(crate) trait Errand: Send {
    /// Runs the call on this thread. Returns the permit, for the next one, if it still has it.
    fn run(self: Box<Self>, permit: Permit) -> Option<Permit>;

    /// Passes the call to another thread, which runs it. If no thread can be had, the errand sends the call
    /// back, and the permit is returned.
    fn start(self: Box<Self>, permit: Permit) -> Result<(), Permit>;

    /// The gate is gone for this call: it looks for its way again.
    fn send_back(self: Box<Self>);
}

/// A fixed number of places for calls, and a line of calls that wait for one.
pub(crate) struct Gate {
    places: usize,
    line: Mutex<Line>,
}

/// No foreign code runs under the lock, so that a panic leaves no line half changed: routes, which have a gate,
/// may be used across `catch_unwind`.
impl RefUnwindSafe for Gate {}

#[derive(Default)]
struct Line {
    /// The numbers of the permits that hold a place; at most as many as there are places.
    held: Vec<u64>,
    /// How far the errands with a permit are, by its number, until that is dropped.
    permits: Vec<(u64, Progress)>,
    /// By number, and so in the order of arrival. Empty while a place is free.
    waiting: BTreeMap<u64, Box<dyn Errand>>,
    /// Numbers are never used again, so that a late permit or position is recognised.
    next_number: u64,
}

/// How far an errand is that has a permit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Progress {
    /// Its thread is at it, or somebody is about to find it one.
    Begun,
    /// It is in the queue of a pool, or has been.
    Queued(QueuedJob),
    /// It has been withdrawn while somebody was about to find it a thread.
    Withdrawn,
}

/// A place that a running call holds. Dropping it frees the place.
#[must_use = "a permit that is dropped frees its place"]
pub(crate) struct Permit {
    gate: Arc<Gate>,
    number: u64,
}

/// Where an errand waits, in the line and later, with its permit, for a thread.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Position(u64);

/// The right to free a permit's place from another thread, once, while its call still runs.
pub(crate) struct Release {
    gate: Arc<Gate>,
    number: u64,
}

/// What is left of an errand that is withdrawn.
pub(crate) enum Withdrawn {
    /// It was in the line.
    Errand(Box<dyn Errand>),
    /// It has a place, and this is the job that would run it, if no thread has begun.
    Job(QueuedJob),
}

/// What has become of an errand at the gate.
pub(crate) enum Admission {
    /// It has a place: the caller starts it.
    Admitted(Box<dyn Errand>, Permit),
    /// It waits.
    Waits(Position),
    /// The gate does not apply to it any more.
    Void(Box<dyn Errand>),
}

impl Gate {
    /// A gate with that many places.
    pub(crate) fn new(places: usize) -> Arc<Gate> {
        Arc::new(Gate { places, line: Mutex::default() })
    }

    /// A place, if one is free.
    pub(crate) fn try_enter(self: &Arc<Self>) -> Option<Permit> {
        let number = {
            let mut line = self.line.lock();
            if line.held.len() >= self.places {
                return None;
            }
            line.take_place()
        };
        Some(self.permit(number))
    }

    /// Gives the errand a place, or adds it to the line. `applies` says whether the gate still applies to it;
    /// it is asked under the lock that [`Gate::clear`] takes, so that an errand cannot join a line that has
    /// just been cleared for good.
    pub(crate) fn enter(
        self: &Arc<Self>,
        errand: Box<dyn Errand>,
        applies: impl FnOnce() -> bool,
    ) -> Admission {
        let mut line = self.line.lock();
        if !applies() {
            drop(line);
            return Admission::Void(errand);
        }
        if line.held.len() < self.places {
            let number = line.take_place();
            drop(line);
            return Admission::Admitted(errand, self.permit(number));
        }
        let number = line.number();
        line.waiting.insert(number, errand);
        Admission::Waits(Position(number))
    }

    /// Takes an errand out of the line, wherever in it it is, or says which job has it. `None` if it does not wait
    /// any more.
    pub(crate) fn withdraw(&self, Position(number): Position) -> Option<Withdrawn> {
        let mut line = self.line.lock();
        if let Some(errand) = line.waiting.remove(&number) {
            return Some(Withdrawn::Errand(errand));
        }
        match line.progress(number)? {
            Progress::Queued(job) => Some(Withdrawn::Job(*job)),
            progress => {
                *progress = Progress::Withdrawn;
                None
            }
        }
    }

    /// The errand that has this permit is in the queue of a pool. False if it has been withdrawn meanwhile: then
    /// the caller withdraws the job.
    #[must_use = "a job that is not withdrawn keeps its place in the queue"]
    pub(crate) fn queued(&self, Position(number): Position, job: QueuedJob) -> bool {
        match self.line.lock().progress(number) {
            Some(Progress::Withdrawn) => false,
            Some(progress) => {
                *progress = Progress::Queued(job);
                true
            }
            // It has ended already.
            None => true,
        }
    }

    /// Forgets which permits hold a place, and returns the errands that wait, in their order.
    pub(crate) fn clear(&self) -> impl Iterator<Item = Box<dyn Errand>> + use<> {
        let mut line = self.line.lock();
        line.held.clear();
        let waiting = mem::take(&mut line.waiting);
        drop(line);
        waiting.into_values()
    }

    /// How many calls hold a place.
    pub(crate) fn held(&self) -> usize {
        self.line.lock().held.len()
    }

    /// Whether an errand would have to wait.
    pub(crate) fn is_full(&self) -> bool {
        self.held() >= self.places
    }

    /// How many errands wait.
    pub(crate) fn waiting(&self) -> usize {
        self.line.lock().waiting.len()
    }

    fn permit(self: &Arc<Self>, number: u64) -> Permit {
        Permit { gate: Arc::clone(self), number }
    }

    /// Frees the place of that permit, and gives it to the errand that has waited longest. Does nothing for a
    /// permit that has no place any more.
    fn leave(self: &Arc<Self>, number: u64) -> Option<(Box<dyn Errand>, Permit)> {
        let mut line = self.line.lock();
        let at = line.held.iter().position(|held| *held == number)?;
        line.held.swap_remove(at);
        let (number, errand) = line.waiting.pop_first()?;
        line.hold(number);
        drop(line);
        Some((errand, self.permit(number)))
    }
}

impl Line {
    fn number(&mut self) -> u64 {
        self.next_number += 1;
        self.next_number
    }

    fn take_place(&mut self) -> u64 {
        let number = self.number();
        self.hold(number);
        number
    }

    fn hold(&mut self, number: u64) {
        self.held.push(number);
        self.permits.push((number, Progress::Begun));
    }

    fn progress(&mut self, number: u64) -> Option<&mut Progress> {
        self.permits.iter_mut().find(|(of, _)| *of == number).map(|(_, progress)| progress)
    }
}

impl Permit {
    /// Frees the place. If an errand waits, it gets the place, and the caller runs it.
    pub(crate) fn hand_on(self) -> Option<(Box<dyn Errand>, Permit)> {
        let next = self.gate.leave(self.number);
        // Its place is free: a drop of the permit finds nothing to do.
        drop(self);
        next
    }

    /// Whether it is a permit of that gate.
    pub(crate) fn is_of(&self, gate: &Arc<Gate>) -> bool {
        Arc::ptr_eq(&self.gate, gate)
    }

    /// Whether an errand waits for a place.
    pub(crate) fn is_wanted(&self) -> bool {
        self.gate.waiting() > 0
    }

    /// The gate, and where the errand with this permit is to be withdrawn.
    pub(crate) fn position(&self) -> (Arc<Gate>, Position) {
        (Arc::clone(&self.gate), Position(self.number))
    }

    /// Lets another thread free the place.
    pub(crate) fn release(&self) -> Release {
        Release { gate: Arc::clone(&self.gate), number: self.number }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.gate.line.lock().permits.retain(|(number, _)| *number != self.number);
        start_first(self.gate.leave(self.number));
    }
}

impl Release {
    /// Frees the place, and starts the errand that has waited longest.
    pub(crate) fn release(self) {
        start_first(self.gate.leave(self.number));
    }
}

/// Starts an errand on a thread of its own; if that fails, the next one. Without recursion: each permit has
/// freed its place before it is dropped.
fn start_first(mut next: Option<(Box<dyn Errand>, Permit)>) {
    while let Some((errand, permit)) = next {
        next = errand.start(permit).err().and_then(Permit::hand_on);
    }
}

/// Runs the errand on this thread, and then, with the same place, those that have waited longest.
pub(crate) fn run_in_turn(errand: Box<dyn Errand>, permit: Permit) {
    let mut next = Some((errand, permit));
    while let Some((errand, permit)) = next {
        next = errand.run(permit).and_then(Permit::hand_on);
    }
}

impl fmt::Debug for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Line { held, waiting, .. } = &*self.line.lock();
        f.debug_struct("Gate")
            .field("places", &self.places)
            .field("held", &held.len())
            .field("waiting", &waiting.len())
            .finish()
    }
}

impl fmt::Debug for Permit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Permit").field("number", &self.number).finish_non_exhaustive()
    }
}

impl fmt::Debug for Release {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Release").field("number", &self.number).finish_non_exhaustive()
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::thread;

    use threadline_pool::ThreadPool;

    use super::*;

    /// What was done to errands, by their numbers.
    #[derive(Default)]
    struct Log {
        started: Mutex<Vec<(u32, Permit)>>,
        ran: Mutex<Vec<u32>>,
        sent_back: Mutex<Vec<u32>>,
        /// No thread can be had for this many starts.
        failures: AtomicUsize,
    }

    struct Numbered(u32, Arc<Log>);

    impl Errand for Numbered {
        fn run(self: Box<Self>, permit: Permit) -> Option<Permit> {
            self.1.ran.lock().push(self.0);
            Some(permit)
        }

        fn start(self: Box<Self>, permit: Permit) -> Result<(), Permit> {
            let failures = &self.1.failures;
            if failures.load(Ordering::Relaxed) > 0 {
                failures.fetch_sub(1, Ordering::Relaxed);
                self.send_back();
                return Err(permit);
            }
            self.1.started.lock().push((self.0, permit));
            Ok(())
        }

        fn send_back(self: Box<Self>) {
            self.1.sent_back.lock().push(self.0);
        }
    }

    fn enter(gate: &Arc<Gate>, number: u32, log: &Arc<Log>) -> Admission {
        gate.enter(Box::new(Numbered(number, Arc::clone(log))), || true)
    }

    /// A gate whose only place is taken, with three errands in line.
    fn crowded() -> (Arc<Gate>, Permit, [Position; 3], Arc<Log>) {
        let (gate, log) = (Gate::new(1), Arc::<Log>::default());
        let permit = gate.try_enter().expect("a free place");
        let positions = [0, 1, 2].map(|number| match enter(&gate, number, &log) {
            Admission::Waits(position) => position,
            Admission::Admitted(..) | Admission::Void(_) => panic!("the place is taken"),
        });
        assert_eq!((gate.held(), gate.waiting()), (1, 3));
        (gate, permit, positions, log)
    }

    fn numbers(started: &Mutex<Vec<(u32, Permit)>>) -> Vec<u32> {
        started.lock().iter().map(|(number, _)| *number).collect()
    }

    #[test]
    fn there_are_so_many_places_and_a_dropped_permit_frees_its_own() {
        let gate = Gate::new(2);
        let (one, two) = (gate.try_enter(), gate.try_enter());
        assert!(one.is_some() && two.is_some() && gate.try_enter().is_none());
        drop(one);
        assert_eq!((gate.held(), gate.is_full()), (1, false));
        let third = gate.try_enter();
        assert!(third.is_some() && gate.is_full());
    }

    #[test]
    fn errands_run_in_the_order_of_their_arrival_on_the_thread_that_has_the_place() {
        let (gate, permit, _positions, log) = crowded();
        let (first, permit) = permit.hand_on().expect("three wait");
        run_in_turn(first, permit);
        assert_eq!(*log.ran.lock(), [0, 1, 2]);
        assert_eq!((gate.held(), gate.waiting()), (0, 0));
        assert!(log.started.lock().is_empty());
    }

    #[test]
    fn a_permit_that_is_dropped_starts_the_next_errand_elsewhere() {
        let (gate, permit, _positions, log) = crowded();
        drop(permit);
        assert_eq!(numbers(&log.started), [0]);
        // And so on: each place passes to one errand.
        while let Some((_number, permit)) = { log.started.lock().pop() } {
            drop(permit);
        }
        assert_eq!((gate.held(), gate.waiting()), (0, 0));
    }

    #[test]
    fn an_errand_for_which_there_is_no_thread_leaves_its_place_to_the_next() {
        let (gate, permit, _positions, log) = crowded();
        log.failures.store(2, Ordering::Relaxed);
        drop(permit);
        assert_eq!((*log.sent_back.lock()).as_slice(), [0, 1]);
        assert_eq!(numbers(&log.started), [2]);
        assert_eq!((gate.held(), gate.waiting()), (1, 0));
    }

    #[test]
    fn an_errand_is_withdrawn_from_anywhere_in_the_line_and_once() {
        let (gate, permit, [_, middle, _], log) = crowded();
        assert!(gate.withdraw(middle).is_some() && gate.withdraw(middle).is_none());
        assert_eq!(gate.waiting(), 2);
        let (first, permit) = permit.hand_on().expect("two wait");
        run_in_turn(first, permit);
        assert_eq!(*log.ran.lock(), [0, 2]);
    }

    #[test]
    fn an_errand_with_a_permit_is_withdrawn_by_its_job() {
        let pool = ThreadPool::builder().build().expect("a pool");
        let mut jobs = (0..2).map(|_| QueuedJob::Pool(pool.try_submit(|| ()).expect("room")));
        let (job, other) = (jobs.next().expect("one"), jobs.next().expect("two"));
        let gate = Gate::new(2);
        let (queued, late) = (gate.try_enter().expect("free"), gate.try_enter().expect("free"));
        let ((_, position), (_, of_late)) = (queued.position(), late.position());
        assert!(gate.queued(position, job));
        // A change of class makes no difference to what is in the queue.
        assert_eq!(gate.clear().count(), 0);
        let is_job = |withdrawn| matches!(withdrawn, Some(Withdrawn::Job(found)) if found == job);
        assert!(is_job(gate.withdraw(position)));
        assert!(gate.withdraw(of_late).is_none(), "it is not in the queue yet");
        assert!(!gate.queued(of_late, other), "now it is, and must leave it");
        drop((queued, late));
        assert!(gate.withdraw(position).is_none());
        assert!(gate.queued(of_late, other), "nobody withdraws what has ended");
        assert!(gate.line.lock().permits.is_empty());
    }

    #[test]
    fn a_place_is_freed_from_outside_once_and_its_permit_then_frees_no_other() {
        let (gate, permit, _positions, log) = crowded();
        let (release, again) = (permit.release(), permit.release());
        release.release();
        assert_eq!(numbers(&log.started), [0]);
        again.release();
        drop(permit);
        assert_eq!(numbers(&log.started), [0], "the place is another's now");
        assert_eq!((gate.held(), gate.waiting()), (1, 2));
    }

    #[test]
    fn a_gate_that_is_cleared_gives_back_its_line_and_forgets_its_permits() {
        let (gate, permit, [first, ..], log) = crowded();
        gate.clear().for_each(Errand::send_back);
        assert_eq!(*log.sent_back.lock(), [0, 1, 2]);
        assert!(gate.withdraw(first).is_none());
        assert_eq!((gate.held(), gate.waiting()), (0, 0));
        let place = gate.try_enter().expect("all are free");
        assert!(place.is_of(&gate) && !place.is_of(&Gate::new(1)));
        drop(permit);
        assert_eq!(gate.held(), 1, "the late permit frees no other");
        let errand = Box::new(Numbered(3, Arc::clone(&log)));
        match gate.enter(errand, || false) {
            Admission::Void(errand) => errand.send_back(),
            Admission::Admitted(..) | Admission::Waits(_) => {
                panic!("the gate does not apply to it")
            }
        }
        assert_eq!((gate.waiting(), log.sent_back.lock().pop()), (0, Some(3)));
    }

    /// Errands that count how many of them run at a time.
    struct Counting(Arc<Counts>);

    #[derive(Default)]
    struct Counts {
        running: AtomicUsize,
        peak: AtomicUsize,
        ran: AtomicUsize,
    }

    impl Errand for Counting {
        fn run(self: Box<Self>, permit: Permit) -> Option<Permit> {
            let running = self.0.running.fetch_add(1, Ordering::SeqCst) + 1;
            self.0.peak.fetch_max(running, Ordering::SeqCst);
            thread::yield_now();
            self.0.running.fetch_sub(1, Ordering::SeqCst);
            self.0.ran.fetch_add(1, Ordering::SeqCst);
            Some(permit)
        }

        fn start(self: Box<Self>, permit: Permit) -> Result<(), Permit> {
            run_in_turn(self, permit);
            Ok(())
        }

        fn send_back(self: Box<Self>) {}
    }

    #[test]
    fn no_more_run_at_a_time_than_there_are_places_and_none_is_forgotten() {
        let (gate, counts) = (Gate::new(2), Arc::<Counts>::default());
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..500 {
                        let errand = Box::new(Counting(Arc::clone(&counts)));
                        if let Admission::Admitted(errand, permit) = gate.enter(errand, || true) {
                            run_in_turn(errand, permit);
                        }
                    }
                });
            }
        });
        // A line is never left without a thread: whatever frees a place takes the next errand along.
        assert_eq!(counts.ran.load(Ordering::SeqCst), 2000);
        assert_eq!((gate.held(), gate.waiting()), (0, 0));
        assert!(counts.peak.load(Ordering::SeqCst) <= 2);
    }
}
