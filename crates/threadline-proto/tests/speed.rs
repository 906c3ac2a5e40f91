//! What parsing a head costs. Not part of a normal run; see it with
//! `cargo test --release -p threadline-proto --test speed -- --ignored --nocapture`.

use std::hint::black_box;
use std::time::Instant;

use threadline_proto::request::{self, HeaderSlots, Limits, Parsed};

/// What a benchmark's client sends.
const SMALL: &str = "GET / HTTP/1.1\r\nHost: x\r\nUser-Agent: y\r\nAccept: */*\r\n\r\n";

/// What a browser sends to a page of a shop.
const BROWSER: &str = "GET /catalogue/shoes/running?size=43&colour=blue&sort=price HTTP/1.1\r\n\
    Host: shop.example.org\r\n\
    User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0\r\n\
    Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8\r\n\
    Accept-Language: en-GB,en;q=0.7,de-DE;q=0.3\r\n\
    Accept-Encoding: gzip, deflate, br, zstd\r\n\
    Referer: https://shop.example.org/catalogue/shoes\r\n\
    Connection: keep-alive\r\n\
    Cookie: session=9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08; \
    basket=60303ae22b998861bce3b28f33eec1be758a213c86c93c076dbe9f558c11c752; theme=dark; \
    consent=necessary.statistics.2026-01-01T00:00:00Z; ab=checkout-b.search-a.header-c\r\n\
    Upgrade-Insecure-Requests: 1\r\n\
    Sec-Fetch-Dest: document\r\n\
    Sec-Fetch-Mode: navigate\r\n\
    Sec-Fetch-Site: same-origin\r\n\
    Sec-Fetch-User: ?1\r\n\
    Priority: u=0, i\r\n\r\n";

#[test]
#[ignore = "a measurement, of use only in release"]
fn heads() {
    let limits = Limits::default();
    for (name, input) in [("small", SMALL), ("browser", BROWSER)] {
        let mut best = f64::MAX;
        for _ in 0..20 {
            let rounds = 200_000;
            let begin = Instant::now();
            for _ in 0..rounds {
                let mut slots = HeaderSlots::new();
                let parsed = request::parse(black_box(input.as_bytes()), &mut slots, &limits);
                assert!(matches!(black_box(&parsed), Ok(Parsed::Head(_))));
            }
            best = best.min(begin.elapsed().as_nanos() as f64 / f64::from(rounds));
        }
        println!("{name} head of {} bytes: {best:.0} ns", input.len());
    }
}
