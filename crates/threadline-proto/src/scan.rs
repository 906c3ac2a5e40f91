//! How far a word of a head goes: eight bytes at a time, in portable arithmetic.
//!
//! A mark is the highest bit of a byte. Of the marks that tell where a word ends only the lowest
//! counts, that of the first byte in memory.

use crate::token::{TOKEN_BYTES, is_value_byte};

/// Length of the token that `text` begins with.
#[inline(always)]
pub(crate) fn token_len(text: &[u8]) -> usize {
    len_in(&TOKEN_BYTES, text)
}

/// Length of what `text` begins with of the bytes that the map has.
///
/// For what is short: marks take longer than a look at each byte. Eight are looked at without asking
/// each time whether there is one.
#[inline(always)]
pub(crate) fn len_in(map: &[bool; 256], text: &[u8]) -> usize {
    let mut rest = text;
    while let Some((word, tail)) = rest.split_first_chunk::<8>() {
        for (byte, within) in word.iter().zip(0..) {
            if !map[usize::from(*byte)] {
                return text.len() - rest.len() + within;
            }
        }
        rest = tail;
    }
    let within = rest.iter().position(|byte| !map[usize::from(*byte)]);
    within.map_or(text.len(), |within| text.len() - rest.len() + within)
}

/// Length of the visible ASCII that `text` begins with and that is neither `?` nor `#`: what a path is
/// made of.
#[inline(always)]
pub(crate) fn path_len(text: &[u8]) -> usize {
    let marks = |word| invisible(word) | equal(word, b'?') | equal(word, b'#');
    run_len(text, marks, |byte| !matches!(byte, b'!'..=b'~') || matches!(byte, b'?' | b'#'))
}

/// Length of the visible ASCII that `text` begins with: what a target is made of.
#[inline(always)]
pub(crate) fn visible_len(text: &[u8]) -> usize {
    run_len(text, invisible, |byte| !matches!(byte, b'!'..=b'~'))
}

/// Length of the field content that `text` begins with, the whitespace in and around it included.
#[inline(always)]
pub(crate) fn value_len(text: &[u8]) -> usize {
    let len = untabbed_len(text);
    match text.get(len) {
        // A tab, which is rare, is marked too.
        Some(b'\t') => tabbed_len(text, len),
        _ => len,
    }
}

/// The same, where a tab stands at `len`.
#[cold]
fn tabbed_len(text: &[u8], mut len: usize) -> usize {
    while let Some(b'\t') = text.get(len) {
        len += 1;
        len += untabbed_len(&text[len..]);
    }
    len
}

#[inline(always)]
fn untabbed_len(text: &[u8]) -> usize {
    let marks = |word| below(word, b' ') | equal(word, 0x7f);
    run_len(text, marks, |byte| byte == b'\t' || !is_value_byte(byte))
}

/// Length of what stands before the first byte that is marked, or that is an end.
#[inline(always)]
fn run_len(text: &[u8], marks: impl Fn(u64) -> u64, is_end: impl Fn(u8) -> bool) -> usize {
    let mut rest = text;
    while let Some((word, tail)) = rest.split_first_chunk::<8>() {
        let marked = marks(u64::from_le_bytes(*word));
        if marked != 0 {
            return text.len() - rest.len() + marked.trailing_zeros() as usize / 8;
        }
        rest = tail;
    }
    let within = rest.iter().position(|byte| is_end(*byte));
    within.map_or(text.len(), |within| text.len() - rest.len() + within)
}

/// Marks all but visible ASCII.
#[inline(always)]
const fn invisible(word: u64) -> u64 {
    below(word, b'!') | equal(word, 0x7f) | (word & in_each(0x80))
}

/// The byte, eight times.
const fn in_each(byte: u8) -> u64 {
    u64::from_ne_bytes([byte; 8])
}

/// Marks the bytes below `bound`, which is ASCII. Only the lowest mark is surely right: the subtraction
/// may have borrowed from those above it.
#[inline(always)]
const fn below(word: u64, bound: u8) -> u64 {
    word.wrapping_sub(in_each(bound)) & !word & in_each(0x80)
}

/// Marks the bytes equal to `byte`. Only the lowest mark is surely right.
#[inline(always)]
const fn equal(word: u64, byte: u8) -> u64 {
    below(word ^ in_each(byte), 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each byte at each place among good ones, with and without another behind it.
    fn agrees(len: impl Fn(&[u8]) -> usize, is_good: impl Fn(u8) -> bool) {
        for byte in 0..=u8::MAX {
            for at in 0..20 {
                for behind in [b'a', b'\r', byte ^ 1, byte.wrapping_add(1)] {
                    let mut text = [b'a'; 20];
                    text[at] = byte;
                    if let Some(next) = text.get_mut(at + 1) {
                        *next = behind;
                    }
                    let expected = text.iter().position(|byte| !is_good(*byte)).unwrap_or(20);
                    assert_eq!(len(&text), expected, "{text:?}");
                }
            }
        }
    }

    #[test]
    fn each_byte_is_judged_alike_at_each_place() {
        agrees(token_len, |byte| TOKEN_BYTES[usize::from(byte)]);
        agrees(visible_len, |byte| byte.is_ascii_graphic());
        agrees(path_len, |byte| byte.is_ascii_graphic() && !b"?#".contains(&byte));
        agrees(value_len, is_value_byte);
    }

    #[test]
    fn nothing_has_no_length() {
        assert_eq!((token_len(b""), path_len(b""), visible_len(b"")), (0, 0, 0));
        assert_eq!(value_len(b""), 0);
    }
}
