//! Replies that are ready are sent before anything blocks, and nothing that is sent in another way overtakes them.

use std::io::{self, Read, Write};
use std::sync::mpsc::{Sender as ChannelSender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::common::{ANY, Client, Gate, PATIENCE, every_model, server, start};
use crate::http_client::ok;
use threadline::http::{Body, Path, Request, Response, Router};
use threadline::{Frames, Hint, Lines, Model, Running, Sender, Session};

/// More calls than prove a route.
const MANY: usize = 200;

fn request(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: t\r\n\r\n")
}

fn frame(content: &str) -> Vec<u8> {
    Frames::encode(content.as_bytes())
}

/// A route whose calls wait at the gate if they are asked to.
fn waiting(model: Model) -> (Running, Arc<Gate>) {
    let gate = Arc::new(Gate::default());
    let of_handler = Arc::clone(&gate);
    let answer = move |Path(what): Path<String>| {
        if what == "blocks" {
            of_handler.wait();
        }
        what
    };
    (start(server(model).http(ANY, Router::new().get("/{what}", answer))), gate)
}

/// Lines with handlers that send in every way there is. A line `wait` waits at the gate.
fn talkative(
    model: Model,
    hint: Hint,
    gate: &Arc<Gate>,
    pushers: ChannelSender<Pushed>,
) -> Running {
    let (gate, pushers) = (Arc::clone(gate), Mutex::new(pushers));
    let lines = Lines::new(move |line, session| {
        match line {
            "wait" => gate.wait(),
            "sender" => session.sender().send("pushed\n").expect("open"),
            "elsewhere" => {
                let (done, is_done) = channel();
                let pushed = (session.sender(), done);
                pushers.lock().expect("lock").send(pushed).expect("the test pushes");
                is_done.recv_timeout(PATIENCE).expect("pushed");
            }
            "send" => session.send(b"sent\n", Some(PATIENCE)).expect("a client"),
            "file" => send_file(session).expect("a client"),
            _ => {}
        }
        Some(line.to_uppercase())
    });
    start(server(model).lines(ANY, lines.hint(hint)))
}

/// A sender, and where to say that it has pushed.
type Pushed = (Sender, ChannelSender<()>);

fn send_file(session: &mut Session) -> io::Result<()> {
    let mut file = tempfile::tempfile()?;
    file.write_all(b"a file\n")?;
    session.send_file(b"", file, 0..7)
}

/// A body that is read and panics, or fails, before it has given anything.
struct Faulty {
    panics: bool,
}

impl Read for Faulty {
    fn read(&mut self, _buffer: &mut [u8]) -> io::Result<usize> {
        assert!(!self.panics, "as the test wants");
        Err(io::Error::other("as the test wants"))
    }
}

every_model! {
    fn the_first_of_two_http_replies_does_not_wait_for_the_second(model) {
        let (service, gate) = waiting(model);
        let mut client = Client::to(&service);
        client.send(request("/fast") + &request("/blocks"));
        assert_eq!(client.reply(), ok("fast"), "while the other call waits");
        gate.await_arrivals(1);
        gate.open();
        assert_eq!(client.reply(), ok("blocks"));
    }

    fn nor_does_that_of_a_proven_route(model) {
        let gate = Arc::new(Gate::default());
        let of_handler = Arc::clone(&gate);
        let blocks = move || {
            of_handler.wait();
            "blocks"
        };
        let router = Router::new().get("/fast", || "fast").get("/blocks", blocks);
        let service = start(server(model).http(ANY, router));
        let mut client = Client::to(&service);
        for _ in 0..MANY {
            assert_eq!(client.get("/fast"), ok("fast"));
        }
        client.send(request("/fast").repeat(3) + &request("/blocks") + &request("/fast"));
        for _ in 0..3 {
            assert_eq!(client.reply(), ok("fast"), "while the other call waits");
        }
        gate.await_arrivals(1);
        gate.open();
        assert_eq!(client.reply(), ok("blocks"));
        assert_eq!(client.reply(), ok("fast"));
    }

    fn the_first_of_two_lines_does_not_wait_for_the_second(model) {
        let gate = Arc::new(Gate::default());
        let service = talkative(model, Hint::Prove, &gate, channel().0);
        let mut client = Client::to(&service);
        client.send("one\ntwo\nwait\nthree\n");
        assert_eq!(client.line().as_deref(), Some("ONE"));
        assert_eq!(client.line().as_deref(), Some("TWO"));
        gate.await_arrivals(1);
        gate.open();
        assert_eq!(client.line().as_deref(), Some("WAIT"));
        assert_eq!(client.line().as_deref(), Some("THREE"));
    }

    fn the_first_of_two_frames_does_not_wait_for_the_second(model) {
        let gate = Arc::new(Gate::default());
        let of_handler = Arc::clone(&gate);
        let frames = Frames::new(move |content, _| {
            if content == b"wait" {
                of_handler.wait();
            }
            Some(content.to_ascii_uppercase())
        });
        let service = start(server(model).frames(ANY, frames));
        let mut client = Client::to(&service);
        client.send([frame("one"), frame("wait"), frame("two")].concat());
        assert_eq!(client.exactly(7), frame("ONE"));
        gate.await_arrivals(1);
        gate.open();
        assert_eq!(client.exactly(8), frame("WAIT"));
        assert_eq!(client.exactly(7), frame("TWO"));
    }

    fn a_route_that_may_block_by_its_hint_is_never_waited_for(model) {
        let gate = Arc::new(Gate::default());
        let service = talkative(model, Hint::Blocking, &gate, channel().0);
        let mut client = Client::to(&service);
        for _ in 0..MANY {
            assert_eq!(client.ask("fast"), "FAST");
        }
        client.send("one\nwait\n");
        assert_eq!(client.line().as_deref(), Some("ONE"));
        gate.await_arrivals(1);
        gate.open();
        assert_eq!(client.line().as_deref(), Some("WAIT"));
    }

    fn what_a_handler_pushes_or_sends_comes_after_earlier_replies(model) {
        for hint in [Hint::Prove, Hint::Inline] {
            let service = talkative(model, hint, &Arc::default(), channel().0);
            // One connection that gets a sender at once, and one after many calls.
            for ahead in [0, MANY] {
                let mut client = Client::to(&service);
                client.send("x\n".repeat(ahead));
                (0..ahead).for_each(|_| assert_eq!(client.line().as_deref(), Some("X")));
                for round in 0..MANY {
                    for (how, sent) in [("send", "sent"), ("file", "a file"), ("sender", "pushed")] {
                        client.send(format!("one\ntwo\n{how}\nthree\n{how}\n"));
                        let upper = how.to_uppercase();
                        for line in ["ONE", "TWO", sent, &upper, "THREE", sent, &upper] {
                            assert_eq!(client.line().as_deref(), Some(line), "{hint:?}, {how}, round {round}");
                        }
                    }
                }
            }
        }
    }

    fn what_another_thread_pushes_comes_after_earlier_replies(model) {
        let (give, pushers) = channel::<Pushed>();
        let service = talkative(model, Hint::Inline, &Arc::default(), give);
        let pusher = std::thread::spawn(move || {
            for (sender, done) in pushers {
                sender.send("pushed\n").expect("open");
                done.send(()).expect("the handler waits");
            }
        });
        let mut client = Client::to(&service);
        for round in 0..MANY {
            client.send("one\nelsewhere\ntwo\n");
            for line in ["ONE", "pushed", "ELSEWHERE", "TWO"] {
                assert_eq!(client.line().as_deref(), Some(line), "round {round}");
            }
        }
        drop(service);
        pusher.join().expect("pusher");
    }

    fn a_frame_that_is_pushed_comes_after_earlier_replies(model) {
        let frames = Frames::new(|content, session| {
            if content == b"push" {
                session.sender().send(frame("pushed")).expect("open");
            }
            Some(content.to_ascii_uppercase())
        });
        let service = start(server(model).frames(ANY, frames.hint(Hint::Inline)));
        let mut client = Client::to(&service);
        for _ in 0..MANY {
            client.send([frame("one"), frame("push")].concat());
            let told = [frame("ONE"), frame("pushed"), frame("PUSH")].concat();
            assert_eq!(client.exactly(told.len()), told);
        }
    }

    fn an_earlier_reply_does_not_wait_for_a_deferred_one(model) {
        let (give, calls) = channel();
        let give = Mutex::new(give);
        let lines = Lines::new(move |line, session| {
            if line != "later" {
                return Some(line.to_uppercase());
            }
            give.lock().expect("lock").send(session.defer::<String>()).expect("the test listens");
            None
        });
        let service = start(server(model).lines(ANY, lines.hint(Hint::Inline)));
        let mut client = Client::to(&service);
        client.send("one\nlater\ntwo\n");
        assert_eq!(client.line().as_deref(), Some("ONE"));
        calls.recv_timeout(PATIENCE).expect("a call").answer("now".into()).expect("awaited");
        assert_eq!(client.line().as_deref(), Some("now"));
        assert_eq!(client.line().as_deref(), Some("TWO"));
    }

    fn rfc9110_10_1_1_a_100_continue_does_not_overtake_a_reply(model) {
        let count = |request: &Request<'_>| request.bytes().map(|body| body.len().to_string());
        let router = Router::new().get("/fast", || "fast").post("/count", count);
        let service = start(server(model).http(ANY, router));
        let mut client = Client::to(&service);
        for len in [10, 100_000, 1_000_000].repeat(20) {
            client.send(request("/fast").repeat(2));
            client.send(format!(
                "POST /count HTTP/1.1\r\nHost: t\r\nExpect: 100-continue\r\nContent-Length: {len}\r\n\r\n"
            ));
            assert_eq!(client.reply(), ok("fast"));
            assert_eq!(client.reply(), ok("fast"));
            assert_eq!(client.line().as_deref(), Some("HTTP/1.1 100 Continue"));
            assert_eq!(client.line().as_deref(), Some(""));
            client.send(vec![b'x'; len]);
            assert_eq!(client.reply(), ok(&len.to_string()));
        }
    }

    fn earlier_replies_do_not_wait_for_a_body(model) {
        let count = |request: &Request<'_>| request.bytes().map(|body| body.len().to_string());
        let router = Router::new().get("/fast", || "fast").post("/count", count);
        let service = start(server(model).http(ANY, router));
        let mut client = Client::to(&service);
        for framing in ["Content-Length: 300000", "Transfer-Encoding: chunked"].repeat(50) {
            let head = format!("POST /count HTTP/1.1\r\nHost: t\r\n{framing}\r\n\r\n");
            client.send(request("/fast") + &head);
            assert_eq!(client.reply(), ok("fast"));
            let body = "x".repeat(300_000);
            if framing.starts_with("Content") {
                client.send(body);
            } else {
                client.send(format!("{:x}\r\n{body}\r\n0\r\n\r\n", body.len()));
            }
            assert_eq!(client.reply(), ok("300000"));
        }
    }

    fn a_reply_that_is_taken_back_leaves_the_earlier_ones(model) {
        let faulty = |panics| move || Response::text("").with_body(Body::sized_reader(Faulty { panics }, 5));
        let router = Router::new()
            .get("/fast", || "fast")
            .get("/fails", faulty(false))
            .get("/panics", faulty(true))
            .get("/handler", || -> &'static str { panic!("as the test wants") });
        let service = start(server(model).http(ANY, router));
        for path in ["/fails", "/panics", "/handler"] {
            // On one that has been proven, too, as far as it can be.
            for _ in 0..3 {
                let mut client = Client::to(&service);
                client.send(request("/fast").repeat(60) + &request(path));
                (0..60).for_each(|_| assert_eq!(client.reply(), ok("fast")));
                assert_eq!(client.reply().status, 500, "{path}");
            }
        }
    }

    fn a_pushed_or_streamed_reply_comes_after_earlier_ones(model) {
        let push = || Response::text("").with_body(Body::push(|client| {
            client.send("pushed").expect("open");
            client.finish().expect("open");
        }));
        let stream = || Response::text("").with_body(Body::reader(io::repeat(b'x').take(100_000)));
        let file = || -> io::Result<Response> {
            let mut file = tempfile::tempfile()?;
            file.write_all(&[b'f'; 100_000])?;
            Ok(Response::text("").with_body(Body::file(file)?))
        };
        let router =
            Router::new().get("/fast", || "fast").get("/push", push).get("/stream", stream).get("/file", file);
        let service = start(server(model).http(ANY, router));
        for _ in 0..50 {
            let mut client = Client::to(&service);
            client.send(
                ["/fast", "/stream", "/fast", "/file", "/fast", "/push"].map(request).concat(),
            );
            assert_eq!(client.reply(), ok("fast"));
            assert_eq!(client.reply(), ok(&"x".repeat(100_000)));
            assert_eq!(client.reply(), ok("fast"));
            assert_eq!(client.reply(), ok(&"f".repeat(100_000)));
            assert_eq!(client.reply(), ok("fast"));
            assert_eq!(client.reply().body, "pushed");
        }
    }
}

/// A route that takes longer than it may in some calls does not keep earlier replies for long: it is not proven
/// any more, and must prove itself again.
#[test]
fn a_route_that_slows_down_is_not_waited_for_any_more() {
    for model in [Model::EventLoop, Model::Pool, Model::ThreadPerConnection] {
        let lines = Lines::new(|line, _| {
            if line == "slow" {
                std::thread::sleep(Duration::from_millis(1));
            }
            Some(line.to_uppercase())
        });
        let service = start(server(model).lines(ANY, lines));
        let mut client = Client::to(&service);
        let route = &service.routes()[0];
        crate::common::eventually("fast calls prove a route", || {
            (0..40).for_each(|_| assert_eq!(client.ask("fast"), "FAST"));
            route.is_proven()
        });
        crate::common::eventually("slow ones take that back", || {
            client.send("slow\n".repeat(10));
            (0..10).for_each(|_| assert_eq!(client.line().as_deref(), Some("SLOW")));
            !route.is_proven()
        });
    }
}
