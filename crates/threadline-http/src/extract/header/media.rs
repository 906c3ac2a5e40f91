//! Media types (RFC 9110 §8.3.1), and the field that names the body's.

use std::borrow::Cow;
use std::fmt;

use super::FromHeader;
use crate::request::Request;

/// A media type: `text/html; charset=utf-8`.
///
/// ```
/// use threadline_http::extract::header::MediaType;
///
/// let media = MediaType::parse(r#"Text/HTML; Charset="utf-8""#).unwrap();
/// assert_eq!(media.essence(), "text/html");
/// assert_eq!(media.param("charset").as_deref(), Some("utf-8"));
/// assert!(MediaType::parse("text").is_none());
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MediaType<'t> {
    /// In lower case.
    essence: Cow<'t, str>,
    /// Behind the first `;`.
    params: &'t str,
}

impl<'t> MediaType<'t> {
    /// `None` for what is none. Parameters are looked at when they are asked for.
    pub fn parse(text: &'t str) -> Option<Self> {
        let (essence, params) = text.split_once(';').unwrap_or((text, ""));
        let essence = essence.trim_matches(BLANK);
        let (kind, subtype) = essence.split_once('/')?;
        (is_token(kind) && is_token(subtype)).then(|| MediaType { essence: lower(essence), params })
    }

    /// What the request says that its body is; `None` also if that is malformed, or said twice: who
    /// looks at the first only and who looks at the last only would see two things.
    pub fn of(request: &Request<'t>) -> Option<Self> {
        let mut fields = request.headers().all("content-type");
        let (Some(field), None) = (fields.next(), fields.next()) else { return None };
        MediaType::parse(std::str::from_utf8(field).ok()?)
    }

    /// Type and subtype in lower case: `text/html`.
    pub fn essence(&self) -> &str {
        &self.essence
    }

    /// The value of a parameter; its name in any case. `None` also where the parameters before it are
    /// malformed.
    pub fn param(&self, name: &str) -> Option<Cow<'t, str>> {
        let mut rest = self.params.trim_start_matches(SEPARATORS);
        while !rest.is_empty() {
            let (known, behind) = rest.split_once('=')?;
            let (value, behind) = value(behind)?;
            if known.eq_ignore_ascii_case(name) {
                return Some(value);
            }
            rest = behind.trim_start_matches(SEPARATORS);
        }
        None
    }
}

const BLANK: [char; 2] = [' ', '\t'];
/// What stands between parameters; empty ones are allowed (RFC 9110 §5.6.6).
const SEPARATORS: [char; 3] = [' ', '\t', ';'];

fn lower(text: &str) -> Cow<'_, str> {
    if text.bytes().any(|byte| byte.is_ascii_uppercase()) {
        Cow::Owned(text.to_ascii_lowercase())
    } else {
        Cow::Borrowed(text)
    }
}

fn is_token(text: &str) -> bool {
    let is_tchar = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    !text.is_empty() && text.bytes().all(is_tchar)
}

/// A token or quoted string at the start, and what is behind it.
fn value(text: &str) -> Option<(Cow<'_, str>, &str)> {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find(SEPARATORS).unwrap_or(text.len());
        let (value, rest) = text.split_at(end);
        return is_token(value).then_some((Cow::Borrowed(value), rest));
    };
    let mut value = String::new();
    let mut characters = quoted.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return Some((Cow::Owned(value), &quoted[at + 1..])),
            '\\' => value.push(characters.next()?.1),
            _ => value.push(character),
        }
    }
    None
}

/// What the body is (RFC 9110 §8.3).
///
/// ```
/// use threadline_http::extract::header::ContentType;
/// use threadline_http::{FromHeader, Header, Router};
///
/// fn kind(Header(kind): Header<ContentType>) -> String {
///     kind.essence().into_owned()
/// }
///
/// let router = Router::new().post("/", kind);
/// # router.build().unwrap();
/// assert_eq!(ContentType::from_header("image/png").unwrap().essence(), "image/png");
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContentType(String);

impl ContentType {
    /// Type and subtype in lower case.
    pub fn essence(&self) -> Cow<'_, str> {
        // It was parsed before.
        self.media().map_or(Cow::Borrowed(""), |media| media.essence)
    }

    /// The value of a parameter, such as `charset`; its name in any case.
    pub fn param(&self, name: &str) -> Option<Cow<'_, str>> {
        self.media()?.param(name)
    }

    fn media(&self) -> Option<MediaType<'_>> {
        MediaType::parse(&self.0)
    }
}

impl FromHeader for ContentType {
    const NAME: &'static str = "content-type";
    type Error = NotAMediaType;

    fn from_header(value: &str) -> Result<Self, NotAMediaType> {
        MediaType::parse(value).map(|_| ContentType(value.to_owned())).ok_or(NotAMediaType)
    }
}

/// A text that is not a media type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotAMediaType;

impl fmt::Display for NotAMediaType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not a media type, such as `text/plain; charset=utf-8`")
    }
}

impl std::error::Error for NotAMediaType {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc9110_8_3_1_parameters_are_tokens_or_quoted() {
        let media = MediaType::parse(r#"a/b ; x=1;; y="2 ; \"z\"=3" ;Z=4"#).expect("a media type");
        assert_eq!(media.essence(), "a/b");
        assert_eq!(media.param("x").as_deref(), Some("1"));
        assert_eq!(media.param("Y").as_deref(), Some(r#"2 ; "z"=3"#));
        assert_eq!(media.param("z").as_deref(), Some("4"));
        assert_eq!(media.param("w"), None);
    }

    #[test]
    fn what_is_malformed_is_none() {
        for text in ["", "/", "a/", "/b", "a", "a b/c", "a/b/c", "ä/b"] {
            assert_eq!(MediaType::parse(text), None, "{text}");
        }
        for params in ["a/b;x", "a/b;x=", r#"a/b;x="1"#, r#"a/b;x="\"#, "a/b;=1", "a/b;y=ä;x=1"] {
            let media = MediaType::parse(params).expect("the type itself is in order");
            assert_eq!(media.param("x"), None, "{params}");
        }
    }
}
