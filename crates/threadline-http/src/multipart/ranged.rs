//! [`Ranged`]: a part of a form whose body is in a file, where it is: nothing is copied.
//!
//! Made by [`Part::spool`](super::Part::spool). The file lives as long as something of it is held.

use std::io::{self, Read, Seek, SeekFrom, Write};

use threadline_engine::protocol::StoredFile;

/// See the module.
#[derive(Debug)]
pub(super) struct Ranged {
    file: StoredFile,
    /// Where it begins in the file.
    start: u64,
    len: u64,
    /// What is read next, from its start.
    at: u64,
}

/// How much is copied at a time.
const PIECE: usize = 64 * 1024;

impl Ranged {
    pub(super) fn new(file: StoredFile, start: u64, len: u64) -> Self {
        Ranged { file, start, len, at: 0 }
    }

    /// Writes all of it.
    pub(super) fn copy_to(&mut self, to: &mut impl Write) -> io::Result<()> {
        self.at = 0;
        let mut buffer = vec![0; PIECE.min(usize::try_from(self.len).unwrap_or(PIECE))];
        loop {
            match self.read(&mut buffer)? {
                0 => return Ok(()),
                count => to.write_all(&buffer[..count])?,
            }
        }
    }
}

impl Read for Ranged {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = self.len.saturating_sub(self.at);
        let most = usize::try_from(left).map_or(buffer.len(), |left| left.min(buffer.len()));
        let count = self.file.read_at(&mut buffer[..most], self.start + self.at)?;
        self.at += count as u64;
        Ok(count)
    }
}

impl Seek for Ranged {
    fn seek(&mut self, position: SeekFrom) -> io::Result<u64> {
        let at = match position {
            SeekFrom::Start(at) => Some(at),
            SeekFrom::Current(by) => self.at.checked_add_signed(by),
            SeekFrom::End(by) => self.len.checked_add_signed(by),
        };
        let negative =
            || io::Error::new(io::ErrorKind::InvalidInput, "a position before the start");
        self.at = at.ok_or_else(negative)?;
        Ok(self.at)
    }
}
