//! The grammar of chunk extensions (RFC 9112 §7.1.1), a byte at a time.
//!
//! `*( BWS ";" BWS name [ BWS "=" BWS ( token / quoted-string ) ] )`. Nobody here looks at what they
//! say. They are still held to their grammar, since decoders that skip them up to some line end are
//! how requests were smuggled; and whitespace right behind the size is not let through, though the
//! grammar does, for the same reason.

use crate::token::{is_token_byte, is_value_byte};

/// Where in the extensions of a chunk the decoder is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    /// Behind a `;`, before the name.
    Start,
    Name,
    /// In whitespace behind a name.
    NameSpace,
    /// Behind a `=`, before the value.
    ValueStart,
    Value,
    /// Between quotes.
    Quoted,
    /// Behind a backslash between quotes.
    Escaped,
    /// Behind the closing quote.
    Closed,
    /// In whitespace behind a value.
    ValueSpace,
}

impl Part {
    /// Where the next byte leads; `None` if it may not stand here.
    pub(super) fn next(self, byte: u8) -> Option<Part> {
        let is_space = matches!(byte, b' ' | b'\t');
        let is_token = is_token_byte(byte);
        let next = match (self, byte) {
            (Part::Start, _) if is_space => Part::Start,
            (Part::Start | Part::Name, _) if is_token => Part::Name,
            (Part::Name | Part::NameSpace, b'=') => Part::ValueStart,
            (Part::Name | Part::NameSpace, _) if is_space => Part::NameSpace,
            (Part::ValueStart, _) if is_space => Part::ValueStart,
            (Part::ValueStart, b'"') => Part::Quoted,
            (Part::ValueStart | Part::Value, _) if is_token => Part::Value,
            (Part::Quoted, b'"') => Part::Closed,
            (Part::Quoted, b'\\') => Part::Escaped,
            (Part::Quoted | Part::Escaped, _) if is_value_byte(byte) => Part::Quoted,
            (Part::Value | Part::Closed | Part::ValueSpace, _) if is_space => Part::ValueSpace,
            (
                Part::Name | Part::NameSpace | Part::Value | Part::Closed | Part::ValueSpace,
                b';',
            ) => Part::Start,
            _ => return None,
        };
        Some(next)
    }

    /// Whether the line may end here.
    pub(super) fn may_end(self) -> bool {
        matches!(self, Part::Name | Part::Value | Part::Closed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether the text, behind the first `;`, is a row of extensions.
    fn is_valid(text: &str) -> bool {
        text.bytes().try_fold(Part::Start, Part::next).is_some_and(Part::may_end)
    }

    #[test]
    fn rfc9112_7_1_1_names_with_and_without_values() {
        for text in [
            "a",
            "a=b",
            "a=\"\"",
            "a=\"b;c \\\" \t\u{e4}\"",
            "a;b",
            "a=b;c=\"d\";e",
            " a = b ;\tc",
            "a ;b",
            "a= \"b\" ;c",
            "chunk-signature=0055627c9e194cb4542bae2aa5492e3c1575bbb81b612b7d234b86a503ef5497",
        ] {
            assert!(is_valid(text), "{text:?}");
        }
    }

    #[test]
    fn rfc9112_7_1_1_anything_else_is_refused() {
        for text in [
            "",
            ";",
            "a;",
            "=",
            "=b",
            "a=",
            "a==b",
            "a=b=c",
            "a b",
            "a=b c",
            "a=\"b",
            "a=\"b\"c",
            "a=\"b\\",
            "a=\"\0\"",
            "a=\"\r\"",
            "a=\"\\\n\"",
            "a\0",
            "a=\x7f",
            "ä",
            "a ",
            "a=b ",
            "a=\"b\" ",
            "a,b",
            "a=\"\"\"\"",
        ] {
            assert!(!is_valid(text), "{text:?}");
        }
    }
}
