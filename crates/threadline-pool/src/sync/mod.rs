//! Synchronisation that `std` lacks. Every wait has a form with a time limit.
//!
//! | for | use |
//! | --- | --- |
//! | one thread tells others that something has happened | [`Event`] |
//! | limiting how many threads do something at a time | [`Semaphore`] |
//! | handing work from producers to consumers | [`Queue`]; [`std::sync::mpsc`] for one consumer |
//! | waiting until a number of things are done | [`Latch`] |
//! | threads that go on in step | [`Barrier`]; [`std::sync::Barrier`] where nothing can go wrong |
//! | limiting how often something happens | [`RateLimiter`] |
//! | data that one thread at a time may change | [`std::sync::Mutex`] |
//! | data that many read and few change | [`std::sync::RwLock`] |
//! | waiting until shared data has become something | [`std::sync::Condvar`] |
//! | making something once, when first needed | [`std::sync::OnceLock`], [`std::sync::LazyLock`] |
//! | counters and flags | [`std::sync::atomic`] |
//! | threads that borrow from their parent | [`std::thread::scope`] |
//!
//! All of it is made of one mutex and condition variables; what is woken can go on. A wait that is
//! really going to sleep says so first ([`about_to_block`](crate::about_to_block)).

mod barrier;
mod event;
mod latch;
#[cfg(all(test, loom))]
mod model;
pub(crate) mod patience;
mod queue;
mod rate;
mod semaphore;

pub use barrier::{Barrier, BarrierBroken, Turn};
pub use event::Event;
pub use latch::Latch;
pub use queue::{GetError, PutError, Queue};
pub use rate::RateLimiter;
pub use semaphore::{AcquireError, OwnedPermit, Permit, Semaphore};
