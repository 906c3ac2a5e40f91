//! What a service finishes beside its connections, and how its drain went.
//!
//! Called by `Server::run` and `Running::drain`. Nothing here waits beyond the drain's deadline.

use std::fmt;
use std::time::{Duration, Instant};

use threadline_pool::ThreadPool;
use threadline_pool::contained::catch;
use threadline_pool::schedule::Scheduler;

/// Work that a draining service finishes beside its connections: a [`ThreadPool`], a [`Scheduler`], or a
/// type of your own. Passed to [`Server::drains`](crate::Server::drains).
///
/// ```
/// use std::sync::mpsc::Sender;
/// use std::time::Duration;
/// use threadline::{Drain, Server};
///
/// /// Tells a writer thread to finish, and waits until it has.
/// struct Journal {
///     writer: Sender<Sender<()>>,
/// }
///
/// impl Drain for Journal {
///     fn drain(&self, limit: Duration) -> u64 {
///         let (done, finished) = std::sync::mpsc::channel();
///         let _ = self.writer.send(done);
///         // How much is left: here, one journal or none.
///         u64::from(finished.recv_timeout(limit).is_err())
///     }
/// }
///
/// # let (writer, _orders) = std::sync::mpsc::channel();
/// let server = Server::new().drains(Journal { writer });
/// ```
pub trait Drain: Send + Sync + 'static {
    /// When its turn comes. Default: [`DrainOrder::AfterConnections`].
    fn order(&self) -> DrainOrder {
        DrainOrder::AfterConnections
    }

    /// Takes no more work, and waits for at most `limit` until what has been taken is finished. Returns
    /// how many pieces of work are not. `limit` may be zero: then it only says so.
    fn drain(&self, limit: Duration) -> u64;
}

/// When a [`Drain`] has its turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DrainOrder {
    /// While connections finish, and before anything that comes after them: for what gives work to others
    /// by itself, as a scheduler does.
    BeforeConnections,
    /// When the last connection has ended: for what handlers give work to.
    AfterConnections,
}

/// Takes no more jobs and finishes those that it has, after the connections.
impl Drain for ThreadPool {
    fn drain(&self, limit: Duration) -> u64 {
        if self.shutdown(limit) {
            return 0;
        }
        // Threads that have no job any more are just about to end.
        let stats = self.stats();
        (stats.busy + stats.queue_len) as u64
    }
}

/// Starts no more runs and finishes those that go on, before the connections. Jobs whose time has not
/// come are dropped.
impl Drain for Scheduler {
    fn order(&self) -> DrainOrder {
        DrainOrder::BeforeConnections
    }

    fn drain(&self, limit: Duration) -> u64 {
        if self.shutdown(limit) { 0 } else { self.runs() as u64 }
    }
}

/// How a drain went: from [`Running::drain`](crate::Running::drain), and in
/// [`Error::Drain`](crate::Error::Drain).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Drained {
    /// Connections that were cut off at the deadline in the middle of a message, a call or a reply. Those
    /// that were open but idle, and open pushes, are not counted: nothing of theirs was lost.
    pub aborted: u64,
    /// Jobs of what was given to [`Server::drains`](crate::Server::drains) that had not ended at the
    /// deadline.
    pub unfinished: u64,
    /// Whether every thread of the service has ended. False: a handler is still running.
    pub complete: bool,
    /// Worker processes that did not drain: they were killed at the deadline, or ended with an error. What
    /// they had to leave is in their logs.
    pub workers_failed: u64,
}

impl Drained {
    /// Whether nothing was cut off or left unfinished.
    pub fn is_clean(&self) -> bool {
        let Drained { aborted, unfinished, complete, workers_failed } = *self;
        complete && aborted == 0 && unfinished == 0 && workers_failed == 0
    }
}

impl fmt::Display for Drained {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_clean() {
            return f.write_str("everything was finished");
        }
        let counts = [
            (self.aborted, "connection cut off", "connections cut off"),
            (self.unfinished, "job not finished", "jobs not finished"),
            (u64::from(!self.complete), "handler still running, or more", ""),
            (
                self.workers_failed,
                "worker process failed to drain",
                "worker processes failed to drain",
            ),
        ];
        let mut separator = "";
        for (count, one, many) in counts.into_iter().filter(|(count, ..)| *count > 0) {
            write!(f, "{separator}{count} {}", if count == 1 { one } else { many })?;
            separator = ", ";
        }
        Ok(())
    }
}

/// The values given to `Server::drains`.
#[derive(Default)]
pub(crate) struct Drains(Vec<Box<dyn Drain>>);

impl Drains {
    pub(crate) fn add(&mut self, drain: impl Drain) {
        self.0.push(Box::new(drain));
    }

    /// Drains those of one order, one after the other. Returns how many of their jobs are not finished.
    pub(crate) fn drain(&self, order: DrainOrder, deadline: Instant) -> u64 {
        let those = self.0.iter().filter(|drain| of_user(|| drain.order()) == Some(order));
        let unfinished = those.map(|drain| {
            let left = deadline.saturating_duration_since(Instant::now());
            // One that panics has not finished, however much it had.
            of_user(|| drain.drain(left)).unwrap_or(1)
        });
        unfinished.sum()
    }
}

/// Runs code of a user's type; `None` if it panics. The drain goes on: others have work to finish.
fn of_user<R>(code: impl FnOnce() -> R) -> Option<R> {
    let result = catch(code);
    result.inspect_err(|_| tracing::error!("a value given to Server::drains panicked")).ok()
}

impl fmt::Debug for Drains {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Drains").field(&self.0.len()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drained() -> Drained {
        Drained { aborted: 0, unfinished: 0, complete: true, workers_failed: 0 }
    }

    #[test]
    fn what_is_left_is_named_and_counted() {
        assert!(drained().is_clean());
        assert_eq!(drained().to_string(), "everything was finished");
        let one = Drained { aborted: 1, ..drained() };
        assert_eq!(one.to_string(), "1 connection cut off");
        let all = Drained { aborted: 2, unfinished: 3, complete: false, workers_failed: 1 };
        let text = "2 connections cut off, 3 jobs not finished, 1 handler still running, or more, 1 \
                    worker process failed to drain";
        assert_eq!(all.to_string(), text);
        for drained in [one, Drained { complete: false, ..drained() }, all] {
            assert!(!drained.is_clean());
        }
    }

    #[test]
    fn one_that_panics_does_not_keep_others_from_their_turn() {
        struct Panics;
        impl Drain for Panics {
            fn drain(&self, _: Duration) -> u64 {
                panic!("as asked");
            }
        }
        struct Has(u64);
        impl Drain for Has {
            fn drain(&self, _: Duration) -> u64 {
                self.0
            }
        }
        let mut drains = Drains::default();
        drains.add(Panics);
        drains.add(Has(5));
        assert_eq!(
            drains.drain(DrainOrder::BeforeConnections, Instant::now()),
            0,
            "not their turn"
        );
        assert_eq!(drains.drain(DrainOrder::AfterConnections, Instant::now()), 6);
    }
}
