//! What the user wants run on each thread of the pool: once at its start, once at its end.
//!
//! The builder takes them, a thread calls them outside the lock. A panic in one ends the hook, not
//! the thread.

use std::fmt;
use std::sync::Arc;

use crate::contained::{self, Outcome};

/// A hook, or none.
#[derive(Clone, Default)]
pub(crate) struct Hook(Option<Arc<dyn Fn() + Send + Sync>>);

impl Hook {
    pub(crate) fn new(hook: impl Fn() + Send + Sync + 'static) -> Self {
        Hook(Some(Arc::new(hook)))
    }

    pub(crate) fn is_set(&self) -> bool {
        self.0.is_some()
    }

    pub(crate) fn run(&self) -> Outcome {
        match &self.0 {
            Some(hook) => contained::run(|| hook()),
            None => Outcome::Returned,
        }
    }
}

/// What the hook captured is dropped with the last one of its clones.
impl Drop for Hook {
    fn drop(&mut self) {
        let hook = self.0.take();
        contained::run(|| drop(hook));
    }
}

impl fmt::Debug for Hook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_set() { "set" } else { "none" })
    }
}
