//! `Host` and the authority of a target (RFC 9112 §3.2, RFC 3986 §3.2).
//!
//! Stricter than the grammar in three ways, each a way to make two recipients disagree: an empty
//! host (RFC 9110 §4.2.1 says to reject it in `http` URIs), a comma, and `user@`.

use crate::scan;

/// What a registered name or an IPv4 address may consist of: `unreserved`, `sub-delims` without the
/// comma. `%` is looked at more closely.
const NAME_BYTES: [bool; 256] = {
    let mut map = [false; 256];
    let mut byte = 0;
    while byte < 256 {
        map[byte] = matches!(byte as u8,
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~'
            | b'!' | b'$' | b'&' | b'\'' | b'(' | b')' | b'*' | b'+' | b';' | b'=');
        byte += 1;
    }
    map
};

/// Whether the text is a host with an optional port.
#[inline]
pub(super) fn is_valid(authority: &[u8]) -> bool {
    match authority.split_at(scan::len_in(&NAME_BYTES, authority)) {
        ([], [b'[', literal @ ..]) => is_valid_literal(literal),
        (_, [b'%', ..]) => is_valid_encoded(authority),
        (name, rest) => !name.is_empty() && is_valid_port(rest),
    }
}

/// A name with percent-encoded bytes in it, which hardly anybody sends. They are compared, never
/// decoded; but each has its two digits (RFC 3986 §2.1).
#[cold]
fn is_valid_encoded(authority: &[u8]) -> bool {
    let mut rest = authority;
    loop {
        rest = match rest {
            [b'%', high, low, tail @ ..] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
                tail
            }
            [byte, tail @ ..] if NAME_BYTES[usize::from(*byte)] => tail,
            _ => return is_valid_port(rest),
        };
    }
}

/// The rest of `[address]:port`, behind the first bracket.
#[cold]
fn is_valid_literal(literal: &[u8]) -> bool {
    let Some(end) = literal.iter().position(|byte| *byte == b']') else { return false };
    let Ok(address) = std::str::from_utf8(&literal[..end]) else { return false };
    address.parse::<std::net::Ipv6Addr>().is_ok() && is_valid_port(&literal[end + 1..])
}

/// Nothing, or a colon and a port. The grammar lets the port be empty.
fn is_valid_port(rest: &[u8]) -> bool {
    let digits = match rest {
        [] => return true,
        [b':', digits @ ..] => digits,
        _ => return false,
    };
    // Of as many digits, text is ordered as numbers are.
    let fits = digits.len() < 5 || (digits.len() == 5 && digits <= b"65535");
    fits && digits.iter().all(u8::is_ascii_digit)
}

/// Whether two authorities name the same host and port, as far as it can be told by looking.
pub(super) fn is_same(left: &[u8], right: &[u8], secure: bool) -> bool {
    let default_port: &[u8] = if secure { b":443" } else { b":80" };
    let bare = |text: &[u8]| -> usize {
        let text_len = text.len();
        text_len
            - if text.ends_with(default_port) {
                default_port.len()
            } else {
                usize::from(text.ends_with(b":"))
            }
    };
    left[..bare(left)].eq_ignore_ascii_case(&right[..bare(right)])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc3986_3_2_hosts_and_ports() {
        for text in [
            "x",
            "example.org",
            "example.org:8080",
            "127.0.0.1:1",
            "[::1]",
            "[::1]:443",
            "x:",
            "a_b",
            "%61%2Db",
            "a%c3%a4:1",
        ] {
            assert!(is_valid(text.as_bytes()), "{text}");
        }
    }

    #[test]
    fn what_could_be_read_in_two_ways_is_refused() {
        for text in [
            "", ":80", "a,b", "u@h", "a/b", "a b", "a:b", "a:1:2", "a:65536", "a:123456", "[::1",
            "[]", "[::1]x", "[g]", "[::1]:x", "a#", "a?", "a\\b", "ä", "a\t", "[v1.x]", "a:+1",
            "%", "a%", "a%4", "a%4:1", "%zz", "a:%31", "%61,b", "%61@b",
        ] {
            assert!(!is_valid(text.as_bytes()), "{text}");
        }
    }

    #[test]
    fn rfc9110_4_2_3_authorities_are_compared_without_case_and_default_port() {
        assert!(is_same(b"Example.ORG", b"example.org:80", false));
        assert!(is_same(b"a:", b"a:443", true));
        assert!(is_same(b"a:8080", b"A:8080", false));
        assert!(!is_same(b"a:443", b"a", false));
        assert!(!is_same(b"a", b"b", false));
        assert!(!is_same(b"a:8080", b"a", false));
    }
}
