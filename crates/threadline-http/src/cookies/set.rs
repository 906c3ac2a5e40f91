//! [`SetCookie`]: a cookie that a response sets (RFC 6265 §4.1).
//!
//! Names, values and attributes are checked where they are given, so that none can end the field or begin
//! another attribute. What only the whole cookie shows, its length and what its name promises, is checked
//! when a response is to carry it: what all browsers ignore is not sent.

use std::fmt;
use std::time::{Duration, SystemTime};

use threadline_engine::log::limited;
use threadline_proto::response::Status;

use crate::date;
use crate::framework_error::ErrorKind;
use crate::handler::IntoResponse;
use crate::response::Response;

/// A cookie that a response sets.
///
/// By default clients send it to all paths of this host, over TLS only (`Secure`), do not show it to
/// scripts (`HttpOnly`), do not send it with what other sites make them send except when a link is
/// followed (`SameSite=Lax`), and forget it when they end.
///
/// ```
/// use std::time::Duration;
/// use threadline_http::cookies::{SameSite, SetCookie};
///
/// let cookie = SetCookie::new("session", "31d4d96e407aad42")?
///     .max_age(Duration::from_secs(3600))
///     .same_site(SameSite::Strict);
/// assert_eq!(
///     cookie.to_string(),
///     "session=31d4d96e407aad42; Path=/; Max-Age=3600; Secure; HttpOnly; SameSite=Strict",
/// );
/// assert!(SetCookie::new("session", "a; Domain=evil.example").is_err());
/// # Ok::<(), threadline_http::cookies::SetCookieError>(())
/// ```
///
/// A response carries it as part of a tuple, `(cookie, answer)` or `([cookie, cookie], answer)`, or by
/// [`Response::with_cookie`].
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use = "a cookie is not set until a response carries it"]
pub struct SetCookie {
    name: String,
    value: String,
    path: Option<String>,
    domain: Option<String>,
    max_age: Option<Duration>,
    expires: Option<SystemTime>,
    secure: bool,
    http_only: bool,
    same_site: SameSite,
    partitioned: bool,
}

/// With which requests of other sites a cookie is sent (RFC 6265bis §5.6.7).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum SameSite {
    /// With none.
    Strict,
    /// When the reader follows a link from there.
    #[default]
    Lax,
    /// With all. The cookie is sent over TLS only, whatever else was said: browsers ask for it.
    None,
}

/// Why something cannot be in a cookie: the service's fault, 500 as a response.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum SetCookieError {
    /// The name is empty.
    NoName,
    /// The name has this character, and so is not a token (RFC 9110 §5.6.2).
    Name(char),
    /// The value has this character: whitespace, a quote, comma, semicolon, backslash, control character,
    /// or not of ASCII. [`SetCookie::encoded`] takes anything.
    Value(char),
    /// This is no path that browsers take: it begins with a slash, is of ASCII without semicolons and
    /// control characters, and has at most 1 024 bytes.
    Path(String),
    /// This is no domain that browsers take: a host name in ASCII (`xn--…` for others), at most 1 024
    /// bytes long.
    Domain(String),
}

/// Browsers ignore cookies whose name and value are longer together, and attributes that are longer
/// (RFC 6265bis §5.6).
const PAIR_LEN_MAX: usize = 4096;
const ATTRIBUTE_LEN_MAX: usize = 1024;

impl SetCookie {
    /// A cookie with that name and value, as they are.
    ///
    /// # Errors
    /// If they are not made of the characters that RFC 6265 §4.1.1 allows.
    pub fn new(name: impl Into<String>, value: impl Into<String>) -> Result<Self, SetCookieError> {
        let (name, value) = (name.into(), value.into());
        if name.is_empty() {
            return Err(SetCookieError::NoName);
        }
        if let Some(character) = name.chars().find(|character| !is_name_char(*character)) {
            return Err(SetCookieError::Name(character));
        }
        if let Some(character) = value.chars().find(|character| !is_value_char(*character)) {
            return Err(SetCookieError::Value(character));
        }
        Ok(SetCookie {
            name,
            value,
            path: Some("/".into()),
            domain: None,
            max_age: None,
            expires: None,
            secure: true,
            http_only: true,
            same_site: SameSite::Lax,
            partitioned: false,
        })
    }

    /// The same with any value: what may not be in one is percent-encoded.
    /// [`Cookies::decoded`](super::Cookies::decoded) gets it back.
    ///
    /// # Errors
    /// If the name is none.
    pub fn encoded(name: impl Into<String>, value: &str) -> Result<Self, SetCookieError> {
        let mut encoded = String::with_capacity(value.len());
        for byte in value.bytes() {
            if is_value_char(byte.into()) && byte != b'%' {
                encoded.push(byte.into());
            } else {
                encoded.push_str(&format!("%{byte:02X}"));
            }
        }
        SetCookie::new(name, encoded)
    }

    /// Has clients forget a cookie. Path and domain must be those it was set with.
    ///
    /// # Errors
    /// If the name is none.
    pub fn removal(name: impl Into<String>) -> Result<Self, SetCookieError> {
        let cookie = SetCookie::new(name, "")?.max_age(Duration::ZERO);
        Ok(SetCookie { expires: Some(SystemTime::UNIX_EPOCH), ..cookie })
    }

    /// Only to paths below this one. Default: `/`.
    ///
    /// # Errors
    /// If it does not begin with a slash, has a semicolon, a control character or one that is not of
    /// ASCII, or is longer than 1 024 bytes.
    pub fn path(mut self, path: impl Into<String>) -> Result<Self, SetCookieError> {
        let path = path.into();
        let is_allowed = |byte: u8| matches!(byte, b' '..=b'~') && byte != b';';
        if !path.starts_with('/') || !path.bytes().all(is_allowed) || path.len() > ATTRIBUTE_LEN_MAX
        {
            return Err(SetCookieError::Path(path));
        }
        self.path = Some(path);
        Ok(self)
    }

    /// To all hosts of this domain. Default: this host alone, which is safer.
    ///
    /// # Errors
    /// If it is not a host name in ASCII, or longer than 1 024 bytes.
    pub fn domain(mut self, domain: impl Into<String>) -> Result<Self, SetCookieError> {
        let domain = domain.into();
        let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
        if domain.is_empty() || !domain.bytes().all(is_allowed) || domain.len() > ATTRIBUTE_LEN_MAX
        {
            return Err(SetCookieError::Domain(domain));
        }
        self.domain = Some(domain);
        Ok(self)
    }

    /// Clients keep it so long, in whole seconds; browsers at most 400 days (RFC 6265bis §5.5). Default:
    /// until they end.
    pub fn max_age(mut self, age: Duration) -> Self {
        self.max_age = Some(age);
        self
    }

    /// Clients keep it until then; `max_age` counts more. A time before 1970 is sent as the beginning of
    /// 1970, one after the year 9999 as its end.
    pub fn expires(mut self, at: SystemTime) -> Self {
        self.expires = Some(at);
        self
    }

    /// Also over connections without TLS, as while developing.
    pub fn insecure(mut self) -> Self {
        self.secure = false;
        self
    }

    /// Scripts of the page may read it.
    pub fn for_scripts(mut self) -> Self {
        self.http_only = false;
        self
    }

    /// With which requests of other sites it is sent.
    pub fn same_site(mut self, same_site: SameSite) -> Self {
        self.same_site = same_site;
        self
    }

    /// Kept apart for each site that embeds this one (CHIPS).
    pub fn partitioned(mut self) -> Self {
        self.partitioned = true;
        self
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its value, as it is sent.
    pub fn value(&self) -> &str {
        &self.value
    }

    /// The same cookie with another value, of characters that values have.
    #[cfg(feature = "cookies-secure")]
    pub(super) fn with_value(self, value: String) -> Self {
        debug_assert!(value.chars().all(is_value_char), "a value's characters");
        SetCookie { value, ..self }
    }

    /// Why all browsers would ignore it, if they would.
    fn flaw(&self) -> Option<&'static str> {
        if self.name.len() + self.value.len() > PAIR_LEN_MAX {
            return Some("its name and value are longer than 4096 bytes");
        }
        (!self.keeps_promises()).then_some(
            "it is not what its prefix promises: `__Secure-` is for cookies over TLS alone, `__Host-` also \
             for no domain and the path `/`",
        )
    }

    /// What the prefixes of names promise (RFC 6265bis §4.1.3): `__Secure-` is sent over TLS only,
    /// `__Host-` also to this host alone and all its paths.
    fn keeps_promises(&self) -> bool {
        let prefix = |prefix: &str| {
            self.name.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix))
        };
        let host_only = self.domain.is_none() && self.path.as_deref() == Some("/");
        (!prefix("__Secure-") || self.is_secure())
            && (!prefix("__Host-") || self.is_secure() && host_only)
    }

    fn is_secure(&self) -> bool {
        self.secure || self.same_site == SameSite::None || self.partitioned
    }
}

/// The field's value.
impl fmt::Display for SetCookie {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", self.name, self.value)?;
        let attribute = |f: &mut fmt::Formatter<'_>, name, value: &Option<String>| match value {
            Some(value) => write!(f, "; {name}={value}"),
            None => Ok(()),
        };
        attribute(f, "Path", &self.path)?;
        attribute(f, "Domain", &self.domain)?;
        attribute(f, "Max-Age", &self.max_age.map(|age| age.as_secs().to_string()))?;
        attribute(f, "Expires", &self.expires.map(date::text))?;
        for (is_on, name) in [
            (self.is_secure(), "; Secure"),
            (self.http_only, "; HttpOnly"),
            (self.partitioned, "; Partitioned"),
        ] {
            f.write_str(if is_on { name } else { "" })?;
        }
        write!(f, "; SameSite={:?}", self.same_site)
    }
}

/// A token (RFC 9110 §5.6.2).
fn is_name_char(character: char) -> bool {
    character.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(character)
}

/// A cookie-octet.
fn is_value_char(character: char) -> bool {
    character.is_ascii_graphic() && !matches!(character, '"' | ',' | ';' | '\\')
}

impl fmt::Display for SetCookieError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SetCookieError::NoName => f.write_str("a cookie must have a name"),
            SetCookieError::Name(character) => write!(
                f,
                "the name of a cookie cannot have {character:?}: use letters, digits, `-` and `_`"
            ),
            SetCookieError::Value(character) => {
                write!(
                    f,
                    "the value of a cookie cannot have {character:?}: use `SetCookie::encoded`"
                )
            }
            SetCookieError::Path(text) => {
                write!(f, "{text:?} cannot be the path of a cookie: begin with `/`, percent-encode")
            }
            SetCookieError::Domain(text) => {
                write!(f, "{text:?} cannot be the domain of a cookie: it is a host name in ASCII")
            }
        }
    }
}

impl std::error::Error for SetCookieError {}

impl IntoResponse for SetCookieError {
    fn into_response(self) -> Response {
        limited!(error, "a cookie cannot be set", error = %self);
        Response::error_of(
            ErrorKind::Internal,
            Status::INTERNAL_SERVER_ERROR,
            "the service's log says why",
        )
    }
}

impl Response {
    /// Adds a cookie.
    ///
    /// One that browsers ignore is not sent, and there is a line in the log: one whose name promises what
    /// it does not keep (`__Host-` with a domain), and one whose name and value have together more than
    /// 4 096 bytes, signature included.
    pub fn with_cookie(mut self, cookie: SetCookie) -> Self {
        match cookie.flaw() {
            None => self.append_header("set-cookie", cookie.to_string()),
            Some(flaw) => {
                limited!(error, "a cookie is not sent", name = ?cookie.name, %flaw);
            }
        }
        self
    }
}

impl<T: IntoResponse> IntoResponse for (SetCookie, T) {
    fn into_response(self) -> Response {
        self.1.into_response().with_cookie(self.0)
    }
}

impl<T: IntoResponse, const COUNT: usize> IntoResponse for ([SetCookie; COUNT], T) {
    fn into_response(self) -> Response {
        self.0.into_iter().fold(self.1.into_response(), Response::with_cookie)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc6265_4_1_1_names_and_values_are_checked() {
        assert_eq!(SetCookie::new("", "a"), Err(SetCookieError::NoName));
        for (name, wrong) in
            [("a b", ' '), ("a=b", '='), ("a;b", ';'), ("aä", 'ä'), ("a\r\nset-cookie: x", '\r')]
        {
            assert_eq!(SetCookie::new(name, ""), Err(SetCookieError::Name(wrong)));
        }
        for (value, wrong) in
            [("a b", ' '), ("a;b", ';'), ("\"a\"", '"'), ("a\n", '\n'), ("ü", 'ü'), ("a,b", ',')]
        {
            assert_eq!(SetCookie::new("n", value), Err(SetCookieError::Value(wrong)));
        }
        let cookie = || SetCookie::new("n", "v").expect("in order");
        for path in ["", "a", "/a; Domain=x", "/ä", "/\n", &format!("/{}", "a".repeat(1024))] {
            assert_eq!(cookie().path(path), Err(SetCookieError::Path(path.into())));
        }
        for domain in ["", "x\r\ny", "a b", "a;b", "ü.example", &"a".repeat(1025)] {
            assert_eq!(cookie().domain(domain), Err(SetCookieError::Domain(domain.into())));
        }
        assert!(cookie().path(format!("/{}", "a".repeat(1023))).is_ok());
        assert!(cookie().domain("xn--bcher-kva.example").is_ok());
    }

    #[test]
    fn errors_say_what_to_do() {
        let said = |name: &str, value: &str| {
            SetCookie::new(name, value).expect_err("not in order").to_string()
        };
        assert_eq!(said("", ""), "a cookie must have a name");
        assert!(said("a b", "").contains("the name of a cookie cannot have ' '"));
        assert!(said("a", "b;").ends_with("cannot have ';': use `SetCookie::encoded`"));
    }

    #[test]
    fn times_that_cannot_be_said_are_as_near_as_can_be() {
        let until = |at| SetCookie::new("n", "v").expect("in order").expires(at).to_string();
        let day = Duration::from_secs(86_400);
        let epoch = SystemTime::UNIX_EPOCH;
        assert!(until(epoch - day).contains("Expires=Thu, 01 Jan 1970 00:00:00 GMT"));
        assert!(until(epoch + day * 4_000_000).contains("Expires=Fri, 31 Dec 9999 23:59:59 GMT"));
    }

    #[test]
    fn rfc6265bis_5_6_cookies_that_are_too_long_are_not_sent() {
        let sent = |len| {
            let cookie = SetCookie::new("name", "v".repeat(len)).expect("in order");
            Response::text("").with_cookie(cookie).headers().count()
        };
        assert_eq!((sent(4092), sent(4093)), (1, 0));
    }

    #[test]
    fn every_attribute() {
        let cookie = SetCookie::new("n", "v").expect("in order").path("/a").expect("a path");
        let cookie = cookie.domain("example.com").expect("a domain").insecure().for_scripts();
        let cookie = cookie.expires(SystemTime::UNIX_EPOCH);
        let text =
            "n=v; Path=/a; Domain=example.com; Expires=Thu, 01 Jan 1970 00:00:00 GMT; SameSite=Lax";
        assert_eq!(cookie.to_string(), text);
        let everywhere =
            SetCookie::new("n", "v").expect("in order").insecure().same_site(SameSite::None);
        assert_eq!(everywhere.to_string(), "n=v; Path=/; Secure; HttpOnly; SameSite=None");
        let embedded = SetCookie::new("n", "v").expect("in order").partitioned();
        assert_eq!(
            embedded.to_string(),
            "n=v; Path=/; Secure; HttpOnly; Partitioned; SameSite=Lax"
        );
    }

    #[test]
    fn removals_are_in_the_past() {
        let text = SetCookie::removal("n").expect("in order").to_string();
        assert!(text.starts_with("n=; Path=/; Max-Age=0; Expires=Thu, 01 Jan 1970"), "{text}");
    }

    #[test]
    fn any_value_can_be_encoded() {
        let cookie = SetCookie::encoded("n", "ü; 100%").expect("in order");
        assert_eq!(cookie.value(), "%C3%BC%3B%20100%25");
    }

    #[test]
    fn rfc6265bis_4_1_3_prefixes_keep_their_promise() {
        let count = |cookie: SetCookie| Response::text("").with_cookie(cookie).headers().count();
        let named = |name| SetCookie::new(name, "v").expect("in order");
        assert_eq!(count(named("__Host-a")), 1);
        assert_eq!(count(named("__host-a").insecure()), 0);
        assert_eq!(count(named("__Host-a").path("/b").expect("a path")), 0);
        assert_eq!(count(named("__Host-a").domain("example.org").expect("a domain")), 0);
        assert_eq!(count(SetCookie::removal("__Host-a").expect("in order")), 1);
        assert_eq!(count(named("__Secure-a").path("/b").expect("a path")), 1);
        assert_eq!(count(named("__Secure-a").insecure()), 0);
    }

    #[test]
    fn a_response_may_carry_several() {
        let cookies = ["a", "b"].map(|name| SetCookie::new(name, "v").expect("in order"));
        let response = (cookies, "text").into_response();
        assert_eq!(response.headers().filter(|(name, _)| *name == "set-cookie").count(), 2);
    }
}
