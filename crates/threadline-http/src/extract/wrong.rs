//! Which field of a request's data does not fit the handler's type, and why.
//!
//! Made by the extractors beside it out of what serde says. Shown to the client.

use std::fmt;

/// Up to how many bytes a path or a reason is told whole. Both repeat what the client has sent: a wrong
/// value as long as a body may be would come back as long.
const WHOLE_LEN_MAX: usize = 256;

/// A field that does not fit the type that the handler takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WrongField {
    path: String,
    reason: String,
}

impl WrongField {
    pub(super) fn of<E: fmt::Display>(error: serde_path_to_error::Error<E>) -> Self {
        let path = error.path().to_string();
        // How serde says that it is the whole.
        let path = if path == "." { String::new() } else { path };
        WrongField { path: shortened(path), reason: shortened(error.into_inner().to_string()) }
    }

    /// Where it is, like `items[2].price`; empty if it is the whole. Beyond 256 bytes, its middle is
    /// left out.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// What is wrong with it. Beyond 256 bytes, its middle is left out.
    pub fn reason(&self) -> &str {
        &self.reason
    }
}

impl fmt::Display for WrongField {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.path.is_empty() {
            f.write_str(&self.reason)
        } else {
            write!(f, "`{}`: {}", self.path, self.reason)
        }
    }
}

/// Without the middle of what is too long: what was expected stands at the end.
pub(super) fn shortened(text: String) -> String {
    if text.len() <= WHOLE_LEN_MAX {
        return text;
    }
    let is_boundary = |at: &usize| text.is_char_boundary(*at);
    let head = (0..=WHOLE_LEN_MAX / 2).rev().find(is_boundary).unwrap_or(0);
    let tail = (text.len() - WHOLE_LEN_MAX / 2..).find(is_boundary).unwrap_or(text.len());
    format!("{} … {}", &text[..head], &text[tail..])
}

/// The fields of a text in the format of `application/x-www-form-urlencoded`.
#[cfg(feature = "form")]
pub(super) fn from_urlencoded<T: serde::de::DeserializeOwned>(
    text: &[u8],
) -> Result<T, WrongField> {
    let fields = serde_html_form::Deserializer::from_bytes(text);
    serde_path_to_error::deserialize(fields).map_err(WrongField::of)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_middle_of_what_is_too_long_is_left_out() {
        let whole = "a".repeat(WHOLE_LEN_MAX);
        assert_eq!(shortened(whole.clone()), whole);
        let long = format!("start {} end", "ü".repeat(WHOLE_LEN_MAX));
        let short = shortened(long);
        assert!(short.starts_with("start ü") && short.ends_with("ü end"), "{short}");
        assert!(short.contains("ü … ü"), "{short}");
        assert!(short.len() <= WHOLE_LEN_MAX + " … ".len(), "{} bytes", short.len());
    }
}
