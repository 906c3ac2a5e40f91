//! What a protocol's step may do: run user code, and write the reply.

use std::any::Any;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use threadline_pool::contained::{Payload, catch};
use tracing::level_filters::LevelFilter;

use crate::connection::Session;
use crate::counters::Counters;
use crate::log::{Escaped, limited, within};
use crate::receiving::Receive;
use crate::route::{NO_ROUTE, Route};

/// One look at a connection's input: passed to [`Protocol::step`](crate::Protocol::step).
#[derive(Debug)]
pub struct Turn<'t> {
    pub(crate) session: &'t mut Session,
    pub(crate) out: &'t mut Vec<u8>,
    pub(crate) place: &'t mut (dyn Place + 't),
    pub(crate) seen: usize,
    pub(crate) memo: &'t mut Option<Box<dyn Any + Send>>,
    pub(crate) receive: &'t mut Option<Receive>,
    pub(crate) draining: bool,
    pub(crate) counters: &'t Counters,
    /// Messages left in the connection's turn, this one included.
    pub(crate) budget: &'t mut u32,
    /// How long the last call took, if that is to be logged.
    pub(crate) took: Option<Duration>,
}

/// What is wrong with a message that its protocol turns away.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Offence {
    /// It breaks the protocol's rules.
    Malformed,
    /// Its head is larger than allowed, or has too many parts.
    HeadTooLarge,
    /// What it asks for has too long a name.
    TargetTooLong,
    /// Its body is larger than allowed.
    BodyTooLarge,
    /// As a whole it is longer than allowed.
    TooLong,
}

/// Why [`Turn::call`] has no result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CallError {
    /// Nothing has run: this call belongs on a thread that may block. Return
    /// [`Step::Offload`](crate::Step::Offload).
    Offload,
    /// The user code panicked. That is logged and counted; what it had written to the reply so far
    /// is still there.
    Panicked,
}

/// Where code may wait for the peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Waiting {
    /// Here: nobody else relies on this thread.
    Here,
    /// Not here, but on the thread where a message goes with [`Step::Offload`](crate::Step::Offload).
    Elsewhere,
    /// Nowhere: there is only the event loop.
    Nowhere,
}

/// Whether user code may run at a [`Place`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Entry {
    /// It runs now.
    Here,
    /// It may block, and replies wait. The caller sends them and enters again. Not returned when none wait.
    AfterOutput,
    /// It must not run here.
    Elsewhere,
}

/// Where user code runs: on a shard's thread, on the pool, or on the connection's own thread.
pub(crate) trait Place: std::fmt::Debug {
    /// Prepares for a call, unless the result is [`Entry::Elsewhere`] or [`Entry::AfterOutput`].
    /// `unsent_len`: the length of the replies to earlier messages that are not sent yet.
    fn enter(&mut self, route: &Arc<Route>, unsent_len: usize) -> Entry;

    /// The number of the route whose call must not run here, so that it finds its way.
    fn refused(&self) -> u32 {
        NO_ROUTE
    }

    /// The call that was entered has returned or panicked.
    fn leave(&mut self, route: &Route);

    /// What comes next may take long without being user code: others may go on meanwhile, until
    /// [`Place::take_back`].
    fn lend(&mut self) {}

    /// The end of what [`Place::lend`] has begun.
    fn take_back(&mut self) {}

    /// Where code may wait for the peer.
    fn waiting(&self) -> Waiting {
        Waiting::Here
    }

    /// About how many bytes a source may be asked for here; 0 if that is done elsewhere.
    fn fill_max(&self) -> usize {
        usize::MAX
    }

    /// Whether the thread may write files.
    fn may_write(&self) -> bool {
        true
    }

    /// The calls from now on write the reply of a call that was deferred, or do not any more.
    fn set_answering(&mut self, _answering: bool) {}

    /// Whether user code may run here at all. If not, [`Place::enter`] is not asked.
    fn may_call(&self) -> bool {
        true
    }

    /// Whether the thread has lost its shard in a call, and so has only its reply left to do.
    fn lost(&self) -> bool {
        false
    }
}

impl Turn<'_> {
    /// The reply under construction, after the replies to earlier messages of the turn that have not been sent
    /// yet. Belongs to the thread and is reused: append only. [`Turn::call`] sends it and empties it before code
    /// that may block, so a position in it is valid only within one call, or between two.
    pub fn out(&mut self) -> &mut Vec<u8> {
        self.out
    }

    /// Runs user code, here or, by [`CallError::Offload`], not here.
    ///
    /// The code gets the session and [`Turn::out`]. Replies to earlier messages may still be in `out`: code that
    /// sends by the session sends `out` first, or uses [`Turn::call_handler`].
    ///
    /// On a shard's thread the shard is lent out meanwhile: another thread can take it, so the code
    /// may block. A panic is contained.
    ///
    /// # Errors
    /// [`CallError`] says whether the code has run.
    #[inline]
    pub fn call<R>(
        &mut self,
        route: &Arc<Route>,
        code: impl FnOnce(&mut Session, &mut Vec<u8>) -> R,
    ) -> Result<R, CallError> {
        let began = self.enter(route)?;
        let result = contain(route, || code(self.session, self.out));
        self.leave(route, began);
        result.ok_or(CallError::Panicked)
    }

    /// As [`Turn::call`], for user code that gets the session: whatever it sends by it, or pushes by a
    /// [`Sender`](crate::Sender), comes after the replies in [`Turn::out`]. The caller appends the reply when
    /// this has returned.
    ///
    /// # Errors
    /// As those of [`Turn::call`].
    #[inline]
    pub fn call_handler<R>(
        &mut self,
        route: &Arc<Route>,
        code: impl FnOnce(&mut Session) -> R,
    ) -> Result<R, CallError> {
        let began = self.enter(route)?;
        self.session.keep_unsent(self.out);
        let result = contain(route, || code(self.session));
        self.session.give_back_unsent(self.out);
        self.leave(route, began);
        result.ok_or(CallError::Panicked)
    }

    /// Prepares for a call. Returns when it began, if that is to be known.
    #[inline(always)]
    fn enter(&mut self, route: &Arc<Route>) -> Result<Option<Instant>, CallError> {
        match self.place.enter(route, self.out.len()) {
            Entry::Here => {}
            Entry::AfterOutput if self.enter_after_output(route) => {}
            Entry::AfterOutput | Entry::Elsewhere => return Err(CallError::Offload),
        }
        // Senders may push while the code runs.
        if self.session.has_had_sender() {
            self.flush();
        }
        // The level alone, whichever module is to be heard: one load, and the clock only if it is wanted.
        Ok((LevelFilter::current() >= LevelFilter::DEBUG).then(Instant::now))
    }

    #[inline(always)]
    fn leave(&mut self, route: &Arc<Route>, began: Option<Instant>) {
        self.place.leave(route);
        self.took = began.map(|began| began.elapsed());
    }

    #[cold]
    fn enter_after_output(&mut self, route: &Arc<Route>) -> bool {
        self.flush();
        self.place.enter(route, 0) == Entry::Here
    }

    /// Sends what is in [`Turn::out`] without waiting for the peer; what the socket has no room for waits with
    /// the connection. [`Turn::call`] does this before code that may block. A protocol does it before a call in
    /// which it waits for the peer. If the peer is gone, the connection ends after the turn.
    #[cold]
    pub fn flush(&mut self) {
        if self.out.is_empty() {
            return;
        }
        // The next read or write fails, too, and ends the connection.
        if let Err(error) = self.session.reply(self.out) {
            self.counters.count_vanished(&error);
        }
        clear_output(self.out);
        // Back-pressure: a peer that does not read its replies gets no more of them.
        if self.session.output_waits() {
            *self.budget = (*self.budget).min(1);
        }
    }

    /// How long the last [`Turn::call`] took, for a log line at `debug`. `None` unless something of the
    /// program is logged at that level: only then is it measured.
    pub fn took(&self) -> Option<Duration> {
        self.took
    }

    /// Where code may wait for the peer: [`Session::receive`] and [`Session::send`] do.
    pub fn waiting(&self) -> Waiting {
        self.place.waiting()
    }

    /// Counts a message that the protocol turns away; see [`Counts`](crate::Counts).
    pub fn count(&self, offence: Offence) {
        let counter = match offence {
            Offence::Malformed => &self.counters.malformed,
            Offence::HeadTooLarge => &self.counters.too_large_heads,
            Offence::TargetTooLong => &self.counters.too_long_targets,
            Offence::BodyTooLarge => &self.counters.too_large_bodies,
            Offence::TooLong => &self.counters.too_long_messages,
        };
        counter.increment();
    }

    /// Whether the service is going down: replies should say so, and close.
    pub fn draining(&self) -> bool {
        self.draining
    }

    /// How many bytes of the input an earlier step has already seen; 0 on the first look.
    pub fn seen(&self) -> usize {
        self.seen
    }

    /// What the protocol has learned of a message that is not whole, for its next look at it: `None` on the
    /// first look, and dropped when the message has its answer.
    pub fn memo(&mut self) -> &mut Option<Box<dyn Any + Send>> {
        self.memo
    }

    /// Says how the content of this message is received. Return [`Step::Receive`](crate::Step::Receive) then.
    pub fn receive(&mut self, receive: Receive) {
        *self.receive = Some(receive);
    }

    /// The peer's address; `None` on a Unix socket.
    pub fn peer_addr(&self) -> Option<SocketAddr> {
        self.session.peer_addr()
    }

    /// The address that the peer connected to; `None` on a Unix socket.
    pub fn local_addr(&self) -> Option<SocketAddr> {
        self.session.local_addr()
    }
}

/// An output buffer that a large reply has made larger than this is given back.
pub(crate) const OUTPUT_KEPT: usize = 64 * 1024;

/// Empties a thread's output buffer.
#[inline(always)]
pub(crate) fn clear_output(out: &mut Vec<u8>) {
    if out.capacity() > OUTPUT_KEPT {
        *out = Vec::new();
    } else {
        out.clear();
    }
}

/// Runs user code; a panic is logged with its route, counted, and ends here. What the code logs can name
/// the route.
pub(crate) fn contain<R>(route: &Route, code: impl FnOnce() -> R) -> Option<R> {
    contain_protocol(route, || within(route, code))
}

/// Likewise, for a protocol's own code, which runs that of routes.
pub(crate) fn contain_protocol<R>(route: &Route, code: impl FnOnce() -> R) -> Option<R> {
    // Unwind safety: what the code shares with the engine is its session and its reply. Both stay
    // valid values after a panic, and the connection is closed or the reply replaced.
    route.contain(code).ok()
}

impl Route {
    /// Runs a part of a call of this route. A panic is logged with the route and counted, as one that ends the
    /// whole call. For protocols that go on after it.
    ///
    /// # Errors
    /// What the panic threw, if `code` panics.
    ///
    /// ```
    /// use threadline_engine::Route;
    ///
    /// let route = Route::new("GET /");
    /// assert_eq!(route.contain(|| 1).ok(), Some(1));
    /// let panic = route.contain(|| panic!("no more paper")).expect_err("it panics");
    /// assert_eq!((panic.message(), route.panics()), (Some("no more paper"), 1));
    /// ```
    #[inline]
    pub fn contain<R>(&self, code: impl FnOnce() -> R) -> Result<R, Payload> {
        catch(code).inspect_err(|panic| self.note(panic))
    }

    #[cold]
    fn note(&self, panic: &Payload) {
        self.panicked();
        // The subscriber that receives the line is user code, too: a panic of it ends here.
        let _ = catch(|| {
            let message = Escaped(panic.message().unwrap_or("(no message)"));
            limited!(error, route: self.name(), "handler panicked", reason = %message);
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Panics when it is dropped, and throws another one of its kind.
    struct Bomb;

    impl Drop for Bomb {
        fn drop(&mut self) {
            std::panic::panic_any(Bomb);
        }
    }

    #[test]
    fn a_payload_that_panics_when_it_is_dropped_is_contained() {
        let route = Route::new("a route");
        assert_eq!(contain(&route, || 1), Some(1));
        assert_eq!(contain(&route, || -> u8 { std::panic::panic_any(Bomb) }), None);
        assert_eq!(route.panics(), 1);
    }
}
