//! Holds a handler's content to the length that its response head has declared.
//!
//! Used by whoever sends content that comes in pieces (a reader, an iterator), which nobody can measure
//! beforehand. A byte too many would be read as the next response, a byte too few leaves the client
//! waiting for the next response's first one (RFC 9112 §6.3, §8).

use std::fmt;

/// Counts content against the length that was declared with
/// [`Payload::Length`](crate::response::Payload).
///
/// ```
/// use threadline_proto::response::{Declared, LengthError};
///
/// let mut declared = Declared::new(5);
/// declared.count(3)?;
/// // Refused whole: nothing of it is counted, and nothing of it may be sent.
/// assert_eq!(declared.count(4), Err(LengthError::TooLong { excess: 2 }));
/// assert_eq!(declared.finish(), Err(LengthError::TooShort { missing: 2 }));
/// # Ok::<(), LengthError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use = "content is only right when `finish` says so"]
pub struct Declared {
    remaining: u64,
}

/// How content differs from its declared length. Always the handler's fault; the head is sent by then,
/// so all that is left is to close the connection and to log it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum LengthError {
    /// There is more content than was declared.
    TooLong {
        /// By how many bytes, with the piece that was refused.
        excess: u64,
    },
    /// There is less content than was declared.
    TooShort {
        /// By how many bytes.
        missing: u64,
    },
}

impl Declared {
    /// `length` bytes are declared.
    pub fn new(length: u64) -> Self {
        Declared { remaining: length }
    }

    /// How many bytes are still to come.
    pub fn remaining(&self) -> u64 {
        self.remaining
    }

    /// Counts a piece of `len` bytes, before it is sent.
    ///
    /// # Errors
    /// [`LengthError::TooLong`] when it goes beyond what was declared. It is not counted then, and
    /// must not be sent.
    pub fn count(&mut self, len: usize) -> Result<(), LengthError> {
        let len = len as u64;
        if len > self.remaining {
            return Err(LengthError::TooLong { excess: len - self.remaining });
        }
        self.remaining -= len;
        Ok(())
    }

    /// To be asked when the content ends.
    ///
    /// # Errors
    /// [`LengthError::TooShort`] when there is less than was declared.
    pub fn finish(self) -> Result<(), LengthError> {
        match self.remaining {
            0 => Ok(()),
            missing => Err(LengthError::TooShort { missing }),
        }
    }
}

impl fmt::Display for LengthError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LengthError::TooLong { excess } => {
                write!(f, "the content is {excess} bytes longer than its declared length")
            }
            LengthError::TooShort { missing } => {
                write!(f, "the content is {missing} bytes shorter than its declared length")
            }
        }
    }
}

impl std::error::Error for LengthError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc9112_6_3_content_of_just_the_declared_length_is_right() {
        let mut declared = Declared::new(7);
        for len in [3, 0, 4] {
            assert_eq!(declared.count(len), Ok(()));
        }
        assert_eq!((declared.remaining(), declared.finish()), (0, Ok(())));
        assert_eq!(Declared::new(7).remaining(), 7);
        assert_eq!(Declared::new(0).finish(), Ok(()));
    }

    #[test]
    fn a_piece_that_is_too_long_is_refused_whole() {
        let mut declared = Declared::new(2);
        assert_eq!(
            declared.count(usize::MAX),
            Err(LengthError::TooLong { excess: usize::MAX as u64 - 2 })
        );
        assert_eq!(
            (declared.count(2), declared.count(1)),
            (Ok(()), Err(LengthError::TooLong { excess: 1 }))
        );
    }

    #[test]
    fn rfc9112_8_content_that_ends_early_says_by_how_much() {
        let error = Declared::new(3).finish().expect_err("nothing has come");
        assert_eq!(error.to_string(), "the content is 3 bytes shorter than its declared length");
    }
}
