//! The working directory belongs to the process, so what changes it has a process of its own.

use std::env;
use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use threadline::{Lines, Server};

#[test]
fn a_relative_path_is_that_of_the_directory_in_which_it_was_bound() {
    let tree = tempfile::tempdir().expect("a directory");
    let (first, second) = (tree.path().join("first"), tree.path().join("second"));
    [&first, &second].into_iter().for_each(|each| fs::create_dir(each).expect("a directory"));
    fs::write(second.join("socket"), "precious").expect("writes");
    for address in ["unix:socket", "unix:./socket", "unix:../first/socket"] {
        env::set_current_dir(&first).expect("changes");
        let lines = Lines::new(|line, _| Some(line.to_owned()));
        let service = Server::new().lines(address, lines).start().expect("starts");
        env::set_current_dir(&second).expect("changes");
        let mut client = UnixStream::connect(first.join("socket")).expect("connects");
        client.set_read_timeout(Some(Duration::from_secs(20))).expect("timeout");
        client.write_all(b"x\n").expect("writes");
        client.read_exact(&mut [0; 2]).expect("reads");
        service.drain();
        assert!(!first.join("socket").exists(), "{address}: its own is removed");
        assert_eq!(fs::read_to_string(second.join("socket")).expect("reads"), "precious");
    }
}
