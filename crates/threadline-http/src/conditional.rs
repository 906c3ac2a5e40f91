//! Whether a client needs what it asks for: conditional requests (RFC 9110 §13), as pure text.
//!
//! Called for each file before any of it is read. Takes the fields and what is known of the file,
//! says what to answer, and never looks at a clock. A date that cannot be read is as good as none.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use threadline_proto::request::Headers;

/// What a representation is told from its other versions by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Validators {
    /// The entity tag with its quotes, and `W/` if it is weak.
    pub(super) etag: String,
    /// When it was last changed. Only whole seconds are compared: that is all a date can say.
    pub(super) modified: Option<SystemTime>,
    /// Whether it was last changed so long ago that the date tells it from every other version.
    pub(super) is_settled: bool,
}

/// The fields of a request that say under which condition it is meant.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Conditions<'i> {
    /// Lists may come as several fields; they count as one (§5.3).
    pub(super) if_match: Vec<&'i str>,
    pub(super) if_none_match: Vec<&'i str>,
    pub(super) if_unmodified_since: Option<&'i str>,
    pub(super) if_modified_since: Option<&'i str>,
    pub(super) if_range: Option<&'i str>,
}

/// What to answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// As if there were no condition.
    Go,
    /// 304: the client has it.
    NotModified,
    /// 412: the client means another version.
    Failed,
}

impl<'i> Conditions<'i> {
    pub(super) fn of(headers: Headers<'_, 'i>) -> Self {
        // A tag may have bytes that are no text; none of ours has.
        let list = |name| {
            headers.all(name).map(|value| std::str::from_utf8(value).unwrap_or_default()).collect()
        };
        Conditions {
            if_match: list("if-match"),
            if_none_match: list("if-none-match"),
            if_unmodified_since: headers.get_str("if-unmodified-since"),
            if_modified_since: headers.get_str("if-modified-since"),
            if_range: headers.get_str("if-range"),
        }
    }

    /// Looks at them in the order of RFC 9110 §13.2.2, for `GET` and `HEAD`.
    pub(super) fn judge(&self, current: &Validators) -> Verdict {
        let unmodified_since = |date: Option<&str>| Some(current.seconds()? <= seconds_of(date?)?);
        let is_meant = if self.if_match.is_empty() {
            unmodified_since(self.if_unmodified_since).unwrap_or(true)
        } else {
            has_tag(&self.if_match, |tag| is_same(tag, &current.etag))
        };
        if !is_meant {
            return Verdict::Failed;
        }
        let is_known = if self.if_none_match.is_empty() {
            unmodified_since(self.if_modified_since).unwrap_or(false)
        } else {
            has_tag(&self.if_none_match, |tag| opaque(tag) == opaque(&current.etag))
        };
        if is_known { Verdict::NotModified } else { Verdict::Go }
    }

    /// Whether `Range` is to be followed: the client has parts of this very version (§13.1.5). A date
    /// must be exactly ours, and tell versions apart for certain.
    pub(super) fn allow_range(&self, current: &Validators) -> bool {
        match self.if_range {
            None => true,
            Some(tag) if tag.starts_with(['"', 'W']) && tag.ends_with('"') => {
                is_same(tag, &current.etag)
            }
            Some(date) => {
                current.is_settled
                    && current.seconds().is_some()
                    && current.seconds() == seconds_of(date)
            }
        }
    }
}

impl Validators {
    fn seconds(&self) -> Option<u64> {
        seconds(self.modified?)
    }
}

/// Whether `*` or one of these tags is in the list.
fn has_tag(fields: &[&str], mut is_meant: impl FnMut(&str) -> bool) -> bool {
    fields.iter().any(|field| field.trim() == "*" || tags(field).any(&mut is_meant))
}

/// The tags of a list, with quotes and `W/`. They may have commas in them (§8.8.3). Ends at the first
/// that is malformed.
fn tags(mut list: &str) -> impl Iterator<Item = &str> {
    std::iter::from_fn(move || {
        list = list.trim_start_matches([' ', '\t', ',']);
        let opening = if list.starts_with("W/") { 2 } else { 0 };
        let quoted = list[opening..].strip_prefix('"')?;
        let (tag, rest) = list.split_at(opening + quoted.find('"')? + 2);
        list = rest;
        Some(tag)
    })
}

/// The strong comparison (§8.8.3.2): both are strong, and the same.
fn is_same(tag: &str, current: &str) -> bool {
    tag == current && tag.starts_with('"')
}

/// The tag without its weakness, for the weak comparison.
fn opaque(tag: &str) -> &str {
    tag.strip_prefix("W/").unwrap_or(tag)
}

/// A date in any of the three formats (§5.6.7).
fn seconds_of(date: &str) -> Option<u64> {
    seconds(httpdate::parse_http_date(date.trim()).ok()?)
}

/// Whole seconds since 1970. Nothing older can be said in a date we send.
fn seconds(time: SystemTime) -> Option<u64> {
    time.duration_since(UNIX_EPOCH).ok().as_ref().map(Duration::as_secs)
}

#[cfg(test)]
mod tests {
    use super::*;

    const BEFORE: &str = "Sun, 06 Nov 1994 08:49:36 GMT";
    const THEN: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
    const THEN_IN_RFC850: &str = "Sunday, 06-Nov-94 08:49:37 GMT";
    const THEN_IN_ASCTIME: &str = "Sun Nov  6 08:49:37 1994";
    const LATER: &str = "Sun, 06 Nov 1994 08:49:38 GMT";

    /// Changed half a second after `THEN`, which a date cannot say.
    fn current() -> Validators {
        Validators {
            etag: "\"v2\"".to_owned(),
            modified: Some(UNIX_EPOCH + Duration::from_millis(784_111_777_500)),
            is_settled: true,
        }
    }

    fn none<'i>() -> Conditions<'i> {
        Conditions::default()
    }

    #[test]
    fn rfc9110_13_1_1_if_match_compares_strongly() {
        for (list, expected) in [
            ("*", Verdict::Go),
            ("\"v2\"", Verdict::Go),
            ("\"v1\" , \"v2\"", Verdict::Go),
            ("\"a,b\",\"v2\"", Verdict::Go),
            ("W/\"v2\"", Verdict::Failed),
            ("\"v1\"", Verdict::Failed),
            ("v2", Verdict::Failed),
            ("", Verdict::Failed),
        ] {
            let conditions = Conditions { if_match: vec![list], ..none() };
            assert_eq!(conditions.judge(&current()), expected, "{list}");
        }
        let weak = Validators { etag: "W/\"v2\"".to_owned(), ..current() };
        let conditions = Conditions { if_match: vec!["W/\"v2\""], ..none() };
        assert_eq!(conditions.judge(&weak), Verdict::Failed);
    }

    #[test]
    fn rfc9110_13_1_2_if_none_match_compares_weakly() {
        for (list, expected) in [
            ("*", Verdict::NotModified),
            ("\"v2\"", Verdict::NotModified),
            ("W/\"v2\"", Verdict::NotModified),
            (",, \"x\", W/\"v2\"", Verdict::NotModified),
            ("\"v1\"", Verdict::Go),
            ("\"v2", Verdict::Go),
            ("w/\"v2\"", Verdict::Go),
        ] {
            let conditions = Conditions { if_none_match: vec![list], ..none() };
            assert_eq!(conditions.judge(&current()), expected, "{list}");
        }
        let two = Conditions { if_none_match: vec!["\"v1\"", "\"v2\""], ..none() };
        assert_eq!(two.judge(&current()), Verdict::NotModified);
    }

    #[test]
    fn rfc9110_13_1_3_and_4_dates_are_compared_by_the_second() {
        for (date, modified, unmodified) in [
            (BEFORE, Verdict::Go, Verdict::Failed),
            (THEN, Verdict::NotModified, Verdict::Go),
            (THEN_IN_RFC850, Verdict::NotModified, Verdict::Go),
            (THEN_IN_ASCTIME, Verdict::NotModified, Verdict::Go),
            (LATER, Verdict::NotModified, Verdict::Go),
            ("yesterday", Verdict::Go, Verdict::Go),
        ] {
            let conditions = Conditions { if_modified_since: Some(date), ..none() };
            assert_eq!(conditions.judge(&current()), modified, "{date}");
            let conditions = Conditions { if_unmodified_since: Some(date), ..none() };
            assert_eq!(conditions.judge(&current()), unmodified, "{date}");
        }
    }

    #[test]
    fn rfc9110_13_2_2_tags_go_before_dates() {
        let tag = vec!["\"v2\""];
        let other = vec!["\"v1\""];
        for (conditions, expected) in [
            (
                Conditions { if_match: tag.clone(), if_unmodified_since: Some(BEFORE), ..none() },
                Verdict::Go,
            ),
            (
                Conditions { if_match: other.clone(), if_none_match: tag.clone(), ..none() },
                Verdict::Failed,
            ),
            (
                Conditions { if_none_match: other, if_modified_since: Some(LATER), ..none() },
                Verdict::Go,
            ),
            (
                Conditions { if_match: tag.clone(), if_none_match: tag, ..none() },
                Verdict::NotModified,
            ),
            (
                Conditions {
                    if_unmodified_since: Some(BEFORE),
                    if_modified_since: Some(LATER),
                    ..none()
                },
                Verdict::Failed,
            ),
        ] {
            assert_eq!(conditions.judge(&current()), expected, "{conditions:?}");
        }
    }

    #[test]
    fn without_a_date_of_ours_dates_mean_nothing() {
        let timeless = Validators { modified: None, ..current() };
        for date in [BEFORE, LATER] {
            let (since, range) = (Some(date), Some(date));
            let conditions = Conditions { if_modified_since: since, if_range: range, ..none() };
            assert_eq!(conditions.judge(&timeless), Verdict::Go);
            assert!(!conditions.allow_range(&timeless));
            let conditions = Conditions { if_unmodified_since: since, ..none() };
            assert_eq!(conditions.judge(&timeless), Verdict::Go);
        }
    }

    #[test]
    fn rfc9110_13_1_5_if_range_takes_this_very_version() {
        for (value, expected) in [
            ("\"v2\"", true),
            ("W/\"v2\"", false),
            ("\"v1\"", false),
            (THEN, true),
            (BEFORE, false),
            (LATER, false),
            ("", false),
            ("*", false),
            ("\"", false),
            ("W/", false),
        ] {
            let conditions = Conditions { if_range: Some(value), ..none() };
            assert_eq!(conditions.allow_range(&current()), expected, "{value}");
        }
        assert!(none().allow_range(&current()));
        let fresh = Validators { is_settled: false, ..current() };
        assert!(!Conditions { if_range: Some(THEN), ..none() }.allow_range(&fresh));
    }
}
