//! What parsing a small head costs. Not part of a normal run; see it with
//! `cargo test --release -p threadline-proto --test speed -- --ignored --nocapture`.

use std::hint::black_box;
use std::time::Instant;

use threadline_proto::request::{self, HeaderSlots, Limits, Parsed};

#[test]
#[ignore = "a measurement, of use only in release"]
fn a_small_head() {
    let input = b"GET / HTTP/1.1\r\nHost: x\r\nUser-Agent: y\r\nAccept: */*\r\n\r\n";
    let limits = Limits::default();
    let mut best = f64::MAX;
    for _ in 0..20 {
        let rounds = 200_000;
        let begin = Instant::now();
        for _ in 0..rounds {
            let mut slots = HeaderSlots::new();
            let parsed = request::parse(black_box(input), &mut slots, &limits);
            assert!(matches!(black_box(&parsed), Ok(Parsed::Head(_))));
        }
        best = best.min(begin.elapsed().as_nanos() as f64 / f64::from(rounds));
    }
    println!("parse, small head: {best:.0} ns");
}
