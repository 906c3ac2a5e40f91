//! [`Coding`]: the content codings that are spoken here, and which one a client wants.
//!
//! Pure: text in, a choice out. Called for every response that is worth compressing, and for every
//! request that says it is compressed.

use std::fmt;

use threadline_proto::request::Headers;

use crate::middleware::fields::elements;

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

/// An element with its weight in thousandths, `gzip;q=0.5` (RFC 9110 §12.4.2). One whose weight is
/// malformed weighs nothing; one without weight, 1000.
fn weighted(element: &str) -> (&str, u16) {
    let (value, parameters) = element.split_once(';').unwrap_or((element, ""));
    let weight = match parameters.trim().split_once('=') {
        None if parameters.is_empty() => 1000,
        Some((name, weight)) if name.trim().eq_ignore_ascii_case("q") => {
            thousandths(weight.trim()).unwrap_or(0)
        }
        _ => 0,
    };
    (value.trim_end(), weight)
}

fn thousandths(weight: &str) -> Option<u16> {
    let (whole, fraction) = weight.split_once('.').unwrap_or((weight, ""));
    let is_fraction = fraction.len() <= 3 && fraction.bytes().all(|byte| byte.is_ascii_digit());
    if !matches!(whole, "0" | "1") || !is_fraction {
        return None;
    }
    let thousandths: u16 = format!("{whole}{fraction:0<3}").parse().ok()?;
    (thousandths <= 1000).then_some(thousandths)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc9110_12_4_2_weights() {
        for (element, expected) in [
            ("gzip", ("gzip", 1000)),
            ("gzip;q=1", ("gzip", 1000)),
            ("gzip ; Q=0.5", ("gzip", 500)),
            ("gzip;q=0.001", ("gzip", 1)),
            ("*;q=0", ("*", 0)),
            ("gzip;q=1.000", ("gzip", 1000)),
            ("gzip;q=1.001", ("gzip", 0)),
            ("gzip;q=2", ("gzip", 0)),
            ("gzip;q=0.1234", ("gzip", 0)),
            ("gzip;q=", ("gzip", 0)),
            ("gzip;q=-1", ("gzip", 0)),
            ("gzip;level=9", ("gzip", 0)),
        ] {
            assert_eq!(weighted(element), expected, "{element}");
        }
    }
}
