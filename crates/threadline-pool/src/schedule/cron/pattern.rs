//! Which civil times (what a clock on the wall shows) a cron expression matches, and the next of them.
//!
//! Made by `fields.rs`, asked by `Cron`. Knows neither time zones nor the present, and never panics:
//! where the calendar ends, there is no next.

use jiff::SignedDuration;
use jiff::civil::{Date, DateTime, Time};

#[derive(Debug, Clone)]
pub(super) struct Pattern {
    pub(super) minutes: Set,
    pub(super) hours: Set,
    pub(super) months: Set,
    pub(super) days_of_month: DaysOfMonth,
    pub(super) days_of_week: DaysOfWeek,
    pub(super) match_days: MatchDays,
}

#[derive(Debug, Clone, Default)]
pub(super) struct DaysOfMonth {
    pub(super) days: Set,
    /// `L`: the last one.
    pub(super) last: bool,
    /// `15W`: days whose nearest weekday it is.
    pub(super) nearest_weekday: Set,
}

/// Days are numbered from 0, Sunday, to 6.
#[derive(Debug, Clone, Default)]
pub(super) struct DaysOfWeek {
    pub(super) days: Set,
    /// `5L`: the last Friday of the month.
    pub(super) last: Set,
    /// `5#3`: the third Friday of the month, in the third of these.
    pub(super) nth: [Set; 5],
}

/// How the two fields for days work together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum MatchDays {
    /// Both fields must match: one of them begins with `*`.
    Both,
    /// Either will do. That is a rule of cron(8), as the one above.
    Either,
}

/// How many years to search. From any date on, each possible day comes within them: the 29th of February on a given
/// day of the week takes the longest, 40 years across a century without a leap day.
const YEARS_MAX: i16 = 40;

impl Pattern {
    /// The first time after this one that matches. None if there is none within 40 years, which means
    /// that there is none at all, or if it is beyond the year 9999.
    pub(super) fn next_after(&self, civil: DateTime) -> Option<DateTime> {
        let minute = civil.date().at(civil.hour(), civil.minute(), 0, 0);
        let first = minute.checked_add(SignedDuration::from_mins(1)).ok()?;
        let mut date = first.date();
        if self.matches_date(date)
            && let Some(time) = self.time_from(first.hour(), first.minute())
        {
            return Some(date.to_datetime(time));
        }
        let first_time = self.time_from(0, 0)?;
        let year_last = date.year().saturating_add(YEARS_MAX);
        loop {
            if !self.months.contains(date.month()) {
                date = date.last_of_month();
            }
            date = date.tomorrow().ok()?;
            if date.year() > year_last {
                return None;
            }
            if self.matches_date(date) {
                return Some(date.to_datetime(first_time));
            }
        }
    }

    /// The first time of a day that matches, from this one on.
    fn time_from(&self, hour: i8, minute: i8) -> Option<Time> {
        let within_hour =
            if self.hours.contains(hour) { self.minutes.first_from(minute) } else { None };
        if let Some(minute) = within_hour {
            return Some(Time::constant(hour, minute, 0, 0));
        }
        let hour = self.hours.first_from(hour + 1)?;
        let minute = self.minutes.first_from(0)?;
        Some(Time::constant(hour, minute, 0, 0))
    }

    fn matches_date(&self, date: Date) -> bool {
        if !self.months.contains(date.month()) {
            return false;
        }
        let (of_month, of_week) = (&self.days_of_month, &self.days_of_week);
        match self.match_days {
            MatchDays::Both => of_month.matches(date) && of_week.matches(date),
            MatchDays::Either => of_month.matches(date) || of_week.matches(date),
        }
    }
}

impl DaysOfMonth {
    fn matches(&self, date: Date) -> bool {
        let day = date.day();
        self.days.contains(day)
            || self.last && day == date.days_in_month()
            || self.nearest_weekday.iter().any(|to| nearest_weekday(date, to) == Some(day))
    }
}

/// The weekday (Monday to Friday) nearest to a day of this date's month, within that month. None if the
/// month has no such day.
fn nearest_weekday(date: Date, day: i8) -> Option<i8> {
    let last = date.days_in_month();
    if day > last {
        return None;
    }
    Some(match (day_of_week(date.first_of_month()) + day - 1) % 7 {
        SATURDAY if day == 1 => 3,
        SATURDAY => day - 1,
        SUNDAY if day == last => day - 2,
        SUNDAY => day + 1,
        _ => day,
    })
}

const SUNDAY: i8 = 0;
const SATURDAY: i8 = 6;

fn day_of_week(date: Date) -> i8 {
    date.weekday().to_sunday_zero_offset()
}

impl DaysOfWeek {
    fn matches(&self, date: Date) -> bool {
        let (day, week) = (day_of_week(date), (date.day() - 1) / 7);
        self.days.contains(day)
            || self.last.contains(day) && date.day() + 7 > date.days_in_month()
            || self.nth.get(week as usize).is_some_and(|days| days.contains(day))
    }
}

/// Numbers from 0 to 59, a bit each.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Set(u64);

impl Set {
    pub(super) fn insert(&mut self, value: i8) {
        self.0 |= 1 << value;
    }

    pub(super) fn contains(self, value: i8) -> bool {
        self.0 & (1 << value) != 0
    }

    /// The smallest that is not less than this.
    fn first_from(self, value: i8) -> Option<i8> {
        (value..60).find(|value| self.contains(*value))
    }

    fn iter(self) -> impl Iterator<Item = i8> {
        (0..60).filter(move |value| self.contains(*value))
    }
}
