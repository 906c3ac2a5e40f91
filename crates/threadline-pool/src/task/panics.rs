//! Panics of jobs: caught, with the place where they happened.
//!
//! Only the process's panic hook is told where a panic was. One of ours is put in front of it with the
//! first task; it notes the place for threads that run a task at that moment, and then calls the one
//! that was there before, so that what is printed stays as it was.

use std::cell::RefCell;
use std::panic;
use std::sync::Once;
use std::thread;

use super::JoinError;
use super::error::TaskPanic;
use crate::contained;

thread_local! {
    /// Where the current task panicked, while one runs.
    static PLACE: RefCell<Place> = const { RefCell::new(Place { tasks: 0, location: None }) };
}

struct Place {
    /// Tasks that run on this thread, one inside the other.
    tasks: usize,
    location: Option<String>,
}

/// `None` while the thread's destructors run, when there is no place any more. A panic here would abort the
/// process: the hook calls this.
fn at_place<R>(code: impl FnOnce(&mut Place) -> R) -> Option<R> {
    PLACE.try_with(|place| place.try_borrow_mut().ok().map(|mut place| code(&mut place))).ok()?
}

/// Puts our hook in place, once. Not by a thread that unwinds, which may not set it: a later spawn does.
pub(super) fn watch() {
    static WATCHING: Once = Once::new();
    if WATCHING.is_completed() || thread::panicking() {
        return;
    }
    WATCHING.call_once(|| {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            at_place(|place| {
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
    at_place(|place| {
        place.tasks += 1;
        place.location = None;
    });
    let result = contained::catch(job);
    let location = at_place(|place| {
        place.tasks -= 1;
        place.location.take()
    });
    let location = location.flatten();
    result.map_err(|payload| JoinError::Panicked(TaskPanic { payload, location }))
}
