//! A protocol of lines whose replies are numbered, so that several calls of a connection can be open at once.
//!
//! `now X` is answered with `X` at once. `up` and `both` upgrade the connection: `up` is answered, `both` opens a
//! call as well. Every other line opens a call that the test answers; the reply is `LINE=ANSWER`, `LINE dropped`
//! or `LINE late`. An answer that is `up` upgrades the connection.

use std::sync::mpsc::{self, Receiver};
use std::sync::{Arc, Mutex};

use threadline_engine::protocol::{Answer, Outcome};
use threadline_engine::{
    AfterRefusal, CallError, Deferred, Hint, MessageService, Phase, Protocol, Refusal, Route,
    Session, Step, Timeouts, Turn,
};

use crate::common::SECOND;

pub(crate) struct Numbered {
    calls_max: usize,
    messages: Arc<Route>,
    answers: Arc<Route>,
    timeouts: Timeouts,
    opened: Mutex<mpsc::Sender<(String, Deferred<String>)>>,
    successor: Option<MessageService>,
    has_hooks: bool,
}

/// The calls that have been opened.
pub(crate) struct Calls {
    opened: Receiver<(String, Deferred<String>)>,
}

impl Calls {
    /// Waits for the next call, which must be that of `line`.
    #[track_caller]
    pub(crate) fn next(&self, line: &str) -> Deferred<String> {
        let (opened, call) = self.opened.recv_timeout(SECOND * 10).expect("a call is opened");
        assert_eq!(opened, line);
        call
    }

    /// Whether there is no further call at the moment.
    pub(crate) fn is_empty(&self) -> bool {
        self.opened.try_recv().is_err()
    }
}

impl Numbered {
    /// The protocol with `calls_max` as its `deferred_max`.
    pub(crate) fn new(calls_max: usize) -> (Self, Calls) {
        let (tell, opened) = mpsc::channel();
        let numbered = Numbered {
            calls_max,
            messages: Route::with_hint("numbered", Hint::Inline),
            answers: Route::with_hint("numbered answers", Hint::Inline),
            timeouts: Timeouts::default(),
            opened: Mutex::new(tell),
            successor: None,
            has_hooks: false,
        };
        (numbered, Calls { opened })
    }

    /// Writes answers on a thread that may block.
    pub(crate) fn blocking_answers(self) -> Self {
        Numbered { answers: Route::with_hint("numbered answers", Hint::Blocking), ..self }
    }

    pub(crate) fn timeouts(self, timeouts: Timeouts) -> Self {
        Numbered { timeouts, ..self }
    }

    /// The protocol that connections are upgraded to.
    pub(crate) fn successor(self, successor: impl Protocol) -> Self {
        Numbered { successor: Some(MessageService::new(Arc::new(successor))), ..self }
    }

    /// With hooks, a pool thread upgrades connections.
    pub(crate) fn hooks(self, has_hooks: bool) -> Self {
        Numbered { has_hooks, ..self }
    }

    fn upgrade(&self, session: &mut Session) {
        session.upgrade(self.successor.clone().expect("a successor"));
    }

    fn defer(&self, line: &str, session: &mut Session) {
        let call = session.defer_with(line.to_owned());
        let told = self.opened.lock().expect("no panic").send((line.to_owned(), call));
        told.expect("the test listens");
    }
}

/// The step after a call.
fn after(called: Result<(), CallError>, len: usize) -> Step {
    match called {
        Ok(()) => Step::Next { consumed: len },
        Err(CallError::Offload) => Step::Offload { len },
        Err(CallError::Panicked) => Step::Close,
    }
}

impl Protocol for Numbered {
    fn name(&self) -> &'static str {
        "numbered"
    }

    fn step(&self, input: &[u8], turn: &mut Turn<'_>) -> Step {
        let Some(end) = input.iter().position(|byte| *byte == b'\n') else {
            return Step::Partial { phase: Phase::Head, want: 0 };
        };
        let line = std::str::from_utf8(&input[..end]).expect("text");
        let called = turn.call(&self.messages, |session, out| {
            if let Some(content) = line.strip_prefix("now ") {
                return out.extend_from_slice(format!("{content}\n").as_bytes());
            }
            if let "up" | "both" = line {
                self.upgrade(session);
            }
            if line == "up" { out.extend_from_slice(b"up\n") } else { self.defer(line, session) }
        });
        after(called, end + 1)
    }

    fn answer(&self, answer: &mut Answer, turn: &mut Turn<'_>) -> Step {
        let called = turn.call(&self.answers, |session, out| {
            let line: String = answer.take_context().expect("the line, once");
            let text = match answer.outcome() {
                Outcome::Dropped => format!("{line} dropped\n"),
                Outcome::TimedOut => format!("{line} late\n"),
                Outcome::Answered(_) => {
                    let text: String = answer.take().expect("a text");
                    if text == "up" {
                        self.upgrade(session);
                    }
                    format!("{line}={text}\n")
                }
            };
            out.extend_from_slice(text.as_bytes());
        });
        after(called, 0)
    }

    fn end_of_input(&self, input: &[u8], turn: &mut Turn<'_>) -> Step {
        turn.out().extend_from_slice(b"rest: ");
        turn.out().extend_from_slice(input);
        Step::Close
    }

    fn deferred_max(&self) -> usize {
        self.calls_max
    }

    fn refuse(&self, why: Refusal, _input: &[u8], out: &mut Vec<u8>) -> AfterRefusal {
        if let Refusal::TimedOut(Phase::Head) = why {
            out.extend_from_slice(b"late head");
        }
        AfterRefusal::Close
    }

    fn timeouts(&self) -> &Timeouts {
        &self.timeouts
    }

    fn has_hooks(&self) -> bool {
        self.has_hooks
    }
}
