//! Who the client says it is: the two common kinds of `Authorization` (RFC 9110 §11.6.2).
//!
//! They only say what was sent. To have it checked for a part of the service, use the middleware
//! [`BasicAuth`](crate::middleware::BasicAuth) and [`BearerAuth`](crate::middleware::BearerAuth).

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::FromHeader;

/// A name and a password (RFC 7617).
///
/// ```
/// use threadline_http::FromHeader;
/// use threadline_http::extract::header::Basic;
///
/// let basic = Basic::from_header("Basic YWRhOnNlY3JldDox").unwrap();
/// assert_eq!((&*basic.name, &*basic.password), ("ada", "secret:1"));
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Basic {
    /// Has no colon.
    pub name: String,
    /// Compare it in constant time, or better its hash.
    pub password: String,
}

/// A token (RFC 6750).
///
/// ```
/// use threadline_http::FromHeader;
/// use threadline_http::extract::header::Bearer;
///
/// assert_eq!(Bearer::from_header("bearer abc.def").unwrap().0, "abc.def");
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Bearer(pub String);

/// Why an `Authorization` is not of the kind that was asked for. What was sent is not repeated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OtherCredentials(&'static str);

impl fmt::Display for OtherCredentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "expected {}", self.0)
    }
}

impl std::error::Error for OtherCredentials {}

impl FromHeader for Basic {
    const NAME: &'static str = "authorization";
    type Error = OtherCredentials;

    fn from_header(value: &str) -> Result<Self, OtherCredentials> {
        let pair = || {
            let decoded = STANDARD.decode(of_scheme(value, "basic")?).ok()?;
            let text = String::from_utf8(decoded).ok()?;
            let (name, password) = text.split_once(':')?;
            let is_clean = !text.contains(char::is_control);
            is_clean.then(|| Basic { name: name.to_owned(), password: password.to_owned() })
        };
        pair().ok_or(OtherCredentials("`Basic`, and a name and a password in base64"))
    }
}

impl FromHeader for Bearer {
    const NAME: &'static str = "authorization";
    type Error = OtherCredentials;

    fn from_header(value: &str) -> Result<Self, OtherCredentials> {
        let token = of_scheme(value, "bearer").filter(|token| is_b64token(token));
        token.map(|token| Bearer(token.to_owned())).ok_or(OtherCredentials("`Bearer` and a token"))
    }
}

/// What is behind the scheme's name, which may be in any case.
fn of_scheme<'v>(value: &'v str, scheme: &str) -> Option<&'v str> {
    let (known, rest) = value.split_once(' ')?;
    known.eq_ignore_ascii_case(scheme).then(|| rest.trim_start_matches(' '))
}

/// RFC 6750 §2.1.
fn is_b64token(text: &str) -> bool {
    let body = text.trim_end_matches('=');
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~+/".contains(&byte);
    !body.is_empty() && body.bytes().all(is_allowed)
}

/// Without the password.
impl fmt::Debug for Basic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Basic").field("name", &self.name).finish_non_exhaustive()
    }
}

/// Without the token.
impl fmt::Debug for Bearer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Bearer").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_of_another_kind_or_malformed_is_refused() {
        for value in
            ["", "Basic", "Basic ", "Basic %%", "Basic YWRh", "Bearer YWRhOnM=", "Basic YTpiCg=="]
        {
            assert!(Basic::from_header(value).is_err(), "{value}");
        }
        for value in ["", "Bearer", "Bearer ", "Bearer =", "Bearer a b", "Bearer a,b", "Basic abc"]
        {
            assert!(Bearer::from_header(value).is_err(), "{value}");
        }
    }

    #[test]
    fn secrets_are_not_shown_in_logs() {
        let basic = Basic { name: "ada".into(), password: "hunter2".into() };
        let shown = format!("{basic:?} {:?}", Bearer("hunter2".into()));
        assert!(shown.contains("ada") && !shown.contains("hunter2"), "{shown}");
    }
}
