//! The pool as its users hold it: handles to what the threads share.
//!
//! The threads hold no handle, so that the last handle of the users' can close the pool.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::builder::Settings;
use crate::queue::{Class, Position};
use crate::shared::Shared;
use crate::{Builder, OnDrop, Priority, Rejected, Stats, Times};

/// Threads that run jobs which may block. A clone is another handle to the same pool.
///
/// Threads are started when there is work for them and end when there was none for a while. When
/// the last handle is dropped, the pool takes no more jobs, finishes those that wait (or drops
/// them: [`Builder::on_drop`]), and its threads end; the drop does not wait for that,
/// [`ThreadPool::shutdown`] does.
///
/// ```
/// use std::sync::mpsc;
/// use std::time::Duration;
/// use threadline_pool::ThreadPool;
///
/// let pool = ThreadPool::builder().name("crunch").threads_max(4).build()?;
/// let (results, inbox) = mpsc::channel();
/// for n in 1..=10_u64 {
///     let results = results.clone();
///     pool.submit(move || {
///         let _ = results.send(n * n);
///     })?;
/// }
/// drop(results);
/// assert_eq!(inbox.iter().sum::<u64>(), 385);
///
/// assert!(pool.shutdown(Duration::from_secs(5)));
/// assert_eq!(pool.stats().completed, 10);
///
/// // A pool that is shut down gives the job back.
/// let rejected = pool.submit(|| println!("too late")).unwrap_err();
/// (rejected.job)();
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct ThreadPool {
    handle: Arc<Handle>,
}

impl ThreadPool {
    /// Settings to start from; each has a default.
    pub fn builder() -> Builder {
        Builder::new()
    }

    pub(crate) fn start(settings: Settings) -> io::Result<ThreadPool> {
        let pool = ThreadPool { handle: Arc::new(Handle(Shared::new(settings))) };
        // On an error the pool is dropped, which ends the threads started so far.
        pool.shared().start_permanent_threads()?;
        Ok(pool)
    }

    /// Has the job run on a thread of the pool. When the queue is full, it does as
    /// [`Builder::when_full`] says: by default it gives the job back.
    ///
    /// A job that panics ends alone: the panic is reported by the panic hook and counted, and the
    /// thread goes on.
    ///
    /// # Errors
    /// Gives the job back when the policy says so, when the pool is shut down (also while this
    /// waits for room), or when there is no thread and none can be started.
    pub fn submit<F: FnOnce() + Send + 'static>(&self, job: F) -> Result<(), Rejected<F>> {
        self.submit_with(Priority::Normal, job)
    }

    /// The same for a job of another priority.
    ///
    /// # Errors
    /// As [`submit`](ThreadPool::submit).
    pub fn submit_with<F: FnOnce() + Send + 'static>(
        &self,
        priority: Priority,
        job: F,
    ) -> Result<(), Rejected<F>> {
        self.shared().submit_by_policy(priority, job).map(|_position| ())
    }

    /// Has the job run on a thread of the pool. Never blocks and never runs or drops a job,
    /// whatever the policy: what does not fit comes back.
    ///
    /// In a pool with permanent threads ([`Builder::threads_min`]) it does not wait for the pool's lock
    /// either, which another thread may have that has lost the processor: a thread that serves others is
    /// not held up by those it has niced. The bound is then what it was when the lock was last let go, so
    /// that submitters who come together may pass it by one job each; and a job that is accepted while
    /// another thread shuts the pool down runs, but perhaps after that [`shutdown`](ThreadPool::shutdown)
    /// has returned.
    ///
    /// # Errors
    /// Gives the job back when as many jobs wait as may, when the pool is shut down, or when there
    /// is no thread and none can be started.
    pub fn try_submit<F: FnOnce() + Send + 'static>(&self, job: F) -> Result<Ticket, Rejected<F>> {
        self.shared().try_submit(Class::Ordinary(Priority::Normal), job).map(Ticket)
    }

    /// As [`try_submit`](ThreadPool::try_submit), but takes the job only if a thread is idle for it, or may be
    /// started: one that no job in the queue will take. For jobs with another way to run, which must not
    /// wait for jobs that hang. Jobs that come back are not counted as rejected.
    ///
    /// In a pool with permanent threads this does not wait for the pool's lock: it gives the job back if
    /// another thread has that.
    ///
    /// ```
    /// use std::sync::Arc;
    /// use threadline_pool::ThreadPool;
    /// use threadline_pool::sync::Event;
    ///
    /// let pool = ThreadPool::builder().threads_max(1).build()?;
    /// let event = Arc::new(Event::new());
    /// let waits = Arc::clone(&event);
    /// pool.submit_to_spare(move || waits.wait())?;
    /// assert!(pool.submit_to_spare(|| ()).is_err());
    /// event.set();
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// Gives the job back when there is no such thread, and when the pool is shut down.
    pub fn submit_to_spare<F: FnOnce() + Send + 'static>(
        &self,
        job: F,
    ) -> Result<Ticket, Rejected<F>> {
        self.shared().submit_to_spare(job).map(Ticket)
    }

    /// Has a job run that must not be refused for want of room. It runs before all ordinary jobs
    /// that wait. Meant for short duties of which there can only be so many: this line has no bound
    /// of its own, and the ordinary jobs stand behind it.
    ///
    /// # Errors
    /// Gives the job back when the pool is shut down, or when it has no thread and none can be
    /// started; the latter is ruled out by [`Builder::threads_min`] of 1 or more.
    pub fn submit_essential<F: FnOnce() + Send + 'static>(
        &self,
        job: F,
    ) -> Result<Ticket, Rejected<F>> {
        self.shared().try_submit(Class::Essential, job).map(Ticket)
    }

    /// Takes a job out of the queue that no thread has begun, and drops it, so that its place is free for
    /// another. Does nothing if a thread has taken it. [`Stats::cancelled`] counts the jobs withdrawn. The ticket
    /// must be of this pool: one of another pool may withdraw an unrelated job.
    ///
    /// In a pool with permanent threads this does not wait for the pool's lock, as
    /// [`try_submit`](ThreadPool::try_submit) does not: a thread that has the lock takes the job out when it
    /// lets go, and another may begin the job before that. So a job that must not run any more has to find
    /// that out by itself, by an atomic flag for example. Panics of the job's drop are contained.
    ///
    /// ```
    /// use std::sync::Arc;
    /// use threadline_pool::ThreadPool;
    /// use threadline_pool::sync::Event;
    ///
    /// let pool = ThreadPool::builder().threads_max(1).build()?;
    /// let event = Arc::new(Event::new());
    /// let waits = Arc::clone(&event);
    /// pool.try_submit(move || waits.wait())?;
    /// let ticket = pool.try_submit(|| unreachable!("it is withdrawn before"))?;
    /// pool.withdraw(ticket);
    /// assert_eq!(pool.stats().cancelled, 1);
    /// event.set();
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn withdraw(&self, ticket: Ticket) {
        if let Ticket(Some(position)) = ticket {
            self.shared().withdraw_soon(position);
        }
    }

    /// What the pool counts. Takes no lock.
    pub fn stats(&self) -> Stats {
        self.shared().stats()
    }

    /// How long jobs waited and ran. Takes no lock; copies 5 KB. Empty if the pool does not
    /// [measure](Builder::measure_times).
    pub fn times(&self) -> Times {
        self.shared().times()
    }

    /// How many threads run a job: one load of an atomic.
    pub fn busy(&self) -> usize {
        self.shared().busy()
    }

    /// Takes no more jobs, finishes those that wait, and waits until all threads ended or the time
    /// is up. True if all ended. A thread ends when it has left the pool for good; destructors of
    /// its thread-locals may still run.
    ///
    /// Called from within a job, it waits neither for the caller's own thread nor for others that
    /// called it from within a job. It does not wait for jobs that their submitters run themselves
    /// ([`Policy::CallerRuns`](crate::Policy::CallerRuns)). May be called again, to go on waiting.
    pub fn shutdown(&self, timeout: Duration) -> bool {
        let deadline = Instant::now().checked_add(timeout);
        self.shared().close();
        self.shared().wait_until_ended(deadline)
    }

    /// Takes no more jobs, drops those that have not started, and waits until those that run have
    /// ended, and all threads with them, or the time is up. True if all ended.
    /// [`Stats::cancelled`] counts the jobs dropped; essential ones are dropped too.
    ///
    /// May follow a [`shutdown`](ThreadPool::shutdown) whose time was up. From within a job it
    /// waits for the same threads as that.
    ///
    /// ```
    /// use std::time::Duration;
    /// use threadline_pool::ThreadPool;
    ///
    /// let pool = ThreadPool::builder().build()?;
    /// let patience = Duration::from_secs(2);
    /// assert!(pool.shutdown(patience) || pool.shutdown_now(patience));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn shutdown_now(&self, timeout: Duration) -> bool {
        let deadline = Instant::now().checked_add(timeout);
        self.shared().close();
        self.shared().cancel_waiting();
        self.shared().wait_until_ended(deadline)
    }

    /// Whether a job submitted now would have a thread to itself: one is idle that no waiting job will take,
    /// or may be started. One load of an atomic; a moment later it may be otherwise
    /// ([`submit_to_spare`](ThreadPool::submit_to_spare) is exact).
    pub fn has_spare(&self) -> bool {
        self.shared().idle_or_growable()
    }

    /// How many threads it may have.
    pub fn threads_max(&self) -> usize {
        self.shared().settings().threads_max
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.handle.0
    }
}

impl fmt::Debug for ThreadPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ThreadPool")
            .field("name", &self.shared().settings().name)
            .field("stats", &self.stats())
            .finish()
    }
}

/// A job's place in the queue of its pool, for [`ThreadPool::withdraw`]. Returned by [`ThreadPool::try_submit`],
/// [`ThreadPool::submit_to_spare`] and [`ThreadPool::submit_essential`]. No other job of that pool ever gets the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Ticket(Option<Position>);

/// What all handles share. Its drop is the last handle's drop.
struct Handle(Arc<Shared>);

impl Drop for Handle {
    fn drop(&mut self) {
        self.0.close();
        if self.0.settings().on_drop == OnDrop::Cancel {
            self.0.cancel_waiting();
        }
    }
}
