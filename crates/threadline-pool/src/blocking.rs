//! Saying beforehand that the current thread is going to block.
//!
//! A thread may have more to do than the code it runs at the moment: a loop thread of the engine runs a
//! handler, and others wait for its loop. Whoever runs such threads leaves a hook with them
//! ([`set_hook`]); code that is about to block says so ([`blocking`]), and the loop is handed on at
//! once instead of when a monitor notices. Every wait of [`sync`](crate::sync) and of tasks says so by
//! itself, if it is really going to sleep. On all other threads it costs one look at a thread-local.

use std::cell::Cell;

use crate::contained;

/// Called on a thread that is about to block.
pub type Hook = fn();

thread_local! {
    static HOOK: Cell<Option<Hook>> = const { Cell::new(None) };
}

/// Runs code that may block: reading a file, calling another service, sleeping.
///
/// Not needed for correctness anywhere: it spares others the time until the block is noticed. Worth it
/// around blocking calls in handlers that are otherwise fast.
///
/// ```
/// use threadline_pool::blocking;
///
/// let text = blocking(|| std::fs::read_to_string("/proc/self/status"))?;
/// assert!(text.starts_with("Name:"));
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn blocking<R>(code: impl FnOnce() -> R) -> R {
    about_to_block();
    code()
}

/// Says that the current thread is about to block, for code that cannot be put into a closure.
#[inline]
pub fn about_to_block() {
    if let Some(hook) = HOOK.get() {
        // Not while it runs: it may block itself, on a lock.
        HOOK.set(None);
        // A wait goes on whatever the hook does: those who wait for borrowing jobs must not unwind.
        contained::run(hook);
        HOOK.set(Some(hook));
    }
}

/// Sets the function that is called each time the current thread announces that it is about to block;
/// `None` removes it. Returns the previous hook. Meant for code that runs threads.
///
/// The hook runs before the thread blocks, in the middle of other code, and the thread may not block
/// after all. It should be quick; a panic in it is contained. It is not called recursively.
pub fn set_hook(hook: Option<Hook>) -> Option<Hook> {
    HOOK.replace(hook)
}

/// Whether this thread has a hook.
#[inline]
pub(crate) fn is_watched() -> bool {
    HOOK.get().is_some()
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    thread_local! {
        static CALLS: Cell<u32> = const { Cell::new(0) };
    }

    fn count() {
        CALLS.set(CALLS.get() + 1);
        // Not called from within itself.
        about_to_block();
    }

    #[test]
    fn a_hook_that_panics_is_called_again_and_the_code_runs() {
        fn fails() {
            count();
            panic!("on purpose");
        }
        std::thread::spawn(|| {
            set_hook(Some(fails));
            assert_eq!((blocking(|| 1), blocking(|| CALLS.get())), (1, 2));
        })
        .join()
        .expect("the panic is contained");
    }

    #[test]
    fn the_hook_of_this_thread_is_called_once_for_each_block() {
        assert_eq!(blocking(|| 1), 1, "nobody listens");
        assert!(set_hook(Some(count)).is_none());
        assert_eq!(blocking(|| CALLS.get()), 1);
        about_to_block();
        assert_eq!(CALLS.get(), 2);
        std::thread::spawn(about_to_block).join().expect("no hook there");
        assert!(set_hook(None).is_some());
        about_to_block();
        assert_eq!(CALLS.get(), 2);
    }
}
