//! Parameters of a header field's value: `; name=value; name="value"` (RFC 9110 §5.6.6).
//!
//! Used for the boundary in `Content-Type` and for the names in `Content-Disposition`. Strict: what is
//! neither a token nor a quoted string is refused, and so is a parameter that is there twice, as two
//! readers could choose two different ones.

use std::borrow::Cow;

/// Why parameters cannot be read. The sender's fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ParameterError {
    /// Neither `name=token` nor `name="text"` behind a semicolon.
    Malformed,
    /// One of the wanted is there twice.
    Duplicate,
    /// One that is not wanted is called `name*`: an extended one (RFC 8187), which must not be there.
    Extended,
}

/// What stands before the first semicolon, without whitespace around it, and what begins with the
/// semicolon.
pub(super) fn split(value: &str) -> (&str, &str) {
    let (first, rest) = value.split_at(value.find(';').unwrap_or(value.len()));
    (first.trim_matches(BLANK), rest)
}

/// Reads all parameters and brings the values of the wanted ones, whose names are in lower case.
pub(super) fn find<'v, const N: usize>(
    mut rest: &'v str,
    wanted: [&str; N],
) -> Result<[Option<Cow<'v, str>>; N], ParameterError> {
    let mut found = [const { None }; N];
    while let Some((name, value, behind)) = next(rest)? {
        if let Some(at) = wanted.iter().position(|wanted| name.eq_ignore_ascii_case(wanted)) {
            let before = found[at].replace(value);
            if before.is_some() {
                return Err(ParameterError::Duplicate);
            }
        } else if name.ends_with('*') {
            return Err(ParameterError::Extended);
        }
        rest = behind;
    }
    Ok(found)
}

/// What may stand around a semicolon.
const BLANK: [char; 2] = [' ', '\t'];

type Parameter<'v> = (&'v str, Cow<'v, str>, &'v str);

/// The next parameter and what is behind it; none at the end. Empty ones are skipped, as the grammar
/// has them.
fn next(mut rest: &str) -> Result<Option<Parameter<'_>>, ParameterError> {
    let malformed = ParameterError::Malformed;
    loop {
        rest = rest.trim_start_matches(BLANK);
        if rest.is_empty() {
            return Ok(None);
        }
        rest = rest.strip_prefix(';').ok_or(malformed)?.trim_start_matches(BLANK);
        if !rest.is_empty() && !rest.starts_with(';') {
            break;
        }
    }
    let (name, rest) = rest.split_at(token_len(rest));
    let value = rest.strip_prefix('=').filter(|_| !name.is_empty()).ok_or(malformed)?;
    let (value, rest) = match value.strip_prefix('"') {
        Some(text) => quoted(text).ok_or(malformed)?,
        None => match value.split_at(token_len(value)) {
            ("", _) => return Err(malformed),
            (token, rest) => (Cow::Borrowed(token), rest),
        },
    };
    Ok(Some((name, value, rest)))
}

/// The text up to the closing quote, and what is behind that.
///
/// A backslash escapes a quote and another backslash, nothing else: browsers send names of files with
/// backslashes as they are (HTML, "multipart form data"), and `C:\new` is meant so.
fn quoted(text: &str) -> Option<(Cow<'_, str>, &str)> {
    let end = text.find(['"', '\\'])?;
    if text.as_bytes()[end] == b'"' {
        return Some((Cow::Borrowed(&text[..end]), &text[end + 1..]));
    }
    let mut unescaped = String::new();
    let mut rest = text;
    loop {
        let at = rest.find(['"', '\\'])?;
        unescaped.push_str(&rest[..at]);
        let special = &rest[at..];
        if let Some(behind) = special.strip_prefix('"') {
            return Some((Cow::Owned(unescaped), behind));
        }
        let is_escape = special.starts_with("\\\"") || special.starts_with("\\\\");
        let (kept, len) = if is_escape { (&special[1..2], 2) } else { ("\\", 1) };
        unescaped.push_str(kept);
        rest = &special[len..];
    }
}

fn token_len(text: &str) -> usize {
    text.bytes().take_while(|byte| is_token_byte(*byte)).count()
}

/// A `tchar` (RFC 9110 §5.6.2).
pub(super) const fn is_token_byte(byte: u8) -> bool {
    matches!(byte,
        b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9'
        | b'!' | b'#' | b'$' | b'%' | b'&' | b'\'' | b'*' | b'+'
        | b'-' | b'.' | b'^' | b'_' | b'`' | b'|' | b'~')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name_of(rest: &str) -> Result<Option<String>, ParameterError> {
        let [name] = find(rest, ["name"])?;
        Ok(name.map(Cow::into_owned))
    }

    #[test]
    fn tokens_and_quoted_strings_are_values() {
        for (rest, name) in [
            ("", None),
            (" ;; other=1 ; ", None),
            ("; name=a", Some("a")),
            (";NAME=\"\"", Some("")),
            ("; other=\"; name=x\"\t;\tname=\"b; c\" ", Some("b; c")),
            ("; name=\"ä %22\"", Some("ä %22")),
        ] {
            assert_eq!(name_of(rest), Ok(name.map(str::to_owned)), "{rest}");
        }
    }

    #[test]
    fn a_backslash_escapes_quotes_and_itself_and_is_kept_elsewhere() {
        for (quoted, text) in
            [(r#"a\"b"#, "a\"b"), (r"C:\new", r"C:\new"), (r"a\\", r"a\"), (r#"\"\\\""#, "\"\\\"")]
        {
            assert_eq!(name_of(&format!("; name=\"{quoted}\"")), Ok(Some(text.to_owned())));
        }
    }

    #[test]
    fn malformed_parameters_are_refused() {
        for rest in [
            "; name",
            "; name=",
            "; name= a",
            "; name =a",
            "; =a",
            "; name=a b",
            "; name=a, name=b",
            "; name=\"a",
            "; name=\"a\\",
            "; name=\"a\"b",
            "; name=ä",
            "name=a",
        ] {
            assert_eq!(name_of(rest), Err(ParameterError::Malformed), "{rest}");
        }
    }

    #[test]
    fn two_of_a_name_and_extended_ones_are_refused() {
        assert_eq!(name_of("; name=a; Name=a"), Err(ParameterError::Duplicate));
        assert_eq!(name_of("; name=a; name*=UTF-8''b"), Err(ParameterError::Extended));
        assert_eq!(name_of("; other*=UTF-8''b"), Err(ParameterError::Extended));
        let [name] = find("; name=a; NAME*=UTF-8''b", ["name*"]).expect("wanted");
        assert_eq!(name.as_deref(), Some("UTF-8''b"));
        assert_eq!(find("; a*=b; A*=b", ["a*"]), Err(ParameterError::Duplicate));
    }
}
