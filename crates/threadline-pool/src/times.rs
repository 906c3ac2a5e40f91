//! The pool's watch: how long jobs waited and ran.
//!
//! Read outside the pool's locks, recorded under the tray's. Switched off it costs one branch a job
//! and no memory; nothing in the pool decides by it.

use std::time::Instant;

use crate::histogram::{Histogram, Recorder};

/// How long jobs waited and ran, from [`ThreadPool::times`](crate::ThreadPool::times).
///
/// Both times of a job are recorded when it ends. While more than 8 jobs wait, one of 16 that come
/// is measured and counts for 16: looking at the clock costs more than a small job. Jobs that their
/// submitter ran itself are not in it. Empty if the pool does not measure
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

/// So many jobs may wait before only some of those that come are measured.
const CROWD: usize = 8;

/// Of those in a crowd, one in so many is.
const ONE_IN: u64 = 16;

/// Set in the moment of a job that stands for [`ONE_IN`].
const FOR_MANY: u64 = 1 << 63;

/// A moment, in nanoseconds since the pool was made: half the size of an `Instant`, of which each
/// queued job would have one. 0 of a job that is not measured.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Moment(u64);

impl Moment {
    fn is_known(self) -> bool {
        self.0 != 0
    }

    /// How many jobs this one stands for.
    fn weight(self) -> u64 {
        if self.0 & FOR_MANY == 0 { 1 } else { ONE_IN }
    }

    /// Zero if `earlier` is the later one: the two may have been read by different threads.
    fn ns_since(self, earlier: Moment) -> u64 {
        self.0.saturating_sub(earlier.0 & !FOR_MANY)
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

    /// When a job is submitted as the pool's `number`th, while `waiting` others wait.
    pub(crate) fn submission(&self, number: u64, waiting: usize) -> Moment {
        if self.0.is_none() || waiting <= CROWD {
            self.now()
        } else if number.is_multiple_of(ONE_IN) {
            Moment(self.now().0 | FOR_MANY)
        } else {
            Moment::default()
        }
    }

    /// When a job ends, if it is measured.
    pub(crate) fn end(&self, submitted: Moment) -> Moment {
        if submitted.is_known() { self.now() } else { Moment::default() }
    }

    /// When a job starts, if it is measured: when the one before it ended, if that is known.
    pub(crate) fn start(&self, submitted: Moment, ended_before: Moment) -> Moment {
        if ended_before.is_known() { ended_before } else { self.end(submitted) }
    }

    /// Reads the clock, if the pool measures: about 25 ns.
    fn now(&self) -> Moment {
        self.0.as_ref().map_or(Moment::default(), |measuring| {
            // Never 0, which means something else. Runs into the highest bit after 292 years.
            Moment((measuring.epoch.elapsed().as_nanos() as u64).max(1))
        })
    }

    /// A job ended. Under the tray's lock only.
    pub(crate) fn record(&self, submitted: Moment, started: Moment, ended: Moment) {
        if let Some(measuring) = &self.0
            && submitted.is_known()
        {
            let weight = submitted.weight();
            measuring.queue_wait.record(started.ns_since(submitted), weight);
            measuring.run.record(ended.ns_since(started), weight);
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
        assert_eq!(watch.submission(1, 0), Moment(0));
        watch.record(Moment(0), Moment(1), Moment(2));
        assert_eq!((watch.read().run.count(), watch.read().queue_wait.count()), (0, 0));
    }

    #[test]
    fn in_a_crowd_one_stands_for_many() {
        let watch = Watch::new(true);
        assert!((1..=40).all(|number| watch.submission(number, CROWD).weight() == 1));
        let known = |number: &u64| watch.submission(*number, CROWD + 1).is_known();
        assert_eq!((1..=40).filter(known).collect::<Vec<_>>(), [16, 32]);
        let submitted = watch.submission(16, CROWD + 1);
        let started = watch.start(submitted, Moment::default());
        watch.record(submitted, started, Moment(started.0 + 1_000));
        let times = watch.read();
        assert_eq!((times.run.count(), times.queue_wait.count()), (16, 16));
        assert_eq!(times.run.max(), Duration::from_nanos(1_000));
        assert!(times.queue_wait.max() < Duration::from_secs(60), "the mark is no time");
    }

    #[test]
    fn a_job_that_is_not_measured_needs_no_clock() {
        let watch = Watch::new(true);
        let unknown = Moment::default();
        assert!(!watch.end(unknown).is_known() && !watch.start(unknown, unknown).is_known());
        watch.record(unknown, Moment(5), Moment(6));
        assert_eq!(watch.read().run.count(), 0);
    }
}
