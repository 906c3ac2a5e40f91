//! Which versions the client has or means: `If-None-Match` and `If-Match` (RFC 9110 §13.1).
//!
//! For handlers that know the version of what they serve before they make it, so that they need not
//! make it. Content that is made anyway has the middleware [`Etag`](crate::middleware::Etag). A list
//! that is malformed is refused whole: half a condition is another one.

use std::fmt;

use super::FromHeader;

/// The versions that a condition names: entity tags as they came, or `*` for whatever there is.
///
/// ```
/// use threadline_http::FromHeader;
/// use threadline_http::extract::header::{EntityTags, IfMatch};
///
/// let IfMatch(tags) = IfMatch::from_header("\"a\", W/\"b,c\"").unwrap();
/// assert_eq!(tags, EntityTags::List(vec!["\"a\"".into(), "W/\"b,c\"".into()]));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EntityTags {
    /// `*`.
    Any,
    /// Tags with their quotes, and `W/` in front of weak ones (RFC 9110 §8.8.3).
    List(Vec<String>),
}

/// What the client has already (RFC 9110 §13.1.2): if that is current, a `GET` is answered 304, and
/// anything that would change it 412.
///
/// ```
/// use threadline_http::extract::header::IfNoneMatch;
/// use threadline_http::testing::TestClient;
/// use threadline_http::{Header, IntoResponse, Response, Router, Status};
///
/// fn report(known: Option<Header<IfNoneMatch>>) -> Response {
///     let version = "\"2024-06\""; // cheap to know
///     if known.is_some_and(|Header(known)| known.has(version)) {
///         return Response::new(Status::NOT_MODIFIED).with_header("etag", version);
///     }
///     ([("etag", version)], "dear to make").into_response()
/// }
///
/// let client = TestClient::new(Router::new().get("/report", report))?;
/// let get = |tags| client.get("/report").header("if-none-match", tags).send();
/// assert_eq!(get("\"2024-05\", W/\"2024-06\"").status(), Status::NOT_MODIFIED);
/// assert_eq!(get("\"2024-05\"").text(), "dear to make");
/// # Ok::<(), threadline_http::RouterError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IfNoneMatch(pub EntityTags);

/// What the client means to change (RFC 9110 §13.1.1): if that is no longer current, the answer is
/// 412, and no change is lost.
///
/// ```
/// use threadline_http::FromHeader;
/// use threadline_http::extract::header::IfMatch;
///
/// let meant = IfMatch::from_header("\"v1\"").unwrap();
/// assert!(meant.has("\"v1\"") && !meant.has("\"v2\""));
/// assert!(IfMatch::from_header("v1").is_err(), "tags have quotes");
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IfMatch(pub EntityTags);

impl IfNoneMatch {
    /// Whether it names this tag, given with its quotes; weak ones count (RFC 9110 §8.8.3.2). `*` names
    /// every tag: ask only where there is something.
    pub fn has(&self, etag: &str) -> bool {
        self.0.any(|tag| opaque(tag) == opaque(etag))
    }
}

impl IfMatch {
    /// Whether it names this tag, given with its quotes; weak ones do not count (RFC 9110 §8.8.3.2).
    /// `*` names every tag: ask only where there is something.
    pub fn has(&self, etag: &str) -> bool {
        self.0.any(|tag| tag == etag && tag.starts_with('"'))
    }
}

impl EntityTags {
    fn any(&self, is_meant: impl Fn(&str) -> bool) -> bool {
        match self {
            EntityTags::Any => true,
            EntityTags::List(tags) => tags.iter().any(|tag| is_meant(tag)),
        }
    }

    fn parse(value: &str) -> Option<Self> {
        if value == "*" {
            return Some(EntityTags::Any);
        }
        let (mut tags, mut rest) = (Vec::new(), skip_empty(value));
        while !rest.is_empty() {
            let (tag, behind) = rest.split_at(tag_len(rest)?);
            tags.push(tag.to_owned());
            let behind = behind.trim_start_matches(BLANK);
            if !behind.is_empty() && !behind.starts_with(',') {
                return None;
            }
            rest = skip_empty(behind);
        }
        Some(EntityTags::List(tags))
    }
}

const BLANK: [char; 2] = [' ', '\t'];

/// Empty elements are allowed (RFC 9110 §5.6.1.2).
fn skip_empty(list: &str) -> &str {
    list.trim_start_matches([' ', '\t', ','])
}

/// How long the tag at the start is. It may have commas in it, but neither quotes nor spaces (RFC 9110
/// §8.8.3).
fn tag_len(list: &str) -> Option<usize> {
    let quoted = opaque(list).strip_prefix('"')?;
    let end = quoted.find('"')?;
    let is_tag = quoted[..end].bytes().all(|byte| byte > b' ' && byte != 0x7f);
    is_tag.then(|| list.len() - quoted.len() + end + 1)
}

/// The tag without its weakness.
fn opaque(tag: &str) -> &str {
    tag.strip_prefix("W/").unwrap_or(tag)
}

/// A text that is not a list of entity tags.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotEntityTags;

impl fmt::Display for NotEntityTags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not `*` and no list of entity tags, such as `\"a\", W/\"b\"`")
    }
}

impl std::error::Error for NotEntityTags {}

macro_rules! conditions {
    ($($type:ident $name:literal;)*) => {$(
        impl FromHeader for $type {
            const NAME: &'static str = $name;
            const IS_LIST: bool = true;
            type Error = NotEntityTags;

            fn from_header(value: &str) -> Result<Self, NotEntityTags> {
                EntityTags::parse(value).map($type).ok_or(NotEntityTags)
            }
        }
    )*};
}

conditions! {
    IfMatch "if-match";
    IfNoneMatch "if-none-match";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc9110_8_8_3_tags_may_have_commas_in_them() {
        let tags = |value| match EntityTags::parse(value) {
            Some(EntityTags::List(tags)) => tags,
            other => panic!("{value}: {other:?}"),
        };
        assert_eq!(tags(r#"  , "a,b" ,, W/"c","" "#), [r#""a,b""#, r#"W/"c""#, r#""""#]);
        assert_eq!(tags("\"ü\""), ["\"ü\""]);
        assert!(tags("").is_empty());
        assert_eq!(EntityTags::parse("*"), Some(EntityTags::Any));
    }

    #[test]
    fn a_list_that_is_malformed_is_none() {
        for value in [
            "a",
            "\"a",
            "\"a\" \"b\"",
            "\"a\"b",
            "w/\"a\"",
            "W/",
            "*, \"a\"",
            "\"a\", *",
            "\"a b\"",
        ] {
            assert_eq!(EntityTags::parse(value), None, "{value}");
        }
    }

    #[test]
    fn rfc9110_8_8_3_2_weak_tags_say_what_is_known_but_not_what_is_meant() {
        let tags = || EntityTags::parse(r#"W/"a", "b""#).expect("a list");
        let (known, meant) = (IfNoneMatch(tags()), IfMatch(tags()));
        for (tag, is_known, is_meant) in [
            (r#""a""#, true, false),
            (r#"W/"a""#, true, false),
            (r#""b""#, true, true),
            (r#"W/"b""#, true, false),
            (r#""c""#, false, false),
        ] {
            assert_eq!((known.has(tag), meant.has(tag)), (is_known, is_meant), "{tag}");
        }
        assert!(
            IfNoneMatch(EntityTags::Any).has(r#""c""#) && IfMatch(EntityTags::Any).has("W/\"c\"")
        );
    }
}
