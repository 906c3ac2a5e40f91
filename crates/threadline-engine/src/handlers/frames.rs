//! Frame handlers: a function from one length-prefixed frame to its reply.

use std::fmt;
use std::sync::Arc;

use tracing::field::display;

use crate::connection::Session;
use crate::contained::Contained;
use crate::log::limited;
use crate::protocol::{
    AfterRefusal, Answer, CallError, Offence, Outcome, Phase, Protocol, Refusal, Step, Timeouts,
    Turn,
};
use crate::route::{Hint, Route};

type Handler = dyn Fn(&[u8], &mut Session) -> Option<Vec<u8>> + Send + Sync;

/// Bytes of a frame's length, before its content.
const PREFIX: usize = 4;

/// A service of binary frames: four bytes of length (big-endian, the length itself not counted),
/// then so many bytes. Each is answered by a frame, and between frames the connection is parked.
///
/// A frame that is too long is answered by an empty frame, and the connection is closed; likewise one that
/// is cut off, because the client sends no more.
///
/// ```
/// use threadline_engine::Frames;
///
/// let reverse = Frames::new(|frame, _session| Some(frame.iter().rev().copied().collect()));
/// ```
pub struct Frames {
    handler: Contained<Box<Handler>>,
    route: Arc<Route>,
    timeouts: Timeouts,
    length_max: usize,
}

impl fmt::Debug for Frames {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Frames").field("route", &self.route.name()).finish_non_exhaustive()
    }
}

impl Frames {
    /// A service that answers each frame with what `handler` returns, or not at all for `None`.
    pub fn new(
        handler: impl Fn(&[u8], &mut Session) -> Option<Vec<u8>> + Send + Sync + 'static,
    ) -> Self {
        Frames {
            handler: Contained::new(Box::new(handler)),
            route: Route::new("frames"),
            timeouts: Timeouts::default(),
            length_max: 1024 * 1024,
        }
    }

    /// A frame with this content as it goes over the wire, for [`Sender::send`](crate::Sender::send).
    /// What is beyond 4 GB is cut off.
    ///
    /// ```
    /// assert_eq!(threadline_engine::Frames::encode(b"news"), b"\0\0\0\x04news");
    /// ```
    pub fn encode(content: &[u8]) -> Vec<u8> {
        let mut frame = Vec::with_capacity(PREFIX + content.len());
        append(&mut frame, content);
        frame
    }

    /// A name for logs and counters. Default `frames`.
    pub fn name(mut self, name: &str) -> Self {
        self.route = Route::new(name);
        self
    }

    /// What is known of the handler beforehand. Set the name first.
    pub fn hint(mut self, hint: Hint) -> Self {
        self.route = Route::with_hint(self.route.name(), hint);
        self
    }

    /// The longest frame in bytes. Default 1 MB.
    pub fn length_max(mut self, bytes: usize) -> Self {
        self.length_max = bytes.min(u32::MAX as usize);
        self
    }

    /// Deadlines. `head` is for the length, `body` for the content.
    pub fn timeouts(mut self, timeouts: Timeouts) -> Self {
        self.timeouts = timeouts;
        self
    }

    fn answer_frame(&self, frame: &[u8], turn: &mut Turn<'_>) -> Step {
        let mut reply = None;
        let called = turn.call_handler(&self.route, |session| {
            reply = (self.handler)(frame, session);
        });
        let start = turn.out().len();
        if let Some(reply) = &reply {
            append(turn.out(), reply);
        }
        if let Some(took) = turn.took() {
            let (route, peer) = (self.route.name(), turn.peer_addr().map(display));
            let (bytes, reply) = (frame.len(), turn.out().len() - start);
            let (duration_us, panicked) = (took.as_micros() as u64, called.is_err());
            tracing::debug!(peer, route, bytes, reply, duration_us, panicked, "frame");
        }
        let len = PREFIX + frame.len();
        match called {
            Ok(()) => Step::Next { consumed: len },
            Err(CallError::Offload) => Step::Offload { len },
            // The peer may be counting replies: a frame short is a closed connection, not a gap.
            Err(CallError::Panicked) => Step::Close,
        }
    }
}

fn append(out: &mut Vec<u8>, content: &[u8]) {
    // More than 4 GB do not fit the protocol.
    let length = u32::try_from(content.len()).unwrap_or(u32::MAX);
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(&content[..length as usize]);
}

fn content_length(input: &[u8]) -> Option<usize> {
    let prefix = input.first_chunk::<PREFIX>()?;
    Some(u32::from_be_bytes(*prefix) as usize)
}

impl Protocol for Frames {
    fn name(&self) -> &'static str {
        "frames"
    }

    fn step(&self, input: &[u8], turn: &mut Turn<'_>) -> Step {
        let Some(length) = content_length(input) else {
            return Step::Partial { phase: Phase::Head, want: PREFIX };
        };
        if length > self.length_max {
            turn.count(Offence::TooLong);
            let (route, peer) = (self.route.name(), turn.peer_addr().map(display));
            let max = self.length_max;
            tracing::debug!(peer, route, bytes = length, "frame refused: longer than {max} bytes");
            append(turn.out(), &[]);
            return Step::Close;
        }
        match input[PREFIX..].get(..length) {
            Some(frame) => self.answer_frame(frame, turn),
            None => Step::Partial { phase: Phase::Body, want: PREFIX + length },
        }
    }

    fn end_of_input(&self, input: &[u8], turn: &mut Turn<'_>) -> Step {
        // While the service drains, it may have ended the input itself.
        if !turn.draining() {
            turn.count(Offence::Malformed);
            let (route, peer) = (self.route.name(), turn.peer_addr().map(display));
            let bytes = input.len();
            tracing::debug!(peer, route, bytes, "frame refused: the client sends no more of it");
        }
        append(turn.out(), &[]);
        Step::Close
    }

    fn answer(&self, answer: &mut Answer, turn: &mut Turn<'_>) -> Step {
        let frame = answer.take::<Vec<u8>>();
        if frame.is_none() && matches!(answer.outcome(), Outcome::Answered(_)) {
            let hint = "`session.defer()` of a frame must be a `Deferred<Vec<u8>>`";
            limited!(error, route: self.route.name(), "an answer is not a frame", hint);
        }
        append(turn.out(), &frame.unwrap_or_default());
        Step::Next { consumed: 0 }
    }

    fn refuse(&self, why: Refusal, input: &[u8], out: &mut Vec<u8>) -> AfterRefusal {
        append(out, &[]);
        match (why, content_length(input)) {
            (Refusal::Overloaded, Some(length)) if input.len() >= PREFIX + length => {
                AfterRefusal::Continue { consumed: PREFIX + length }
            }
            _ => AfterRefusal::Close,
        }
    }

    fn routes(&self) -> Vec<Arc<Route>> {
        vec![Arc::clone(&self.route)]
    }

    fn timeouts(&self) -> &Timeouts {
        &self.timeouts
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::time::Duration;

    use super::*;

    fn frames() -> Frames {
        Frames::new(|frame, _| Some(frame.to_vec()))
    }

    #[test]
    fn a_frame_on_the_wire_begins_with_its_length() {
        assert_eq!(Frames::encode(b""), b"\0\0\0\0");
        assert_eq!(Frames::encode(&[7; 258]), [&b"\0\0\x01\x02"[..], &[7; 258]].concat());
    }

    #[test]
    fn a_refusal_is_an_empty_frame_and_only_a_whole_frame_is_skipped() {
        let refuse = |why, input: &[u8]| {
            let mut out = b"before".to_vec();
            let after = frames().refuse(why, input, &mut out);
            assert_eq!(out, b"before\0\0\0\0");
            after
        };
        for (input, consumed) in
            [(&b"\0\0\0\x02ab"[..], 6), (b"\0\0\0\x02ab\0\0", 6), (b"\0\0\0\0", 4)]
        {
            assert_eq!(refuse(Refusal::Overloaded, input), AfterRefusal::Continue { consumed });
            let timed_out = Refusal::TimedOut(Phase::Body);
            assert_eq!(refuse(timed_out, input), AfterRefusal::Close);
        }
        for input in [&b""[..], b"\0\0\0", b"\0\0\0\x02a"] {
            assert_eq!(refuse(Refusal::Overloaded, input), AfterRefusal::Close, "{input:?}");
        }
    }

    #[test]
    fn settings_are_kept() {
        let timeouts = Timeouts { head: Some(Duration::from_secs(1)), ..Timeouts::default() };
        let frames = frames().name("telemetry").timeouts(timeouts);
        let protocol: &dyn Protocol = &frames;
        assert_eq!((protocol.name(), *protocol.timeouts()), ("frames", timeouts));
        assert!(format!("{frames:?}").contains("telemetry"));
    }
}
