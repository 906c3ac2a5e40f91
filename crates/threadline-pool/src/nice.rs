//! Raises the nice value of the calling thread.
//!
//! Threads that serve others (the engine's loop threads) must win the processor from pool threads
//! when there is not enough of it; a herd of pool threads that wake together would starve them.
//! Lowering a nice value again needs a privilege, so a pool thread stays what it is.

use std::io;

/// Raises the calling thread's nice value to `nice`. One that is higher already, because the whole
/// process was started under `nice(1)`, is left alone.
///
/// On Linux `PRIO_PROCESS` with 0 means the calling thread alone (setpriority(2), "C library/kernel
/// differences").
#[cfg(all(any(target_os = "linux", target_os = "android"), not(loom)))]
pub(crate) fn raise_own(nice: u8) -> io::Result<()> {
    use rustix::process::{getpriority_process, setpriority_process};
    if nice > 0 && getpriority_process(None)? < i32::from(nice) {
        setpriority_process(None, i32::from(nice))?;
    }
    Ok(())
}

/// Elsewhere the call would change the whole process: better none.
#[cfg(not(all(any(target_os = "linux", target_os = "android"), not(loom))))]
pub(crate) fn raise_own(_nice: u8) -> io::Result<()> {
    Ok(())
}
