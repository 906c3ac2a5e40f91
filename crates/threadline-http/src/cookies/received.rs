//! [`Cookies`]: what a request brings.
//!
//! Servers must take cookies that they would not set themselves, as others set some too (RFC 6265 §6.1).
//! What is no pair is skipped. How many there are is bounded by the length of a request's head.

use std::convert::Infallible;

use crate::handler::FromRequest;
use crate::request::Request;

/// The cookies of a request. All clients can send whatever they like: see
/// [`SignedCookies`](crate::cookies::SignedCookies) for what they must not change.
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
    /// The fields of the request, joined.
    text: String,
}

impl Cookies {
    /// Reads the value of a `Cookie` field.
    pub fn parse(text: impl Into<String>) -> Self {
        Cookies { text: text.into() }
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

    /// All cookies as name and value, in the order in which they came.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.text.split(';').filter_map(pair)
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
        let fields = request.headers();
        let fields = fields.all("cookie").filter_map(|value| std::str::from_utf8(value).ok());
        // Some proxies split the field.
        let text = fields.fold(String::new(), |mut text, field| {
            text.push_str(if text.is_empty() { "" } else { ";" });
            text.push_str(field);
            text
        });
        Ok(Cookies { text })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

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

    proptest! {
        #[test]
        fn any_valid_cookies_parse_back(
            pairs in prop::collection::vec(("[!#-'*+.0-9A-Z^_`a-z|~-]{1,8}", "[!#-+./0-9:<-\\[\\]-~-]{0,12}"), 0..8),
        ) {
            let text: Vec<_> = pairs.iter().map(|(name, value)| format!("{name}={value}")).collect();
            prop_assert_eq!(super::tests::pairs(&text.join("; ")), pairs);
        }

        #[test]
        fn no_text_panics(text in any::<String>()) {
            for (name, value) in Cookies::parse(text).iter() {
                prop_assert!(!name.is_empty() && !value.contains(';'));
            }
        }
    }
}
