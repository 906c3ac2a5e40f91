//! Request methods (RFC 9110 §9).
//!
//! Borrowed from the head like everything else there; `Method<'static>` is what routes are made of.
//! Methods are case-sensitive: `get` is an extension method that nobody has registered.

use std::fmt;

/// A request method.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Method<'a> {
    /// Transfer a current representation of the target (§9.3.1).
    Get,
    /// As `Get`, without the content (§9.3.2).
    Head,
    /// Process the enclosed content (§9.3.3).
    Post,
    /// Replace the target by the enclosed content (§9.3.4).
    Put,
    /// Remove the target (§9.3.5).
    Delete,
    /// Open a tunnel (§9.3.6).
    Connect,
    /// Ask what may be done with the target (§9.3.7).
    Options,
    /// Loop the request back (§9.3.8).
    Trace,
    /// Change the target by the enclosed instructions (RFC 5789).
    Patch,
    /// Any other token, for example `PROPFIND`.
    Extension(&'a str),
}

impl<'a> Method<'a> {
    /// The method of that name. `name` is taken to be a token.
    #[inline]
    pub fn from_token(name: &'a str) -> Self {
        match name {
            "GET" => Method::Get,
            "HEAD" => Method::Head,
            "POST" => Method::Post,
            "PUT" => Method::Put,
            "DELETE" => Method::Delete,
            "CONNECT" => Method::Connect,
            "OPTIONS" => Method::Options,
            "TRACE" => Method::Trace,
            "PATCH" => Method::Patch,
            other => Method::Extension(other),
        }
    }

    /// Its name, as on the wire.
    pub fn as_str(self) -> &'a str {
        match self {
            Method::Get => "GET",
            Method::Head => "HEAD",
            Method::Post => "POST",
            Method::Put => "PUT",
            Method::Delete => "DELETE",
            Method::Connect => "CONNECT",
            Method::Options => "OPTIONS",
            Method::Trace => "TRACE",
            Method::Patch => "PATCH",
            Method::Extension(name) => name,
        }
    }
}

impl fmt::Display for Method<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_round_trip() {
        for name in [
            "GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH", "PURGE",
        ] {
            assert_eq!(Method::from_token(name).as_str(), name);
        }
    }

    #[test]
    fn methods_are_case_sensitive() {
        assert_eq!(Method::from_token("get"), Method::Extension("get"));
    }
}
