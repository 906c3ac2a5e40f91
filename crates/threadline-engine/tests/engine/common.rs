//! An engine with simulated clients and time, and helpers.

use std::sync::Arc;
use std::time::{Duration, Instant};

use threadline_engine::testing::{Clock, Network, Peer};
use threadline_engine::{Address, Counts, Endpoint, Engine, Model, Protocol, Settings};

/// Runs a test body under every model, as a test of its own for each.
macro_rules! every_model {
    ($($(#[$attribute:meta])* fn $name:ident($model:ident) $body:block)*) => {$(
        $(#[$attribute])*
        mod $name {
            #[allow(unused_imports)]
            use super::*;

            fn body($model: threadline_engine::Model) $body

            #[test]
            fn adaptive() {
                body(threadline_engine::Model::Adaptive);
            }

            #[test]
            fn event_loop() {
                body(threadline_engine::Model::EventLoop);
            }

            #[test]
            fn pool() {
                body(threadline_engine::Model::Pool);
            }

            #[test]
            fn thread_per_connection() {
                body(threadline_engine::Model::ThreadPerConnection);
            }
        }
    )*};
}
pub(crate) use every_model;

pub(crate) const SECOND: Duration = Duration::from_secs(1);

/// The real time after which a wait is a failure.
const PATIENCE: Duration = Duration::from_secs(10);

pub(crate) struct Fixture {
    pub(crate) engine: Engine,
    pub(crate) network: Network,
    pub(crate) clock: Clock,
}

/// Settings with two shards.
pub(crate) fn settings(model: Model) -> Settings {
    let mut settings = Settings::default();
    (settings.model, settings.shards) = (model, 2);
    settings
}

/// An engine with the endpoint that `serve` makes for an address.
pub(crate) fn start(settings: Settings, serve: impl FnOnce(Address) -> Endpoint) -> Fixture {
    start_all(settings, [serve])
}

/// An engine with several endpoints: the first one is at port 1, the next one at port 2, and so on.
pub(crate) fn start_all<const N: usize>(
    settings: Settings,
    serve: [impl FnOnce(Address) -> Endpoint; N],
) -> Fixture {
    let clock = Clock::new();
    let network = Network::new(&clock);
    let endpoints = serve.map(|serve| {
        let listener = network.listener();
        (serve(listener.address().clone()), listener)
    });
    let engine = Engine::start(settings.with_clock(&clock), endpoints.into());
    Fixture { engine: engine.expect("the engine starts"), network, clock }
}

/// An engine that serves messages of a protocol.
pub(crate) fn messages(settings: Settings, protocol: impl Protocol) -> Fixture {
    start(settings, |address| Endpoint::messages(address, Arc::new(protocol)))
}

impl Fixture {
    pub(crate) fn connect(&self) -> Peer {
        self.network.connect()
    }

    pub(crate) fn counts(&self) -> Counts {
        self.engine.counts()
    }

    /// Lets time pass, in steps that are short compared with the deadlines of these tests.
    pub(crate) fn pass(&self, time: Duration) {
        self.engine.pass(time, (time / 16).max(Duration::from_millis(100)));
    }

    /// Lets 95 % of a deadline pass. It must not come yet: deadlines may be late, never early.
    pub(crate) fn pass_nearly(&self, limit: Duration) {
        self.pass(limit * 19 / 20);
    }

    /// Lets the rest of a deadline pass, and the time by which it may be late.
    pub(crate) fn pass_over(&self, limit: Duration) {
        self.pass(limit / 20 + limit / 4 + SECOND / 10);
    }

    pub(crate) fn connections(&self) -> usize {
        self.engine.gauges().connections
    }
}

/// Waits until other threads have brought about a condition.
pub(crate) fn eventually(what: &str, is_there: impl Fn() -> bool) {
    let until = Instant::now() + PATIENCE;
    while !is_there() {
        assert!(Instant::now() < until, "{what}: not within {PATIENCE:?}");
        std::thread::yield_now();
    }
}
