//! [`CookieKeys`]: the secrets behind signed and private cookies.
//!
//! Shared as state; `signed.rs` and `private.rs` read it. How keys are derived must never change, or all
//! cookies that are out there are lost. Keys are never shown.

use std::fmt;
use std::sync::Arc;

use hkdf::Hkdf;
use sha2::Sha256;

/// The secrets behind signed and private cookies: the first one is used for new cookies, all of them are
/// tried on those that come.
///
/// Share it by [`Router::state`](crate::Router::state). To change the secret, put the new one first and
/// keep the [old one](CookieKeys::or_old) until the cookies made with it have run out.
///
/// ```
/// use threadline_http::cookies::CookieKeys;
///
/// # fn secret(_: &str) -> Vec<u8> { vec![7; 32] }
/// let keys = CookieKeys::from_secret(&secret("COOKIE_SECRET"))?;
/// let keys = keys.or_old(&secret("COOKIE_SECRET_BEFORE"))?;
/// assert!(CookieKeys::from_secret(b"password").is_err());
/// # Ok::<(), threadline_http::cookies::ShortSecret>(())
/// ```
#[derive(Clone)]
pub struct CookieKeys(Arc<[Pair]>);

/// Two keys from one secret, so that neither kind of cookie tells about the other.
#[derive(Clone)]
pub(super) struct Pair {
    pub(super) signing: [u8; 32],
    pub(super) encryption: [u8; 32],
}

/// A secret with less than 32 bytes. Passwords are none: take 32 random bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ShortSecret;

/// As long as what is derived from it.
const SECRET_LEN_MIN: usize = 32;

impl CookieKeys {
    /// Derives the keys (HKDF with SHA-256, RFC 5869) from at least 32 random bytes.
    ///
    /// # Errors
    /// If there are fewer.
    pub fn from_secret(secret: &[u8]) -> Result<Self, ShortSecret> {
        Ok(CookieKeys([Pair::derive(secret)?].into()))
    }

    /// Takes a secret from the system's random numbers. Cookies made with it are of no use to other
    /// processes, or after a restart.
    ///
    /// # Panics
    /// If the system has no random numbers.
    pub fn random() -> Self {
        let mut secret = [0; SECRET_LEN_MIN];
        getrandom::fill(&mut secret).expect("the system has random numbers");
        Self::from_secret(&secret).expect("it is long enough")
    }

    /// Also takes cookies that were made with this secret.
    ///
    /// # Errors
    /// If it has less than 32 bytes.
    pub fn or_old(self, secret: &[u8]) -> Result<Self, ShortSecret> {
        let old = Pair::derive(secret)?;
        Ok(CookieKeys(self.0.iter().cloned().chain([old]).collect()))
    }

    /// For new cookies.
    pub(super) fn newest(&self) -> &Pair {
        &self.0[0]
    }

    /// For those that come.
    pub(super) fn all(&self) -> impl Iterator<Item = &Pair> {
        self.0.iter()
    }
}

impl Pair {
    fn derive(secret: &[u8]) -> Result<Self, ShortSecret> {
        if secret.len() < SECRET_LEN_MIN {
            return Err(ShortSecret);
        }
        let hkdf = Hkdf::<Sha256>::new(None, secret);
        let key = |info: &str| {
            let mut key = [0; 32];
            hkdf.expand(info.as_bytes(), &mut key).expect("HKDF gives up to 255 times 32 bytes");
            key
        };
        Ok(Pair {
            signing: key("threadline cookie signing"),
            encryption: key("threadline cookie encryption"),
        })
    }
}

/// Without the keys.
impl fmt::Debug for CookieKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CookieKeys({})", self.0.len())
    }
}

impl fmt::Display for ShortSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a secret for cookies has at least {SECRET_LEN_MIN} random bytes")
    }
}

impl std::error::Error for ShortSecret {}

#[cfg(test)]
mod tests {
    use super::*;

    /// Worked out with another implementation of HMAC.
    #[test]
    fn rfc5869_keys_stay_what_they_are_and_differ() {
        let Pair { signing, encryption } = Pair::derive(&[7; 32]).expect("long enough");
        assert_eq!(signing[..8], [0xa5, 0xad, 0x9b, 0xf9, 0x61, 0xc7, 0x91, 0x08]);
        assert_eq!(encryption[..8], [0xda, 0xa3, 0x82, 0x56, 0xf1, 0x98, 0xaa, 0xa7]);
    }
}
