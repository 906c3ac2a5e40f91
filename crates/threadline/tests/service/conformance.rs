//! The conformance suite of `threadline-proto`, over sockets: the service makes of the same bytes what
//! the parser makes of them, under every model and however they come.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::path::Path;

use crate::common::{ANY, PATIENCE, address, every_model, server, start};
use loader::{Case, Ending, Message};
use threadline::http::{BodyError, Request, Router, Version};
use threadline::{Model, Running};

#[allow(dead_code)] // it serves another test as well
#[path = "../../../threadline-proto/tests/conformance/loader.rs"]
mod loader;

/// Says what it sees of a request.
fn tell(request: &Request<'_>) -> Result<Vec<u8>, BodyError> {
    let version = match request.version() {
        Version::Http10 => "HTTP/1.0",
        Version::Http11 => "HTTP/1.1",
    };
    let query = request.query().map_or(String::new(), |query| format!("?{query}"));
    let method = request.method();
    let told = format!("{method} {}{query} {version}\n", request.path_as_sent());
    Ok([told.as_bytes(), &request.bytes()?].concat())
}

fn told(message: &Message) -> Vec<u8> {
    let Message { method, target, version, body, .. } = message;
    [format!("{method} {target} {version}\n").as_bytes(), body].concat()
}

fn cases() -> Vec<Case> {
    let folder =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../threadline-proto/tests/conformance");
    loader::load(&folder).unwrap_or_else(|error| panic!("{error}"))
}

fn telling(model: Model) -> Running {
    start(server(model).http(ANY, Router::new().fallback(tell)))
}

/// All that the service says when it gets these pieces, one write each, and then the end of input.
fn conversation(service: &Running, pieces: impl IntoIterator<Item = impl AsRef<[u8]>>) -> Vec<u8> {
    let mut stream = TcpStream::connect(address(service)).expect("connected");
    stream.set_nodelay(true).expect("no delay");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    for piece in pieces {
        // It may have answered and closed before it has seen all.
        if stream.write_all(piece.as_ref()).is_err() {
            break;
        }
    }
    let _ = stream.shutdown(Shutdown::Write);
    let mut said = Vec::new();
    // A reset behind the answer takes nothing away from it.
    let _ = stream.read_to_end(&mut said);
    said
}

/// One response off the front: its status, whether it closes, and its content.
fn response(said: &mut &[u8], head_only: bool) -> Option<(u16, bool, Vec<u8>)> {
    let end = said.windows(4).position(|window| window == b"\r\n\r\n")?;
    let head = String::from_utf8_lossy(&said[..end]).to_lowercase();
    *said = &said[end + 4..];
    let status = head.strip_prefix("http/1.1 ")?.get(..3)?.parse().ok()?;
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
    let length = match length {
        Some(length) if !head_only => length.parse().ok()?,
        _ => 0,
    };
    let content = said.get(..length)?.to_vec();
    *said = &said[length..];
    Some((status, head.contains("\r\nconnection: close"), content))
}

/// What is wrong with what the service said, if anything is.
fn verdict(case: &Case, mut said: &[u8]) -> Result<(), String> {
    let all = String::from_utf8_lossy(said).into_owned();
    let wrong = |what: &str| {
        let Case { place, name, clause, .. } = case;
        Err(format!("{place}: {name} ({clause}): {what}; the service said {all:?}\n"))
    };
    for message in &case.expected.messages {
        let head_only = message.method == "HEAD";
        let mut answer = response(&mut said, head_only);
        if message.expects_continue && matches!(answer, Some((100, ..))) {
            answer = response(&mut said, head_only);
        }
        let Some((status, _, content)) = answer else { return wrong("a request got no answer") };
        // These two never reach a handler.
        let expected = match (&*message.method, &*message.target) {
            ("CONNECT", _) => 501,
            ("OPTIONS", "*") => 204,
            _ => 200,
        };
        if status != expected {
            return wrong("a request got another answer");
        }
        if status == 200 && !head_only && content != told(message) {
            return wrong("a handler saw another request");
        }
    }
    if let Ending::Reject(expected) = case.expected.ending {
        // Whether a refused request was a HEAD is seen at its start, as the service sees it.
        let head_only = said.ends_with(b"\r\n\r\n");
        let (status, closes) = match response(&mut said, head_only) {
            Some((status, closes, _)) => (status, closes),
            None => return wrong("nothing refused it"),
        };
        if (status, closes) != (expected, true) {
            return wrong("it was refused otherwise");
        }
    }
    // A client that waits for 100 Continue, and of a request that is cut off perhaps a refusal.
    let rest = said.is_empty() || case.expected.ending == Ending::Wait;
    if rest { Ok(()) } else { wrong("there is more") }
}

#[track_caller]
fn none_wrong(verdicts: impl Iterator<Item = Result<(), String>>) {
    let wrong: Vec<_> = verdicts.filter_map(Result::err).collect();
    assert!(wrong.is_empty(), "{} cases:\n{}", wrong.len(), wrong.concat());
}

every_model! {
    fn every_case_gets_its_verdict(model) {
        let service = telling(model);
        none_wrong(cases().iter().map(|case| {
            verdict(case, &conversation(&service, [&case.input]))
        }));
    }

    fn every_case_gets_its_verdict_byte_by_byte(model) {
        let service = telling(model);
        let short = |case: &&Case| case.input.len() <= 250;
        none_wrong(cases().iter().filter(short).map(|case| {
            verdict(case, &conversation(&service, case.input.chunks(1)))
        }));
    }

    fn a_request_behind_a_case_is_answered_or_never_looked_at(model) {
        let service = telling(model);
        let next = b"GET /next?of HTTP/1.1\r\nHost: next\r\n\r\n";
        let followed = |case: &&Case| case.expected.ending != Ending::Wait;
        none_wrong(cases().into_iter().filter(|case| followed(&case)).map(|mut case| {
            case.input.extend_from_slice(next);
            // CONNECT is answered with a close.
            let closed = case.expected.messages.last().is_some_and(|last| last.method == "CONNECT");
            if case.expected.ending == Ending::Next && !closed {
                case.expected.messages.push(Message {
                    method: "GET".into(),
                    target: "/next?of".into(),
                    version: "HTTP/1.1".into(),
                    ..Message::default()
                });
            }
            verdict(&case, &conversation(&service, [&case.input]))
        }));
    }
}
