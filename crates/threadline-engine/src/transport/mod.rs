//! Writing to connected streams.

mod file;
mod plain;
mod unsent;

pub(crate) use file::{send_file_now, tell_unreadable};
pub(crate) use plain::send_now;
pub(crate) use unsent::unsent_len;

/// What became of a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sent {
    /// The kernel has all of it.
    All,
    /// This many bytes are sent, and no more for now.
    Part(usize),
}

/// What is sent of the output that waits for one connection before others have their turn: 256 KB. A peer
/// that reads as fast as we write would keep the thread to itself. Of a file of 1 MB for each of 64
/// clients, parts of 64 KB to 1 MB were measured: this one had the most throughput, and the slowest
/// download took a quarter of the time that it took in one piece.
pub(crate) const PART: usize = 256 * 1024;

/// What is sent at once of a reply in memory: 4 MB, as much as a socket's buffer holds by the kernel's
/// default. What is left is copied, so this is larger.
pub(crate) const REPLY_PART: usize = 4 << 20;
