//! Files that are part of the program: a table of paths and bytes, made at compile time.
//!
//! Searched for every request; sorted once. Directories are what paths have in common. Nothing here
//! can change while the service runs, so every file has a strong validator and no date.

use super::asset::Asset;
use super::listing::Entry;
use super::resolve::check_name;
use super::{Found, Hidden};
use crate::conditional::ContentHash;

/// One file of the program.
#[derive(Debug, Clone)]
struct File {
    path: &'static str,
    content: &'static [u8],
    hash: u64,
}

/// The program's files.
#[derive(Debug, Clone)]
pub(super) struct Table(Vec<File>);

impl Table {
    /// # Panics
    /// If a path is none that can be asked for, is there twice, or is a file and a directory.
    pub(super) fn new(files: &[(&'static str, &'static [u8])]) -> Self {
        let mut table: Vec<_> =
            files.iter().map(|(path, content)| File::new(path, content)).collect();
        table.sort_unstable_by_key(|file| file.path);
        let table = Table(table);
        for (index, file) in table.0.iter().enumerate() {
            let next = table.0.get(index + 1);
            let is_twice = next.is_some_and(|next| next.path == file.path);
            assert!(!is_twice, "the embedded file `{}` is there twice", file.path);
            let is_directory = table.below(file.path).next().is_some();
            assert!(!is_directory, "the embedded file `{}` is a directory too", file.path);
        }
        table
    }

    pub(super) fn find(&self, path: &str) -> Option<Found> {
        if let Ok(index) = self.0.binary_search_by_key(&path, |file| file.path) {
            return Some(Found::File(self.0[index].asset()));
        }
        let is_directory = path.is_empty() || self.below(path).next().is_some();
        is_directory.then_some(Found::Directory)
    }

    /// What is in the directory at a path, `entries_max` at most.
    pub(super) fn list(&self, path: &str, hidden: Hidden, entries_max: usize) -> Vec<Entry> {
        let mut entries: Vec<Entry> = Vec::new();
        for (file, rest) in self.below(path) {
            let (name, is_directory) = match rest.split_once('/') {
                Some((directory, _)) => (directory, true),
                None => (rest, false),
            };
            // A directory's files are next to each other: they begin alike.
            let is_known = is_directory
                && entries.last().is_some_and(|last| last.is_directory && last.name == name);
            if is_known || hidden.hides(name) {
                continue;
            }
            if entries.len() == entries_max {
                break;
            }
            let len = if is_directory { 0 } else { file.content.len() as u64 };
            entries.push(Entry { name: name.to_owned(), is_directory, len, modified: None });
        }
        entries
    }

    /// The files below a directory, with what stands behind its path.
    fn below(&self, path: &str) -> impl Iterator<Item = (&File, &'static str)> {
        let prefix = if path.is_empty() { String::new() } else { format!("{path}/") };
        let first = self.0.partition_point(|file| file.path < &*prefix);
        self.0[first..]
            .iter()
            .map_while(move |file| Some((file, file.path.strip_prefix(&*prefix)?)))
    }
}

impl File {
    fn new(path: &'static str, content: &'static [u8]) -> Self {
        let is_plain = path.split('/').all(|name| check_name(name).is_ok());
        assert!(is_plain, "the embedded path `{path}` cannot be asked for: write it as `a/b.txt`");
        let mut hash = ContentHash::default();
        hash.update(content);
        File { path, content, hash: hash.finish() }
    }

    fn asset(&self) -> Asset {
        Asset::of_static(self.content, self.hash)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files::Dotfiles;

    const FILES: &[(&str, &[u8])] =
        &[("z", b"z"), ("a/b/c", b"c"), ("a-b", b"x"), ("a/d", b"dd"), ("a/.e", b"")];

    fn list(path: &str, entries_max: usize) -> Vec<String> {
        let entries = Table::new(FILES).list(
            path,
            Hidden { dotfiles: Dotfiles::Hidden, depth: 0 },
            entries_max,
        );
        entries.into_iter().map(|entry| entry.name).collect()
    }

    #[test]
    fn files_and_their_directories_are_found() {
        let table = Table::new(FILES);
        assert!(matches!(table.find("a/b/c"), Some(Found::File(_))));
        assert!(matches!(table.find("a-b"), Some(Found::File(_))));
        assert!(matches!(table.find("a/b"), Some(Found::Directory)));
        assert!(matches!(table.find(""), Some(Found::Directory)));
        for path in ["b", "a/b/c/d", "a/", "A"] {
            assert!(table.find(path).is_none(), "{path}");
        }
        assert!(matches!(Table::new(&[]).find(""), Some(Found::Directory)));
    }

    #[test]
    fn a_directory_lists_what_is_right_in_it_once() {
        assert_eq!(list("", 9), ["a-b", "a", "z"]);
        assert_eq!(list("a", 9), ["b", "d"]);
        assert_eq!(list("", 2), ["a-b", "a"]);
    }

    #[test]
    fn other_content_has_another_hash() {
        assert_ne!(File::new("a", b"a").hash, File::new("a", b"b").hash);
        assert_eq!(File::new("a", b"a").hash, File::new("b", b"a").hash);
    }

    #[test]
    #[should_panic(expected = "cannot be asked for")]
    fn a_path_with_a_slash_in_front_is_refused() {
        Table::new(&[("/a", b"")]);
    }

    #[test]
    #[should_panic(expected = "is there twice")]
    fn the_same_path_twice_is_refused() {
        Table::new(&[("a", b""), ("b", b""), ("a", b"")]);
    }

    #[test]
    #[should_panic(expected = "is a directory too")]
    fn a_file_that_is_a_directory_is_refused() {
        Table::new(&[("a", b""), ("a-b", b""), ("a/b", b"")]);
    }
}
