//! What an event or a timer is about, in the 64 bits that epoll carries for us.
//!
//! A connection's key holds its slot's generation, so that an event for a connection that has just
//! been closed does not reach the next one in its slot.

const WAKER: u32 = u32::MAX;
const ALARM: u32 = u32::MAX - 1;
const RETRY_ACCEPT: u32 = u32::MAX - 2;
const DRAIN: u32 = u32::MAX - 3;
const DATAGRAMS: u32 = u32::MAX - 4;
const RELEASE: u32 = u32::MAX - 5;
const SLOW_BODIES: u32 = u32::MAX - 6;
const FIRST_SOURCE: u32 = 0xffff_0000;
const SOURCES_MAX: u32 = SLOW_BODIES - FIRST_SOURCE;

/// What an event or a timer is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Key {
    Connection {
        index: u32,
        generation: u32,
    },
    /// A listener or a datagram socket of the shard.
    Source(u32),
    /// Another thread has left a note.
    Waker,
    /// The wheel's next entry is due.
    Alarm,
    /// Timer: look how the waiting output of that connection gets on.
    Output {
        index: u32,
        generation: u32,
    },
    /// Timer: try again to accept.
    RetryAccept,
    /// Timer: look what is left to drain.
    Drain,
    /// Timer: look for datagrams that have waited too long for a thread.
    Datagrams,
    /// Timer: return free memory to the system.
    Release,
    /// Timer: look for slow messages whose content takes more memory than there is.
    SlowBodies,
}

impl Key {
    /// Slots whose index would look like something else cannot be used.
    pub(crate) const CONNECTIONS_MAX: usize = FIRST_SOURCE as usize;
    /// Listeners and datagram sockets at most.
    pub(crate) const SOURCES_MAX: usize = SOURCES_MAX as usize;

    pub(crate) fn pack(self) -> u64 {
        match self {
            // An output is never registered: its bits are those of its connection.
            Key::Connection { index, generation } | Key::Output { index, generation } => {
                u64::from(generation) << 32 | u64::from(index)
            }
            Key::Source(number) => u64::from(FIRST_SOURCE + number),
            Key::Waker => u64::from(WAKER),
            Key::Alarm => u64::from(ALARM),
            Key::RetryAccept => u64::from(RETRY_ACCEPT),
            Key::Drain => u64::from(DRAIN),
            Key::Datagrams => u64::from(DATAGRAMS),
            Key::Release => u64::from(RELEASE),
            Key::SlowBodies => u64::from(SLOW_BODIES),
        }
    }

    pub(crate) fn unpack(packed: u64) -> Self {
        let (generation, index) = ((packed >> 32) as u32, packed as u32);
        match index {
            WAKER => Key::Waker,
            ALARM => Key::Alarm,
            RETRY_ACCEPT => Key::RetryAccept,
            DRAIN => Key::Drain,
            DATAGRAMS => Key::Datagrams,
            RELEASE => Key::Release,
            SLOW_BODIES => Key::SlowBodies,
            FIRST_SOURCE.. => Key::Source(index - FIRST_SOURCE),
            _ => Key::Connection { index, generation },
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn every_key_is_read_back() {
        let keys = [
            Key::Connection { index: 0, generation: 0 },
            Key::Connection { index: Key::CONNECTIONS_MAX as u32 - 1, generation: u32::MAX },
            Key::Source(0),
            Key::Source(Key::SOURCES_MAX as u32 - 1),
            Key::Waker,
            Key::Alarm,
            Key::RetryAccept,
            Key::Drain,
            Key::Datagrams,
            Key::Release,
            Key::SlowBodies,
        ];
        for key in keys {
            assert_eq!(Key::unpack(key.pack()), key);
        }
    }
}
