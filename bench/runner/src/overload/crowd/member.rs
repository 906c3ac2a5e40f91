//! One client's connection: what it has sent, what has come.
//!
//! The crowd's loop tells it about events and ticks. It never waits: what cannot be sent or read at once goes on with
//! the next event. Answers are parsed, checked and counted here.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use rustix::event::epoll::EventFlags;
use socket2::{Domain, SockRef, Socket, Type};

use super::{Client, Tally};

/// How often a slow body goes on.
const PIECES_PER_SECOND: f64 = 4.0;

/// A client with its connection.
#[derive(Debug)]
pub struct Member {
    client: Client,
    /// `None` once the connection has ended.
    socket: Option<TcpStream>,
    request: Vec<u8>,
    /// How much of `request` is sent.
    sent: usize,
    /// When `request` was sent, how much of the slow rest is, and when it goes on.
    slow: Option<Slow>,
    input: Vec<u8>,
    begun: bool,
    waiting: bool,
    again_at: Option<Instant>,
}

#[derive(Debug)]
struct Slow {
    since: Instant,
    sent: usize,
    next: Instant,
}

impl Member {
    /// Connects without waiting for it.
    pub fn open(service: SocketAddr, client: Client) -> io::Result<Member> {
        let socket = Socket::new(Domain::for_address(service), Type::STREAM, None)?;
        socket.set_nonblocking(true)?;
        socket.set_tcp_nodelay(true)?;
        match socket.connect(&service.into()) {
            Ok(()) => {}
            Err(error)
                if error.raw_os_error() == Some(rustix::io::Errno::INPROGRESS.raw_os_error()) => {}
            Err(error) => return Err(error),
        }
        Ok(Member {
            request: client.request(&service.to_string()),
            client,
            socket: Some(socket.into()),
            sent: 0,
            slow: None,
            input: Vec::new(),
            begun: false,
            waiting: true,
            again_at: None,
        })
    }

    pub fn socket(&self) -> Option<&TcpStream> {
        self.socket.as_ref()
    }

    /// Makes the kernel send a reset and not a FIN when the socket is closed.
    pub fn reset_when_closed(&self) -> io::Result<()> {
        let socket = self.socket.as_ref();
        socket.map_or(Ok(()), |socket| SockRef::from(socket).set_linger(Some(Duration::ZERO)))
    }

    /// Sends and reads what there is, since an edge is reported once.
    pub fn on_event(&mut self, flags: EventFlags, scratch: &mut [u8], tally: &mut Tally) {
        if self.socket.is_none() {
            return;
        }
        if flags.contains(EventFlags::IN) && !self.begun {
            self.begun = true;
            tally.begun += 1;
        }
        let went = match flags.contains(EventFlags::OUT) {
            true => self.send(tally),
            false => Ok(()),
        };
        // Even if sending has failed: the answer that says why may be here.
        let came = if self.client.reads {
            self.receive(scratch, tally)
        } else if flags.intersects(EventFlags::HUP | EventFlags::ERR | EventFlags::RDHUP) {
            Err(self.error())
        } else {
            Ok(())
        };
        if let Err(error) = came.and(went) {
            self.end(&error, tally);
        }
    }

    /// Goes on with a slow body, or asks again, if it is time.
    pub fn on_tick(&mut self, now: Instant, tally: &mut Tally) {
        if self.socket.is_none() {
            return;
        }
        let mut went = Ok(());
        if self.slow.as_ref().is_some_and(|slow| slow.next <= now) {
            went = self.go_on(now);
        }
        if self.again_at.is_some_and(|at| at <= now) {
            (self.again_at, self.sent, self.waiting) = (None, 0, true);
            tally.waiting += 1;
            went = went.and_then(|()| self.send(tally));
        }
        // A failure is an event as well: what has come before it is read there.
        if went.is_err() {
            self.slow = None;
        }
    }

    fn send(&mut self, tally: &mut Tally) -> io::Result<()> {
        while self.sent < self.request.len() {
            let Some(socket) = &mut self.socket else { return Ok(()) };
            match socket.write(&self.request[self.sent..]) {
                Ok(count) => self.sent += count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                // Not connected yet: its event comes.
                Err(error) if error.kind() == ErrorKind::NotConnected => return Ok(()),
                Err(error) => return Err(error),
            }
            if self.sent == self.request.len() {
                tally.sent += 1;
                if self.client.rate > 0.0 {
                    let since = Instant::now();
                    self.slow = Some(Slow { since, sent: 0, next: since });
                }
            }
        }
        Ok(())
    }

    /// Sends what is due of a slow body.
    fn go_on(&mut self, now: Instant) -> io::Result<()> {
        let (Some(slow), Some(socket)) = (&mut self.slow, &mut self.socket) else { return Ok(()) };
        let rest = self.client.body_len.unwrap_or(0) - self.client.prompt_len;
        let due = (now - slow.since).as_secs_f64() * self.client.rate;
        let due = (due as usize + 1).min(rest).saturating_sub(slow.sent);
        slow.next = now + Duration::from_secs_f64(1.0 / PIECES_PER_SECOND);
        match socket.write(&vec![b'u'; due]) {
            Ok(count) => slow.sent += count,
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
        if slow.sent == rest {
            self.slow = None;
        }
        Ok(())
    }

    fn receive(&mut self, scratch: &mut [u8], tally: &mut Tally) -> io::Result<()> {
        loop {
            let Some(socket) = &mut self.socket else { return Ok(()) };
            match socket.read(scratch) {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(count) => self.input.extend_from_slice(&scratch[..count]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::NotConnected => return Ok(()),
                Err(error) => return Err(error),
            }
            self.take_answers(tally)?;
        }
    }

    fn take_answers(&mut self, tally: &mut Tally) -> io::Result<()> {
        while let Some((status, body)) = answer(&mut self.input)? {
            if status < 200 {
                continue;
            }
            let client = &self.client;
            if !client.statuses.contains(&status) || (status == 200 && body != client.answer) {
                let start = String::from_utf8_lossy(&body[..body.len().min(100)]).into_owned();
                tally.count_wrong(format!("{} {}: {status} {start}", client.method, client.path));
            } else {
                tally.count_right(status);
            }
            self.slow = None;
            if self.waiting {
                self.waiting = false;
                tally.waiting -= 1;
                self.again_at = client.pause.map(|pause| Instant::now() + pause);
            }
        }
        Ok(())
    }

    /// Why the connection has ended: the socket's error, or that the peer has closed it.
    fn error(&self) -> io::Error {
        let error = self.socket.as_ref().and_then(|socket| socket.take_error().ok().flatten());
        error.unwrap_or_else(|| ErrorKind::UnexpectedEof.into())
    }

    fn end(&mut self, error: &io::Error, tally: &mut Tally) {
        (self.socket, self.slow, self.again_at) = (None, None, None);
        tally.open -= 1;
        if error.kind() == ErrorKind::InvalidData {
            tally.count_wrong(format!("{} {}: {error}", self.client.method, self.client.path));
        } else if self.waiting && error.kind() == ErrorKind::UnexpectedEof {
            tally.closed += 1;
        } else if self.waiting {
            tally.reset += 1;
        }
        if self.waiting {
            self.waiting = false;
            tally.waiting -= 1;
        }
    }
}

/// Takes a whole answer from the front of `input`.
fn answer(input: &mut Vec<u8>) -> io::Result<Option<(u16, Vec<u8>)>> {
    let wrong = |what: String| io::Error::new(ErrorKind::InvalidData, what);
    let mut fields = [httparse::EMPTY_HEADER; 64];
    let mut response = httparse::Response::new(&mut fields);
    let parsed = response.parse(input).map_err(|error| wrong(format!("not HTTP: {error}")))?;
    let httparse::Status::Complete(head_len) = parsed else { return Ok(None) };
    let status = response.code.unwrap_or(0);
    let length =
        response.headers.iter().find(|field| field.name.eq_ignore_ascii_case("content-length"));
    let length =
        length.and_then(|field| std::str::from_utf8(field.value).ok()?.parse::<usize>().ok());
    let length = match length {
        Some(length) => length,
        None if status < 200 => 0,
        None => return Err(wrong(format!("{status} without a length"))),
    };
    if input.len() < head_len + length {
        return Ok(None);
    }
    let body = input[head_len..head_len + length].to_vec();
    input.drain(..head_len + length);
    Ok(Some((status, body)))
}
