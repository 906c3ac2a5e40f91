//! An HTTP service and an echo service in one program, both in plain blocking code.
//!
//! Run:  cargo run --release -p threadline --example hello
//! Try:  curl http://127.0.0.1:8080/hello/you     answers `hello, you`
//!       nc 127.0.0.1 12345                       sends back what you type
//!
//! Ctrl-C lets clients finish and ends.

use std::io::{self, Read, Write};
use threadline::http::{Path, Router};
use threadline::{Connection, Server};

fn greet(Path(name): Path<String>) -> String {
    format!("hello, {name}\n") // may block: nobody else waits
}

fn echo(mut conn: Connection) -> io::Result<()> {
    let mut buf = [0; 1024];
    loop {
        let n = conn.read(&mut buf)?;
        if n == 0 {
            return Ok(());
        }
        conn.write_all(&buf[..n])?;
    }
}

fn main() -> threadline::Result<()> {
    Server::new()
        .http("127.0.0.1:8080", Router::new().get("/hello/{name}", greet))
        .stream("127.0.0.1:12345", echo)
        .run() // until SIGTERM or Ctrl-C, then drains
}
