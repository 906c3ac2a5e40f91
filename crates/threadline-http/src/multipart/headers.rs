//! The header fields of one part, checked.
//!
//! Made from the lines that the parser has found. As strict as the heads of requests: no control
//! characters, no folding, no whitespace before the colon; beyond that each field is there once and all
//! is UTF-8 (RFC 7578 §5.1), so that names need no guessing.

use std::fmt;
use std::ops::Range;

use super::PartError;
use super::parameters::is_token_byte;

/// The header fields of a part in their order, names as they came.
///
/// ```
/// use threadline_http::multipart::{Multipart, MultipartError};
///
/// fn list(mut parts: Multipart<'_>) -> Result<String, MultipartError> {
///     let mut list = String::new();
///     while let Some(part) = parts.next_part()? {
///         for (name, value) in part.headers().iter() {
///             list.push_str(&format!("{name}: {value}\n"));
///         }
///     }
///     Ok(list)
/// }
/// # threadline_http::Router::new().post("/", list).build().unwrap();
/// ```
#[derive(Clone, Default, PartialEq, Eq)]
pub struct PartHeaders {
    /// The field lines, as they came.
    text: String,
    fields: Vec<Field>,
}

/// Where a field is in the text. Both ranges are within it, on boundaries of characters.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Field {
    name: Range<usize>,
    value: Range<usize>,
}

impl PartHeaders {
    /// Reads field lines, each with its line end; at most `count_max`.
    pub(super) fn parse(lines: &[u8], count_max: usize) -> Result<Self, PartError> {
        let text = str::from_utf8(lines).map_err(|_| PartError::Header)?;
        let mut headers = PartHeaders { text: text.to_owned(), fields: Vec::new() };
        let mut at = 0;
        for line in text.split_terminator("\r\n") {
            if headers.fields.len() == count_max {
                return Err(PartError::TooManyHeaders { max: count_max });
            }
            let field = Field::in_line(line, at).ok_or(PartError::Header)?;
            if headers.get(&text[field.name.clone()]).is_some() {
                return Err(PartError::DuplicateHeader);
            }
            headers.fields.push(field);
            at += line.len() + 2;
        }
        Ok(headers)
    }

    /// The value of the field of that name, in any case.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    /// All fields as name and value.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.fields
            .iter()
            .map(|field| (&self.text[field.name.clone()], &self.text[field.value.clone()]))
    }

    /// How many fields there are.
    pub fn len(&self) -> usize {
        self.fields.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.fields.is_empty()
    }
}

impl Field {
    /// The field in a line that begins at `at`.
    fn in_line(line: &str, at: usize) -> Option<Field> {
        let (name, value) = line.split_once(':')?;
        let is_name = !name.is_empty() && name.bytes().all(is_token_byte);
        // Also CR and LF, where they are not a line's end.
        let is_value = !value.chars().any(|char| char.is_control() && char != '\t');
        if !is_name || !is_value {
            return None;
        }
        let behind = value.trim_start_matches([' ', '\t']);
        let start = at + line.len() - behind.len();
        let value = start..start + behind.trim_end_matches([' ', '\t']).len();
        Some(Field { name: at..at + name.len(), value })
    }
}

impl fmt::Debug for PartHeaders {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(lines: &str) -> Result<PartHeaders, PartError> {
        PartHeaders::parse(lines.as_bytes(), 3)
    }

    #[test]
    fn fields_are_found_in_any_case_and_without_the_blanks_around_them() {
        let headers = parse("A: \t1 2 \r\nb:\r\nX-ä: no\r\n").err();
        assert_eq!(headers, Some(PartError::Header), "a name is a token");
        let headers = parse("A: \t1 2 \r\nb:\r\nC: ä\t:\r\n").expect("good fields");
        let all: Vec<_> = headers.iter().collect();
        assert_eq!(all, [("A", "1 2"), ("b", ""), ("C", "ä\t:")]);
        assert_eq!((headers.get("B"), headers.get("d")), (Some(""), None));
    }

    #[test]
    fn what_is_no_field_is_refused() {
        for line in [
            "",
            "a",
            ":",
            ": a",
            " a: b",
            "a : b",
            "a\t: b",
            "a: b\r",
            "a: b\n",
            "a: b\nc: d",
            "a: \0",
            "a: \x7f",
            "a: \u{85}",
            "a b: c",
        ] {
            assert_eq!(parse(&format!("{line}\r\n")), Err(PartError::Header), "{line:?}");
        }
        assert_eq!(parse("a: b\r\n c\r\n"), Err(PartError::Header), "folded");
        assert_eq!(PartHeaders::parse(b"a: \xe4\r\n", 3), Err(PartError::Header), "not UTF-8");
    }

    #[test]
    fn duplicates_and_too_many_are_refused() {
        assert_eq!(parse("a: 1\r\nA: 1\r\n"), Err(PartError::DuplicateHeader));
        assert_eq!(parse("a:\r\nb:\r\nc:\r\n").map(|headers| headers.len()), Ok(3));
        assert_eq!(parse("a:\r\nb:\r\nc:\r\nd:\r\n"), Err(PartError::TooManyHeaders { max: 3 }));
    }
}
