//! The syntax of a multipart body (RFC 2046 §5.1.1) as a state machine: bytes in, [`Step`]s out.
//!
//! Driven by `stream.rs`. Never does I/O, never keeps or copies bytes: what it cannot decide yet stays
//! with the caller, bounded by the limits. How the bytes are cut never makes a difference. What the
//! fields of a part mean is for `headers.rs`.
//!
//! ```text
//!                      no boundary                      boundary
//!   LineStart ------------------------> Text ---------------------------> Delimiter
//!     ^   |            (or at the start of the line: boundary at once)     |    |
//!     |   +--------------------------------------------------------------->+    | "--"
//!     |                                                     padding, CRLF  |    v
//!     +-------------- empty line ---------------- Headers <----------------+  Closing --CRLF--> Epilogue
//! ```

use memchr::{memmem, memrchr};

use super::{Boundary, MultipartLimits, ParseError, Step};

/// Splits a multipart body into parts.
///
/// ```
/// use threadline_http::multipart::{Boundary, MultipartLimits, Parser, Step};
///
/// let mut parser = Parser::new(Boundary::new("b")?, MultipartLimits::default());
/// let body = b"--b\r\nX: 1\r\n\r\nhi\r\n--b--";
/// assert_eq!(parser.advance(body), Ok(Step::Head { fields: 5..11, consumed: 13 }));
/// assert_eq!(parser.advance(&body[13..]), Ok(Step::Content(0..2)));
/// assert_eq!(parser.advance(&body[15..]), Ok(Step::PartEnd { consumed: 7 }));
/// assert_eq!(parser.advance(&body[22..]), Ok(Step::Partial { consumed: 0 }));
/// assert_eq!(parser.end(&body[22..]), Ok(()));
/// # Ok::<(), threadline_http::multipart::MultipartError>(())
/// ```
#[derive(Debug, Clone)]
pub struct Parser {
    boundary: Boundary,
    /// Finds the boundary with the line end before it.
    finder: memmem::Finder<'static>,
    limits: MultipartLimits,
    state: State,
    /// Bytes of the preamble, or of the current part's content, that have been seen.
    len: u64,
    /// How many parts have begun, the current one included.
    parts: usize,
    failed: Option<ParseError>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// At the start of a line, where a boundary may stand without a line end of its own.
    LineStart(Text),
    Text(Text),
    /// Behind a boundary.
    Delimiter(Text),
    /// Behind a boundary and something that is not a final one's dashes.
    Padding(Text),
    /// In a part's field lines. Their end does not begin in the first `scanned` bytes of the input.
    Headers {
        scanned: usize,
    },
    /// Behind the final boundary, on its line.
    Closing,
    Epilogue,
}

/// What a boundary ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Text {
    Preamble,
    Content,
}

/// What one look at the line behind a boundary says.
enum LineEnd {
    Here,
    NotYet,
}

impl Parser {
    /// A parser at the start of a body.
    pub fn new(boundary: Boundary, limits: MultipartLimits) -> Self {
        let finder = memmem::Finder::new(boundary.delimiter()).into_owned();
        Parser {
            boundary,
            finder,
            limits,
            state: State::LineStart(Text::Preamble),
            len: 0,
            parts: 0,
            failed: None,
        }
    }

    /// Sets other limits, for what has not been seen yet.
    pub fn set_limits(&mut self, limits: MultipartLimits) {
        self.limits = limits;
    }

    /// The limits.
    pub fn limits(&self) -> &MultipartLimits {
        &self.limits
    }

    /// How many parts have begun.
    pub fn parts(&self) -> usize {
        self.parts
    }

    /// Looks at the bytes that are not consumed yet.
    ///
    /// # Errors
    /// [`ParseError`] says what is wrong; it stays.
    pub fn advance(&mut self, input: &[u8]) -> Result<Step, ParseError> {
        if let Some(error) = self.failed {
            return Err(error);
        }
        let step = self.step(input);
        self.failed = step.as_ref().err().copied();
        step
    }

    /// Says that the body has ended. `rest` is what the last [`Parser::advance`] has not consumed.
    ///
    /// # Errors
    /// [`ParseError::Unfinished`] if the end has come too early.
    pub fn end(&mut self, rest: &[u8]) -> Result<(), ParseError> {
        if let Some(error) = self.failed {
            return Err(error);
        }
        match self.state {
            State::Epilogue => Ok(()),
            State::Closing if rest.is_empty() => Ok(()),
            _ => {
                self.failed = Some(ParseError::Unfinished);
                Err(ParseError::Unfinished)
            }
        }
    }

    fn step(&mut self, input: &[u8]) -> Result<Step, ParseError> {
        let mut at = 0;
        loop {
            let before = self.state;
            let step = match before {
                State::LineStart(text) => self.line_start(text, input, &mut at),
                State::Text(text) => self.text(text, input, &mut at)?,
                State::Delimiter(text) => self.delimiter(text, input, &mut at),
                State::Padding(text) => self.padding(text, input, &mut at)?,
                State::Headers { scanned } => Some(self.headers(input, at, scanned)?),
                State::Closing => self.closing(input, &mut at)?,
                State::Epilogue => Some(Step::Done { consumed: input.len() }),
            };
            if let Some(step) = step {
                return Ok(step);
            }
        }
    }

    fn line_start(&mut self, text: Text, input: &[u8], at: &mut usize) -> Option<Step> {
        let (line, rest) = (self.boundary.line_start(), &input[*at..]);
        if rest.starts_with(line) {
            *at += line.len();
            self.state = State::Delimiter(text);
        } else if line.starts_with(rest) {
            return Some(Step::Partial { consumed: *at });
        } else {
            self.state = State::Text(text);
        }
        None
    }

    fn text(
        &mut self,
        text: Text,
        input: &[u8],
        at: &mut usize,
    ) -> Result<Option<Step>, ParseError> {
        let rest = &input[*at..];
        let found = self.finder.find(rest);
        let len = found.unwrap_or_else(|| rest.len() - self.begun(rest));
        if len > 0 {
            return self.pass(text, len, at);
        }
        if found.is_none() {
            return Ok(Some(Step::Partial { consumed: *at }));
        }
        *at += self.boundary.delimiter().len();
        self.state = State::Delimiter(text);
        Ok(None)
    }

    /// How many bytes at the end may be the beginning of a delimiter. One begins with the only CR in
    /// it, so only the last CR can begin it.
    fn begun(&self, rest: &[u8]) -> usize {
        let delimiter = self.boundary.delimiter();
        let tail = &rest[rest.len().saturating_sub(delimiter.len() - 1)..];
        let begun = memrchr(b'\r', tail).map_or(&[][..], |cr| &tail[cr..]);
        if delimiter.starts_with(begun) { begun.len() } else { 0 }
    }

    /// Lets `len` bytes of text pass, or as many as there may be.
    fn pass(&mut self, text: Text, len: usize, at: &mut usize) -> Result<Option<Step>, ParseError> {
        let (max, error) = match text {
            Text::Preamble => (self.limits.preamble_len_max, ParseError::PreambleTooLarge),
            Text::Content => (self.limits.part_len_max, ParseError::PartTooLarge),
        };
        let left = usize::try_from(max.saturating_sub(self.len)).unwrap_or(usize::MAX);
        if left == 0 {
            return Err(error);
        }
        let range = *at..*at + len.min(left);
        self.len += range.len() as u64;
        *at = range.end;
        Ok((text == Text::Content).then_some(Step::Content(range)))
    }

    fn delimiter(&mut self, text: Text, input: &[u8], at: &mut usize) -> Option<Step> {
        match &input[*at..] {
            [b'-', b'-', ..] => {
                *at += 2;
                self.state = State::Closing;
                end_of(text, *at)
            }
            [] | [b'-'] => Some(Step::Partial { consumed: *at }),
            _ => {
                self.state = State::Padding(text);
                None
            }
        }
    }

    fn padding(
        &mut self,
        text: Text,
        input: &[u8],
        at: &mut usize,
    ) -> Result<Option<Step>, ParseError> {
        match line_end(input, at)? {
            LineEnd::NotYet => Ok(Some(Step::Partial { consumed: *at })),
            LineEnd::Here => {
                self.parts += 1;
                self.state = State::Headers { scanned: 0 };
                Ok(end_of(text, *at))
            }
        }
    }

    fn headers(&mut self, input: &[u8], at: usize, scanned: usize) -> Result<Step, ParseError> {
        if self.parts > self.limits.parts_max {
            return Err(ParseError::TooManyParts);
        }
        let rest = &input[at..];
        let len = if rest.starts_with(b"\r\n") {
            Some(2)
        } else {
            memmem::find(&rest[scanned..], b"\r\n\r\n").map(|found| scanned + found + 4)
        };
        let max = self.limits.headers_len_max;
        match len {
            Some(len) if len <= max => {
                self.len = 0;
                self.state = State::LineStart(Text::Content);
                Ok(Step::Head { fields: at..at + len - 2, consumed: at + len })
            }
            None if rest.len() < max => {
                self.state = State::Headers { scanned: rest.len().saturating_sub(3) };
                Ok(Step::Partial { consumed: at })
            }
            _ => Err(ParseError::HeadersTooLarge),
        }
    }

    fn closing(&mut self, input: &[u8], at: &mut usize) -> Result<Option<Step>, ParseError> {
        match line_end(input, at)? {
            LineEnd::NotYet => Ok(Some(Step::Partial { consumed: *at })),
            LineEnd::Here => {
                self.state = State::Epilogue;
                Ok(None)
            }
        }
    }
}

/// A boundary ends a part, or a preamble, which is not reported.
fn end_of(text: Text, consumed: usize) -> Option<Step> {
    (text == Text::Content).then_some(Step::PartEnd { consumed })
}

/// Skips what may stand behind a boundary on its line: `transport-padding` (RFC 2046 §5.1.1).
fn line_end(input: &[u8], at: &mut usize) -> Result<LineEnd, ParseError> {
    *at += input[*at..].iter().take_while(|byte| matches!(byte, b' ' | b'\t')).count();
    match &input[*at..] {
        [b'\r', b'\n', ..] => {
            *at += 2;
            Ok(LineEnd::Here)
        }
        [] | [b'\r'] => Ok(LineEnd::NotYet),
        _ => Err(ParseError::Delimiter),
    }
}
