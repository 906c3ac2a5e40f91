//! Runs the user's code so that a panic goes no further.
//!
//! Jobs, hooks, callbacks, wakers, and the drop of everything that belongs to the user go through here.
//! The panic hook has reported the panic by the time it is caught; the caller counts it. Must never be
//! used under a lock: what runs here may do anything, also call the pool.

use std::any::Any;
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

/// Runs code, and gives what it returned or what its panic threw.
pub(crate) fn catch<R>(code: impl FnOnce() -> R) -> Result<R, Payload> {
    // Nothing of ours is shared with the code, so none of our state can be left broken by it.
    catch_unwind(AssertUnwindSafe(code)).map_err(|payload| Payload(Some(payload)))
}

/// What a panic threw. Its own drop may panic as well, perhaps while another panic unwinds, which would
/// abort the process: here that goes no further.
pub(crate) struct Payload(Option<Box<dyn Any + Send>>);

impl Payload {
    /// `()` in place of one that is gone.
    pub(crate) fn get(&self) -> &(dyn Any + Send) {
        self.0.as_deref().unwrap_or(&())
    }

    pub(crate) fn into_inner(mut self) -> Box<dyn Any + Send> {
        self.0.take().unwrap_or_else(|| Box::new(()))
    }

    /// Lets the panic go on in the calling thread.
    pub(crate) fn resume(self) -> ! {
        resume_unwind(self.into_inner())
    }
}

impl Drop for Payload {
    fn drop(&mut self) {
        let payload = self.0.take();
        if let Err(second) = catch_unwind(AssertUnwindSafe(|| drop(payload))) {
            // There may be no end to it: this one is leaked.
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
}
