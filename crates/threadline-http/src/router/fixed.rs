//! Paths without parameters, which are looked up as they are.
//!
//! Most routes of most services are of this kind, and a request for one of them needs neither a walk
//! through a tree nor room for parameters.

/// From path to the number of its place.
///
/// By length first: of so many paths few are of the same, and those are compared one after the other.
#[derive(Debug, Default)]
pub(super) struct FixedPaths {
    by_len: Vec<Vec<(Box<[u8]>, usize)>>,
}

impl FixedPaths {
    /// Adds a pattern without parameters that is not there yet.
    pub(super) fn insert(&mut self, pattern: &str, place: usize) {
        // A brace of the path itself stands there twice.
        let path = pattern.replace("{{", "{").replace("}}", "}").into_bytes();
        if self.by_len.len() <= path.len() {
            self.by_len.resize_with(path.len() + 1, Vec::new);
        }
        self.by_len[path.len()].push((path.into(), place));
    }

    /// The place of that path.
    #[inline]
    pub(super) fn find(&self, path: &[u8]) -> Option<usize> {
        let paths = self.by_len.get(path.len())?;
        paths.iter().find(|(known, _)| **known == *path).map(|(_, place)| *place)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_found_byte_by_byte_and_as_a_whole() {
        let mut paths = FixedPaths::default();
        for (pattern, place) in [("/", 0), ("/a", 1), ("/b", 2), ("/a/b{{c}}", 3)] {
            paths.insert(pattern, place);
        }
        for (path, place) in [("/", 0), ("/a", 1), ("/b", 2), ("/a/b{c}", 3)] {
            assert_eq!(paths.find(path.as_bytes()), Some(place), "{path}");
        }
        for path in ["", "/A", "/a/", "/a/b{{c}}", "/a/b{c}d", "//"] {
            assert_eq!(paths.find(path.as_bytes()), None, "{path}");
        }
    }
}
