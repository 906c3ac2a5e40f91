//! A route's pattern, in the spelling that requests are looked up in.
//!
//! Made once for each route, before the service starts. A path has many spellings (RFC 3986 §6.2.2), and a
//! program may write any of them in a pattern, UTF-8 included; here they become the one that
//! [`percent::normalize`] makes of paths. What cannot match any path is refused, with what to write
//! instead.

use std::borrow::Cow;

use threadline_proto::percent::{self, PathError};

use super::RouterError;

/// A pattern, checked.
#[derive(Debug)]
pub(super) struct Pattern {
    /// As it was written: for names and errors.
    pub(super) written: String,
    /// With its fixed parts in normal form.
    pub(super) normal: String,
    /// The same with the characters as they are that have no place in a path (`|`, `{`), if there are some:
    /// that is how a path without any escape has them.
    pub(super) raw: Option<String>,
    /// How many parameters there are.
    pub(super) params: usize,
}

impl Pattern {
    pub(super) fn parse(written: String) -> Result<Self, RouterError> {
        let refuse = |reason: &str| {
            Err(RouterError::Pattern { pattern: written.clone(), reason: reason.to_owned() })
        };
        if !written.starts_with('/') {
            return refuse(no_path(&written));
        }
        if written.contains(['?', '#']) {
            return refuse("it is matched against the path alone, without query");
        }
        if written.contains(|char: char| char == ' ' || char.is_control()) {
            return refuse("write spaces and control characters percent-encoded: `%20`");
        }
        // As other routers have it. These characters are not meant literally.
        if written.contains("/:") {
            return refuse("a parameter is written `{name}`, not `:name`");
        }
        if written.contains("/*") {
            return refuse("the rest of a path is written `{*name}`, not `*name`");
        }
        let (mut normal, mut raw, mut params) = (String::new(), String::new(), 0);
        for part in Parts(&written) {
            match part {
                Part::Fixed(text) => match percent::normalize_all(&text) {
                    Ok(encoded) => {
                        normal.push_str(&encoded);
                        let unescaped = text.replace('{', "{{").replace('}', "}}");
                        raw.push_str(&unescaped);
                    }
                    Err(error) => return refuse(reason(error)),
                },
                Part::Param(text) => {
                    normal.push_str(text);
                    raw.push_str(text);
                    params += 1;
                }
            }
        }
        if normal.split('/').any(|segment| matches!(segment, "." | "..")) {
            return refuse(reason(PathError::DotSegment));
        }
        // A path with escapes is always in normal form when it is looked up.
        let is_asked_for = raw.is_ascii() && !raw.contains('%') && raw != normal;
        Ok(Pattern { written, normal, raw: is_asked_for.then_some(raw), params })
    }

    /// The same pattern for the paths with a slash after them.
    pub(super) fn with_slash(&self) -> Self {
        let slashed = |text: &String| format!("{text}/");
        Pattern {
            written: self.written.clone(),
            normal: slashed(&self.normal),
            raw: self.raw.as_ref().map(slashed),
            params: self.params,
        }
    }
}

/// What to write in place of something that does not begin with a slash.
fn no_path(written: &str) -> &'static str {
    let is_method = |word: &str| !word.is_empty() && word.bytes().all(|b| b.is_ascii_uppercase());
    if written == "*" {
        "it must begin with a slash: all paths are `/{*path}`"
    } else if written.split_once(' ').is_some_and(|(word, _)| is_method(word)) {
        "it must be the path alone, which begins with a slash: the method is the function that adds the \
         route, such as `get`"
    } else if written.contains("://") {
        "it must be the path alone, which begins with a slash: without scheme and host"
    } else {
        "it must begin with a slash"
    }
}

fn reason(error: PathError) -> &'static str {
    match error {
        PathError::DotSegment => "clients resolve the segments `.` and `..` before they ask",
        _ => "a `%` must have two hexadecimal digits after it",
    }
}

/// A part of a pattern.
#[derive(Debug, PartialEq, Eq)]
enum Part<'p> {
    /// Text of the path, its braces no longer doubled.
    Fixed(Cow<'p, str>),
    /// A parameter with its braces, or what looks like one: `matchit` says what is wrong with it.
    Param(&'p str),
}

/// The parts of a pattern in order.
struct Parts<'p>(&'p str);

impl<'p> Iterator for Parts<'p> {
    type Item = Part<'p>;

    fn next(&mut self) -> Option<Part<'p>> {
        let text = self.0;
        let brace = text.find(['{', '}']).unwrap_or(text.len());
        let (part, len) = match text.get(brace..) {
            _ if text.is_empty() => return None,
            _ if brace > 0 => (Part::Fixed(Cow::Borrowed(&text[..brace])), brace),
            Some(braces) if braces.starts_with("{{") || braces.starts_with("}}") => {
                (Part::Fixed(Cow::Borrowed(&text[..1])), 2)
            }
            _ => {
                let len = text.find('}').map_or(text.len(), |end| end + 1);
                (Part::Param(&text[..len]), len)
            }
        };
        self.0 = &text[len..];
        Some(part)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spellings(written: &str) -> (String, Option<String>, usize) {
        let pattern = Pattern::parse(written.to_owned()).expect("a good pattern");
        assert_eq!(pattern.written, written);
        (pattern.normal, pattern.raw, pattern.params)
    }

    #[test]
    fn rfc3986_6_2_2_all_spellings_become_one() {
        for (written, normal) in [
            ("/", "/"),
            ("/a-b._~", "/a-b._~"),
            ("/%68ello", "/hello"),
            ("/caf\u{e9}", "/caf%C3%A9"),
            ("/caf%c3%A9", "/caf%C3%A9"),
            ("/a%2fb", "/a%2Fb"),
            ("/a!$&'()*+,;=:@", "/a!$&'()*+,;=:@"),
            ("/%21", "/%21"),
            ("/{a}/%41{b}-\u{e4}/{*rest}", "/{a}/A{b}-%C3%A4/{*rest}"),
            ("//a/", "//a/"),
        ] {
            assert_eq!(spellings(written).0, normal, "{written}");
            assert_eq!(spellings(written).1, None, "{written}");
        }
        assert_eq!(spellings("/{a}/%41{b}-\u{e4}/{*rest}").2, 3);
    }

    #[test]
    fn characters_without_a_place_in_a_path_are_found_raw_and_encoded() {
        for (written, normal, raw) in [
            ("/{{a}}", "/%7Ba%7D", Some("/{{a}}")),
            ("/a|b/{c}", "/a%7Cb/{c}", Some("/a|b/{c}")),
            ("/\"<>\\^`[]", "/%22%3C%3E%5C%5E%60%5B%5D", Some("/\"<>\\^`[]")),
            // A path with an escape is looked up in its normal form alone.
            ("/a|%20", "/a%7C%20", None),
            ("/a|\u{e4}", "/a%7C%C3%A4", None),
            ("/%7ba}}", "/%7Ba%7D", None),
        ] {
            assert_eq!(spellings(written).0, normal, "{written}");
            assert_eq!(spellings(written).1.as_deref(), raw, "{written}");
        }
    }

    #[test]
    fn what_does_not_begin_with_a_slash_is_refused_with_what_to_write() {
        for (pattern, expected) in [
            ("a", "it must begin with a slash"),
            ("", "it must begin with a slash"),
            ("*", "all paths are `/{*path}`"),
            ("GET *", "the method is the function that adds the route"),
            ("GET /a", "the method is the function that adds the route"),
            ("http://example.com/a", "without scheme and host"),
        ] {
            let error = Pattern::parse(pattern.to_owned()).expect_err(pattern).to_string();
            assert!(error.contains(expected), "{pattern}: {error}");
        }
    }

    #[test]
    fn what_no_path_can_match_is_refused() {
        for (written, hint) in [
            ("", "begin with a slash"),
            ("a", "begin with a slash"),
            ("/a?b", "without query"),
            ("/a#b", "without query"),
            ("/a b", "%20"),
            ("/a\u{85}", "control characters"),
            ("/:id", "`{name}`"),
            ("/*rest", "`{*name}`"),
            ("/%", "two hexadecimal digits"),
            ("/a%4/b", "two hexadecimal digits"),
            ("/%zz", "two hexadecimal digits"),
            ("/..", "resolve"),
            ("/a/./b", "resolve"),
            ("/a/%2e%2E/b", "resolve"),
            ("/.%2e", "resolve"),
        ] {
            match Pattern::parse(written.to_owned()) {
                Err(RouterError::Pattern { pattern, reason }) => {
                    assert_eq!(pattern, written);
                    assert!(reason.contains(hint), "{written}: {reason}");
                }
                other => panic!("{written}: {other:?}"),
            }
        }
    }
}
