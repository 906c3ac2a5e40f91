//! One response's encoder: bytes in memory at once, or a reader that encodes another as it is read.
//!
//! The three libraries are driven alike: what goes in is collected in a vector that is taken away
//! after each step, so nothing but the library's own window is kept.

use std::io::{self, Cursor, Read, Write};
use std::mem;

use crate::middleware::compression::Coding;

/// How hard to try.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Effort {
    /// As fast as the coding goes.
    Fast,
    /// What serves content that is made anew for each request.
    #[default]
    Balanced,
    /// Small, for a multiple of the time: for content that is slow to send or seldom made.
    Small,
}

/// An encoder that writes into a vector.
#[allow(clippy::large_enum_variant, reason = "one per response, never in a collection")]
pub(super) enum Encoder {
    #[cfg(feature = "zstd")]
    Zstd(zstd::stream::write::Encoder<'static, Vec<u8>>),
    #[cfg(feature = "brotli")]
    Brotli(Box<brotli::CompressorWriter<Vec<u8>>>),
    #[cfg(feature = "gzip")]
    Gzip(flate2::write::GzEncoder<Vec<u8>>),
}

impl Encoder {
    /// For content of `len` bytes, where that is known: less of it needs less memory.
    pub(super) fn new(coding: Coding, effort: Effort, len: Option<u64>) -> io::Result<Self> {
        Ok(match coding {
            #[cfg(feature = "zstd")]
            Coding::Zstd => {
                let level = effort.choose(1, 3, 12);
                let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), level)?;
                encoder.set_pledged_src_size(len)?;
                Encoder::Zstd(encoder)
            }
            #[cfg(feature = "brotli")]
            Coding::Brotli => {
                let quality = effort.choose(1, 4, 9);
                let encoder = brotli::CompressorWriter::new(Vec::new(), 4096, quality, window(len));
                Encoder::Brotli(Box::new(encoder))
            }
            #[cfg(feature = "gzip")]
            Coding::Gzip => {
                let _ = len;
                let level = flate2::Compression::new(effort.choose(1, 5, 9));
                Encoder::Gzip(flate2::write::GzEncoder::new(Vec::new(), level))
            }
        })
    }

    /// About how many bytes of memory an encoder comes to hold for content of that length. Measured with text of
    /// 64 KB to 10 MB: what is there from the start, what each byte of content adds, and where that ends.
    pub(super) fn memory(coding: Coding, effort: Effort, len: Option<u64>) -> usize {
        const KB: u64 = 1024;
        let (start, each, end) = match coding {
            #[cfg(feature = "zstd")]
            Coding::Zstd => effort.choose(
                (128 * KB, 2, 1000 * KB),
                (256 * KB, 4, 3400 * KB),
                (0, 16, 46_000 * KB),
            ),
            #[cfg(feature = "brotli")]
            Coding::Brotli => effort.choose(
                (160 * KB, 0, 160 * KB),
                (1200 * KB, 6, 12_300 * KB),
                (22_000 * KB, 10, 39_000 * KB),
            ),
            #[cfg(feature = "gzip")]
            Coding::Gzip => (384 * KB, 0, 384 * KB),
        };
        let _ = effort;
        let grown = len.unwrap_or(u64::MAX).saturating_mul(each).saturating_add(start);
        usize::try_from(grown.min(end)).unwrap_or(usize::MAX)
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.writer().write_all(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.writer().flush()
    }

    fn writer(&mut self) -> &mut dyn Write {
        match self {
            #[cfg(feature = "zstd")]
            Encoder::Zstd(encoder) => encoder,
            #[cfg(feature = "brotli")]
            Encoder::Brotli(encoder) => encoder,
            #[cfg(feature = "gzip")]
            Encoder::Gzip(encoder) => encoder,
        }
    }

    /// What has been encoded since it was last asked.
    fn take(&mut self) -> Vec<u8> {
        mem::take(match self {
            #[cfg(feature = "zstd")]
            Encoder::Zstd(encoder) => encoder.get_mut(),
            #[cfg(feature = "brotli")]
            Encoder::Brotli(encoder) => encoder.get_mut(),
            #[cfg(feature = "gzip")]
            Encoder::Gzip(encoder) => encoder.get_mut(),
        })
    }

    /// What is left, with the end.
    fn finish(self) -> io::Result<Vec<u8>> {
        match self {
            #[cfg(feature = "zstd")]
            Encoder::Zstd(encoder) => encoder.finish(),
            #[cfg(feature = "brotli")]
            Encoder::Brotli(encoder) => Ok(encoder.into_inner()),
            #[cfg(feature = "gzip")]
            Encoder::Gzip(encoder) => encoder.finish(),
        }
    }
}

impl Effort {
    fn choose<T>(self, fast: T, balanced: T, small: T) -> T {
        match self {
            Effort::Fast => fast,
            Effort::Balanced => balanced,
            Effort::Small => small,
        }
    }
}

/// The binary logarithm of brotli's window: 16 KB to 1 MB, as the content needs.
#[cfg(feature = "brotli")]
fn window(len: Option<u64>) -> u32 {
    let len = len.unwrap_or(u64::MAX).clamp(1 << 14, 1 << 20);
    len.next_power_of_two().ilog2()
}

/// Encodes bytes that are here.
pub(super) fn encode(bytes: &[u8], coding: Coding, effort: Effort) -> io::Result<Vec<u8>> {
    let mut encoder = Encoder::new(coding, effort, Some(bytes.len() as u64))?;
    encoder.write(bytes)?;
    encoder.finish()
}

/// Encodes what a reader gives. What comes in small pieces goes out piece by piece: the encoder is
/// flushed when a read is not full, as the next may take long.
pub(super) struct Encoding<R> {
    reader: R,
    /// `None` behind the end.
    encoder: Option<Encoder>,
    piece: Box<[u8]>,
    ready: Cursor<Vec<u8>>,
}

/// How much is encoded at a time.
const PIECE: usize = 16 * 1024;

impl<R: Read> Encoding<R> {
    pub(super) fn new(reader: R, encoder: Encoder) -> Self {
        let (piece, ready) = (vec![0; PIECE].into_boxed_slice(), Cursor::default());
        Encoding { reader, encoder: Some(encoder), piece, ready }
    }

    /// Encodes one more piece, of which nothing may come out yet. `false` behind the end.
    fn advance(&mut self) -> io::Result<bool> {
        let Some(encoder) = &mut self.encoder else { return Ok(false) };
        let count = self.reader.read(&mut self.piece)?;
        encoder.write(&self.piece[..count])?;
        if 0 < count && count < self.piece.len() {
            encoder.flush()?;
        }
        let ready = match self.encoder.take() {
            Some(encoder) if count == 0 => encoder.finish()?,
            mut going_on => {
                let ready = going_on.as_mut().map(Encoder::take);
                self.encoder = going_on;
                ready.unwrap_or_default()
            }
        };
        self.ready = Cursor::new(ready);
        Ok(true)
    }
}

impl<R: Read> Read for Encoding<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let count = self.ready.read(buffer)?;
            if count > 0 || buffer.is_empty() || !self.advance()? {
                return Ok(count);
            }
        }
    }
}
