//! Where files come from: a directory or the program. The one place that knows both.

use std::io;
use std::path::Path;

use super::Dotfiles;
use super::asset::Asset;
use super::dir::{Root, Symlinks};
use super::embedded::Table;
use super::listing::Entry;
use super::resolve::check_name;

/// See the module.
#[derive(Debug, Clone)]
pub(super) enum Source {
    Dir(Root),
    Embedded(Table),
}

/// What is at a path.
#[derive(Debug)]
pub(super) enum Found {
    File(Asset),
    Directory,
}

/// What a listing of a directory leaves out.
#[derive(Debug, Clone, Copy)]
pub(super) struct Hidden {
    pub(super) dotfiles: Dotfiles,
    /// How deep the names stand.
    pub(super) depth: usize,
}

impl Source {
    pub(super) fn dir(path: &Path) -> io::Result<Self> {
        Ok(Source::Dir(Root::new(path)?))
    }

    pub(super) fn embedded(files: &[(&'static str, &'static [u8])]) -> Self {
        Source::Embedded(Table::new(files))
    }

    pub(super) fn set_symlinks(&mut self, symlinks: Symlinks) {
        if let Source::Dir(root) = self {
            root.symlinks = symlinks;
        }
    }

    /// What is at a path below the root: `None` if nothing that may be served.
    pub(super) fn find(&self, path: &str) -> io::Result<Option<Found>> {
        match self {
            Source::Dir(root) => root.find(path),
            Source::Embedded(table) => Ok(table.find(path)),
        }
    }

    /// The file at a path.
    pub(super) fn find_file(&self, path: &str) -> io::Result<Option<Asset>> {
        Ok(match self.find(path)? {
            Some(Found::File(asset)) => Some(asset),
            _ => None,
        })
    }

    /// What is in the directory at a path, in no order.
    pub(super) fn list(
        &self,
        path: &str,
        dotfiles: Dotfiles,
        entries_max: usize,
    ) -> io::Result<Vec<Entry>> {
        let depth = if path.is_empty() { 0 } else { 1 + path.matches('/').count() };
        let hidden = Hidden { dotfiles, depth };
        match self {
            Source::Dir(root) => root.list(path, hidden, entries_max),
            Source::Embedded(table) => Ok(table.list(path, hidden, entries_max)),
        }
    }
}

impl Hidden {
    /// Whether a name is hidden, or could not be asked for.
    pub(super) fn hides(self, name: &str) -> bool {
        !self.dotfiles.permit(name, self.depth) || check_name(name).is_err()
    }
}
