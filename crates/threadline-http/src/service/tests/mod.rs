//! The service's rules on bytes alone: a scripted exchange stands in for the engine's turn.

mod faults;
mod messages;
mod overrides;
mod pieces;
mod refusals;
mod responses;
mod routing;
mod speed;

use std::any::Any;
use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::mem;
use std::net::SocketAddr;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};

use std::time::Duration;

use threadline_engine::protocol::{Offence, Receive, Waiting};
use threadline_engine::{Bytes, CallError, Fill, Source, SourceError};
use threadline_proto::response::Status;

use super::*;
use crate::body::{Push, ReadSource};
use crate::deferred::{Awaited, Late};
use crate::exchange::Line;
use crate::handler::IntoResponse;
use crate::response::{Response, UpgradeHandler};
use crate::{Path, Request, Router};

/// A turn whose every answer is set beforehand.
#[derive(Default)]
struct Script {
    out: Vec<u8>,
    seen: usize,
    memo: Option<Box<dyn Any + Send>>,
    draining: bool,
    offload: bool,
    called: Vec<String>,
    /// What comes from the client when the handler waits for it.
    arriving: VecDeque<u8>,
    /// What went to the client before the step ended.
    sent: Vec<u8>,
    /// `Here` if it is not said.
    waiting: Option<Waiting>,
    upgraded: bool,
    /// How the body is to be received.
    receive: Option<Receive>,
    /// What has been sent ends with the connection, and is not whole.
    until_close: bool,
}

impl Line for Script {
    fn receive(&mut self, buffer: &mut [u8], _limit: Option<Duration>) -> io::Result<usize> {
        self.arriving.read(buffer)
    }

    fn send(&mut self, bytes: &[u8], _limit: Option<Duration>) -> io::Result<()> {
        self.sent.extend_from_slice(bytes);
        Ok(())
    }

    fn send_file(&mut self, head: &[u8], mut file: File, range: Range<u64>) -> io::Result<()> {
        self.sent.extend_from_slice(head);
        file.seek(SeekFrom::Start(range.start))?;
        file.take(range.end - range.start).read_to_end(&mut self.sent).map(drop)
    }

    fn send_bytes(&mut self, head: &[u8], bytes: Bytes) -> io::Result<()> {
        self.sent.extend_from_slice(head);
        self.sent.extend_from_slice(&bytes);
        Ok(())
    }

    fn send_source(&mut self, head: &[u8], mut source: ReadSource) -> Result<(), SourceError> {
        self.sent.extend_from_slice(head);
        let (mut piece, mut fill) = (Vec::new(), Fill::More);
        while fill == Fill::More {
            piece.clear();
            fill = source.fill(&mut piece).map_err(SourceError::Source)?;
            self.sent.extend_from_slice(&piece);
        }
        self.until_close = false;
        Ok(())
    }

    fn begin_until_close(&mut self) {
        self.until_close = true;
    }

    fn sender(&mut self) -> Box<dyn Push> {
        unreachable!("pushing needs an engine")
    }

    fn upgrade(&mut self, _handler: Box<UpgradeHandler>) {
        self.upgraded = true;
    }

    fn defer(&mut self, _late: Late) -> Box<dyn Awaited> {
        unreachable!("replies that come later need an engine")
    }
}

impl Exchange for Script {
    type Line = Script;

    fn out(&mut self) -> &mut Vec<u8> {
        &mut self.out
    }

    fn flush(&mut self) {
        self.sent.append(&mut self.out);
    }

    fn call<R>(
        &mut self,
        route: &Arc<Route>,
        code: impl FnOnce(&mut Script, &mut Vec<u8>) -> R,
    ) -> Result<R, CallError> {
        if self.offload {
            return Err(CallError::Offload);
        }
        self.called.push(route.name().to_owned());
        let mut out = mem::take(&mut self.out);
        let called = catch_unwind(AssertUnwindSafe(|| code(self, &mut out)));
        self.out = out;
        called.map_err(|_| CallError::Panicked)
    }

    fn waiting(&self) -> Waiting {
        self.waiting.unwrap_or(Waiting::Here)
    }

    fn count(&self, _offence: Offence) {}

    fn draining(&self) -> bool {
        self.draining
    }

    fn seen(&self) -> usize {
        self.seen
    }

    fn memo(&mut self) -> &mut Option<Box<dyn Any + Send>> {
        &mut self.memo
    }

    fn receive(&mut self, receive: Receive) {
        self.receive = Some(receive);
    }

    fn peer_addr(&self) -> Option<SocketAddr> {
        Some(([127, 0, 0, 1], 4321).into())
    }

    fn took(&self) -> Option<Duration> {
        None
    }
}

fn service() -> HttpService {
    Router::new()
        .get("/", || "front")
        .get("/hello/{name}", |Path(name): Path<String>| format!("hello, {name}"))
        .get("/sum/{a}/{b}", |Path((a, b)): Path<(u32, u32)>| (a + b).to_string())
        .get("/files/{*path}", |Path(path): Path<String>| path)
        .get("/panics", || -> &'static str { panic!("on purpose") })
        .get("/splits", || Response::text("a").with_header("x", "a\r\nset-cookie: b"))
        .get("/frames", || Response::text("a").with_header("Content-Length", "7"))
        .get("/leaves", || Response::text("bye").with_close())
        .get("/empty", || (Status::NO_CONTENT, "never sent"))
        .post("/echo", |body: Vec<u8>| body)
        .get("/me", |request: &Request<'_>| {
            format!(
                "{:?} {:?} {:?}",
                request.peer_addr(),
                request.query(),
                request.header("USER-agent")
            )
        })
        .settings(HttpSettings::default().body_len_max(100))
        .build()
        .expect("good routes")
}

/// Steps once. The response comes back without its date line.
fn step_with(mut script: Script, input: impl AsRef<[u8]>) -> (Step, String) {
    let step = service().answer(input.as_ref(), &mut script);
    (step, undated(&script.out))
}

fn step(input: impl AsRef<[u8]>) -> (Step, String) {
    step_with(Script::default(), input)
}

fn undated(out: &[u8]) -> String {
    let text = String::from_utf8(out.to_vec()).expect("UTF-8");
    text.split_inclusive("\r\n").filter(|line| !line.starts_with("date: ")).collect()
}

fn get(path: &str) -> (Step, String) {
    step(format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n"))
}

fn status_of(response: &str) -> &str {
    response.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3)).unwrap_or(response)
}

const OK_TEXT: &str = "HTTP/1.1 200 OK\r\ncontent-type: text/plain; charset=utf-8\r\n";
