//! Character classes of RFC 9110 §5.6.2 (tokens) and §5.5 (field values).
//!
//! The same for what comes in and for what goes out.

use crate::scan;

/// A `tchar`.
pub(crate) const fn is_token_byte(byte: u8) -> bool {
    matches!(byte,
        b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9'
        | b'!' | b'#' | b'$' | b'%' | b'&' | b'\'' | b'*' | b'+'
        | b'-' | b'.' | b'^' | b'_' | b'`' | b'|' | b'~')
}

/// [`is_token_byte`] of each byte, for where it is asked of every byte of a head.
pub(crate) const TOKEN_BYTES: [bool; 256] = {
    let mut map = [false; 256];
    let mut byte = 0;
    while byte < 256 {
        map[byte] = is_token_byte(byte as u8);
        byte += 1;
    }
    map
};

/// A token: not empty, `tchar` only.
pub(crate) fn is_token(text: &[u8]) -> bool {
    !text.is_empty() && text.iter().all(|byte| is_token_byte(*byte))
}

/// What may stand in a field value: `HTAB`, `SP`, `VCHAR`, `obs-text`; no `CR`, `LF`, `NUL` or other
/// control character.
pub(crate) fn is_value_byte(byte: u8) -> bool {
    byte == b'\t' || (byte >= b' ' && byte != 0x7f)
}

/// A value that may be written into a field line: no control characters, no whitespace around it.
pub(crate) fn is_field_value(value: &[u8]) -> bool {
    scan::value_len(value) == value.len() && trim(value).len() == value.len()
}

/// Splits a `#element` list (RFC 9110 §5.6.1) at its commas, without whitespace around the elements.
/// Empty elements are kept: each user has its own opinion on them.
pub(crate) fn list(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|byte| *byte == b',').map(trim)
}

/// The text without the spaces and tabs around it.
#[inline(always)]
pub(crate) fn trim(text: &[u8]) -> &[u8] {
    match (text.first(), text.last()) {
        (Some(b' ' | b'\t'), _) | (_, Some(b' ' | b'\t')) => trim_blanks(text),
        _ => text,
    }
}

fn trim_blanks(mut text: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] = text {
        text = rest;
    }
    while let [rest @ .., b' ' | b'\t'] = text {
        text = rest;
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_keep_empty_elements_and_lose_whitespace() {
        let elements: Vec<_> = list(b" a ,\tb,, c").collect();
        assert_eq!(elements, [&b"a"[..], b"b", b"", b"c"]);
    }

    #[test]
    fn separators_are_no_tokens() {
        for byte in *b" \t\r\n\0:,;()<>@\"/[]?={}\\\x7f\x80" {
            assert!(!is_token_byte(byte), "{byte:#x}");
        }
        assert!(!is_token(b""));
        assert!(is_token(b"X-Request_Id"));
    }
}
