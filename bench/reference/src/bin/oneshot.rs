//! A shared epoll with `EPOLLONESHOT`: any of N threads serves any connection, handlers run where they
//! are, each request re-arms its connection.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::sync::{Arc, Mutex};
use std::thread;

use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, EventData, EventFlags};
use threadline_bench_reference::{Options, Replies};

struct Shared {
    epoll: std::os::fd::OwnedFd,
    slots: Mutex<Vec<Option<Arc<Mutex<TcpStream>>>>>,
}

fn main() -> io::Result<()> {
    let options = Options::parse();
    let listener = TcpListener::bind(options.address)?;
    rustix::net::listen(&listener, 4096)?;
    println!("listening on {}", listener.local_addr()?);
    let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    let shared = Arc::new(Shared { epoll, slots: Mutex::new(Vec::new()) });
    for _ in 0..options.threads {
        let shared = Arc::clone(&shared);
        thread::Builder::new().stack_size(256 * 1024).spawn(move || run(&shared))?;
    }
    for stream in listener.incoming() {
        let stream = stream?;
        stream.set_nonblocking(true)?;
        stream.set_nodelay(true)?;
        let mut slots = shared.slots.lock().expect("no panics under it");
        let slot = slots.len();
        let stream = Arc::new(Mutex::new(stream));
        slots.push(Some(Arc::clone(&stream)));
        drop(slots);
        let stream = stream.lock().expect("no panics under it");
        let flags = EventFlags::IN | EventFlags::ONESHOT;
        epoll::add(&shared.epoll, stream.as_fd(), EventData::new_u64(slot as u64), flags)?;
    }
    Ok(())
}

fn run(shared: &Shared) {
    let (mut input, mut out, mut replies) = (vec![0; 16 * 1024], Vec::new(), Replies::default());
    let mut events = Vec::with_capacity(1);
    loop {
        events.clear();
        // One event at a time: a thread that blocks must not sit on others.
        if epoll::wait(&shared.epoll, spare_capacity(&mut events), None).is_err() {
            continue;
        }
        replies.tick();
        for event in &events {
            let slot = event.data.u64();
            let stream = shared.slots.lock().expect("no panics under it")[slot as usize].clone();
            let Some(stream) = stream else { continue };
            let mut stream = stream.lock().expect("no panics under it");
            let alive = match stream.read(&mut input) {
                Ok(0) => false,
                Ok(count) => {
                    out.clear();
                    replies.answer(&input[..count], &mut out);
                    stream.write_all(&out).is_ok()
                }
                Err(error) => error.kind() == ErrorKind::WouldBlock,
            };
            if alive {
                let flags = EventFlags::IN | EventFlags::ONESHOT;
                let _ =
                    epoll::modify(&shared.epoll, stream.as_fd(), EventData::new_u64(slot), flags);
            } else {
                shared.slots.lock().expect("no panics under it")[slot as usize] = None;
            }
        }
    }
}
