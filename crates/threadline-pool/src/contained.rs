//! Catching panics of code that is not yours, and dropping what they threw without another panic.
//!
//! [`std::panic::catch_unwind`] returns the value that a panic threw, and its destructor is user code
//! too: it may panic, and aborts the process if another panic unwinds at that moment. [`catch`] returns a
//! [`Payload`] instead, whose drop never panics. The pool and the other crates of threadline run jobs,
//! handlers, hooks and destructors by it.
//!
//! The process's panic hook has reported the panic by the time it is caught. Do not hold a lock
//! while you call [`catch`] or drop a [`Payload`]: the code may do anything, also come back to the lock.

use std::any::Any;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

/// How a piece of the user's code ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    Returned,
    Panicked,
}

pub(crate) fn run(code: impl FnOnce()) -> Outcome {
    match catch(code) {
        Ok(()) => Outcome::Returned,
        Err(_payload) => Outcome::Panicked,
    }
}

/// Runs `code` on the calling thread, and returns its result, or the value that its panic threw.
///
/// Unlike [`catch_unwind`] it does not ask for `UnwindSafe`: what `code` shares with its caller must
/// be a valid value after a panic at any point.
///
/// # Errors
/// The [`Payload`] of the panic, if `code` panics.
///
/// ```
/// use threadline_pool::contained::catch;
///
/// assert_eq!(catch(|| 1 + 1).ok(), Some(2));
/// let payload = catch(|| panic!("no more paper")).expect_err("it panics");
/// assert_eq!(payload.message(), Some("no more paper"));
/// ```
pub fn catch<R>(code: impl FnOnce() -> R) -> Result<R, Payload> {
    catch_unwind(AssertUnwindSafe(code)).map_err(|payload| Payload(Some(payload)))
}

/// The value that a panic threw. Dropping it never panics: if the value's destructor does, that panic
/// is caught, and the value that it threw is leaked.
pub struct Payload(Option<Box<dyn Any + Send>>);

impl Payload {
    /// The value: `&str` or `String` after `panic!`, any type after
    /// [`panic_any`](std::panic::panic_any).
    pub fn get(&self) -> &(dyn Any + Send) {
        // There until it is dropped.
        self.0.as_deref().unwrap_or(&())
    }

    /// The message that `panic!` was given. `None` if the value is not text.
    pub fn message(&self) -> Option<&str> {
        let value = self.get();
        let text = value.downcast_ref::<&'static str>().copied();
        text.or_else(|| value.downcast_ref::<String>().map(String::as_str))
    }

    /// The value, for the caller to drop: its destructor may panic.
    pub fn into_inner(mut self) -> Box<dyn Any + Send> {
        self.0.take().unwrap_or_else(|| Box::new(()))
    }

    /// Continues the panic in the calling thread. The panic hook is not called again.
    ///
    /// # Panics
    /// Always, with the value.
    pub fn resume(self) -> ! {
        resume_unwind(self.into_inner())
    }
}

impl fmt::Debug for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Payload").field(&self.message().unwrap_or("(no message)")).finish()
    }
}

impl Drop for Payload {
    fn drop(&mut self) {
        let payload = self.0.take();
        if let Err(second) = catch_unwind(AssertUnwindSafe(|| drop(payload))) {
            // Its destructor may panic again, without end: this one is leaked.
            std::mem::forget(second);
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    /// Panics when it is dropped, with another one of its kind.
    struct Bomb;

    impl Drop for Bomb {
        fn drop(&mut self) {
            resume_unwind(Box::new(Bomb));
        }
    }

    #[test]
    fn a_payload_that_panics_when_it_is_dropped_goes_no_further() {
        assert_eq!(run(|| resume_unwind(Box::new(Bomb))), Outcome::Panicked);
        assert_eq!(run(|| drop(Bomb)), Outcome::Panicked);
        assert_eq!(run(|| ()), Outcome::Returned);
    }

    #[test]
    fn a_payload_is_what_was_thrown() {
        let thrown: Result<(), _> = catch(|| resume_unwind(Box::new(7_u8)));
        let Err(payload) = thrown else { panic!("it returned") };
        assert_eq!(payload.get().downcast_ref(), Some(&7_u8));
        let again: Result<(), _> = catch(|| payload.resume());
        let Err(payload) = again else { panic!("it returned") };
        assert_eq!(payload.into_inner().downcast_ref(), Some(&7_u8));
        assert_eq!(catch(|| 1).ok(), Some(1));
    }

    #[test]
    fn a_message_is_text_of_either_type() {
        let message = |thrown: Box<dyn Any + Send>| {
            let payload = catch(|| resume_unwind(thrown)).err();
            payload.and_then(|payload| payload.message().map(str::to_owned))
        };
        assert_eq!(message(Box::new("static")).as_deref(), Some("static"));
        assert_eq!(message(Box::new(String::from("made"))).as_deref(), Some("made"));
        assert_eq!(message(Box::new(7_u8)), None);
    }
}
