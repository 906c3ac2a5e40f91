//! Which field of a request's data does not fit the handler's type, and why.
//!
//! Made by the extractors beside it out of what serde says. Shown to the client.

use std::fmt;

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
        WrongField { path, reason: error.into_inner().to_string() }
    }

    /// Where it is, like `items[2].price`; empty if it is the whole.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// What is wrong with it.
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

/// The fields of a text in the format of `application/x-www-form-urlencoded`.
#[cfg(feature = "form")]
pub(super) fn from_urlencoded<T: serde::de::DeserializeOwned>(
    text: &[u8],
) -> Result<T, WrongField> {
    let fields = serde_html_form::Deserializer::from_bytes(text);
    serde_path_to_error::deserialize(fields).map_err(WrongField::of)
}
