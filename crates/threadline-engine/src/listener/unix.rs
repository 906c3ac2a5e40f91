//! Unix sockets: what may be at a path, and whose file it is.
//!
//! A socket that was bound to a path leaves a file when its process ends without removing it. Such a
//! *stale* socket is replaced. Everything else at the path is left alone, whatever it is: other programs
//! keep their data in files. docs/settings.md has the table of what each gets.
//!
//! Files are told apart by device and inode, never by name alone, and a number is compared only while
//! something holds its inode, so that it cannot have been given to another file: a descriptor of the
//! stale file, or our own socket. Processes of this crate that start at once take turns, by a lock on the
//! directory. What remains is a race of two system calls with other programs: between the last comparison
//! and `unlinkat` one may put a file of its own at the path. unlink(2) has no form that takes a
//! descriptor.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use rustix::fs::{AtFlags, FileType, FlockOperation, Mode, OFlags, Stat};
use rustix::io::Errno;
use socket2::{Domain, SockAddr, Socket, Type};

/// Bytes of a path or a name: those of `sun_path` without the NUL behind a path or in front of a name.
const LEN_MAX: usize = 107;

/// How often a path is bound again after the stale socket there has been removed: another process may
/// have been faster each time.
const ATTEMPTS: usize = 8;

/// How often the lock on the directory is asked for, once a millisecond. It is held for microseconds; if
/// another program holds it for longer, a start does not wait for that.
const LOCK_ATTEMPTS: usize = 100;

/// Why a path cannot be that of a socket, whatever is there.
pub(super) fn check_path(path: &Path) -> Result<(), String> {
    let bytes = path.as_os_str().as_bytes();
    check_len("path", bytes)?;
    if bytes.contains(&0) {
        return Err("the path contains a NUL byte".into());
    }
    // `Path` overlooks a slash or a dot at the end, the kernel does not.
    if !path.file_name().is_some_and(|name| bytes.ends_with(name.as_bytes())) {
        return Err("the path must end with the name of the socket".into());
    }
    Ok(())
}

/// Why a name cannot be one of the abstract namespace.
pub(super) fn check_name(name: &[u8]) -> Result<(), String> {
    check_len("name", name)
}

fn check_len(what: &str, bytes: &[u8]) -> Result<(), String> {
    match bytes.len() {
        0 => Err(format!("the {what} is empty")),
        1..=LEN_MAX => Ok(()),
        len => Err(format!("the {what} has {len} bytes, a Unix socket's has at most {LEN_MAX}")),
    }
}

/// Binds a name of the abstract namespace. The kernel frees it when the last descriptor is closed.
pub(super) fn bind_name(name: &[u8], backlog: i32) -> io::Result<OwnedFd> {
    check_name(name).map_err(invalid)?;
    let address = SockAddr::unix(OsStr::from_bytes(&[b"\0", name].concat()))?;
    let socket = stream_socket()?;
    socket.bind(&address).map_err(|error| match error.kind() {
        io::ErrorKind::AddrInUse => in_use(),
        _ => error,
    })?;
    socket.listen(backlog)?;
    Ok(socket.into())
}

/// Binds a path, in place of a stale socket if there is one. `mode` is the permissions of its file, where the
/// umask shall not decide.
pub(super) fn bind_path(
    path: &Path,
    backlog: i32,
    mode: Option<u32>,
) -> io::Result<(Arc<OwnedFd>, SocketFile)> {
    check_path(path).map_err(invalid)?;
    let address = SockAddr::unix(path)?;
    let place = Place::of(path)?;
    let socket = stream_socket()?;
    for _ in 0..ATTEMPTS {
        match socket.bind(&address) {
            Ok(()) => {
                let identity = place.identity()?;
                let socket = Arc::new(OwnedFd::from(socket));
                let file = SocketFile { place, identity, _socket: Arc::clone(&socket) };
                // Before listen(2): until then every connect(2) is refused, whatever the permissions are.
                mode.map_or(Ok(()), |mode| file.set_mode(mode))?;
                rustix::net::listen(&socket, backlog)?;
                return Ok((socket, file));
            }
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => place.clear(&address)?,
            Err(error) => return Err(explain_parent(parent_of(path), error)),
        }
    }
    Err(in_use())
}

fn stream_socket() -> io::Result<Socket> {
    Socket::new(Domain::UNIX, Type::STREAM.cloexec().nonblocking(), None)
}

/// A path, by its directory: neither a change of the working directory nor a renamed directory makes it
/// another file's.
#[derive(Debug)]
struct Place {
    directory: OwnedFd,
    name: OsString,
}

/// Which file it is, whatever its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Identity {
    device: u64,
    inode: u64,
}

impl From<Stat> for Identity {
    #[allow(clippy::useless_conversion, clippy::unnecessary_cast)] // narrower on some architectures
    fn from(stat: Stat) -> Self {
        Identity { device: stat.st_dev as u64, inode: stat.st_ino as u64 }
    }
}

impl Place {
    fn of(path: &Path) -> io::Result<Place> {
        let parent = parent_of(path);
        let name = path.file_name().unwrap_or_default().to_owned();
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        match rustix::fs::open(parent, flags, Mode::empty()) {
            Ok(directory) => Ok(Place { directory, name }),
            Err(error) => Err(explain_parent(parent, error.into())),
        }
    }

    /// Which file is there now.
    fn identity(&self) -> Result<Identity, Errno> {
        let flags = AtFlags::SYMLINK_NOFOLLOW;
        rustix::fs::statat(&self.directory, &self.name, flags).map(Identity::from)
    }

    /// Keeps other processes that bind a path in this directory from removing anything meanwhile. Without a
    /// lock, as on some file systems, the race is as with other programs.
    fn lock(&self) -> Option<OwnedFd> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let directory = rustix::fs::openat(&self.directory, ".", flags, Mode::empty()).ok()?;
        for _ in 0..LOCK_ATTEMPTS {
            match rustix::fs::flock(&directory, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => return Some(directory),
                Err(Errno::AGAIN) => thread::sleep(Duration::from_millis(1)),
                Err(_) => return None,
            }
        }
        None
    }

    /// Makes room for a socket where the kernel says that something is: removes a stale socket.
    ///
    /// # Errors
    /// If it is anything else. The message says what it is.
    fn clear(&self, address: &SockAddr) -> io::Result<()> {
        let _lock = self.lock();
        // The descriptor holds the inode: its number is not given to another file before it is closed.
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = match rustix::fs::openat(&self.directory, &self.name, flags, Mode::empty()) {
            Ok(file) => file,
            Err(Errno::NOENT) => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        let stat = rustix::fs::fstat(&file)?;
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::Socket => {}
            other => return Err(occupied(other)),
        }
        if !is_stale(address)? {
            return Ok(());
        }
        match self.identity() {
            Ok(now) if now == Identity::from(stat) => {}
            // Gone, or replaced: the next attempt to bind tells.
            Ok(_) | Err(Errno::NOENT) => return Ok(()),
            Err(error) => return Err(error.into()),
        }
        match rustix::fs::unlinkat(&self.directory, &self.name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(error) => {
                let error = io::Error::from(error);
                let message = format!(
                    "the stale socket at this path cannot be removed ({error}); remove it as its \
                     owner, or choose another path"
                );
                Err(io::Error::new(error.kind(), message))
            }
        }
    }
}

fn parent_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// What an error of bind(2), or of opening the directory, means.
fn explain_parent(parent: &Path, error: io::Error) -> io::Error {
    let parent = parent.display();
    let message = match error.kind() {
        io::ErrorKind::NotFound => format!("the directory {parent} does not exist"),
        io::ErrorKind::NotADirectory => format!("{parent} is not a directory"),
        io::ErrorKind::PermissionDenied => {
            format!("this user may not create a socket in {parent} ({error})")
        }
        _ => return error,
    };
    io::Error::new(error.kind(), message)
}

/// Whether no process has the socket at `address` open. False also if it is gone.
///
/// The kernel looks for a socket of that inode first and compares its type then: a datagram socket that
/// is connected to it gets `ECONNREFUSED` where there is none, and `EPROTOTYPE` where there is a stream
/// socket, also one that does not listen yet or whose backlog is full (unix(7)). So the service that has
/// it never notices the question, and the answer never waits. Then a stream socket asks again: a kernel
/// that refuses datagram sockets for another reason must not make a live socket look stale.
fn is_stale(address: &SockAddr) -> io::Result<bool> {
    for kind in [Type::DGRAM, Type::STREAM] {
        let probe = Socket::new(Domain::UNIX, kind.cloexec().nonblocking(), None)?;
        let Err(error) = probe.connect(address) else {
            return Err(if kind == Type::DGRAM { in_use_by_datagrams() } else { in_use() });
        };
        match error.raw_os_error().map(Errno::from_raw_os_error) {
            Some(Errno::CONNREFUSED) => {}
            Some(Errno::NOENT) => return Ok(false),
            Some(Errno::ACCESS) => {
                let message = "a socket is at this path and is left alone: this user may not connect to \
                               it to find out whether it is in use; remove it if it is stale, or choose \
                               another path";
                return Err(io::Error::new(io::ErrorKind::PermissionDenied, message));
            }
            // EPERM: a datagram socket that hears another one only.
            Some(Errno::PERM) => return Err(in_use_by_datagrams()),
            // EPROTOTYPE, EAGAIN (a full backlog), and whatever else: it may be in use.
            _ => return Err(in_use()),
        }
    }
    Ok(true)
}

/// The file of a socket that we have bound. Dropping it removes the file, if it is that socket's still.
#[derive(Debug)]
pub(super) struct SocketFile {
    place: Place,
    identity: Identity,
    /// Holds the inode, and so its number, until the file has been looked at.
    _socket: Arc<OwnedFd>,
}

impl SocketFile {
    /// Sets the permissions of the file, if it is that socket's still.
    fn set_mode(&self, mode: u32) -> io::Result<()> {
        let explain = |error: io::Error| {
            let message = format!("the permissions {mode:#o} of its file cannot be set: {error}");
            io::Error::new(error.kind(), message)
        };
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file =
            rustix::fs::openat(&self.place.directory, &self.place.name, flags, Mode::empty());
        let file = file.map_err(|error| explain(error.into()))?;
        let stat = rustix::fs::fstat(&file).map_err(|error| explain(error.into()))?;
        if Identity::from(stat) != self.identity {
            return Err(explain(io::Error::other("another program has replaced it")));
        }
        // By the descriptor's link in /proc: fchmod(2) does not take a descriptor that was opened with
        // O_PATH, and fchmodat(2) takes a name, which may be another file's by now.
        let link = format!("/proc/self/fd/{}", file.as_raw_fd());
        let set = rustix::fs::chmod(link, Mode::from_raw_mode(mode));
        set.map_err(|error| explain(error.into()))
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if self.place.identity() == Ok(self.identity) {
            // The race that remains: see above.
            let _ = rustix::fs::unlinkat(&self.place.directory, &self.place.name, AtFlags::empty());
        }
    }
}

fn invalid(message: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, message)
}

fn in_use() -> io::Error {
    let message = "another program, or this one, has a socket there already; stop it or choose another \
                   address";
    io::Error::new(io::ErrorKind::AddrInUse, message)
}

fn in_use_by_datagrams() -> io::Error {
    let message =
        "another program has a datagram socket at this path; stop it or choose another path";
    io::Error::new(io::ErrorKind::AddrInUse, message)
}

fn occupied(by: FileType) -> io::Error {
    let what = match by {
        FileType::RegularFile => "a regular file",
        FileType::Directory => "a directory",
        FileType::Symlink => "a symbolic link",
        FileType::Fifo => "a FIFO",
        FileType::CharacterDevice | FileType::BlockDevice => "a device",
        _ => "a file of unknown type",
    };
    let message = format!(
        "{what} is at this path and is left alone: only a stale socket is replaced; move it away or \
         choose another path"
    );
    io::Error::new(io::ErrorKind::AlreadyExists, message)
}

#[cfg(all(test, not(loom)))]
mod tests;
