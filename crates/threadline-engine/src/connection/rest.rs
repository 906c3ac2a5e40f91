//! What a connection with a thread of its own waits for, and so whether it may be ended.
//!
//! Its thread sleeps in a read, so the shard cannot take the connection; it can call it off and shut the
//! socket down. That is only done between two messages: to make room for others, or when the service
//! drains. A message that comes at that very moment finds the connection called off and is not begun,
//! as if the connection had been closed before it came. A stream handler has no messages: a drain ends
//! its reads, whatever it does.

use crate::primitive::{AtomicU8, Ordering};

const WORKING: u8 = 0;
const RESTING: u8 = 1;
const STANDING_BY: u8 = 2;
const CALLED_OFF: u8 = 3;
const STREAMING: u8 = 4;

/// Whether the connection's thread may be interrupted.
#[derive(Debug)]
pub(crate) struct Rest(AtomicU8);

/// What a connection's thread is about to wait for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum WaitsFor {
    /// The rest of a message, or room for output.
    Message,
    /// The next message, and nothing else.
    NextMessage,
    /// The service itself, which may push, or the peer's close. It can be ended by a drain only.
    Service,
}

/// What a drain finds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AtDrain {
    /// It is in the middle of something.
    Busy,
    /// It was between two messages, and is called off now.
    CalledOff,
    /// It was called off before, or is a stream: its reads can be ended.
    Ending,
}

impl Rest {
    pub(crate) fn none() -> Self {
        Rest(AtomicU8::new(WORKING))
    }

    /// For a new connection in the slot.
    pub(crate) fn reset(&self) {
        self.0.store(WORKING, Ordering::Relaxed);
    }

    /// The connection's thread: it waits. False if the connection has been called off.
    pub(crate) fn wait(&self, what: WaitsFor) -> bool {
        let state = match what {
            WaitsFor::Message => WORKING,
            WaitsFor::NextMessage => RESTING,
            WaitsFor::Service => STANDING_BY,
        };
        // A swap: a call-off must be noticed, now or by `end`.
        self.0.swap(state, Ordering::Relaxed) != CALLED_OFF
    }

    /// The connection's thread: from here on it runs a stream handler.
    pub(crate) fn stream(&self) {
        self.0.store(STREAMING, Ordering::Relaxed);
    }

    /// The connection's thread: a message is here. False if the connection has been called off.
    pub(crate) fn end(&self) -> bool {
        // The second and all later messages of a turn find it ended.
        self.0.load(Ordering::Relaxed) == WORKING
            || self.0.swap(WORKING, Ordering::Relaxed) != CALLED_OFF
    }

    /// The shard: whether the connection could be given up to make room.
    pub(crate) fn is_on(&self) -> bool {
        self.0.load(Ordering::Relaxed) == RESTING
    }

    /// The shard: gives the connection up to make room, unless a message has just come. Nothing else is
    /// handed over by this, so no ordering is needed; that one of the two wins is enough.
    pub(crate) fn call_off(&self) -> bool {
        self.change(RESTING, CALLED_OFF)
    }

    /// The shard, in a drain: calls the connection off if it is between two messages.
    pub(crate) fn call_off_at_drain(&self) -> AtDrain {
        match self.0.load(Ordering::Relaxed) {
            CALLED_OFF | STREAMING => AtDrain::Ending,
            state @ (RESTING | STANDING_BY) if self.change(state, CALLED_OFF) => AtDrain::CalledOff,
            // Also where a message has come just now.
            _ => AtDrain::Busy,
        }
    }

    /// Whether its end would cut something off: a message, a call or a stream handler.
    pub(crate) fn is_in_use(&self) -> bool {
        matches!(self.0.load(Ordering::Relaxed), WORKING | STREAMING)
    }

    fn change(&self, old: u8, new: u8) -> bool {
        self.0.compare_exchange(old, new, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn what_is_called_off_is_not_begun() {
        let rest = Rest::none();
        assert!(!rest.call_off() && rest.end(), "at work");
        assert!(rest.wait(WaitsFor::NextMessage));
        assert!(rest.is_on() && rest.call_off());
        assert!(!rest.end() && !rest.is_on());
    }

    #[test]
    fn what_has_begun_is_not_called_off() {
        let rest = Rest::none();
        rest.wait(WaitsFor::NextMessage);
        assert!(rest.end() && rest.end(), "two messages of a turn");
        assert!(!rest.call_off());
        rest.wait(WaitsFor::Message);
        assert!(!rest.call_off(), "in the middle of a message");
        assert_eq!(rest.call_off_at_drain(), AtDrain::Busy);
        assert!(rest.is_in_use());
    }

    #[test]
    fn a_message_that_begins_as_it_is_called_off_is_not_waited_for() {
        let rest = Rest::none();
        rest.wait(WaitsFor::NextMessage);
        assert!(rest.call_off());
        assert!(!rest.wait(WaitsFor::Message), "its first bytes came too late");
    }

    #[test]
    fn a_drain_ends_what_waits_for_the_service_but_lack_of_room_does_not() {
        let rest = Rest::none();
        rest.wait(WaitsFor::Service);
        assert!(!rest.is_on() && !rest.call_off() && !rest.is_in_use());
        assert_eq!(rest.call_off_at_drain(), AtDrain::CalledOff);
        assert_eq!(rest.call_off_at_drain(), AtDrain::Ending, "at the second look");
        assert!(!rest.wait(WaitsFor::Service));
    }

    #[test]
    fn a_drain_ends_the_reads_of_a_stream_at_any_time() {
        let rest = Rest::none();
        rest.stream();
        assert_eq!(rest.call_off_at_drain(), AtDrain::Ending);
        assert!(rest.is_in_use(), "its handler may have more to do");
    }
}
