//! Taking signals of the process for a while, and putting their dispositions back.
//!
//! The handler does nothing but write the signal's number to a pipe, which the service crate reads on a
//! thread. Neither `rustix` nor `signal-hook` can do this: the first has no handlers, and the second keeps
//! its handler installed for the life of the process, so that a signal which nobody waits for any more is
//! lost instead of having the effect that it had before.
//!
//! The pipe is made once and is never closed: a handler may still be running on another thread when the
//! signal has been given back.

#![allow(unsafe_code)] // sigaction(2): no safe wrapper among our dependencies

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{IntoRawFd, OwnedFd};
use std::ptr;
use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::{Mutex, PoisonError};

use rustix::fs::{OFlags, fcntl_setfl};
use rustix::pipe::{PipeFlags, pipe_with};

/// The end of the pipe that handlers write to; -1 before the first signal is taken.
static SINK: AtomicI32 = AtomicI32::new(-1);

/// The end of the pipe that is read.
static SOURCE: Mutex<Option<&'static OwnedFd>> = Mutex::new(None);

/// What becomes of a signal that the process ignores.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ignored {
    /// It stays ignored, as nohup(1) and shells want it for programs in the background.
    Kept,
    /// It is taken all the same.
    Taken,
}

/// A signal that this process handles. When it is dropped, the signal's disposition is what it was before,
/// unless the program has changed it meanwhile.
pub struct TakenSignal {
    signal: i32,
    before: libc::sigaction,
}

impl TakenSignal {
    /// Has the signal's number written to [`taken_signals`] whenever it comes, in place of what happened
    /// before. `None` if it is ignored and stays so. Not twice at a time for one signal.
    ///
    /// # Errors
    /// The system's, if there are no descriptors for the pipe or the signal cannot be caught.
    pub fn take(signal: i32, ignored: Ignored) -> io::Result<Option<TakenSignal>> {
        taken_signals()?;
        let before = disposition(signal)?;
        if before.sa_sigaction == libc::SIG_IGN && ignored == Ignored::Kept {
            return Ok(None);
        }
        // SAFETY: all zeros is a valid `sigaction`: the default action, an empty mask, no flags.
        let mut action: libc::sigaction = unsafe { MaybeUninit::zeroed().assume_init() };
        action.sa_sigaction = handler();
        // System calls go on; the handler runs on the alternate stack where a thread has one.
        action.sa_flags = libc::SA_RESTART | libc::SA_ONSTACK;
        // One at a time: an alternate stack has room for one frame, which holds all of the processor's
        // registers, and signals that come together would be handled one within the other.
        // SAFETY: the mask is part of `action`, and the call only writes to it.
        unsafe { libc::sigfillset(&raw mut action.sa_mask) };
        set(signal, &action)?;
        Ok(Some(TakenSignal { signal, before }))
    }
}

impl Drop for TakenSignal {
    fn drop(&mut self) {
        if disposition(self.signal).is_ok_and(|now| now.sa_sigaction == handler()) {
            // It was the signal's disposition before: the system cannot refuse it.
            let _ = set(self.signal, &self.before);
        }
    }
}

impl std::fmt::Debug for TakenSignal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("TakenSignal").field(&self.signal).finish()
    }
}

/// Where the numbers of taken signals can be read, a byte each. The same for the life of the process.
///
/// # Errors
/// If there are no descriptors for the pipe, at the first call.
pub fn taken_signals() -> io::Result<&'static OwnedFd> {
    let mut source = SOURCE.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(source) = *source {
        return Ok(source);
    }
    let (read, write) = pipe_with(PipeFlags::CLOEXEC)?;
    // A handler must not wait. If the pipe is full, thousands of signals are in it already.
    fcntl_setfl(&write, OFlags::NONBLOCK)?;
    SINK.store(write.into_raw_fd(), Ordering::Release);
    Ok(source.insert(Box::leak(Box::new(read))))
}

/// Wakes the reader of [`taken_signals`] with a byte that is no signal's number: 0.
pub fn wake_reader() {
    write(0);
}

fn handler() -> libc::sighandler_t {
    let handler: extern "C" fn(libc::c_int) = on_signal;
    handler as libc::sighandler_t
}

/// Runs on any thread, at any moment: it may only do what is async-signal-safe (signal-safety(7)).
extern "C" fn on_signal(signal: libc::c_int) {
    // SAFETY: the pointer to this thread's errno is valid for the life of the thread.
    let errno = unsafe { &mut *libc::__errno_location() };
    let before = *errno;
    write(signal as u8);
    *errno = before;
}

fn write(byte: u8) {
    // SAFETY: the pointer is valid for the one byte that is read, and the descriptor is never closed; it
    // is -1 before it is there, which is an error without effect. write(2) is async-signal-safe.
    unsafe { libc::write(SINK.load(Ordering::Acquire), ptr::from_ref(&byte).cast(), 1) };
}

fn disposition(signal: i32) -> io::Result<libc::sigaction> {
    let mut action = MaybeUninit::uninit();
    // SAFETY: without a new action the call only writes the present one to `action`, which outlives it.
    match unsafe { libc::sigaction(signal, ptr::null(), action.as_mut_ptr()) } {
        // SAFETY: the call has succeeded, so it has written the whole of it.
        0 => Ok(unsafe { action.assume_init() }),
        _ => Err(io::Error::last_os_error()),
    }
}

fn set(signal: i32, action: &libc::sigaction) -> io::Result<()> {
    // SAFETY: `action` is valid and only read. Its handler is either `on_signal`, which is async-signal-safe,
    // or one that the program had installed for this signal itself.
    match unsafe { libc::sigaction(signal, action, ptr::null_mut()) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use rustix::process::{Signal, getpid, kill_process};

    use super::*;

    /// All of it in one test: the pipe is the process's. The signals' default is that they are ignored.
    #[test]
    fn a_signal_is_taken_and_given_back() {
        let is_ours = |signal| disposition(signal).expect("a signal").sa_sigaction == handler();
        let before = disposition(libc::SIGURG).expect("a signal").sa_sigaction;
        let taken = TakenSignal::take(libc::SIGURG, Ignored::Kept).expect("takes").expect("taken");
        assert!(is_ours(libc::SIGURG));
        kill_process(getpid(), Signal::URG).expect("sent");
        let mut byte = [0];
        let source = taken_signals().expect("a pipe");
        assert_eq!(rustix::io::read(source, &mut byte).expect("read"), 1);
        assert_eq!(i32::from(byte[0]), libc::SIGURG);
        drop(taken);
        assert_eq!(disposition(libc::SIGURG).expect("a signal").sa_sigaction, before);
        // It can be had again, over the same pipe.
        let taken = TakenSignal::take(libc::SIGURG, Ignored::Kept).expect("takes").expect("taken");
        kill_process(getpid(), Signal::URG).expect("sent");
        assert_eq!(rustix::io::read(source, &mut byte).expect("read"), 1);
        // What the program has set meanwhile stays.
        let mut other = taken.before;
        other.sa_sigaction = libc::SIG_IGN;
        set(libc::SIGURG, &other).expect("set");
        drop(taken);
        assert_eq!(disposition(libc::SIGURG).expect("a signal").sa_sigaction, libc::SIG_IGN);
        // Ignored signals are left alone, if that is wanted.
        let kept = TakenSignal::take(libc::SIGURG, Ignored::Kept).expect("asks");
        assert!(kept.is_none());
        let taken = TakenSignal::take(libc::SIGURG, Ignored::Taken).expect("takes").expect("taken");
        assert!(is_ours(libc::SIGURG));
        drop(taken);
        assert_eq!(disposition(libc::SIGURG).expect("a signal").sa_sigaction, libc::SIG_IGN);
        other.sa_sigaction = before;
        set(libc::SIGURG, &other).expect("set");
        assert!(TakenSignal::take(libc::SIGKILL, Ignored::Taken).is_err());
    }
}
