//! However the bytes of a connection are cut, the answers are the same.

use threadline_engine::protocol::{self, Decode, Decoded, Lost};

use super::*;

/// Feeds the pieces as the engine does: what is not consumed is kept, and looked at again when
/// there is more of it than before and as much as was asked for. A body is decoded as it comes.
fn feed<'p>(pieces: impl IntoIterator<Item = &'p [u8]>) -> (String, bool) {
    let (script, _, closed) = feed_to(&service(), pieces);
    (undated(&script.out), closed)
}

/// The same, and then the client sends no more.
pub(super) fn feed_and_end<'p>(
    service: &HttpService,
    pieces: impl IntoIterator<Item = &'p [u8]>,
) -> (String, bool) {
    let (mut script, rest, mut closed) = feed_to(service, pieces);
    match rest {
        _ if closed => {}
        Rest::Input(kept) if kept.is_empty() => {}
        Rest::Input(kept) => {
            assert_eq!(service.answer_end(&kept, &mut script), Step::Close);
            closed = true;
        }
        Rest::Body(mut coming) => {
            assert_eq!(coming.tell(service, Err(Lost::Ended), &mut script), Step::Close);
            closed = true;
        }
    }
    (undated(&script.out), closed)
}

/// What is left of what has come.
enum Rest {
    Input(Vec<u8>),
    Body(Coming),
}

/// A request whose body comes.
struct Coming {
    head: Vec<u8>,
    decoder: Box<dyn Decode>,
    invite: Option<&'static [u8]>,
    content: Vec<u8>,
}

impl Coming {
    /// Takes what there is of the body from `kept`. The step, once it is at its end.
    fn go_on(
        &mut self,
        service: &HttpService,
        kept: &mut Vec<u8>,
        script: &mut Script,
    ) -> Option<Step> {
        if kept.is_empty() {
            script.out.extend_from_slice(self.invite.take().unwrap_or_default());
        }
        loop {
            let (used, end) = match self.decoder.advance(kept) {
                Decoded::Content(range) => {
                    self.content.extend_from_slice(&kept[range.clone()]);
                    (range.end, None)
                }
                Decoded::Partial { consumed } => {
                    kept.drain(..consumed);
                    return None;
                }
                Decoded::Done { consumed } => (consumed, Some(Ok(()))),
                Decoded::Failed => (0, Some(Err(Lost::Refused))),
            };
            kept.drain(..used);
            self.invite = None;
            if let Some(end) = end {
                return Some(self.tell(service, end, script));
            }
        }
    }

    fn tell(&mut self, service: &HttpService, end: Result<(), Lost>, script: &mut Script) -> Step {
        let content = end.map(|()| protocol::Content::Memory(&self.content));
        let received = Received::new(&self.head, content, &mut *self.decoder);
        service.answer_received(received, script)
    }
}

fn feed_to<'p>(
    service: &HttpService,
    pieces: impl IntoIterator<Item = &'p [u8]>,
) -> (Script, Rest, bool) {
    let (mut script, mut kept, mut want) = (Script::default(), Vec::new(), 0);
    let mut coming: Option<Coming> = None;
    for piece in pieces {
        kept.extend_from_slice(piece);
        while coming.is_some() || (kept.len() > script.seen && kept.len() >= want) {
            let step = match coming.as_mut() {
                None => service.answer(&kept, &mut script),
                Some(body) => match body.go_on(service, &mut kept, &mut script) {
                    None => break,
                    Some(Step::Next { .. }) => Step::Next { consumed: 0 },
                    Some(step) => step,
                },
            };
            match step {
                Step::Next { consumed } => {
                    kept.drain(..consumed);
                    (script.seen, want, coming) = (0, 0, None);
                }
                Step::Receive { head_len } => {
                    let head = kept.drain(..head_len).collect();
                    let (decoder, invite) = script.receive.take().expect("a decoder").into_parts();
                    coming = Some(Coming { head, decoder, invite, content: Vec::new() });
                    (script.seen, want) = (0, 0);
                }
                Step::Partial { want: bytes, .. } => (script.seen, want) = (kept.len(), bytes),
                Step::Close => return (script, Rest::Input(Vec::new()), true),
                other => unreachable!("{other:?}"),
            }
        }
    }
    match coming {
        Some(coming) => (script, Rest::Body(coming), false),
        None => (script, Rest::Input(kept), false),
    }
}

const STREAMS: [&str; 5] = [
    // Pipelined, with bodies, a blank line between, and the end announced.
    "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello\r\n\
     GET /hello/a HTTP/1.1\r\nHost: x\r\n\r\n\
     HEAD / HTTP/1.1\r\nHost: x\r\n\r\n\
     GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\nGET /hello/never",
    // A body that looks like a request.
    "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 27\r\n\r\n\
     GET / HTTP/1.1\r\nHost: x\r\n\r\nGET /hello/b HTTP/1.1\r\nHost: x\r\n\r\n",
    // A good request before a broken one.
    "GET / HTTP/1.1\r\nHost: x\r\n\r\nGET / HTTP/1.1\r\nHost: x\r\nContent-Length: +1\r\n\r\nz",
    "GET / HTTP/1.1\r\nHost: x\r\n\r\nGET / HTTP/1.1\nHost: x\n\n",
    "GET / HTTP/1.1\r\nHost: x\r\n\r\nPRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
];

#[test]
fn one_cut_anywhere() {
    for stream in STREAMS.map(str::as_bytes) {
        let whole = feed([stream]);
        for at in 0..=stream.len() {
            let (before, after) = stream.split_at(at);
            assert_eq!(feed([before, after]), whole, "cut at {at}");
        }
    }
}

#[test]
fn byte_by_byte() {
    for stream in STREAMS.map(str::as_bytes) {
        assert_eq!(feed(stream.chunks(1)), feed([stream]));
    }
}

#[test]
fn whole_streams_get_what_they_should() {
    let statuses = STREAMS.map(|stream| {
        let (text, closed) = feed([stream.as_bytes()]);
        let statuses = text.split("HTTP/1.1 ").filter_map(|rest| rest.get(..3));
        let statuses: Vec<_> = statuses.filter(|text| text.parse::<u16>().is_ok()).collect();
        (statuses.join(" "), closed)
    });
    let expected = [
        ("200 200 200 200", true),
        ("200 200", false),
        ("200 400", true),
        ("200 400", true),
        ("200 505", true),
    ];
    assert_eq!(statuses.each_ref().map(|(text, closed)| (text.as_str(), *closed)), expected);
}

#[test]
fn continue_comes_once_however_the_head_is_cut() {
    let stream =
        b"POST /echo HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\nab";
    let (head, body) = stream.split_at(stream.len() - 2);
    for at in 0..head.len() {
        let (first, second) = head.split_at(at);
        let (text, _) = feed([first, second, &body[..1], &body[1..]]);
        assert_eq!(text.matches("100 Continue").count(), 1, "cut at {at}");
        assert!(text.ends_with("\r\n\r\nab"));
    }
}

/// Streams that end in the middle of something, or are broken in the middle of a line.
const BROKEN: [&str; 12] = [
    "GET /hello/a HTTP/1.1\r\nHost : x",
    "GET /hello/a HTTP/1.1\r\nHost: x\r\nA: b\0c",
    "GET /hello/a HTTP/1.1\rX",
    "GET  /hello/a",
    "GET /hello/a\tHTTP/1.1",
    "GET /hello/a HTTX",
    "GET /hello/a HTTP/2.0 and more",
    "G(T /",
    "\r\n\r\n",
    "POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3;a=b\r\nhel\r\n2\r\nlo\r\n0\r\n\
     A: b\r\nVary: x\r\n\r\nGET / HTTP/1.1\r\nHost: x\r\n\r\n",
    "POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n0\r\nA : b",
    "HEAD /hello/a HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nab",
];

#[test]
fn every_end_of_input_at_every_cut() {
    let service = service();
    for stream in STREAMS.iter().chain(&BROKEN).map(|text| text.as_bytes()) {
        for end in 0..=stream.len() {
            let stream = &stream[..end];
            let whole = feed_and_end(&service, [stream]);
            for at in 0..=stream.len() {
                let (before, after) = stream.split_at(at);
                let cut = feed_and_end(&service, [before, after]);
                assert_eq!(cut, whole, "{:?}", stream.split_at(at));
            }
            assert_eq!(feed_and_end(&service, stream.chunks(1)), whole, "{stream:?}");
        }
    }
}

#[test]
fn rfc9112_8_a_request_that_is_cut_off_is_a_400() {
    let service = service();
    for (cut_off, status) in [
        ("G", "400"),
        ("GET / HTTP/1.1\r\nHost: x\r\n", "400"),
        ("GET / HTTP/1.1\r\nHost: x\r\n\r", "400"),
        ("POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nab", "400"),
        ("POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1", "400"),
        ("", ""),
        ("\r", ""),
        ("\r\n", ""),
    ] {
        let (text, _) = feed_and_end(&service, [cut_off.as_bytes()]);
        assert_eq!(text.get(9..12).unwrap_or_default(), status, "{cut_off:?}");
        assert_eq!(text.contains("connection: close\r\n"), !status.is_empty(), "{text}");
    }
    let mut script = Script { draining: true, ..Script::default() };
    assert_eq!(service.answer_end(b"GET /", &mut script), Step::Close);
    assert!(script.out.is_empty(), "perhaps it was the service that stopped reading");
}

#[test]
fn a_head_is_refused_at_its_first_wrong_byte() {
    for (right, wrong) in [
        ("GET /hello/a HTTP/1.1\r\nHost", " "),
        ("GET /hello/a HTTP/1.1\r\nHost: x", "\0"),
        ("GET ", " "),
        ("GET /hello/a HTT", "X"),
        ("GET /hello/a HTTP/1.1", " "),
        ("GET /hello/a HTTP/1.1\r", "X"),
        ("G", "("),
    ] {
        let pieces = right.as_bytes().chunks(1);
        assert_eq!(feed(pieces.clone()), (String::new(), false), "{right:?}");
        let (text, closed) = feed(pieces.chain([wrong.as_bytes()]));
        assert!(closed && text.starts_with("HTTP/1.1 400 "), "{right:?} {wrong:?}: {text}");
    }
}

/// Whether a handler is called, and how it gets its body, must not depend on how the body comes.
#[test]
fn chunked_bodies_get_the_same_answer_however_they_are_cut() {
    let about = |request: &Request<'_>| format!("{:?} bytes", request.content_length());
    let settings = HttpSettings::default().body_len_max(1_000_000);
    let service = Router::new()
        .post("/about", about)
        .post("/echo", |body: Vec<u8>| body)
        .settings(settings)
        .build()
        .expect("good routes");
    let extension = ";a=".to_owned() + &"b".repeat(200);
    for (chunk, count, end) in [
        // Small, in more bytes than one look used to take; then beyond the small in content, or in framing.
        ("1\r\nx\r\n".to_owned(), 1000, "0\r\n\r\n"),
        ("1\r\nx\r\n".to_owned(), 1000, "0\n"),
        ("64\r\n".to_owned() + &"x".repeat(100) + "\r\n", 40, "0\r\n\r\n"),
        ("64\r\n".to_owned() + &"x".repeat(100) + "\r\n", 40, "0\n"),
        (format!("1{extension}\r\nx\r\n"), 60, "0\r\n\r\n"),
        (format!("1{extension}\r\nx\r\n"), 60, "0\n"),
    ] {
        for path in ["/about", "/echo"] {
            let head =
                format!("POST {path} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n");
            let stream = format!("{head}{}{end}", chunk.repeat(count)).into_bytes();
            let whole = feed_and_end(&service, [&stream[..]]);
            for len in [7, 100, 1000, 4096, 5000] {
                let pieces = feed_and_end(&service, stream.chunks(len));
                assert_eq!(pieces, whole, "{path}: {count} times {chunk:?} in pieces of {len}");
            }
        }
    }
}

/// Work that grows with the square of what comes would be an attack. Counted in time, generously: the
/// square of this takes minutes.
#[test]
fn bytes_that_come_one_by_one_are_looked_at_once() {
    let service = Router::new()
        .post("/echo", |body: Vec<u8>| body.len().to_string())
        .settings(
            HttpSettings::default()
                .limits(crate::Limits::default().head_len_max(1 << 20).target_len_max(1 << 19)),
        )
        .build()
        .expect("a good route");
    let head = "POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n";
    let long = format!("{head}A: {}\r\n\r\n0\r\n\r\n", "b".repeat(400_000));
    let many = format!("{head}\r\n{}0\r\n\r\n", "1\r\nx\r\n".repeat(60_000));
    for stream in [long, many] {
        let (text, _) = feed_and_end(&service, stream.as_bytes().chunks(1));
        assert_eq!(status_of(&text), "200");
    }
}
