//! Cron expressions on ordinary days, and in the nights in which the clocks change.

use super::*;

fn moment(text: &str) -> SystemTime {
    SystemTime::from(text.parse::<Timestamp>().expect("a moment"))
}

/// The next `count` moments, in UTC.
fn next(expression: &str, zone: &str, after: &str, count: usize) -> Vec<String> {
    let cron = Cron::parse(expression, zone).expect("a cron expression");
    let mut at = moment(after);
    let mut moments = Vec::new();
    for _ in 0..count {
        at = cron.next_after(at).expect("it goes on");
        moments.push(Timestamp::try_from(at).expect("a moment").to_string());
    }
    moments
}

const BERLIN: &str = "Europe/Berlin";
const NEW_YORK: &str = "America/New_York";

#[test]
fn an_ordinary_day() {
    let quarters = next("*/15 9 * * *", "UTC", "2024-06-03T09:20:31.5Z", 3);
    let expected = ["2024-06-03T09:30:00Z", "2024-06-03T09:45:00Z", "2024-06-04T09:00:00Z"];
    assert_eq!(quarters, expected);
    // 9:00 in New York in summer.
    assert_eq!(next("0 9 * * *", NEW_YORK, "2024-06-03T00:00:00Z", 1), ["2024-06-03T13:00:00Z"]);
}

#[test]
fn the_moment_itself_is_not_after_itself() {
    for expression in ["0 9 * * *", "0 * * * *"] {
        let at = next(expression, "UTC", "2024-06-03T09:00:00Z", 1);
        assert_ne!(at, ["2024-06-03T09:00:00Z"], "{expression}");
        let at = next(expression, "UTC", "2024-06-03T08:59:59.999999999Z", 1);
        assert_eq!(at, ["2024-06-03T09:00:00Z"], "{expression}");
    }
}

#[test]
fn a_time_that_does_not_exist_comes_at_the_next_moment_that_does() {
    // Berlin, 31 March 2024: 2:00 to 3:00 is skipped, at 1:00 UTC.
    let nights = next("30 2 * * *", BERLIN, "2024-03-29T12:00:00Z", 3);
    assert_eq!(nights, ["2024-03-30T01:30:00Z", "2024-03-31T01:00:00Z", "2024-04-01T00:30:00Z"]);
    // New York, 10 March 2024: the same hour, at 7:00 UTC.
    let nights = next("15 2 * * *", NEW_YORK, "2024-03-09T12:00:00Z", 2);
    assert_eq!(nights, ["2024-03-10T07:00:00Z", "2024-03-11T06:15:00Z"]);
}

#[test]
fn all_times_of_a_gap_come_as_one() {
    // 2:00, 2:15, 2:30, 2:45 and 3:00 itself.
    let night = next("*/15 2,3 * * *", BERLIN, "2024-03-31T00:50:00Z", 3);
    assert_eq!(night, ["2024-03-31T01:00:00Z", "2024-03-31T01:15:00Z", "2024-03-31T01:30:00Z"]);
}

#[test]
fn a_time_that_happens_twice_comes_the_first_time() {
    // Berlin, 27 October 2024: 2:00 to 3:00 comes at 0:00 UTC and again at 1:00 UTC.
    let nights = next("30 2 * * *", BERLIN, "2024-10-26T12:00:00Z", 2);
    assert_eq!(nights, ["2024-10-27T00:30:00Z", "2024-10-28T01:30:00Z"]);
    // New York, 3 November 2024: 1:00 to 2:00, at 5:00 UTC and again at 6:00 UTC.
    let nights = next("30 1 * * *", NEW_YORK, "2024-11-03T00:00:00Z", 2);
    assert_eq!(nights, ["2024-11-03T05:30:00Z", "2024-11-04T06:30:00Z"]);
}

#[test]
fn asked_within_the_second_pass_the_first_one_counts() {
    let next_one = |after| next("*/30 2 * * *", BERLIN, after, 1);
    assert_eq!(next_one("2024-10-27T00:10:00Z"), ["2024-10-27T00:30:00Z"]);
    for second_pass in ["2024-10-27T00:30:00Z", "2024-10-27T01:10:00Z", "2024-10-27T01:59:00Z"] {
        assert_eq!(next_one(second_pass), ["2024-10-28T01:00:00Z"], "{second_pass}");
    }
}

#[test]
fn with_any_hour_it_comes_in_each_hour_that_passes() {
    // Twice in the repeated hour,
    let autumn = next("30 * * * *", BERLIN, "2024-10-26T23:45:00Z", 3);
    assert_eq!(autumn, ["2024-10-27T00:30:00Z", "2024-10-27T01:30:00Z", "2024-10-27T02:30:00Z"]);
    // and not in the one that is skipped.
    let spring = next("30 * * * *", BERLIN, "2024-03-30T23:45:00Z", 3);
    assert_eq!(spring, ["2024-03-31T00:30:00Z", "2024-03-31T01:30:00Z", "2024-03-31T02:30:00Z"]);
    // The moment of the change is 3:00, a full hour.
    let full = next("0 * * * *", BERLIN, "2024-03-31T00:00:00Z", 2);
    assert_eq!(full, ["2024-03-31T01:00:00Z", "2024-03-31T02:00:00Z"]);
}

#[test]
fn each_minute_of_the_night_of_a_change_comes_once() {
    for (zone, evening) in [
        (BERLIN, "2024-03-30T22:00:00Z"),
        (BERLIN, "2024-10-26T22:00:00Z"),
        (NEW_YORK, "2024-03-10T04:00:00Z"),
        (NEW_YORK, "2024-11-03T04:00:00Z"),
    ] {
        let minutes = next("* * * * *", zone, evening, 600);
        let start = moment(evening);
        for (number, minute) in (1..).zip(&minutes) {
            let passed = moment(minute).duration_since(start).expect("later").as_secs();
            assert_eq!(passed, number * 60, "{zone}, {minute}");
        }
    }
}

#[test]
fn a_zone_that_skips_a_whole_day() {
    // Samoa crossed the date line and had no 30 December 2011.
    let days = next("0 12 * * *", "Pacific/Apia", "2011-12-29T00:00:00Z", 3);
    assert_eq!(days, ["2011-12-29T22:00:00Z", "2011-12-30T10:00:00Z", "2011-12-30T22:00:00Z"]);
}

#[test]
fn leap_days_are_found_and_impossible_days_refused() {
    assert_eq!(next("0 0 29 2 *", "UTC", "2024-03-01T00:00:00Z", 1), ["2028-02-29T00:00:00Z"]);
    for never in ["0 0 30 2 *", "0 0 31 4,6 *"] {
        let error = Cron::parse(never, "UTC").expect_err(never);
        assert!(error.to_string().contains("never matches"), "{error}");
    }
}

#[test]
fn what_is_no_expression_is_refused_with_what_is_wrong() {
    let refused = |expression, part: &str| {
        let error = Cron::parse(expression, "UTC").expect_err(expression).to_string();
        assert!(error.contains(part) && error.contains(expression), "{error}");
    };
    for expression in ["", "* * * *", "* * * * * *", "0 0 * * * Europe/Berlin", "@daily"] {
        refused(expression, "five fields");
    }
    refused("60 * * * *", "value must be in range 0..=59; found 60");
    refused("* * L * L", "\": ");
    refused("a * * * *", "\": ");
    let error = Cron::parse("* * * * *", "Europe/Berlinn").expect_err("no such zone");
    assert!(error.to_string().contains("Europe/Berlinn"), "{error}");
    assert!(error.to_string().contains("tzdata"), "{error}");
}

#[test]
fn it_shows_as_it_was_given() {
    let cron = Cron::parse(" 30  2 * * MON ", BERLIN).expect("a cron expression");
    assert_eq!(cron.to_string(), "30 2 * * MON Europe/Berlin");
    assert!(Cron::local("0 0 * * *").is_ok());
}
