//! What a connection waits for between two turns, and how long it may.
//!
//! The rules are here alone. Shards use them for parked connections, threads of connections for their own,
//! and handlers that read a body while it arrives use the rule about bodies. A tick is short beside every
//! default. How long output may wait is decided by the outbox, because output waits whatever the connection
//! is doing.

use std::time::Duration;

use crate::connection::{Ending, State};
use crate::protocol::{Phase, Timeouts};
use crate::sys::{Ticks, spent_since, ticks_ceil};

/// What a connection waits for between two turns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Awaits {
    /// That the peer takes output, or that senders end. Both have their bounds in the outbox.
    Output,
    /// That the peer closes, after we have.
    Close,
    /// The rest of a message.
    Rest(Phase),
    /// The answer to a call that was deferred.
    Answer,
    /// The next message.
    Message,
}

impl State {
    /// What it waits for.
    pub(crate) fn awaits(&self) -> Awaits {
        match (self.ending, self.phase) {
            (Ending::Pushing(_), _) => Awaits::Output,
            _ if self.session.output_waits() => Awaits::Output,
            // What has been accepted goes before a message that has begun, which may be late: it is judged when
            // the answers are out.
            (Ending::No, _) if self.session.has_calls() => Awaits::Answer,
            (Ending::No, Some(phase)) => Awaits::Rest(phase),
            (Ending::No, None) => Awaits::Message,
            (Ending::AfterOutput | Ending::Lingering(_), _) => Awaits::Close,
        }
    }

    /// How much longer it may wait for that: zero if its time is over, `None` if there is no limit.
    pub(crate) fn time_left(&self, now: Ticks, linger: Duration) -> Option<Duration> {
        let timeouts = self.timeouts()?;
        let spent = spent_since(self.phase_began, now);
        match self.awaits() {
            Awaits::Output => None,
            Awaits::Close => Some(linger.saturating_sub(spent)),
            Awaits::Rest(phase) => timeouts.left(phase, self.received(), spent),
            Awaits::Answer => self.call_time_left(now),
            Awaits::Message => timeouts.idle,
        }
    }

    fn call_time_left(&self, now: Ticks) -> Option<Duration> {
        self.session.call_time_left(now, self.timeouts()?.deferred)
    }

    /// Ends the deferred calls whose time is over. Says whether there was one.
    pub(crate) fn time_out_calls(&self, now: Ticks) -> bool {
        let limit = self.timeouts().and_then(|timeouts| timeouts.deferred);
        self.ending == Ending::No && self.session.time_out_calls(now, limit)
    }
}

/// How long output may wait for its peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct WriteLimit {
    /// How long the peer may take no byte of it; `Ticks::MAX`: for ever.
    pub(crate) stall: Ticks,
    /// The bytes a second by which the time of a reply grows; 0: it has no other limit than `stall`.
    pub(crate) reply_rate: u32,
}

impl WriteLimit {
    /// Output waits for ever.
    pub(crate) const NONE: WriteLimit = WriteLimit { stall: Ticks::MAX, reply_rate: 0 };

    /// The longest time in which a reply may wait in all, when its peer has taken `taken` bytes of it.
    pub(crate) fn of_reply(self, taken: u64) -> Ticks {
        let Some(millis) = taken.saturating_mul(1000).checked_div(self.reply_rate.into()) else {
            return Ticks::MAX;
        };
        // Longer than the ticks last is as good as for ever.
        let for_taken = ticks_ceil(Duration::from_millis(millis.min(1 << 36)));
        self.stall.saturating_add(for_taken)
    }
}

impl Timeouts {
    pub(crate) fn write_limit(&self) -> WriteLimit {
        let stall = self.write.map_or(Ticks::MAX, ticks_ceil);
        WriteLimit { stall, reply_rate: self.reply_rate }
    }

    /// How much longer the rest of a message may take, of which `received` bytes have come: `spent` is
    /// measured from the beginning of the phase. Zero if its time is over, `None` if there is no limit.
    pub(crate) fn left(&self, phase: Phase, received: u64, spent: Duration) -> Option<Duration> {
        match phase {
            Phase::Head => self.head.map(|limit| limit.saturating_sub(spent)),
            Phase::Body => self.body_left(received, spent),
        }
    }

    /// How much longer a body may take that began `spent` ago and of which `received` bytes have come: it has
    /// [`Timeouts::body`], and the time that the received bytes take at [`Timeouts::body_rate`]. Zero if its time
    /// is over, `None` if there is no limit. For protocols whose handlers read bodies while they arrive; the
    /// engine applies it to all others.
    ///
    /// ```
    /// use std::time::Duration;
    /// use threadline_engine::Timeouts;
    ///
    /// let second = Duration::from_secs(1);
    /// let timeouts = Timeouts { body: Some(30 * second), body_rate: 100, ..Timeouts::default() };
    /// assert_eq!(timeouts.body_left(0, 10 * second), Some(20 * second));
    /// assert_eq!(timeouts.body_left(1000, 10 * second), Some(30 * second), "10 s for 1000 bytes");
    /// assert_eq!(timeouts.body_left(1000, 41 * second), Some(Duration::ZERO));
    /// assert_eq!(Timeouts { body: None, ..timeouts }.body_left(0, 10 * second), None);
    /// ```
    pub fn body_left(&self, received: u64, spent: Duration) -> Option<Duration> {
        let for_received = received.saturating_mul(1000).checked_div(self.body_rate.into());
        let extension = Duration::from_millis(for_received.unwrap_or(0));
        self.body.map(|limit| limit.saturating_add(extension).saturating_sub(spent))
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn timeouts() -> Timeouts {
        Timeouts {
            head: Some(10 * SECOND),
            body: Some(30 * SECOND),
            body_rate: 240,
            ..Timeouts::default()
        }
    }

    #[test]
    fn a_reply_has_its_limit_and_the_time_of_what_is_taken() {
        let limit = Timeouts { reply_rate: 100, ..Timeouts::default() }.write_limit();
        for (taken, seconds) in [(0, 30), (1000, 40)] {
            let ticks = ticks_ceil(seconds * SECOND);
            assert!((ticks..=ticks + 1).contains(&limit.of_reply(taken)), "{taken} bytes");
        }
        assert!(limit.of_reply(u64::MAX) > 1 << 30, "nothing overflows");
        let any_rate = WriteLimit { reply_rate: 0, ..limit };
        assert_eq!(any_rate.of_reply(0), Ticks::MAX);
    }

    #[test]
    fn a_head_has_its_limit_however_fast_it_comes() {
        assert_eq!(timeouts().left(Phase::Head, 1 << 20, SECOND), Some(9 * SECOND));
        assert_eq!(timeouts().left(Phase::Head, 0, 11 * SECOND), Some(Duration::ZERO));
        let unlimited = Timeouts { head: None, ..timeouts() };
        assert_eq!(unlimited.left(Phase::Head, 0, 1000 * SECOND), None);
    }

    #[test]
    fn a_body_has_its_limit_and_the_time_of_what_has_come() {
        let left = |received, seconds| timeouts().left(Phase::Body, received, SECOND * seconds);
        assert_eq!(left(0, 1), Some(29 * SECOND));
        assert_eq!(left(0, 30), Some(Duration::ZERO));
        assert_eq!(left(2400, 30), Some(10 * SECOND));
        assert_eq!(left(2400, 41), Some(Duration::ZERO));
        assert!(left(u64::MAX, u32::MAX).is_some_and(|left| !left.is_zero()), "nothing overflows");
        let fixed = Timeouts { body_rate: 0, ..timeouts() };
        assert_eq!(fixed.left(Phase::Body, 1 << 40, 20 * SECOND), Some(10 * SECOND));
        let unlimited = Timeouts { body: None, ..timeouts() };
        assert_eq!(unlimited.left(Phase::Body, 0, 1000 * SECOND), None);
    }
}
