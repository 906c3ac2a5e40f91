//! Which requests are decoded, and what becomes of bombs and broken bodies.

use std::io::Read;
use std::sync::atomic::{AtomicUsize, Ordering};

use threadline_proto::response::Status;

use super::*;
use crate::middleware::testing::{BODY_MAX, PieceByPiece};
use crate::{IntoResponse, Next};

fn post(decompression: Decompression, name: &str, body: &[u8]) -> Response {
    let fields = format!("Content-Encoding: {name}\r\n");
    Stack::of(decompression)
        .run(request_with("POST /", &fields, body), |request| request.bytes().map(Cow::into_owned))
}

#[test]
fn a_request_is_decoded_for_its_handler() {
    for &coding in Coding::ALL {
        let response = post(Decompression::new(), coding.name(), &encoded(coding, b"hello"));
        assert_eq!(response.body().as_bytes(), Some(&b"hello"[..]), "{coding}");
    }
    let plain = post(Decompression::new(), "identity", b"hello");
    assert_eq!(plain.body().as_bytes(), Some(&b"hello"[..]));
    let empty = post(Decompression::new(), Coding::ALL[0].name(), b"");
    assert_eq!((empty.status(), empty.body().len()), (Status::OK, Some(0)));
}

#[test]
fn a_body_that_is_here_is_decoded_in_each_run_of_the_layer() {
    for &coding in Coding::ALL {
        let bodies = move |request: &Request<'_>, next: Next<'_>| {
            let first = next.clone().run(request);
            std::thread::scope(|scope| {
                let second = scope.spawn(|| next.clone().run(request));
                let third = next.clone().run(request);
                for response in [first, second.join().expect("an answer"), third] {
                    assert_eq!(response.body().as_bytes(), Some(&b"hello"[..]), "{coding}");
                }
            });
            "thrice"
        };
        let body = encoded(coding, b"hello");
        let input = request_with("POST /", &format!("Content-Encoding: {coding}\r\n"), &body);
        let stack = Stack::of(Decompression::new()).around(Decompression::new()).around(bodies);
        let response = stack.run(&input, |request| request.bytes().map(Cow::into_owned));
        assert_eq!(response.body().as_bytes(), Some(&b"thrice"[..]), "{coding}");
    }
}

#[test]
fn a_body_that_arrives_is_decoded_once() {
    for &coding in Coding::ALL {
        let body = encoded(coding, b"hello");
        let input = request_with("POST /", &format!("Content-Encoding: {coding}\r\n"), &body);
        let twice = move |request: &Request<'_>, next: Next<'_>| {
            let first = next.clone().run(request);
            assert_eq!(first.body().as_bytes(), Some(&b"hello"[..]), "{coding}");
            next.run(request)
        };
        let stack = Stack::of(Decompression::new()).around(twice);
        let pieces = PieceByPiece::new([&body[..]]);
        let handler = |request: &Request<'_>| request.bytes().map(Cow::into_owned);
        let second = stack.run_arriving(&input, &pieces, handler);
        // What was read before, and no coding that is broken: not the client's fault.
        assert_eq!(second.status(), Status::INTERNAL_SERVER_ERROR, "{coding}");
    }
}

#[test]
fn a_body_is_decoded_while_it_arrives_to_its_end() {
    for &coding in Coding::ALL {
        let body = encoded(coding, text(50_000).as_bytes());
        // One byte at a time, and an end that has to be read, too.
        let pieces = PieceByPiece::new(body.chunks(1));
        let fields = format!("Content-Encoding: {coding}\r\n");
        let input = request_with("POST /", &fields, &body);
        let response = Stack::of(Decompression::new()).run_arriving(input, &pieces, |request| {
            assert_eq!(request.content_length(), None);
            request.bytes().map(Cow::into_owned)
        });
        assert_eq!(response.body().as_bytes(), Some(text(50_000).as_bytes()), "{coding}");
        assert_eq!(pieces.fetched(), body.len(), "{coding}");
    }
}

#[test]
fn what_nobody_reads_is_not_decoded() {
    for coding in Coding::ALL {
        let pieces = PieceByPiece::new([&b"x"[..]]);
        let input = request_with("POST /", &format!("Content-Encoding: {coding}\r\n"), b"x");
        let stack = Stack::of(Decompression::new());
        let response = stack.run_arriving(input, &pieces, |_| "unread");
        assert_eq!((response.status(), pieces.fetched()), (Status::OK, 0), "{coding}");
    }
}

#[test]
fn unknown_and_stacked_codings_are_415() {
    let two = format!("{0}, {0}", Coding::ALL[0]);
    for name in ["compress", "aes128gcm", &two] {
        let response = post(Decompression::new(), name, b"x");
        assert_eq!(response.status(), Status::UNSUPPORTED_MEDIA_TYPE, "{name}");
        let accepted = response.header("accept-encoding").expect("what is taken");
        assert!(accepted.starts_with(Coding::ALL[0].name()), "{accepted}");
    }
}

#[test]
fn what_is_not_coded_as_it_says_is_400() {
    for &coding in Coding::ALL {
        let good = encoded(coding, text(2000).as_bytes());
        let (half, _) = good.split_at(good.len() / 2);
        let broken = [half, &[0xff; 100]].concat();
        let behind = [&good[..], b"behind"].concat();
        let cut = &good[..good.len() - 1];
        for (what, bad) in
            [("other", &b"hello"[..]), ("broken", &broken), ("behind", &behind), ("cut", cut)]
        {
            let status = post(Decompression::new(), coding.name(), bad).status();
            assert_eq!(status, Status::BAD_REQUEST, "{coding} {what}");
        }
    }
}

#[test]
fn a_bomb_does_not_go_off() {
    for &coding in Coding::ALL {
        let bomb = encoded(coding, &vec![0; 8 * 1024 * 1024]);
        assert!(bomb.len() < 16 * 1024, "{coding}: {}", bomb.len());
        let fields = format!("Content-Encoding: {coding}\r\n");
        let made = AtomicUsize::new(0);
        let stack = Stack::of(Decompression::new().len_max(u64::MAX).ratio_max(50));
        let response = stack.run(request_with("POST /", &fields, &bomb), |request| {
            let mut reader = request.reader();
            let mut buffer = [0; 4096];
            loop {
                match reader.read(&mut buffer) {
                    Ok(0) => return Response::text("all of it"),
                    Ok(count) => drop(made.fetch_add(count, Ordering::Relaxed)),
                    Err(error) => return BodyError::of(&error).expect("a reason").into_response(),
                }
            }
        });
        assert_eq!(response.status(), Status::CONTENT_TOO_LARGE, "{coding}");
        // What is let through is what the ratio allows, or where it begins to count.
        let fair = (50 * bomb.len()).max(64 * 1024) + 4096;
        let made = made.into_inner();
        assert!(made <= fair, "{coding}: {made}");
    }
}

#[test]
fn a_decoded_body_has_a_longest_length() {
    for &coding in Coding::ALL {
        let body = encoded(coding, text(2000).as_bytes());
        let status = |max| post(Decompression::new().len_max(max), coding.name(), &body).status();
        assert_eq!(status(2000), Status::OK, "{coding}");
        assert_eq!(status(1999), Status::CONTENT_TOO_LARGE, "{coding}");
    }
}

#[test]
fn the_routes_limit_holds_for_what_is_decoded() {
    let any_ratio = Decompression::new().ratio_max(u32::MAX);
    for &coding in Coding::ALL {
        let status = |len: u64, decompression| {
            let body = encoded(coding, text(len as usize).as_bytes());
            assert!((body.len() as u64) < BODY_MAX, "{coding}");
            post(decompression, coding.name(), &body).status()
        };
        assert_eq!(status(BODY_MAX, any_ratio), Status::OK, "{coding}");
        let beyond = BODY_MAX + 1;
        assert_eq!(status(beyond, any_ratio), Status::CONTENT_TOO_LARGE, "{coding}");
        let raised = any_ratio.len_max(beyond);
        assert_eq!(status(beyond, raised), Status::OK, "{coding}");
    }
}

#[test]
fn the_ratio_holds_from_64_kb_on() {
    for &coding in Coding::ALL {
        let few = encoded(coding, &vec![0; 64 * 1024]);
        let more = encoded(coding, &vec![0; 66 * 1024]);
        let status = |body| post(Decompression::new().ratio_max(2), coding.name(), body).status();
        assert_eq!(status(&few), Status::OK, "{coding}");
        assert_eq!(status(&more), Status::CONTENT_TOO_LARGE, "{coding}");
    }
}

#[test]
fn two_layers_decode_once() {
    let stack = Stack::of(Decompression::new()).around(Decompression::new());
    let coding = Coding::ALL[0];
    let fields = format!("Content-Encoding: {coding}\r\n");
    let input = request_with("POST /", &fields, &encoded(coding, b"hello"));
    let response = stack.run(input, |request| request.bytes().map(Cow::into_owned));
    assert_eq!(response.body().as_bytes(), Some(&b"hello"[..]));
}

/// RFC 7932 §9.1 has windows of up to 16 MB; "large windows" are another format, and a way to have
/// 1 GB allocated by a few bytes.
#[test]
#[cfg(feature = "brotli")]
fn brotli_with_large_windows_is_refused() {
    let response = post(Decompression::new(), "br", &[0x11, 30, 0x03, 0, 0]);
    assert_eq!(response.status(), Status::BAD_REQUEST);
}

/// RFC 9659: windows of more than 8 MB are refused.
#[test]
#[cfg(feature = "zstd")]
fn zstd_with_large_windows_is_refused() {
    let frame = |window_log: u8| {
        // Magic, descriptor (no size, no checksum), window, a last raw block of one byte.
        [0x28, 0xb5, 0x2f, 0xfd, 0, (window_log - 10) << 3, 0x09, 0, 0, b'a']
    };
    assert_eq!(post(Decompression::new(), "zstd", &frame(23)).body().as_bytes(), Some(&b"a"[..]));
    assert_eq!(post(Decompression::new(), "zstd", &frame(27)).status(), Status::BAD_REQUEST);
}
