//! What one look at the bytes of a multipart body says.
//!
//! Made by [`Parser::advance`](super::Parser::advance), and acted on by the code that has the bytes. Never
//! borrows from them, so that they can be moved in between.

use std::fmt;
use std::ops::Range;

/// What there is in the bytes that were fed, and how many of them are done with.
///
/// Ranges and counts are positions in that input. The next input begins with the first byte that was
/// not consumed, with whatever has come behind it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// A part begins. Its field lines, each with its line end, are at `fields`; its content follows.
    Head {
        /// Where the field lines are; empty if there are none.
        fields: Range<usize>,
        /// How many bytes of the input are done with.
        consumed: usize,
    },
    /// These bytes are content of the part, at least one. Everything up to the range's end is consumed.
    Content(Range<usize>),
    /// The part's content is at its end, and the boundary behind it is well formed.
    PartEnd {
        /// How many bytes of the input are done with.
        consumed: usize,
    },
    /// More bytes are needed to say more. What is left over is shorter than a part's header fields may
    /// be, or than a boundary's line.
    Partial {
        /// How many bytes of the input are done with.
        consumed: usize,
    },
    /// The final boundary has been seen. Whatever comes behind it is consumed and means nothing.
    Done {
        /// All bytes of the input.
        consumed: usize,
    },
}

/// Why the bytes are no multipart body. The client's fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ParseError {
    /// A boundary is followed by neither the end of its line nor two dashes.
    Delimiter,
    /// The body ends before its final boundary.
    Unfinished,
    /// More than [`MultipartLimits::preamble_len_max`](super::MultipartLimits::preamble_len_max) before the first boundary.
    PreambleTooLarge,
    /// More than [`MultipartLimits::parts_max`](super::MultipartLimits::parts_max).
    TooManyParts,
    /// The fields of a part are longer than [`MultipartLimits::headers_len_max`](super::MultipartLimits::headers_len_max).
    HeadersTooLarge,
    /// The content of a part is longer than [`MultipartLimits::part_len_max`](super::MultipartLimits::part_len_max).
    PartTooLarge,
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ParseError::Delimiter => "a boundary is not followed by the end of its line",
            ParseError::Unfinished => "the body ends before its final boundary",
            ParseError::PreambleTooLarge => "too much before the first boundary",
            ParseError::TooManyParts => "too many parts",
            ParseError::HeadersTooLarge => "the fields of a part are too long",
            ParseError::PartTooLarge => "a part is too long",
        })
    }
}

impl std::error::Error for ParseError {}
