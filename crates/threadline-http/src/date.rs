//! The `Date` field's value, formatted once a second and thread.
//!
//! Asking the coarse clock costs 5 ns, formatting some 250. A thread-local copy needs no lock
//! and no atomic; threads may disagree by the few nanoseconds around the turn of a second.

use std::cell::Cell;
use std::time::{Duration, UNIX_EPOCH};

use rustix::time::{ClockId, clock_gettime};

/// An IMF-fixdate (RFC 9110 §5.6.7), for example `Sun, 06 Nov 1994 08:49:37 GMT`.
pub(crate) type Date = [u8; 29];

thread_local! {
    /// The second that was last asked for, since the epoch, and its text.
    static LATEST: Cell<(u64, Date)> = const { Cell::new((u64::MAX, [b' '; 29])) };
}

/// The present time.
#[inline]
pub(crate) fn now() -> Date {
    // The coarse clock is at most 10 ms behind, and costs a fifth of the fine one.
    // A clock before 1970 is set wrong; any date does.
    let second = clock_gettime(ClockId::RealtimeCoarse).tv_sec.max(0) as u64;
    LATEST.with(|latest| {
        let (known, text) = latest.get();
        if known == second {
            return text;
        }
        let text = format(second);
        latest.set((second, text));
        text
    })
}

#[cold]
fn format(second: u64) -> Date {
    // The last second of the year 9999: what the format, and `httpdate`, can express.
    let second = second.min(253_402_300_799);
    let text = httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_secs(second));
    // Always 29 bytes, by RFC 9110 §5.6.7; were it not, the epoch is a valid date too.
    text.as_bytes().try_into().unwrap_or(*b"Thu, 01 Jan 1970 00:00:00 GMT")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc9110_5_6_7_dates() {
        assert_eq!(&format(784_111_777), b"Sun, 06 Nov 1994 08:49:37 GMT");
        assert_eq!(&format(0), b"Thu, 01 Jan 1970 00:00:00 GMT");
        assert_eq!(&format(u64::MAX), b"Fri, 31 Dec 9999 23:59:59 GMT");
    }

    #[test]
    fn now_is_a_date_and_stays_one() {
        let text = String::from_utf8(now().to_vec()).expect("ASCII");
        let parsed = httpdate::parse_http_date(&text).expect("a date");
        assert!(parsed.elapsed().expect("in the past") < Duration::from_secs(10));
        assert_eq!(now().len(), 29);
    }
}
