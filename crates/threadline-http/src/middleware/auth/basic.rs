//! [`BasicAuth`]: a name and a password in every request (RFC 7617).
//!
//! Only over TLS: everybody on the way can read them otherwise.

use std::fmt;

use crate::extract::Header;
use crate::extract::header::Basic;
use crate::handler::FromRequest;
use crate::middleware::auth::{Principal, is_same, unauthorized};
use crate::middleware::fields::quoted;
use crate::middleware::layer::{BeforeBody, Middleware, Next};
use crate::middleware::noted::{note, noted};
use crate::request::Request;
use crate::response::Response;

type Check = dyn Fn(&str, &str) -> bool + Send + Sync;

/// Middleware that lets only those through who say a name and its password; all others get a 401.
/// Leaves a [`Principal`] of that name.
///
/// ```
/// use threadline_http::Router;
/// use threadline_http::middleware::BasicAuth;
///
/// # fn lookup_and_verify(_: &str, _: &str) -> bool { true }
/// let few = BasicAuth::users("metrics", [("prometheus", "a long password")]);
/// // It may block: a slow password hash is as it should be.
/// let many = BasicAuth::check("shop", |name, password| lookup_and_verify(name, password));
/// let router = Router::new().get("/", || "").layer(many);
/// # router.layer(few).build().unwrap();
/// ```
pub struct BasicAuth {
    challenge: String,
    check: Box<Check>,
}

impl BasicAuth {
    /// Lets these users through, as pairs of name and password, which are compared in constant time.
    /// `realm` tells people what the password is for.
    pub fn users<N, P>(realm: &str, users: impl IntoIterator<Item = (N, P)>) -> Self
    where
        N: Into<String>,
        P: Into<String>,
    {
        let users: Vec<(String, String)> =
            users.into_iter().map(|(name, password)| (name.into(), password.into())).collect();
        BasicAuth::check(realm, move |name, password| {
            // All of them are looked at: the time does not tell which names there are.
            users.iter().fold(false, |found, (known_name, known_password)| {
                let same_name = is_same(name.as_bytes(), known_name.as_bytes());
                let same_password = is_same(password.as_bytes(), known_password.as_bytes());
                found | (same_name & same_password)
            })
        })
    }

    /// Lets those through for whose name and password `check` holds. It should compare in constant
    /// time, or a password hash.
    ///
    /// # Panics
    /// If the realm has control characters.
    pub fn check(realm: &str, check: impl Fn(&str, &str) -> bool + Send + Sync + 'static) -> Self {
        assert!(!realm.contains(char::is_control), "a realm must have no control characters");
        let challenge = format!("Basic realm={}, charset=\"UTF-8\"", quoted(realm));
        BasicAuth { challenge, check: Box::new(check) }
    }

    fn authenticate(&self, request: &Request<'_>) -> Option<Principal> {
        let Header(Basic { name, password }) = Header::from_request(request).ok()?;
        (self.check)(&name, &password).then(|| Principal::new(name))
    }
}

impl Middleware for BasicAuth {
    fn handle(&self, request: &Request<'_>, next: Next<'_>) -> Response {
        let principal = noted(self, request).or_else(|| self.authenticate(request));
        let Some(principal) = principal else {
            return unauthorized(self.challenge.clone());
        };
        request.extensions().insert::<Principal>(principal);
        next.run(request)
    }

    fn before_body(&self, request: &Request<'_>) -> BeforeBody {
        let Some(principal) = self.authenticate(request) else {
            return BeforeBody::Refuse(unauthorized(self.challenge.clone()));
        };
        request.extensions().insert(principal.clone());
        note(self, request, principal);
        BeforeBody::Pass
    }
}

impl fmt::Debug for BasicAuth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BasicAuth").field("challenge", &self.challenge).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;

    use super::*;
    use crate::Status;
    use crate::middleware::testing::{Stack, request};

    fn get(credentials: &str) -> Response {
        let auth = BasicAuth::users("a \"realm\"", [("alice", "p:w"), ("bob", "ü")]);
        let fields = format!("Authorization: Basic {credentials}\r\n");
        Stack::of(auth).run(request("GET /", &fields), |request| {
            request.extensions().get::<Principal>().expect("somebody").to_string()
        })
    }

    #[test]
    fn rfc7617_2_names_and_passwords() {
        for (pair, name) in [("alice:p:w", "alice"), ("bob:ü", "bob")] {
            let response = get(&STANDARD.encode(pair));
            assert_eq!(response.body().as_bytes(), Some(name.as_bytes()), "{pair}");
        }
    }

    #[test]
    fn all_others_are_challenged() {
        let encoded = [
            "alice:",
            "alice:p:",
            "alice:p:ww",
            "bob:p:w",
            "alice",
            ":",
            "Alice:p:w",
            "alice:p:w\n",
        ];
        let encoded = encoded.map(|pair| STANDARD.encode(pair));
        let malformed = ["", "%%%", "YWxpY2U6cDp3=", "YWxpY2U6cDp", "/////w=="].map(str::to_owned);
        for credentials in encoded.into_iter().chain(malformed) {
            let response = get(&credentials);
            assert_eq!(response.status(), Status::UNAUTHORIZED, "{credentials}");
            let challenge = response.header("www-authenticate");
            assert_eq!(challenge, Some(r#"Basic realm="a \"realm\"", charset="UTF-8""#));
        }
    }

    #[test]
    fn passwords_are_not_shown_in_logs() {
        let shown = format!("{:?}", BasicAuth::users("x", [("alice", "hunter2")]));
        assert!(!shown.contains("hunter2"), "{shown}");
    }
}
