//! The service's rules on bytes alone: a scripted exchange stands in for the engine's turn.

mod messages;
mod pieces;
mod refusals;
mod responses;
mod routing;
mod speed;

use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};

use super::*;
use crate::{Path, Router};

/// A turn whose every answer is set beforehand.
#[derive(Default)]
struct Script {
    out: Vec<u8>,
    seen: usize,
    draining: bool,
    offload: bool,
    called: Vec<String>,
}

impl Exchange for Script {
    fn out(&mut self) -> &mut Vec<u8> {
        &mut self.out
    }

    fn call<R>(
        &mut self,
        route: &Arc<Route>,
        code: impl FnOnce(&mut Vec<u8>) -> R,
    ) -> Result<R, CallError> {
        if self.offload {
            return Err(CallError::Offload);
        }
        self.called.push(route.name().to_owned());
        catch_unwind(AssertUnwindSafe(|| code(&mut self.out))).map_err(|_| CallError::Panicked)
    }

    fn count(&self, _offence: Offence) {}

    fn draining(&self) -> bool {
        self.draining
    }

    fn seen(&self) -> usize {
        self.seen
    }

    fn peer_addr(&self) -> Option<SocketAddr> {
        Some(([127, 0, 0, 1], 4321).into())
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
        .post("/echo", |request: &Request<'_>| request.body().to_vec())
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
