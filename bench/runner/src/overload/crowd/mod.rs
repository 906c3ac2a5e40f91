//! Clients in bulk, most of them bad ones: one thread and one epoll loop for all of them.
//!
//! - `client`: what a client does
//! - `member`: one client's connection
//! - `tally`: what has become of all of them
//! - here: the loop, and the handle that the scenario has
//!
//! Connections are registered edge-triggered: a client that never reads must not wake the loop again and
//! again.

mod client;
mod member;
mod tally;

use std::io;
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use rustix::time::Timespec;

pub use client::Client;
use member::Member;
pub use tally::Tally;

/// Connections opened between two looks at the others.
const OPENED_AT_ONCE: usize = 64;

/// How long the loop sleeps at most: how exact rates and pauses are.
const TICK: Duration = Duration::from_millis(10);

/// How clients go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Leave {
    /// They close. The kernel sends a FIN, or a reset if there is something they have not read.
    Close,
    /// They reset the connection (`SO_LINGER` with 0 s).
    Reset,
}

/// Clients under way. When it is dropped, they close.
#[derive(Debug)]
pub struct Crowd {
    thread: Option<JoinHandle<io::Result<()>>>,
    orders: Sender<Leave>,
    tally: Arc<Mutex<Tally>>,
    failed: Arc<AtomicBool>,
}

impl Crowd {
    /// Connects and starts the clients.
    ///
    /// # Errors
    /// If there is no descriptor for the loop.
    pub fn start(service: SocketAddr, clients: Vec<Client>) -> Result<Crowd, String> {
        let tally = Arc::new(Mutex::new(Tally::of(clients.len())));
        let (orders, received) = mpsc::channel();
        let failed = Arc::new(AtomicBool::new(false));
        let epoll = epoll::create(CreateFlags::CLOEXEC).map_err(|error| error.to_string())?;
        let crowd = Loop {
            service,
            epoll,
            clients,
            members: Vec::new(),
            tally: Arc::clone(&tally),
            orders: received,
        };
        let at_end = Arc::clone(&failed);
        let thread = std::thread::spawn(move || {
            let ran = crowd.run();
            at_end.store(ran.is_err(), Ordering::Release);
            ran
        });
        Ok(Crowd { thread: Some(thread), orders, tally, failed })
    }

    /// What has become of them up to now.
    pub fn tally(&self) -> Tally {
        lock(&self.tally).clone()
    }

    /// Waits until the tally says something; how long that took. `None` if it did not within the limit.
    pub fn wait_until(&self, limit: Duration, is_so: impl Fn(&Tally) -> bool) -> Option<Duration> {
        let is_so = || self.failed.load(Ordering::Acquire) || is_so(&lock(&self.tally));
        super::wait_until(limit, is_so)
    }

    /// Lets all of them go; what had become of them before, and when the last one had gone.
    ///
    /// # Errors
    /// If the clients could not be run, for want of descriptors for example.
    pub fn leave(mut self, how: Leave) -> Result<(Tally, Instant), String> {
        let _ = self.orders.send(how);
        self.join()?;
        let gone = Instant::now();
        Ok((self.tally(), gone))
    }

    fn join(&mut self) -> Result<(), String> {
        let Some(thread) = self.thread.take() else { return Ok(()) };
        match thread.join() {
            Ok(ran) => ran.map_err(|error| format!("clients in bulk: {error}")),
            Err(panic) => std::panic::resume_unwind(panic),
        }
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        let _ = self.orders.send(Leave::Close);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn lock(tally: &Mutex<Tally>) -> MutexGuard<'_, Tally> {
    tally.lock().expect("nothing panics while the tally is locked")
}

/// What the crowd's thread has.
struct Loop {
    service: SocketAddr,
    epoll: std::os::fd::OwnedFd,
    /// Those that have not connected yet, the next one last.
    clients: Vec<Client>,
    /// A member's place is its number in epoll.
    members: Vec<Member>,
    tally: Arc<Mutex<Tally>>,
    orders: Receiver<Leave>,
}

impl Loop {
    fn run(mut self) -> io::Result<()> {
        self.clients.reverse();
        let mut events = Vec::with_capacity(256);
        let mut scratch = vec![0; 64 * 1024];
        loop {
            match self.orders.try_recv() {
                Ok(how) => return self.leave(how),
                Err(mpsc::TryRecvError::Disconnected) => return Ok(()),
                Err(mpsc::TryRecvError::Empty) => {}
            }
            self.open_some()?;
            events.clear();
            let tick = if self.clients.is_empty() { TICK } else { Duration::ZERO };
            let tick = Timespec { tv_sec: 0, tv_nsec: i64::from(tick.subsec_nanos()) };
            match epoll::wait(&self.epoll, spare_capacity(&mut events), Some(&tick)) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
            let mut tally = lock(&self.tally);
            for event in &events {
                let (flags, at) = (event.flags, event.data.u64() as usize);
                self.members[at].on_event(flags, &mut scratch, &mut tally);
            }
            let now = Instant::now();
            for member in &mut self.members {
                member.on_tick(now, &mut tally);
            }
        }
    }

    fn open_some(&mut self) -> io::Result<()> {
        for _ in 0..OPENED_AT_ONCE {
            let Some(client) = self.clients.pop() else { return Ok(()) };
            let member = Member::open(self.service, client)?;
            let data = EventData::new_u64(self.members.len() as u64);
            let flags = EventFlags::IN | EventFlags::OUT | EventFlags::RDHUP | EventFlags::ET;
            if let Some(socket) = member.socket() {
                epoll::add(&self.epoll, socket.as_fd(), data, flags)?;
            }
            self.members.push(member);
        }
        Ok(())
    }

    fn leave(self, how: Leave) -> io::Result<()> {
        if how == Leave::Reset {
            self.members.iter().try_for_each(Member::reset_when_closed)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream};

    use super::*;

    const LIMIT: Duration = Duration::from_secs(20);

    /// A listener, and a crowd of one on it whose connection has been accepted.
    fn one(client: Client) -> (Crowd, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("bound");
        let crowd = Crowd::start(address, vec![client]).expect("a crowd");
        let (peer, _) = listener.accept().expect("it connects");
        peer.set_read_timeout(Some(LIMIT)).expect("a socket");
        (crowd, peer)
    }

    fn read_head(peer: &mut TcpStream) -> String {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            peer.read_exact(&mut byte).expect("a head");
            head.push(byte[0]);
        }
        String::from_utf8(head).expect("text")
    }

    #[test]
    fn a_right_answer_is_counted_by_its_status() {
        let (crowd, mut peer) = one(Client::get("/", b"yes"));
        assert!(read_head(&mut peer).starts_with("GET / HTTP/1.1\r\nHost: "));
        peer.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nye").expect("it is there");
        peer.write_all(b"s").expect("it is there");
        assert!(crowd.wait_until(LIMIT, |tally| tally.waiting == 0).is_some());
        let (tally, _) = crowd.leave(Leave::Close).expect("it ran");
        assert_eq!((tally.answered(200), tally.wrong), (1, 0));
    }

    #[test]
    fn a_wrong_body_and_an_unexpected_status_are_wrong() {
        for answer in
            ["200 OK\r\nContent-Length: 2\r\n\r\nno", "500 No\r\nContent-Length: 0\r\n\r\n"]
        {
            let (crowd, mut peer) = one(Client::get("/", b"yes"));
            read_head(&mut peer);
            peer.write_all(format!("HTTP/1.1 {answer}").as_bytes()).expect("it is there");
            assert!(crowd.wait_until(LIMIT, |tally| tally.wrong == 1).is_some(), "{answer}");
        }
    }

    #[test]
    fn a_slow_body_comes_in_pieces_and_an_early_answer_ends_it() {
        let (crowd, mut peer) = one(Client::slow_body("/body", 1000, 200.0));
        assert!(read_head(&mut peer).contains("Content-Length: 1000\r\n"));
        let mut piece = [0; 1000];
        let count = peer.read(&mut piece).expect("a first piece");
        assert!((1..1000).contains(&count), "{count}");
        peer.write_all(b"HTTP/1.1 408 Late\r\nContent-Length: 0\r\n\r\n").expect("it is there");
        assert!(crowd.wait_until(LIMIT, |tally| tally.answered(408) == 1).is_some());
        assert_eq!(crowd.tally().wrong, 0);
    }

    #[test]
    fn a_client_that_never_reads_notices_that_its_reply_has_begun() {
        let (crowd, mut peer) = one(Client::non_reader("/large/owned"));
        read_head(&mut peer);
        peer.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nyes").expect("it is there");
        assert!(crowd.wait_until(LIMIT, |tally| tally.begun == 1).is_some());
        assert_eq!(crowd.tally().waiting, 1);
        drop(peer);
        assert!(crowd.wait_until(LIMIT, |tally| tally.closed + tally.reset == 1).is_some());
    }

    #[test]
    fn a_client_that_comes_again_does_so_on_the_same_connection() {
        let (_crowd, mut peer) = one(Client::get("/", b"").again_after(Duration::from_millis(1)));
        for _ in 0..3 {
            read_head(&mut peer);
            peer.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").expect("it is there");
        }
    }

    #[test]
    fn clients_go_by_fin_or_by_reset() {
        for (how, error) in
            [(Leave::Close, None), (Leave::Reset, Some(io::ErrorKind::ConnectionReset))]
        {
            let (crowd, mut peer) = one(Client::get("/", b""));
            read_head(&mut peer);
            crowd.leave(how).expect("it ran");
            let end = peer.read(&mut [0]);
            assert_eq!(end.as_ref().err().map(io::Error::kind), error, "{how:?}: {end:?}");
        }
    }
}
