//! Every limit has a default and a setting, lets through what it says, and answers 413 beyond it.

use threadline_http::multipart::{Multipart, MultipartError, MultipartLimits};
use threadline_http::testing::TestResponse;
use threadline_http::{Next, Request, Router};

use super::{client, client_of, form, list, part, post};

/// What a service with these limits says to a body.
fn answer(limits: MultipartLimits, body: &str) -> TestResponse {
    post(&client_of(limited(10_000_000).state(limits)), body)
}

/// The route of [`list`], for bodies of at most `len_max` bytes.
fn limited(len_max: u64) -> Router {
    Router::new().route("/", threadline_http::post(list).body_len_max(len_max))
}

/// A setting, and a body that has exactly so much of it.
struct Case {
    set: fn(MultipartLimits, usize) -> MultipartLimits,
    body: fn(usize) -> String,
    message: &'static str,
}

const CASES: [Case; 6] = [
    Case {
        set: MultipartLimits::parts_max,
        body: |count| form(&vec![("a", ""); count]),
        message: "there may be at most {} parts",
    },
    Case {
        set: MultipartLimits::headers_max,
        body: |count| {
            let fields: String = (1..count).map(|number| format!("X-{number}:\r\n")).collect();
            format!("--b\r\n{fields}{}\r\n--b--", &part("a", "")[5..])
        },
        message: "part 1: it may have at most {} header fields",
    },
    Case {
        set: MultipartLimits::headers_len_max,
        body: |len| {
            let without = part("a", "").len() - "--b\r\n".len();
            part(&"a".repeat(len + 1 - without), "") + "\r\n--b--"
        },
        message: "part 1: its header fields may have at most {} bytes",
    },
    Case {
        set: |limits, max| limits.preamble_len_max(max as u64),
        body: |len| format!("{}\r\n--b--", "x".repeat(len)),
        message: "at most {} bytes may stand before the first boundary",
    },
    Case {
        set: |limits, max| limits.part_len_max(max as u64),
        body: |len| form(&[("ok", ""), ("photo", &"x".repeat(len))]),
        message: "part `photo`: it may have at most {} bytes",
    },
    Case {
        set: MultipartLimits::memory_len_max,
        body: |len| form(&[("ok", ""), ("photo", &"x".repeat(len))]),
        message: "part `photo`: it may have at most {} bytes",
    },
];

#[test]
fn each_setting_holds_exactly() {
    for (number, Case { set, body, message }) in CASES.iter().enumerate() {
        // The second is more than is waited for before the handler is called.
        for max in [60, 100_000] {
            let roomy = MultipartLimits::default()
                .parts_max(1_000_000)
                .headers_max(1_000_000)
                .headers_len_max(5_000_000)
                .preamble_len_max(5_000_000);
            let max = if number == 1 { max.min(1_000) } else { max };
            let limits = set(roomy, max);
            let within = answer(limits, &body(max));
            assert_eq!(within.status().code(), 200, "case {number}: {within:?}");
            let beyond = answer(limits, &body(max + 1));
            assert_eq!(beyond.status().code(), 413, "case {number}: {beyond:?}");
            let message = message.replace("{}", &max.to_string());
            assert!(beyond.text().contains(&message), "case {number}: {:?}", beyond.text());
        }
    }
}

#[test]
fn the_defaults_are_those_that_are_documented() {
    let MultipartLimits {
        parts_max,
        headers_max,
        headers_len_max,
        preamble_len_max,
        part_len_max,
        memory_len_max,
        spool_memory_max,
        ..
    } = MultipartLimits::default();
    assert_eq!((parts_max, headers_max, headers_len_max), (1_000, 16, 8_192));
    assert_eq!((preamble_len_max, part_len_max), (1_024, 1 << 30));
    assert_eq!((memory_len_max, spool_memory_max), (2 << 20, 64 << 10));
    for (Case { body, .. }, max) in CASES.iter().zip([1_000, 16, 8_192, 1_024]) {
        assert_eq!(answer(MultipartLimits::default(), &body(max)).status().code(), 200);
        assert_eq!(answer(MultipartLimits::default(), &body(max + 1)).status().code(), 413);
    }
}

#[test]
fn a_part_that_is_skipped_is_held_to_its_limit_too() {
    let skip = |parts: Multipart<'_>| -> Result<(), MultipartError> {
        let mut parts = parts.limits(MultipartLimits::default().part_len_max(5));
        while parts.next_part()?.is_some() {}
        Ok(())
    };
    assert_eq!(post(&client(skip), form(&[("a", "12345")])).status().code(), 204);
    let beyond = post(&client(skip), form(&[("a", "123456")]));
    assert_eq!(beyond.text(), "413 Content Too Large: part `a`: it may have at most 5 bytes\n");
}

#[test]
fn memory_is_no_limit_for_what_is_put_aside() {
    let spool = |parts: Multipart<'_>| -> Result<String, MultipartError> {
        let limits = MultipartLimits::default().memory_len_max(1).spool_memory_max(4);
        let (mut parts, mut list) = (parts.limits(limits), String::new());
        while let Some(part) = parts.next_part()? {
            let spooled = part.spool()?;
            list.push_str(&format!("{} {};", spooled.len(), spooled.path().is_some()));
        }
        Ok(list)
    };
    let response = post(&client(spool), form(&[("a", "1234"), ("b", "12345")]));
    assert_eq!(response.text(), "4 false;5 true;");
}

#[test]
fn the_nearest_setting_holds() {
    fn nearest(request: &Request<'_>) -> Result<String, MultipartError> {
        let parts = Multipart::of(request)?;
        match request.query() {
            Some(_) => list(parts.limits(MultipartLimits::default().parts_max(3))),
            None => list(parts),
        }
    }
    let leave_two = |request: &Request<'_>, next: Next<'_>| {
        request.extensions().insert(MultipartLimits::default().parts_max(2));
        next.run(request)
    };
    let router = Router::new().post("/two", nearest).layer(leave_two);
    let router = Router::new()
        .merge(router)
        .post("/one", nearest)
        .state(MultipartLimits::default().parts_max(1));
    let client = client_of(router);
    for (target, max) in [("/one", 1), ("/two", 2), ("/one?", 3), ("/two?", 3)] {
        let status = |count| {
            let request = client.post(target).body(form(&vec![("a", ""); count]));
            request.header("content-type", "multipart/form-data; boundary=b").send().status().code()
        };
        assert_eq!((status(max), status(max + 1)), (200, 413), "{target}");
    }
}

#[test]
fn the_whole_is_held_to_the_route_s_limit() {
    let client = client_of(limited(100_000));
    let with_epilogue = |len: usize| {
        let form = form(&[("a", "1")]);
        let epilogue = "x".repeat(len - form.len());
        form + &epilogue
    };
    assert_eq!(post(&client, with_epilogue(100_000)).text(), "a=1;");
    assert_eq!(post(&client, with_epilogue(100_001)).status().code(), 413);
    // Where the length is not known beforehand it is the reading that fails.
    let chunked = |len: usize| {
        let head = "POST / HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\
            Content-Type: multipart/form-data; boundary=b\r\nTransfer-Encoding: chunked\r\n\r\n";
        let answer = client.raw(format!("{head}{len:x}\r\n{}\r\n0\r\n\r\n", with_epilogue(len)));
        String::from_utf8_lossy(&answer).into_owned()
    };
    assert!(chunked(100_000).starts_with("HTTP/1.1 200"));
    assert!(chunked(100_001).starts_with("HTTP/1.1 413"));
}
