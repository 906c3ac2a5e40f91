//! Stream handlers: the whole connection, read and written as the handler likes.

use std::io::{self, BufRead, Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::thread;
use std::time::Duration;

use crate::connection::{Home, Socket, wait_for_room};
use crate::shard::{Leftover, Shard};
use crate::shared::Blockable;
use crate::sys::{Ticks, spent_since};
use crate::transport::{Received, Sent, Transport, to_start};

/// Bytes that a [`Connection`] reads ahead, once [`BufRead`] is used: 8 KB.
const READ_AHEAD: usize = 8 * 1024;
/// The shortest limit that a blocking read can have.
const READ_MIN: Duration = Duration::from_millis(1);

/// How stream connections of a listener are treated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StreamOptions {
    start: Start,
    idle: Option<Duration>,
    read: Option<Duration>,
    write: Option<Duration>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Start {
    FirstByte,
    Accept,
}

impl Default for StreamOptions {
    fn default() -> Self {
        StreamOptions {
            start: Start::FirstByte,
            idle: Some(Duration::from_secs(75)),
            read: Some(Duration::from_secs(75)),
            write: Some(Duration::from_secs(30)),
        }
    }
}

impl StreamOptions {
    /// The defaults.
    pub fn new() -> Self {
        StreamOptions::default()
    }

    /// Starts the handler at once instead of at the client's first byte: for protocols in which the
    /// server speaks first. A silent client then holds a pool thread.
    pub fn start_at_accept(mut self) -> Self {
        self.start = Start::Accept;
        self
    }

    /// How long a client may take to send its first byte; no thread waits for it. Default 75 s.
    pub fn first_byte_timeout(mut self, limit: Option<Duration>) -> Self {
        self.idle = limit;
        self
    }

    /// How long one read may take. Default 75 s. [`Connection::set_read_timeout`] changes it later.
    pub fn read_timeout(mut self, limit: Option<Duration>) -> Self {
        self.read = limit;
        self
    }

    /// How long one write may wait for the peer to take any byte; then the connection is closed. Default
    /// 30 s. [`Connection::set_write_timeout`] changes it later.
    pub fn write_timeout(mut self, limit: Option<Duration>) -> Self {
        self.write = limit;
        self
    }

    /// Whether these options make sense.
    ///
    /// # Errors
    /// What to change, as a sentence.
    pub fn check(&self) -> Result<(), String> {
        let timeouts = [
            ("first_byte_timeout", self.idle),
            ("read_timeout", self.read),
            ("write_timeout", self.write),
        ];
        match timeouts.into_iter().find(|(_, limit)| *limit == Some(Duration::ZERO)) {
            Some((name, _)) => {
                Err(format!("{name} of a stream is 0: give it a time, or `None` to wait for ever"))
            }
            None => Ok(()),
        }
    }

    pub(crate) fn starts_at_accept(&self) -> bool {
        self.start == Start::Accept
    }

    pub(crate) fn idle(&self) -> Option<Duration> {
        self.idle
    }
}

/// A client's connection, for a stream handler. Reads and writes block; the handler has a thread.
///
/// The connection closes when it is dropped. If the client may still send, only our side is closed at first, and what
/// comes is thrown away within the bounds of [`Settings::linger`](crate::Settings::linger), without a thread: all
/// that was written arrives. If it is dropped by a panic, the connection is reset.
///
/// While the service drains, reads return what has already come and then end, as if the client had
/// closed: a handler that loops until end of input finishes by itself.
///
/// ```
/// use std::io::{self, BufRead, Write};
/// use threadline_engine::Connection;
///
/// fn shout(mut connection: Connection) -> io::Result<()> {
///     let mut line = String::new();
///     while connection.read_line(&mut line)? > 0 {
///         connection.write_all(line.to_uppercase().as_bytes())?;
///         line.clear();
///     }
///     Ok(())
/// }
/// ```
#[derive(Debug)]
pub struct Connection {
    stream: Arc<Stream>,
    /// What `BufRead` has read ahead; `Read` takes it first. Empty until `BufRead` is used.
    ahead: Vec<u8>,
    taken: usize,
}

#[derive(Debug)]
struct Stream {
    /// A message connection that was handed over may share it with its outbox, whose senders have ended. `None`
    /// only while it is dropped.
    socket: Option<Socket>,
    peer: Option<SocketAddr>,
    /// Where it lingers when the last handle is gone.
    shard: Weak<Shard>,
    home: Arc<Home>,
    faults: Arc<Faults>,
    /// Nanoseconds that one read may wait; 0 for ever.
    read_limit: AtomicU64,
    /// Nanoseconds that one write may wait; 0 for ever.
    write_limit: AtomicU64,
    /// A write has waited for too long. Counted once, however many handles there are.
    given_up: AtomicBool,
    /// A drain has ended the reads.
    reads_ended: AtomicBool,
    /// The handler has ended the reads, or both directions: it does not want to hear of the peer again.
    shut: AtomicBool,
}

/// Which kinds of errors the connection itself has reported to its handler: those are the client's doing, and
/// an error of the handler of any other kind is not.
#[derive(Debug, Default)]
pub(crate) struct Faults(AtomicU8);

impl Faults {
    fn note(&self, kind: io::ErrorKind) {
        self.0.fetch_or(Faults::bit(kind), Ordering::Relaxed);
    }

    /// Whether an error that a handler has returned is one that the connection has reported.
    pub(crate) fn explain(&self, error: &io::Error) -> bool {
        self.0.load(Ordering::Relaxed) & Faults::bit(error.kind()) != 0
    }

    fn bit(kind: io::ErrorKind) -> u8 {
        match kind {
            // What `read_exact` makes of an end of input.
            io::ErrorKind::UnexpectedEof => 1,
            io::ErrorKind::ConnectionReset => 1 << 1,
            // What `write_all` makes of a peer that takes nothing, too.
            io::ErrorKind::BrokenPipe | io::ErrorKind::WriteZero => 1 << 2,
            io::ErrorKind::ConnectionAborted => 1 << 3,
            io::ErrorKind::NotConnected => 1 << 4,
            io::ErrorKind::TimedOut => 1 << 5,
            io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => 1 << 6,
            // Hardly a peer's doing, and what most errors of handlers are.
            _ => 0,
        }
    }
}

impl Blockable for Stream {
    fn shut_down(&self, how: Shutdown) {
        self.reads_ended.store(true, Ordering::Relaxed);
        if let Some(socket) = &self.socket {
            socket.shut_down(how);
        }
    }
}

impl Drop for Stream {
    /// The last handle is gone: the connection lingers on its shard until the peer has closed too.
    ///
    /// After a panic it is reset instead, as by an ABORT call (RFC 9293 §3.10.5): a plain end could be taken for that
    /// of what the handler has been sending.
    fn drop(&mut self) {
        let Some(socket) = self.socket.take() else { return };
        if thread::panicking() {
            return socket.transport().reset();
        }
        if let Some(shard) = self.shard.upgrade()
            && !*self.shut.get_mut()
            && !*self.given_up.get_mut()
        {
            let (peer, reads_ended) = (self.peer, *self.reads_ended.get_mut());
            shard.take_leftover(Leftover { socket, peer, reads_ended });
        }
    }
}

impl Connection {
    pub(crate) fn new(
        socket: Socket,
        peer: Option<SocketAddr>,
        shard: &Arc<Shard>,
        options: &StreamOptions,
    ) -> io::Result<Self> {
        let transport = socket.transport();
        transport.block()?;
        let stream = Arc::new(Stream {
            socket: Some(socket),
            peer,
            shard: Arc::downgrade(shard),
            home: Arc::clone(&shard.home),
            faults: Arc::default(),
            read_limit: AtomicU64::new(0),
            write_limit: AtomicU64::new(0),
            given_up: false.into(),
            reads_ended: false.into(),
            shut: false.into(),
        });
        stream.limit_reads(options.read)?;
        stream.limit_writes(options.write)?;
        Ok(Connection { stream, ahead: Vec::new(), taken: 0 })
    }

    /// The same, with bytes that have been read already.
    pub(crate) fn with_ahead(self, ahead: Vec<u8>) -> Self {
        Connection { ahead, ..self }
    }

    pub(crate) fn blockable(&self) -> Weak<dyn Blockable> {
        let weak: Weak<Stream> = Arc::downgrade(&self.stream);
        weak
    }

    pub(crate) fn faults(&self) -> Arc<Faults> {
        Arc::clone(&self.stream.faults)
    }

    /// The client's address; `None` on a Unix socket.
    pub fn peer_addr(&self) -> Option<SocketAddr> {
        self.stream.peer
    }

    /// The address that the client connected to; `None` on a Unix socket.
    pub fn local_addr(&self) -> Option<SocketAddr> {
        self.stream.transport().local_addr()
    }

    /// How long one read may take; `None` waits for ever. A read that takes longer fails with
    /// [`io::ErrorKind::TimedOut`].
    ///
    /// # Errors
    /// If `limit` is zero.
    pub fn set_read_timeout(&self, limit: Option<Duration>) -> io::Result<()> {
        self.stream.limit_reads(not_zero(limit)?)
    }

    /// How long one write may wait for the client to take any byte; `None` waits for ever. A write that
    /// waits for longer fails with [`io::ErrorKind::TimedOut`] and closes the connection for all its
    /// handles: what has been sent by then can hardly be told.
    ///
    /// # Errors
    /// If `limit` is zero.
    pub fn set_write_timeout(&self, limit: Option<Duration>) -> io::Result<()> {
        self.stream.limit_writes(not_zero(limit)?)
    }

    /// Closes one direction or both: the client reads end of input after `Shutdown::Write`. After `Shutdown::Read`
    /// or `Shutdown::Both` the connection does not linger: unread input resets it when it is dropped.
    ///
    /// # Errors
    /// If the connection is gone already.
    pub fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        if how != Shutdown::Write {
            self.stream.shut.store(true, Ordering::Relaxed);
        }
        self.stream.transport().shut_down(how)
    }

    /// Another handle to the same connection, to write on another thread while this one reads. What
    /// `BufRead` has read ahead stays with this one. The connection closes with the last handle.
    ///
    /// # Errors
    /// None at present; the signature is that of [`std::net::TcpStream::try_clone`].
    pub fn try_clone(&self) -> io::Result<Connection> {
        let stream = Arc::clone(&self.stream);
        Ok(Connection { stream, ahead: Vec::new(), taken: 0 })
    }

    fn receive(stream: &Stream, buffer: &mut [u8]) -> io::Result<usize> {
        let began = stream.home.clock.ticks();
        match stream.read_since(began, buffer) {
            Ok(Received::Data(range)) => Ok(to_start(buffer, range)),
            Ok(Received::End) => {
                if !buffer.is_empty() {
                    stream.faults.note(io::ErrorKind::UnexpectedEof);
                }
                Ok(0)
            }
            Ok(Received::Wait(_)) => {
                stream.home.counters.timeouts_stream.increment();
                Err(stream.timed_out("the client sent nothing"))
            }
            Err(error) => Err(stream.failed(error)),
        }
    }
}

/// 0 for no limit.
fn to_nanos(limit: Option<Duration>) -> u64 {
    limit.map_or(0, |limit| u64::try_from(limit.as_nanos()).unwrap_or(u64::MAX))
}

fn from_nanos(nanos: u64) -> Option<Duration> {
    (nanos > 0).then(|| Duration::from_nanos(nanos))
}

fn not_zero(limit: Option<Duration>) -> io::Result<Option<Duration>> {
    if limit.is_some_and(|limit| limit.is_zero()) {
        let message = "a timeout of zero: use None to wait for ever";
        return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
    }
    Ok(limit)
}

impl Stream {
    fn transport(&self) -> &Transport {
        self.socket.as_ref().expect("a socket until it is dropped").transport()
    }

    fn timed_out(&self, what: &str) -> io::Error {
        self.faults.note(io::ErrorKind::TimedOut);
        io::Error::new(io::ErrorKind::TimedOut, format!("timed out: {what} for too long"))
    }

    fn limit_reads(&self, limit: Option<Duration>) -> io::Result<()> {
        self.read_limit.store(to_nanos(limit), Ordering::Relaxed);
        self.transport().set_read_limit(limit)
    }

    /// A read that began then. One that a signal interrupts goes on for the rest of its time: signals that come
    /// again and again, as those of a profiler, do not prolong it.
    fn read_since(&self, began: Ticks, buffer: &mut [u8]) -> io::Result<Received> {
        match self.transport().read_blocking(buffer) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            other => return other,
        }
        let limit = from_nanos(self.read_limit.load(Ordering::Relaxed));
        let received = loop {
            let spent = spent_since(began, self.home.clock.ticks());
            let left = limit.map(|limit| limit.saturating_sub(spent));
            if left.is_some_and(|left| left.is_zero()) {
                // What has come meanwhile is not late.
                break self.transport().read(buffer);
            }
            self.transport().set_read_limit(left.map(|left| left.max(READ_MIN)))?;
            match self.transport().read_blocking(buffer) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                other => break other,
            }
        };
        self.transport().set_read_limit(limit)?;
        received
    }

    fn limit_writes(&self, limit: Option<Duration>) -> io::Result<()> {
        self.write_limit.store(to_nanos(limit), Ordering::Relaxed);
        // For those who write to the descriptor themselves.
        self.transport().set_write_limit(limit)
    }

    /// Waits until the client has taken something.
    fn wait_for_room(&self) -> io::Result<()> {
        let limit = from_nanos(self.write_limit.load(Ordering::Relaxed));
        match wait_for_room(self.transport(), limit, &self.home.clock) {
            Err(error) if error.kind() == io::ErrorKind::TimedOut => {
                if !self.given_up.swap(true, Ordering::Relaxed) {
                    self.home.counters.timeouts_write.increment();
                }
                // The close throws away what the client does not take.
                self.transport().reset_on_close(true);
                self.shut_down(Shutdown::Both);
                Err(self.timed_out("the client read nothing"))
            }
            other => other,
        }
    }

    fn failed(&self, error: io::Error) -> io::Error {
        self.faults.note(error.kind());
        self.home.counters.count_vanished(&error);
        error
    }
}

impl Read for Connection {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.taken < self.ahead.len() {
            let count = (&self.ahead[self.taken..]).read(buffer)?;
            self.consume(count);
            return Ok(count);
        }
        Connection::receive(&self.stream, buffer)
    }
}

impl BufRead for Connection {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.taken >= self.ahead.len() {
            self.taken = 0;
            self.ahead.resize(READ_AHEAD, 0);
            let count = Connection::receive(&self.stream, &mut self.ahead)
                .inspect_err(|_| self.ahead.clear())?;
            self.ahead.truncate(count);
        }
        Ok(&self.ahead[self.taken..])
    }

    fn consume(&mut self, count: usize) {
        self.taken = (self.taken + count).min(self.ahead.len());
    }
}

impl Write for Connection {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        loop {
            match self.stream.transport().write(bytes, usize::MAX) {
                Ok(Sent::All) => return Ok(bytes.len()),
                Ok(Sent::Part(0)) => self.stream.wait_for_room()?,
                Ok(Sent::Part(count)) => return Ok(count),
                Err(error) => return Err(self.stream.failed(error)),
            }
        }
    }

    /// Does nothing: every write goes to the kernel at once.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl AsFd for Connection {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.transport().as_fd()
    }
}
