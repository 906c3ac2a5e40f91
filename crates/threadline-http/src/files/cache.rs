//! What `Cache-Control` says of a file, by its path.
//!
//! Asked once for each file that is sent or known already. Patterns match in linear time, whatever is
//! asked for.

use std::borrow::Cow;
use std::time::Duration;

/// For files whose name changes with their content (RFC 8246): a year, and never ask again.
const IMMUTABLE: &str = "public, max-age=31536000, immutable";

/// How long clients and caches may keep files.
#[derive(Debug, Clone)]
pub(super) struct CachePolicy {
    /// For all others.
    usual: Cow<'static, str>,
    /// Patterns of paths whose content never changes.
    immutable: Vec<String>,
}

impl Default for CachePolicy {
    /// Keep it, and ask each time whether it is still the same: never wrong, and cheap.
    fn default() -> Self {
        CachePolicy { usual: Cow::Borrowed("no-cache"), immutable: Vec::new() }
    }
}

impl CachePolicy {
    pub(super) fn set(&mut self, value: Cow<'static, str>) {
        self.usual = value;
    }

    pub(super) fn set_age(&mut self, age: Duration) {
        self.usual = Cow::Owned(format!("public, max-age={}", age.as_secs()));
    }

    pub(super) fn add_immutable(&mut self, pattern: String) {
        self.immutable.push(pattern);
    }

    /// The field's value for the file at this path below the root.
    pub(super) fn value(&self, path: &str) -> Cow<'static, str> {
        let is_immutable = self.immutable.iter().any(|pattern| matches(pattern, path));
        if is_immutable { Cow::Borrowed(IMMUTABLE) } else { self.usual.clone() }
    }
}

/// Whether a path is of that pattern: `*` is any characters, slashes included.
fn matches(pattern: &str, path: &str) -> bool {
    let Some((start, rest)) = pattern.split_once('*') else { return pattern == path };
    let Some(mut path) = path.strip_prefix(start) else { return false };
    let mut pieces = rest.split('*').peekable();
    while let Some(piece) = pieces.next() {
        if pieces.peek().is_none() {
            return path.ends_with(piece);
        }
        // The earliest place leaves the most for the others.
        let Some(at) = path.find(piece) else { return false };
        path = &path[at + piece.len()..];
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_with_stars_for_anything() {
        for (pattern, path, expected) in [
            ("a.js", "a.js", true),
            ("a.js", "b/a.js", false),
            ("*", "", true),
            ("assets/*", "assets/x/y.css", true),
            ("assets/*", "other/x.css", false),
            ("*.js", "x/y.js", true),
            ("*.js", "x/y.js.map", false),
            ("*-*.js", "app-1f2e.js", true),
            ("*-*.js", "app.js", false),
            ("a*a", "a", false),
            ("a**b", "ab", true),
            ("*a*b*c", "xaybzc", true),
            ("*a*b*c", "xbyazc", false),
        ] {
            assert_eq!(matches(pattern, path), expected, "{pattern} {path}");
        }
    }

    #[test]
    fn a_file_is_immutable_by_pattern_and_as_usual_otherwise() {
        let mut policy = CachePolicy::default();
        assert_eq!(policy.value("a.js"), "no-cache");
        policy.set_age(Duration::from_secs(60));
        policy.add_immutable("assets/*".to_owned());
        assert_eq!(policy.value("a.js"), "public, max-age=60");
        assert_eq!(policy.value("assets/a.js"), IMMUTABLE);
        policy.set("private".into());
        assert_eq!(policy.value("a.js"), "private");
    }
}
