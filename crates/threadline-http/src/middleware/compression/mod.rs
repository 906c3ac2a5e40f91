//! Content codings (RFC 9110 §8.4.1): gzip, brotli, zstd; each behind the feature of its name.
//!
//! | file | |
//! | --- | --- |
//! | `coding.rs` | [`Coding`]: names, and which one a client wants |
//! | `compress.rs` | [`Compression`]: which responses are compressed |
//! | `encoder.rs` | one response's encoder, and the reader that drives it |
//! | `decompress.rs` | [`Decompression`]: which requests are decompressed, and the bomb limits |
//! | `decoder.rs` | one request's decoder |

mod coding;
mod compress;
mod decoder;
mod decompress;
mod encoder;

pub use coding::Coding;
pub use compress::Compression;
pub use decompress::Decompression;
pub use encoder::Effort;

#[cfg(test)]
mod tests;
