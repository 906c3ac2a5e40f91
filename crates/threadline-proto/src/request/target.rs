//! The request target (RFC 9112 §3.2): four forms, and which method may have which.
//!
//! The text is ASCII without controls, spaces and fragments when it leaves here. The characters
//! that RFC 3986 reserves for nobody (`|`, `{`, `"` ...) are let through, as browsers send them in
//! queries and no two recipients disagree on where they end.

use memchr::memchr;

use crate::Method;
use crate::request::host;

/// A request target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Target<'i> {
    /// What stands before the path: nothing in most targets. The form is told from this and the path
    /// when it is asked for, which keeps the target small and cheap to hand on.
    base: Option<&'i str>,
    path: &'i str,
    query: Option<&'i str>,
}

/// The form that a target came in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form<'i> {
    /// `/path?query`: what clients send to an origin server.
    Origin,
    /// `http://host/path?query`: what clients send to a proxy. A server must understand it too.
    Absolute {
        /// Host and port, equal to the `Host` field if there is one.
        authority: &'i str,
        /// Whether the scheme was `https`.
        secure: bool,
    },
    /// `host:port`, only with `CONNECT`.
    Authority(&'i str),
    /// `*`, only with `OPTIONS`: the server as a whole.
    Asterisk,
}

impl<'i> Target<'i> {
    /// The path as it came, percent-encoded and beginning with `/`; `*` or empty in the two forms
    /// without one.
    #[inline]
    pub fn path(&self) -> &'i str {
        self.path
    }

    /// What stands behind the first `?`, as it came.
    #[inline]
    pub fn query(&self) -> Option<&'i str> {
        self.query
    }

    /// The form it came in.
    #[inline]
    pub fn form(&self) -> Form<'i> {
        match (self.base, self.path) {
            (None, "*") => Form::Asterisk,
            (None, _) => Form::Origin,
            (Some(authority), "") => Form::Authority(authority),
            (Some(base), _) => {
                let (scheme, authority) = base.split_once("://").unwrap_or(("", base));
                Form::Absolute { authority, secure: scheme.eq_ignore_ascii_case("https") }
            }
        }
    }

    /// Parses a target; `None` if it is none. `text` is visible ASCII: that is the request line's
    /// business.
    #[inline(always)]
    pub(super) fn parse(method: Method<'_>, text: &'i str) -> Option<Self> {
        if method != Method::Connect && text.starts_with('/') {
            return Target::with_path(None, text);
        }
        Target::parse_rare(method, text)
    }

    #[cold]
    fn parse_rare(method: Method<'_>, text: &'i str) -> Option<Self> {
        if method == Method::Connect {
            // The port has no default here (RFC 9110 §9.3.6).
            let port = text.rsplit_once(':').map(|(_, port)| port);
            if port.is_none_or(str::is_empty) || !host::is_valid(text.as_bytes()) {
                return None;
            }
            return Some(Target { base: Some(text), path: "", query: None });
        }
        if text == "*" && method == Method::Options {
            return Some(Target { base: None, path: "*", query: None });
        }
        let (scheme, rest) = text.split_once("://")?;
        if !["http", "https"].iter().any(|known| known.eq_ignore_ascii_case(scheme)) {
            return None;
        }
        let authority_len = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(authority_len);
        if !host::is_valid(authority.as_bytes()) {
            return None;
        }
        let (base, _) = text.split_at(text.len() - path.len());
        Target::with_path(Some(base), path)
    }

    #[inline(always)]
    fn with_path(base: Option<&'i str>, text: &'i str) -> Option<Self> {
        // Byte by byte: most paths are shorter than a vector search takes to begin.
        let path_end = text.bytes().position(|byte| matches!(byte, b'?' | b'#'));
        let (path, query) = match path_end {
            None => (text, None),
            Some(at) => (&text[..at], Some(&text[at..])),
        };
        let query = match query {
            None => None,
            // A fragment never leaves the client (RFC 9110 §7.1).
            Some(tail) if memchr(b'#', tail.as_bytes()).is_some() => {
                return None;
            }
            Some(tail) => Some(&tail[1..]),
        };
        let path = if path.is_empty() { "/" } else { path };
        Some(Target { base, path, query })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn get(text: &str) -> Option<(&str, Option<&str>)> {
        Target::parse(Method::Get, text).map(|target| (target.path(), target.query()))
    }

    #[test]
    fn rfc9112_3_2_1_origin_form_splits_at_the_first_question_mark() {
        assert_eq!(get("/"), Some(("/", None)));
        assert_eq!(get("/a?b?c"), Some(("/a", Some("b?c"))));
        assert_eq!(get("/a?"), Some(("/a", Some(""))));
        assert_eq!(get("//a/../b"), Some(("//a/../b", None)));
    }

    #[test]
    fn rfc9112_3_2_2_absolute_form_names_its_host() {
        assert_eq!(get("http://h/a?b"), Some(("/a", Some("b"))));
        assert_eq!(get("HTTPS://h:1?b"), Some(("/", Some("b"))));
        for (text, secure) in
            [("http://h:80", false), ("httpS://h:80/", true), ("http://h:80?*", false)]
        {
            let target = Target::parse(Method::Get, text).expect("valid");
            assert_eq!(target.form(), Form::Absolute { authority: "h:80", secure }, "{text}");
        }
        for text in ["ftp://h/", "http:/h", "http://", "http:///a", "http://u@h/", "http://h#a"] {
            assert_eq!(get(text), None, "{text}");
        }
    }

    #[test]
    fn rfc9112_3_2_3_authority_form_is_for_connect_alone() {
        assert!(Target::parse(Method::Connect, "h:443").is_some());
        assert!(Target::parse(Method::Connect, "[::1]:443").is_some());
        for text in ["h", "h:", "/", "h:1/", "http://h:1/", "*", "u@h:1"] {
            assert_eq!(Target::parse(Method::Connect, text), None, "{text}");
        }
        assert_eq!(get("h:443"), None);
    }

    #[test]
    fn rfc9112_3_2_4_asterisk_form_is_for_options_alone() {
        let target = Target::parse(Method::Options, "*").expect("valid");
        assert_eq!((target.form(), target.path()), (Form::Asterisk, "*"));
        assert_eq!(get("*"), None);
        assert!(Target::parse(Method::Options, "*a").is_none());
    }

    #[test]
    fn rfc9110_7_1_fragments_are_refused() {
        for text in ["/#", "/a#b", "/a?b#c", "a", "", "?a"] {
            assert_eq!(get(text), None, "{text}");
        }
    }
}
