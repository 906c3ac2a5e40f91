//! Memory that slow clients have used goes back to the system: in a process of its own, whose resident memory is
//! that of the service.

#![cfg(all(target_os = "linux", target_env = "gnu"))]

use std::fs;
use std::io::Write;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use threadline::http::Router;
use threadline::{Address, Server};

/// Less than what goes back by itself as soon as it is freed.
const REPLY: usize = 900_000;
const CLIENTS: usize = 100;

/// Memory of this process that is resident, in bytes.
fn resident() -> usize {
    let status = fs::read_to_string("/proc/self/status").expect("procfs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a line");
    let kilobytes: usize = line.trim().trim_end_matches(" kB").parse().expect("a number");
    kilobytes * 1024
}

fn eventually(what: &str, mut is_there: impl FnMut() -> bool) {
    let until = Instant::now() + Duration::from_secs(30);
    while !is_there() {
        assert!(Instant::now() < until, "never happened: {what}; {} bytes", resident());
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn memory_of_replies_that_were_not_read_goes_back() {
    let service = Server::new()
        .settings(|to| {
            to.memory_release_after = Some(Duration::from_millis(200));
            // All of them wait.
            to.waiting_bytes_max = usize::MAX;
        })
        .http("127.0.0.1:0", Router::new().get("/", || vec![b'x'; REPLY]))
        .start()
        .expect("it starts");
    let Address::Ip(address) = service.addresses()[0] else { panic!("an IP address") };
    let before = resident();
    let clients: Vec<_> = (0..CLIENTS)
        .map(|_| {
            let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None)
                .expect("a socket");
            socket.set_recv_buffer_size(16 * 1024).expect("a buffer");
            socket.connect(&address.into()).expect("connects");
            let mut client = TcpStream::from(socket);
            client.write_all(b"GET / HTTP/1.1\r\nHost: t\r\n\r\n").expect("writes");
            client
        })
        .collect();
    eventually("all replies wait", || service.gauges().waiting_bytes >= CLIENTS * REPLY);
    assert!(resident() >= before + CLIENTS * REPLY / 2);
    drop(clients);
    eventually("the memory is free", || resident() < before + CLIENTS * REPLY / 4);
    eventually("it is counted", || service.counts().memory_releases >= 1);
}
