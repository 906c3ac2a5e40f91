//! Feeds a request's body to the parser, and holds what the parser has not let go of.
//!
//! Used by [`Multipart`](super::Multipart) and its parts. A body that is here already is parsed where it
//! is; one that arrives goes through a buffer, which grows only as far as the header fields of one part
//! may.

use threadline_engine::protocol::StoredFile;

use super::head::PartHead;
use super::{Boundary, MultipartError, MultipartLimits, ParseError, Parser, PartError, Step};
use crate::body::{BodyError, BodyReader, Incoming};

/// See the module.
pub(super) struct Stream<'a> {
    source: Source<'a>,
    parser: Parser,
    /// How many bytes of content are at the front of what is unread.
    content_len: usize,
    /// The head of the part that has begun last.
    pub(super) head: PartHead,
    /// Whether that part is at its end: what comes next is not its content.
    part_ended: bool,
    failed: Option<Failure>,
}

/// Why reading cannot go on. Kept, and returned again by later calls.
#[derive(Debug, Clone, Copy)]
enum Failure {
    Body(BodyError),
    Syntax(ParseError),
    Head(PartError),
}

/// What has been found in the body.
enum Event {
    Head,
    Content,
    PartEnd,
    End,
}

impl<'a> Stream<'a> {
    pub(super) fn new(boundary: Boundary, body: Incoming<'a>, limits: MultipartLimits) -> Self {
        let parser = Parser::new(boundary, limits);
        let source = match body {
            Incoming::Whole(bytes) => Source::Whole(bytes),
            Incoming::Stored(_) | Incoming::Arriving(_) => {
                let reader = BodyReader::new(body);
                let stored = if let Incoming::Stored(file) = body { Some(file) } else { None };
                Source::Arriving { reader, stored, buffer: Vec::new(), start: 0, end: 0, gone: 0 }
            }
        };
        let head = PartHead::default();
        Stream { source, parser, content_len: 0, head, part_ended: false, failed: None }
    }

    pub(super) fn set_limits(&mut self, limits: MultipartLimits) {
        self.parser.set_limits(limits);
    }

    pub(super) fn limits(&self) -> &MultipartLimits {
        self.parser.limits()
    }

    /// Goes on to the next part, and whether there is one. What is left of the current one is skipped;
    /// behind the last one, the rest of the body.
    pub(super) fn next_part(&mut self) -> Result<bool, MultipartError> {
        loop {
            self.consume(self.content_len);
            match self.next()? {
                Event::Head => return Ok(true),
                Event::Content | Event::PartEnd => {}
                Event::End => return Ok(false),
            }
        }
    }

    /// Content of the current part, waited for where need be; none at its end.
    pub(super) fn content(&mut self) -> Result<&[u8], MultipartError> {
        if self.content_len == 0 && !self.part_ended {
            self.next()?;
        }
        Ok(&self.source.unread()[..self.content_len])
    }

    /// Marks this many bytes of the content as consumed.
    pub(super) fn consume(&mut self, count: usize) {
        let count = count.min(self.content_len);
        self.content_len -= count;
        self.source.consume(count);
    }

    /// The file that the body is in.
    pub(super) fn stored(&self) -> Option<StoredFile> {
        match &self.source {
            Source::Arriving { stored: Some(file), .. } => Some((*file).clone()),
            _ => None,
        }
    }

    /// How many bytes of the body are consumed.
    pub(super) fn position(&self) -> u64 {
        match &self.source {
            Source::Arriving { gone, start, .. } => gone + *start as u64,
            Source::Whole(_) => 0,
        }
    }

    /// What is wrong with the current part, with its name.
    pub(super) fn part_error(&self, error: PartError) -> MultipartError {
        MultipartError::Part { part: shown(&self.head.name), error }
    }

    /// How much room the buffer takes.
    #[cfg(test)]
    pub(super) fn buffer_len(&self) -> usize {
        match &self.source {
            Source::Whole(_) => 0,
            Source::Arriving { buffer, .. } => buffer.len(),
        }
    }

    fn next(&mut self) -> Result<Event, MultipartError> {
        let found = self.failed.map_or_else(|| self.find_event(), Err);
        self.part_ended = matches!(found, Ok(Event::PartEnd));
        found.map_err(|failure| {
            self.failed = Some(failure);
            self.error(failure)
        })
    }

    /// Looks for the next event. All content has been consumed.
    fn find_event(&mut self) -> Result<Event, Failure> {
        loop {
            match self.parser.advance(self.source.unread())? {
                Step::Head { fields, consumed } => {
                    let fields = &self.source.unread()[fields];
                    self.head = PartHead::parse(fields, self.parser.limits())?;
                    self.source.consume(consumed);
                    return Ok(Event::Head);
                }
                Step::Content(range) => {
                    self.source.consume(range.start);
                    self.content_len = range.len();
                    return Ok(Event::Content);
                }
                Step::PartEnd { consumed } => {
                    self.source.consume(consumed);
                    return Ok(Event::PartEnd);
                }
                Step::Partial { consumed } => {
                    self.source.consume(consumed);
                    if !self.source.fetch()? {
                        self.parser.end(self.source.unread())?;
                        return Ok(Event::End);
                    }
                }
                Step::Done { consumed } => {
                    self.source.consume(consumed);
                    if !self.source.fetch()? {
                        return Ok(Event::End);
                    }
                }
            }
        }
    }

    /// The failure, in words for the client.
    #[cold]
    fn error(&self, failure: Failure) -> MultipartError {
        let limits = self.parser.limits();
        let numbered =
            |error| MultipartError::Part { part: self.parser.parts().to_string(), error };
        match failure {
            Failure::Body(error) => MultipartError::Body(error),
            Failure::Head(error) => numbered(error),
            Failure::Syntax(error) => match error {
                ParseError::Delimiter => MultipartError::Delimiter,
                ParseError::Unfinished => MultipartError::Unfinished,
                ParseError::PreambleTooLarge => {
                    MultipartError::PreambleTooLarge { max: limits.preamble_len_max }
                }
                ParseError::TooManyParts => MultipartError::TooManyParts { max: limits.parts_max },
                ParseError::HeadersTooLarge => {
                    numbered(PartError::HeadersTooLarge { max: limits.headers_len_max })
                }
                ParseError::PartTooLarge => {
                    self.part_error(PartError::TooLarge { max: limits.part_len_max })
                }
            },
        }
    }
}

/// A part's name for people: in quotes, without control characters, not too long.
fn shown(name: &str) -> String {
    const CHARS_MAX: usize = 64;
    let start: String = name.chars().take(CHARS_MAX).collect();
    let more = if start.len() < name.len() { "..." } else { "" };
    format!("`{}{more}`", start.escape_debug())
}

/// Where the bytes come from.
enum Source<'a> {
    /// All are here: these are left.
    Whole(&'a [u8]),
    /// Those in `start..end` of the buffer are here and not consumed.
    Arriving {
        reader: BodyReader<'a>,
        /// The file that it comes from.
        stored: Option<&'a StoredFile>,
        buffer: Vec<u8>,
        start: usize,
        end: usize,
        /// How many bytes were before those of the buffer.
        gone: u64,
    },
}

/// How much room for reading there is at first.
const BUFFER_LEN: usize = 16 * 1024;

impl Source<'_> {
    /// Bytes that are here and not consumed.
    fn unread(&self) -> &[u8] {
        match self {
            Source::Whole(bytes) => bytes,
            Source::Arriving { buffer, start, end, .. } => &buffer[*start..*end],
        }
    }

    fn consume(&mut self, count: usize) {
        match self {
            Source::Whole(bytes) => *bytes = &bytes[count..],
            Source::Arriving { start, .. } => *start += count,
        }
    }

    /// Waits for more bytes, and says whether there are any. Few are left over when this is called.
    fn fetch(&mut self) -> Result<bool, BodyError> {
        let Source::Arriving { reader, buffer, start, end, gone, .. } = self else {
            return Ok(false);
        };
        *gone += *start as u64;
        buffer.copy_within(*start..*end, 0);
        (*start, *end) = (0, *end - *start);
        if *end == buffer.len() {
            buffer.resize((buffer.len() * 2).max(BUFFER_LEN), 0);
        }
        let count = reader.read_piece(&mut buffer[*end..])?;
        *end += count;
        Ok(count > 0)
    }
}

impl From<BodyError> for Failure {
    fn from(error: BodyError) -> Self {
        Failure::Body(error)
    }
}

impl From<ParseError> for Failure {
    fn from(error: ParseError) -> Self {
        Failure::Syntax(error)
    }
}

impl From<PartError> for Failure {
    fn from(error: PartError) -> Self {
        Failure::Head(error)
    }
}
