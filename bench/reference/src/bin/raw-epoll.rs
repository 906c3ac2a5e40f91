//! THE reference: one thread, one level-triggered epoll, as little as can honestly be done. Every
//! ratio in the reports is against this program in the same interleaved run.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsFd;

use rustix::buffer::spare_capacity;
use rustix::event::epoll;
use threadline_bench_reference::{Options, Replies, Speaks};

const LISTENER: u64 = u64::MAX;

struct Connection {
    stream: TcpStream,
    /// Of a request that is not whole, or a reply that did not fit. Nearly always empty.
    partial: Vec<u8>,
}

fn main() -> io::Result<()> {
    let options = Options::parse();
    let listener = TcpListener::bind(options.address)?;
    rustix::net::listen(&listener, 4096)?;
    listener.set_nonblocking(true)?;
    println!("listening on {}", listener.local_addr()?);
    let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    let watch = |source: &dyn AsFdDyn, key| {
        epoll::add(&epoll, source.fd(), epoll::EventData::new_u64(key), epoll::EventFlags::IN)
    };
    watch(&listener, LISTENER)?;
    let mut slots: Vec<Option<Connection>> = Vec::new();
    let mut free: Vec<usize> = Vec::new();
    let mut events = Vec::with_capacity(256);
    let (mut input, mut out) = (vec![0; 64 * 1024], Vec::new());
    let mut replies = Replies::default();
    loop {
        events.clear();
        match epoll::wait(&epoll, spare_capacity(&mut events), None) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        replies.tick();
        for event in &events {
            let key = event.data.u64();
            if key == LISTENER {
                while let Ok((stream, _)) = listener.accept() {
                    stream.set_nonblocking(true)?;
                    stream.set_nodelay(true)?;
                    let slot = free.pop().unwrap_or_else(|| {
                        slots.push(None);
                        slots.len() - 1
                    });
                    watch(&stream, slot as u64)?;
                    slots[slot] = Some(Connection { stream, partial: Vec::new() });
                }
                continue;
            }
            let slot = key as usize;
            let Some(connection) = &mut slots[slot] else { continue };
            if !serve(connection, options.speaks, &replies, &mut input, &mut out) {
                slots[slot] = None;
                free.push(slot);
            }
        }
    }
}

/// One read, one write. False: the connection has ended.
fn serve(
    connection: &mut Connection,
    speaks: Speaks,
    replies: &Replies,
    input: &mut [u8],
    out: &mut Vec<u8>,
) -> bool {
    let count = match connection.stream.read(input) {
        Ok(0) => return false,
        Ok(count) => count,
        Err(error) => return error.kind() == ErrorKind::WouldBlock,
    };
    if speaks == Speaks::Echo {
        return send(&mut connection.stream, &input[..count]);
    }
    out.clear();
    if connection.partial.is_empty() {
        let used = replies.answer(&input[..count], out);
        if used < count {
            connection.partial.extend_from_slice(&input[used..count]);
        }
    } else {
        connection.partial.extend_from_slice(&input[..count]);
        let used = replies.answer(&connection.partial, out);
        connection.partial.drain(..used);
    }
    out.is_empty() || send(&mut connection.stream, out)
}

/// Writes all of it. A full socket is waited for: the generator reads what it asked for.
fn send(stream: &mut TcpStream, mut bytes: &[u8]) -> bool {
    while !bytes.is_empty() {
        match stream.write(bytes) {
            Ok(count) => bytes = &bytes[count..],
            Err(error) if error.kind() == ErrorKind::WouldBlock => std::thread::yield_now(),
            Err(_) => return false,
        }
    }
    true
}

/// `AsFd` as an object, so that one closure watches listener and connections.
trait AsFdDyn {
    fn fd(&self) -> std::os::fd::BorrowedFd<'_>;
}

impl<T: AsFd> AsFdDyn for T {
    fn fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.as_fd()
    }
}
