//! The chunked transfer coding (RFC 9112 §7.1), in both directions.
//!
//! [`Decoder`] takes what a client sends, in whatever pieces it comes; [`Encoder`] writes content of a
//! length that nobody knows beforehand. Neither copies content that it does not have to, neither
//! allocates. The coding on the wire:
//!
//! ```text
//!   1a;name=value CRLF   size in hexadecimal, extensions
//!   26 bytes CRLF        content
//!   ...                  more chunks
//!   0 CRLF               last chunk
//!   Name: value CRLF     trailer section, mostly empty
//!   CRLF
//! ```

mod decoder;
mod encoder;
mod extension;
#[cfg(test)]
mod tests;

pub use decoder::Decoder;
pub use encoder::{CHUNK_END, Encoder, TrailerWriter};
