//! Ten thousand connections that have become another message protocol: no thread more, and hardly any memory.
//!
//! The clients are in a process of their own, so that each has the descriptors it needs: the test starts
//! itself once more, as a client. Alone in this file because it measures the memory of its process.

use std::env;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use threadline::{Address, Lines, MessageService, Model, Server};

const CLIENTS: usize = 10_000;

/// Of process memory for each connection.
const BYTES_MAX: usize = 410;

/// For the process that has the clients: where to connect.
const ADDRESS: &str = "UPGRADED_CONNECTIONS_ADDRESS";

const PATIENCE: Duration = Duration::from_secs(60);

/// Raises the limit as far as it goes. Says for how many connections it is enough.
fn raise_descriptor_limit() -> usize {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    let wanted = (2 * CLIENTS) as u64;
    let current = maximum.map_or(wanted, |maximum| maximum.min(wanted));
    setrlimit(Resource::Nofile, Rlimit { current: Some(current), maximum }).expect("a limit");
    CLIENTS.min(current as usize - 200)
}

/// The number in the line of `/proc/self/FILE` that begins with this name; memory is in KB.
fn proc_number(file: &str, name: &str) -> usize {
    let text = fs::read_to_string(format!("/proc/self/{file}")).expect("procfs");
    let line = text.lines().find_map(|line| line.strip_prefix(name)).expect(name);
    line.trim_start_matches(':').split_whitespace().next().expect("a number").parse().expect(name)
}

/// Connects, upgrades, and says what is asked; until its standard input ends.
fn be_clients(address: SocketAddr) {
    let count = raise_descriptor_limit();
    let ask = |client: &mut BufReader<TcpStream>, line: &str| {
        client.get_mut().write_all(line.as_bytes()).expect("writes");
        let mut reply = String::new();
        client.read_line(&mut reply).expect("a reply");
        reply
    };
    let connect = |_| {
        let stream = TcpStream::connect(address).expect("connects");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        BufReader::with_capacity(64, stream)
    };
    let mut clients: Vec<_> = (0..count).map(connect).collect();
    for client in &mut clients {
        assert_eq!(ask(client, "up\n"), "now\n");
    }
    // The parent looks at its memory after each line.
    println!("upgraded {count}");
    let mut orders = std::io::stdin().lines();
    while let Some(Ok(_)) = orders.next() {
        for client in &mut clients {
            assert_eq!(ask(client, "hello\n"), "HELLO\n");
        }
        println!("asked {count}");
    }
}

/// The process with the clients. Ended with this value.
struct Clients {
    process: Child,
    said: BufReader<std::process::ChildStdout>,
}

impl Clients {
    fn start(address: SocketAddr) -> Self {
        let program = env::current_exe().expect("this test");
        let mut process = Command::new(program)
            .args(["--exact", "clients", "--ignored", "--nocapture"])
            .env(ADDRESS, address.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("started");
        let said = BufReader::new(process.stdout.take().expect("piped"));
        Clients { process, said }
    }

    /// Waits until they have done something, and says how many they are.
    fn await_done(&mut self, what: &str) -> usize {
        let mut line = String::new();
        loop {
            line.clear();
            assert!(self.said.read_line(&mut line).expect("a pipe") > 0, "the clients have failed");
            // The test harness talks as well.
            if let Some(count) = line.split_once(what).map(|(_, count)| count.trim()) {
                return count.parse().expect("a number");
            }
        }
    }

    fn ask(&mut self) {
        let stdin = self.process.stdin.as_mut().expect("piped");
        stdin.write_all(b"ask\n").expect("writes");
        self.await_done("asked ");
    }
}

impl Drop for Clients {
    fn drop(&mut self) {
        drop(self.process.stdin.take());
        let mut rest = String::new();
        let _ = self.said.read_to_string(&mut rest);
        let _ = self.process.wait();
    }
}

#[test]
#[ignore = "the other process of the test below"]
fn clients() {
    if let Ok(address) = env::var(ADDRESS) {
        be_clients(address.parse().expect("an address"));
    }
}

#[test]
fn ten_thousand_upgraded_connections_cost_no_thread_and_little_memory() {
    raise_descriptor_limit();
    let shout = MessageService::new(Arc::new(Lines::new(|line, _| Some(line.to_uppercase()))));
    let lines = Lines::new(move |_, session| {
        session.upgrade(shout.clone());
        Some("now".to_owned())
    });
    let server = Server::new().model(Model::Adaptive).shards(2).lines("127.0.0.1:0", lines);
    let settings = server.settings(|settings| settings.connections_max = 2 * CLIENTS);
    let service = settings.start().expect("the service starts");
    let Address::Ip(address) = service.addresses()[0] else { panic!("an IP address") };

    // What is there once: threads, their buffers, proven routes.
    for _ in 0..200 {
        let mut client = TcpStream::connect(address).expect("connects");
        client.write_all(b"up\nhello\n").expect("writes");
        client.read_exact(&mut [0; 10]).expect("two replies");
    }
    let (threads, memory) =
        (proc_number("status", "Threads"), proc_number("smaps_rollup", "Anonymous"));

    let mut clients = Clients::start(address);
    let count = clients.await_done("upgraded ");
    assert!(count >= 500, "the descriptor limit allows only {count} clients");
    clients.ask();
    let gauges = service.gauges();
    assert!(gauges.connections >= count, "{gauges:?}");
    assert_eq!(gauges.pool_busy, 0, "{gauges:?}");
    // Pool threads come and go with work; none is there because of a connection.
    let more = proc_number("status", "Threads").saturating_sub(threads);
    assert!(more < 10, "{more} threads more for {count} connections");
    let bytes = proc_number("smaps_rollup", "Anonymous").saturating_sub(memory) * 1024 / count;
    println!("{bytes} bytes for each of {count} connections, {more} threads more");
    assert!(bytes <= BYTES_MAX, "{bytes} bytes for each connection");
}
