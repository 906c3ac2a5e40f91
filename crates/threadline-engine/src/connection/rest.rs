//! A connection with a thread of its own, between two messages: the only time at which it may be ended
//! to make room for others.
//!
//! Its thread sleeps in a read, so the shard cannot take the connection; it can call the rest off and
//! shut the reading side. A message that comes at that very moment finds the rest called off and is
//! not begun, as if the connection had been closed before it came.

use crate::primitive::{AtomicU8, Ordering};

const WORKING: u8 = 0;
const RESTING: u8 = 1;
const CALLED_OFF: u8 = 2;

/// Whether the connection's thread waits for the next message.
#[derive(Debug)]
pub(crate) struct Rest(AtomicU8);

impl Rest {
    pub(crate) fn none() -> Self {
        Rest(AtomicU8::new(WORKING))
    }

    /// The connection's thread: it waits for a message, or for something else.
    pub(crate) fn wait(&self, for_message: bool) {
        self.0.store(if for_message { RESTING } else { WORKING }, Ordering::Relaxed);
    }

    /// The connection's thread: a message is here. False if the connection has been given up.
    pub(crate) fn end(&self) -> bool {
        // The second and all later messages of a turn find it ended.
        self.0.load(Ordering::Relaxed) == WORKING
            || self.0.swap(WORKING, Ordering::Relaxed) == RESTING
    }

    /// The shard: whether the connection could be given up.
    pub(crate) fn is_on(&self) -> bool {
        self.0.load(Ordering::Relaxed) == RESTING
    }

    /// The shard: gives the connection up, unless a message has just come. Nothing else is handed
    /// over by this, so no ordering is needed; that one of the two wins is enough.
    pub(crate) fn call_off(&self) -> bool {
        let (old, new) = (RESTING, CALLED_OFF);
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
        rest.wait(true);
        assert!(rest.is_on() && rest.call_off());
        assert!(!rest.end() && !rest.is_on());
    }

    #[test]
    fn what_has_begun_is_not_called_off() {
        let rest = Rest::none();
        rest.wait(true);
        assert!(rest.end() && rest.end(), "two messages of a turn");
        assert!(!rest.call_off());
        rest.wait(false);
        assert!(!rest.call_off(), "in the middle of a message");
    }
}
