//! Who is there: the threads, the idle ones among them, and the one that is under way.
//!
//! This is the wake chain without locks or threads, so that each step can be tested alone; the core
//! calls it under the pool's lock and carries out what [`Roster::call`] decides after letting go of
//! the lock. `README.md` beside this file has the protocol and why it is right.

use std::sync::Arc;

use crate::sleeper::Sleeper;

/// What is to be done so that somebody comes for the work, once the lock is let go.
#[must_use = "whoever was called must be woken or started, or nobody comes"]
pub(crate) enum Call {
    /// Nothing: somebody is under way, or all are at work.
    Nobody,
    /// Ring this thread's bell.
    Wake(Arc<Sleeper>),
    /// Start a thread. It is counted already: report [`Roster::start_failed`] if there is none.
    Start,
}

/// The one thread on its way to the queue, which has not looked at it yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum UnderWay {
    Nobody,
    /// An idle thread, woken.
    Woken,
    /// A new thread. It may turn out that the system has none.
    Started,
}

pub(crate) struct Roster {
    /// Idle threads, the one that went idle last on top. None of them was called.
    idle: Vec<Arc<Sleeper>>,
    /// All threads: idle, under way (even if not started yet) or at work.
    threads: usize,
    /// Those that run a job.
    busy: usize,
    under_way: UnderWay,
    /// The system gave no thread when last asked: do not count on more than one.
    short_of_threads: bool,
    threads_min: usize,
    threads_max: usize,
}

impl Roster {
    pub(crate) fn new(threads_min: usize, threads_max: usize) -> Self {
        Roster {
            idle: Vec::new(),
            threads: 0,
            busy: 0,
            under_way: UnderWay::Nobody,
            short_of_threads: false,
            threads_min,
            threads_max,
        }
    }

    /// Decides who comes for the work in the queue: the thread that went idle last, as its caches
    /// are the warmest, else a new one. Nobody while one is under way: it will call the next.
    pub(crate) fn call(&mut self) -> Call {
        if self.under_way != UnderWay::Nobody {
            return Call::Nobody;
        }
        match self.call_idle() {
            Call::Nobody if self.threads < self.threads_max => {
                self.threads += 1;
                self.under_way = UnderWay::Started;
                Call::Start
            }
            call => call,
        }
    }

    fn call_idle(&mut self) -> Call {
        let Some(sleeper) = self.idle.pop() else { return Call::Nobody };
        sleeper.call();
        self.under_way = UnderWay::Woken;
        Call::Wake(sleeper)
    }

    /// The one under way is at the queue.
    pub(crate) fn arrive(&mut self) {
        if self.under_way == UnderWay::Started {
            self.short_of_threads = false;
        }
        self.under_way = UnderWay::Nobody;
    }

    /// There was no thread to be had. If there is work, an idle thread is called in its place;
    /// there can be one, which went idle while somebody else tried to start a thread.
    pub(crate) fn start_failed(&mut self, work_waits: bool) -> Call {
        self.threads -= 1;
        self.under_way = UnderWay::Nobody;
        self.short_of_threads = true;
        if work_waits { self.call_idle() } else { Call::Nobody }
    }

    /// A thread is to be there that nobody called: it is counted and idle before it first runs.
    pub(crate) fn enlist(&mut self, sleeper: &Arc<Sleeper>) {
        self.threads += 1;
        self.lie_down(sleeper);
    }

    pub(crate) fn lie_down(&mut self, sleeper: &Arc<Sleeper>) {
        self.idle.push(Arc::clone(sleeper));
    }

    /// Takes a thread out of the idle ones that got up by itself. Those that do lie at the bottom.
    pub(crate) fn get_up(&mut self, sleeper: &Arc<Sleeper>) {
        if let Some(at) = self.idle.iter().position(|idle| Arc::ptr_eq(idle, sleeper)) {
            self.idle.remove(at);
        }
    }

    /// Whether an idle thread whose time is up may end. Not while one is being started: were that
    /// to fail, jobs accepted in the meantime would be left without a thread.
    pub(crate) fn may_leave(&self) -> bool {
        self.has_surplus() && self.under_way != UnderWay::Started
    }

    /// Whether there are more threads than are to stay for good.
    pub(crate) fn has_surplus(&self) -> bool {
        self.threads > self.threads_min
    }

    pub(crate) fn leave(&mut self) {
        self.threads -= 1;
    }

    pub(crate) fn start_job(&mut self) {
        self.busy += 1;
    }

    pub(crate) fn end_job(&mut self) {
        self.busy -= 1;
    }

    /// Hands over all idle threads, for the pool is closing. They were not called: they find out.
    pub(crate) fn dismiss_idle(&mut self) -> Vec<Arc<Sleeper>> {
        std::mem::take(&mut self.idle)
    }

    /// How many threads can take a job at once: idle ones, the one under way, and those that may
    /// still be started.
    pub(crate) fn takers(&self) -> usize {
        let growth_max = if self.short_of_threads { 1 } else { usize::MAX };
        let growth = (self.threads_max - self.threads).min(growth_max);
        self.idle.len() + usize::from(self.under_way != UnderWay::Nobody) + growth
    }

    /// Whether a job submitted now could have a thread to itself, when so many others wait: each of
    /// those takes one that is idle or under way, or that may be started.
    pub(crate) fn has_spare(&self, waiting: usize) -> bool {
        let growth = if self.short_of_threads { 0 } else { self.threads_max - self.threads };
        // One whose start may fail is not counted on either.
        let on_its_way = match self.under_way {
            UnderWay::Nobody => false,
            UnderWay::Woken => true,
            UnderWay::Started => !self.short_of_threads,
        };
        self.idle.len() + usize::from(on_its_way) + growth > waiting
    }

    /// The invariant of `README.md`. A start that failed may leave room for threads, so only idle
    /// ones are held against it.
    #[cfg(any(test, debug_assertions))]
    pub(crate) fn check(&self, work_waits: bool) {
        let under_way = usize::from(self.under_way != UnderWay::Nobody);
        assert!(
            !work_waits || under_way == 1 || self.idle.is_empty(),
            "work waits, a thread is idle, and nobody is under way"
        );
        assert!(self.threads <= self.threads_max, "too many threads");
        assert!(
            self.idle.len() + self.busy + under_way <= self.threads,
            "a thread is counted as two things at once"
        );
    }

    pub(crate) fn threads(&self) -> usize {
        self.threads
    }

    /// Threads that the system has given for certain.
    pub(crate) fn threads_proved(&self) -> usize {
        self.threads - usize::from(self.under_way == UnderWay::Started)
    }

    pub(crate) fn idle(&self) -> usize {
        self.idle.len()
    }

    pub(crate) fn busy(&self) -> usize {
        self.busy
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    fn roster_with_idle(count: usize) -> (Roster, Vec<Arc<Sleeper>>) {
        let mut roster = Roster::new(0, 8);
        let sleepers: Vec<_> = (0..count).map(|_| Sleeper::new()).collect();
        sleepers.iter().for_each(|sleeper| roster.enlist(sleeper));
        (roster, sleepers)
    }

    #[test]
    fn the_thread_that_went_idle_last_is_woken_first() {
        let (mut roster, sleepers) = roster_with_idle(3);
        for expected in sleepers.iter().rev() {
            let Call::Wake(woken) = roster.call() else { panic!("nobody was woken") };
            assert!(Arc::ptr_eq(&woken, expected));
            assert!(woken.take_call() && !woken.take_call());
            roster.arrive();
        }
        assert!(matches!(roster.call(), Call::Start));
    }

    #[test]
    fn nobody_is_called_while_one_is_under_way() {
        let (mut roster, _sleepers) = roster_with_idle(2);
        assert!(matches!(roster.call(), Call::Wake(_)));
        assert!(matches!(roster.call(), Call::Nobody));
        roster.arrive();
        assert!(matches!(roster.call(), Call::Wake(_)));
    }

    #[test]
    fn no_thread_is_started_beyond_the_limit() {
        let mut roster = Roster::new(0, 1);
        assert!(matches!(roster.call(), Call::Start));
        roster.arrive();
        assert!(matches!(roster.call(), Call::Nobody));
        assert_eq!(roster.takers(), 0);
    }

    #[test]
    fn a_failed_start_calls_a_thread_that_went_idle_meanwhile() {
        let (mut roster, sleepers) = roster_with_idle(0);
        assert!(matches!(roster.call(), Call::Start));
        roster.arrive();
        assert!(matches!(roster.call(), Call::Start));
        let first = Sleeper::new();
        roster.lie_down(&first);
        assert!(
            matches!(roster.start_failed(true), Call::Wake(woken) if Arc::ptr_eq(&woken, &first))
        );
        assert_eq!((roster.threads(), sleepers.len()), (1, 0));
    }

    #[test]
    fn after_a_failed_start_only_one_more_thread_is_counted_on() {
        let mut roster = Roster::new(0, 8);
        assert!(matches!(roster.call(), Call::Start));
        assert!(matches!(roster.start_failed(true), Call::Nobody));
        assert_eq!(roster.takers(), 1);
        assert!(matches!(roster.call(), Call::Start));
        roster.arrive();
        assert_eq!(roster.takers(), 7);
    }

    #[test]
    fn a_spare_thread_is_an_idle_one_or_one_that_may_be_had() {
        let mut roster = Roster::new(0, 2);
        assert!(roster.has_spare(0));
        assert!(matches!(roster.call(), Call::Start));
        assert!(matches!(roster.start_failed(true), Call::Nobody));
        assert!(!roster.has_spare(0), "the system has none");
        let idle = Sleeper::new();
        roster.enlist(&idle);
        assert!(roster.has_spare(0));
        assert!(matches!(roster.call(), Call::Wake(_)));
        assert!(!roster.has_spare(1), "it comes for the job that waits");
    }

    #[test]
    fn a_thread_is_spare_for_one_job_only() {
        let (mut roster, _sleepers) = roster_with_idle(2);
        // Six more may be started.
        assert!(roster.has_spare(7) && !roster.has_spare(8));
        assert!(matches!(roster.call(), Call::Wake(_)));
        assert!(roster.has_spare(7) && !roster.has_spare(8), "the one under way has no job yet");
        roster.arrive();
        assert!(roster.has_spare(6) && !roster.has_spare(7));
    }

    #[test]
    fn the_last_thread_stays_while_another_is_being_started() {
        let (mut roster, sleepers) = roster_with_idle(1);
        assert!(matches!(roster.call(), Call::Wake(_)));
        roster.arrive();
        assert!(matches!(roster.call(), Call::Start));
        roster.lie_down(&sleepers[0]);
        assert!(!roster.may_leave());
        roster.arrive();
        assert!(roster.may_leave());
    }
}
