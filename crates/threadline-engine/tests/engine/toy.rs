//! A protocol that uses phases, `want`, `seen` and the memo, and checks what the engine passes to it.
//!
//! A message is its content's length in decimal, a colon and the content. The reply is the same with the
//! content in upper case. `close` and `quit` are the last message of their connection.

use std::sync::Arc;

use threadline_engine::{
    AfterRefusal, CallError, Hint, Phase, Protocol, Refusal, Route, Step, Timeouts, Turn,
};

pub(crate) struct Toy {
    route: Arc<Route>,
    timeouts: Timeouts,
}

/// The memo of an incomplete message.
struct Noted {
    /// Where the content begins, and its length.
    head: Option<(usize, usize)>,
    /// The number of bytes that were seen.
    seen: usize,
}

impl Toy {
    pub(crate) fn new() -> Self {
        Toy { route: Route::new("toy"), timeouts: Timeouts::default() }
    }

    pub(crate) fn hint(self, hint: Hint) -> Self {
        Toy { route: Route::with_hint("toy", hint), ..self }
    }

    pub(crate) fn timeouts(self, timeouts: Timeouts) -> Self {
        Toy { timeouts, ..self }
    }
}

pub(crate) fn message(content: &str) -> String {
    format!("{}:{content}", content.len())
}

pub(crate) fn reply(content: &str) -> String {
    message(&content.to_uppercase())
}

impl Protocol for Toy {
    fn name(&self) -> &'static str {
        "toy"
    }

    fn step(&self, input: &[u8], turn: &mut Turn<'_>) -> Step {
        let seen = turn.seen();
        let noted = turn.memo().take().map(|noted| *noted.downcast::<Noted>().expect("its own"));
        assert_eq!(noted.is_some(), seen > 0, "a note and {seen} bytes seen");
        let noted = noted.unwrap_or(Noted { head: None, seen: 0 });
        assert_eq!(noted.seen, seen, "of the same message");
        assert!(input.len() > seen, "there is something new");
        let head = noted.head.or_else(|| {
            let colon = seen + input[seen..].iter().position(|byte| *byte == b':')?;
            let digits = std::str::from_utf8(&input[..colon]).ok()?;
            Some((colon + 1, digits.parse().expect("a length")))
        });
        let Some((begin, len)) = head else {
            *turn.memo() = Some(Box::new(Noted { head, seen: input.len() }));
            return Step::Partial { phase: Phase::Head, want: 0 };
        };
        let whole = begin + len;
        if noted.head.is_some() {
            assert!(input.len() >= whole, "it was said how much is wanted");
        }
        let Some(content) = input[begin..].get(..len) else {
            *turn.memo() = Some(Box::new(Noted { head, seen: input.len() }));
            return Step::Partial { phase: Phase::Body, want: whole };
        };
        let content = std::str::from_utf8(content).expect("text");
        let called = turn.call(&self.route, |_session, out| {
            out.extend_from_slice(reply(content).as_bytes());
        });
        match (called, content) {
            (Ok(()), "close" | "quit") => Step::Close,
            (Ok(()), _) => Step::Next { consumed: whole },
            (Err(CallError::Offload), _) => Step::Offload { len: whole },
            (Err(CallError::Panicked), _) => Step::Close,
        }
    }

    fn end_of_input(&self, _input: &[u8], turn: &mut Turn<'_>) -> Step {
        turn.out().extend_from_slice(b"cut");
        Step::Close
    }

    fn refuse(&self, why: Refusal, _input: &[u8], out: &mut Vec<u8>) -> AfterRefusal {
        out.extend_from_slice(match why {
            Refusal::Overloaded => b"overloaded",
            Refusal::TimedOut(Phase::Head) => b"late head",
            Refusal::TimedOut(Phase::Body) => b"late body",
            Refusal::TooManyConnections => b"too many",
        });
        AfterRefusal::Close
    }

    fn timeouts(&self) -> &Timeouts {
        &self.timeouts
    }
}
