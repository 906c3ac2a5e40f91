//! Files below a directory: opened so that nothing outside can be reached, whoever changes the
//! directory meanwhile.
//!
//! The kernel resolves each path itself and refuses to leave the root (`openat2(2)`,
//! `RESOLVE_BENEATH`): there is no moment between a check and the use of what was checked. What was
//! opened is looked at before anything is read of it. Paths that come here have plain names alone; see
//! `resolve.rs`. Never opens anything for writing.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{
    AtFlags, CWD, Dir, FileType, Mode, OFlags, ResolveFlags, openat, openat2, statat,
};
use rustix::io::Errno;
use threadline_engine::log::limited;

use super::asset::Asset;
use super::listing::{Entry, time_of};
use super::{Found, Hidden};

/// Which symbolic links are followed. Whoever makes a link decides what it shows: one that leads to a
/// dotfile is not hidden by [`Dotfiles`](super::Dotfiles), unless its own name is.
///
/// ```
/// use threadline_http::files::{Files, Symlinks};
///
/// let files = Files::dir("src")?.symlinks(Symlinks::Never);
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Symlinks {
    /// Relative ones that never leave the root on their way. The default. Absolute ones are refused,
    /// also where they lead back in. On kernels without `openat2(2)`, before Linux 5.6, as `Never`.
    #[default]
    Inside,
    /// None, neither as the last name nor as a directory on the way.
    Never,
    /// All of them: whoever can make a link in the directory can have any file served that the
    /// service can read.
    Anywhere,
}

/// A directory to serve.
#[derive(Debug, Clone)]
pub(super) struct Root {
    /// Absolute, so that it stays the same when the working directory changes.
    path: PathBuf,
    pub(super) symlinks: Symlinks,
}

/// How a file is opened. A FIFO without a writer must not be waited for, nor a terminal become ours.
const READ: OFlags =
    OFlags::RDONLY.union(OFlags::CLOEXEC).union(OFlags::NONBLOCK).union(OFlags::NOCTTY);
/// How a directory is opened that is only gone through.
const PASS: OFlags = OFlags::PATH.union(OFlags::CLOEXEC).union(OFlags::DIRECTORY);
/// How often `openat2` is asked again when something was renamed meanwhile: it cannot tell then
/// whether the path has stayed inside.
const RENAMES_MAX: usize = 16;

impl Root {
    pub(super) fn new(path: &Path) -> io::Result<Self> {
        let explain = |error: io::Error| {
            let message = format!("cannot serve files from {}: {error}", path.display());
            io::Error::new(error.kind(), message)
        };
        let root = Root {
            path: std::path::absolute(path).map_err(explain)?,
            symlinks: Symlinks::default(),
        };
        root.open_root().map_err(|error| explain(error.into()))?;
        Ok(root)
    }

    /// What is at a path: `None` if nothing that may be served.
    pub(super) fn find(&self, path: &str) -> io::Result<Option<Found>> {
        let Some(file) = self.open(path)? else { return Ok(None) };
        let metadata = file.metadata()?;
        Ok(if metadata.is_file() {
            Some(Found::File(Asset::of_file(file, &metadata)))
        } else if metadata.is_dir() {
            Some(Found::Directory)
        } else {
            // A device, a FIFO: opened without waiting, never read.
            None
        })
    }

    /// What is in the directory at a path, in no order, `entries_max` at most. Devices and the like
    /// are left out, as are names that cannot be requested.
    pub(super) fn list(
        &self,
        path: &str,
        hidden: Hidden,
        entries_max: usize,
    ) -> io::Result<Vec<Entry>> {
        let Some(directory) = self.open(path)? else { return Ok(Vec::new()) };
        let names = match Dir::read_from(&directory) {
            Ok(names) => names,
            // No directory any more, or not to be searched.
            Err(error) => {
                self.tell_forbidden(path, error);
                return Ok(absent(error.into())?.unwrap_or_default());
            }
        };
        let mut entries = Vec::new();
        for found in names {
            let found = found?;
            let Ok(name) = found.file_name().to_str() else { continue };
            if hidden.hides(name) {
                continue;
            }
            if entries.len() == entries_max {
                break;
            }
            entries.extend(self.entry(&directory, path, name)?);
        }
        Ok(entries)
    }

    fn entry(&self, directory: &File, path: &str, name: &str) -> io::Result<Option<Entry>> {
        let stat = match statat(directory, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => stat,
            // Removed since its name was read.
            Err(error) => return absent(error.into()),
        };
        let entry = |is_directory| Entry {
            name: name.to_owned(),
            is_directory,
            len: u64::try_from(stat.st_size).unwrap_or(0),
            modified: time_of(stat.st_mtime),
        };
        Ok(match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => Some(entry(false)),
            FileType::Directory => Some(entry(true)),
            FileType::Symlink => {
                let path = if path.is_empty() { name.to_owned() } else { format!("{path}/{name}") };
                self.find(&path)?.map(|found| Entry::of(name, &found))
            }
            _ => None,
        })
    }

    fn open_root(&self) -> rustix::io::Result<OwnedFd> {
        // Each time anew: a root that is a link, as to the latest release, may be pointed elsewhere.
        openat(CWD, &self.path, PASS, Mode::empty())
    }

    /// Opens what is at a path, whatever it is.
    fn open(&self, path: &str) -> io::Result<Option<File>> {
        let path = if path.is_empty() { "." } else { path };
        let opened = self.open_root().and_then(|root| match self.symlinks {
            Symlinks::Anywhere => openat(&root, path, READ, Mode::empty()),
            Symlinks::Inside => beneath(&root, path, ResolveFlags::empty()),
            Symlinks::Never => beneath(&root, path, ResolveFlags::NO_SYMLINKS),
        });
        let opened = opened.inspect_err(|error| self.tell_forbidden(path, *error));
        opened.map_or_else(|error| absent(error.into()), |file| Ok(Some(File::from(file))))
    }

    /// The client is told that there is no such file, and the log that it may not be read.
    #[cold]
    fn tell_forbidden(&self, path: &str, error: Errno) {
        match error {
            Errno::ACCESS | Errno::PERM => {
                let path = self.path.join(path);
                limited!(warn, "a file may not be read: the client gets 404", ?path, %error);
            }
            Errno::XDEV | Errno::LOOP => {
                let path = self.path.join(path);
                tracing::debug!(?path, %error, "a link is not followed: the client gets 404");
            }
            _ => {}
        }
    }
}

fn beneath(root: &OwnedFd, path: &str, also: ResolveFlags) -> rustix::io::Result<OwnedFd> {
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS | also;
    let mut opened = Err(Errno::AGAIN);
    for _ in 0..RENAMES_MAX {
        opened = openat2(root, path, READ, Mode::empty(), resolve);
        if !matches!(opened, Err(Errno::AGAIN)) {
            break;
        }
    }
    match opened {
        // Not in this kernel, or not allowed by a sandbox that does not know it.
        Err(Errno::NOSYS | Errno::PERM) => step_by_step(root, path),
        opened => opened,
    }
}

/// Opens one directory after the other, and no symbolic link: as safe, and slower.
fn step_by_step(root: &OwnedFd, path: &str) -> rustix::io::Result<OwnedFd> {
    let (directories, name) = path.rsplit_once('/').unwrap_or(("", path));
    let mut passed: Option<OwnedFd> = None;
    for directory in directories.split('/').filter(|name| !name.is_empty()) {
        let from = passed.as_ref().unwrap_or(root).as_fd();
        passed = Some(openat(from, directory, PASS | OFlags::NOFOLLOW, Mode::empty())?);
    }
    openat(passed.as_ref().unwrap_or(root), name, READ | OFlags::NOFOLLOW, Mode::empty())
}

/// Sorts the errors: `None` where there is nothing for the client, whatever the reason. The client is
/// not told whether a file is missing, forbidden or behind a link that is not followed.
fn absent<T>(error: io::Error) -> io::Result<Option<T>> {
    let is_absent = matches!(
        Errno::from_io_error(&error),
        Some(
            Errno::NOENT
                | Errno::NOTDIR
                | Errno::LOOP
                | Errno::XDEV
                | Errno::ACCESS
                | Errno::PERM
                | Errno::NAMETOOLONG
                | Errno::NXIO
                | Errno::NODEV
        )
    );
    if is_absent { Ok(None) } else { Err(error) }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::Read;
    use std::os::unix::fs::symlink;

    use super::*;

    fn tree() -> (tempfile::TempDir, OwnedFd) {
        let dir = tempfile::tempdir().expect("a directory");
        fs::create_dir_all(dir.path().join("a/b")).expect("directories");
        fs::write(dir.path().join("a/b/c"), "content").expect("a file");
        symlink("a", dir.path().join("link")).expect("a link");
        symlink("b/c", dir.path().join("a/last")).expect("a link");
        let root = Root::new(dir.path()).expect("a root").open_root().expect("opened");
        (dir, root)
    }

    #[test]
    fn without_openat2_no_link_is_followed() {
        let (_dir, root) = tree();
        let mut content = String::new();
        let mut file = File::from(step_by_step(&root, "a/b/c").expect("a file"));
        file.read_to_string(&mut content).expect("read");
        assert_eq!(content, "content");
        assert!(step_by_step(&root, ".").is_ok());
        assert!(step_by_step(&root, "a/b").is_ok());
        for path in ["link/b/c", "a/last", "a/nothing", "a/b/c/d"] {
            let error = step_by_step(&root, path).expect_err(path);
            assert!(matches!(absent::<()>(error.into()), Ok(None)), "{path}: {error}");
        }
    }

    #[test]
    fn a_root_that_is_no_directory_is_explained() {
        let (dir, _) = tree();
        let error = Root::new(&dir.path().join("a/b/c")).expect_err("a file");
        assert_eq!(error.kind(), io::ErrorKind::NotADirectory);
        let error = Root::new(&dir.path().join("nothing")).expect_err("nothing");
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
        assert!(error.to_string().contains("/nothing: No such file"), "{error}");
    }

    #[test]
    fn a_shortage_is_not_taken_for_an_absent_file() {
        for errno in [Errno::MFILE, Errno::NFILE, Errno::IO, Errno::NOMEM] {
            assert!(absent::<()>(errno.into()).is_err(), "{errno}");
        }
    }
}
