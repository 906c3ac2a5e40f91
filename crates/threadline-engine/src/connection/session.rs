//! What a message handler sees of its connection.

use std::any::Any;
use std::cell::Cell;
use std::fmt;
use std::io;
use std::mem;
use std::net::{Shutdown, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::bytes::Bytes;
use super::calls::Calls;
use super::home::Home;
use super::outbox::{Filled, Making, Outbox, Watch};
use super::sender::Sender;
use super::socket::Socket;
use super::source::{Fill, Maker, Source, SourceError};
use crate::contained::Contained;
use crate::deadline::WriteLimit;
use crate::handlers::Connection;
use crate::log;
use crate::route::Route;
use crate::service::MessageService;
use crate::shard::Leftover;
use crate::transport::{REPLY_PART, Sent, Transport};
use crate::turn::clear_output;

/// One connection, as its message handler sees it: who is at the other end, a place to keep things
/// between messages, and a [`Sender`] to write to it later.
#[derive(Debug)]
pub struct Session {
    id: u64,
    /// `None` once it has been handed over.
    pub(super) socket: Option<Socket>,
    peer: Option<SocketAddr>,
    /// Where the socket is registered, and as what: an outbox asks for room there.
    pub(super) home: Arc<Home>,
    pub(super) key: u64,
    pub(super) watch: Watch,
    /// Every idle connection has one, so it is small.
    write_limit: WriteLimit,
    /// The service has ended the reads of it: an end of input is not the peer's.
    reads_ended: bool,
    sender_made: SenderMade,
    /// Replies to earlier messages of the turn that are not sent yet, while a handler has the session. Boxed, as
    /// `upgrade` is; `None` when parked.
    unsent: Option<Box<Unsent>>,
    /// Calls whose replies come later. None as a rule.
    pub(super) calls: Option<Arc<Calls>>,
    /// The reply to a message is the last of its protocol: the connection closes or is upgraded after it.
    is_last_reply: bool,
    /// What it goes on in once the reply is written. Boxed: hardly any connection has one, and every idle
    /// connection has room for it.
    upgrade: Option<Box<Upgrade>>,
    attachment: Option<Attachment>,
}

/// Whether user code has asked for a sender.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum SenderMade {
    Never,
    /// Not in this turn.
    Earlier,
    InTurn,
}

/// What a connection goes on in when the messages of its protocol have come to an end.
#[derive(Debug)]
pub(crate) enum Upgrade {
    /// Messages of another protocol, and what is kept with the session for them.
    Messages(MessageService, Option<Attachment>),
    /// A stream handler.
    Stream(Successor),
}

type Attachment = Contained<Box<dyn Any + Send>>;

/// Code that gets the connection to itself.
pub(crate) struct Successor {
    code: Contained<Box<SuccessorCode>>,
    /// Of the handler that has handed the connection over.
    pub(crate) route: Option<Arc<Route>>,
}

type SuccessorCode = dyn FnOnce(Connection) -> io::Result<()> + Send;

impl Successor {
    /// Its run; what the code has captured is gone with it.
    pub(crate) fn run(self, connection: Connection) -> io::Result<()> {
        (self.code.into_inner())(connection)
    }
}

impl fmt::Debug for Successor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Successor")
    }
}

/// Replies to earlier messages that a handler's own output must not overtake.
#[derive(Debug, Default)]
struct Unsent(Vec<u8>);

thread_local! {
    /// An empty buffer, so that [`Session::keep_unsent`] allocates once for each thread.
    static SPARE: Cell<Option<Box<Unsent>>> = const { Cell::new(None) };
}

/// How much a source makes before it is left to the connection, even if the peer keeps up: 256 KB. The call may
/// run on a shard's thread.
const MADE_AT_ONCE: usize = 256 * 1024;

/// The number of the connection that was accepted last, in this process.
static LAST_ID: AtomicU64 = AtomicU64::new(0);

/// What a session is made of.
#[derive(Debug)]
pub(crate) struct SessionParts {
    pub(crate) socket: Socket,
    pub(crate) peer: Option<SocketAddr>,
    pub(crate) home: Arc<Home>,
    pub(crate) key: u64,
    pub(crate) watch: Watch,
    pub(crate) write_limit: WriteLimit,
}

impl Session {
    pub(crate) fn new(parts: SessionParts) -> Self {
        // The number only has to differ from all others: no order with other memory is needed. The
        // addition is small beside an accept(2), and is made for connections alone, not for messages.
        Session::with_id(LAST_ID.fetch_add(1, Ordering::Relaxed) + 1, parts)
    }

    /// Of a connection that nobody serves any more. It has no number.
    pub(crate) fn left_over(leftover: Leftover, home: Arc<Home>, key: u64) -> Self {
        let Leftover { socket, peer, reads_ended } = leftover;
        let (watch, write_limit) = (Watch::Input, WriteLimit::NONE);
        let parts = SessionParts { socket, peer, home, key, watch, write_limit };
        Session { reads_ended, ..Session::with_id(0, parts) }
    }

    fn with_id(id: u64, parts: SessionParts) -> Self {
        let SessionParts { socket, peer, home, key, watch, write_limit } = parts;
        Session {
            id,
            socket: Some(socket),
            peer,
            home,
            key,
            watch,
            write_limit,
            reads_ended: false,
            sender_made: SenderMade::Never,
            unsent: None,
            calls: None,
            is_last_reply: false,
            upgrade: None,
            attachment: None,
        }
    }

    /// Whether nobody serves it any more: it was counted when its handler let go of it.
    pub(crate) fn is_left_over(&self) -> bool {
        self.id == 0
    }

    /// Whether an end of input may come from the service.
    pub(crate) fn reads_ended(&self) -> bool {
        self.reads_ended
    }

    /// The peer's address; `None` on a Unix socket.
    pub fn peer_addr(&self) -> Option<SocketAddr> {
        self.peer
    }

    /// The address that the peer connected to; `None` on a Unix socket.
    pub fn local_addr(&self) -> Option<SocketAddr> {
        self.transport()?.local_addr()
    }

    /// The connection's number. No other connection of this process has it or had it, so it can be the key
    /// of what a program keeps about its connections. Numbers begin at 1 and grow with each connection that
    /// is accepted. Each worker process has its own.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// A handle that writes to this connection from any thread, now or while it is parked.
    ///
    /// All handles of a connection share one bounded queue; [`Sender::limit`] sets its bound. A handle
    /// to a connection that has been handed over is closed from the start.
    pub fn sender(&mut self) -> Sender {
        // What it pushes comes after them. If the peer is gone, so are they.
        let _ = self.send_unsent();
        self.sender_made = SenderMade::InTurn;
        let id = self.id;
        // Once handed over, the closing hook may still ask which one it was.
        self.outbox().map_or_else(|| Sender::closed(id), |outbox| outbox.sender(id))
    }

    /// Whether there may be a sender.
    #[inline(always)]
    pub(crate) fn has_had_sender(&self) -> bool {
        self.sender_made != SenderMade::Never
    }

    /// A handler gets the session: what it sends comes after the replies in `out`, which are kept here until
    /// [`Session::give_back_unsent`].
    #[inline(always)]
    pub(crate) fn keep_unsent(&mut self, out: &mut Vec<u8>) {
        if !out.is_empty() {
            let unsent = self.unsent.get_or_insert_with(|| SPARE.take().unwrap_or_default());
            mem::swap(&mut unsent.0, out);
        }
    }

    /// The handler has returned: `out` gets back what has not been sent.
    #[inline(always)]
    pub(crate) fn give_back_unsent(&mut self, out: &mut Vec<u8>) {
        if let Some(unsent) = &mut self.unsent {
            mem::swap(&mut unsent.0, out);
        }
    }

    /// Sends the replies to earlier messages, because the handler sends something now. Does not wait for the
    /// peer.
    pub(super) fn send_unsent(&mut self) -> io::Result<()> {
        let Some(mut unsent) = self.unsent.take_if(|unsent| !unsent.0.is_empty()) else {
            return Ok(());
        };
        let sent = self.reply(&unsent.0);
        clear_output(&mut unsent.0);
        self.unsent = Some(unsent);
        sent
    }

    /// The replies of a turn are written: a sender that was made in it, and has been finished already, did
    /// not mean to cut them off.
    #[inline(always)]
    pub(crate) fn end_turn(&mut self) {
        if self.sender_made == SenderMade::InTurn || self.unsent.is_some() {
            self.tidy_up();
        }
    }

    #[cold]
    fn tidy_up(&mut self) {
        if let Some(unsent) = self.unsent.take() {
            SPARE.set(Some(unsent));
        }
        if self.sender_made == SenderMade::InTurn {
            self.sender_made = SenderMade::Earlier;
            if let Some(Socket::Shared(outbox)) = &self.socket {
                outbox.end_turn();
            }
        }
    }

    /// What [`Session::insert`] has put there, if it is a `T`.
    pub fn get<T: Any>(&mut self) -> Option<&mut T> {
        self.attachment.as_deref_mut()?.downcast_mut()
    }

    /// Keeps `value` with the connection, in place of what was kept before, until it closes.
    pub fn insert<T: Any + Send>(&mut self, value: T) {
        self.attachment = Some(Contained::new(Box::new(value)));
    }

    /// Closes the connection once the reply to this message is written, and those of calls that are still
    /// deferred.
    pub fn close_after_reply(&mut self) {
        (self.is_last_reply, self.upgrade) = (true, None);
    }

    /// Goes on in another protocol once the reply to this message is written: the connection stays parked
    /// between messages, and what has come behind this one is looked at by the new protocol. The peer, the
    /// number and the senders stay as they are. The deadlines and hooks become those of the new protocol:
    /// the old one's [`closed`](crate::Protocol::closed) runs, then what [`Session::insert`] has kept is
    /// dropped, then the new one's [`opened`](crate::Protocol::opened) runs. All of it is after the replies of
    /// calls that are still deferred.
    ///
    /// ```
    /// use std::sync::Arc;
    /// use threadline_engine::{Frames, Lines, MessageService};
    ///
    /// let frames = Frames::new(|frame, _| Some(frame.to_vec()));
    /// let frames = MessageService::new(Arc::new(frames));
    /// let lines = Lines::new(move |line, session| match line {
    ///     "frames" => {
    ///         session.upgrade(frames.clone());
    ///         Some("ok".to_owned())
    ///     }
    ///     _ => Some("this protocol knows: frames".to_owned()),
    /// });
    /// ```
    pub fn upgrade(&mut self, to: MessageService) {
        self.upgrade_after_reply(Upgrade::Messages(to, None));
    }

    /// As [`Session::upgrade`], with a value that the new protocol finds by [`Session::get`].
    pub fn upgrade_with<T: Any + Send>(&mut self, to: MessageService, value: T) {
        self.upgrade_after_reply(Upgrade::Messages(to, Some(Contained::new(Box::new(value)))));
    }

    /// Has a stream handler take the connection over once the reply to this message is written: for
    /// going on in another protocol, with a thread. What has come behind the message is what it reads first. It runs on
    /// a pool thread, or on the connection's own, with the default
    /// [`StreamOptions`](crate::StreamOptions); senders to the connection have come to their end.
    ///
    /// ```
    /// use std::io;
    /// use threadline_engine::{Connection, Lines};
    ///
    /// fn count(mut connection: Connection) -> io::Result<()> {
    ///     let bytes = io::copy(&mut connection, &mut io::sink())?;
    ///     println!("{bytes} bytes, whatever they were");
    ///     Ok(())
    /// }
    ///
    /// let lines = Lines::new(|line, session| {
    ///     if line == "data" {
    ///         session.upgrade_to_stream(count);
    ///     }
    ///     Some("go ahead".to_owned())
    /// });
    /// ```
    pub fn upgrade_to_stream(
        &mut self,
        handler: impl FnOnce(Connection) -> io::Result<()> + Send + 'static,
    ) {
        let (code, route) =
            (Contained::new(Box::new(handler) as Box<SuccessorCode>), log::current_route());
        self.upgrade_after_reply(Upgrade::Stream(Successor { code, route }));
    }

    fn upgrade_after_reply(&mut self, upgrade: Upgrade) {
        (self.is_last_reply, self.upgrade) = (true, Some(Box::new(upgrade)));
    }

    /// Whether there are no more messages.
    pub(crate) fn is_last_reply(&self) -> bool {
        self.is_last_reply
    }

    pub(crate) fn closes(&self) -> bool {
        self.is_last_reply && self.upgrade.is_none()
    }

    /// Whether there is something of user code's to be dropped with it.
    pub(crate) fn holds_values(&self) -> bool {
        self.attachment.is_some()
            || self.upgrade.is_some()
            || self.has_calls()
            || matches!(&self.socket, Some(Socket::Shared(outbox)) if outbox.holds_source())
    }

    /// Whether it is to go on in another protocol.
    pub(crate) fn upgrades(&self) -> bool {
        self.upgrade.is_some()
    }

    /// What it is to go on in, if that needs no thread: messages of a protocol without hooks, and nothing of
    /// user code's that would have to be dropped here.
    pub(crate) fn take_plain_upgrade(&mut self) -> Option<MessageService> {
        let Upgrade::Messages(to, attachment) = self.upgrade.as_deref_mut()? else { return None };
        if to.has_hooks() || self.attachment.is_some() || self.calls.is_some() {
            return None;
        }
        let to = to.clone();
        self.attachment = attachment.take();
        (self.is_last_reply, self.upgrade) = (false, None);
        Some(to)
    }

    /// What it is to go on in.
    pub(crate) fn take_upgrade(&mut self) -> Option<Upgrade> {
        let upgrade = self.upgrade.take()?;
        self.is_last_reply = false;
        Some(*upgrade)
    }

    /// The session of another protocol begins.
    pub(crate) fn begin_again(&mut self, attachment: Option<Attachment>) {
        self.attachment = attachment;
    }

    /// Sets the write deadline, of what waits already too.
    pub(crate) fn limit_writes(&mut self, limit: WriteLimit) {
        self.write_limit = limit;
        if let Some(Socket::Shared(outbox)) = &self.socket {
            outbox.limit_writes(self.write_limit);
        }
    }

    /// Closes our side for good. What bounds the peer's answer to that is the caller's business alone.
    pub(crate) fn shut_down_write(&self) {
        let Some(socket) = &self.socket else { return };
        socket.shut_down(Shutdown::Write);
        if let Socket::Shared(outbox) = socket {
            outbox.leave_end_to_owner();
        }
    }

    /// The way to its bytes; `None` once it has been handed over.
    #[inline(always)]
    pub(crate) fn transport(&self) -> Option<&Transport> {
        self.socket.as_ref().map(Socket::transport)
    }

    /// Whether the peer sends no more, where events do not say so.
    #[inline(always)]
    pub(crate) fn has_hung_up(&self) -> bool {
        self.transport().is_some_and(Transport::has_hung_up)
    }

    /// Ends one direction or both, if it has not been handed over.
    pub(crate) fn shut_down(&self, how: Shutdown) {
        if let Some(socket) = &self.socket {
            socket.shut_down(how);
        }
    }

    /// Takes the socket out, for a stream handler.
    pub(crate) fn take_socket(&mut self) -> Option<Socket> {
        self.socket.take()
    }

    /// Writes a reply; what there is no room for waits in the outbox.
    #[inline(always)]
    pub(crate) fn reply(&mut self, bytes: &[u8]) -> io::Result<()> {
        let sent = match &self.socket {
            Some(Socket::Own(transport)) => match transport.write(bytes, REPLY_PART)? {
                Sent::All => return Ok(()),
                Sent::Part(sent) => sent,
            },
            Some(Socket::Shared(_)) => 0,
            None => return Err(io::ErrorKind::NotConnected.into()),
        };
        let outbox = self.outbox().ok_or(io::ErrorKind::NotConnected)?;
        outbox.reply(&bytes[sent..]).map(drop)
    }

    /// Sends `head` and `bytes` behind what waits already, without waiting for the peer and without copying
    /// `bytes`: what the peer does not take at once waits where it is. For large replies; small ones are better
    /// written to [`Turn::out`](crate::Turn::out), which sends several at once.
    ///
    /// # Errors
    /// The peer is gone.
    pub fn send_bytes(&mut self, head: &[u8], bytes: impl Into<Bytes>) -> io::Result<()> {
        self.send_unsent()?;
        let (bytes, mut head, mut skip) = (bytes.into(), head, 0);
        if let Some(Socket::Own(transport)) = &self.socket {
            match transport.write_both(head, &bytes, REPLY_PART)? {
                Sent::All => return Ok(()),
                Sent::Part(sent) => {
                    skip = sent.saturating_sub(head.len());
                    head = &head[sent.min(head.len())..];
                }
            }
        }
        let outbox = self.outbox().ok_or(io::ErrorKind::NotConnected)?;
        outbox.reply_bytes(head, bytes, skip)
    }

    /// Sends `head`, and behind it what `source` makes, each piece when it is made. If the peer stalls, the source
    /// waits with the connection, without a thread; it goes on when the peer takes bytes again, on a thread that may
    /// block. Until its end no further message of the connection is looked at.
    ///
    /// Content that ends with its connection ([`Session::begin_until_close`]) is whole with the end of the source:
    /// [`Session::end_until_close`] need not be called. If the source fails later, the reply is cut off: what was
    /// made before is sent, and the connection is closed.
    ///
    /// # Errors
    /// [`SourceError`] if the peer is gone, or the source has failed already. A panic of the source is the
    /// caller's.
    pub fn send_source(
        &mut self,
        head: &[u8],
        source: impl Source + 'static,
    ) -> Result<(), SourceError> {
        let source: Box<dyn Source> = Box::new(source);
        let mut source = Contained::new(source);
        self.send_unsent().map_err(SourceError::Peer)?;
        self.reply(head).map_err(SourceError::Peer)?;
        let (mut piece, mut made) = (Vec::new(), 0);
        // Further pieces are made where the connection goes on: not on a shard's thread.
        while !self.output_waits() && made < MADE_AT_ONCE {
            piece.clear();
            let fill = source.fill(&mut piece).map_err(SourceError::Source)?;
            made += piece.len();
            self.reply(&piece).map_err(SourceError::Peer)?;
            if fill == Fill::End {
                return self.end_source().map_err(SourceError::Peer);
            }
        }
        let maker = Maker { source, route: log::current_route() };
        self.leave_with_outbox(Some(maker)).map_err(SourceError::Peer)
    }

    /// The source has come to its end. What it has made may wait still.
    fn end_source(&mut self) -> io::Result<()> {
        if self.output_waits() {
            return self.leave_with_outbox(None);
        }
        self.end_until_close();
        Ok(())
    }

    fn leave_with_outbox(&mut self, maker: Option<Maker>) -> io::Result<()> {
        let outbox = self.outbox().ok_or(io::ErrorKind::NotConnected)?;
        outbox.reply_made(Making::new(maker))
    }

    /// Whether a source waits to be asked for more.
    pub(crate) fn wants_fill(&self) -> bool {
        matches!(&self.socket, Some(Socket::Shared(outbox)) if outbox.wants_fill())
    }

    /// The route of the source that waits, if it has one.
    pub(crate) fn source_route(&self) -> Option<Arc<Route>> {
        match &self.socket {
            Some(Socket::Shared(outbox)) => outbox.source_route(),
            _ => None,
        }
    }

    /// Asks a source that waits for more, about `most` bytes. `no_route` stands for its route if it has none.
    pub(crate) fn fill(&self, most: usize, no_route: &Arc<Route>) -> io::Result<Filled> {
        match &self.socket {
            Some(Socket::Shared(outbox)) => outbox.fill(most, no_route),
            _ => Ok(Filled::Stalled),
        }
    }

    /// Whether it was us who closed it: what has come of a message may lack its end for that reason.
    pub(crate) fn is_cut_off(&self) -> bool {
        matches!(&self.socket, Some(Socket::Shared(outbox)) if outbox.is_cut_off())
    }

    /// Whether output waits for the peer to read.
    pub(crate) fn output_waits(&self) -> bool {
        match &self.socket {
            Some(Socket::Shared(outbox)) => outbox.waits(),
            _ => false,
        }
    }

    /// Keeps the budget of waiting bytes, to which the output of a turn may have added. Only an outbox has any.
    #[inline(always)]
    pub(crate) fn keep_budget(&self) {
        if let Some(Socket::Shared(_)) = &self.socket {
            self.home.keep_budget();
        }
    }

    /// Writes what waits and now fits.
    pub(crate) fn flush(&self) -> io::Result<()> {
        match &self.socket {
            Some(Socket::Shared(outbox)) => outbox.flush(),
            _ => Ok(()),
        }
    }

    /// Whether somebody holds a [`Sender`] to it.
    pub(crate) fn has_sender(&self) -> bool {
        match &self.socket {
            Some(Socket::Shared(outbox)) => outbox.has_sender(),
            _ => false,
        }
    }

    /// Says that what is sent from now on ends with the connection, and has no other end that the peer could
    /// see (HTTP/1.0 without a length). If the connection ends in any way before
    /// [`Session::end_until_close`] or [`Sender::finish`], the end of the process included, it is reset, so
    /// that the peer does not take what it has for the whole. Unix sockets have no reset.
    pub fn begin_until_close(&mut self) {
        if let Some(outbox) = self.outbox() {
            outbox.begin_until_close();
        }
    }

    /// Says that all is sent: the connection may end as usual.
    pub fn end_until_close(&mut self) {
        if let Some(Socket::Shared(outbox)) = &self.socket {
            outbox.end_until_close();
        }
    }

    /// Whether a drain has to wait for what senders push.
    pub(crate) fn drain_waits_for_push(&self) -> bool {
        matches!(&self.socket, Some(Socket::Shared(outbox)) if outbox.drain_waits())
    }

    /// A drain ends what senders push.
    pub(crate) fn end_push_at_drain(&self) {
        if let Some(Socket::Shared(outbox)) = &self.socket {
            outbox.end_at_drain();
        }
    }

    /// From now on the connection is there for its senders alone. False if there is none any more.
    pub(crate) fn begin_push(&self) -> bool {
        match &self.socket {
            Some(Socket::Shared(outbox)) => outbox.begin_push(),
            _ => false,
        }
    }

    /// The outbox, made if there was none; `None` once the socket has been handed over.
    pub(crate) fn outbox(&mut self) -> Option<&Arc<Outbox>> {
        self.socket = match self.socket.take() {
            Some(Socket::Own(transport)) => {
                let home = Arc::clone(&self.home);
                let (key, watch, write_limit) = (self.key, self.watch, self.write_limit);
                let outbox = Outbox::new(transport, home, key, watch, write_limit);
                Some(Socket::Shared(outbox))
            }
            other => other,
        };
        match &self.socket {
            Some(Socket::Shared(outbox)) => Some(outbox),
            _ => None,
        }
    }
}
