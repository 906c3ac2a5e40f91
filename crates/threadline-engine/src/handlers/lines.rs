//! Line handlers: a function from one line of text to its reply.

use std::fmt;
use std::sync::Arc;

use tracing::field::display;

use crate::connection::Session;
use crate::contained::Contained;
use crate::log::{Bytes, limited};
use crate::protocol::{
    AfterRefusal, Answer, CallError, Offence, Outcome, Phase, Protocol, Refusal, Step, Timeouts,
    Turn,
};
use crate::route::{Hint, Route};

/// Each is dropped by itself: two that panic then must not meet.
type Handler = dyn Fn(&str, &mut Session) -> Option<String> + Send + Sync;
type Opened = dyn Fn(&mut Session) -> Option<String> + Send + Sync;
type Closed = dyn Fn(&mut Session) + Send + Sync;

/// A service of text lines: each is answered, and between lines the connection is parked.
///
/// A line ends with `\n` or `\r\n`, which the handler does not see; a reply gets a `\n` if it lacks
/// one. The last line of a client that sends no more may lack its end; while the service drains, such a
/// line is answered by an error line, as the drain may have cut it off. A line that is too long or is not
/// UTF-8 is answered by an error line, and the connection is closed unless [`Lines::on_invalid`] says otherwise.
///
/// ```
/// use threadline_engine::Lines;
///
/// let upper = Lines::new(|line, _session| Some(line.to_uppercase()));
/// ```
pub struct Lines {
    handler: Contained<Box<Handler>>,
    opened: Option<Contained<Box<Opened>>>,
    closed: Option<Contained<Box<Closed>>>,
    route: Arc<Route>,
    timeouts: Timeouts,
    length_max: usize,
    invalid: Invalid,
}

/// What becomes of a connection after a line that is not UTF-8.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Invalid {
    /// An error line, then close: the peer speaks something else.
    #[default]
    Close,
    /// An error line, and on with the next.
    Answer,
    /// Each bad sequence becomes U+FFFD, and the handler gets the line.
    Replace,
}

impl fmt::Debug for Lines {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lines").field("route", &self.route.name()).finish_non_exhaustive()
    }
}

impl Lines {
    /// A service that answers each line with what `handler` returns, or not at all for `None`.
    pub fn new(
        handler: impl Fn(&str, &mut Session) -> Option<String> + Send + Sync + 'static,
    ) -> Self {
        Lines {
            handler: Contained::new(Box::new(handler)),
            opened: None,
            closed: None,
            route: Route::new("lines"),
            timeouts: Timeouts::default(),
            length_max: 64 * 1024,
            invalid: Invalid::default(),
        }
    }

    /// Runs when a client has connected; what it returns is the greeting. Runs on a pool thread.
    pub fn on_open(
        mut self,
        opened: impl Fn(&mut Session) -> Option<String> + Send + Sync + 'static,
    ) -> Self {
        self.opened = Some(Contained::new(Box::new(opened)));
        self
    }

    /// Runs once when a connection has ended, on a pool thread.
    pub fn on_close(mut self, closed: impl Fn(&mut Session) + Send + Sync + 'static) -> Self {
        self.closed = Some(Contained::new(Box::new(closed)));
        self
    }

    /// A name for logs and counters. Default `lines`.
    pub fn name(mut self, name: &str) -> Self {
        self.route = Route::new(name);
        self
    }

    /// What is known of the handler beforehand. Set the name first.
    pub fn hint(mut self, hint: Hint) -> Self {
        self.route = Route::with_hint(self.route.name(), hint);
        self
    }

    /// The longest line in bytes, its end not counted. Default 64 KB.
    pub fn length_max(mut self, bytes: usize) -> Self {
        self.length_max = bytes;
        self
    }

    /// What becomes of a line that is not UTF-8. Default: an error line, then close.
    pub fn on_invalid(mut self, then: Invalid) -> Self {
        self.invalid = then;
        self
    }

    /// Deadlines. `head` is for a whole line.
    pub fn timeouts(mut self, timeouts: Timeouts) -> Self {
        self.timeouts = timeouts;
        self
    }

    fn answer_line(&self, line: &[u8], consumed: usize, turn: &mut Turn<'_>) -> Step {
        let text = match std::str::from_utf8(line) {
            Ok(text) => text.into(),
            Err(_) if self.invalid == Invalid::Replace => String::from_utf8_lossy(line),
            Err(error) => {
                turn.count(Offence::Malformed);
                let (route, peer) = (self.route.name(), turn.peer_addr().map(display));
                let begin = Bytes(line, SHOWN_MAX);
                tracing::debug!(peer, route, bytes = line.len(), %begin, "line refused: {error}");
                turn.out().extend_from_slice(b"error: the line is not UTF-8\n");
                return match self.invalid {
                    Invalid::Close => Step::Close,
                    _ => Step::Next { consumed },
                };
            }
        };
        let mut reply = None;
        let called = turn.call_handler(&self.route, |session| {
            reply = (self.handler)(&text, session);
        });
        let start = turn.out().len();
        if let Some(reply) = &reply {
            push_line(turn.out(), reply);
        }
        if let Some(took) = turn.took() {
            let (route, peer) = (self.route.name(), turn.peer_addr().map(display));
            let (bytes, reply) = (line.len(), turn.out().len() - start);
            let (duration_us, panicked) = (took.as_micros() as u64, called.is_err());
            tracing::debug!(peer, route, bytes, reply, duration_us, panicked, "line");
        }
        match called {
            Ok(()) => Step::Next { consumed },
            Err(CallError::Offload) => Step::Offload { len: consumed },
            Err(CallError::Panicked) => {
                turn.out().extend_from_slice(b"error: internal error\n");
                Step::Close
            }
        }
    }
}

/// How much of a refused line the log shows, in bytes.
const SHOWN_MAX: usize = 64;

fn push_line(out: &mut Vec<u8>, line: &str) {
    out.extend_from_slice(line.as_bytes());
    if !line.ends_with('\n') {
        out.push(b'\n');
    }
}

impl Protocol for Lines {
    fn name(&self) -> &'static str {
        "lines"
    }

    fn step(&self, input: &[u8], turn: &mut Turn<'_>) -> Step {
        // What an earlier step has seen holds no line end.
        let from = turn.seen().min(input.len());
        let end = memchr::memchr(b'\n', &input[from..]).map(|at| from + at);
        let (line, consumed) = match end {
            Some(end) => (input[..end].strip_suffix(b"\r").unwrap_or(&input[..end]), end + 1),
            // A `\r` at the end may be half of the line's end.
            None => (input.strip_suffix(b"\r").unwrap_or(input), 0),
        };
        if line.len() > self.length_max {
            let message = format!("error: the line is longer than {} bytes\n", self.length_max);
            turn.count(Offence::TooLong);
            let (route, peer) = (self.route.name(), turn.peer_addr().map(display));
            let (bytes, begin) = (line.len(), Bytes(line, SHOWN_MAX));
            let max = self.length_max;
            tracing::debug!(peer, route, bytes, %begin, "line refused: longer than {max} bytes");
            turn.out().extend_from_slice(message.as_bytes());
            return Step::Close;
        }
        match end {
            Some(_) => self.answer_line(line, consumed, turn),
            None => Step::Partial { phase: Phase::Head, want: 0 },
        }
    }

    fn end_of_input(&self, input: &[u8], turn: &mut Turn<'_>) -> Step {
        if turn.draining() {
            // The service may have ended the input in the middle of the line.
            let (route, peer) = (self.route.name(), turn.peer_addr().map(display));
            tracing::debug!(
                peer,
                route,
                bytes = input.len(),
                "line refused: a drain may have cut it off"
            );
            turn.out().extend_from_slice(b"error: shutting down, the line is not whole\n");
            return Step::Close;
        }
        self.answer_line(input.strip_suffix(b"\r").unwrap_or(input), input.len(), turn)
    }

    fn answer(&self, answer: &mut Answer, turn: &mut Turn<'_>) -> Step {
        match answer.take::<String>() {
            Some(line) => push_line(turn.out(), &line),
            None => turn.out().extend_from_slice(match answer.outcome() {
                Outcome::TimedOut => b"error: timed out\n",
                Outcome::Dropped => b"error: no reply\n",
                Outcome::Answered(_) => {
                    let hint = "`session.defer()` of a line must be a `Deferred<String>`";
                    limited!(error, route: self.route.name(), "an answer is not text", hint);
                    b"error: no reply\n"
                }
            }),
        }
        Step::Next { consumed: 0 }
    }

    fn refuse(&self, why: Refusal, input: &[u8], out: &mut Vec<u8>) -> AfterRefusal {
        let message: &[u8] = match why {
            Refusal::Overloaded => b"error: overloaded, try again later\n",
            Refusal::TimedOut(_) => b"error: timed out\n",
            Refusal::TooManyConnections => b"error: too many connections\n",
        };
        out.extend_from_slice(message);
        match memchr::memchr(b'\n', input) {
            Some(end) => AfterRefusal::Continue { consumed: end + 1 },
            None => AfterRefusal::Close,
        }
    }

    fn routes(&self) -> Vec<Arc<Route>> {
        vec![Arc::clone(&self.route)]
    }

    fn timeouts(&self) -> &Timeouts {
        &self.timeouts
    }

    fn opened(&self, session: &mut Session, out: &mut Vec<u8>) {
        if let Some(greeting) = self.opened.as_ref().and_then(|opened| opened(session)) {
            push_line(out, &greeting);
        }
    }

    fn closed(&self, session: &mut Session) {
        if let Some(closed) = &self.closed {
            closed(session);
        }
    }

    fn has_hooks(&self) -> bool {
        self.opened.is_some() || self.closed.is_some()
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_refusal_is_an_error_line_and_only_a_whole_line_is_skipped() {
        let lines = Lines::new(|line, _| Some(line.to_owned()));
        for (why, told) in [
            (Refusal::Overloaded, "error: overloaded, try again later\n"),
            (Refusal::TimedOut(Phase::Head), "error: timed out\n"),
            (Refusal::TooManyConnections, "error: too many connections\n"),
        ] {
            for (input, after) in [
                (&b"ab\ncd"[..], AfterRefusal::Continue { consumed: 3 }),
                (b"\n", AfterRefusal::Continue { consumed: 1 }),
                (b"ab", AfterRefusal::Close),
                (b"", AfterRefusal::Close),
            ] {
                let mut out = Vec::new();
                assert_eq!(lines.refuse(why, input, &mut out), after, "{input:?}");
                assert_eq!(String::from_utf8_lossy(&out), told);
            }
        }
    }

    #[test]
    fn settings_are_kept() {
        let timeouts = Timeouts { head: Some(Duration::from_secs(1)), ..Timeouts::default() };
        let lines = Lines::new(|_, _| None).name("chat").timeouts(timeouts);
        let protocol: &dyn Protocol = &lines;
        assert_eq!((protocol.name(), *protocol.timeouts()), ("lines", timeouts));
        assert!(format!("{lines:?}").contains("chat"));
        assert!(!lines.has_hooks());
        assert!(Lines::new(|_, _| None).on_open(|_| None).has_hooks());
        assert!(Lines::new(|_, _| None).on_close(|_| {}).has_hooks());
    }
}
