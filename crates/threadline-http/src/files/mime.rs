//! Which media type a file is sent as, by its name's extension.
//!
//! The content is never looked at: its type must not depend on what a user has uploaded.
//! For the same reason every response says `nosniff`.

use std::borrow::Cow;

/// What a file is sent as whose name says nothing.
const UNKNOWN: &str = "application/octet-stream";

/// The known types, and those that a service has added.
#[derive(Debug, Clone)]
pub(super) struct MediaTypes {
    /// Extensions in lower case, without the dot; the latest last.
    own: Vec<(String, Cow<'static, str>)>,
    /// Added to types that are text and do not say it themselves.
    charset: Option<Cow<'static, str>>,
}

impl Default for MediaTypes {
    fn default() -> Self {
        MediaTypes { own: Vec::new(), charset: Some(Cow::Borrowed("utf-8")) }
    }
}

impl MediaTypes {
    pub(super) fn add(&mut self, extension: &str, media_type: Cow<'static, str>) {
        self.own.push((extension.trim_start_matches('.').to_ascii_lowercase(), media_type));
    }

    pub(super) fn set_charset(&mut self, charset: Option<Cow<'static, str>>) {
        self.charset = charset;
    }

    /// The type of the file at this path.
    pub(super) fn of(&self, path: &str) -> Cow<'static, str> {
        let name = path.rsplit('/').next().unwrap_or(path);
        let Some((_, extension)) = name.rsplit_once('.') else { return UNKNOWN.into() };
        let mut own = self.own.iter().rev();
        if let Some((_, own)) = own.find(|(known, _)| known.eq_ignore_ascii_case(extension)) {
            return own.clone();
        }
        let known = match mime_guess::from_ext(extension).first_raw() {
            // Obsolete, in favour of one type for all scripts (RFC 9239 §6).
            Some("application/javascript") => "text/javascript",
            known => known.unwrap_or(UNKNOWN),
        };
        match &self.charset {
            Some(charset) if is_text(known) => format!("{known}; charset={charset}").into(),
            _ => known.into(),
        }
    }
}

/// Types that are read in the charset of the locale, or guessed, unless one is said. JSON is UTF-8 by
/// definition (RFC 8259 §8.1) and XML says it itself.
fn is_text(media_type: &str) -> bool {
    media_type.starts_with("text/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_come_from_the_last_extension_in_any_case() {
        let types = MediaTypes::default();
        for (path, expected) in [
            ("a.html", "text/html; charset=utf-8"),
            ("A.HTML", "text/html; charset=utf-8"),
            ("x/a.css", "text/css; charset=utf-8"),
            ("a.js", "text/javascript; charset=utf-8"),
            ("a.mjs", "text/javascript; charset=utf-8"),
            ("a.txt", "text/plain; charset=utf-8"),
            ("a.json", "application/json"),
            ("a.svg", "image/svg+xml"),
            ("a.png", "image/png"),
            ("a.webp", "image/webp"),
            ("a.woff2", "font/woff2"),
            ("a.wasm", "application/wasm"),
            ("a.html.zip", "application/zip"),
            ("a.b/c", UNKNOWN),
            ("a", UNKNOWN),
            ("a.", UNKNOWN),
            ("a.unheardof", UNKNOWN),
        ] {
            assert_eq!(types.of(path), expected, "{path}");
        }
    }

    #[test]
    fn a_service_may_know_better() {
        let mut types = MediaTypes::default();
        types.add(".Md", "text/markdown; charset=utf-8".into());
        types.add("txt", "text/x-old".into());
        types.add("txt", "text/x-new".into());
        types.set_charset(None);
        assert_eq!(types.of("a.md"), "text/markdown; charset=utf-8");
        assert_eq!(types.of("a.txt"), "text/x-new");
        assert_eq!(types.of("a.css"), "text/css");
    }
}
