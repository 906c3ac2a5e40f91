//! The start of a response with its `Date`, formatted once a second and thread.
//!
//! Asking the coarse clock costs 5 ns, formatting some 250. A thread-local copy needs no lock
//! and no atomic; threads may disagree by the few nanoseconds around the turn of a second.

use std::cell::Cell;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::time::{ClockId, clock_gettime};
use threadline_proto::response::Preamble;

thread_local! {
    /// The second that was last asked for, since the epoch, and its text.
    static LATEST: Cell<(u64, Preamble)> =
        const { Cell::new((0, Preamble::new(b"Thu, 01 Jan 1970 00:00:00 GMT"))) };
}

/// The last second of the year 9999 since 1970: what the format, and `httpdate`, can express.
pub(crate) const LAST_SECOND: u64 = 253_402_300_799;

/// The present time, as a response begins with it.
#[inline]
pub(crate) fn preamble() -> Preamble {
    // The coarse clock is at most 10 ms behind, and costs a fifth of the fine one.
    // A clock before 1970 is set wrong; any date does.
    let second = clock_gettime(ClockId::RealtimeCoarse).tv_sec.max(0) as u64;
    let (known, preamble) = LATEST.get();
    if known == second { preamble } else { renew(second) }
}

#[cold]
fn renew(second: u64) -> Preamble {
    let preamble = Preamble::new(&format(second));
    LATEST.set((second, preamble));
    preamble
}

/// A time as an IMF-fixdate, also one before 1970 or behind 9999: as near as can be said.
pub(crate) fn text(time: SystemTime) -> String {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    String::from_utf8_lossy(&format(since.as_secs())).into_owned()
}

/// An IMF-fixdate (RFC 9110 §5.6.7), for example `Sun, 06 Nov 1994 08:49:37 GMT`.
fn format(second: u64) -> [u8; 29] {
    let second = second.min(LAST_SECOND);
    let text = httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_secs(second));
    // Always 29 bytes, by RFC 9110 §5.6.7; were it not, the epoch is a valid date too.
    text.as_bytes().try_into().unwrap_or(*b"Thu, 01 Jan 1970 00:00:00 GMT")
}

#[cfg(test)]
mod tests {
    use threadline_proto::response::{HeadWriter, Payload, Persistence, Status};

    use super::*;

    #[test]
    fn rfc9110_5_6_7_dates() {
        assert_eq!(&format(784_111_777), b"Sun, 06 Nov 1994 08:49:37 GMT");
        assert_eq!(&format(0), b"Thu, 01 Jan 1970 00:00:00 GMT");
        assert_eq!(&format(u64::MAX), b"Fri, 31 Dec 9999 23:59:59 GMT");
    }

    #[test]
    fn a_response_begins_with_the_present_time() {
        let mut out = Vec::new();
        HeadWriter::with_date(&mut out, Status::OK, &preamble())
            .finish(Payload::Unsaid, Persistence::Implied);
        let text = String::from_utf8(out).expect("ASCII");
        let date = text.lines().find_map(|line| line.strip_prefix("date: ")).expect("a date");
        let parsed = httpdate::parse_http_date(date).expect("well-formed");
        assert!(parsed.elapsed().expect("in the past") < Duration::from_secs(10));
    }
}
