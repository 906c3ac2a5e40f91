//! Panics of jobs: caught, with the place where they happened.
//!
//! Only the process's panic hook is told where a panic was. One of ours is put in front of it with the
//! first task; it notes the place for threads that run a task at that moment, and then calls the one
//! that was there before, so that what is printed stays as it was.

use std::cell::RefCell;
use std::panic::{self, AssertUnwindSafe, catch_unwind};
use std::sync::Once;

use super::JoinError;
use super::error::TaskPanic;

thread_local! {
    /// Where the current task panicked, while one runs.
    static PLACE: RefCell<Place> = const { RefCell::new(Place { tasks: 0, location: None }) };
}

struct Place {
    /// Tasks that run on this thread, one inside the other.
    tasks: usize,
    location: Option<String>,
}

/// Puts our hook in place, once.
pub(super) fn watch() {
    static WATCHING: Once = Once::new();
    WATCHING.call_once(|| {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            PLACE.with_borrow_mut(|place| {
                if place.tasks > 0 {
                    place.location = info.location().map(ToString::to_string);
                }
            });
            before(info);
        }));
    });
}

/// Runs a job.
pub(super) fn catch<T>(job: impl FnOnce() -> T) -> Result<T, JoinError> {
    PLACE.with_borrow_mut(|place| {
        place.tasks += 1;
        place.location = None;
    });
    // Nothing of ours is shared with the job, so none of our state can be left broken by it.
    let result = catch_unwind(AssertUnwindSafe(job));
    let location = PLACE.with_borrow_mut(|place| {
        place.tasks -= 1;
        place.location.take()
    });
    result.map_err(|payload| JoinError::Panicked(TaskPanic { payload, location }))
}
