//! Which responses are compressed, how they are sent, and what their fields say.

use std::fs::File;
use std::io::{self, Read, Write};

use threadline_proto::response::Status;

use super::*;
use crate::middleware::Etag;
use crate::{Body, IntoResponse};

fn get(coding: Coding, handler: impl Fn(&Request<'_>) -> Response + Sync) -> Response {
    let fields = format!("Accept-Encoding: {coding}\r\n");
    Stack::of(Compression::new()).run(request("GET /", &fields), handler)
}

fn is_compressed(response: &Response) -> bool {
    response.header("content-encoding").is_some()
}

#[test]
fn content_in_memory_is_compressed_with_its_length() {
    for &coding in Coding::ALL {
        let response = get(coding, |_| text(5000).into_response());
        assert_eq!(response.header("content-encoding"), Some(coding.name()));
        assert_eq!(response.header("vary"), Some("accept-encoding"));
        assert_eq!(response.content_type(), Some("text/plain; charset=utf-8"));
        let body = response.body().as_bytes().expect("in memory").to_vec();
        assert!(body.len() < 500, "{coding}: {}", body.len());
        assert_eq!(decoded(coding, &body).expect("decoded"), text(5000).as_bytes());
    }
}

#[test]
fn every_effort_gives_the_same_content() {
    for &coding in Coding::ALL {
        for effort in [Effort::Fast, Effort::Balanced, Effort::Small] {
            let bytes = encoder::encode(text(3000).as_bytes(), coding, effort).expect("encoded");
            assert_eq!(decoded(coding, &bytes).expect("decoded"), text(3000).as_bytes());
        }
    }
}

#[test]
fn effort_and_codings_are_settings() {
    let coding = Coding::ALL[0];
    // Words in no order, so that it pays to look further.
    let words = ["all", "work", "and", "no", "play", "makes", "Jack", "a", "dull", "boy"];
    let mut state = 1_u32;
    let text: String = (0..20_000)
        .map(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            words[(state >> 20) as usize % words.len()]
        })
        .collect();
    let len = |effort| {
        let stack = Stack::of(Compression::new().codings([coding]).effort(effort));
        let fields = format!("Accept-Encoding: {coding}\r\n");
        let response = stack.run(request("GET /", &fields), |_| text.clone());
        response.body().len().expect("in memory")
    };
    assert!(len(Effort::Small) < len(Effort::Fast), "{}", len(Effort::Fast));
    let none = Stack::of(Compression::new().codings([]));
    let response =
        none.run(request("GET /", &format!("Accept-Encoding: {coding}\r\n")), |_| text.clone());
    assert!(!is_compressed(&response));
}

#[test]
fn streams_files_and_long_content_are_compressed_while_they_are_read() {
    let long = text(400_000);
    let mut file = tempfile::NamedTempFile::new().expect("a file");
    file.write_all(long.as_bytes()).expect("written");
    let bodies: [&(dyn Fn() -> Body + Sync); 4] = [
        &|| Body::from(long.clone()),
        &|| Body::reader(io::Cursor::new(long.clone())),
        &|| Body::sized_reader(io::Cursor::new(long.clone()), 400_000),
        &|| Body::file(File::open(file.path()).expect("open")).expect("a body"),
    ];
    for &coding in Coding::ALL {
        for body in bodies {
            let response = get(coding, |_| Response::text("").with_body(body()));
            assert_eq!(response.header("content-encoding"), Some(coding.name()));
            assert_eq!(response.body().len(), None);
            let bytes = response.into_body().into_bytes().expect("read");
            assert!(bytes.len() < 40_000, "{coding}: {}", bytes.len());
            assert_eq!(decoded(coding, &bytes).expect("decoded"), long.as_bytes());
        }
    }
}

#[test]
fn a_piece_goes_out_when_it_comes() {
    for &coding in Coding::ALL {
        let pieces = [b"first ".to_vec(), b"second".to_vec()];
        let response = get(coding, |_| Response::text("").with_body(Body::chunks(pieces.clone())));
        let mut reader = response.into_body().into_reader().expect("a reader");
        let mut buffer = [0; 4096];
        let count = reader.read(&mut buffer).expect("read");
        // Cut off behind the first piece, which can be decoded already.
        let bounds = decoder::Bounds { len_max: 100, ratio_max: 100 };
        let decoder = decoder::Decoded::new(coding, Incoming::Whole(&buffer[..count]), bounds);
        let mut first = [0; 6];
        BodyReader::new(Incoming::Arriving(&decoder))
            .read_exact(&mut first)
            .expect("the first piece");
        assert_eq!(&first, b"first ", "{coding}");
    }
}

#[test]
fn content_that_is_cut_off_does_not_look_whole() {
    for &coding in Coding::ALL {
        let short =
            |_: &Request<'_>| Response::text("").with_body(Body::sized_reader(&b"a"[..], 5000));
        let response = get(coding, short);
        assert!(is_compressed(&response));
        let error = response.into_body().into_bytes().expect_err("cut off");
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
    }
}

#[test]
fn only_what_is_worth_it_is_compressed() {
    let typed = |media_type: &'static str| {
        get(Coding::ALL[0], move |_| text(5000).into_response().with_content_type(media_type))
    };
    for media_type in [
        "text/html",
        "application/json",
        "Application/JSON; charset=utf-8",
        "image/svg+xml",
        "application/problem+json",
        "application/wasm",
    ] {
        assert!(is_compressed(&typed(media_type)), "{media_type}");
    }
    for media_type in ["image/png", "application/zip", "text/event-stream", "font/woff2", ""] {
        let response = typed(media_type);
        assert!(!is_compressed(&response), "{media_type}");
        assert_eq!(response.header("vary"), None);
    }
}

#[test]
fn small_and_incompressible_content_is_left_alone() {
    let coding = Coding::ALL[0];
    assert!(!is_compressed(&get(coding, |_| text(1023).into_response())));
    assert!(is_compressed(&get(coding, |_| text(1024).into_response())));
    assert!(!is_compressed(&get(coding, |_| ().into_response())));
    // A simple generator's bytes do not get shorter.
    let noise: Vec<u8> = (0..4000_u32)
        .scan(1_u32, |state, _| {
            *state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            Some((*state >> 24) as u8)
        })
        .collect();
    let response = get(coding, |_| Response::text("").with_body(noise.clone()));
    assert!(!is_compressed(&response));
    assert_eq!(response.body().as_bytes(), Some(&noise[..]));
    assert_eq!(response.header("vary"), Some("accept-encoding"));
    let stack =
        Stack::of(Compression::new().len_min(10).media_types(|media_type| media_type == "a/b"));
    let fields = format!("Accept-Encoding: {coding}\r\n");
    let custom = stack
        .run(request("GET /", &fields), |_| text(500).into_response().with_content_type("a/b"));
    assert!(is_compressed(&custom));
}

#[test]
fn never_twice_and_never_what_must_not_change() {
    for (name, value) in [
        ("content-encoding", "br"),
        ("content-range", "bytes 0-4999/9999"),
        ("cache-control", "max-age=60, No-Transform"),
        ("repr-digest", "sha-256=:x:"),
    ] {
        let response =
            get(Coding::ALL[0], move |_| text(5000).into_response().with_header(name, value));
        assert_eq!(response.body().len(), Some(5000), "{name}");
    }
    let partial = get(Coding::ALL[0], |_| (Status::PARTIAL_CONTENT, text(5000)).into_response());
    assert!(!is_compressed(&partial));
    let pushed = get(Coding::ALL[0], |_| Response::text("").with_body(Body::push(drop)));
    assert!(!is_compressed(&pushed));
    // Two layers compress once.
    let stack = Stack::of(Compression::new()).around(Compression::new());
    let fields = format!("Accept-Encoding: {}\r\n", Coding::ALL[0]);
    let once = stack.run(request("GET /", &fields), |_| text(5000));
    let body = once.into_body().into_bytes().expect("read");
    assert_eq!(decoded(Coding::ALL[0], &body).expect("decoded"), text(5000).as_bytes());
}

#[test]
fn rfc9110_8_8_1_a_strong_etag_becomes_weak() {
    let tagged = |etag: &'static str| {
        let response = get(Coding::ALL[0], move |_| {
            text(5000)
                .into_response()
                .with_header("etag", etag)
                .with_header("accept-ranges", "bytes")
        });
        assert_eq!(response.header("accept-ranges"), None);
        response.header("etag").map(str::to_owned)
    };
    assert_eq!(tagged("\"v1\"").as_deref(), Some("W/\"v1\""));
    assert_eq!(tagged("W/\"v1\"").as_deref(), Some("W/\"v1\""));
}

#[test]
fn a_strong_tag_that_is_not_utf8_becomes_weak_too() {
    let tagged = |_: &Request<'_>| Response::text(text(5000)).with_header("etag", b"\"\xe4\"");
    let response = get(Coding::ALL[0], tagged);
    assert_eq!(response.header_bytes("etag"), Some(&b"W/\"\xe4\""[..]));
}

/// A response's validator and `Vary`, for a client that takes a coding and for one that does not.
fn said(
    line: &str,
    handler: impl Fn() -> Response + Sync,
) -> [(Option<String>, Option<String>); 2] {
    [format!("Accept-Encoding: {}\r\n", Coding::ALL[0]), String::new()].map(|fields| {
        let stack = Stack::of(Compression::new());
        let response = stack.run(request(line, &fields), |_| handler());
        let header = |name| response.header(name).map(str::to_owned);
        (header("etag"), header("vary"))
    })
}

fn varies(etags: [&str; 2]) -> [(Option<String>, Option<String>); 2] {
    etags.map(|etag| (Some(etag.to_owned()), Some("accept-encoding".to_owned())))
}

fn does_not_vary() -> [(Option<String>, Option<String>); 2] {
    ["", ""].map(|_| (Some("\"v1\"".to_owned()), None))
}

#[test]
fn rfc9110_15_4_5_a_handlers_own_304_says_what_may_be() {
    let bare = || Response::new(Status::NOT_MODIFIED).with_header("etag", "\"v1\"");
    let coded = varies(["W/\"v1\"", "\"v1\""]);
    assert_eq!(said("GET /", bare), coded);
    assert_eq!(said("GET /", || bare().with_content_type("text/html")), coded);
    assert_eq!(said("GET /", || bare().with_content_type("image/png")), does_not_vary());
    let fixed = || bare().with_header("cache-control", "no-transform");
    assert_eq!(said("GET /", fixed), does_not_vary());
}

#[test]
fn rfc9110_15_3_7_a_handlers_own_206_says_what_the_200_says() {
    let part = |media_type: &'static str, range: &'static str| {
        let response = Response::bytes(&b"a part"[..]).with_status(Status::PARTIAL_CONTENT);
        response
            .with_header("etag", "\"v1\"")
            .with_header("content-range", range)
            .with_content_type(media_type)
    };
    let coded = varies(["W/\"v1\"", "\"v1\""]);
    assert_eq!(said("GET /", || part("text/html", "bytes 0-5/1024")), coded);
    assert_eq!(said("GET /", || part("text/html", "bytes 0-5/*")), coded);
    assert_eq!(said("GET /", || part("text/html", "bytes 0-5/1023")), does_not_vary());
    assert_eq!(said("GET /", || part("image/png", "bytes 0-5/1024")), does_not_vary());
    let several = || part("multipart/byteranges; boundary=x", "");
    assert_eq!(said("GET /", several), coded);
    let other = || part("multipart/mixed", "bytes 0-5/1024");
    assert_eq!(said("GET /", other), does_not_vary());
    // Its bytes are those of the content as it is.
    let response = get(Coding::ALL[0], |_| part("text/html", "bytes 0-5/9000"));
    assert_eq!(response.body().as_bytes(), Some(&b"a part"[..]));
    assert_eq!(response.header("content-encoding"), None);
}

#[test]
fn rfc9110_9_3_2_a_declared_length_of_head_stands_for_the_content() {
    let declared = |len: &'static str| {
        let response = Response::new(Status::OK).with_content_type("text/html");
        response.with_header("etag", "\"v1\"").with_header("content-length", len)
    };
    assert_eq!(said("HEAD /", || declared("1024")), varies(["W/\"v1\"", "\"v1\""]));
    assert_eq!(said("HEAD /", || declared("1023")), does_not_vary());
    let fields = format!("Accept-Encoding: {}\r\n", Coding::ALL[0]);
    let head = |fields: &str| {
        Stack::of(Compression::new()).run(request("HEAD /", fields), |_| declared("5000"))
    };
    let (coded, plain) = (head(&fields), head(""));
    assert_eq!(coded.header("content-encoding"), Some(Coding::ALL[0].name()));
    assert_eq!(coded.header("content-length"), None);
    assert_eq!(plain.header("content-encoding"), None);
    assert_eq!(plain.header("content-length"), Some("5000"));
    // Without a length it is not known whether GET is compressed.
    let undeclared = || {
        let response = Response::new(Status::OK).with_content_type("text/html");
        response.with_header("etag", "\"v1\"")
    };
    assert_eq!(said("HEAD /", undeclared), does_not_vary());
    let of_get = get(Coding::ALL[0], |_| declared("5000"));
    assert_eq!((of_get.header("vary"), of_get.header("content-encoding")), (None, None));
}

#[test]
fn a_206_or_304_of_a_layer_within_says_what_the_200_says() {
    let fields = format!("Accept-Encoding: {}\r\n", Coding::ALL[0]);
    for (media_type, len, vary) in [
        ("text/html", 5000, Some("accept-encoding")),
        ("text/html", 1023, None),
        ("image/png", 5000, None),
    ] {
        let stack = Stack::of(Etag::new()).around(Compression::new());
        let handler = |_: &Request<'_>| Response::text(text(len)).with_content_type(media_type);
        let first = stack.run(request("GET /", &fields), handler);
        let etag = first.header("etag").expect("a tag");
        let again = format!("{fields}If-None-Match: {etag}\r\n");
        let second = stack.run(request("GET /", &again), handler);
        assert_eq!(second.status(), Status::NOT_MODIFIED);
        for name in ["etag", "vary"] {
            assert_eq!(second.header(name), first.header(name), "{media_type} {len}");
        }
        assert_eq!(first.header("vary"), vary);
    }
}

#[test]
fn a_compressed_response_is_revalidated() {
    let stack = Stack::of(Etag::new()).around(Compression::new());
    let fields = format!("Accept-Encoding: {}\r\n", Coding::ALL[0]);
    let first = stack.run(request("GET /", &fields), |_| text(5000));
    let etag = first.header("etag").expect("a tag");
    assert!(etag.starts_with("W/"));
    let again = format!("{fields}If-None-Match: {etag}\r\n");
    let second = stack.run(request("GET /", &again), |_| text(5000));
    assert_eq!(second.status(), Status::NOT_MODIFIED);
    assert_eq!(second.header("vary"), Some("accept-encoding"));
}

#[test]
#[cfg(all(feature = "gzip", feature = "brotli", feature = "zstd"))]
fn rfc9110_12_5_3_the_client_chooses() {
    for (accept, expected) in [
        ("gzip, br, zstd", Some("zstd")),
        ("gzip, br", Some("br")),
        ("x-gzip", Some("gzip")),
        ("GZIP", Some("gzip")),
        ("gzip;q=1, br;q=0.5, zstd;q=0.9", Some("gzip")),
        ("zstd;q=0, *", Some("br")),
        ("*;q=0.1", Some("zstd")),
        ("identity, gzip;q=0.5", None),
        ("identity;q=0.5, gzip", Some("gzip")),
        ("identity;q=0", None),
        ("*;q=0", None),
        ("gzip;q=0", None),
        ("gzip;q=nonsense", None),
        ("deflate, compress", None),
        ("", None),
    ] {
        let fields = format!("Accept-Encoding: {accept}\r\n");
        let response = Stack::of(Compression::new()).run(request("GET /", &fields), |_| text(5000));
        assert_eq!(response.header("content-encoding"), expected, "{accept}");
        assert_eq!(response.header("vary"), Some("accept-encoding"), "{accept}");
    }
    let gzip_first = Compression::new().codings([Coding::Gzip, Coding::Zstd]);
    let fields = "Accept-Encoding: br, zstd\r\nAccept-Encoding: gzip\r\n";
    let response = Stack::of(gzip_first).run(request("GET /", fields), |_| text(5000));
    assert_eq!(response.header("content-encoding"), Some("gzip"));
}
