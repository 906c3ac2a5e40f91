//! Operations over many tasks.
//!
//! | file | |
//! | --- | --- |
//! | `map.rs` | [`Map`]: a function over an iterator, results in order, a bounded number in flight |
//! | `completed.rs` | [`as_completed`]: tasks in the order in which they end |
//! | `wait.rs` | [`wait`]: for the first, all, or the first error |
//! | `ends.rs` | the ends of several tasks, for the two above |

mod completed;
mod ends;
mod map;
mod wait;

pub use completed::{AsCompleted, as_completed};
pub use map::Map;
pub use wait::{Until, Waited, wait};
