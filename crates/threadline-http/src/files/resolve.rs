//! What a path in a request names below a root, as pure text: nothing here touches a file.
//!
//! Called first for every request. What it lets through has only plain names, so that joining it to
//! any directory stays inside, whatever is there; symbolic links are the opener's matter. Decoding
//! happens once, behind splitting: an encoded slash is never a separator, and an escape that decodes
//! to an escape stays one.

use threadline_proto::percent;

/// Which names that begin with a dot are served.
///
/// ```
/// use threadline_http::files::{Dotfiles, Files};
///
/// // Certificates are proven under `/.well-known/`, and `.git` stays where it is.
/// let files = Files::dir("src")?.dotfiles(Dotfiles::WellKnown);
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Dotfiles {
    /// None: they are a 404, and in no listing. The default.
    #[default]
    Hidden,
    /// The directory `.well-known` at the root alone (RFC 8615), without dotfiles in it.
    WellKnown,
    /// All of them, as any other name.
    Served,
}

impl Dotfiles {
    /// Whether a name at this depth of directories may be served.
    pub(super) fn permit(self, name: &str, depth: usize) -> bool {
        match self {
            _ if !name.starts_with('.') => true,
            Dotfiles::Hidden => false,
            Dotfiles::WellKnown => depth == 0 && name == ".well-known",
            Dotfiles::Served => true,
        }
    }
}

/// Why a path names nothing here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    /// It is not text, or has characters that a name cannot have: 400.
    Malformed,
    /// Nothing of that name can be here: 404.
    Nothing,
}

/// The decoded path below the root: names with single slashes between them, none at either end. Empty
/// for the root itself.
///
/// `path` is percent-encoded, without the root's slash in front. One slash behind means nothing here.
pub(super) fn resolve(path: &str, dotfiles: Dotfiles) -> Result<String, Refusal> {
    if path.is_empty() {
        return Ok(String::new());
    }
    let path = path.strip_suffix('/').unwrap_or(path);
    let mut resolved = String::with_capacity(path.len());
    for (depth, segment) in path.split('/').enumerate() {
        let name = percent::decode(segment).map_err(|_| Refusal::Malformed)?;
        check_name(&name)?;
        if !dotfiles.permit(&name, depth) {
            return Err(Refusal::Nothing);
        }
        if depth > 0 {
            resolved.push('/');
        }
        resolved.push_str(&name);
    }
    Ok(resolved)
}

/// Whether a name can be asked for, and so be served and listed.
pub(super) fn check_name(name: &str) -> Result<(), Refusal> {
    if name.contains(char::is_control) {
        return Err(Refusal::Malformed);
    }
    // A backslash is a fine character here and a separator elsewhere: in clients, proxies, archives.
    let is_plain = !matches!(name, "" | "." | "..") && !name.contains(['/', '\\']);
    if is_plain { Ok(()) } else { Err(Refusal::Nothing) }
}

/// A path as it is written in a link: what is not unreserved (RFC 3986 §2.3) is percent-encoded,
/// slashes stay.
pub(super) fn encode(path: &str) -> String {
    let mut encoded = String::with_capacity(path.len());
    for byte in path.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'/' => {
                encoded.push(char::from(byte));
            }
            _ => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use std::path::{Component, Path};

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn plain_paths_are_decoded_once() {
        for (path, expected) in [
            ("", ""),
            ("a", "a"),
            ("a/b.txt", "a/b.txt"),
            ("a/b/", "a/b"),
            ("a%20b/%C3%A4", "a b/ä"),
            ("...", "..."),
            ("a..b/c.", "a..b/c."),
            ("a%2541", "a%41"),
            ("%252e%252e/%252f", "%2e%2e/%2f"),
            ("C:", "C:"),
            ("~root", "~root"),
        ] {
            assert_eq!(resolve(path, Dotfiles::Served).as_deref(), Ok(expected), "{path}");
        }
    }

    #[test]
    fn nothing_leaves_the_root() {
        for path in [
            "..",
            "../x",
            "a/../b",
            "a/..",
            "/../x",
            ".",
            "./a",
            "a/./b",
            "%2e%2e/x",
            "%2E%2e/x",
            ".%2e/x",
            "a/%2e",
            "..%2fx",
            "a%2fb",
            "a%2Fb",
            "%2fetc/passwd",
            "..%5cx",
            "..\\x",
            "a\\b",
            "%5c%5chost",
            "//etc/passwd",
            "/etc/passwd",
            "/",
            "a//b",
            "a//",
            "//",
        ] {
            assert_eq!(resolve(path, Dotfiles::Served), Err(Refusal::Nothing), "{path}");
        }
    }

    #[test]
    fn what_no_name_can_be_is_malformed() {
        for path in [
            "%00",
            "a%00.txt",
            "a%0ab",
            "%7f",
            "%1b",
            "%c2%80",
            "%",
            "%4",
            "%zz",
            "a/%u002e",
            "%c0%ae%c0%ae/x",
            "%c0%afx",
            "%e0%80%ae",
            "%f0%80%80%ae",
            "%ff",
            "%ed%a0%80",
        ] {
            assert_eq!(resolve(path, Dotfiles::Served), Err(Refusal::Malformed), "{path}");
        }
    }

    #[test]
    fn dotfiles_are_served_as_said() {
        let cases = [
            (".git/config", [false, false, true]),
            ("a/.env", [false, false, true]),
            ("%2egit/config", [false, false, true]),
            (".well-known/x", [false, true, true]),
            (".well-known/.x", [false, false, true]),
            ("a/.well-known/x", [false, false, true]),
            ("a.b/c", [true, true, true]),
        ];
        for (path, expected) in cases {
            let policies = [Dotfiles::Hidden, Dotfiles::WellKnown, Dotfiles::Served];
            let served = policies.map(|policy| resolve(path, policy).is_ok());
            assert_eq!(served, expected, "{path}");
        }
    }

    proptest! {
        #[test]
        fn whatever_is_let_through_has_plain_names_alone(path in "([a./%\\\\]|%2[eEfF]|%5[cC]|%00|%c0){0,12}") {
            if let Ok(resolved) = resolve(&path, Dotfiles::Served) {
                let is_plain = |part: Component<'_>| matches!(part, Component::Normal(_));
                prop_assert!(Path::new(&resolved).components().all(is_plain), "{resolved}");
                prop_assert!(!resolved.contains(['\\', '\0']) && !resolved.contains("//"));
            }
        }

        #[test]
        fn an_encoded_name_comes_back(name in "[^/\\\\\\p{Cc}.][^/\\\\\\p{Cc}]{0,20}") {
            prop_assert_eq!(resolve(&encode(&name), Dotfiles::Hidden), Ok(name));
        }
    }
}
