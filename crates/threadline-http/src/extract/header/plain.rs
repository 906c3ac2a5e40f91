//! Fields whose value is taken as it is.

use std::convert::Infallible;

use super::FromHeader;

macro_rules! plain {
    ($($(#[$docs:meta])* $type:ident $name:literal;)*) => {$(
        $(#[$docs])*
        ///
        /// ```
        #[doc = concat!("use threadline_http::{FromHeader, extract::header::", stringify!($type), "};")]
        ///
        #[doc = concat!("assert_eq!(", stringify!($type), "::NAME, \"", $name, "\");")]
        /// ```
        #[derive(Debug, Clone, PartialEq, Eq, Hash)]
        pub struct $type(pub String);

        impl FromHeader for $type {
            const NAME: &'static str = $name;
            type Error = Infallible;

            fn from_header(value: &str) -> Result<Self, Infallible> {
                Ok($type(value.to_owned()))
            }
        }
    )*};
}

plain! {
    /// The host that the client wants to talk to, with its port if it said one (RFC 9110 §7.2). Always
    /// there and well-formed in HTTP/1.1; a client can make it whatever it likes.
    Host "host";
    /// The origin of the page whose script sends the request (RFC 6454 §7).
    Origin "origin";
    /// The page that the request comes from (RFC 9110 §10.1.3).
    Referer "referer";
    /// The client's program, as it calls itself (RFC 9110 §10.1.5).
    UserAgent "user-agent";
}
