//! Content that is read while it is sent, as the engine asks for it: framed, a piece at a time.

use std::io::{self, Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use threadline_engine::{Fill, Source};

/// How much of a body is read and sent at a time.
const PIECE: usize = 16 * 1024;

/// How the client knows where the content ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Framing {
    /// By its length: the number of bytes that are still to come.
    Length(u64),
    /// By the last chunk (RFC 9112 §7.1).
    Chunked,
    /// By the end of the connection. For HTTP/1.0.
    UntilClose,
}

/// The memory that a reader is known to hold: it counts as waiting bytes while its client is slow.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    fixed: usize,
    /// What the reader itself keeps up to date. Only a number: it orders nothing.
    changing: Option<Arc<AtomicUsize>>,
}

impl Memory {
    /// Of a reader that holds that many bytes.
    pub(crate) fn fixed(bytes: usize) -> Self {
        Memory { fixed: bytes, changing: None }
    }

    /// Of a reader that says how much it is as it is read.
    pub(crate) fn changing(bytes: Arc<AtomicUsize>) -> Self {
        Memory { fixed: 0, changing: Some(bytes) }
    }

    /// So many bytes more.
    #[cfg(any(feature = "gzip", feature = "brotli", feature = "zstd"))]
    pub(crate) fn plus(self, bytes: usize) -> Self {
        Memory { fixed: self.fixed.saturating_add(bytes), ..self }
    }

    /// At least that many bytes, beside those that change.
    pub(crate) fn at_least(self, bytes: usize) -> Self {
        Memory { fixed: self.fixed.max(bytes), ..self }
    }

    pub(crate) fn bytes(&self) -> usize {
        let changing = self.changing.as_ref().map_or(0, |bytes| bytes.load(Ordering::Relaxed));
        self.fixed.saturating_add(changing)
    }
}

/// A reader as the engine's source of a reply.
pub(crate) struct ReadSource {
    reader: Box<dyn Read + Send>,
    framing: Framing,
    memory: Memory,
}

impl ReadSource {
    pub(crate) fn new(reader: Box<dyn Read + Send>, framing: Framing, memory: Memory) -> Self {
        ReadSource { reader, framing, memory }
    }

    fn read(&mut self, piece: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.reader.read(piece) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                other => return other,
            }
        }
    }
}

impl Source for ReadSource {
    fn fill(&mut self, out: &mut Vec<u8>) -> io::Result<Fill> {
        let mut piece = [0; PIECE];
        if let Framing::Length(left) = self.framing {
            let room = PIECE.min(usize::try_from(left).unwrap_or(PIECE));
            let count = if room == 0 { 0 } else { self.read(&mut piece[..room])? };
            if count == 0 && left > 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            out.extend_from_slice(&piece[..count]);
            self.framing = Framing::Length(left - count as u64);
            return Ok(if left == count as u64 { Fill::End } else { Fill::More });
        }
        let count = self.read(&mut piece)?;
        let chunked = self.framing == Framing::Chunked;
        if count == 0 {
            if chunked {
                out.extend_from_slice(b"0\r\n\r\n");
            }
            return Ok(Fill::End);
        }
        if chunked {
            // Writing to a vector cannot fail.
            let _ = write!(out, "{count:x}\r\n");
        }
        out.extend_from_slice(&piece[..count]);
        if chunked {
            out.extend_from_slice(b"\r\n");
        }
        Ok(Fill::More)
    }

    fn memory(&self) -> usize {
        self.memory.bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a source makes of these bytes, as one.
    fn made(bytes: &'static [u8], framing: Framing) -> io::Result<Vec<u8>> {
        let mut source = ReadSource::new(Box::new(bytes), framing, Memory::default());
        let (mut all, mut piece) = (Vec::new(), Vec::new());
        loop {
            piece.clear();
            let fill = source.fill(&mut piece)?;
            all.extend_from_slice(&piece);
            if fill == Fill::End {
                return Ok(all);
            }
        }
    }

    #[test]
    fn content_is_framed_as_said() {
        assert_eq!(made(b"abc", Framing::Length(3)).expect("read"), b"abc");
        assert_eq!(made(b"abc", Framing::Length(2)).expect("read"), b"ab", "no more is read");
        assert_eq!(made(b"abc", Framing::Length(0)).expect("read"), b"");
        assert_eq!(made(b"abc", Framing::Chunked).expect("read"), b"3\r\nabc\r\n0\r\n\r\n");
        assert_eq!(made(b"", Framing::Chunked).expect("read"), b"0\r\n\r\n");
        assert_eq!(made(b"abc", Framing::UntilClose).expect("read"), b"abc");
        let long = &[b'x'; PIECE * 2 + 5];
        assert_eq!(made(long, Framing::UntilClose).expect("read").len(), long.len());
        assert_eq!(made(long, Framing::Length(long.len() as u64)).expect("read").len(), long.len());
    }

    #[test]
    fn a_reader_that_ends_before_its_length_has_failed() {
        let short = made(b"abc", Framing::Length(4)).expect_err("too short");
        assert_eq!(short.kind(), io::ErrorKind::UnexpectedEof);
    }
}
