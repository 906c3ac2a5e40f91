//! The content of messages.
//!
//! | file | |
//! | --- | --- |
//! | `outgoing.rs` | [`Body`]: the content of a response, in memory or made while it is sent |
//! | `push.rs` | [`BodySender`]: content that is pushed from anywhere, without a thread |
//! | `incoming.rs` | the content of a request: whole, in a file, or read while it arrives |
//! | `arriving.rs` | the latter |
//! | `source.rs` | content that is read while it is sent, framed for the wire |

mod arriving;
mod incoming;
mod outgoing;
mod push;
mod source;

pub(crate) use arriving::Arriving;
pub use incoming::{BodyError, BodyReader};
pub(crate) use incoming::{ComesOnce, Incoming, Pieces, ReadBody, RefusedBody};
pub use outgoing::Body;
pub(crate) use outgoing::Kind;
pub use push::BodySender;
pub(crate) use push::{Extent, Push, PushFraming, Start};
pub(crate) use source::{Framing, Memory, ReadSource};
