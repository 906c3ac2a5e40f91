//! Message bodies: where the content is in the bytes, and where the message ends (RFC 9112 §6, §7).
//!
//! Whoever drives a connection makes a [`Reader`] from what the head said and feeds it the bytes behind
//! the head. Nothing is copied or allocated here: content is handed out as ranges of the input, in the
//! order it came, and it is the driver's to move, count or drop. [`chunked`] is the one framing that
//! takes more than counting, in both directions.
//!
//! How much content is too much is not decided here but by whoever stores it; what is bounded here
//! ([`Limits`]) is the framing around it.

pub mod chunked;
mod error;
mod limits;
mod reader;
mod step;
mod trailers;

pub use error::BodyError;
pub use limits::Limits;
pub use reader::Reader;
pub use step::Step;
pub use trailers::Trailers;
