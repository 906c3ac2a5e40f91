//! The ends of several tasks, as they come.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use crate::primitive::{Condvar, Mutex, Waited, lock};
use crate::sync::patience::Patience;
use crate::task::{Task, Watcher};

/// Numbers of tasks that have ended, in that order.
pub(super) struct Ends {
    numbers: Mutex<VecDeque<usize>>,
    more: Condvar,
}

impl Watcher for Ends {
    fn ended(&self, number: usize) {
        lock(&self.numbers).push_back(number);
        self.more.notify_one();
    }
}

impl Ends {
    /// Watches all these tasks, which are numbered by their place.
    pub(super) fn of<'t, T: 't>(tasks: impl IntoIterator<Item = &'t Task<T>>) -> Arc<Self> {
        let ends = Arc::new(Ends { numbers: Mutex::new(VecDeque::new()), more: Condvar::new() });
        for (number, task) in tasks.into_iter().enumerate() {
            task.watch(Arc::clone(&ends) as Arc<dyn Watcher>, number);
        }
        ends
    }

    /// The next end, if there is one already.
    pub(super) fn try_next(&self) -> Option<usize> {
        lock(&self.numbers).pop_front()
    }

    /// The next end; `None` if the time is up before.
    pub(super) fn next(&self, deadline: Option<Instant>) -> Option<usize> {
        let mut patience = Patience::until(deadline);
        let mut numbers = lock(&self.numbers);
        loop {
            if let Some(number) = numbers.pop_front() {
                return Some(number);
            }
            let waited;
            (numbers, waited) = patience.sleep(&self.numbers, &self.more, numbers);
            if waited == Waited::TimedOut {
                return numbers.pop_front();
            }
        }
    }
}
