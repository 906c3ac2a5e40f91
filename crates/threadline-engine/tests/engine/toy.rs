//! A protocol that uses phases, `want`, `seen` and the memo, and checks what the engine passes to it.
//!
//! A message is its content's length in decimal, a colon and the content. The reply is the same with the
//! content in upper case. `close` and `quit` are the last message of their connection. Content that has not all come
//! is waited for, or received by the engine: then one of `?` bytes is in groups, each of which is a digit and so many
//! bytes, up to a group of none.

use std::sync::Arc;

use threadline_engine::protocol::{Content, Decode, Decoded, Receive, Received};
use threadline_engine::{
    AfterRefusal, CallError, Hint, Phase, Protocol, Refusal, Route, Step, Timeouts, Turn,
};

pub(crate) struct Toy {
    route: Arc<Route>,
    timeouts: Timeouts,
    receives: bool,
}

/// Finds content that is received.
enum Finder {
    Length(u64),
    /// How many bytes of this group are to come; `None` before its digit.
    Groups(Option<usize>),
}

impl Decode for Finder {
    fn advance(&mut self, input: &[u8]) -> Decoded {
        match self {
            Finder::Length(0) => Decoded::Done { consumed: 0 },
            _ if input.is_empty() => Decoded::Partial { consumed: 0 },
            Finder::Length(left) => {
                let count = input.len().min(*left as usize);
                *left -= count as u64;
                Decoded::Content(0..count)
            }
            Finder::Groups(group @ None) => match input[0] {
                b'0' => Decoded::Done { consumed: 1 },
                digit @ b'1'..=b'9' => {
                    *group = Some(usize::from(digit - b'0'));
                    Decoded::Content(1..1)
                }
                _ => Decoded::Failed,
            },
            Finder::Groups(Some(left)) => {
                let count = input.len().min(*left);
                *self = Finder::Groups(Some(*left - count).filter(|left| *left > 0));
                Decoded::Content(0..count)
            }
        }
    }

    fn remaining(&self) -> Option<u64> {
        match self {
            Finder::Length(left) => Some(*left),
            Finder::Groups(_) => None,
        }
    }
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
        Toy { route: Route::new("toy"), timeouts: Timeouts::default(), receives: false }
    }

    /// Has the engine receive content that has not all come.
    pub(crate) fn receiving(self) -> Self {
        Toy { receives: true, ..self }
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
            let len = if digits == "?" { usize::MAX } else { digits.parse().expect("a length") };
            Some((colon + 1, len))
        });
        let Some((begin, len)) = head else {
            *turn.memo() = Some(Box::new(Noted { head, seen: input.len() }));
            return Step::Partial { phase: Phase::Head, want: 0 };
        };
        let whole = begin.saturating_add(len);
        if self.receives && input.len() < whole {
            let groups = len == usize::MAX;
            let finder = if groups { Finder::Groups(None) } else { Finder::Length(len as u64) };
            turn.receive(Receive::new(finder).invite(b"go on "));
            return Step::Receive { head_len: begin };
        }
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

    fn received(&self, received: Received<'_>, turn: &mut Turn<'_>) -> Step {
        assert_eq!(received.head.last(), Some(&b':'), "the head");
        let called = turn.call(&self.route, |_session, out| {
            let content = match received.content {
                Ok(Content::Memory(bytes)) => bytes.to_vec(),
                Ok(Content::File(file)) => {
                    let mut bytes = vec![0; file.len() as usize];
                    assert_eq!(file.read_at(&mut bytes, 0).expect("a file"), bytes.len());
                    bytes
                }
                Err(lost) => {
                    out.extend_from_slice(format!("{lost:?}").as_bytes());
                    return Step::Close;
                }
            };
            let content = String::from_utf8(content).expect("text");
            out.extend_from_slice(reply(&content).as_bytes());
            match &*content {
                "close" | "quit" => Step::Close,
                _ => Step::Next { consumed: 0 },
            }
        });
        match called {
            Ok(step) => step,
            Err(CallError::Offload) => Step::Offload { len: 0 },
            Err(CallError::Panicked) => Step::Close,
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
