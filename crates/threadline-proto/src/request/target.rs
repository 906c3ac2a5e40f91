//! The request target (RFC 9112 §3.2): four forms, and which method may have which.
//!
//! The text is ASCII without controls, spaces and fragments when it leaves here. The characters
//! that RFC 3986 reserves for nobody (`|`, `{`, `"` ...) are let through, as browsers send them in
//! queries and no two recipients disagree on where they end.

use memchr::memchr;

use crate::Method;
use crate::request::host;

/// A request target.
///
/// Two lengths tell its parts, which keeps it small and cheap to make and to hand on; who asks for a
/// part has it cut out and made text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Target<'i> {
    /// All of it. Visible ASCII.
    raw: &'i [u8],
    kind: Kind,
    /// What stands before the path: nothing in most targets.
    base_len: usize,
    /// What stands before the `?` of the query, if there is one.
    path_end: usize,
}

/// [`Form`], without what it holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Origin,
    Absolute,
    Authority,
    Asterisk,
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
        text(self.path_bytes())
    }

    /// The same, as bytes.
    #[inline]
    pub fn path_bytes(&self) -> &'i [u8] {
        match self.raw.get(self.base_len..self.path_end) {
            // Of `http://host` too (RFC 9110 §4.2.3).
            Some([]) if self.kind == Kind::Absolute => b"/",
            path => path.unwrap_or_default(),
        }
    }

    /// What stands behind the first `?`, as it came.
    #[inline]
    pub fn query(&self) -> Option<&'i str> {
        self.raw.get(self.path_end + 1..).map(text)
    }

    /// The form it came in.
    pub fn form(&self) -> Form<'i> {
        let base = text(self.raw.get(..self.base_len).unwrap_or_default());
        match self.kind {
            Kind::Origin => Form::Origin,
            Kind::Asterisk => Form::Asterisk,
            Kind::Authority => Form::Authority(base),
            Kind::Absolute => {
                let (scheme, authority) = base.split_once("://").unwrap_or(("", base));
                Form::Absolute { authority, secure: scheme.eq_ignore_ascii_case("https") }
            }
        }
    }

    /// All of it, as it came.
    pub(super) fn raw(&self) -> &'i [u8] {
        self.raw
    }

    /// The same target, where its text is in another place.
    pub(super) fn moved<'o>(self, raw: &'o [u8]) -> Target<'o> {
        let Target { kind, base_len, path_end, .. } = self;
        Target { raw, kind, base_len, path_end }
    }

    /// Whether it is of a form with a path: `Origin` or `Absolute`.
    #[inline]
    pub fn has_path(&self) -> bool {
        matches!(self.kind, Kind::Origin | Kind::Absolute)
    }

    /// Whether it is of a form that says which host it is for.
    #[inline]
    pub(super) fn names_a_host(&self) -> bool {
        matches!(self.kind, Kind::Absolute | Kind::Authority)
    }

    /// Parses a target; `None` if it is none. That `raw` is visible ASCII, and how much of it stands
    /// before the first `?` or `#`, is known from the request line.
    #[inline(always)]
    pub(super) fn parse(method: Method<'_>, raw: &'i [u8], path_end: usize) -> Option<Self> {
        let (kind, base_len) = match raw {
            [b'/', ..] if method != Method::Connect => (Kind::Origin, 0),
            _ => rare_kind(method, text(raw))?,
        };
        // A fragment never leaves the client (RFC 9110 §7.1).
        let has_fragment = path_end < raw.len() && memchr(b'#', raw).is_some();
        (!has_fragment).then_some(Target { raw, kind, base_len, path_end })
    }
}

/// Of a target that is no path, its kind and the length of what stands before the path.
#[cold]
fn rare_kind(method: Method<'_>, text: &str) -> Option<(Kind, usize)> {
    if method == Method::Connect {
        // The port has no default here (RFC 9110 §9.3.6).
        let port = text.rsplit_once(':').map(|(_, port)| port);
        let is_whole = port.is_some_and(|port| !port.is_empty()) && host::is_valid(text.as_bytes());
        return is_whole.then_some((Kind::Authority, text.len()));
    }
    if text == "*" && method == Method::Options {
        return Some((Kind::Asterisk, 0));
    }
    let (scheme, rest) = text.split_once("://")?;
    if !["http", "https"].iter().any(|known| known.eq_ignore_ascii_case(scheme)) {
        return None;
    }
    let authority = &rest[..rest.find(['/', '?', '#']).unwrap_or(rest.len())];
    let base_len = scheme.len() + "://".len() + authority.len();
    host::is_valid(authority.as_bytes()).then_some((Kind::Absolute, base_len))
}

/// What is known to be ASCII.
#[inline]
fn text(ascii: &[u8]) -> &str {
    str::from_utf8(ascii).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scan;

    fn parse<'t>(method: Method<'_>, text: &'t str) -> Option<Target<'t>> {
        Target::parse(method, text.as_bytes(), scan::path_len(text.as_bytes()))
    }

    fn get(text: &str) -> Option<(&str, Option<&str>)> {
        parse(Method::Get, text).map(|target| (target.path(), target.query()))
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
            let target = parse(Method::Get, text).expect("valid");
            assert_eq!(target.form(), Form::Absolute { authority: "h:80", secure }, "{text}");
        }
        for text in ["ftp://h/", "http:/h", "http://", "http:///a", "http://u@h/", "http://h#a"] {
            assert_eq!(get(text), None, "{text}");
        }
    }

    #[test]
    fn rfc9112_3_2_3_authority_form_is_for_connect_alone() {
        assert!(parse(Method::Connect, "h:443").is_some());
        assert!(parse(Method::Connect, "[::1]:443").is_some());
        for text in ["h", "h:", "/", "h:1/", "http://h:1/", "*", "u@h:1"] {
            assert_eq!(parse(Method::Connect, text), None, "{text}");
        }
        assert_eq!(get("h:443"), None);
    }

    #[test]
    fn rfc9112_3_2_two_forms_have_a_path_and_two_name_a_host() {
        for (method, text, path, names_a_host) in [
            (Method::Get, "/a?b", Some("/a"), false),
            (Method::Get, "http://h/a?b", Some("/a"), true),
            (Method::Get, "http://h", Some("/"), true),
            (Method::Connect, "h:443", None, true),
            (Method::Connect, "[::1]:443", None, true),
            (Method::Options, "*", None, false),
        ] {
            let target = parse(method, text).expect("valid");
            assert_eq!(target.has_path(), path.is_some(), "{text}");
            assert_eq!(target.names_a_host(), names_a_host, "{text}");
            // Of a tunnel there is nothing to be found at any path; `*` is the server as a whole.
            let rest = if text == "*" { "*" } else { "" };
            assert_eq!(target.path(), path.unwrap_or(rest), "{text}");
            assert_eq!(target.path_bytes(), target.path().as_bytes(), "{text}");
        }
        let target = parse(Method::Connect, "h:443").expect("valid");
        assert_eq!((target.form(), target.query()), (Form::Authority("h:443"), None));
    }

    #[test]
    fn rfc9112_3_2_4_asterisk_form_is_for_options_alone() {
        let target = parse(Method::Options, "*").expect("valid");
        assert_eq!((target.form(), target.path()), (Form::Asterisk, "*"));
        assert_eq!(get("*"), None);
        assert!(parse(Method::Options, "*a").is_none());
    }

    #[test]
    fn rfc9110_7_1_fragments_are_refused() {
        for text in ["/#", "/a#b", "/a?b#c", "a", "", "?a"] {
            assert_eq!(get(text), None, "{text}");
        }
    }
}
