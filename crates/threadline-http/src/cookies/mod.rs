//! Cookies: small texts that a client keeps for the service and sends with every request (RFC 6265).
//!
//! | file | |
//! | --- | --- |
//! | `received.rs` | [`Cookies`]: those that came with a request |
//! | `limits.rs` | [`CookieLimits`]: how many of them are looked at |
//! | `set.rs` | [`SetCookie`]: one that a response sets |
//! | `keys.rs` | `CookieKeys`: the secrets for the two below, old ones included |
//! | `signed.rs` | `SignedCookies`: clients can read them, and not change them |
//! | `private.rs` | `PrivateCookies`: clients can do neither |
//!
//! The last three need the feature `cookies-secure`. Neither a signature nor encryption keeps a client
//! from sending an old cookie again, or one that was stolen from another: put into it what can be
//! revoked, such as the id of a session.

#[cfg(feature = "cookies-secure")]
mod keys;
mod limits;
#[cfg(feature = "cookies-secure")]
mod private;
mod received;
mod set;
#[cfg(feature = "cookies-secure")]
mod signed;

#[cfg(feature = "cookies-secure")]
pub use keys::{CookieKeys, ShortSecret};
pub use limits::CookieLimits;
#[cfg(feature = "cookies-secure")]
pub use private::PrivateCookies;
pub use received::Cookies;
pub use set::{SameSite, SetCookie, SetCookieError};
#[cfg(feature = "cookies-secure")]
pub use signed::SignedCookies;
