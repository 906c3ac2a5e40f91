//! [`Coding`]: the content codings that are spoken here, and which one a client wants.
//!
//! Pure: text in, a choice out. Called for every response that is worth compressing, and for every
//! request that says it is compressed.

use std::fmt;

use threadline_proto::request::Headers;

use crate::middleware::fields::elements;
use crate::weights::weighted;

/// A content coding (RFC 9110 §8.4.1). Those are there whose feature is on.
///
/// ```
/// use threadline_http::middleware::Coding;
///
/// assert!(Coding::ALL.iter().all(|coding| Coding::from_name(coding.name()) == Some(*coding)));
/// assert_eq!(Coding::from_name("identity"), None);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Coding {
    /// `zstd` (RFC 8878): as small as gzip for a fraction of its time.
    #[cfg(feature = "zstd")]
    Zstd,
    /// `br` (RFC 7932): the smallest.
    #[cfg(feature = "brotli")]
    Brotli,
    /// `gzip` (RFC 1952): everybody has it.
    #[cfg(feature = "gzip")]
    Gzip,
}

impl Coding {
    /// All that are there, the one that is best made on the fly first.
    pub const ALL: &'static [Coding] = &[
        #[cfg(feature = "zstd")]
        Coding::Zstd,
        #[cfg(feature = "brotli")]
        Coding::Brotli,
        #[cfg(feature = "gzip")]
        Coding::Gzip,
    ];

    /// Its name in header fields.
    pub fn name(self) -> &'static str {
        match self {
            #[cfg(feature = "zstd")]
            Coding::Zstd => "zstd",
            #[cfg(feature = "brotli")]
            Coding::Brotli => "br",
            #[cfg(feature = "gzip")]
            Coding::Gzip => "gzip",
        }
    }

    /// The coding of that name, in any case; `x-gzip` is `gzip` (RFC 9110 §8.4.1.3).
    pub fn from_name(name: &str) -> Option<Coding> {
        let name = if name.eq_ignore_ascii_case("x-gzip") { "gzip" } else { name };
        Coding::ALL.iter().copied().find(|coding| coding.name().eq_ignore_ascii_case(name))
    }
}

/// Its name.
impl fmt::Display for Coding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What a client wants of `offered`, which is in the server's order (RFC 9110 §12.5.3): the coding of
/// the greatest weight, of equal ones the first offered. `None` where it wants none of them, says
/// nothing, or would rather have the content as it is.
pub(super) fn negotiate(headers: Headers<'_, '_>, offered: &[Coding]) -> Option<Coding> {
    let weight_of = |wanted: &dyn Fn(&str) -> bool| {
        let mut weighted = elements(headers, "accept-encoding").map(weighted);
        weighted.find(|(name, _)| wanted(name)).map(|(_, weight)| weight)
    };
    let others = weight_of(&|name| name == "*").unwrap_or(0);
    // Where the client says nothing of it, it is the last choice.
    let identity = weight_of(&|name| name.eq_ignore_ascii_case("identity")).unwrap_or(0);
    let mut best = None;
    for coding in offered {
        let weight = weight_of(&|name| Coding::from_name(name) == Some(*coding)).unwrap_or(others);
        if weight > 0 && best.is_none_or(|(_, known)| weight > known) {
            best = Some((*coding, weight));
        }
    }
    best.filter(|(_, weight)| *weight >= identity).map(|(coding, _)| coding)
}
