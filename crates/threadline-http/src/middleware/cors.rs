//! [`Cors`]: which other sites' scripts may ask, and what (Fetch Standard, "CORS protocol").
//!
//! It tells browsers what they may let scripts see. It protects nobody from clients that are no
//! browsers, and does not keep a request from its handler: that is what authentication is for.
//! Preflights are answered here; they never reach a handler.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use threadline_proto::Method;
use threadline_proto::response::Status;

use crate::middleware::fields::add_vary;
use crate::middleware::layer::{Middleware, Next, Refused};
use crate::request::Request;
use crate::response::Response;

/// Middleware for requests of other origins' scripts. Put it around everything that may refuse a request
/// (see the [order of layers](crate::middleware)), and around a whole router, so that it sees
/// the preflights (`OPTIONS`) of all routes.
///
/// ```
/// use std::time::Duration;
/// use threadline_http::middleware::Cors;
/// use threadline_http::{Method, Router};
///
/// let cors = Cors::origins(["https://app.example.org"])
///     .methods([Method::Get, Method::Put])
///     .headers(["content-type", "authorization"])
///     .credentials()
///     .max_age(Duration::from_secs(3600));
/// let router = Router::new().get("/", || "").layer(cors);
/// # router.build().unwrap();
/// ```
#[derive(Debug)]
pub struct Cors {
    origins: Origins,
    /// The value of `Access-Control-Allow-Methods`.
    methods: String,
    headers: AllowedHeaders,
    exposed: Option<String>,
    credentials: Credentials,
    max_age: Duration,
}

enum Origins {
    Any,
    These(Vec<String>),
    Where(Box<dyn Fn(&str) -> bool + Send + Sync>),
}

#[derive(Debug)]
enum AllowedHeaders {
    /// Those that the preflight asks for.
    Asked,
    These(String),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Credentials {
    Omitted,
    Allowed,
}

impl fmt::Debug for Origins {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origins::Any => f.write_str("Any"),
            Origins::These(origins) => f.debug_list().entries(origins).finish(),
            Origins::Where(_) => f.write_str("Where"),
        }
    }
}

impl Cors {
    /// Any site's scripts may read the answers, without credentials. For data that everybody may
    /// have.
    pub fn any_origin() -> Self {
        Cors::new(Origins::Any)
    }

    /// The scripts of these origins, such as `https://app.example.org`: scheme, host, and the port if
    /// it is not the scheme's own, as browsers write them.
    ///
    /// # Panics
    /// If one of them is not written so: no browser would ever send it.
    pub fn origins<T: Into<String>>(origins: impl IntoIterator<Item = T>) -> Self {
        let origins: Vec<String> = origins.into_iter().map(Into::into).collect();
        for origin in &origins {
            assert!(
                is_origin(origin),
                "`{origin}` is no origin: write scheme://host or scheme://host:port, in lower case"
            );
        }
        Cors::new(Origins::These(origins))
    }

    /// The scripts of origins for which `allowed` holds. Beware of comparing ends alone:
    /// `https://example.org.evil.net` and `https://evilexample.org` are other people's.
    pub fn origins_where(allowed: impl Fn(&str) -> bool + Send + Sync + 'static) -> Self {
        Cors::new(Origins::Where(Box::new(allowed)))
    }

    fn new(origins: Origins) -> Self {
        Cors {
            origins,
            methods: "GET, HEAD, POST, PUT, PATCH, DELETE".to_owned(),
            headers: AllowedHeaders::Asked,
            exposed: None,
            credentials: Credentials::Omitted,
            max_age: Duration::from_secs(600),
        }
    }

    /// Sets the methods that scripts may use. Default: `GET`, `HEAD`, `POST`, `PUT`, `PATCH`,
    /// `DELETE`.
    pub fn methods<'m>(mut self, methods: impl IntoIterator<Item = Method<'m>>) -> Self {
        self.methods = join(methods.into_iter().map(Method::as_str));
        self
    }

    /// Sets the header fields that scripts may send beyond the harmless ones. Default: those that
    /// they ask for.
    pub fn headers<'n>(mut self, names: impl IntoIterator<Item = &'n str>) -> Self {
        self.headers = AllowedHeaders::These(join(names));
        self
    }

    /// Sets the header fields of responses that scripts may see beyond the harmless ones. Default:
    /// none.
    pub fn expose<'n>(mut self, names: impl IntoIterator<Item = &'n str>) -> Self {
        self.exposed = Some(join(names)).filter(|names| !names.is_empty());
        self
    }

    /// Lets scripts ask with the user's cookies and other credentials.
    ///
    /// # Panics
    /// After [`Cors::any_origin`]: every site could act as its visitors here. Name the origins.
    pub fn credentials(mut self) -> Self {
        assert!(
            !matches!(self.origins, Origins::Any),
            "credentials for any origin would let every site act as its visitors: name the origins"
        );
        self.credentials = Credentials::Allowed;
        self
    }

    /// Sets how long a browser may remember the answer to a preflight. Default 10 minutes; sent in
    /// whole seconds.
    pub fn max_age(mut self, age: Duration) -> Self {
        self.max_age = age;
        self
    }

    /// The value of `Access-Control-Allow-Origin` for a request, if scripts of its origin may ask.
    fn allow(&self, request: &Request<'_>) -> Option<Cow<'static, str>> {
        let origin = request.header("origin");
        let allowed = match &self.origins {
            // Also where there is no origin: a cache gives this response to scripts, too (Fetch Standard,
            // "CORS protocol and HTTP caches").
            Origins::Any => return Some(Cow::Borrowed("*")),
            Origins::These(origins) => {
                origin.filter(|origin| origins.iter().any(|known| known == origin))
            }
            Origins::Where(allowed) => origin.filter(|origin| allowed(origin)),
        };
        allowed.map(|origin| Cow::Owned(origin.to_owned()))
    }

    fn preflight(&self, request: &Request<'_>) -> Response {
        let mut response = Response::new(Status::NO_CONTENT);
        if self.decorate(request, &mut response) {
            response.set_header("access-control-allow-methods", self.methods.clone());
            let asked = || request.header("access-control-request-headers").map(str::to_owned);
            let headers = match &self.headers {
                AllowedHeaders::Asked => asked(),
                AllowedHeaders::These(names) => Some(names.clone()),
            };
            if let Some(names) = headers.filter(|names| !names.is_empty()) {
                response.set_header("access-control-allow-headers", names);
            }
            let max_age = self.max_age.as_secs().to_string();
            response.set_header("access-control-max-age", max_age);
        }
        for name in ["access-control-request-method", "access-control-request-headers"] {
            add_vary(&mut response, name);
        }
        response
    }

    /// Adds what every response to a script says. Whether this one may see it.
    fn decorate(&self, request: &Request<'_>, response: &mut Response) -> bool {
        if !matches!(self.origins, Origins::Any) {
            // Also where there is no origin: a cache must not give this response to a script.
            add_vary(response, "origin");
        }
        let Some(allow) = self.allow(request) else { return false };
        response.set_header("access-control-allow-origin", allow);
        if self.credentials == Credentials::Allowed {
            response.set_header("access-control-allow-credentials", "true");
        }
        true
    }
}

impl Middleware for Cors {
    fn handle(&self, request: &Request<'_>, next: Next<'_>) -> Response {
        let is_preflight = request.method() == Method::Options
            && request.header("origin").is_some()
            && request.header("access-control-request-method").is_some();
        if is_preflight {
            return self.preflight(request);
        }
        let mut response = next.run(request);
        self.show(request, &mut response);
        response
    }

    fn refused(&self, refused: &Refused<'_>, response: &mut Response) {
        // Without its head nobody knows which site has asked.
        if let Some(request) = refused.request() {
            self.show(request, response);
        }
    }
}

impl Cors {
    /// Lets the script that has asked see the response.
    fn show(&self, request: &Request<'_>, response: &mut Response) {
        if self.decorate(request, response)
            && let Some(names) = &self.exposed
        {
            response.set_header("access-control-expose-headers", names.clone());
        }
    }
}

fn join<'t>(names: impl IntoIterator<Item = &'t str>) -> String {
    names.into_iter().collect::<Vec<_>>().join(", ")
}

/// Whether browsers could send it: `null`, or a scheme and an authority.
fn is_origin(text: &str) -> bool {
    let Some((scheme, authority)) = text.split_once("://") else { return text == "null" };
    let is_host = |byte: u8| byte.is_ascii_graphic() && !b"/?#@*,\\".contains(&byte);
    !scheme.is_empty()
        && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte))
        && !authority.is_empty()
        && authority.bytes().all(is_host)
        && !text.bytes().any(|byte| byte.is_ascii_uppercase())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::middleware::testing::{Stack, request};

    const APP: &str = "https://app.example.org";

    fn simple(cors: Cors, fields: &str) -> Response {
        Stack::of(cors).run(request("GET /", fields), |_| "data")
    }

    fn preflight(cors: Cors, origin: &str, fields: &str) -> Response {
        let fields = format!("Origin: {origin}\r\nAccess-Control-Request-Method: PUT\r\n{fields}");
        Stack::of(cors).run(request("OPTIONS /", &fields), |_| -> Response {
            panic!("a preflight reached the handler")
        })
    }

    fn allowed(response: &Response) -> Option<&str> {
        response.header("access-control-allow-origin")
    }

    #[test]
    fn any_origin_is_a_star_for_all() {
        let response = simple(Cors::any_origin(), "Origin: https://x.example\r\n");
        assert_eq!(allowed(&response), Some("*"));
        assert_eq!(response.header("vary"), None);
        assert_eq!(response.header("access-control-allow-credentials"), None);
        // Nor does it depend on the request, which caches are not told of.
        assert_eq!(allowed(&simple(Cors::any_origin(), "")), Some("*"));
        let exposed = simple(Cors::any_origin().expose(["x-a"]), "");
        assert_eq!(exposed.header("access-control-expose-headers"), Some("x-a"));
    }

    #[test]
    fn listed_origins_are_told_so_and_caches_too() {
        let response = simple(Cors::origins([APP]).credentials(), &format!("Origin: {APP}\r\n"));
        assert_eq!(allowed(&response), Some(APP));
        assert_eq!(response.header("access-control-allow-credentials"), Some("true"));
        assert_eq!(response.header("vary"), Some("origin"));
    }

    #[test]
    fn other_origins_are_told_nothing_but_answered() {
        for origin in ["https://app.example.org.evil.net", "http://app.example.org", "null", ""] {
            let cors = Cors::origins([APP]).credentials().expose(["x-a"]);
            let response = simple(cors, &format!("Origin: {origin}\r\n"));
            assert_eq!(response.status(), Status::OK);
            let fields: Vec<_> = response.headers().collect();
            assert_eq!(fields, [("vary", &"origin".into())], "{origin}");
        }
        assert_eq!(simple(Cors::origins([APP]), "").header("vary"), Some("origin"));
    }

    #[test]
    fn a_rule_can_choose_origins() {
        let cors = || Cors::origins_where(|origin| origin.ends_with(".example.org"));
        assert_eq!(
            allowed(&simple(cors(), "Origin: https://a.example.org\r\n")),
            Some("https://a.example.org")
        );
        assert_eq!(allowed(&simple(cors(), "Origin: https://example.net\r\n")), None);
    }

    #[test]
    fn a_preflight_is_answered_here() {
        let cors = Cors::origins([APP]).max_age(Duration::from_secs(60)).methods([Method::Put]);
        let response = preflight(cors, APP, "Access-Control-Request-Headers: x-a, x-b\r\n");
        assert_eq!(response.status(), Status::NO_CONTENT);
        assert_eq!(allowed(&response), Some(APP));
        assert_eq!(response.header("access-control-allow-methods"), Some("PUT"));
        assert_eq!(response.header("access-control-allow-headers"), Some("x-a, x-b"));
        assert_eq!(response.header("access-control-max-age"), Some("60"));
        let vary: Vec<_> = response.headers().filter(|(name, _)| *name == "vary").collect();
        assert_eq!(vary.len(), 3);
    }

    #[test]
    fn a_preflight_says_only_what_is_allowed() {
        let cors = Cors::any_origin().headers(["x-a"]);
        let response =
            preflight(cors, "https://x.example", "Access-Control-Request-Headers: x-b\r\n");
        assert_eq!(response.header("access-control-allow-headers"), Some("x-a"));
        let response = preflight(Cors::origins([APP]), "https://x.example", "");
        assert_eq!(response.status(), Status::NO_CONTENT);
        assert_eq!(allowed(&response), None);
        assert_eq!(response.header("access-control-allow-methods"), None);
    }

    #[test]
    fn options_that_are_no_preflight_reach_the_handler() {
        let stack = Stack::of(Cors::any_origin().expose(["x-a", "x-b"]));
        let response = stack.run(request("OPTIONS /", "Origin: https://x.example\r\n"), |_| "mine");
        assert_eq!(response.status(), Status::OK);
        assert_eq!(response.header("access-control-expose-headers"), Some("x-a, x-b"));
    }

    #[test]
    #[should_panic(expected = "name the origins")]
    fn credentials_for_everybody_are_refused() {
        let _ = Cors::any_origin().credentials();
    }

    #[test]
    fn what_no_browser_sends_is_no_origin() {
        for good in [APP, "http://localhost:3000", "http://[::1]:80", "null", "tauri://localhost"] {
            assert!(is_origin(good), "{good}");
        }
        for bad in [
            "",
            "*",
            "app.example.org",
            "https://",
            "https://a/",
            "https://A.example",
            "https://*.a",
            "https://u@a",
        ] {
            assert!(!is_origin(bad), "{bad}");
        }
    }
}
