//! The request target (RFC 9112 §3.2): four forms, and which method may have which.
//!
//! The text is ASCII without controls, spaces and fragments when it leaves here. The characters
//! that RFC 3986 reserves for nobody (`|`, `{`, `"` ...) are let through, as browsers send them in
//! queries and no two recipients disagree on where they end.

use memchr::memchr;

use crate::Method;
use crate::request::ParseError;
use crate::request::host;

/// A request target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Target<'i> {
    form: Form<'i>,
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
        self.form
    }

    /// Parses a target. `text` is visible ASCII: that is the request line's business.
    #[inline(always)]
    pub(super) fn parse(method: Method<'_>, text: &'i str) -> Result<Self, ParseError> {
        if method != Method::Connect && text.starts_with('/') {
            return Target::with_path(Form::Origin, text);
        }
        Target::parse_rare(method, text)
    }

    #[cold]
    fn parse_rare(method: Method<'_>, text: &'i str) -> Result<Self, ParseError> {
        if method == Method::Connect {
            // The port has no default here (RFC 9110 §9.3.6).
            let port = text.rsplit_once(':').map(|(_, port)| port);
            if port.is_none_or(str::is_empty) || !host::is_valid(text.as_bytes()) {
                return Err(ParseError::Target);
            }
            return Ok(Target { form: Form::Authority(text), path: "", query: None });
        }
        if text == "*" && method == Method::Options {
            return Ok(Target { form: Form::Asterisk, path: "*", query: None });
        }
        let (scheme, rest) = text.split_once("://").ok_or(ParseError::Target)?;
        let secure = scheme.eq_ignore_ascii_case("https");
        if !secure && !scheme.eq_ignore_ascii_case("http") {
            return Err(ParseError::Target);
        }
        let authority_len = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(authority_len);
        if !host::is_valid(authority.as_bytes()) {
            return Err(ParseError::Target);
        }
        Target::with_path(Form::Absolute { authority, secure }, path)
    }

    #[inline(always)]
    fn with_path(form: Form<'i>, text: &'i str) -> Result<Self, ParseError> {
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
                return Err(ParseError::Target);
            }
            Some(tail) => Some(&tail[1..]),
        };
        let path = if path.is_empty() { "/" } else { path };
        Ok(Target { form, path, query })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn get(text: &str) -> Result<(&str, Option<&str>), ParseError> {
        Target::parse(Method::Get, text).map(|target| (target.path(), target.query()))
    }

    #[test]
    fn rfc9112_3_2_1_origin_form_splits_at_the_first_question_mark() {
        assert_eq!(get("/"), Ok(("/", None)));
        assert_eq!(get("/a?b?c"), Ok(("/a", Some("b?c"))));
        assert_eq!(get("/a?"), Ok(("/a", Some(""))));
        assert_eq!(get("//a/../b"), Ok(("//a/../b", None)));
    }

    #[test]
    fn rfc9112_3_2_2_absolute_form_names_its_host() {
        assert_eq!(get("http://h/a?b"), Ok(("/a", Some("b"))));
        assert_eq!(get("HTTPS://h:1?b"), Ok(("/", Some("b"))));
        let target = Target::parse(Method::Get, "http://h:80").expect("valid");
        assert_eq!(target.form(), Form::Absolute { authority: "h:80", secure: false });
        for text in ["ftp://h/", "http:/h", "http://", "http:///a", "http://u@h/", "http://h#a"] {
            assert_eq!(get(text), Err(ParseError::Target), "{text}");
        }
    }

    #[test]
    fn rfc9112_3_2_3_authority_form_is_for_connect_alone() {
        assert!(Target::parse(Method::Connect, "h:443").is_ok());
        assert!(Target::parse(Method::Connect, "[::1]:443").is_ok());
        for text in ["h", "h:", "/", "h:1/", "http://h:1/", "*", "u@h:1"] {
            assert_eq!(Target::parse(Method::Connect, text), Err(ParseError::Target), "{text}");
        }
        assert_eq!(get("h:443"), Err(ParseError::Target));
    }

    #[test]
    fn rfc9112_3_2_4_asterisk_form_is_for_options_alone() {
        let target = Target::parse(Method::Options, "*").expect("valid");
        assert_eq!((target.form(), target.path()), (Form::Asterisk, "*"));
        assert_eq!(get("*"), Err(ParseError::Target));
        assert!(Target::parse(Method::Options, "*a").is_err());
    }

    #[test]
    fn rfc9110_7_1_fragments_are_refused() {
        for text in ["/#", "/a#b", "/a?b#c", "a", "", "?a"] {
            assert_eq!(get(text), Err(ParseError::Target), "{text}");
        }
    }
}
