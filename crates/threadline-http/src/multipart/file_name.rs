//! The one name of a part's file, out of `filename` and `filename*` (RFC 7578 §4.2, RFC 8187).
//!
//! RFC 7578 forbids the second, and .NET's `HttpClient` sends both with every file. Readers differ in which
//! they take, so both must say the same: a check of one is a check of the other. `filename*` alone is
//! refused, as many readers would see no file.

use std::borrow::Cow;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use threadline_proto::percent;

use super::PartError;
use super::parameters::is_token_byte;

/// The name, as the values of the two parameters give it.
///
/// They agree if they are the same; if `filename` has the other in base64 as mail has it (RFC 2047), which
/// is how .NET sends what is not ASCII; and if it has `?` or `_` for each character that is not.
pub(super) fn of(
    plain: Option<Cow<'_, str>>,
    extended: Option<Cow<'_, str>>,
) -> Result<Option<String>, PartError> {
    let Some(extended) = extended else { return Ok(plain.map(Cow::into_owned)) };
    let Some(plain) = plain else { return Err(PartError::ExtendedParameter) };
    let name = decode(&extended).ok_or(PartError::ExtendedParameter)?;
    let agrees = plain == name
        || encoded_word(&plain).is_some_and(|word| word == name)
        || is_fallback(&plain, &name);
    if agrees { Ok(Some(name)) } else { Err(PartError::FileNames) }
}

/// `UTF-8'language'text`, percent-encoded (RFC 8187 §3.2).
fn decode(value: &str) -> Option<String> {
    let (charset, rest) = value.split_once('\'')?;
    let (_language, text) = rest.split_once('\'')?;
    if !charset.eq_ignore_ascii_case("utf-8") || !text.bytes().all(is_token_byte) {
        return None;
    }
    clean(percent::decode(text).ok()?.into_owned())
}

/// `=?UTF-8?B?base64?=` (RFC 2047 §2).
fn encoded_word(text: &str) -> Option<String> {
    let (charset, rest) = text.strip_prefix("=?")?.strip_suffix("?=")?.split_once('?')?;
    let (coding, encoded) = rest.split_once('?')?;
    if !charset.eq_ignore_ascii_case("utf-8") || !coding.eq_ignore_ascii_case("b") {
        return None;
    }
    clean(String::from_utf8(STANDARD.decode(encoded).ok()?).ok()?)
}

/// A field's value has no control characters, and none may get in by an encoding.
fn clean(text: String) -> Option<String> {
    (!text.contains(char::is_control)).then_some(text)
}

/// Whether the text is the name for readers that know only ASCII.
fn is_fallback(text: &str, name: &str) -> bool {
    let stands_for = |(stand_in, meant): (char, char)| {
        if meant.is_ascii() { stand_in == meant } else { matches!(stand_in, '?' | '_') }
    };
    text.chars().count() == name.chars().count() && text.chars().zip(name.chars()).all(stands_for)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(plain: Option<&str>, extended: Option<&str>) -> Result<Option<String>, PartError> {
        super::of(plain.map(Cow::Borrowed), extended.map(Cow::Borrowed))
    }

    #[test]
    fn one_name_is_taken_as_it_was_sent() {
        assert_eq!(of(None, None), Ok(None));
        for name in ["x.txt", "", "=?utf-8?B?w6Q=?=", "a%20b", "ü"] {
            assert_eq!(of(Some(name), None), Ok(Some(name.to_owned())));
        }
        assert_eq!(of(None, Some("utf-8''x.txt")), Err(PartError::ExtendedParameter));
    }

    #[test]
    fn two_names_that_agree_are_one() {
        for (plain, extended, name) in [
            ("x.txt", "utf-8''x.txt", "x.txt"),
            ("a b.txt", "UTF-8'en'a%20b.txt", "a b.txt"),
            ("=?utf-8?B?w6Q=?=", "utf-8''%C3%A4", "ä"),
            ("=?UTF-8?b?w6Q=?=", "utf-8''%c3%a4", "ä"),
            ("ä", "utf-8''%C3%A4", "ä"),
            ("_?.txt", "utf-8''%C3%A4%E2%82%AC.txt", "ä€.txt"),
            ("", "utf-8''", ""),
        ] {
            assert_eq!(of(Some(plain), Some(extended)), Ok(Some(name.to_owned())), "{plain}");
        }
    }

    #[test]
    fn two_names_that_differ_are_refused() {
        for (plain, extended) in [
            ("x.txt", "utf-8''x.exe"),
            ("x.txt", "utf-8''x.tx"),
            ("x.txt", "utf-8''X.txt"),
            ("a%20b", "utf-8''a%20b"),
            ("a.txt", "utf-8''%C3%A4.txt"),
            ("__.txt", "utf-8''%C3%A4.txt"),
            ("?.exe", "utf-8''%C3%A4.txt"),
            ("?.txt", "utf-8''a.txt"),
            ("=?utf-8?B?w6Q=?=", "utf-8''a"),
            ("=?utf-8?Q?=C3=A4?=", "utf-8''%C3%A4"),
            ("=?iso-8859-1?B?w6Q=?=", "utf-8''%C3%A4"),
            ("=?utf-8?B?!?=", "utf-8''%C3%A4"),
            ("=?utf-8?B?w6Q=", "utf-8''%C3%A4"),
        ] {
            assert_eq!(of(Some(plain), Some(extended)), Err(PartError::FileNames), "{plain}");
        }
    }

    #[test]
    fn rfc8187_3_2_what_is_no_extended_value_is_refused() {
        for extended in [
            "",
            "x",
            "utf-8'x",
            "iso-8859-1''x",
            "''x",
            "utf-8''%",
            "utf-8''%ff",
            "utf-8''%0A",
            "utf-8''%00",
            "utf-8''a b",
            "utf-8''ä",
        ] {
            assert_eq!(
                of(Some("x"), Some(extended)),
                Err(PartError::ExtendedParameter),
                "{extended}"
            );
        }
        assert_eq!(of(Some("=?utf-8?B?Cg==?="), Some("utf-8''_")), Err(PartError::FileNames));
    }
}
