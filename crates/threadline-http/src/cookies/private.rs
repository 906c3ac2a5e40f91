//! [`PrivateCookies`]: cookies that clients can neither read nor change.
//!
//! Sent as `nonce ‖ ciphertext ‖ tag` in base64: AES-256-GCM (NIST SP 800-38D), with the name as
//! associated data, or one cookie's value could be sent as another's. Nonces are 96 random bits: a
//! secret is good for 2^32 cookies, then its turn is over.

use aes_gcm::aead::{Aead, KeyInit, Payload};
use aes_gcm::{Aes256Gcm, Nonce};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::keys::{CookieKeys, Pair};
use super::{Cookies, SetCookie};
use crate::handler::{FromRequest, Needs, NotThere, State};
use crate::request::Request;

/// The cookies of a request that this service encrypted, and the way to encrypt others. Needs
/// [`CookieKeys`] as state. A value that was changed, or encrypted with other keys, is left out.
///
/// How long a value is can be seen.
///
/// ```
/// use threadline_http::cookies::{CookieKeys, PrivateCookies, SetCookie, SetCookieError};
/// use threadline_http::{IntoResponse, Response, Router};
///
/// fn remember(cookies: PrivateCookies) -> Result<Response, SetCookieError> {
///     let before = cookies.get("basket").unwrap_or_default();
///     let cookie = cookies.encrypt(SetCookie::new("basket", before + ".tea")?);
///     Ok((cookie, "added").into_response())
/// }
///
/// let router = Router::new().state(CookieKeys::random()).post("/basket", remember);
/// # router.build()?;
/// # Ok::<(), threadline_http::RouterError>(())
/// ```
#[derive(Debug, Clone)]
pub struct PrivateCookies {
    received: Cookies,
    keys: CookieKeys,
}

const NONCE_LEN: usize = 12;

impl PrivateCookies {
    /// The value of the first cookie of that name that this service encrypted.
    pub fn get(&self, name: &str) -> Option<String> {
        let mut all = self.received.get_all(name);
        all.find_map(|sent| {
            let sealed = URL_SAFE_NO_PAD.decode(sent).ok()?;
            self.keys.all().find_map(|keys| open(keys, name, &sealed))
        })
    }

    /// Encrypts a cookie's value, to be set by a response.
    ///
    /// # Panics
    /// If the system has no random numbers.
    pub fn encrypt(&self, cookie: SetCookie) -> SetCookie {
        let sealed = seal(self.keys.newest(), cookie.name(), cookie.value());
        cookie.with_value(URL_SAFE_NO_PAD.encode(sealed))
    }
}

fn seal(keys: &Pair, name: &str, value: &str) -> Vec<u8> {
    let mut sealed = vec![0; NONCE_LEN];
    getrandom::fill(&mut sealed).expect("the system has random numbers");
    let nonce = Nonce::try_from(&*sealed).expect("its length");
    let payload = Payload { msg: value.as_bytes(), aad: name.as_bytes() };
    let ciphertext = cipher(keys).encrypt(&nonce, payload).expect("a value is shorter than 64 GB");
    sealed.extend_from_slice(&ciphertext);
    sealed
}

fn open(keys: &Pair, name: &str, sealed: &[u8]) -> Option<String> {
    let (nonce, ciphertext) = sealed.split_at_checked(NONCE_LEN)?;
    let nonce = Nonce::try_from(nonce).ok()?;
    let payload = Payload { msg: ciphertext, aad: name.as_bytes() };
    String::from_utf8(cipher(keys).decrypt(&nonce, payload).ok()?).ok()
}

fn cipher(keys: &Pair) -> Aes256Gcm {
    Aes256Gcm::new(&keys.encryption.into())
}

impl FromRequest for PrivateCookies {
    type Rejection = NotThere;

    fn needs(needs: &mut Needs) {
        needs.state::<CookieKeys>();
    }

    fn from_request(request: &Request<'_>) -> Result<Self, NotThere> {
        let State(keys) = State::from_request(request)?;
        let Ok(received) = Cookies::from_request(request);
        Ok(PrivateCookies { received, keys })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(keys: &CookieKeys, received: &str) -> PrivateCookies {
        PrivateCookies { received: Cookies::parse(received), keys: keys.clone() }
    }

    fn keys(byte: u8) -> CookieKeys {
        CookieKeys::from_secret(&[byte; 32]).expect("long enough")
    }

    fn encrypted(keys: &CookieKeys, name: &str, value: &str) -> String {
        with(keys, "").encrypt(SetCookie::new(name, value).expect("in order")).value().to_owned()
    }

    #[test]
    fn what_was_encrypted_comes_back_and_shows_nothing() {
        for value in ["ada", ""] {
            let sent = encrypted(&keys(1), "user", value);
            assert_eq!(with(&keys(1), &format!("user={sent}")).get("user").as_deref(), Some(value));
        }
        let (one, two) = (encrypted(&keys(1), "user", "ada"), encrypted(&keys(1), "user", "ada"));
        assert_ne!(one, two, "a nonce for each");
    }

    #[test]
    fn what_was_changed_is_not_there() {
        let sent = encrypted(&keys(1), "user", "ada");
        let flipped = if sent.starts_with('A') { 'B' } else { 'A' };
        for changed in [
            "user=ada".to_owned(),
            "user=".to_owned(),
            format!("user={flipped}{}", &sent[1..]),
            format!("user={}", &sent[..sent.len() - 4]),
            format!("user={}", &sent[..8]),
            format!("role={sent}"),
            format!("user={}", encrypted(&keys(2), "user", "ada")),
        ] {
            let cookies = with(&keys(1), &changed);
            assert_eq!((cookies.get("user"), cookies.get("role")), (None, None), "{changed}");
        }
    }

    #[test]
    fn old_secrets_are_taken() {
        let rotated = keys(2).or_old(&[1; 32]).expect("long enough");
        let old = encrypted(&keys(1), "user", "ada");
        assert_eq!(with(&rotated, &format!("user={old}")).get("user").as_deref(), Some("ada"));
    }
}
