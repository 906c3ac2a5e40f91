//! Decodes a chunked body as it comes.
//!
//! Called by [`body::Reader`](crate::body::Reader). The framing between the contents of two chunks is
//! taken byte by byte, so that a piece may end anywhere and nothing has to be kept; content is passed
//! by in one stride. Only the trailer section is left where it is until it is whole, so that its
//! fields can be borrowed; it is bounded, and most are two bytes long.
//!
//! It must never take a line end, a size or an extension that another decoder could read differently.

use std::mem;

use crate::body::chunked::extension::Part;
use crate::body::trailers::{Part as TrailerPart, is_refused_line};
use crate::body::{BodyError, Limits, Step, Trailers};

/// Finds the content in a chunked body.
///
/// ```text
///              digits         ;      text         CR, LF, size 0
///   (new) --> Size ----> Extension -------+----------------------> Trailers --> Done
///              ^  |                       |                         line by line
///              |  +-------- CR -----------+
///              |                          | CR, LF, size > 0
///              |     LF         CR        v
///              +------- ContentEnd <-- Content --> Step::Content
/// ```
///
/// ```
/// use threadline_proto::body::{Limits, Step, chunked::Decoder};
///
/// let mut decoder = Decoder::new(&Limits::default());
/// // Cut in the middle of a size: nothing of it has to be fed again.
/// assert_eq!(decoder.advance(b"0")?, Step::Partial { consumed: 1 });
/// assert_eq!(decoder.advance(b"005\r\nhello\r\n0\r\n\r\n")?, Step::Content(5..10));
/// assert!(matches!(decoder.advance(b"\r\n0\r\n\r\n")?, Step::Done { consumed: 7, .. }));
/// # Ok::<(), threadline_proto::body::BodyError>(())
/// ```
#[derive(Debug, Clone)]
pub struct Decoder {
    state: State,
    /// Bytes of all extensions so far.
    extensions_len: usize,
    limits: Limits,
}

#[derive(Debug, Clone, Copy)]
enum State {
    /// Between the contents of two chunks.
    Framing(Framing),
    /// In the content of a chunk; at least one byte is to come.
    Content {
        remaining: u64,
    },
    Trailers(Section),
    Done,
    Failed(BodyError),
}

/// How far the trailer section has been followed. It begins with the next byte that is not consumed.
#[derive(Debug, Clone, Copy)]
struct Section {
    /// Where its last line begins, counted from its start, and where the next byte stands.
    line: usize,
    at: usize,
    part: TrailerPart,
    /// How many lines have begun.
    fields: usize,
}

impl Section {
    const START: Section = Section { line: 0, at: 0, part: TrailerPart::Line, fields: 0 };
}

/// What is taken byte by byte.
#[derive(Debug, Clone, Copy)]
enum Framing {
    /// Before or in the digits of a size.
    Size {
        size: u64,
        digits: u8,
    },
    /// Behind the size of a chunk; `len` counts its extensions with the first `;`.
    Extension {
        size: u64,
        len: usize,
        part: Part,
    },
    /// Behind the `CR` of a chunk's first line.
    SizeLf {
        size: u64,
    },
    /// Behind the content of a chunk.
    ContentCr,
    ContentLf,
}

impl Framing {
    const START: Framing = Framing::Size { size: 0, digits: 0 };
}

/// What 64 bits have room for. Leading zeros count: no sender needs them.
const DIGITS_MAX: u8 = 16;

impl Decoder {
    /// A decoder at the beginning of a body.
    pub fn new(limits: &Limits) -> Self {
        Decoder { state: State::Framing(Framing::START), extensions_len: 0, limits: *limits }
    }

    /// Says what the next bytes of the body are.
    ///
    /// `input` begins with the first byte that was not consumed before; it may be empty, and may hold
    /// more than the body. Behind the end of the body this says `Done`, with nothing consumed.
    ///
    /// # Errors
    /// [`BodyError`] says which rule is broken; every later call says the same.
    pub fn advance<'i>(&mut self, input: &'i [u8]) -> Result<Step<'i>, BodyError> {
        let step = self.try_advance(input);
        if let Err(error) = step {
            self.state = State::Failed(error);
        }
        step
    }

    /// Whether the body has been seen to its end.
    pub fn is_done(&self) -> bool {
        matches!(self.state, State::Done)
    }

    /// To be asked when the peer sends no more: whether that is an end in the middle of the body
    /// (RFC 9112 §8).
    ///
    /// # Errors
    /// [`BodyError::EndsEarly`] if the body is not whole, or what was wrong with it before.
    pub fn end_of_input(&self) -> Result<(), BodyError> {
        match self.state {
            State::Done => Ok(()),
            State::Failed(error) => Err(error),
            _ => Err(BodyError::EndsEarly),
        }
    }

    fn try_advance<'i>(&mut self, input: &'i [u8]) -> Result<Step<'i>, BodyError> {
        let mut at = 0;
        loop {
            match self.state {
                State::Framing(framing) => {
                    let Some(&byte) = input.get(at) else {
                        return Ok(Step::Partial { consumed: at });
                    };
                    self.state = self.framing_byte(framing, byte)?;
                    at += 1;
                }
                State::Content { .. } if at == input.len() => {
                    return Ok(Step::Partial { consumed: at });
                }
                State::Content { remaining } => return Ok(self.content(input, at, remaining)),
                State::Trailers(section) => return self.trailers(input, at, section),
                State::Done => return Ok(Step::Done { consumed: at, trailers: Trailers::NONE }),
                State::Failed(error) => return Err(error),
            }
        }
    }

    fn content<'i>(&mut self, input: &'i [u8], at: usize, remaining: u64) -> Step<'i> {
        let there = input.len() - at;
        let len = usize::try_from(remaining).map_or(there, |remaining| remaining.min(there));
        self.state = match remaining - len as u64 {
            0 => State::Framing(Framing::ContentCr),
            remaining => State::Content { remaining },
        };
        Step::Content(at..at + len)
    }

    fn framing_byte(&mut self, framing: Framing, byte: u8) -> Result<State, BodyError> {
        let next = match (framing, byte) {
            (Framing::Size { size, digits }, _) => Self::size(size, digits, byte)?,
            (Framing::Extension { size, len, part }, _) => self.extension(size, len, part, byte)?,
            (Framing::SizeLf { size: 0 }, b'\n') => {
                return Ok(State::Trailers(Section::START));
            }
            (Framing::SizeLf { size }, b'\n') => return Ok(State::Content { remaining: size }),
            (Framing::SizeLf { .. }, _) => return Err(BodyError::LineEnd),
            (Framing::ContentCr, b'\r') => Framing::ContentLf,
            (Framing::ContentLf, b'\n') => Framing::START,
            (Framing::ContentCr | Framing::ContentLf, _) => return Err(BodyError::ChunkEnd),
        };
        Ok(State::Framing(next))
    }

    fn size(size: u64, digits: u8, byte: u8) -> Result<Framing, BodyError> {
        match (char::from(byte).to_digit(16), byte) {
            (Some(_), _) if digits == DIGITS_MAX => Err(BodyError::ChunkSizeTooLarge),
            (Some(digit), _) => {
                Ok(Framing::Size { size: size << 4 | u64::from(digit), digits: digits + 1 })
            }
            _ if digits == 0 => Err(BodyError::ChunkSize),
            (_, b'\r') => Ok(Framing::SizeLf { size }),
            (_, b'\n') => Err(BodyError::LineEnd),
            (_, b';') => Ok(Framing::Extension { size, len: 1, part: Part::Start }),
            _ => Err(BodyError::ChunkSize),
        }
    }

    fn extension(
        &mut self,
        size: u64,
        len: usize,
        part: Part,
        byte: u8,
    ) -> Result<Framing, BodyError> {
        match byte {
            b'\r' if part.may_end() => {
                // Counted when they end: those of one chunk are over by no more than their own bound.
                self.extensions_len += len;
                if self.extensions_len > self.limits.extensions_len_max {
                    return Err(BodyError::ChunkExtensionsTooLarge);
                }
                Ok(Framing::SizeLf { size })
            }
            b'\n' => Err(BodyError::LineEnd),
            _ if len >= self.limits.extension_len_max => Err(BodyError::ChunkExtensionsTooLarge),
            _ => {
                let part = part.next(byte).ok_or(BodyError::ChunkExtension)?;
                Ok(Framing::Extension { size, len: len + 1, part })
            }
        }
    }

    /// Follows the trailer section, which begins at `begin`, as far as it has come. Each byte is looked at
    /// once, however they come.
    fn trailers<'i>(
        &mut self,
        input: &'i [u8],
        begin: usize,
        mut section: Section,
    ) -> Result<Step<'i>, BodyError> {
        let (text, max) = (&input[begin..], self.limits.trailers_len_max);
        let within = &text[..text.len().min(max)];
        while section.at < within.len() {
            let is_first = section.part == TrailerPart::Line && within[section.at] != b'\r';
            if is_first && section.fields >= self.limits.trailers_max {
                return Err(BodyError::TooManyTrailers);
            }
            section.fields += usize::from(is_first);
            let (len, next) = section.part.follow(&within[section.at..])?;
            let part = mem::replace(&mut section.part, next);
            section.at += len;
            if next == TrailerPart::End {
                self.state = State::Done;
                let trailers = Trailers::of_checked(&text[..section.line]);
                return Ok(Step::Done { consumed: begin + section.at, trailers });
            }
            if part == TrailerPart::Lf {
                if is_refused_line(&text[section.line..section.at]) {
                    return Err(BodyError::TrailerForbidden);
                }
                section.line = section.at;
            }
        }
        if text.len() > max {
            return Err(BodyError::TrailersTooLarge);
        }
        self.state = State::Trailers(section);
        Ok(Step::Partial { consumed: begin })
    }
}
