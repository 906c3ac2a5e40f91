//! [`SignedCookies`]: cookies that clients can read, and not change.
//!
//! Sent as `value.code`, where the code is an HMAC (RFC 2104) with SHA-256 over `name=value`, in base64.
//! The name is part of it, or one cookie's value could be sent as another's.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use super::keys::{CookieKeys, Pair};
use super::{Cookies, SetCookie};
use crate::handler::{FromRequest, Needs, NotThere, State};
use crate::request::Request;

/// The cookies of a request that this service signed, and the way to sign others. Needs
/// [`CookieKeys`] as state. A value that was changed, or was not signed, is left out.
///
/// ```
/// use threadline_http::cookies::{CookieKeys, SetCookie, SetCookieError, SignedCookies};
/// use threadline_http::{IntoResponse, Response, Router, Status};
///
/// fn login(cookies: SignedCookies) -> Result<Response, SetCookieError> {
///     Ok((cookies.sign(SetCookie::new("user", "ada")?), "welcome").into_response())
/// }
///
/// fn whoami(cookies: SignedCookies) -> Result<String, Status> {
///     cookies.get("user").map(str::to_owned).ok_or(Status::UNAUTHORIZED)
/// }
///
/// let keys = CookieKeys::random();
/// let router = Router::new().state(keys).post("/login", login).get("/whoami", whoami);
/// # router.build()?;
/// # Ok::<(), threadline_http::RouterError>(())
/// ```
#[derive(Debug, Clone)]
pub struct SignedCookies {
    received: Cookies,
    keys: CookieKeys,
}

impl SignedCookies {
    /// The value of the first cookie of that name that this service signed.
    pub fn get(&self, name: &str) -> Option<&str> {
        let all = self.received.get_all(name);
        all.filter_map(|sent| sent.rsplit_once('.'))
            .find(|(value, code)| self.keys.all().any(|keys| is_good(keys, name, value, code)))
            .map(|(value, _)| value)
    }

    /// Signs a cookie, to be set by a response.
    pub fn sign(&self, cookie: SetCookie) -> SetCookie {
        let code = mac(self.keys.newest(), cookie.name(), cookie.value()).finalize().into_bytes();
        let value = format!("{}.{}", cookie.value(), URL_SAFE_NO_PAD.encode(code));
        cookie.with_value(value)
    }
}

/// A code of 32 bytes in base64.
const CODE_LEN: usize = 43;

/// In constant time. A value that cannot be a code is refused without hashing.
fn is_good(keys: &Pair, name: &str, value: &str, code: &str) -> bool {
    if code.len() != CODE_LEN {
        return false;
    }
    let code = URL_SAFE_NO_PAD.decode(code);
    code.is_ok_and(|code| mac(keys, name, value).verify_slice(&code).is_ok())
}

fn mac(keys: &Pair, name: &str, value: &str) -> Hmac<Sha256> {
    let mut mac = Hmac::<Sha256>::new_from_slice(&keys.signing).expect("any length is a key");
    // A name has no `=`: no other pair gives the same text.
    [name, "=", value].into_iter().for_each(|part| mac.update(part.as_bytes()));
    mac
}

impl FromRequest for SignedCookies {
    type Rejection = NotThere;

    fn needs(needs: &mut Needs) {
        needs.state::<CookieKeys>();
    }

    fn from_request(request: &Request<'_>) -> Result<Self, NotThere> {
        let State(keys) = State::from_request(request)?;
        let Ok(received) = Cookies::from_request(request);
        Ok(SignedCookies { received, keys })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(keys: &CookieKeys, received: &str) -> SignedCookies {
        SignedCookies { received: Cookies::parse(received), keys: keys.clone() }
    }

    fn keys(byte: u8) -> CookieKeys {
        CookieKeys::from_secret(&[byte; 32]).expect("long enough")
    }

    fn signed(keys: &CookieKeys, name: &str, value: &str) -> String {
        with(keys, "").sign(SetCookie::new(name, value).expect("in order")).value().to_owned()
    }

    #[test]
    fn what_was_signed_comes_back() {
        for value in ["ada", "", "a.b.c", "x=y"] {
            let sent = signed(&keys(1), "user", value);
            assert_eq!(with(&keys(1), &format!("user={sent}")).get("user"), Some(value));
        }
    }

    #[test]
    fn what_was_changed_is_not_there() {
        let sent = signed(&keys(1), "user", "ada");
        let (value, code) = sent.rsplit_once('.').expect("a code");
        let longer = signed(&keys(1), "us", "er=ada");
        for changed in [
            "user=ada".to_owned(),
            format!("user=bob.{code}"),
            format!("user={value}."),
            format!("user={value}.{}", &code[..40]),
            format!("user={value}.{code}A"),
            format!("role={sent}"),
            format!("user={longer}"),
            format!("user={}", signed(&keys(2), "user", "ada")),
        ] {
            let cookies = with(&keys(1), &changed);
            assert_eq!((cookies.get("user"), cookies.get("role")), (None, None), "{changed}");
        }
    }

    #[test]
    fn a_forged_one_in_front_does_not_hide_the_good_one() {
        let sent = signed(&keys(1), "user", "ada");
        let cookies = with(&keys(1), &format!("user=bob.AAAA; user={sent}"));
        assert_eq!(cookies.get("user"), Some("ada"));
    }

    #[test]
    fn old_secrets_are_taken_and_new_ones_used() {
        let rotated = keys(2).or_old(&[1; 32]).expect("long enough");
        let old = signed(&keys(1), "user", "ada");
        assert_eq!(with(&rotated, &format!("user={old}")).get("user"), Some("ada"));
        let new = signed(&rotated, "user", "ada");
        assert_eq!(with(&keys(1), &format!("user={new}")).get("user"), None);
        assert_eq!(with(&keys(2), &format!("user={new}")).get("user"), Some("ada"));
    }
}
