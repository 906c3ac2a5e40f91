//! Echo: what a client sends comes back. The smallest service of each kind.

use std::io::{self, Read, Write};

use threadline::{Connection, Frames, Lines, Server};

use crate::arguments::{Echo, Kind};

pub(crate) fn run(arguments: &Echo) -> threadline::Result<()> {
    let (server, address) = (Server::new(), arguments.address.clone());
    let server = match arguments.kind {
        Kind::Stream => server.stream(address, stream),
        Kind::Lines => server.lines(address, Lines::new(|line, _| Some(line.to_owned()))),
        Kind::Frames => server.frames(address, Frames::new(|frame, _| Some(frame.to_vec()))),
        Kind::Datagrams => server.datagrams(address, |datagram, _| Some(datagram.to_vec())),
    };
    arguments.how.apply(server).run()
}

/// The classic loop, one blocking read after another.
pub(crate) fn stream(mut connection: Connection) -> io::Result<()> {
    let mut buffer = [0; 16 * 1024];
    loop {
        let count = connection.read(&mut buffer)?;
        if count == 0 {
            return Ok(());
        }
        connection.write_all(&buffer[..count])?;
    }
}
