//! The next few jobs, taken out of the queue in one go and laid out for all threads of the pool.
//!
//! A thread that ends a job takes its next one from here, under the tray's own lock, and so does
//! not fight with submitters for the pool's lock each time. The jobs on the tray are nobody's: any
//! thread takes the first one, so that none is stuck behind a job that blocks. Filled, and emptied
//! back into the queue, under the pool's lock only; without it the tray only shrinks. `README.md`
//! beside this file has the rules that follow.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use crate::counter::LockedCounter;
use crate::primitive::{self, Mutex, MutexGuard};
use crate::queue::{Queue, Waiting};

/// Starts on a cache line of its own: submitters write the ones before it.
#[repr(align(64))]
pub(crate) struct Tray {
    jobs: Mutex<VecDeque<Waiting>>,
    /// How many there are. Written under the lock of `jobs`; relaxed, because whoever decides by it
    /// holds the pool's lock, under which the last filling was.
    len: AtomicUsize,
    /// Written under the lock of `jobs`, which every job's end takes anyway.
    completed: LockedCounter,
}

/// The most jobs on the tray: enough to make the pool's lock a small part of a tiny job's cost, few
/// enough to be put back in a moment.
const LEN_MAX: usize = 32;

impl Tray {
    pub(crate) fn new() -> Self {
        Tray {
            jobs: Mutex::new(VecDeque::new()),
            len: AtomicUsize::new(0),
            completed: LockedCounter::default(),
        }
    }

    /// How many jobs it has. Under the pool's lock there are not more than that.
    pub(crate) fn len(&self) -> usize {
        self.len.load(Relaxed)
    }

    /// Jobs that threads of the pool ended.
    pub(crate) fn completed(&self) -> u64 {
        self.completed.read()
    }

    pub(crate) fn pop(&self) -> Option<Waiting> {
        self.pop_from(primitive::lock(&self.jobs))
    }

    /// A thread ended a job: counts it, by `record` too, which is run under the tray's lock, and
    /// takes the next.
    pub(crate) fn end_job(&self, record: impl FnOnce()) -> Option<Waiting> {
        let jobs = primitive::lock(&self.jobs);
        self.completed.increment();
        record();
        self.pop_from(jobs)
    }

    fn pop_from(&self, mut jobs: MutexGuard<'_, VecDeque<Waiting>>) -> Option<Waiting> {
        let waiting = jobs.pop_front();
        self.close(jobs);
        waiting
    }

    /// Fills an empty tray. Under the pool's lock. A single job stays in the queue: it would only
    /// be carried about.
    pub(crate) fn fill(&self, queue: &mut Queue) {
        if self.len() == 0 && queue.len() > 1 {
            let mut jobs = primitive::lock(&self.jobs);
            queue.lend(&mut jobs, LEN_MAX);
            self.close(jobs);
        }
    }

    /// Puts the jobs back where they came from, in their order. Under the pool's lock.
    pub(crate) fn give_back(&self, queue: &mut Queue) {
        if self.len() > 0 {
            let mut jobs = primitive::lock(&self.jobs);
            queue.take_back(&mut jobs);
            self.close(jobs);
        }
    }

    fn close(&self, jobs: MutexGuard<'_, VecDeque<Waiting>>) {
        self.len.store(jobs.len(), Relaxed);
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::sync::mpsc;

    use super::*;
    use crate::Priority;
    use crate::queue::Class;
    use crate::times::Moment;

    const NORMAL: Class = Class::Ordinary(Priority::Normal);

    fn queue_of(count: usize) -> (Queue, mpsc::Receiver<usize>) {
        let (numbers, inbox) = mpsc::channel();
        let mut queue = Queue::new(usize::MAX);
        for number in 0..count {
            let numbers = numbers.clone();
            let job = Box::new(move || numbers.send(number).expect("a listener"));
            queue.push(NORMAL, Waiting::new(job, Moment::default()));
        }
        (queue, inbox)
    }

    fn run(waiting: Option<Waiting>, inbox: &mpsc::Receiver<usize>) -> Option<usize> {
        (waiting?.job)();
        inbox.try_recv().ok()
    }

    #[test]
    fn what_is_given_back_is_first_in_line_again() {
        let ((mut queue, inbox), tray) = (queue_of(100), Tray::new());
        tray.fill(&mut queue);
        assert_eq!((tray.len(), queue.len()), (LEN_MAX, 100 - LEN_MAX));
        assert_eq!(run(tray.pop(), &inbox), Some(0));
        tray.give_back(&mut queue);
        assert_eq!((tray.len(), queue.len()), (0, 99));
        assert!((1..100).all(|number| run(queue.pop(), &inbox) == Some(number)));
    }

    #[test]
    fn only_an_empty_tray_is_filled() {
        let ((mut queue, inbox), tray) = (queue_of(100), Tray::new());
        tray.fill(&mut queue);
        tray.fill(&mut queue);
        assert_eq!(queue.len(), 100 - LEN_MAX);
        assert!((0..LEN_MAX).all(|number| run(tray.pop(), &inbox) == Some(number)));
        assert!(tray.pop().is_none());
        tray.fill(&mut queue);
        assert_eq!(run(tray.pop(), &inbox), Some(LEN_MAX));
    }

    #[test]
    fn a_single_job_and_one_of_another_line_keep_the_jobs_in_the_queue() {
        let ((mut queue, _inbox), tray) = (queue_of(1), Tray::new());
        tray.fill(&mut queue);
        assert_eq!(tray.len(), 0);
        for class in [Class::Essential, Class::Ordinary(Priority::Low)] {
            let (mut queue, _inbox) = queue_of(5);
            queue.push(class, Waiting::new(Box::new(|| ()), Moment::default()));
            tray.fill(&mut queue);
            assert_eq!(tray.len(), 0);
        }
    }
}
