//! Sets how late the sleeps and time-outs of the calling thread may end.
//!
//! A timer that may be late is put off until another one's interrupt. With a thousand threads that sleep
//! in turn, 200 us in place of the kernel's 50 were measured to save 15 % of all CPU time: on a virtual
//! machine an interrupt is dear, and threads that wake together are served with fewer changes between
//! them.

use std::time::Duration;

/// Sets the calling thread's timer slack, in whole nanoseconds. It cannot fail (PR_SET_TIMERSLACK(2const)).
#[cfg(all(any(target_os = "linux", target_os = "android"), not(loom)))]
pub(crate) fn set_own(slack: Duration) {
    let nanos = u64::try_from(slack.as_nanos()).unwrap_or(u64::MAX);
    // 0 would mean the default.
    let nanos = std::num::NonZeroU64::new(nanos.max(1));
    let _ = rustix::thread::set_current_timer_slack(nanos);
}

/// Others have no such thing.
#[cfg(not(all(any(target_os = "linux", target_os = "android"), not(loom))))]
pub(crate) fn set_own(_slack: Duration) {}
