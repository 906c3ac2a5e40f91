//! Cron expressions on ordinary days, and in the nights in which the clocks change.

use super::*;

fn moment(text: &str) -> SystemTime {
    let moment: Timestamp = text.parse().expect("a moment");
    SystemTime::try_from(moment).expect("a system's time")
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

/// The days on which the expression comes at midnight, from the beginning of 2024 on.
fn days(expression: &str, count: usize) -> Vec<String> {
    let midnights = next(&format!("0 0 {expression}"), "UTC", "2023-12-31T23:59:59Z", count);
    midnights.iter().map(|moment| moment.replace("T00:00:00Z", "")).collect()
}

const BERLIN: &str = "Europe/Berlin";
const NEW_YORK: &str = "America/New_York";
/// Changes its clocks by half an hour: at 2:00 to 2:30 in October, and to 1:30 in April.
const LORD_HOWE: &str = "Australia/Lord_Howe";

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

/// Alaska crossed the date line on 18 October 1867, and had each minute of a day twice.
#[test]
fn a_zone_that_repeats_a_whole_day() {
    let change = "1867-10-19T00:31:13Z";
    let minutes = next("* 0-23 * * *", "America/Sitka", change, 2);
    assert_eq!(minutes, ["1867-10-20T00:31:13Z", "1867-10-20T00:32:13Z"]);
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
        (LORD_HOWE, "2024-10-05T14:00:00Z"),
        (LORD_HOWE, "2024-04-06T13:00:00Z"),
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
fn changes_of_half_an_hour() {
    // 2:15 does not exist on 6 October 2024: 2:30 is the first moment after the gap, at 15:30 UTC.
    let nights = next("15 2 * * *", LORD_HOWE, "2024-10-04T12:00:00Z", 3);
    assert_eq!(nights, ["2024-10-04T15:45:00Z", "2024-10-05T15:30:00Z", "2024-10-06T15:15:00Z"]);
    // 1:45 exists twice on 7 April 2024.
    let nights = next("45 1 * * *", LORD_HOWE, "2024-04-05T12:00:00Z", 3);
    assert_eq!(nights, ["2024-04-05T14:45:00Z", "2024-04-06T14:45:00Z", "2024-04-07T15:15:00Z"]);
    // The hour from 1:00 to 2:00 lasts an hour and a half, and has two quarters to 2.
    let hours = next("45 * * * *", LORD_HOWE, "2024-04-06T14:30:00Z", 3);
    assert_eq!(hours, ["2024-04-06T14:45:00Z", "2024-04-06T15:15:00Z", "2024-04-06T16:15:00Z"]);
    // Full hours: 1:00, then 3:00, for there is no 2:00.
    let hours = next("0 * * * *", LORD_HOWE, "2024-10-05T14:00:00Z", 2);
    assert_eq!(hours, ["2024-10-05T14:30:00Z", "2024-10-05T16:00:00Z"]);
}

/// What is next lies beyond one change of the clocks, or beyond many.
#[test]
fn offsets_are_those_of_the_day_that_is_found() {
    for hour in ["*", "0", "0-23"] {
        let expression = |days: &str| format!("0 {hour} {days} *");
        // Winter time, asked in summer; summer time, asked in winter.
        let after = "2024-07-01T00:00:00Z";
        assert_eq!(next(&expression("1 12"), BERLIN, after, 1), ["2024-11-30T23:00:00Z"]);
        let after = "2024-12-02T00:00:00Z";
        assert_eq!(next(&expression("1 7"), BERLIN, after, 1), ["2025-06-30T22:00:00Z"]);
        // Eight changes, by the rules that hold for all years to come.
        let after = "2024-03-01T00:00:00Z";
        assert_eq!(next(&expression("29 2"), BERLIN, after, 1), ["2028-02-28T23:00:00Z"]);
        let after = "2096-03-01T12:00:00Z";
        assert_eq!(next(&expression("29 2"), NEW_YORK, after, 1), ["2104-02-29T05:00:00Z"]);
        assert_eq!(next(&expression("29 2"), LORD_HOWE, after, 1), ["2104-02-28T13:00:00Z"]);
    }
}

/// The match that the old offset would have is skipped, or comes again.
#[test]
fn a_change_right_before_the_match_is_not_overlooked() {
    // 2:30 of that one day is skipped, and each hour's half past is counted from the change on.
    let days = next("30 2 31 3 *", BERLIN, "2024-01-01T00:00:00Z", 2);
    assert_eq!(days, ["2024-03-31T01:00:00Z", "2025-03-31T00:30:00Z"]);
    let hours = next("30 * 31 3 *", BERLIN, "2024-03-31T00:45:00Z", 1);
    assert_eq!(hours, ["2024-03-31T01:30:00Z"]);
    // From 23:45 on 30 October 2011 a match was found in a day that Samoa never had, two months on.
    let hours = next("0 * 30 12 *", "Pacific/Apia", "2011-10-30T00:00:00Z", 1);
    assert_eq!(hours, ["2012-12-29T10:00:00Z"]);
    // Midnight of 1 November 2015 came twice in Havana.
    let hours = next("0 * 1 11 *", "America/Havana", "2015-10-30T00:00:00Z", 3);
    assert_eq!(hours, ["2015-11-01T04:00:00Z", "2015-11-01T05:00:00Z", "2015-11-01T06:00:00Z"]);
    let midnights = next("0 0 1 11 *", "America/Havana", "2015-10-30T00:00:00Z", 2);
    assert_eq!(midnights, ["2015-11-01T04:00:00Z", "2016-11-01T04:00:00Z"]);
}

#[test]
fn the_calendar_is_searched_as_far_as_it_needs() {
    let leap = |after| next("0 0 29 2 *", "UTC", after, 1);
    assert_eq!(leap("2024-03-01T00:00:00Z"), ["2028-02-29T00:00:00Z"]);
    // 2100 is no leap year.
    assert_eq!(leap("2096-02-29T00:00:00Z"), ["2104-02-29T00:00:00Z"]);
    let fifth_monday = next("0 0 * 2 MON#5", "UTC", "2016-02-29T00:00:00Z", 3);
    let expected = ["2044-02-29T00:00:00Z", "2072-02-29T00:00:00Z", "2112-02-29T00:00:00Z"];
    assert_eq!(fifth_monday, expected);
    // The same with `*` as the hour, in a zone with two changes a year.
    let night = next("0 * * 2 MON#5", BERLIN, "2072-03-01T00:00:00Z", 1);
    assert_eq!(night, ["2112-02-28T23:00:00Z"]);
}

/// The calendar repeats itself after 400 years.
#[test]
fn nothing_that_comes_at_all_takes_longer_than_40_years() {
    let mut longest = 0;
    for day in 0..7 {
        let cron = Cron::parse(&format!("0 0 * 2 {day}#5"), "UTC").expect("a cron expression");
        let mut at = DateTime::constant(1999, 12, 31, 0, 0, 0, 0);
        while at.year() < 2440 {
            let next = cron.pattern.next_after(at).expect("it comes");
            longest = longest.max(next.year() - at.year());
            at = next;
        }
    }
    assert_eq!(longest, 40);
}

#[test]
fn there_is_an_end_of_time_and_no_panic() {
    // The last moment that there is lies a little before the end of 9999, in every zone.
    let last = next("0 0 30 12 *", "UTC", "9999-12-29T00:00:00Z", 1);
    assert_eq!(last, ["9999-12-30T00:00:00Z"]);
    let moments = [
        "9990-01-01T00:00:00Z",
        "9996-03-01T00:00:00Z",
        "9999-12-29T00:00:00Z",
        "9999-12-30T21:59:00Z",
        "9999-12-30T22:00:00.999999999Z",
        "-009999-01-02T02:00:00Z",
        "-009998-12-31T00:00:00Z",
    ];
    let expressions = [
        "* * * * *",
        "0 0 * * *",
        "0 0 L * *",
        "0 * L * *",
        "59 23 31 12 *",
        "0 0 31W * 5L",
        "0 * 29 2 *",
        "0 0 29 2 *",
        "* * * * 1#5",
        "*/7 */5 */3 */2 */2",
    ];
    let zones = ["UTC", BERLIN, NEW_YORK, LORD_HOWE, "Pacific/Kiritimati", "Pacific/Pago_Pago"];
    for expression in expressions {
        for zone in zones {
            let cron = Cron::parse(expression, zone).expect("a cron expression");
            for moment in moments.map(moment) {
                let mut after = moment;
                for _ in 0..100 {
                    let Some(next) = cron.next_after(after) else { break };
                    assert!(next > after, "{cron} after {moment:?}");
                    after = next;
                }
            }
        }
    }
    for expression in ["0 0 31 12 *", "0 * 31 12 *"] {
        let cron = Cron::parse(expression, "UTC").expect("a cron expression");
        assert_eq!(cron.next_after(moment("9999-12-30T22:00:00Z")), None);
    }
    let leap = Cron::parse("0 0 29 2 *", "UTC").expect("a cron expression");
    assert_eq!(leap.next_after(moment("9996-03-01T00:00:00Z")), None);
    // Beyond what a calendar can say.
    let beyond = SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1 << 50);
    assert_eq!(leap.next_after(beyond), None);
    assert_eq!(
        leap.next_after(SystemTime::UNIX_EPOCH - std::time::Duration::from_secs(1 << 50)),
        None
    );
}

#[test]
fn days_that_never_come_are_refused() {
    for never in
        ["0 0 30 2 *", "0 0 31 4,6 *", "0 0 31W 4,6,9,11 *", "0 0 30W 2 */2", "0 0 */30 2 6#5"]
    {
        let error = Cron::parse(never, "UTC").expect_err(never);
        assert!(
            error.to_string().contains("it never matches: no date has day of month"),
            "{error}"
        );
    }
}

#[test]
fn lists_ranges_and_steps() {
    let minutes = |field: &str| {
        let moments = next(&format!("{field} 9 * * *"), "UTC", "2024-06-03T08:59:59Z", 60);
        let first_day = moments.iter().take_while(|moment| moment.starts_with("2024-06-03"));
        first_day.map(|moment| moment[14..16].parse().expect("a minute")).collect::<Vec<u8>>()
    };
    assert_eq!(minutes("0"), [0]);
    assert_eq!(minutes("59,07,7,3-5"), [3, 4, 5, 7, 59]);
    assert_eq!(minutes("*/20"), [0, 20, 40]);
    assert_eq!(minutes("10-20/5"), [10, 15, 20]);
    assert_eq!(minutes("50/4"), [50, 54, 58]);
    assert_eq!(minutes("*/59"), [0, 59]);
    assert_eq!(minutes("1,*/30"), [0, 1, 30]);
    let hours = next("5 0-23/11,21 * * *", "UTC", "2024-06-03T00:05:00Z", 4);
    let expected =
        ["03T11:05", "03T21:05", "03T22:05", "04T00:05"].map(|at| format!("2024-06-{at}:00Z"));
    assert_eq!(hours, expected);
}

#[test]
fn days_of_the_month_and_months() {
    assert_eq!(days("30 * *", 3), ["2024-01-30", "2024-03-30", "2024-04-30"]);
    assert_eq!(
        days("15 FEB-apr/2,Dec *", 4),
        ["2024-02-15", "2024-04-15", "2024-12-15", "2025-02-15"]
    );
    assert_eq!(days("1,*/15 1 *", 4), ["2024-01-01", "2024-01-16", "2024-01-31", "2025-01-01"]);
    // The last of each month: of February in both kinds of year, and of December.
    let last = days("L 1,2,12 *", 6);
    let expected =
        ["2024-01-31", "2024-02-29", "2024-12-31", "2025-01-31", "2025-02-28", "2025-12-31"];
    assert_eq!(last, expected);
    // 13 January and 14 July 2024 are a Saturday and a Sunday.
    assert_eq!(days("13W 1 *", 1), ["2024-01-12"]);
    assert_eq!(days("14w 7 *", 1), ["2024-07-15"]);
    assert_eq!(days("15W 1 *", 1), ["2024-01-15"]);
    // Not into another month: 1 June 2024 is a Saturday, 30 June and 31 March a Sunday.
    assert_eq!(days("1W 6 *", 1), ["2024-06-03"]);
    assert_eq!(days("30W 6 *", 1), ["2024-06-28"]);
    assert_eq!(days("31W 3,4,5 *", 2), ["2024-03-29", "2024-05-31"]);
    // 1 September 2024 is a Sunday.
    assert_eq!(days("1W,20 9 *", 2), ["2024-09-02", "2024-09-20"]);
}

#[test]
fn days_of_the_week() {
    // 1 January 2024 is a Monday.
    assert_eq!(days("* * MON", 2), ["2024-01-01", "2024-01-08"]);
    for sunday in ["0", "7", "SUN", "sun", "SUN-SUN", "0-0", "7-7"] {
        assert_eq!(days(&format!("* * {sunday}"), 2), ["2024-01-07", "2024-01-14"], "{sunday}");
    }
    let weekend = ["2024-01-05", "2024-01-06", "2024-01-07", "2024-01-12"];
    for field in ["FRI-SUN", "fri-sun", "5-7", "5-0", "5-SUN", "FRI-7", "SUN,5-6", "FRI-SUN/1"] {
        assert_eq!(days(&format!("* * {field}"), 4), weekend, "{field}");
    }
    for field in ["SUN-TUE", "0-2", "7-2", "7-TUE"] {
        let start = ["2024-01-01", "2024-01-02", "2024-01-07", "2024-01-08"];
        assert_eq!(days(&format!("* * {field}"), 4), start, "{field}");
    }
    for all in ["0-7", "SUN-SAT", "MON-SUN", "0-6", "1-7", "*"] {
        let week = days(&format!("* * {all}"), 8);
        assert_eq!(week.last().map(String::as_str), Some("2024-01-08"), "{all}");
    }
    assert_eq!(days("* * MON-SUN/2", 4), ["2024-01-01", "2024-01-03", "2024-01-05", "2024-01-07"]);
    assert_eq!(days("* * WED/3", 3), ["2024-01-03", "2024-01-06", "2024-01-10"]);
    assert_eq!(days("* * FRI/2", 2), ["2024-01-05", "2024-01-07"]);
    // The last Friday, in December too; the last Sunday by each of its numbers.
    assert_eq!(days("* 1,12 5L", 3), ["2024-01-26", "2024-12-27", "2025-01-31"]);
    for field in ["0L", "7L", "SUNl"] {
        assert_eq!(days(&format!("* 6 {field}"), 1), ["2024-06-30"], "{field}");
    }
    // 29 February 2024 is a Thursday, the fifth; the fourth is not the last.
    assert_eq!(days("* 2 THUL", 1), ["2024-02-29"]);
    assert_eq!(
        days("* 1 MON#1,2#2,WED#3,4#4,3#5", 5),
        ["2024-01-01", "2024-01-09", "2024-01-17", "2024-01-25", "2024-01-31"]
    );
    assert_eq!(days("* 6 7#5,0#1", 2), ["2024-06-02", "2024-06-30"]);
}

/// As in cron(8).
#[test]
fn either_kind_of_day_will_do_unless_a_field_begins_with_a_star() {
    // The 3rd, or a Friday.
    assert_eq!(days("3 1 FRI", 3), ["2024-01-03", "2024-01-05", "2024-01-12"]);
    assert_eq!(days("1-31 1 FRI", 2), ["2024-01-01", "2024-01-02"]);
    assert_eq!(days("10,* 1 FRI", 2), ["2024-01-01", "2024-01-02"]);
    // An odd day, and a Friday.
    assert_eq!(days("*/2 1 FRI", 2), ["2024-01-05", "2024-01-19"]);
    assert_eq!(days("*,10 1 FRI", 2), ["2024-01-05", "2024-01-12"]);
    // The 5th or 6th, and a Sunday, Tuesday, Thursday or Saturday.
    assert_eq!(days("5,6 1-3 */2", 3), ["2024-01-06", "2024-02-06", "2024-03-05"]);
}

#[test]
fn names_stand_for_expressions() {
    for (name, expression) in [
        ("@yearly", "0 0 1 1 *"),
        ("@annually", "0 0 1 1 *"),
        ("@monthly", "0 0 1 * *"),
        ("@weekly", "0 0 * * SUN"),
        ("@daily", "0 0 * * *"),
        ("@midnight", "0 0 * * *"),
        (" @Hourly ", "0 * * * *"),
    ] {
        // Across both changes of a year.
        let after = "2024-02-27T12:34:56Z";
        assert_eq!(next(name, BERLIN, after, 9), next(expression, BERLIN, after, 9), "{name}");
        assert_eq!(
            Cron::parse(name, "UTC").expect(name).to_string(),
            format!("{} UTC", name.trim())
        );
    }
    // The hours that pass, not times of day.
    let autumn = next("@hourly", BERLIN, "2024-10-26T23:30:00Z", 3);
    assert_eq!(autumn, ["2024-10-27T00:00:00Z", "2024-10-27T01:00:00Z", "2024-10-27T02:00:00Z"]);
    for unknown in ["@dayly", "@"] {
        let error = Cron::parse(unknown, "UTC").expect_err(unknown).to_string();
        let problem = format!("{unknown} is not a name for an expression: expected @yearly");
        assert!(error.contains(&problem), "{error}");
    }
}

#[test]
fn messages_name_the_field_and_what_it_may_contain() {
    let problem = |expression: &str| {
        let error = Cron::parse(expression, "UTC").expect_err(expression).to_string();
        let problem = error.strip_prefix(&format!("cron expression {expression:?}: "));
        problem.expect("the expression comes first").to_owned()
    };
    let common = "*, ranges (a-b), steps (*/n, a-b/n) or a list of these (a,b)";
    for (expression, expected) in [
        ("60 * * * *", "minute \"60\": 60 is out of range; expected 0-59"),
        ("* 24 * * *", "hour \"24\": 24 is out of range; expected 0-23"),
        (
            "* * 0 * *",
            "day of month \"0\": 0 is out of range; expected 1-31, L (the last day), 15W (the weekday \
             nearest to the 15th)",
        ),
        ("* * * 13 *", "month \"13\": 13 is out of range; expected 1-12 or JAN-DEC"),
        (
            "* * * * 8",
            "day of week \"8\": 8 is out of range; expected 0-7 or SUN-SAT (0 and 7 are Sunday), 5L \
             (the last Friday), 5#3 (the third Friday)",
        ),
    ] {
        assert_eq!(problem(expression), format!("{expected}, {common}"));
    }
    for (expression, expected) in [
        ("a * * * *", "minute \"a\": \"a\" is not a number;"),
        ("* 1,,2 * * *", "hour \"1,,2\": a value is missing;"),
        ("* 1, * * *", "hour \"1,\": a value is missing;"),
        ("* 1- * * *", "hour \"1-\": a value is missing;"),
        ("-1 * * * *", "minute \"-1\": a value is missing;"),
        ("+1 * * * *", "minute \"+1\": \"+1\" is not a number;"),
        (
            "* * L-1 * *",
            "day of month \"L-1\": \"L-1\", days before the last one, is not supported",
        ),
        ("* * 1,l-3 * *", "day of month \"1,l-3\": \"l-3\", days before the last one, is not supp"),
        ("* * 32W * *", "day of month \"32W\": 32 is out of range;"),
        ("* * LW * *", "day of month \"LW\": \"LW\", the last weekday, is not supported: write L"),
        ("@every 5m", "@every is not supported in an expression: call `Scheduler::every`"),
        ("@every", "@every is not supported in an expression: call `Scheduler::every`"),
        ("@reboot", "@reboot is not supported: submit the job when the program starts"),
        ("daily", "daily is written with an @: @daily"),
        ("Hourly", "Hourly is written with an @: @Hourly"),
        ("* * W * *", "day of month \"W\": a value is missing;"),
        ("* * ? * *", "day of month \"?\": \"?\" is not a number;"),
        ("* * * JANUARY *", "month \"JANUARY\": \"JANUARY\" is neither a number nor a name;"),
        ("* * * MON *", "month \"MON\": \"MON\" is neither a number nor a name;"),
        ("* * L * L", "day of week \"L\": a value is missing;"),
        ("* * * * 5#6", "day of week \"5#6\": \"5#6\" must end with a number from 1 to 5;"),
        ("* * * * 5#0", "day of week \"5#0\": \"5#0\" must end with a number from 1 to 5;"),
        ("* * * * 5#", "day of week \"5#\": \"5#\" must end with a number from 1 to 5;"),
        ("* * * * x#1", "day of week \"x#1\": \"x\" is neither a number nor a name;"),
        ("*/0 * * * *", "minute \"*/0\": the step \"0\" must be a number from 1 to 59;"),
        ("*/60 * * * *", "minute \"*/60\": the step \"60\" must be a number from 1 to 59;"),
        ("* */ * * *", "hour \"*/\": the step \"\" must be a number from 1 to 23;"),
        (
            "* * */1/2 * *",
            "day of month \"*/1/2\": the step \"1/2\" must be a number from 1 to 31;",
        ),
        ("* * * * */8", "day of week \"*/8\": the step \"8\" must be a number from 1 to 7;"),
        (
            "99999999999999999999 * * * *",
            "minute \"99999999999999999999\": 99999999999999999999 is out",
        ),
        ("* é * * *", "hour \"é\": \"é\" is not a number;"),
        ("*5 * * * *", "minute \"*5\": \"*5\" is not a number;"),
    ] {
        let problem = problem(expression);
        assert!(problem.starts_with(expected), "{problem}");
    }
    // Ranges that run around the end.
    for (expression, instead) in [
        ("50-10 * * * *", "50-59,0-10"),
        ("* 22-2 * * *", "22-23,0-2"),
        ("* * 28-3/2 * *", "28-31,1-3"),
        ("* * * NOV-FEB *", "11-12,1-2"),
        ("* * * * FRI-MON", "5-6,0-1"),
        ("* * * * SAT-MON", "6,0-1"),
        ("* * * DEC-JAN *", "12,1"),
    ] {
        let problem = problem(expression);
        let advice = format!("runs around the end, which is not supported: write {instead} if");
        assert!(problem.contains(&advice), "{problem}");
    }
    for expression in ["", "5", "* * * *", "* * * * * *", "0 0 * * * Europe/Berlin", "@daily UTC"] {
        let problem = problem(expression);
        let expected =
            "expected five fields, which are minute, hour, day of month, month and day of week";
        let fields = expression.split(' ').filter(|field| !field.is_empty()).count();
        let fields = if fields == 1 { "1 field".to_owned() } else { format!("{fields} fields") };
        assert!(problem.starts_with(&format!("it has {fields}: {expected}")), "{problem}");
    }
    let error = Cron::parse("* * * * *", "Europe/Berlinn").expect_err("no such zone");
    assert!(error.to_string().contains("Europe/Berlinn"), "{error}");
    assert!(error.to_string().contains("tzdata"), "{error}");
}

#[test]
fn it_shows_as_it_was_given() {
    let cron = Cron::parse(" 30  2 * * MON ", BERLIN).expect("a cron expression");
    assert_eq!(cron.to_string(), "30 2 * * MON Europe/Berlin");
    assert_eq!(format!("{cron:?}"), "Cron(30 2 * * MON Europe/Berlin)");
    assert!(Cron::local("0 0 * * *").is_ok());
}
