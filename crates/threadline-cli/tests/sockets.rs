//! Unix sockets of the program: what is at their paths when it starts, and when it ends.

mod common;

use std::fs;
use std::io::{Read, Write};
use std::net::UdpSocket;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::path::Path;

use common::{PATIENCE, Program, output};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

fn tree() -> TempDir {
    tempfile::tempdir().expect("a directory")
}

fn unix(path: &Path) -> String {
    format!("unix:{}", path.display())
}

fn is_socket(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|metadata| metadata.file_type().is_socket())
}

fn echoes(client: std::io::Result<UnixStream>) -> std::io::Result<()> {
    let mut client = client?;
    client.set_read_timeout(Some(PATIENCE))?;
    client.write_all(b"hello\n")?;
    let mut back = [0; 6];
    client.read_exact(&mut back)?;
    assert_eq!(&back, b"hello\n");
    Ok(())
}

fn assert_served(path: &Path) {
    echoes(UnixStream::connect(path)).expect("an echo");
}

#[test]
fn a_file_at_the_path_is_left_alone() {
    let tree = tree();
    let path = tree.path().join("precious.db");
    fs::write(&path, "precious").expect("writes");
    for more in [&[][..], &["--processes", "2"], &["--model", "thread-per-connection"]] {
        let said = output(&[&["echo", &unix(&path)], more].concat());
        let message = String::from_utf8_lossy(&said.stderr);
        assert_eq!(said.status.code(), Some(1), "{message}");
        assert_eq!(message.lines().count(), 1, "{message}");
        assert!(message.contains("a regular file is at this path and is left alone"), "{message}");
        assert_eq!(fs::read_to_string(&path).expect("reads"), "precious");
    }
}

#[test]
fn a_path_in_use_is_one_line_with_a_hint() {
    let tree = tree();
    let path = tree.path().join("socket");
    let _other = UnixListener::bind(&path).expect("binds");
    let said = output(&["echo", &unix(&path)]);
    let message = String::from_utf8_lossy(&said.stderr);
    assert_eq!(said.status.code(), Some(1), "{message}");
    assert!(message.contains("another program, or this one, has a socket there"), "{message}");
    assert!(is_socket(&path));
}

#[test]
fn an_instance_that_ends_leaves_the_socket_of_its_successor() {
    let tree = tree();
    let path = tree.path().join("socket");
    for more in [&[][..], &["--processes", "2"]] {
        let start = || {
            let program =
                Program::start(&[&["echo", &unix(&path), "--as", "lines"], more].concat());
            program.line("serving lines on ");
            program
        };
        let mut first = start();
        assert_served(&path);
        fs::remove_file(&path).expect("makes room");
        let mut second = start();
        first.signal(Signal::TERM);
        assert_eq!(first.ends_within(PATIENCE), 0);
        assert_served(&path);
        second.signal(Signal::TERM);
        assert_eq!(second.ends_within(PATIENCE), 0);
        assert!(!path.exists());
    }
}

#[test]
fn a_worker_that_ends_leaves_its_supervisors_socket() {
    let tree = tree();
    let path = tree.path().join("socket");
    let address = unix(&path);
    let mut program = Program::start(&["echo", &address, "--as", "lines", "--processes", "2"]);
    for (worker, signal) in
        program.lines("worker started", 2).iter().zip([Signal::KILL, Signal::TERM])
    {
        let pid = worker.rsplit_once("pid=").and_then(|(_, pid)| pid.parse().ok());
        kill_process(pid.and_then(Pid::from_raw).expect("a pid"), signal).expect("a worker");
    }
    // The second has drained, if it had come as far as to hear its signal.
    program.lines("it is replaced", 2);
    assert!(is_socket(&path), "it is the supervisor's");
    program.lines("worker started", 4);
    assert_served(&path);
    program.signal(Signal::TERM);
    assert_eq!(program.ends_within(PATIENCE), 0);
    assert!(!path.exists());
}

#[test]
fn what_a_killed_instance_leaves_is_replaced() {
    let tree = tree();
    let path = tree.path().join("socket");
    let address = unix(&path);
    for more in [&[][..], &["--processes", "2"]] {
        let mut program = Program::start(&[&["echo", &address, "--as", "lines"], more].concat());
        program.line("serving lines on ");
        assert_served(&path);
        program.signal(Signal::KILL);
        assert_eq!(program.ends_within(PATIENCE), 1000 + 9);
        // Workers have the socket until they end.
        program.log_ends();
        assert!(is_socket(&path), "stale");
        let mut next = Program::start(&[&["echo", &address, "--as", "lines"], more].concat());
        next.line("serving lines on ");
        assert_served(&path);
        next.signal(Signal::TERM);
        assert_eq!(next.ends_within(PATIENCE), 0);
        assert!(!path.exists());
    }
}

#[test]
fn an_abstract_name_is_served_by_one_process_and_by_several() {
    let name = format!("threadline-program-{}", std::process::id());
    let address = format!("unix:@{name}");
    let to = SocketAddr::from_abstract_name(&name).expect("a name");
    for more in [&[][..], &["--processes", "2"]] {
        let arguments = [&["echo", &address, "--as", "lines"], more].concat();
        let mut program = Program::start(&arguments);
        program.line(&format!("serving lines on {address}"));
        echoes(UnixStream::connect_addr(&to)).expect("an echo");
        let said = output(&arguments);
        let message = String::from_utf8_lossy(&said.stderr);
        assert_eq!(said.status.code(), Some(1), "{message}");
        assert!(
            message.contains(&format!("{address}: another program, or this one,")),
            "{message}"
        );
        program.signal(Signal::TERM);
        assert_eq!(program.ends_within(PATIENCE), 0);
        program.log_ends();
    }
}

#[test]
fn workers_answer_datagrams_from_the_address_that_was_asked() {
    for (bind, asks) in [("0.0.0.0:0", "127.0.0.2"), ("[::]:0", "::1"), ("[::]:0", "127.0.0.3")] {
        let program = Program::start(&["echo", bind, "--as", "datagrams", "--processes", "2"]);
        let port = program.address("datagrams").port();
        let any = if asks.contains(':') { "[::]:0" } else { "0.0.0.0:0" };
        let client = UdpSocket::bind(any).expect("binds");
        client.set_read_timeout(Some(PATIENCE)).expect("timeout");
        client.connect((asks, port)).expect("connects");
        for number in 0..50_u8 {
            client.send(&[number]).expect("sends");
            let mut back = [0; 16];
            assert_eq!(client.recv(&mut back).expect("an echo from there"), 1);
            assert_eq!(back[0], number);
        }
    }
}
