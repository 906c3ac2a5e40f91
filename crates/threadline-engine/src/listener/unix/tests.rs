//! What may be at the path of a Unix socket, and what each gets.

use std::fs;
use std::io::{self, Read, Write};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, symlink};
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::thread;

use rustix::fs::{CWD, FileType, FlockOperation, Mode};
use rustix::process::geteuid;
use rustix::thread::{Uid, set_thread_uid};
use tempfile::TempDir;

use crate::listener::{Address, Listener};

fn tree() -> TempDir {
    tempfile::tempdir().expect("a directory")
}

fn bind(path: &Path) -> io::Result<Listener> {
    Listener::bind(&Address::Unix(path.to_owned()), 1, 16)
}

/// A socket whose process has ended without removing it.
fn stale(path: &Path) {
    drop(UnixListener::bind(path).expect("binds"));
}

/// Which file it is.
fn identity(path: &Path) -> (u64, u64) {
    let metadata = fs::symlink_metadata(path).expect("a file");
    (metadata.dev(), metadata.ino())
}

fn is_socket(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|metadata| metadata.file_type().is_socket())
}

/// The service at `path` is this listener's: the connection is in its backlog.
fn assert_served(path: &Path) {
    UnixStream::connect(path).expect("somebody listens");
}

/// The path cannot be had, the error says what is there, and that is still there.
#[track_caller]
fn assert_left_alone(path: &Path, kind: io::ErrorKind, why: &str) {
    let before = identity(path);
    let error = bind(path).expect_err(why);
    assert_eq!(error.kind(), kind, "{error}");
    let text = error.to_string();
    assert!(text.starts_with(&format!("cannot listen on unix:{}: ", path.display())), "{text}");
    assert!(text.contains(why), "{text}");
    assert_eq!(identity(path), before, "it is still there");
}

/// Runs `work` as a user without privileges: on a thread of its own, as Linux has it, if this is root.
fn without_privileges(work: impl FnOnce() + Send) {
    thread::scope(|scope| {
        let run = || {
            if geteuid().is_root() {
                set_thread_uid(Uid::from_raw(65_534)).expect("root may");
            }
            work();
        };
        scope.spawn(run).join().expect("no panic");
    });
}

#[test]
fn nothing_at_the_path() {
    let tree = tree();
    let path = tree.path().join("socket");
    let listener = bind(&path).expect("binds");
    assert_served(&path);
    drop(listener);
    assert!(!path.exists(), "the file goes with its socket");
}

#[test]
fn a_stale_socket_is_replaced() {
    let tree = tree();
    let path = tree.path().join("socket");
    stale(&path);
    let listener = bind(&path).expect("replaces it");
    assert_served(&path);
    drop(listener);
    assert!(!path.exists());
}

#[test]
fn a_stale_datagram_socket_is_replaced() {
    let tree = tree();
    let path = tree.path().join("socket");
    drop(UnixDatagram::bind(&path).expect("binds"));
    let _listener = bind(&path).expect("replaces it");
    assert_served(&path);
}

#[test]
fn a_regular_file_is_left_alone() {
    let tree = tree();
    let path = tree.path().join("precious.db");
    for content in ["", "precious"] {
        fs::write(&path, content).expect("writes");
        assert_left_alone(&path, io::ErrorKind::AlreadyExists, "a regular file is at this path");
        assert_eq!(fs::read_to_string(&path).expect("reads"), content);
    }
}

#[test]
fn a_directory_is_left_alone() {
    let tree = tree();
    let path = tree.path().join("directory");
    fs::create_dir(&path).expect("a directory");
    assert_left_alone(&path, io::ErrorKind::AlreadyExists, "a directory is at this path");
}

#[test]
fn a_fifo_is_left_alone() {
    let tree = tree();
    let path = tree.path().join("fifo");
    let mode = Mode::RUSR | Mode::WUSR;
    rustix::fs::mknodat(CWD, &path, FileType::Fifo, mode, 0).expect("a FIFO");
    assert_left_alone(&path, io::ErrorKind::AlreadyExists, "a FIFO is at this path");
}

#[test]
fn a_device_is_left_alone() {
    let tree = tree();
    let path = tree.path().join("null");
    let (mode, null) = (Mode::RUSR | Mode::WUSR, rustix::fs::makedev(1, 3));
    match rustix::fs::mknodat(CWD, &path, FileType::CharacterDevice, mode, null) {
        Ok(()) => {
            assert_left_alone(&path, io::ErrorKind::AlreadyExists, "a device is at this path")
        }
        // Then this user could not remove that of the system either.
        Err(_) => {
            assert_left_alone(Path::new("/dev/null"), io::ErrorKind::AlreadyExists, "a device is");
        }
    }
}

#[test]
fn links_are_left_alone_and_never_followed() {
    let tree = tree();
    let at = |name: &str| tree.path().join(name);
    fs::write(at("file"), "precious").expect("writes");
    stale(&at("stale"));
    let _live = UnixListener::bind(at("live")).expect("binds");
    for target in ["file", "stale", "live", "nothing", "link-itself"] {
        let link = at(&format!("link-to-{target}"));
        let target = if target == "link-itself" { link.clone() } else { at(target) };
        symlink(target, &link).expect("a link");
        assert_left_alone(&link, io::ErrorKind::AlreadyExists, "a symbolic link is at this path");
    }
    assert!(at("file").exists() && is_socket(&at("stale")) && is_socket(&at("live")));
    assert!(!at("nothing").exists(), "nothing was made where the dangling link points");
}

#[test]
fn a_live_socket_is_left_alone_and_does_not_notice() {
    let tree = tree();
    let path = tree.path().join("socket");
    let live = bind(&path).expect("binds");
    assert_left_alone(
        &path,
        io::ErrorKind::AddrInUse,
        "another program, or this one, has a socket",
    );
    let accepted = rustix::net::accept(&live).expect_err("nobody has connected");
    assert_eq!(accepted, rustix::io::Errno::AGAIN);
}

#[test]
fn a_live_socket_with_a_full_backlog_is_left_alone_at_once() {
    let tree = tree();
    let path = tree.path().join("socket");
    let live = Listener::bind(&Address::Unix(path.clone()), 1, 0).expect("binds");
    let address = socket2::SockAddr::unix(&path).expect("an address");
    let mut waiting = Vec::new();
    loop {
        let client = super::stream_socket().expect("a socket");
        match client.connect(&address) {
            Ok(()) => waiting.push(client),
            Err(error) => break assert_eq!(error.kind(), io::ErrorKind::WouldBlock),
        }
    }
    assert_left_alone(
        &path,
        io::ErrorKind::AddrInUse,
        "another program, or this one, has a socket",
    );
    drop(live);
}

#[test]
fn a_socket_that_does_not_listen_yet_is_left_alone() {
    let tree = tree();
    let path = tree.path().join("socket");
    let address = socket2::SockAddr::unix(&path).expect("an address");
    let other = super::stream_socket().expect("a socket");
    other.bind(&address).expect("binds");
    assert_left_alone(
        &path,
        io::ErrorKind::AddrInUse,
        "another program, or this one, has a socket",
    );
}

#[test]
fn sockets_of_other_types_are_left_alone() {
    let tree = tree();
    let path = tree.path().join("datagrams");
    let other = UnixDatagram::bind(&path).expect("binds");
    assert_left_alone(&path, io::ErrorKind::AddrInUse, "has a datagram socket at this path");
    // One that hears another socket only refuses every other one.
    let third = UnixDatagram::bind(tree.path().join("third")).expect("binds");
    other.connect(tree.path().join("third")).expect("connects");
    assert_left_alone(&path, io::ErrorKind::AddrInUse, "has a datagram socket at this path");
    drop((other, third));

    let path = tree.path().join("packets");
    let kind = socket2::Type::SEQPACKET;
    let other = socket2::Socket::new(socket2::Domain::UNIX, kind, None).expect("a socket");
    other.bind(&socket2::SockAddr::unix(&path).expect("an address")).expect("binds");
    assert_left_alone(
        &path,
        io::ErrorKind::AddrInUse,
        "another program, or this one, has a socket",
    );
}

#[test]
fn a_directory_that_does_not_exist_is_named() {
    let tree = tree();
    let error = bind(&tree.path().join("missing/socket")).expect_err("no directory").to_string();
    assert!(error.contains("missing does not exist"), "{error}");
    fs::write(tree.path().join("file"), "").expect("writes");
    let error = bind(&tree.path().join("file/socket")).expect_err("no directory").to_string();
    assert!(error.contains("file is not a directory"), "{error}");
    assert!(tree.path().join("file").exists());
}

#[test]
fn a_directory_without_permission_is_named() {
    let tree = tree();
    let path = tree.path().join("socket");
    fs::set_permissions(tree.path(), fs::Permissions::from_mode(0o555)).expect("ours");
    without_privileges(|| {
        let error = bind(&path).expect_err("no permission");
        assert_eq!(error.kind(), io::ErrorKind::PermissionDenied);
        let text = error.to_string();
        assert!(text.contains("this user may not create a socket in"), "{text}");
        assert!(!text.contains("1024"), "nothing about ports: {text}");
    });
    fs::set_permissions(tree.path(), fs::Permissions::from_mode(0o755)).expect("ours");
    assert!(!path.exists());
}

#[test]
fn a_socket_that_may_not_be_asked_is_left_alone() {
    let tree = tree();
    let path = tree.path().join("socket");
    stale(&path);
    fs::set_permissions(&path, fs::Permissions::from_mode(0o000)).expect("ours");
    fs::set_permissions(tree.path(), fs::Permissions::from_mode(0o777)).expect("ours");
    without_privileges(|| {
        assert_left_alone(
            &path,
            io::ErrorKind::PermissionDenied,
            "this user may not connect to it",
        );
    });
}

#[test]
fn a_stale_socket_of_another_user_that_cannot_be_removed_is_named() {
    if !geteuid().is_root() {
        return; // there is no other user to be
    }
    let tree = tree();
    let path = tree.path().join("socket");
    stale(&path);
    fs::set_permissions(&path, fs::Permissions::from_mode(0o777)).expect("ours");
    // As /tmp is: only owners remove files.
    fs::set_permissions(tree.path(), fs::Permissions::from_mode(0o1777)).expect("ours");
    without_privileges(|| {
        assert_left_alone(
            &path,
            io::ErrorKind::PermissionDenied,
            "stale socket at this path cannot be",
        );
    });
}

#[test]
fn what_has_taken_its_place_stays_when_a_listener_ends() {
    let tree = tree();
    let path = tree.path().join("socket");
    // A successor, which somebody has made room for.
    let first = bind(&path).expect("binds");
    fs::remove_file(&path).expect("removes");
    let second = bind(&path).expect("binds");
    drop(first);
    assert_served(&path);
    // A file of somebody else.
    fs::remove_file(&path).expect("removes");
    fs::write(&path, "precious").expect("writes");
    drop(second);
    assert_eq!(fs::read_to_string(&path).expect("reads"), "precious");
    // A link to the listener's own socket, under another name.
    fs::remove_file(&path).expect("removes");
    let third = bind(&path).expect("binds");
    let moved = tree.path().join("moved");
    fs::rename(&path, &moved).expect("renames");
    symlink(&moved, &path).expect("a link");
    drop(third);
    assert!(is_socket(&moved) && path.is_symlink());
}

#[test]
fn a_renamed_directory_does_not_make_another_file_its_own() {
    let tree = tree();
    let (first, moved) = (tree.path().join("first"), tree.path().join("moved"));
    fs::create_dir(&first).expect("a directory");
    let listener = bind(&first.join("socket")).expect("binds");
    fs::rename(&first, &moved).expect("renames");
    fs::create_dir(&first).expect("a directory");
    fs::write(first.join("socket"), "precious").expect("writes");
    drop(listener);
    assert!(first.join("socket").exists(), "that of another");
    assert!(!moved.join("socket").exists(), "its own, wherever it is now");
}

#[test]
fn many_that_start_at_once_leave_one_with_the_path() {
    for _ in 0..50 {
        let tree = tree();
        let path = tree.path().join("socket");
        stale(&path);
        let listeners: Vec<Listener> = thread::scope(|scope| {
            let starts: Vec<_> = (0..4).map(|_| scope.spawn(|| bind(&path))).collect();
            let ends = starts.into_iter().map(|start| start.join().expect("no panic"));
            ends.filter_map(Result::ok).collect()
        });
        assert_eq!(listeners.len(), 1, "each of them would think it is served");
        assert_served(&path);
        rustix::net::accept(&listeners[0]).expect("the client is this one's");
    }
}

#[test]
fn a_lock_that_another_program_keeps_does_not_hold_up_a_start() {
    let tree = tree();
    let path = tree.path().join("socket");
    stale(&path);
    let directory = fs::File::open(tree.path()).expect("a directory");
    rustix::fs::flock(&directory, FlockOperation::LockExclusive).expect("a lock");
    let _listener = bind(&path).expect("replaces the stale socket all the same");
    assert_served(&path);
}

#[test]
fn paths_that_no_socket_can_have() {
    let nul = PathBuf::from("/tmp/a\0b");
    for (path, why) in [
        (nul, "the path contains a NUL byte"),
        (PathBuf::from("x".repeat(108)), "the path has 108 bytes, a Unix socket's has at most 107"),
        (PathBuf::new(), "the path is empty"),
        (PathBuf::from("/"), "the path must end with the name of the socket"),
    ] {
        let error = bind(&path).expect_err(why);
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
        assert!(error.to_string().contains(why), "{error}");
    }
    // NUL in front of a path is how the kernel knows a name of the abstract namespace.
    assert!(bind(Path::new("\0threadline-test")).is_err());
}

#[test]
fn the_longest_path_is_served() {
    let tree = tree();
    let base = tree.path().join("");
    let path = base.join("x".repeat(super::LEN_MAX - base.as_os_str().len()));
    assert_eq!(path.as_os_str().len(), 107);
    let listener = bind(&path).expect("binds");
    assert_served(&path);
    drop(listener);
    assert!(!path.exists());
}

/// The permissions of the file at `path`.
fn mode(path: &Path) -> u32 {
    fs::symlink_metadata(path).expect("a file").permissions().mode() & 0o7777
}

#[test]
fn a_sockets_file_has_the_permissions_that_are_asked_for() {
    let tree = tree();
    let path = tree.path().join("socket");
    let bind = |mode| Listener::bind_with_mode(&Address::Unix(path.clone()), 1, 16, mode);
    // More and less than any usual umask leaves.
    for asked in [0o777, 0o660, 0o600, 0o002, 0] {
        let listener = bind(Some(asked)).expect("binds");
        assert_eq!(mode(&path), asked, "{asked:#o}");
        drop(listener);
        assert!(!path.exists());
    }
    // A stale socket's permissions do not matter.
    stale(&path);
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("its owner's");
    let listener = bind(Some(0o666)).expect("binds");
    assert_eq!(mode(&path), 0o666);
    drop(listener);
    let by_umask = bind(None).expect("binds");
    let std = tree.path().join("std");
    stale(&std);
    assert_eq!(mode(&path), mode(&std), "the umask decides");
    drop(by_umask);
}

#[test]
fn the_permissions_of_a_file_that_has_replaced_the_sockets_are_not_touched() {
    let tree = tree();
    let path = tree.path().join("socket");
    let (socket, file) = super::bind_path(&path, 16, None).expect("binds");
    fs::remove_file(&path).expect("removed");
    fs::write(&path, "").expect("a file");
    let before = mode(&path);
    let error = file.set_mode(0o7).expect_err("replaced").to_string();
    assert_eq!(
        error,
        "the permissions 0o7 of its file cannot be set: another program has replaced it"
    );
    assert_eq!(mode(&path), before);
    drop((socket, file));
    assert!(path.exists(), "it is not ours");
}

#[test]
fn a_client_needs_the_permission_to_write() {
    let tree = tree();
    fs::set_permissions(tree.path(), fs::Permissions::from_mode(0o755)).expect("anyone may look");
    let path = tree.path().join("socket");
    let address = Address::Unix(path.clone());
    for (mode, may_connect) in [(0o444, false), (0o666, true)] {
        let _listener = Listener::bind_with_mode(&address, 1, 16, Some(mode)).expect("binds");
        without_privileges(|| {
            assert_eq!(UnixStream::connect(&path).is_ok(), may_connect, "{mode:#o}");
        });
    }
}

#[test]
fn an_abstract_name_is_served_without_a_file() {
    use std::os::linux::net::SocketAddrExt;
    use std::os::unix::net::SocketAddr;

    let name = format!("threadline-test-{}", std::process::id());
    let address: Address = format!("unix:@{name}").parse().expect("an address");
    let listener = Listener::bind(&address, 2, 16).expect("binds");
    assert_eq!(listener.address(), &address);
    let error = Listener::bind(&address, 2, 16).expect_err("taken");
    assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
    let text = error.to_string();
    assert!(text.contains(&format!("unix:@{name}: another program, or this one,")), "{text}");

    let to = SocketAddr::from_abstract_name(&name).expect("a name");
    let mut client = UnixStream::connect_addr(&to).expect("connects");
    let mut accepted = UnixStream::from(rustix::net::accept(&listener).expect("a client"));
    accepted.write_all(b"x").expect("writes");
    client.read_exact(&mut [0]).expect("reads");

    // Passed on, it is the same, and the name is in use until the last descriptor is closed.
    let passed_on = rustix::io::dup(&listener).expect("duplicates");
    let inherited = Listener::from_fd(passed_on).expect("a listener");
    assert_eq!(inherited.address(), &address);
    drop(listener);
    Listener::bind(&address, 1, 16).expect_err("still taken");
    drop(inherited);
    Listener::bind(&address, 1, 16).expect("free");
    assert!(!Path::new(&format!("@{name}")).exists());
}

#[test]
fn an_inherited_socket_leaves_its_file() {
    let tree = tree();
    let path = tree.path().join("socket");
    let owner = bind(&path).expect("binds");
    let worker =
        Listener::from_fd(rustix::io::dup(&owner).expect("duplicates")).expect("a listener");
    assert_eq!(worker.address(), &Address::Unix(path.clone()));
    drop(worker);
    assert_served(&path);
    drop(owner);
    assert!(!path.exists());
}

#[test]
fn descriptors_that_cannot_be_served_are_named() {
    use std::os::fd::OwnedFd;

    let tree = tree();
    let why = |fd: OwnedFd| Listener::from_fd(fd).expect_err("unfit").to_string();
    let file = fs::File::create(tree.path().join("file")).expect("a file");
    assert!(why(file.into()).contains("not a socket"));
    let (one, _other) = UnixStream::pair().expect("a pair");
    assert!(why(one.into()).contains("does not listen"));
    let bound = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None);
    assert!(why(bound.expect("a socket").into()).contains("does not listen"));
    let datagrams = UnixDatagram::unbound().expect("a socket");
    assert!(why(datagrams.into()).contains("datagrams over Unix sockets are not supported"));
    for bind in
        [Listener::bind_datagrams, |address: &Address, shards| Listener::bind(address, shards, 16)]
    {
        let error = bind(&Address::Fd(-1), 1).expect_err("no number").to_string();
        assert!(error.contains("not a descriptor number: expected `fd:N`"), "{error}");
    }
    let error = Listener::bind(&Address::Fd(999_999), 1, 16).expect_err("not open").to_string();
    assert!(error.contains("fd:999999: not an open descriptor"), "{error}");
}
