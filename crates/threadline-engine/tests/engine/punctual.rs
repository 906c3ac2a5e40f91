//! No deadline comes early, wherever in a tick of the engine's clock its time begins.

use std::sync::Arc;
use std::time::Duration;

use threadline_engine::testing::Peer;
use threadline_engine::{Address, Endpoint, Model, StreamOptions, Timeouts};

use crate::common::{SECOND, every_model, settings, start_all};
use crate::numbered::Numbered;
use crate::toy::{Toy, message};

/// The engine counts time in units of this many nanoseconds.
const TICK_NANOS: u64 = 1 << 24;

/// The number of offsets within a tick that are tried, evenly spaced.
const OFFSETS: u64 = 8;

const NANOSECOND: Duration = Duration::from_nanos(1);

every_model! {
    fn deadlines_are_not_early(model) {
        for limit in [30, 100].map(Duration::from_millis) {
            let mut settings = settings(model);
            settings.linger = limit;
            let some = Some(limit);
            let timeouts = Timeouts {
                head: some, body: some, body_rate: 0, idle: some, write: some, reply_rate: 0, deferred: some,
            };
            let (numbered, calls) = Numbered::new(1);
            let numbered = numbered.timeouts(timeouts);
            let stream = StreamOptions::new().first_byte_timeout(some);
            let serve: [Box<dyn FnOnce(Address) -> Endpoint>; 3] = [
                Box::new(move |address| Endpoint::messages(address, Arc::new(Toy::new().timeouts(timeouts)))),
                Box::new(move |address| Endpoint::messages(address, Arc::new(numbered))),
                Box::new(move |address| Endpoint::stream(address, stream, |_| Ok(()))),
            ];
            let fixture = start_all(settings, serve);
            let (engine, clock) = (&fixture.engine, &fixture.clock);
            for offset in 0..OFFSETS {
                let into_tick = clock.elapsed().as_nanos() as u64 % TICK_NANOS;
                let wait = TICK_NANOS - into_tick + offset * TICK_NANOS / OFFSETS;
                clock.advance(Duration::from_nanos(wait));
                engine.settle();
                let [idle, head, body, lingering, unread] = std::array::from_fn(|_| fixture.connect());
                let waits = fixture.network.connect_to(2);
                // A handler that has a thread from the beginning has no such deadline.
                let stream = (model != Model::ThreadPerConnection).then(|| fixture.network.connect_to(3));
                head.send("1");
                body.send("10:abc");
                lingering.send(message("close"));
                unread.room(1);
                unread.send(message("abc"));
                waits.send("1\n");
                let call = calls.next("1");
                engine.settle();
                assert!(lingering.has_ended());
                let begun = clock.elapsed();
                let is_over = |name: &'static str| match name {
                    "idle" => idle.is_closed(),
                    "head" => head.untaken_len() > 0 || head.has_ended(),
                    "body" => body.untaken_len() > 0 || body.has_ended(),
                    "linger" => lingering.is_closed(),
                    "write" => unread.is_closed(),
                    "first byte" => stream.as_ref().is_some_and(Peer::is_closed),
                    _ => waits.untaken_len() > 0 || call.is_closed(),
                };
                let names = ["idle", "head", "body", "linger", "write", "deferred", "first byte"];
                // In steps that are short compared with a tick, up to the last moment before the limit.
                let step = Duration::from_nanos(TICK_NANOS / 4);
                loop {
                    let left = limit - (clock.elapsed() - begun);
                    let early: Vec<_> = names.into_iter().filter(|name| is_over(name)).collect();
                    let spent = limit - left;
                    assert!(early.is_empty(), "{early:?} came {spent:?} after its begin, offset {offset}, limit {limit:?}");
                    if left <= NANOSECOND {
                        break;
                    }
                    clock.advance(step.min(left - NANOSECOND));
                    engine.settle();
                }
                engine.pass(limit + SECOND / 5, step);
                [&idle, &unread].into_iter().chain(&stream).for_each(|peer| peer.expect_closed());
                lingering.expect_closed();
                head.expect("late head");
                body.expect("late body");
                waits.expect("1 late\n");
            }
        }
    }
}
