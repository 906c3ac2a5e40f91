//! Response heads: status, fields, and the framing that belongs to the writer.
//!
//! [`HeadWriter`] appends to a buffer. It refuses fields that would break the message or that
//! decide its framing, so that no handler can split a response. [`Declared`] holds content that comes
//! in pieces to the length that the head has promised. Chunked content is written by
//! [`chunked::Encoder`](crate::body::chunked::Encoder).

mod declared;
mod head;
mod preamble;
mod status;

pub use declared::{Declared, LengthError};
pub use head::{HeadWriter, HeaderError, Payload, Persistence};
pub use preamble::Preamble;
pub use status::Status;
