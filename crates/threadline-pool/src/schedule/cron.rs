//! Cron expressions: the times of day of a time zone, as moments.
//!
//! The `cronexpr` crate says which *civil* times (what a clock on the wall shows) match, and is asked
//! as if in UTC, where each exists once. What becomes of civil times that a change of the zone's
//! offset skips or repeats is decided here. Called by timetables; looks at no clock.

use std::fmt;
use std::time::SystemTime;

use cronexpr::jiff::civil::DateTime;
use cronexpr::jiff::tz::{AmbiguousOffset, Offset, TimeZone};
use cronexpr::jiff::{SignedDuration, Timestamp};
use cronexpr::{Crontab, FallbackTimezoneOption, MakeTimestamp, ParseOptions};

use super::ScheduleError;

/// A cron expression in a time zone.
///
/// Five fields: minute, hour, day of the month, month, day of the week (0 and 7 are Sunday), with
/// lists, ranges and steps, names of months and days, `L`, `W` and `#`, as the [`cronexpr`] crate has
/// them. If both kinds of day are restricted, either will do, as in cron(8).
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
/// let error = Cron::parse("61 2 * * *", "UTC").unwrap_err();
/// assert!(error.to_string().starts_with("cron expression \"61 2 * * *\""));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Cron {
    /// Its time zone is UTC, and what it takes for UTC are civil times of `zone`.
    pattern: Crontab,
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
    /// [`ScheduleError::Pattern`] if the expression is not one, or matches no day within four years;
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
        let fields: Vec<_> = expression.split_ascii_whitespace().collect();
        let [_minute, hour, _day, _month, _weekday] = fields[..] else {
            let problem = "it must have five fields: minute, hour, day of the month, month, \
                           day of the week";
            return Err(refused(problem.to_owned()));
        };
        let mut options = ParseOptions::default();
        options.fallback_timezone_option = FallbackTimezoneOption::UTC;
        let pattern = cronexpr::parse_crontab_with(&fields.join(" "), options)
            .map_err(|error| refused(reason(&error)))?;
        let hours = if hour == "*" { Hours::Each } else { Hours::Named };
        let cron = Cron { pattern, hours, zone, text: fields.join(" ") };
        // From a leap year's eve, so that what only matches a 29th of February is found.
        if cron.next_civil(DateTime::constant(2024, 1, 1, 0, 0, 0, 0)).is_none() {
            return Err(refused("it never matches: there is no such day".to_owned()));
        }
        Ok(cron)
    }

    /// The first moment after this one at which the expression comes. None if there is none within
    /// about four years, or the moment is beyond the year 9999.
    pub fn next_after(&self, moment: SystemTime) -> Option<SystemTime> {
        let moment = Timestamp::try_from(moment).ok()?;
        let next = match self.hours {
            Hours::Named => self.next_time_of_day(moment),
            Hours::Each => self.next_of_each_hour(moment),
        };
        next.map(SystemTime::from)
    }

    /// Civil time after civil time, until one comes later than `moment`: those of the second pass
    /// through a repeated stretch have come already, the first time.
    fn next_time_of_day(&self, moment: Timestamp) -> Option<Timestamp> {
        let mut civil = self.zone.to_datetime(moment);
        for _ in 0..MINUTES_REPEATED_MAX {
            civil = self.next_civil(civil)?;
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
        let (mut start, mut civil) = (moment, self.zone.to_datetime(moment));
        for _ in 0..STRETCHES_MAX {
            let offset = self.zone.to_offset(start);
            let at = offset.to_timestamp(self.next_civil(civil)?).ok()?;
            match self.zone.following(start).next() {
                Some(change) if change.timestamp() <= at => {
                    start = change.timestamp();
                    // The search leaves out where it begins, and the moment of the change may match.
                    let just_before = SignedDuration::from_nanos(1);
                    let first = self.zone.to_offset(start).to_datetime(start);
                    civil = first.checked_sub(just_before).ok()?;
                }
                _ => return Some(at),
            }
        }
        None
    }

    /// The first civil time after this one that matches the expression.
    fn next_civil(&self, civil: DateTime) -> Option<DateTime> {
        let as_if_utc = Offset::UTC.to_timestamp(civil).ok()?;
        let next = self.pattern.find_next(MakeTimestamp(as_if_utc)).ok()?;
        Some(next.datetime())
    }
}

/// The last line of the parser's message: the first ones show the expression, as ours does, and what
/// stands before the reason points into it.
fn reason(error: &cronexpr::Error) -> String {
    let message = error.to_string();
    let last = message.lines().last().unwrap_or_default();
    last.trim_start_matches([' ', '^']).to_owned()
}

/// A zone may repeat up to a day, when it moves across the date line.
const MINUTES_REPEATED_MAX: usize = 24 * 60 + 1;

/// Changes of offset within the four years that are searched: some zones have four a year.
const STRETCHES_MAX: usize = 32;

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
