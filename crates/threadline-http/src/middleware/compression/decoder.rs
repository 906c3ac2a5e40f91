//! One request's decoder, with the limits that keep a bomb from going off.
//!
//! Decoding happens as the handler reads, into the handler's buffer: what is not read is not decoded.
//! Memory is the library's window: 32 KB for gzip, at most 8 MB for zstd (RFC 9659) and 16 MB for
//! brotli (RFC 7932 §9.1), whatever the client writes.

use std::io::{self, BufReader, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::body::{BodyError, BodyReader, Incoming, Pieces, ReadBody};
use crate::middleware::compression::Coding;

/// How much may come out.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    /// The longest decoded body in bytes.
    pub(super) len_max: u64,
    /// How many times longer than what came in, once [`RATIO_FROM`] bytes are out.
    pub(super) ratio_max: u32,
}

/// The ratio of what is shorter than this is not looked at: it can be great by chance and harmless.
const RATIO_FROM: u64 = 64 * 1024;

/// A body that is decoded while it is read, by each reader anew.
pub(super) struct Decoded<'b> {
    coding: Coding,
    body: Incoming<'b>,
    bounds: Bounds,
}

impl<'b> Decoded<'b> {
    pub(super) fn new(coding: Coding, body: Incoming<'b>, bounds: Bounds) -> Self {
        Decoded { coding, body, bounds }
    }
}

impl ReadBody for Decoded<'_> {
    fn open(&self) -> Result<Box<dyn Pieces + '_>, BodyError> {
        let came = Arc::default();
        let decoder = self.begin(&came).map_err(explain)?;
        Ok(Box::new(DecodedPieces { decoder, bounds: self.bounds, came, made: 0 }))
    }

    fn is_as_framed(&self) -> bool {
        false
    }
}

/// What one reader has decoded so far.
struct DecodedPieces<'b> {
    decoder: Box<dyn Read + Send + Sync + 'b>,
    bounds: Bounds,
    /// Bytes that the decoder has been given.
    came: Arc<AtomicU64>,
    /// Bytes that it has made of them.
    made: u64,
}

/// The body's own errors come through the decoder; all others are its coding's.
fn explain(error: io::Error) -> BodyError {
    BodyError::of(&error).unwrap_or(BodyError::Coding)
}

impl Pieces for DecodedPieces<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize, BodyError> {
        let count = loop {
            match self.decoder.read(buffer) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                read => break read.map_err(explain)?,
            }
        };
        self.made += count as u64;
        let Bounds { len_max, ratio_max } = self.bounds;
        if self.made > len_max {
            return Err(BodyError::TooLarge { max: len_max });
        }
        let fair = self.came.load(Ordering::Relaxed).saturating_mul(u64::from(ratio_max));
        if self.made > RATIO_FROM && self.made > fair {
            return Err(BodyError::Expands { ratio_max });
        }
        Ok(count)
    }
}

impl<'b> Decoded<'b> {
    fn begin(&self, came: &Arc<AtomicU64>) -> io::Result<Box<dyn Read + Send + Sync + 'b>> {
        let (body, count) = (BodyReader::new(self.body), Arc::clone(came));
        let reader = BufReader::new(Counting { body, count });
        Ok(match self.coding {
            #[cfg(feature = "zstd")]
            Coding::Zstd => {
                let mut decoder = zstd::stream::read::Decoder::with_buffer(reader)?;
                decoder.window_log_max(23)?;
                Box::new(decoder)
            }
            #[cfg(feature = "brotli")]
            Coding::Brotli => Box::new(BrotliDecoder::new(reader)),
            #[cfg(feature = "gzip")]
            Coding::Gzip => Box::new(flate2::bufread::MultiGzDecoder::new(reader)),
        })
    }
}

/// Counts what is read of a body.
struct Counting<'b> {
    body: BodyReader<'b>,
    count: Arc<AtomicU64>,
}

impl Read for Counting<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.body.read(buffer)?;
        self.count.fetch_add(count as u64, Ordering::Relaxed);
        Ok(count)
    }
}

#[cfg(feature = "brotli")]
use brotli_decoder::BrotliDecoder;

/// The library's own reader takes "large windows" of up to 1 GB, which are no part of RFC 7932, and
/// allocates them on a client's word.
#[cfg(feature = "brotli")]
mod brotli_decoder {
    use std::io::{self, BufRead, Read};

    use brotli::enc::StandardAlloc;
    use brotli::{BrotliDecompressStream, BrotliResult, BrotliState};

    pub(super) struct BrotliDecoder<R> {
        reader: R,
        state: Box<BrotliState<StandardAlloc, StandardAlloc, StandardAlloc>>,
        ended: bool,
    }

    impl<R> BrotliDecoder<R> {
        pub(super) fn new(reader: R) -> Self {
            let alloc = StandardAlloc::default;
            let state = Box::new(BrotliState::new_strict(alloc(), alloc(), alloc()));
            BrotliDecoder { reader, state, ended: false }
        }
    }

    impl<R: BufRead> Read for BrotliDecoder<R> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            if buffer.is_empty() {
                return Ok(0);
            }
            while !self.ended {
                let input = self.reader.fill_buf()?;
                let came_to_end = input.is_empty();
                let (mut input_left, mut consumed) = (input.len(), 0);
                let (mut room, mut made, mut total) = (buffer.len(), 0, 0);
                let result = BrotliDecompressStream(
                    &mut input_left,
                    &mut consumed,
                    input,
                    &mut room,
                    &mut made,
                    buffer,
                    &mut total,
                    &mut self.state,
                );
                self.reader.consume(consumed);
                match result {
                    BrotliResult::ResultFailure => return Err(io::ErrorKind::InvalidData.into()),
                    BrotliResult::ResultSuccess => self.ended = true,
                    BrotliResult::NeedsMoreInput if came_to_end && made == 0 => {
                        return Err(io::ErrorKind::UnexpectedEof.into());
                    }
                    BrotliResult::NeedsMoreInput | BrotliResult::NeedsMoreOutput => {}
                }
                if made > 0 {
                    return Ok(made);
                }
            }
            // Reads the end of the body, too: the connection goes on behind it.
            match self.reader.fill_buf()? {
                [] => Ok(0),
                _ => Err(io::ErrorKind::InvalidData.into()),
            }
        }
    }
}
