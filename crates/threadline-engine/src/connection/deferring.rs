//! A session and its deferred calls: detaching them, and their answers on the way back to the protocol.

use std::any::Any;
use std::sync::Arc;
use std::time::Duration;

use super::calls::{Answer, Calls, Deferred};
use super::outbox::Watch;
use super::session::Session;
use crate::contained::Contained;
use crate::sys::Ticks;

impl Session {
    /// Detaches the call of this message from its connection: the handler returns, and the reply comes
    /// later, from any thread. What the handler itself returns is sent as usual. `T` is what the protocol
    /// takes for a reply: a `String` for [`Lines`](crate::Lines), a `Vec<u8>` for
    /// [`Frames`](crate::Frames).
    ///
    /// Until then the connection is parked, and further messages wait, so that replies keep their order
    /// (a protocol with [`Protocol::deferred_max`](crate::Protocol::deferred_max) above 1 has its own rules).
    /// If a handler defers its call twice, each answer is a reply, in the order of the answers.
    /// Under [`Model::ThreadPerConnection`](crate::Model) the connection's thread waits with it.
    pub fn defer<T: Send + 'static>(&mut self) -> Deferred<T> {
        self.defer_with(())
    }

    /// As [`Session::defer`], for protocols: `context` comes back with the
    /// [`Answer`].
    pub fn defer_with<T: Send + 'static>(&mut self, context: impl Any + Send) -> Deferred<T> {
        let calls = self.calls_or_new();
        let id = calls.open(Contained::new(Box::new(context)));
        Deferred::new(id, calls)
    }

    /// The connection's calls that have been deferred, for its own thread.
    pub(crate) fn calls_or_new(&mut self) -> &Arc<Calls> {
        let (home, key) = (&self.home, self.key);
        self.calls.get_or_insert_with(|| Calls::new(Arc::clone(home), key))
    }

    /// Whether it may have calls that have been deferred: all that most connections are asked.
    #[inline(always)]
    pub(crate) fn may_have_calls(&self) -> bool {
        self.calls.is_some()
    }

    /// Whether calls have been deferred whose replies are not written.
    #[inline(always)]
    pub(crate) fn has_calls(&self) -> bool {
        self.calls.as_ref().is_some_and(|calls| calls.is_open())
    }

    /// Whether further messages have to wait for answers.
    #[inline(always)]
    pub(crate) fn is_held_up(&self, calls_max: impl FnOnce() -> usize) -> bool {
        // After the last message of a protocol nothing is looked at before all calls have their replies.
        let max = || if self.is_last_reply() { 1 } else { calls_max() };
        self.calls.as_ref().is_some_and(|calls| calls.are_as_many_as(max()))
    }

    #[inline(always)]
    pub(crate) fn has_answer(&self) -> bool {
        self.calls.as_ref().is_some_and(|calls| calls.has_answer())
    }

    pub(crate) fn take_answer(&self) -> Option<Answer> {
        self.calls.as_ref()?.take_answer()
    }

    /// Gives the memory for deferred calls back, once there is none.
    pub(crate) fn forget_calls(&mut self) {
        if self.watch == Watch::Input {
            self.calls.take_if(|calls| !calls.is_open());
        }
    }

    /// Nobody waits for the answers any more: the connection is about to end.
    pub(crate) fn close_calls(&self) {
        if let Some(calls) = &self.calls {
            calls.close();
        }
    }

    /// The connection's own thread: waits for an answer.
    pub(crate) fn wait_for_answer(&self, limit: Duration) {
        if let Some(calls) = &self.calls {
            calls.wait(limit);
        }
    }

    pub(crate) fn put_back(&self, answer: Answer) {
        if let Some(calls) = &self.calls {
            calls.put_back(answer);
        }
    }

    /// How much longer the call that has waited longest may go on; `None` if there is none, or no limit.
    pub(crate) fn call_time_left(&self, now: Ticks, limit: Option<Duration>) -> Option<Duration> {
        self.calls.as_ref()?.time_left(now, limit?)
    }

    /// Ends the calls whose time is over. Says whether there was one.
    pub(crate) fn time_out_calls(&self, now: Ticks, limit: Option<Duration>) -> bool {
        let limit = limit.unwrap_or(Duration::MAX);
        self.calls.as_ref().is_some_and(|calls| calls.time_out(now, limit))
    }
}
