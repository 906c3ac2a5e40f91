//! What connections are handed over to. The tests with real peers include it too, by `#[path]`.

use std::io::{self, Read, Write};

use threadline::Connection;

/// Sends back in capitals what it reads, until the end.
pub(crate) fn shout(mut connection: Connection) -> io::Result<()> {
    let mut buffer = [0; 1024];
    loop {
        match connection.read(&mut buffer)? {
            0 => return Ok(()),
            count => connection.write_all(&buffer[..count].to_ascii_uppercase())?,
        }
    }
}
