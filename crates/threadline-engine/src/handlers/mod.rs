//! The kinds of handler, beyond a [`Protocol`](crate::Protocol) of one's own.
//!
//! - [`stream`]: the whole connection, blocking
//! - [`lines`]: one line of text at a time
//! - [`frames`]: one length-prefixed frame at a time

pub mod frames;
pub mod lines;
pub mod stream;

pub use frames::Frames;
pub use lines::{Invalid, Lines};
pub use stream::{Connection, StreamOptions};

#[cfg(all(test, not(loom)))]
mod pieces;
