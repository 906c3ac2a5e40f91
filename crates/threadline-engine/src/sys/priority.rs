//! How the kernel schedules a thread.

#![allow(unsafe_code)] // sched_setscheduler(2): no safe wrapper among our dependencies

use std::io;
use std::num::NonZeroU64;

/// Puts the calling thread in the batch class (`SCHED_BATCH`): it keeps its share of the CPU, but a
/// wake-up of it never preempts a thread that is running. See the monitor for why.
pub(crate) fn become_batch() -> io::Result<()> {
    let param = libc::sched_param { sched_priority: 0 };
    // SAFETY: pid 0 is the calling thread, `param` outlives the call and is only read.
    match unsafe { libc::sched_setscheduler(0, libc::SCHED_BATCH, &raw const param) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Lets the calling thread's sleeps end on time: the kernel's default slack of 50 us would double a
/// short one. A refusal costs nothing but that.
pub(crate) fn punctual_sleeps() {
    let _ = rustix::thread::set_current_timer_slack(NonZeroU64::new(1_000));
}
