//! However the bytes of a connection are cut, the answers are the same.

use super::*;

/// Feeds the pieces as the engine does: what is not consumed is kept, and looked at again when
/// there is more of it than before and as much as was asked for.
fn feed<'p>(pieces: impl IntoIterator<Item = &'p [u8]>) -> (String, bool) {
    let service = service();
    let (mut script, mut kept, mut want) = (Script::default(), Vec::new(), 0);
    for piece in pieces {
        kept.extend_from_slice(piece);
        while kept.len() > script.seen && kept.len() >= want {
            match service.answer(&kept, &mut script) {
                Step::Next { consumed } => {
                    kept.drain(..consumed);
                    (script.seen, want) = (0, 0);
                }
                Step::Partial { want: bytes, .. } => (script.seen, want) = (kept.len(), bytes),
                Step::Close => return (undated(&script.out), true),
                Step::Streamed { .. } | Step::Push => unreachable!("nothing here is that large"),
                Step::Offload { .. } => unreachable!("the script runs everything here"),
            }
        }
    }
    (undated(&script.out), false)
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
