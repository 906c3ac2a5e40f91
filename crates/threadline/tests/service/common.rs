//! A service to test, and clients that test it. No sleeping: tests wait for what they can see.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use threadline::{Address, Model, Running, Server};

/// Longer than anything takes that is not broken.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// Runs a test body under every model, as a test of its own for each.
macro_rules! every_model {
    ($(fn $name:ident($model:ident) $body:block)*) => {$(
        mod $name {
            #[allow(unused_imports)]
            use super::*;

            fn body($model: threadline::Model) $body

            #[test]
            fn adaptive() {
                body(threadline::Model::Adaptive);
            }

            #[test]
            fn event_loop() {
                body(threadline::Model::EventLoop);
            }

            #[test]
            fn pool() {
                body(threadline::Model::Pool);
            }

            #[test]
            fn thread_per_connection() {
                body(threadline::Model::ThreadPerConnection);
            }
        }
    )*};
}
pub(crate) use every_model;

pub(crate) const ANY: &str = "127.0.0.1:0";

/// A server with two shards, whatever the machine has.
pub(crate) fn server(model: Model) -> Server {
    Server::new().model(model).shards(2).drain_timeout(Duration::from_secs(5))
}

pub(crate) fn start(server: Server) -> Running {
    server.start().expect("the service starts")
}

/// The IP address of a service's first endpoint.
pub(crate) fn address(running: &Running) -> SocketAddr {
    match running.addresses()[0] {
        Address::Ip(address) => address,
        ref other => panic!("not an IP address: {other}"),
    }
}

/// A blocking client whose reads do not hang for ever.
pub(crate) struct Client {
    reader: BufReader<TcpStream>,
}

impl Client {
    pub(crate) fn connect(address: SocketAddr) -> Client {
        let stream = TcpStream::connect(address).expect("connects");
        stream.set_read_timeout(Some(PATIENCE)).expect("timeout");
        stream.set_write_timeout(Some(PATIENCE)).expect("timeout");
        stream.set_nodelay(true).expect("nodelay");
        Client { reader: BufReader::new(stream) }
    }

    pub(crate) fn to(running: &Running) -> Client {
        Client::connect(address(running))
    }

    pub(crate) fn stream(&self) -> &TcpStream {
        self.reader.get_ref()
    }

    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.reader.get_mut().write_all(bytes.as_ref()).expect("writes");
    }

    /// False if the service has closed the connection.
    pub(crate) fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        match self.reader.get_mut().write_all(bytes.as_ref()) {
            Ok(()) => true,
            Err(error) if is_reset(&error) => false,
            Err(error) => panic!("not sent: {error}"),
        }
    }

    /// The next line without its end; `None` at the end of input.
    pub(crate) fn line(&mut self) -> Option<String> {
        let mut line = String::new();
        match self.reader.read_line(&mut line) {
            Ok(0) => None,
            Ok(_) => Some(line.trim_end().to_owned()),
            Err(error) if is_reset(&error) => None,
            Err(error) => panic!("no line: {error}"),
        }
    }

    pub(crate) fn ask(&mut self, line: &str) -> String {
        self.send(format!("{line}\n"));
        self.line().unwrap_or_else(|| panic!("no answer to {line}"))
    }

    pub(crate) fn exactly(&mut self, count: usize) -> Vec<u8> {
        let mut bytes = vec![0; count];
        self.reader.read_exact(&mut bytes).expect("reads");
        bytes
    }

    /// All there is until the service closes.
    pub(crate) fn rest(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        match self.reader.read_to_end(&mut bytes) {
            Ok(_) => bytes,
            Err(error) if is_reset(&error) => bytes,
            Err(error) => panic!("the service did not close: {error}"),
        }
    }

    /// Waits until the service has closed the connection.
    pub(crate) fn assert_closed(&mut self) {
        assert_eq!(self.rest(), b"", "closed without a word");
    }
}

fn is_reset(error: &std::io::Error) -> bool {
    matches!(error.kind(), std::io::ErrorKind::ConnectionReset | std::io::ErrorKind::BrokenPipe)
}

/// Waits until something can be seen from outside that has no event to wait for.
pub(crate) fn eventually(what: &str, mut seen: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !seen() {
        assert!(Instant::now() < deadline, "never happened: {what}");
        std::thread::yield_now();
        std::thread::park_timeout(Duration::from_millis(2));
    }
}

/// A gate that handlers wait at until the test opens it: blocking without a clock.
#[derive(Default)]
pub(crate) struct Gate {
    state: Mutex<(bool, usize)>,
    changed: Condvar,
}

impl Gate {
    pub(crate) fn wait(&self) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.1 += 1;
        self.changed.notify_all();
        while !state.0 {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    pub(crate) fn open(&self) {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).0 = true;
        self.changed.notify_all();
    }

    /// Waits until so many have come to the gate.
    pub(crate) fn await_arrivals(&self, count: usize) {
        let deadline = Instant::now() + PATIENCE;
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        while state.1 < count {
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "only {} of {count} came to the gate", state.1);
            let waited = self.changed.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

/// Open descriptors and threads of this process.
pub(crate) fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").expect("procfs").count()
}
