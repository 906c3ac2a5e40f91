//! Which compressed siblings of a file a client would rather have: `app.js.br` in place of `app.js`.
//!
//! Only chooses; the caller looks whether there is such a sibling. Nothing is compressed here: that
//! is the `Compression` middleware's work, which leaves alone what is compressed already.

use threadline_proto::request::Headers;

use crate::weights::weight;

/// A coding that siblings may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Coding {
    /// Its name in `Content-Encoding`.
    pub(super) name: &'static str,
    /// What it adds to a file's name.
    pub(super) suffix: &'static str,
    /// Its names in `Accept-Encoding`; the general one is the last.
    accepted: &'static [&'static str],
}

/// The best first, for clients that take them equally.
const CODINGS: [Coding; 3] = [
    Coding { name: "br", suffix: ".br", accepted: &["br", "*"] },
    Coding { name: "zstd", suffix: ".zst", accepted: &["zstd", "*"] },
    Coding { name: "gzip", suffix: ".gz", accepted: &["gzip", "x-gzip", "*"] },
];

/// The codings that the client takes at least as gladly as the file as it is, the preferred first
/// (RFC 9110 §12.5.3).
pub(super) fn acceptable(headers: Headers<'_, '_>) -> impl Iterator<Item = Coding> {
    let weight_of = |names: &[&str]| weight(headers, "accept-encoding", names);
    // Where the client says nothing of it, the file as it is comes last.
    let as_it_is = weight_of(&["identity"]).unwrap_or(0);
    let mut weighted = CODINGS.map(|coding| (weight_of(coding.accepted).unwrap_or(0), coding));
    // Stable: of equal ones, ours comes first.
    weighted.sort_by_key(|(weight, _)| std::cmp::Reverse(*weight));
    weighted
        .into_iter()
        .filter(move |(weight, _)| *weight > 0 && *weight >= as_it_is)
        .map(|(_, coding)| coding)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::middleware::testing::{Stack, request};
    use crate::{Next, Request, Response};

    fn accepted(field: &str) -> String {
        let layer = |request: &Request<'_>, next: Next<'_>| -> Response { next.run(request) };
        let response = Stack::of(layer).run(request("GET /", field), |request: &Request<'_>| {
            acceptable(request.headers()).map(|coding| coding.name).collect::<Vec<_>>().join(" ")
        });
        String::from_utf8(response.into_body().into_bytes().expect("bytes")).expect("text")
    }

    #[test]
    fn rfc9110_12_5_3_codings_come_in_the_order_of_their_weights() {
        for (value, expected) in [
            ("gzip, deflate, br, zstd", "br zstd gzip"),
            ("br;q=0.1, gzip;q=0.9, zstd;q=0.5", "gzip zstd br"),
            ("x-gzip", "gzip"),
            ("GZIP", "gzip"),
            ("*", "br zstd gzip"),
            ("*;q=0.5, br;q=0", "zstd gzip"),
            ("gzip;q=0", ""),
            ("identity", ""),
            ("identity, gzip", "gzip"),
            ("identity;q=0.5, gzip;q=0.4, br;q=0.5", "br"),
            ("gzip;q=nonsense", ""),
            ("", ""),
        ] {
            assert_eq!(accepted(&format!("Accept-Encoding: {value}\r\n")), expected, "{value}");
        }
        assert_eq!(accepted(""), "");
        assert_eq!(accepted("Accept-Encoding: br\r\nAccept-Encoding: gzip\r\n"), "br gzip");
    }
}
