//! Protocols that read the rest of a message themselves, write and block, or push; and faulty protocols.

use std::io;
use std::sync::mpsc::{self, Receiver};
use std::sync::{Arc, Mutex};

use threadline_engine::protocol::Waiting;
use threadline_engine::{
    AfterRefusal, CallError, Model, Phase, Protocol, Refusal, Route, Sender, Session, Step,
    Timeouts, Turn,
};

use crate::common::{Fixture, SECOND, every_model, messages, settings};

/// Lines that are commands.
struct Odd {
    route: Arc<Route>,
    senders: Mutex<mpsc::Sender<Sender>>,
    timeouts: Timeouts,
}

/// The limit of each wait for the peer.
const LIMIT: std::time::Duration = SECOND.saturating_mul(20);

impl Odd {
    /// Runs code that may block on the peer, if the thread allows it.
    fn wait_for_peer(
        &self,
        turn: &mut Turn<'_>,
        code: impl FnOnce(&mut Session) -> io::Result<()>,
    ) -> Result<(), CallError> {
        match turn.waiting() {
            Waiting::Here => turn.call(&self.route, |session, out| {
                let done = code(session).map_err(|error| error.kind());
                out.extend_from_slice(format!("{done:?}\n").as_bytes());
            }),
            Waiting::Elsewhere => Err(CallError::Offload),
            Waiting::Nowhere => {
                turn.out().extend_from_slice(b"nowhere\n");
                Ok(())
            }
        }
    }

    fn obey(&self, command: &str, input: &[u8], consumed: usize, turn: &mut Turn<'_>) -> Step {
        let (name, number) = command.split_once(' ').unwrap_or((command, "0"));
        let number: usize = number.parse().expect("a number");
        let after = |called: Result<(), CallError>, step: Step| match called {
            Ok(()) => step,
            Err(CallError::Offload) => Step::Offload { len: consumed },
            Err(CallError::Panicked) => Step::Close,
        };
        match name {
            "body" => {
                let mut body = input[consumed..].to_vec();
                let reads = turn.waiting() != Waiting::Nowhere;
                let called = self.wait_for_peer(turn, |session| {
                    let mut buffer = [0; 100];
                    while body.len() < number {
                        match session.receive(&mut buffer, Some(LIMIT))? {
                            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                            count => body.extend_from_slice(&buffer[..count]),
                        }
                    }
                    Ok(())
                });
                let rest = body.split_off(number.min(body.len()));
                let next = Step::Next { consumed };
                after(called, if reads { Step::Streamed { rest } } else { next })
            }
            "write" => {
                let called = self
                    .wait_for_peer(turn, |session| session.send(&vec![b'w'; number], Some(LIMIT)));
                after(called, Step::Next { consumed })
            }
            "large" => {
                turn.out().resize(number, b'l');
                Step::Next { consumed }
            }
            "push" => {
                let called = turn.call(&self.route, |session, out| {
                    out.extend_from_slice(b"begin\n");
                    let told = self.senders.lock().expect("no panic").send(session.sender());
                    told.expect("the test listens");
                });
                after(called, Step::Push)
            }
            "nothing" => Step::Next { consumed: 0 },
            "excess" => Step::Next { consumed: input.len() + 1 },
            "panic" => panic!("a protocol that is wrong"),
            _ => {
                turn.out().extend_from_slice(format!("{command}\n").as_bytes());
                Step::Next { consumed }
            }
        }
    }
}

impl Protocol for Odd {
    fn name(&self) -> &'static str {
        "odd"
    }

    fn step(&self, input: &[u8], turn: &mut Turn<'_>) -> Step {
        let Some(end) = input.iter().position(|byte| *byte == b'\n') else {
            return Step::Partial { phase: Phase::Head, want: 0 };
        };
        let command = std::str::from_utf8(&input[..end]).expect("text");
        self.obey(command, input, end + 1, turn)
    }

    fn refuse(&self, _why: Refusal, _input: &[u8], _out: &mut Vec<u8>) -> AfterRefusal {
        AfterRefusal::Close
    }

    fn timeouts(&self) -> &Timeouts {
        &self.timeouts
    }
}

fn odd(model: Model) -> (Fixture, Receiver<Sender>) {
    let (tell, senders) = mpsc::channel();
    let (route, senders_in) = (Route::new("odd"), Mutex::new(tell));
    let protocol = Odd { route, senders: senders_in, timeouts: Timeouts::default() };
    (messages(settings(model), protocol), senders)
}

every_model! {
    fn a_handler_reads_its_message_and_no_more(model) {
        let (fixture, _) = odd(model);
        let peer = fixture.connect();
        if model == Model::EventLoop {
            peer.send("body 3\nnext\n");
            return peer.expect("nowhere\nnext\n");
        }
        peer.interrupt(2);
        peer.send_pieces(["one\nbody 10\n12345", "67", "890ne"]);
        peer.expect("one\nOk(())\n");
        peer.send("xt\nbody 2\n12after\n");
        peer.expect("next\nOk(())\nafter\n");
        // The handler blocks between the parts.
        peer.send("body 4\n");
        for piece in ["12", "34last\n"] {
            fixture.engine.settle();
            peer.stall_reads(1);
            peer.interrupt(1);
            peer.reads_at_most(1);
            peer.send(piece);
        }
        peer.expect("Ok(())\nlast\n");
    }

    fn a_message_that_its_handler_waits_for_has_its_limit_and_its_end(model) {
        if model == Model::EventLoop {
            return;
        }
        let (fixture, _) = odd(model);
        let [late, ends, resets] = std::array::from_fn(|_| fixture.connect());
        for peer in [&late, &ends, &resets] {
            peer.send("body 10\n123");
        }
        fixture.engine.settle();
        ends.close_write();
        ends.expect("Err(UnexpectedEof)\n");
        ends.expect_end();
        resets.reset();
        resets.expect_closed();
        fixture.pass_nearly(LIMIT);
        assert_eq!(late.untaken_len(), 0);
        late.send("4");
        fixture.pass_nearly(LIMIT);
        assert_eq!(late.untaken_len(), 0, "each wait has its own limit");
        fixture.pass_over(LIMIT);
        late.expect("Err(TimedOut)\n");
        late.send("next\n");
        late.expect("next\n");
    }

    fn a_write_of_a_handler_waits_for_room(model) {
        let (fixture, _) = odd(model);
        if model == Model::EventLoop {
            return;
        }
        let [reads, stalls, other] = std::array::from_fn(|_| fixture.connect());
        for peer in [&reads, &stalls] {
            peer.room(10);
            peer.send("write 100\nnext\n");
        }
        fixture.engine.settle();
        other.send("meanwhile\n");
        other.expect("meanwhile\n");
        for _ in 0..9 {
            reads.expect([b'w'; 10]);
            reads.room(10);
        }
        reads.expect([b'w'; 10]);
        reads.room(usize::MAX);
        reads.expect("Ok(())\nnext\n");
        fixture.pass_nearly(LIMIT);
        assert!(!stalls.has_ended());
        fixture.pass(LIMIT);
        stalls.expect([b'w'; 10]);
        stalls.expect_end();
        stalls.expect_closed();
        assert_eq!(fixture.counts().timeouts_write, 1);
    }

    fn a_reply_that_goes_on_is_the_last_and_ends_with_its_senders(model) {
        let (fixture, senders) = odd(model);
        let peer = fixture.connect();
        peer.send("one\npush\nnot looked at\n");
        peer.expect("one\nbegin\n");
        let sender = senders.recv_timeout(SECOND * 10).expect("a sender");
        peer.send("thrown away\n");
        fixture.engine.settle();
        assert_eq!(peer.unread_len(), 0);
        fixture.pass(1000 * SECOND);
        let clone = sender.clone();
        drop(sender);
        clone.send("more\n").expect("open");
        peer.expect("more\n");
        peer.room(2);
        clone.send("the end\n").expect("open");
        drop(clone);
        peer.expect("th");
        assert!(!peer.has_ended());
        peer.room(usize::MAX);
        peer.expect("e end\n");
        peer.expect_end();
        peer.close();
        peer.expect_closed();
    }

    fn replies_that_are_large_together_go_out_one_after_the_other(model) {
        let (fixture, _) = odd(model);
        let peer = fixture.connect();
        peer.room(1000);
        peer.send("large 300000\nlarge 300000\nnext\n");
        fixture.engine.settle();
        assert_eq!(peer.unread_len(), 0, "all three were read");
        let mut left = 600_000 - 1000;
        assert_eq!(peer.take(1000), [b'l'; 1000]);
        while left > 0 {
            let count = left.min(50_000);
            peer.room(count);
            assert!(peer.take(count).iter().all(|byte| *byte == b'l'));
            left -= count;
        }
        peer.room(usize::MAX);
        peer.expect("next\n");
    }

    fn a_protocol_that_is_wrong_loses_that_connection(model) {
        let (fixture, _) = odd(model);
        let other = fixture.connect();
        for wrong in ["nothing", "excess", "panic"] {
            let peer = fixture.connect();
            peer.send(format!("one\n{wrong}\nnext\n"));
            peer.expect("one\n");
            peer.expect_end();
            peer.close_write();
            peer.expect_closed();
            other.send("still\n");
            other.expect("still\n");
        }
        fixture.engine.settle();
        assert_eq!((fixture.connections(), fixture.counts().engine_panics), (1, 0));
    }
}
