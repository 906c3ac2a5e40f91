//! What one small request costs, everything but the engine. Not part of a normal run; see it with
//! `cargo test --release -p threadline-http -- --ignored --nocapture speed`.

use std::hint::black_box;
use std::time::Instant;

use super::*;

#[test]
#[ignore = "a measurement, of use only in release"]
fn speed_of_a_small_request() {
    let input = b"GET / HTTP/1.1\r\nHost: x\r\nUser-Agent: y\r\nAccept: */*\r\n\r\n";
    let (service, mut script) =
        (service(), Quick { out: Vec::with_capacity(4096), line: Script::default(), memo: None });
    let mut best = f64::MAX;
    for _ in 0..20 {
        let rounds = 200_000;
        let begin = Instant::now();
        for _ in 0..rounds {
            script.out.clear();
            let step = service.answer(black_box(input), &mut script);
            assert_eq!(black_box(step), Step::Next { consumed: input.len() });
        }
        best = best.min(begin.elapsed().as_nanos() as f64 / f64::from(rounds));
    }
    println!("parse, route, respond: {best:.0} ns");
}

/// A turn that costs nothing.
struct Quick {
    out: Vec<u8>,
    line: Script,
    memo: Option<Box<dyn Any + Send>>,
}

impl Exchange for Quick {
    type Line = Script;

    fn out(&mut self) -> &mut Vec<u8> {
        &mut self.out
    }

    fn flush(&mut self) {}

    fn call<R>(
        &mut self,
        _route: &Arc<Route>,
        code: impl FnOnce(&mut Script, &mut Vec<u8>) -> R,
    ) -> Result<R, CallError> {
        Ok(code(&mut self.line, &mut self.out))
    }

    fn waiting(&self) -> Waiting {
        Waiting::Elsewhere
    }

    fn count(&self, _offence: Offence) {}

    fn draining(&self) -> bool {
        false
    }

    fn seen(&self) -> usize {
        0
    }

    fn memo(&mut self) -> &mut Option<Box<dyn Any + Send>> {
        &mut self.memo
    }

    fn receive(&mut self, _receive: Receive) {}

    fn took(&self) -> Option<Duration> {
        None
    }

    fn peer_addr(&self) -> Option<SocketAddr> {
        None
    }
}
