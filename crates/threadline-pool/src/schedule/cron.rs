//! Cron expressions: the times of day of a time zone, as moments.
//!
//! Called by timetables; looks at no clock. `fields.rs` reads the expression, `pattern.rs` says which
//! *civil* times (what a clock on the wall shows) match. What becomes of civil times that a change of the
//! zone's offset skips or repeats is decided here; `jiff` knows the zones.

mod fields;
mod pattern;

use std::fmt;
use std::time::SystemTime;

use jiff::civil::DateTime;
use jiff::tz::{AmbiguousOffset, TimeZone};
use jiff::{SignedDuration, Timestamp};

use self::pattern::Pattern;
use super::ScheduleError;

/// A cron expression in a time zone.
///
/// Five fields: minute, hour, day of month, month, day of week, as in crontab(5):
///
/// | in | may be |
/// | --- | --- |
/// | every field | `*`, a number, a range `a-b`, with a step `*/n`, `a-b/n`, `a/n` (from `a` to the end), a list of these `a,b` |
/// | day of month | `L`, the last day; `15W`, the weekday (Monday to Friday) nearest to the 15th in its month |
/// | month | `JAN` to `DEC`, in any case |
/// | day of week | `SUN` to `SAT`, in any case; 0 and 7 are Sunday; `5L`, the last Friday of the month; `5#3`, the third |
///
/// A range may begin or end on Sunday (`SUN-TUE`, `FRI-SUN`); others that run around the end (`22-2`) are
/// refused: write `22-23,0-2`. If both kinds of day are restricted, either will do, unless one of the two
/// begins with `*` (`*/2`): then both must match, as in cron(8).
///
/// Or a name for the whole: `@yearly` (or `@annually`), `@monthly`, `@weekly`, `@daily` (or `@midnight`),
/// `@hourly`.
///
/// **When the clocks change** (daylight saving), a time of day that is skipped comes at the first
/// moment after the gap, once; a time of day that happens twice comes the first time only. But with
/// `*` as the hour an expression is not about times of day: it comes in each hour that passes, in
/// both of a repeated one, and a skipped one is none.
///
/// ```
/// use std::time::{Duration, SystemTime};
/// use threadline_pool::schedule::Cron;
///
/// let nightly = Cron::parse("30 2 * * MON-FRI", "Europe/Berlin")?;
/// // Monday, 3 June 2024, 12:00 UTC; then Tuesday 2:30 in Berlin, which is 0:30 UTC.
/// let noon = SystemTime::UNIX_EPOCH + Duration::from_secs(1_717_416_000);
/// let next = nightly.next_after(noon).expect("there is a next weekday");
/// assert_eq!(next.duration_since(noon)?, Duration::from_secs(12 * 3600 + 30 * 60));
///
/// let error = Cron::parse("61 2 * * *", "UTC").unwrap_err().to_string();
/// let problem = "cron expression \"61 2 * * *\": minute \"61\": 61 is out of range; expected 0-59";
/// assert!(error.starts_with(problem), "{error}");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Cron {
    pattern: Pattern,
    hours: Hours,
    zone: TimeZone,
    text: String,
}

/// What the hour field is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Hours {
    /// Times of day.
    Named,
    /// `*`: the hours that pass.
    Each,
}

impl Cron {
    /// An expression in the time zone of this IANA name: `"Europe/Berlin"`, `"UTC"`. Zones are read
    /// from the system's database, `/usr/share/zoneinfo` on Linux.
    ///
    /// # Errors
    /// [`ScheduleError::Pattern`] if the expression is not one, or no date matches it;
    /// [`ScheduleError::TimeZone`] if the system knows no such zone.
    pub fn parse(expression: &str, zone: &str) -> Result<Self, ScheduleError> {
        let zone = TimeZone::get(zone).map_err(|error| ScheduleError::TimeZone {
            zone: zone.to_owned(),
            problem: error.to_string(),
        })?;
        Self::in_zone(expression, zone)
    }

    /// An expression in the system's time zone (`TZ`, or `/etc/localtime`), as it is set now.
    ///
    /// # Errors
    /// As for [`parse`](Cron::parse).
    pub fn local(expression: &str) -> Result<Self, ScheduleError> {
        let zone = TimeZone::try_system().map_err(|error| ScheduleError::TimeZone {
            zone: "local".to_owned(),
            problem: error.to_string(),
        })?;
        Self::in_zone(expression, zone)
    }

    fn in_zone(expression: &str, zone: TimeZone) -> Result<Self, ScheduleError> {
        let refused =
            |problem: String| ScheduleError::Pattern { expression: expression.to_owned(), problem };
        let fields = fields::split(expression).map_err(refused)?;
        let pattern = fields::parse(fields).map_err(refused)?;
        let [_minute, hour, day_of_month, month, day_of_week] = fields;
        // From any moment on, what comes at all comes within 40 years.
        if pattern.next_after(DateTime::constant(2024, 1, 1, 0, 0, 0, 0)).is_none() {
            return Err(refused(format!(
                "it never matches: no date has day of month {day_of_month:?}, month {month:?} and day \
                 of week {day_of_week:?}"
            )));
        }
        let hours = if hour == "*" { Hours::Each } else { Hours::Named };
        let text = expression.split_ascii_whitespace().collect::<Vec<_>>().join(" ");
        Ok(Cron { pattern, hours, zone, text })
    }

    /// The first moment after this one at which the expression comes. None if that would be beyond the
    /// year 9999: what comes at all comes within 40 years.
    pub fn next_after(&self, moment: SystemTime) -> Option<SystemTime> {
        let moment = Timestamp::try_from(moment).ok()?;
        let next = match self.hours {
            Hours::Named => self.next_time_of_day(moment),
            Hours::Each => self.next_of_each_hour(moment),
        };
        SystemTime::try_from(next?).ok()
    }

    /// Civil time after civil time, until one comes later than `moment`: those of the second pass
    /// through a repeated stretch have come already, the first time.
    fn next_time_of_day(&self, moment: Timestamp) -> Option<Timestamp> {
        let mut civil = self.zone.to_datetime(moment);
        for _ in 0..MINUTES_REPEATED_MAX {
            civil = self.pattern.next_after(civil)?;
            let at = self.first_moment_of(civil)?;
            if at > moment {
                return Some(at);
            }
        }
        None
    }

    /// When a clock on the wall first shows this time, or a later one if it never does.
    fn first_moment_of(&self, civil: DateTime) -> Option<Timestamp> {
        let moment = self.zone.to_ambiguous_timestamp(civil);
        match moment.offset() {
            AmbiguousOffset::Gap { .. } => {
                // By the new offset it lies before the change; what follows is the change.
                let before = moment.earlier().ok()?;
                self.zone.following(before).next().map(|change| change.timestamp())
            }
            _ => moment.earlier().ok(),
        }
    }

    /// From one stretch of constant offset to the next, until one holds a match.
    fn next_of_each_hour(&self, moment: Timestamp) -> Option<Timestamp> {
        let mut stretch = moment;
        // Nothing between the two matches.
        let mut after = self.zone.to_datetime(moment);
        let mut next = self.pattern.next_after(after)?;
        for _ in 0..STRETCHES_MAX {
            let at = self.zone.to_offset(stretch).to_timestamp(next).ok()?;
            match self.zone.following(stretch).next() {
                Some(change) if change.timestamp() <= at => stretch = change.timestamp(),
                _ => return Some(at),
            }
            // The search leaves out where it begins, and the moment of the change may match.
            let just_before = SignedDuration::from_nanos(1);
            let begin = self.zone.to_datetime(stretch).checked_sub(just_before).ok()?;
            if !(after..next).contains(&begin) {
                after = begin;
                next = self.pattern.next_after(after)?;
            }
        }
        None
    }
}

/// A zone may repeat up to a day, when it moves across the date line.
const MINUTES_REPEATED_MAX: usize = 24 * 60;

/// Changes of offset within 40 years: no zone has had more than a few a year.
const STRETCHES_MAX: usize = 1_000;

impl fmt::Debug for Cron {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Cron({self})")
    }
}

impl fmt::Display for Cron {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.text, self.zone.iana_name().unwrap_or("local"))
    }
}

#[cfg(all(test, not(loom)))]
#[path = "tests/cron.rs"]
mod tests;
