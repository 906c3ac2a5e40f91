//! How often a periodic job runs, as its user says it.

use std::time::Duration;

/// A period: of the starts of a job's runs, or between its runs.
///
/// The first run comes one period after the job was added, unless [`first_after`](Every::first_after)
/// says otherwise. Measured in monotonic time: setting the clock moves nothing. Time during which
/// the machine is suspended does not count (on Linux).
///
/// ```
/// use std::time::Duration;
/// use threadline_pool::schedule::Every;
///
/// // At 0 s, 10 s, 20 s, ... from now, however long a run takes.
/// let beat = Every::fixed_rate(Duration::from_secs(10)).first_after(Duration::ZERO);
/// // A second of peace between the end of a run and the start of the next.
/// let gentle = Every::fixed_delay(Duration::from_secs(1));
/// assert_ne!(beat, gentle);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Every {
    pub(super) pace: Pace,
    pub(super) first_after: Duration,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pace {
    /// From start to start, on a grid that is fixed when the job is added.
    FixedRate(Duration),
    /// From the end of a run to the start of the next.
    FixedDelay(Duration),
}

impl Every {
    /// Starts on a grid of `period`. A run that lasts longer makes the next one late, which starts
    /// when it ends; of further starts that pass meanwhile, none is made up for: they are counted as
    /// missed, and the grid stays.
    pub fn fixed_rate(period: Duration) -> Self {
        Every { pace: Pace::FixedRate(period), first_after: period }
    }

    /// A pause of `delay` between the end of a run and the start of the next. Nothing is ever
    /// missed, and the starts wander.
    pub fn fixed_delay(delay: Duration) -> Self {
        Every { pace: Pace::FixedDelay(delay), first_after: delay }
    }

    /// When the first run comes, counted from when the job is added. Default: after one period.
    #[must_use]
    pub fn first_after(mut self, first_after: Duration) -> Self {
        self.first_after = first_after;
        self
    }

    pub(super) fn period(&self) -> Duration {
        match self.pace {
            Pace::FixedRate(period) | Pace::FixedDelay(period) => period,
        }
    }
}
