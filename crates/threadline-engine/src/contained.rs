//! Values of the service's own code, of which the engine only knows that their destructors may panic.
//!
//! Handlers and what they capture, session values and code that connections are handed over to are kept in a
//! [`Contained`] by the engine, which may have to drop them on any thread: at the end of a connection, of a
//! call that has failed, or of the engine, perhaps while a panic of the service's unwinds. They must never be
//! dropped while a lock of the engine is held; on a shard's thread only where no other thread could do it.

use std::fmt;
use std::ops::{Deref, DerefMut};
use std::sync::{Arc, LazyLock};

use crate::route::Route;
use crate::turn::contain;

/// A value whose drop does not panic: it is logged, and counted for the route "destructor".
#[derive(Clone)]
pub struct Contained<T>(Option<T>);

/// Stands for destructors where a panic is logged.
static DESTRUCTOR: LazyLock<Arc<Route>> = LazyLock::new(|| Route::new("destructor"));

impl<T> Contained<T> {
    /// Keeps `value`.
    pub fn new(value: T) -> Self {
        Contained(Some(value))
    }

    /// The value, which its new owner drops.
    pub fn into_inner(mut self) -> T {
        self.0.take().expect("there until it is dropped")
    }
}

impl<T> Deref for Contained<T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.0.as_ref().expect("there until it is dropped")
    }
}

impl<T> DerefMut for Contained<T> {
    fn deref_mut(&mut self) -> &mut T {
        self.0.as_mut().expect("there until it is dropped")
    }
}

impl<T> Drop for Contained<T> {
    fn drop(&mut self) {
        if let Some(value) = self.0.take() {
            contain(&DESTRUCTOR, || drop(value));
        }
    }
}

impl<T> fmt::Debug for Contained<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Contained")
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    struct Bomb<'c>(&'c AtomicUsize);

    impl Drop for Bomb<'_> {
        fn drop(&mut self) {
            self.0.fetch_add(1, Ordering::Relaxed);
            panic!("dropped, as asked");
        }
    }

    #[test]
    fn a_panic_of_a_destructor_ends_here_also_while_another_unwinds() {
        let dropped = AtomicUsize::new(0);
        drop(Contained::new(Bomb(&dropped)));
        let unwound = catch_unwind(AssertUnwindSafe(|| {
            let _two = [Contained::new(Bomb(&dropped)), Contained::new(Bomb(&dropped))];
            panic!("as asked");
        }));
        assert!(unwound.is_err());
        assert_eq!(dropped.load(Ordering::Relaxed), 3);
        assert!(DESTRUCTOR.panics() >= 3);
    }

    #[test]
    fn what_is_taken_out_is_its_owners() {
        let dropped = AtomicUsize::new(0);
        let mut kept = Contained::new(vec![Bomb(&dropped)]);
        std::mem::forget(kept.pop());
        assert!(kept.is_empty() && kept.into_inner().is_empty());
        assert_eq!(dropped.load(Ordering::Relaxed), 0);
    }
}
