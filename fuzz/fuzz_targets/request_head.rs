//! `request::parse` on any bytes: it never panics, and what it takes for a head is one, for `httparse`
//! too.

#![no_main]

use libfuzzer_sys::fuzz_target;
use threadline_proto::request::{self, Body, HeaderSlots, Limits, Parsed};

fuzz_target!(|input: &[u8]| {
    let limits = Limits::default();
    let mut slots = HeaderSlots::new();
    let head = match request::parse(input, &mut slots, &limits) {
        Ok(Parsed::Head(head)) => head,
        Ok(Parsed::Partial) => {
            assert!(input.len() <= limits.head_len_max, "waits for more than the limit");
            return;
        }
        Err(error) => {
            assert!((400..600).contains(&error.status().code()));
            assert!(!error.hint().is_empty());
            return;
        }
    };

    // It ends where a head ends, within its bounds.
    assert!(head.len <= input.len() && head.len <= limits.head_len_max);
    assert!(input[..head.len].ends_with(b"\r\n\r\n"));
    assert!(head.headers.len() <= limits.headers_max);
    assert!(head.target.path().len() <= limits.target_len_max);

    // No line of it ends in a bare LF, and none has a bare CR: another reader sees the same lines.
    let is_bare = |pair: &[u8]| (pair[0] == b'\r') != (pair[1] == b'\n');
    assert!(!input[..head.len].windows(2).any(is_bare), "a bare CR or LF");

    // Another parser splits it in the same places.
    let mut fields = [httparse::EMPTY_HEADER; HeaderSlots::COUNT];
    let mut theirs = httparse::Request::new(&mut fields);
    assert_eq!(theirs.parse(input), Ok(httparse::Status::Complete(head.len)));
    assert_eq!(theirs.method, Some(head.method.as_str()));
    assert!(head.headers.iter().eq(theirs.headers.iter().map(|field| (field.name, field.value))));

    // It is framed once, by what it says itself.
    let lengths = head.headers.all("content-length").count();
    let codings = head.headers.all("transfer-encoding").count();
    assert!(lengths == 0 || codings == 0, "framed twice");
    match head.body {
        Body::Empty => assert_eq!(codings, 0),
        Body::Length(_) => assert_eq!((lengths, codings), (1, 0)),
        Body::Chunked => assert!(codings > 0),
    }

    // What stands behind the head makes no difference to it.
    let (len, body, keep_alive) = (head.len, head.body, head.keep_alive);
    let mut slots = HeaderSlots::new();
    let Ok(Parsed::Head(alone)) = request::parse(&input[..len], &mut slots, &limits) else {
        panic!("the head alone is not a head");
    };
    assert_eq!((alone.len, alone.body, alone.keep_alive), (len, body, keep_alive));
});
