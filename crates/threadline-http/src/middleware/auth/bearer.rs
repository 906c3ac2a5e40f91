//! [`BearerAuth`]: a token in every request (RFC 6750).
//!
//! Taken from the `Authorization` field alone, never from the target: targets end up in logs. Only
//! over TLS.

use std::fmt;

use crate::extract::Header;
use crate::extract::header::Bearer;
use crate::handler::FromRequest;
use crate::middleware::auth::{Principal, is_same, unauthorized};
use crate::middleware::fields::quoted;
use crate::middleware::layer::{BeforeBody, Middleware, Next};
use crate::middleware::noted::{note, noted};
use crate::request::Request;
use crate::response::Response;

type Check = dyn Fn(&str) -> Option<Principal> + Send + Sync;

/// Middleware that lets only those through who have a token that is known; all others get a 401.
/// Leaves a [`Principal`].
///
/// ```
/// use threadline_http::Router;
/// use threadline_http::middleware::{BearerAuth, Principal};
///
/// # struct Claims { subject: String }
/// # fn verify(_: &str) -> Option<Claims> { None }
/// let few = BearerAuth::tokens("api", [("ci", "0fb2e5d0c9"), ("backup", "a81d5c2b7e")]);
/// // It may block, to ask a database.
/// let many = BearerAuth::check("api", |token| Some(Principal::new(verify(token)?.subject)));
/// let router = Router::new().get("/", || "").layer(many);
/// # router.layer(few).build().unwrap();
/// ```
pub struct BearerAuth {
    realm: String,
    check: Box<Check>,
}

impl BearerAuth {
    /// Lets those through who have one of these tokens, as pairs of whose it is and the token, which
    /// are compared in constant time.
    pub fn tokens<N, T>(realm: &str, tokens: impl IntoIterator<Item = (N, T)>) -> Self
    where
        N: AsRef<str>,
        T: Into<String>,
    {
        let tokens: Vec<(Principal, String)> = tokens
            .into_iter()
            .map(|(name, token)| (Principal::new(name.as_ref()), token.into()))
            .collect();
        BearerAuth::check(realm, move |token| {
            // All of them are looked at: the time does not tell which one it was.
            tokens
                .iter()
                .fold(None, |found, (principal, known)| {
                    if is_same(token.as_bytes(), known.as_bytes()) {
                        Some(principal)
                    } else {
                        found
                    }
                })
                .cloned()
        })
    }

    /// Lets those through for whose token `check` says who they are.
    ///
    /// # Panics
    /// If the realm has control characters.
    pub fn check(
        realm: &str,
        check: impl Fn(&str) -> Option<Principal> + Send + Sync + 'static,
    ) -> Self {
        assert!(!realm.contains(char::is_control), "a realm must have no control characters");
        BearerAuth { realm: quoted(realm), check: Box::new(check) }
    }

    /// Who it is, or the challenge of the 401.
    fn authenticate(&self, request: &Request<'_>) -> Result<Principal, String> {
        let Ok(Header(Bearer(token))) = Header::from_request(request) else {
            // RFC 6750 §3: who has said nothing is told no error.
            return Err(format!("Bearer realm={}", self.realm));
        };
        let invalid = || format!("Bearer realm={}, error=\"invalid_token\"", self.realm);
        (self.check)(&token).ok_or_else(invalid)
    }
}

impl Middleware for BearerAuth {
    fn handle(&self, request: &Request<'_>, next: Next<'_>) -> Response {
        let principal = match noted(self, request) {
            Some(principal) => principal,
            None => match self.authenticate(request) {
                Ok(principal) => principal,
                Err(challenge) => return unauthorized(challenge),
            },
        };
        request.extensions().insert::<Principal>(principal);
        next.run(request)
    }

    fn before_body(&self, request: &Request<'_>) -> BeforeBody {
        match self.authenticate(request) {
            Ok(principal) => {
                request.extensions().insert(principal.clone());
                note(self, request, principal);
                BeforeBody::Pass
            }
            Err(challenge) => BeforeBody::Refuse(unauthorized(challenge)),
        }
    }
}

impl fmt::Debug for BearerAuth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BearerAuth").field("realm", &self.realm).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Status;
    use crate::middleware::testing::{Stack, request};

    fn get(fields: &str) -> Response {
        let auth = BearerAuth::tokens("api", [("ci", "abc123=="), ("backup", "x.y-z")]);
        Stack::of(auth).run(request("GET /", fields), |request| {
            request.extensions().get::<Principal>().expect("somebody").to_string()
        })
    }

    #[test]
    fn rfc6750_2_1_known_tokens_say_who_it_is() {
        let ci = get("Authorization: Bearer abc123==\r\n");
        assert_eq!(ci.body().as_bytes(), Some(&b"ci"[..]));
        let backup = get("Authorization: bearer x.y-z\r\n");
        assert_eq!(backup.body().as_bytes(), Some(&b"backup"[..]));
    }

    #[test]
    fn rfc6750_3_all_others_are_challenged() {
        for (fields, challenge) in [
            ("", "Bearer realm=\"api\""),
            ("Authorization: Basic abc123==\r\n", "Bearer realm=\"api\""),
            ("Authorization: Bearer a b\r\n", "Bearer realm=\"api\""),
            ("Authorization: Bearer =\r\n", "Bearer realm=\"api\""),
            ("Authorization: Bearer abc123=\r\n", "Bearer realm=\"api\", error=\"invalid_token\""),
            ("Authorization: Bearer ABC123==\r\n", "Bearer realm=\"api\", error=\"invalid_token\""),
        ] {
            let response = get(fields);
            assert_eq!(response.status(), Status::UNAUTHORIZED, "{fields}");
            assert_eq!(response.header("www-authenticate"), Some(challenge), "{fields}");
        }
    }
}
