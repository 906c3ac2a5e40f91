//! [`CookieLimits`]: how many cookies of a request are looked at.
//!
//! Read by [`Cookies`](super::Cookies) when they are taken out of a request. The length of all of them
//! together is bounded already, by the limit on a request's head.

/// How many cookies of a request are looked at.
///
/// Set for all routes by [`Router::state`](crate::Router::state), or for some by middleware that leaves
/// it in the request's [extensions](crate::Request::extensions); the latter counts more. The request is
/// never refused: cookies beyond the limit are not there.
///
/// ```
/// use threadline_http::Router;
/// use threadline_http::cookies::{CookieLimits, Cookies};
/// use threadline_http::testing::TestClient;
///
/// let count = |cookies: Cookies| cookies.iter().count().to_string();
/// let router = Router::new().state(CookieLimits::default().count_max(2)).get("/", count);
/// let response = TestClient::new(router)?.get("/").header("cookie", "a=1; b=2; c=3").send();
/// assert_eq!(response.text(), "2");
/// # Ok::<(), threadline_http::RouterError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct CookieLimits {
    /// How many cookies are looked at, in the order in which they came. Default 256: browsers keep at
    /// most 180 for a domain. Each one of a name that is asked for may cost a signature or a decryption
    /// for every secret there is.
    pub count_max: usize,
}

impl Default for CookieLimits {
    fn default() -> Self {
        CookieLimits { count_max: 256 }
    }
}

impl CookieLimits {
    /// Sets how many cookies are looked at.
    pub fn count_max(mut self, count: usize) -> Self {
        self.count_max = count;
        self
    }
}
