//! What every connection of a shard can reach from any thread: where its socket is registered, and
//! where things are counted.

use crate::counters::Counters;
use crate::sys::Epoll;

/// The part of a shard that its connections share, and may outlive.
#[derive(Debug)]
pub(crate) struct Home {
    pub(crate) epoll: Epoll,
    pub(crate) counters: Counters,
}

impl Home {
    pub(crate) fn new(epoll: Epoll) -> Self {
        Home { epoll, counters: Counters::default() }
    }
}
