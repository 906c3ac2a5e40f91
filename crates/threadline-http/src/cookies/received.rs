//! [`Cookies`]: what a request brings.
//!
//! Servers must take cookies that they would not set themselves, as others set some too (RFC 6265 §6.1).
//! What is no pair of UTF-8 is skipped, alone. Nothing is copied but the fields, once; pairs are found
//! when they are asked for.

use std::borrow::Cow;
use std::convert::Infallible;

use threadline_proto::percent;

use super::CookieLimits;
use crate::handler::FromRequest;
use crate::request::Request;

/// The cookies of a request. All clients can send whatever they like: see
/// `SignedCookies` (feature `cookies-secure`) for what they must not change.
///
/// ```
/// use threadline_http::cookies::{Cookies, SetCookie, SetCookieError};
/// use threadline_http::testing::TestClient;
/// use threadline_http::{IntoResponse, Response, Router};
///
/// fn visit(cookies: Cookies) -> Result<Response, SetCookieError> {
///     let visits: u32 = cookies.get("visits").and_then(|text| text.parse().ok()).unwrap_or(0);
///     let cookie = SetCookie::new("visits", (visits + 1).to_string())?;
///     Ok((cookie, format!("visit {}", visits + 1)).into_response())
/// }
///
/// let client = TestClient::new(Router::new().get("/", visit))?;
/// let response = client.get("/").header("cookie", "theme=dark; visits=41").send();
/// assert_eq!(response.text(), "visit 42");
/// let set = "visits=42; Path=/; Secure; HttpOnly; SameSite=Lax";
/// assert_eq!(response.header("set-cookie"), Some(set));
/// # Ok::<(), threadline_http::RouterError>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Cookies {
    /// The fields of the request, joined by semicolons, without pieces that are not UTF-8.
    text: String,
    limits: CookieLimits,
}

impl Cookies {
    /// Reads the value of a `Cookie` field.
    pub fn parse(text: impl Into<String>) -> Self {
        Cookies { text: text.into(), limits: CookieLimits::default() }
    }

    /// Sets the limits, in place of the defaults or of those that the request came with.
    pub fn limits(mut self, limits: CookieLimits) -> Self {
        self.limits = limits;
        self
    }

    /// The value of the first cookie of that name. Names differ by case.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.get_all(name).next()
    }

    /// The values of all cookies of that name: clients send one for each path and domain that fits, the
    /// longest path first.
    pub fn get_all(&self, name: &str) -> impl Iterator<Item = &str> {
        self.iter().filter(move |(known, _)| *known == name).map(|(_, value)| value)
    }

    /// The value of the first cookie of that name, percent-decoded: what
    /// [`SetCookie::encoded`](super::SetCookie::encoded) was given. `None` also where it does not decode
    /// to UTF-8.
    pub fn decoded(&self, name: &str) -> Option<Cow<'_, str>> {
        percent::decode(self.get(name)?).ok()
    }

    /// All cookies as name and value, in the order in which they came, up to
    /// [`CookieLimits::count_max`].
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.text.split(';').filter_map(pair).take(self.limits.count_max)
    }

    /// Adds another field of the same request. Some proxies split the field, and HTTP/2 does (RFC 9113
    /// §8.2.3).
    fn push(&mut self, field: &[u8]) {
        let mut push = |piece: &str| {
            if !self.text.is_empty() {
                self.text.push(';');
            }
            self.text.push_str(piece);
        };
        match str::from_utf8(field) {
            Ok(field) => push(field),
            // One cookie of another application in Latin-1 must not hide all others.
            Err(_) => {
                let pieces = field.split(|byte| *byte == b';');
                pieces.filter_map(|piece| str::from_utf8(piece).ok()).for_each(push);
            }
        }
    }
}

/// RFC 6265 §5.2, as far as it is about pairs: whitespace around the name and value is dropped, and so
/// are the quotes around a value.
fn pair(text: &str) -> Option<(&str, &str)> {
    let (name, value) = text.split_once('=')?;
    let (name, value) = (name.trim_matches(BLANK), value.trim_matches(BLANK));
    let unquoted = value.strip_prefix('"').and_then(|value| value.strip_suffix('"'));
    (!name.is_empty()).then_some((name, unquoted.unwrap_or(value)))
}

const BLANK: [char; 2] = [' ', '\t'];

impl FromRequest for Cookies {
    type Rejection = Infallible;

    fn from_request(request: &Request<'_>) -> Result<Self, Infallible> {
        let left = request.extensions().get::<CookieLimits>().map(|limits| *limits);
        let limits = left.or_else(|| request.state::<CookieLimits>().copied()).unwrap_or_default();
        let mut cookies = Cookies { text: String::new(), limits };
        request.headers().all("cookie").for_each(|field| cookies.push(field));
        Ok(cookies)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::cookies::SetCookie;

    fn pairs(text: &str) -> Vec<(String, String)> {
        let cookies = Cookies::parse(text);
        cookies.iter().map(|(name, value)| (name.into(), value.into())).collect()
    }

    fn expected(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect()
    }

    #[test]
    fn rfc6265_5_2_pairs_are_split_and_trimmed() {
        let text = r#"a=1;b = 2 ; c="x y";d=e=f;;g; =h;i=;"j"="k"#;
        let all = [("a", "1"), ("b", "2"), ("c", "x y"), ("d", "e=f"), ("i", ""), ("\"j\"", "\"k")];
        assert_eq!(pairs(text), expected(&all));
    }

    #[test]
    fn the_first_of_several_counts() {
        let cookies = Cookies::parse("a=1; A=2; a=3");
        assert_eq!(
            (cookies.get("a"), cookies.get("A"), cookies.get("b")),
            (Some("1"), Some("2"), None)
        );
        assert_eq!(cookies.get_all("a").collect::<Vec<_>>(), ["1", "3"]);
    }

    #[test]
    fn what_is_not_utf8_is_skipped_alone() {
        let mut cookies = Cookies::default();
        cookies.push(b"a=1; b=\xe4; c=3");
        cookies.push(b"\xff");
        cookies.push("d=\u{fc}".as_bytes());
        let all = [("a", "1"), ("c", "3"), ("d", "\u{fc}")];
        assert_eq!(cookies.iter().collect::<Vec<_>>(), all);
    }

    #[test]
    fn encoded_values_are_decoded_and_broken_ones_are_not_there() {
        let cookies = Cookies::parse("a=%C3%BC%3B%20100%25; b=%f; c=%ff; d=plain");
        assert_eq!(cookies.decoded("a").as_deref(), Some("\u{fc}; 100%"));
        assert_eq!((cookies.decoded("b"), cookies.decoded("c")), (None, None));
        assert!(matches!(cookies.decoded("d"), Some(Cow::Borrowed("plain"))));
    }

    #[test]
    fn only_so_many_are_looked_at() {
        let many: String = (0..300).map(|number| format!("n{number}={number};")).collect();
        let cookies = Cookies::parse(many);
        assert_eq!(cookies.iter().count(), 256);
        assert_eq!((cookies.get("n255"), cookies.get("n256")), (Some("255"), None));
        let cookies = cookies.limits(CookieLimits::default().count_max(300));
        assert_eq!(cookies.get("n299"), Some("299"));
    }

    proptest! {
        #[test]
        fn any_valid_cookies_parse_back(
            pairs in prop::collection::vec(("[!#-'*+.0-9A-Z^_`a-z|~-]{1,8}", "[!#-+./0-9:<-\\[\\]-~-]{0,12}"), 0..8),
        ) {
            let text: Vec<_> = pairs.iter().map(|(name, value)| format!("{name}={value}")).collect();
            prop_assert_eq!(super::tests::pairs(&text.join("; ")), pairs);
        }

        #[test]
        fn no_bytes_panic(fields in prop::collection::vec(any::<Vec<u8>>(), 0..4)) {
            let mut cookies = Cookies::default();
            fields.iter().for_each(|field| cookies.push(field));
            for (name, value) in cookies.iter() {
                prop_assert!(!name.is_empty() && !name.contains([';', '=']) && !value.contains(';'));
                prop_assert!(cookies.get(name).is_some());
            }
        }

        #[test]
        fn any_value_survives_being_encoded_and_decoded(value in any::<String>()) {
            let cookie = SetCookie::encoded("n", &value).expect("in order");
            let cookies = Cookies::parse(format!("n={}", cookie.value()));
            let decoded = cookies.decoded("n");
            prop_assert_eq!(decoded.as_deref(), Some(&*value));
        }
    }
}
