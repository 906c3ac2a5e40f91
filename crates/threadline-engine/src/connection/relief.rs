//! Keeping the budget of waiting bytes: who is closed when it is exceeded.
//!
//! The thread that has exceeded it looks at the waiting output of all shards and closes the connections whose
//! peers have stalled for longest, until a sixteenth of the budget is free again. That is done here and now,
//! because a shard may be busy for a while. Several threads may do it at the same time, and each goes on until the
//! budget is kept: with one at a time, a pool thread that had lost its core was left behind by those that went on
//! adding, up to ten times the budget. Only memory of the engine's own is freed here: what user code has left in an
//! outbox is dropped by the connection's owner, which learns of the end by the socket.

use std::cmp::Reverse;
use std::sync::Arc;

use super::home::Home;
use super::outbox::Outbox;
use crate::log::limited;
use crate::sys::Ticks;

/// A peer that has taken a byte within this time has not stalled: about 1 s.
const STALL_MIN: Ticks = 60;

/// How a connection's output gets on: the connection with the least is closed first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Progress {
    /// For how long its peer has taken nothing, beyond what is usual.
    stalled: Reverse<Ticks>,
    /// Its peer has taken a byte when the output had waited for a while. In the beginning that means little: the
    /// buffers of the peer's system are filled without it.
    is_read: bool,
    /// When it was last seen to take one, or the output began to wait.
    moved: Ticks,
}

impl Progress {
    /// Of output that has begun to wait at `began`, and of which its peer took a byte at `moved` for the last time.
    pub(super) fn new(now: Ticks, began: Ticks, moved: Ticks) -> Self {
        let stalled = now.saturating_sub(moved);
        let stalled = Reverse(if stalled < STALL_MIN { 0 } else { stalled });
        let is_read = moved.saturating_sub(began) >= STALL_MIN;
        Progress { stalled, is_read, moved }
    }
}

impl Home {
    /// Closes connections if more bytes wait than may. Not to be called under the lock of an outbox.
    #[inline]
    pub(crate) fn keep_budget(&self) {
        while self.waiting.is_over() && self.relieve() {}
    }

    /// False if nothing more can be done here.
    #[cold]
    fn relieve(&self) -> bool {
        let Some(mailboxes) = self.mailboxes.upgrade() else { return false };
        let now = self.clock.ticks();
        let outboxes = mailboxes.homes().flat_map(|home| home.outputs.all());
        let with_progress = |outbox: Arc<Outbox>| Some((outbox.known_progress(now)?, outbox));
        let mut waiting: Vec<_> = outboxes.filter_map(with_progress).collect();
        waiting.sort_unstable_by_key(|(progress, _)| *progress);
        let is_kept = || self.waiting.excess() == 0;
        let (mut closed, mut moving) = (0, Vec::new());
        for (known, outbox) in waiting {
            if is_kept() {
                break;
            }
            // The system is asked about those alone whose turn it is.
            match outbox.progress(now) {
                Some(progress) if progress > known => moving.push((progress, outbox)),
                _ => closed += usize::from(outbox.close_for_budget()),
            }
        }
        moving.sort_unstable_by_key(|(progress, _)| *progress);
        for (_, outbox) in moving {
            if is_kept() {
                break;
            }
            closed += usize::from(outbox.close_for_budget());
        }
        if closed > 0 {
            limited!(
                warn,
                route: "",
                "too many bytes wait for slow peers: connections are closed",
                closed,
                waiting_bytes_max = self.waiting.max()
            );
        }
        closed > 0
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn the_longest_stalled_goes_first_and_one_that_moves_last() {
        const NOW: Ticks = 10_000;
        let long = Progress::new(NOW, 4_000, 5_000);
        let short = Progress::new(NOW, 9_000, 9_000);
        let older = Progress::new(NOW, NOW - 20, NOW - 15);
        let newer = Progress::new(NOW, NOW, NOW);
        let reading = Progress::new(NOW, 4_000, NOW - 30);
        let mut all = [reading, newer, older, short, long];
        all.sort_unstable();
        assert_eq!(all, [long, short, older, newer, reading]);
    }
}
