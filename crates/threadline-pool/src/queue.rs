//! The jobs that wait: two lines, first in first out, essential ones before ordinary ones.
//!
//! Owned by the pool's state, under its lock. It runs no job and drops none: a job is the user's
//! code, and so is its drop.

use std::collections::VecDeque;

/// A job as the pool keeps it. One that catches no panic: the worker does.
pub(crate) type Job = Box<dyn FnOnce() + Send>;

/// Which line a job stands in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Class {
    /// Never refused for want of room. Not bounded here: whoever submits these has a bound of
    /// their own, as the engine has one by its number of connections.
    Essential,
    /// Bounded.
    Ordinary,
}

pub(crate) struct Queue {
    essential: VecDeque<Job>,
    ordinary: VecDeque<Job>,
    ordinary_max: usize,
}

impl Queue {
    pub(crate) fn new(ordinary_max: usize) -> Self {
        Queue { essential: VecDeque::new(), ordinary: VecDeque::new(), ordinary_max }
    }

    /// Whether a job may join. `takers` is how many threads can take a job at once: as many of the
    /// jobs in line do not wait, and only waiting ones count against the bound.
    pub(crate) fn has_room(&self, class: Class, takers: usize) -> bool {
        let free = takers.saturating_sub(self.essential.len());
        class == Class::Essential || self.ordinary.len() < self.ordinary_max.saturating_add(free)
    }

    pub(crate) fn push(&mut self, class: Class, job: Job) {
        match class {
            Class::Essential => self.essential.push_back(job),
            Class::Ordinary => self.ordinary.push_back(job),
        }
    }

    pub(crate) fn pop(&mut self) -> Option<Job> {
        self.essential.pop_front().or_else(|| self.ordinary.pop_front())
    }

    pub(crate) fn len(&self) -> usize {
        self.essential.len() + self.ordinary.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    fn queue_of(ordinary_max: usize, essential: usize, ordinary: usize) -> Queue {
        let mut queue = Queue::new(ordinary_max);
        (0..essential).for_each(|_| queue.push(Class::Essential, Box::new(|| ())));
        (0..ordinary).for_each(|_| queue.push(Class::Ordinary, Box::new(|| ())));
        queue
    }

    #[test]
    fn only_jobs_that_no_thread_can_take_count_against_the_bound() {
        assert!(queue_of(0, 0, 0).has_room(Class::Ordinary, 1));
        assert!(!queue_of(0, 0, 1).has_room(Class::Ordinary, 1));
        assert!(!queue_of(0, 0, 0).has_room(Class::Ordinary, 0));
        assert!(queue_of(2, 0, 3).has_room(Class::Ordinary, 2));
        assert!(!queue_of(2, 0, 4).has_room(Class::Ordinary, 2));
    }

    #[test]
    fn essential_jobs_take_threads_but_no_room() {
        assert!(!queue_of(0, 1, 0).has_room(Class::Ordinary, 1));
        assert!(queue_of(1, 9, 0).has_room(Class::Ordinary, 1));
        assert!(queue_of(0, 9, 0).has_room(Class::Essential, 0));
    }

    #[test]
    fn a_boundless_queue_does_not_overflow() {
        assert!(queue_of(usize::MAX, 0, 1).has_room(Class::Ordinary, 5));
    }
}
