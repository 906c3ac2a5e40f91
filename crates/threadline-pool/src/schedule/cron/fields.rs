//! The five fields of a cron expression as text, or a name such as `@daily`: to a [`Pattern`], or to a
//! message that names the field, what is wrong with it, and what it may contain.
//!
//! Called by `Cron`. The grammar is that of crontab(5), with `L`, `W` and `#`. One thing goes further:
//! Sunday ends a range as well as it begins one, whichever of its numbers is written (`FRI-SUN`, `5-0`,
//! `7-2`). No other range runs around the end (`22-2`): crontab(5) has none, and programs that take them
//! do not agree on where a step goes on.

use std::ops::RangeInclusive;

use super::pattern::{DaysOfMonth, DaysOfWeek, MatchDays, Pattern, Set};

/// One of the five, as it is told to people and checked.
struct Field {
    name: &'static str,
    values: RangeInclusive<i8>,
    /// What values may be called, from the first one on.
    names: &'static [&'static str],
    expected: &'static str,
}

const MINUTE: Field = Field { name: "minute", values: 0..=59, names: &[], expected: "0-59" };
const HOUR: Field = Field { name: "hour", values: 0..=23, names: &[], expected: "0-23" };
const DAY_OF_MONTH: Field = Field {
    name: "day of month",
    values: 1..=31,
    names: &[],
    expected: "1-31, L (the last day), 15W (the weekday nearest to the 15th)",
};
const MONTH: Field = Field {
    name: "month",
    values: 1..=12,
    names: &["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"],
    expected: "1-12 or JAN-DEC",
};
const DAY_OF_WEEK: Field = Field {
    name: "day of week",
    values: 0..=7,
    names: &["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"],
    expected: "0-7 or SUN-SAT (0 and 7 are Sunday), 5L (the last Friday), 5#3 (the third Friday)",
};

/// What stands for whole expressions, as in crontab(5).
const NICKNAMES: [(&str, &str); 7] = [
    ("@yearly", "0 0 1 1 *"),
    ("@annually", "0 0 1 1 *"),
    ("@monthly", "0 0 1 * *"),
    ("@weekly", "0 0 * * 0"),
    ("@daily", "0 0 * * *"),
    ("@midnight", "0 0 * * *"),
    ("@hourly", "0 * * * *"),
];

/// The fields, split: minute, hour, day of month, month, day of week.
pub(super) fn split(expression: &str) -> Result<[&str; 5], String> {
    let fields: Vec<_> = expression.split_ascii_whitespace().collect();
    match fields[..] {
        [minute, hour, day_of_month, month, day_of_week] => {
            Ok([minute, hour, day_of_month, month, day_of_week])
        }
        ["@every", ..] => {
            Err("@every is not supported in an expression: call `Scheduler::every` with \
             `Every::fixed_rate`, or write steps, such as */5 * * * * for every five minutes"
                .to_owned())
        }
        ["@reboot"] => {
            Err("@reboot is not supported: submit the job when the program starts".to_owned())
        }
        [name] if name.starts_with('@') => {
            let known = NICKNAMES.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
            let (_, meaning) = known.ok_or_else(|| {
                format!(
                    "{name} is not a name for an expression: expected @yearly (or @annually), \
                     @monthly, @weekly, @daily (or @midnight) or @hourly"
                )
            })?;
            split(meaning)
        }
        [name] if is_nickname(&format!("@{name}")) => {
            Err(format!("{name} is written with an @: @{name}"))
        }
        [_, _, _, _, _, _] => Err(format!(
            "it has 6 fields: expected five fields, which are {FIVE}; seconds, years and time zones are not \
             part of an expression"
        )),
        _ => Err(format!(
            "it has {} field{}: expected five fields, which are {FIVE}, or a name such as @daily",
            fields.len(),
            if fields.len() == 1 { "" } else { "s" }
        )),
    }
}

const FIVE: &str = "minute, hour, day of month, month and day of week";

fn is_nickname(name: &str) -> bool {
    NICKNAMES.iter().any(|(known, _)| known.eq_ignore_ascii_case(name))
}

pub(super) fn parse(fields: [&str; 5]) -> Result<Pattern, String> {
    let [minute, hour, day_of_month, month, day_of_week] = fields;
    // Whether a field restricts the day is told by how it begins, as in cron(8).
    let begins_with_star = [day_of_month, day_of_week].iter().any(|field| field.starts_with('*'));
    Ok(Pattern {
        minutes: MINUTE.parse_values(minute)?,
        hours: HOUR.parse_values(hour)?,
        months: MONTH.parse_values(month)?,
        days_of_month: parse_days_of_month(day_of_month)?,
        days_of_week: parse_days_of_week(day_of_week)?,
        match_days: if begins_with_star { MatchDays::Both } else { MatchDays::Either },
    })
}

fn parse_days_of_month(text: &str) -> Result<DaysOfMonth, String> {
    let mut parsed = DaysOfMonth::default();
    DAY_OF_MONTH.parse_list(text, |item| {
        if item.eq_ignore_ascii_case("L") {
            parsed.last = true;
        } else if item.get(..2).is_some_and(|start| start.eq_ignore_ascii_case("L-")) {
            return Err(format!(
                "{item:?}, days before the last one, is not supported: write L for the last day, or \
                 numbers for days that every month has, such as 25-28"
            ));
        } else if item.eq_ignore_ascii_case("LW") {
            return Err(format!(
                "{item:?}, the last weekday, is not supported: write L for the last day, or in the day \
                 of week 5L for the last Friday"
            ));
        } else if let Some(day) = item.strip_suffix(['W', 'w']) {
            parsed.nearest_weekday.insert(DAY_OF_MONTH.value(day)?);
        } else {
            DAY_OF_MONTH.insert_range(item, &mut parsed.days)?;
        }
        Ok(())
    })?;
    Ok(parsed)
}

fn parse_days_of_week(text: &str) -> Result<DaysOfWeek, String> {
    let mut parsed = DaysOfWeek::default();
    DAY_OF_WEEK.parse_list(text, |item| {
        if let Some((day, nth)) = item.split_once('#') {
            let day = DAY_OF_WEEK.value(day)? % 7;
            let nth = number(nth).filter(|nth| (1..=5).contains(nth));
            let nth = nth.ok_or_else(|| format!("{item:?} must end with a number from 1 to 5"))?;
            parsed.nth[usize::from(nth.unsigned_abs()) - 1].insert(day);
        } else if let Some(day) = item.strip_suffix(['L', 'l']) {
            parsed.last.insert(DAY_OF_WEEK.value(day)? % 7);
        } else {
            DAY_OF_WEEK.insert_range(item, &mut parsed.days)?;
        }
        Ok(())
    })?;
    Ok(parsed)
}

impl Field {
    fn parse_values(&self, text: &str) -> Result<Set, String> {
        let mut values = Set::default();
        self.parse_list(text, |item| self.insert_range(item, &mut values))?;
        Ok(values)
    }

    /// Passes each item to `take`, and completes what that finds wrong with one.
    fn parse_list(
        &self,
        text: &str,
        mut take: impl FnMut(&str) -> Result<(), String>,
    ) -> Result<(), String> {
        text.split(',').try_for_each(&mut take).map_err(|problem| {
            let Field { name, expected, .. } = self;
            format!(
                "{name} {text:?}: {problem}; expected {expected}, *, ranges (a-b), steps (*/n, a-b/n) \
                 or a list of these (a,b)"
            )
        })
    }

    /// `*`, `a` or `a-b`, with `/n` or without. `a/n` goes on to the end.
    fn insert_range(&self, item: &str, values: &mut Set) -> Result<(), String> {
        let (range, step) = match item.split_once('/') {
            Some((range, step)) => (range, Some(self.step(step)?)),
            None => (item, None),
        };
        let last = *self.values.end();
        let range = match (range.split_once('-'), step) {
            _ if range == "*" => self.values.clone(),
            (Some((from, to)), _) => self.range(from, to)?,
            (None, Some(_)) => self.value(range)?..=last,
            (None, None) => self.value(range)?..=self.value(range)?,
        };
        let number_of = |value| if self.is_day_of_week() { value % 7 } else { value };
        range.step_by(step.unwrap_or(1)).for_each(|value| values.insert(number_of(value)));
        Ok(())
    }

    /// Where Sunday is both 0 and 7.
    fn is_day_of_week(&self) -> bool {
        self.name == DAY_OF_WEEK.name
    }

    fn range(&self, from: &str, to: &str) -> Result<RangeInclusive<i8>, String> {
        let (first, last) = match (self.value(from)?, self.value(to)?) {
            (first, 0) if self.is_day_of_week() && first > 0 => (first, 7),
            (7, last) if self.is_day_of_week() && last < 7 => (0, last),
            range => range,
        };
        if first <= last {
            return Ok(first..=last);
        }
        let lowest = self.values.start();
        let highest = if self.is_day_of_week() { 6 } else { *self.values.end() };
        let range = |first, last| {
            if first == last { format!("{first}") } else { format!("{first}-{last}") }
        };
        let (until, since) = (range(first, highest), range(*lowest, last));
        Err(format!(
            "the range {from}-{to} runs around the end, which is not supported: write {until},{since} if \
             that is meant"
        ))
    }

    fn step(&self, text: &str) -> Result<usize, String> {
        let max = *self.values.end();
        let step = number(text).filter(|step| (1..=max).contains(step));
        let step =
            step.ok_or_else(|| format!("the step {text:?} must be a number from 1 to {max}"))?;
        Ok(usize::from(step.unsigned_abs()))
    }

    fn value(&self, text: &str) -> Result<i8, String> {
        if let Some(at) = self.names.iter().position(|name| name.eq_ignore_ascii_case(text)) {
            return Ok(self.values.start() + at as i8);
        }
        match number(text) {
            Some(value) if self.values.contains(&value) => Ok(value),
            Some(_) => Err(format!("{text} is out of range")),
            None if text.is_empty() => Err("a value is missing".to_owned()),
            None if self.names.is_empty() => Err(format!("{text:?} is not a number")),
            None => Err(format!("{text:?} is neither a number nor a name")),
        }
    }
}

/// Digits only; what is too large for any field is the largest number there is.
fn number(text: &str) -> Option<i8> {
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| text.parse().unwrap_or(i8::MAX))
}
