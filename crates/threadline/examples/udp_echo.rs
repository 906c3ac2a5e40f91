//! Echo over UDP: a datagram handler is a function from bytes to bytes.
//!
//! Run:  cargo run --release -p threadline --example udp_echo
//! Try:  echo hello | nc -u -w1 127.0.0.1 12348   prints `hello`
//!
//! A handler that returns `None` sends nothing back.

use threadline::Server;

fn main() -> threadline::Result<()> {
    Server::new().datagrams("127.0.0.1:12348", |bytes, _peer| Some(bytes.to_vec())).run()
}
