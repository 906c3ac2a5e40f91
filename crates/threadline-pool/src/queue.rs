//! The jobs that wait: the essential ones, then a line for each priority, each first in first out.
//!
//! Owned by the pool's state, under its lock. It runs no job and drops none: a job is the user's
//! code, and so is its drop.

use std::collections::VecDeque;
use std::mem;

use crate::times::Moment;

/// How urgent a job is, for [`ThreadPool::submit_with`](crate::ThreadPool::submit_with).
///
/// A job of higher priority is taken before all lower ones that wait, with one exception, so that
/// nothing starves: a line whose first job was passed over 16 times in favour of higher ones gets
/// its turn. Under a flood of high jobs, one job in 17 is a lower one. (Essential jobs have no part
/// in this: they always go first.) The bound of the queue counts the jobs of all three together.
///
/// ```
/// use std::time::Duration;
/// use threadline_pool::{Priority, ThreadPool};
///
/// let pool = ThreadPool::builder().build()?;
/// pool.submit_with(Priority::Low, || println!("tidying up"))?;
/// pool.submit_with(Priority::High, || println!("somebody waits for this"))?;
/// assert!(pool.shutdown(Duration::from_secs(5)));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Priority {
    /// When nothing else is to be done.
    Low,
    /// What [`ThreadPool::submit`](crate::ThreadPool::submit) and `try_submit` take.
    #[default]
    Normal,
    /// Before the others.
    High,
}

/// A job as the pool keeps it. One that catches no panic: the worker does.
pub(crate) type Job = Box<dyn FnOnce() + Send>;

/// A job in the queue.
pub(crate) struct Waiting {
    pub(crate) job: Job,
    pub(crate) submitted: Moment,
    /// Set by [`Queue::push`]; grows within each line.
    number: u64,
    /// Its number in the mail, if it was posted: 0 if not.
    posted: u64,
}

impl Waiting {
    pub(crate) fn new(job: Job, submitted: Moment) -> Self {
        Waiting { job, submitted, number: 0, posted: 0 }
    }

    /// A job that goes through the mail. `number` is not 0, and no other job's there.
    pub(crate) fn posted(job: Job, submitted: Moment, number: u64) -> Self {
        Waiting { job, submitted, number: 0, posted: number }
    }
}

/// Where a job waits, for [`Queue::remove`]. Never given to another job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Position {
    /// In that line, with that number.
    Placed(Class, u64),
    /// In the mail, with that number, or in the line where jobs go from there.
    Posted(u64),
}

/// Which line a job stands in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Class {
    /// Never refused for want of room. Not bounded here: whoever submits these has a bound of
    /// their own, as the engine has one by its number of connections.
    Essential,
    /// Bounded.
    Ordinary(Priority),
}

/// So many times is a waiting job passed over by jobs of higher priority, and no more.
const PATIENCE: u32 = 16;

pub(crate) struct Queue {
    essential: VecDeque<Waiting>,
    /// By priority, the lowest first.
    lines: [Line; 3],
    ordinary_len: usize,
    ordinary_max: usize,
    /// Of the next job.
    next_number: u64,
}

#[derive(Default)]
struct Line {
    jobs: VecDeque<Waiting>,
    /// How often a job of a higher line was taken while the first one here waited. 0 when empty.
    passed_over: u32,
}

impl Queue {
    pub(crate) fn new(ordinary_max: usize) -> Self {
        Queue {
            essential: VecDeque::new(),
            lines: Default::default(),
            ordinary_len: 0,
            ordinary_max,
            next_number: 0,
        }
    }

    /// How many ordinary jobs may join; an essential one always may. `takers` is how many threads
    /// can take a job at once: as many of the jobs in line do not wait, and only waiting ones count
    /// against the bound. `elsewhere` is how many jobs of this queue wait in another place.
    pub(crate) fn room(&self, elsewhere: usize, takers: usize) -> usize {
        let free = takers.saturating_sub(self.essential.len());
        let len_max = self.ordinary_max.saturating_add(free);
        len_max.saturating_sub(self.ordinary_len.saturating_add(elsewhere))
    }

    pub(crate) fn push(&mut self, class: Class, mut waiting: Waiting) -> Position {
        waiting.number = self.next_number;
        self.next_number += 1;
        let position = Position::Placed(class, waiting.number);
        match class {
            Class::Essential => self.essential.push_back(waiting),
            Class::Ordinary(priority) => {
                self.ordinary_len += 1;
                self.lines[priority as usize].jobs.push_back(waiting);
            }
        }
        position
    }

    /// Takes out one job, wherever it stands in its line. `None` if it is not in the queue any more, or
    /// is on the tray.
    pub(crate) fn remove(&mut self, position: Position) -> Option<Waiting> {
        let (priority, waiting) = match position {
            Position::Placed(Class::Essential, number) => {
                return take_out(&mut self.essential, number);
            }
            Position::Placed(Class::Ordinary(priority), number) => {
                (priority, take_out(&mut self.lines[priority as usize].jobs, number)?)
            }
            // Few are posted: they need no order of their own.
            Position::Posted(number) => {
                let jobs = &mut self.lines[Priority::Normal as usize].jobs;
                let at = jobs.iter().position(|waiting| waiting.posted == number)?;
                (Priority::Normal, jobs.remove(at)?)
            }
        };
        let line = &mut self.lines[priority as usize];
        if line.jobs.is_empty() {
            line.passed_over = 0;
        }
        self.ordinary_len -= 1;
        Some(waiting)
    }

    pub(crate) fn pop(&mut self) -> Option<Waiting> {
        self.essential.pop_front().or_else(|| self.pop_ordinary())
    }

    fn pop_ordinary(&mut self) -> Option<Waiting> {
        if self.ordinary_len == 0 {
            return None;
        }
        let taken = self.next_line();
        for line in &mut self.lines[..taken] {
            line.passed_over += u32::from(!line.jobs.is_empty());
        }
        self.take_from(taken)
    }

    /// The highest line that was passed over too often, else the highest that is not empty.
    fn next_line(&self) -> usize {
        let overdue = self.lines.iter().rposition(|line| line.passed_over >= PATIENCE);
        let highest = || self.lines.iter().rposition(|line| !line.jobs.is_empty());
        overdue.or_else(highest).unwrap_or_default()
    }

    fn take_from(&mut self, line: usize) -> Option<Waiting> {
        let line = &mut self.lines[line];
        line.passed_over = 0;
        let waiting = line.jobs.pop_front()?;
        self.ordinary_len -= 1;
        Some(waiting)
    }

    /// Takes out the oldest job of the lowest priority there is, if that is not above `newcomer`.
    pub(crate) fn displace(&mut self, newcomer: Priority) -> Option<Waiting> {
        let lowest = self.lines.iter().position(|line| !line.jobs.is_empty())?;
        if lowest <= newcomer as usize { self.take_from(lowest) } else { None }
    }

    /// Takes out up to `max` jobs of normal priority, but only if no others wait: the order between
    /// lines is decided here.
    pub(crate) fn lend(&mut self, to: &mut VecDeque<Waiting>, max: usize) {
        let line = &mut self.lines[Priority::Normal as usize];
        if self.essential.is_empty() && line.jobs.len() == self.ordinary_len {
            let count = max.min(self.ordinary_len);
            to.extend(line.jobs.drain(..count));
            self.ordinary_len -= count;
        }
    }

    /// The rest of what was lent comes back, before all others of its line.
    pub(crate) fn take_back(&mut self, from: &mut VecDeque<Waiting>) {
        let line = &mut self.lines[Priority::Normal as usize];
        self.ordinary_len += from.len();
        while let Some(waiting) = from.pop_back() {
            line.jobs.push_front(waiting);
        }
    }

    /// Takes out all jobs, in no particular order between lines.
    pub(crate) fn take_all(&mut self) -> Vec<Waiting> {
        let mut all = Vec::from(mem::take(&mut self.essential));
        for line in &mut self.lines {
            all.extend(mem::take(line).jobs);
        }
        self.ordinary_len = 0;
        all
    }

    pub(crate) fn len(&self) -> usize {
        self.essential.len() + self.ordinary_len
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Each line is in the order of its numbers: jobs join at the end, and what comes back from the tray goes
/// before all others, in its order.
fn take_out(jobs: &mut VecDeque<Waiting>, number: u64) -> Option<Waiting> {
    let at = jobs.binary_search_by_key(&number, |waiting| waiting.number).ok()?;
    jobs.remove(at)
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::sync::mpsc;

    use super::*;

    const NORMAL: Class = Class::Ordinary(Priority::Normal);

    fn waiting(job: impl FnOnce() + Send + 'static) -> Waiting {
        Waiting::new(Box::new(job), Moment::default())
    }

    fn queue_of(ordinary_max: usize, essential: usize, ordinary: usize) -> Queue {
        let mut queue = Queue::new(ordinary_max);
        (0..essential).for_each(|_| _ = queue.push(Class::Essential, waiting(|| ())));
        (0..ordinary).for_each(|_| _ = queue.push(NORMAL, waiting(|| ())));
        queue
    }

    /// A queue of jobs that tell who they are: so many of each class, numbered.
    fn named_queue(counts: &[(Class, usize)]) -> (Queue, mpsc::Receiver<(Class, usize)>) {
        let (names, inbox) = mpsc::channel();
        let mut queue = Queue::new(usize::MAX);
        for &(class, count) in counts {
            for number in 0..count {
                let names = names.clone();
                let job = move || names.send((class, number)).expect("a listener");
                queue.push(class, waiting(job));
            }
        }
        (queue, inbox)
    }

    fn order(mut queue: Queue, inbox: &mpsc::Receiver<(Class, usize)>) -> Vec<(Class, usize)> {
        while let Some(waiting) = queue.pop() {
            (waiting.job)();
        }
        inbox.try_iter().collect()
    }

    #[test]
    fn only_jobs_that_no_thread_can_take_count_against_the_bound() {
        assert!(queue_of(0, 0, 0).room(0, 1) > 0);
        assert_eq!(queue_of(0, 0, 1).room(0, 1), 0);
        assert_eq!(queue_of(0, 0, 0).room(0, 0), 0);
        assert!(queue_of(2, 0, 3).room(0, 2) > 0);
        assert_eq!(queue_of(2, 0, 4).room(0, 2), 0);
        assert_eq!(queue_of(2, 0, 1).room(3, 2), 0, "those lent wait too");
    }

    #[test]
    fn essential_jobs_take_threads_but_no_room() {
        assert_eq!(queue_of(0, 1, 0).room(0, 1), 0);
        assert!(queue_of(1, 9, 0).room(0, 1) > 0);
    }

    #[test]
    fn a_boundless_queue_does_not_overflow() {
        assert!(queue_of(usize::MAX, 0, 1).room(1, 5) > 0);
    }

    #[test]
    fn the_bound_is_shared_by_all_priorities() {
        let mut queue = queue_of(2, 0, 1);
        queue.push(Class::Ordinary(Priority::Low), waiting(|| ()));
        assert_eq!(queue.room(0, 0), 0);
        assert!(queue.pop().is_some());
        assert!(queue.room(0, 0) > 0);
    }

    #[test]
    fn the_higher_line_goes_first_and_each_line_in_its_order() {
        let [low, high] = [Class::Ordinary(Priority::Low), Class::Ordinary(Priority::High)];
        let (queue, inbox) =
            named_queue(&[(low, 2), (NORMAL, 2), (high, 2), (Class::Essential, 2)]);
        let expected: Vec<_> =
            [Class::Essential, high, NORMAL, low].iter().flat_map(|c| [(*c, 0), (*c, 1)]).collect();
        assert_eq!(order(queue, &inbox), expected);
    }

    #[test]
    fn one_job_in_seventeen_is_a_lower_one() {
        let [low, high] = [Class::Ordinary(Priority::Low), Class::Ordinary(Priority::High)];
        let (queue, inbox) = named_queue(&[(high, 100), (low, 3)]);
        let order = order(queue, &inbox);
        let turns: Vec<_> = order.iter().enumerate().filter(|(_, job)| job.0 == low).collect();
        assert_eq!(turns.iter().map(|(at, _)| *at).collect::<Vec<_>>(), [16, 33, 50]);
    }

    #[test]
    fn two_lines_below_a_flood_both_get_their_turn() {
        let [low, high] = [Class::Ordinary(Priority::Low), Class::Ordinary(Priority::High)];
        let (queue, inbox) = named_queue(&[(high, 100), (NORMAL, 10), (low, 1)]);
        let order = order(queue, &inbox);
        assert_eq!((order[16], order[17]), ((NORMAL, 0), (low, 0)));
    }

    #[test]
    fn the_oldest_of_the_lowest_line_is_displaced_but_none_above_the_newcomer() {
        let [low, high] = [Class::Ordinary(Priority::Low), Class::Ordinary(Priority::High)];
        let (mut queue, inbox) =
            named_queue(&[(Class::Essential, 1), (high, 1), (NORMAL, 2), (low, 1)]);
        for (newcomer, expected) in [
            (Priority::High, Some((low, 0))),
            (Priority::Low, None),
            (Priority::Normal, Some((NORMAL, 0))),
            (Priority::High, Some((NORMAL, 1))),
            (Priority::Normal, None),
            (Priority::High, Some((high, 0))),
            (Priority::High, None),
        ] {
            let displaced = queue.displace(newcomer).map(|waiting| (waiting.job)());
            assert_eq!(displaced.and_then(|()| inbox.try_recv().ok()), expected);
        }
        assert_eq!(queue.len(), 1, "the essential one stays");
    }

    #[test]
    fn a_job_is_taken_out_of_the_middle_of_its_line_once_and_by_its_number() {
        let [low, high] = [Class::Ordinary(Priority::Low), Class::Ordinary(Priority::High)];
        for class in [Class::Essential, low, NORMAL, high] {
            let (numbers, inbox) = mpsc::channel();
            let mut queue = queue_of(5, 1, 1);
            let positions: Vec<_> = (0..4)
                .map(|number| {
                    let numbers = numbers.clone();
                    let job = move || numbers.send(number).expect("a listener");
                    queue.push(class, waiting(job))
                })
                .collect();
            let (len, room) = (queue.len(), queue.room(0, 0));
            // Some are on the tray meanwhile, as far as others allow it, and back again.
            let mut tray = VecDeque::new();
            queue.lend(&mut tray, 3);
            queue.take_back(&mut tray);
            (queue.remove(positions[2]).expect("it waits").job)();
            assert_eq!(inbox.try_recv(), Ok(2));
            assert!(queue.remove(positions[2]).is_none(), "once");
            assert_eq!(queue.len(), len - 1);
            let essential = class == Class::Essential;
            assert_eq!(queue.room(0, 0), if essential { room } else { room + 1 });
            while let Some(waiting) = queue.pop() {
                (waiting.job)();
            }
            assert_eq!(inbox.try_iter().collect::<Vec<_>>(), [0, 1, 3]);
            assert!(positions.into_iter().all(|position| queue.remove(position).is_none()));
        }
    }

    #[test]
    fn a_posted_job_is_found_by_its_number_in_the_mail() {
        let (numbers, inbox) = mpsc::channel();
        let mut queue = queue_of(usize::MAX, 1, 2);
        for number in [7, 8] {
            let numbers = numbers.clone();
            let job = move || numbers.send(number).expect("a listener");
            queue.push(NORMAL, Waiting::posted(Box::new(job), Moment::default(), number));
        }
        let len = queue.len();
        (queue.remove(Position::Posted(8)).expect("it waits").job)();
        assert_eq!((inbox.try_recv(), queue.len()), (Ok(8), len - 1));
        assert!(queue.remove(Position::Posted(8)).is_none(), "once");
        assert!(queue.remove(Position::Posted(7)).is_some());
        assert_eq!(queue.len(), len - 2);
    }

    #[test]
    fn a_line_that_is_emptied_by_removing_has_not_been_passed_over() {
        let [low, high] = [Class::Ordinary(Priority::Low), Class::Ordinary(Priority::High)];
        let mut queue = queue_of(usize::MAX, 0, 0);
        let first = queue.push(low, waiting(|| ()));
        (0..20).for_each(|_| _ = queue.push(high, waiting(|| ())));
        (0..10).for_each(|_| assert!(queue.pop().is_some()));
        assert!(queue.remove(first).is_some());
        assert_eq!(queue.lines[Priority::Low as usize].passed_over, 0);
    }

    #[test]
    fn taking_all_leaves_an_empty_queue_with_all_its_room() {
        let mut queue = queue_of(3, 2, 3);
        assert_eq!((queue.take_all().len(), queue.len()), (5, 0));
        assert!(queue.room(0, 0) > 0 && queue.pop().is_none());
    }
}
