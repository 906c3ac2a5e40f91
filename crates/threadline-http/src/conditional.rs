//! Whether a client needs what it asks for: conditional requests (RFC 9110 §13), as pure text.
//!
//! Called for each file before any of it is sent, and by the layer `Etag`. Takes the fields of the request
//! and what is known of the representation, says what to answer, and never looks at a clock. A date that
//! cannot be read is as good as none. Also here: the tag that content itself has.

use std::borrow::Cow;
use std::hash::{DefaultHasher, Hasher};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use threadline_proto::request::Headers;

/// What a representation is told from its other versions by.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Validators {
    /// The entity tag with its quotes, and `W/` if it is weak.
    pub(crate) etag: Option<String>,
    /// When it was last changed. Only whole seconds are compared: that is all a date can say.
    pub(crate) modified: Option<SystemTime>,
    /// Whether it was last changed so long ago that the date tells it from every other version.
    pub(crate) is_settled: bool,
    /// Whether `modified` changes with the content for all that is known: no tool has set it to another time.
    pub(crate) is_own_date: bool,
}

/// What a request means to do with the representation that its conditions are about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    /// `GET` and `HEAD`.
    Read,
    /// Any other method: `If-None-Match` with the current tag refuses the change (§13.1.2).
    Change,
}

/// The hash that tells one content from another: made of its bytes in order, however they are cut.
#[derive(Debug, Default)]
pub(crate) struct ContentHash(DefaultHasher);

/// The fields of a request that say under which condition it is meant.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Conditions<'i> {
    /// Lists may come as several fields; they count as one (§5.3).
    pub(crate) if_match: Vec<Cow<'i, str>>,
    pub(crate) if_none_match: Vec<Cow<'i, str>>,
    pub(crate) if_unmodified_since: Option<&'i str>,
    pub(crate) if_modified_since: Option<&'i str>,
    pub(crate) if_range: Option<Cow<'i, str>>,
}

/// What to answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// As if there were no condition.
    Go,
    /// 304: the client has it.
    NotModified,
    /// 412: the client means another version.
    Failed,
}

impl<'i> Conditions<'i> {
    pub(crate) fn of(headers: Headers<'_, 'i>) -> Self {
        let list = |name| headers.all(name).map(comparable).collect();
        Conditions {
            if_match: list("if-match"),
            if_none_match: list("if-none-match"),
            if_unmodified_since: headers.get_str("if-unmodified-since"),
            if_modified_since: headers.get_str("if-modified-since"),
            if_range: headers.get("if-range").map(comparable),
        }
    }

    /// Whether there are none that [`Conditions::judge`] looks at.
    pub(crate) fn is_empty(&self) -> bool {
        self.if_match.is_empty()
            && self.if_none_match.is_empty()
            && self.if_unmodified_since.is_none()
            && self.if_modified_since.is_none()
    }

    /// Looks at them in the order of RFC 9110 §13.2.2. `current` is `None` where there is no
    /// representation.
    pub(crate) fn judge(&self, current: Option<&Validators>, access: Access) -> Verdict {
        let etag = current.and_then(|current| current.etag.as_deref());
        let unmodified_since = |date: Option<&str>| Some(current?.seconds()? <= seconds_of(date?)?);
        let has_tag = |fields: &[Cow<'_, str>], compare: fn(&str, &str) -> bool| {
            let is_meant = |tag: &str| etag.is_some_and(|etag| compare(tag, etag));
            current.is_some() && has_tag(fields, is_meant)
        };
        let is_meant = if self.if_match.is_empty() {
            unmodified_since(self.if_unmodified_since).unwrap_or(true)
        } else {
            has_tag(&self.if_match, is_same)
        };
        if !is_meant {
            return Verdict::Failed;
        }
        let is_known = match access {
            _ if !self.if_none_match.is_empty() => {
                has_tag(&self.if_none_match, |tag, current| opaque(tag) == opaque(current))
            }
            Access::Read => unmodified_since(self.if_modified_since).unwrap_or(false),
            // Means nothing to other methods (§13.1.3).
            Access::Change => false,
        };
        match access {
            _ if !is_known => Verdict::Go,
            Access::Read => Verdict::NotModified,
            Access::Change => Verdict::Failed,
        }
    }

    /// Whether `Range` is to be followed. With `If-Range` (§13.1.5), only for the version that it names: the
    /// tag must be strong, and a date must be equal to ours and tell versions apart for certain. Without it,
    /// always: the client compares the tag of the part with the one it has.
    pub(crate) fn allow_range(&self, current: &Validators) -> bool {
        match self.if_range.as_deref() {
            None => true,
            Some(tag) if tag.starts_with(['"', 'W']) && tag.ends_with('"') => {
                current.etag.as_deref().is_some_and(|etag| is_same(tag, etag))
            }
            Some(date) => {
                current.is_settled
                    && current.is_own_date
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

impl ContentHash {
    /// Looks at the next bytes.
    pub(crate) fn update(&mut self, bytes: &[u8]) {
        self.0.write(bytes);
    }

    /// The hash. Not keyed by chance, so that all workers, the next start and other machines agree.
    pub(crate) fn finish(self) -> u64 {
        self.0.finish()
    }
}

/// The strong tag of content: its length and a 64-bit hash. Other content has another one, but for a
/// chance of one in 2^64.
pub(crate) fn content_tag(content: &[u8]) -> String {
    let mut hash = ContentHash::default();
    hash.update(content);
    format!("\"{}\"", tag_text(content.len() as u64, hash.finish()))
}

/// What stands in the quotes of a tag.
pub(crate) fn tag_text(len: u64, hash: u64) -> String {
    format!("{len:x}-{hash:016x}")
}

/// Whether `*` or one of these tags is in the list.
fn has_tag(fields: &[Cow<'_, str>], mut is_meant: impl FnMut(&str) -> bool) -> bool {
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

/// The value of a field as text that differs where its bytes do: a tag may have some that are no UTF-8 (RFC
/// 9110 §8.8.3). Each beyond ASCII becomes a character, so both sides of a comparison must come from here.
pub(crate) fn comparable(value: &[u8]) -> Cow<'_, str> {
    match str::from_utf8(value) {
        Ok(text) if text.is_ascii() => Cow::Borrowed(text),
        _ => Cow::Owned(value.iter().copied().map(char::from).collect()),
    }
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
            etag: Some("\"v2\"".to_owned()),
            modified: Some(UNIX_EPOCH + Duration::from_millis(784_111_777_500)),
            is_settled: true,
            is_own_date: true,
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
            let conditions = Conditions { if_match: vec![list.into()], ..none() };
            assert_eq!(conditions.judge(Some(&current()), Access::Read), expected, "{list}");
        }
        let weak = Validators { etag: Some("W/\"v2\"".to_owned()), ..current() };
        let conditions = Conditions { if_match: vec!["W/\"v2\"".into()], ..none() };
        assert_eq!(conditions.judge(Some(&weak), Access::Read), Verdict::Failed);
    }

    #[test]
    fn rfc9110_13_1_2_who_has_the_version_must_not_change_it_again() {
        for (list, expected) in [
            ("*", Verdict::Failed),
            ("\"v2\"", Verdict::Failed),
            ("W/\"v2\"", Verdict::Failed),
            ("\"v1\"", Verdict::Go),
        ] {
            let conditions = Conditions { if_none_match: vec![list.into()], ..none() };
            assert_eq!(conditions.judge(Some(&current()), Access::Change), expected, "{list}");
        }
        // Only reading has If-Modified-Since (§13.1.3).
        let conditions = Conditions { if_modified_since: Some(LATER), ..none() };
        assert_eq!(conditions.judge(Some(&current()), Access::Change), Verdict::Go);
        let conditions = Conditions { if_unmodified_since: Some(BEFORE), ..none() };
        assert_eq!(conditions.judge(Some(&current()), Access::Change), Verdict::Failed);
    }

    #[test]
    fn rfc9110_13_1_where_there_is_nothing_any_version_is_absent() {
        let untagged = Validators { etag: None, ..current() };
        for (list, of_nothing, of_untagged) in
            [("*", false, true), ("\"v2\"", false, false), ("W/\"v2\"", false, false)]
        {
            for access in [Access::Read, Access::Change] {
                let meant = Conditions { if_match: vec![list.into()], ..none() };
                let known = Conditions { if_none_match: vec![list.into()], ..none() };
                for (current, has) in [(None, of_nothing), (Some(&untagged), of_untagged)] {
                    let failed = meant.judge(current, access) == Verdict::Failed;
                    let goes = known.judge(current, access) == Verdict::Go;
                    assert_eq!((failed, goes), (!has, !has), "{list} {current:?}");
                }
            }
        }
        let dates = Conditions {
            if_unmodified_since: Some(BEFORE),
            if_modified_since: Some(LATER),
            ..none()
        };
        assert_eq!(dates.judge(None, Access::Read), Verdict::Go);
    }

    #[test]
    fn other_content_has_another_tag_however_it_is_cut() {
        assert_ne!(content_tag(b"a"), content_tag(b"b"));
        assert_ne!(content_tag(b""), content_tag(b"\0"));
        let mut pieces = ContentHash::default();
        for piece in [&b"hel"[..], b"", b"lo, wor", b"ld"] {
            pieces.update(piece);
        }
        let tag = content_tag(b"hello, world");
        assert_eq!(tag, format!("\"{}\"", tag_text(12, pieces.finish())));
        assert!(tag.starts_with("\"c-") && tag.len() == 20, "{tag}");
    }

    #[test]
    fn a_request_may_have_no_conditions() {
        assert!(none().is_empty());
        assert!(Conditions { if_range: Some(THEN.into()), ..none() }.is_empty());
        let one = Some(THEN);
        for conditions in [
            Conditions { if_match: vec!["*".into()], ..none() },
            Conditions { if_none_match: vec!["*".into()], ..none() },
            Conditions { if_unmodified_since: one, ..none() },
            Conditions { if_modified_since: one, ..none() },
        ] {
            assert!(!conditions.is_empty(), "{conditions:?}");
        }
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
            let conditions = Conditions { if_none_match: vec![list.into()], ..none() };
            assert_eq!(conditions.judge(Some(&current()), Access::Read), expected, "{list}");
        }
        let two = Conditions { if_none_match: vec!["\"v1\"".into(), "\"v2\"".into()], ..none() };
        assert_eq!(two.judge(Some(&current()), Access::Read), Verdict::NotModified);
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
            assert_eq!(conditions.judge(Some(&current()), Access::Read), modified, "{date}");
            let conditions = Conditions { if_unmodified_since: Some(date), ..none() };
            assert_eq!(conditions.judge(Some(&current()), Access::Read), unmodified, "{date}");
        }
    }

    #[test]
    fn rfc9110_13_2_2_tags_go_before_dates() {
        let tag = vec![Cow::from("\"v2\"")];
        let other = vec![Cow::from("\"v1\"")];
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
            assert_eq!(
                conditions.judge(Some(&current()), Access::Read),
                expected,
                "{conditions:?}"
            );
        }
    }

    #[test]
    fn rfc9110_8_8_3_tags_that_are_not_utf8_are_compared_by_their_bytes() {
        let all = [&b"\"a\""[..], b"\"\xe4\"", b"\"\xc3\xa4\"", b"\"\xff\"", b"\"\xfe\""];
        for etag in all {
            let current = Validators { etag: Some(comparable(etag).into_owned()), ..current() };
            for asked in all {
                let conditions = Conditions {
                    if_match: vec![comparable(asked)],
                    if_range: Some(comparable(asked)),
                    ..none()
                };
                let is_same = asked == etag;
                assert_eq!(conditions.allow_range(&current), is_same, "{asked:?} {etag:?}");
                let judged = conditions.judge(Some(&current), Access::Read);
                assert_eq!(judged == Verdict::Go, is_same, "{asked:?} {etag:?}");
            }
        }
    }

    #[test]
    fn without_a_date_of_ours_dates_mean_nothing() {
        let timeless = Validators { modified: None, ..current() };
        for date in [BEFORE, LATER] {
            let (since, if_range) = (Some(date), Some(date.into()));
            let conditions = Conditions { if_modified_since: since, if_range, ..none() };
            assert_eq!(conditions.judge(Some(&timeless), Access::Read), Verdict::Go);
            assert!(!conditions.allow_range(&timeless));
            let conditions = Conditions { if_unmodified_since: since, ..none() };
            assert_eq!(conditions.judge(Some(&timeless), Access::Read), Verdict::Go);
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
            let conditions = Conditions { if_range: Some(value.into()), ..none() };
            assert_eq!(conditions.allow_range(&current()), expected, "{value}");
        }
        assert!(none().allow_range(&current()));
        // A date that begins as a weak tag does.
        let wednesday = UNIX_EPOCH + Duration::from_secs(784_370_977);
        let changed = Validators { modified: Some(wednesday), ..current() };
        let if_range = Some("Wed, 09 Nov 1994 08:49:37 GMT".into());
        assert!(Conditions { if_range, ..none() }.allow_range(&changed));
        // Parts of one version must not be put together with parts of another.
        for etag in [Some("W/\"v2\"".to_owned()), None] {
            let unsure = Validators { etag, ..current() };
            for tag in ["W/\"v2\"", "\"v2\""] {
                let if_range = Some(tag.into());
                assert!(!Conditions { if_range, ..none() }.allow_range(&unsure), "{tag}");
            }
            assert!(none().allow_range(&unsure));
        }
        let kept = Validators { is_own_date: false, ..current() };
        assert!(!Conditions { if_range: Some(THEN.into()), ..none() }.allow_range(&kept));
        let fresh = Validators { is_settled: false, ..current() };
        assert!(!Conditions { if_range: Some(THEN.into()), ..none() }.allow_range(&fresh));
    }
}
