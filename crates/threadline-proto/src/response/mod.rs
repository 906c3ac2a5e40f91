//! Response heads: status, fields, and the framing that belongs to the writer.
//!
//! [`HeadWriter`] appends to a buffer. It refuses fields that would break the message or that
//! decide its framing, so that no handler can split a response or lie about its length.

mod head;
mod status;

pub use head::{HeadWriter, HeaderError, Payload, Persistence, Preamble};
pub use status::Status;
