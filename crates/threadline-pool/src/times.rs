//! The pool's watch: how long jobs waited and ran.
//!
//! Read outside the pool's locks, recorded under the tray's. Switched off it costs one branch a job
//! and no memory; nothing in the pool decides by it.

use std::time::Instant;

use crate::histogram::{Histogram, Recorder};

/// How long jobs waited and ran, from [`ThreadPool::times`](crate::ThreadPool::times).
///
/// Both times of a job are recorded when it ends. Jobs that their submitter ran itself are not in
/// it. Empty if the pool does not measure
/// ([`Builder::measure_times`](crate::Builder::measure_times)).
///
/// ```
/// use threadline_pool::ThreadPool;
///
/// let pool = ThreadPool::builder().build()?;
/// assert_eq!(pool.times().queue_wait.count(), 0);
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Times {
    /// From submitting to the start on a thread, the wait for room in a full queue included.
    pub queue_wait: Histogram,
    /// From start to end.
    pub run: Histogram,
}

/// A moment, in nanoseconds since the pool was made: half the size of an `Instant`, of which each
/// queued job would have one. 0 if the pool does not measure.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Moment(u64);

impl Moment {
    /// Zero if `earlier` is the later one: the two may have been read by different threads.
    fn ns_since(self, earlier: Moment) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

/// Tells the time and keeps the figures, or does neither.
pub(crate) struct Watch(Option<Measuring>);

struct Measuring {
    epoch: Instant,
    queue_wait: Recorder,
    run: Recorder,
}

impl Watch {
    pub(crate) fn new(measure: bool) -> Self {
        Watch(measure.then(|| Measuring {
            epoch: Instant::now(),
            queue_wait: Recorder::new(),
            run: Recorder::new(),
        }))
    }

    /// Reads the clock, if the pool measures: about 25 ns.
    pub(crate) fn now(&self) -> Moment {
        self.0.as_ref().map_or(Moment::default(), |measuring| {
            // Wraps after 584 years.
            Moment(measuring.epoch.elapsed().as_nanos() as u64)
        })
    }

    /// A job ended. Under the tray's lock only.
    pub(crate) fn record(&self, submitted: Moment, started: Moment, ended: Moment) {
        if let Some(measuring) = &self.0 {
            measuring.queue_wait.record(started.ns_since(submitted));
            measuring.run.record(ended.ns_since(started));
        }
    }

    /// A copy of the figures. Takes no lock.
    pub(crate) fn read(&self) -> Times {
        match &self.0 {
            Some(measuring) => {
                Times { queue_wait: measuring.queue_wait.read(), run: measuring.run.read() }
            }
            None => Times { queue_wait: Recorder::new().read(), run: Recorder::new().read() },
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn wait_and_run_are_told_apart() {
        let watch = Watch::new(true);
        watch.record(Moment(100), Moment(130), Moment(1_130));
        let times = watch.read();
        assert_eq!(times.queue_wait.max(), Duration::from_nanos(30));
        assert_eq!(times.run.max(), Duration::from_nanos(1_000));
    }

    #[test]
    fn moments_read_by_different_threads_may_be_out_of_order() {
        let watch = Watch::new(true);
        watch.record(Moment(200), Moment(150), Moment(160));
        assert_eq!(watch.read().queue_wait.max(), Duration::ZERO);
    }

    #[test]
    fn switched_off_it_records_nothing() {
        let watch = Watch::new(false);
        assert_eq!(watch.now(), Moment(0));
        watch.record(Moment(0), Moment(1), Moment(2));
        assert_eq!((watch.read().run.count(), watch.read().queue_wait.count()), (0, 0));
    }
}
