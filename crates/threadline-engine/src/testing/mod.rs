//! Connections and time that a test scripts: for tests of engines, protocols and handlers. Needs the feature
//! `testing`.
//!
//! The engine runs as it always does: its shards, threads, epoll and eventfds are real. What is not are the
//! bytes and the time. A [`Network`] makes [`Listener`](crate::Listener)s whose clients are [`Peer`]s of the
//! test: a peer says how its bytes are cut, when a read or write of the engine would block, is interrupted or
//! fails, and how much room for output there is. A [`Clock`] goes only when the test says so, and then the
//! engine's deadlines come. [`Engine::settle`](crate::Engine::settle) returns when nothing moves any more.
//! So a test of a deadline of a minute takes none.
//!
//! ```
//! use std::sync::Arc;
//! use std::time::Duration;
//! use threadline_engine::testing::{Clock, Network};
//! use threadline_engine::{Endpoint, Engine, Lines, Settings};
//!
//! # fn main() -> std::io::Result<()> {
//! let clock = Clock::new();
//! let network = Network::new(&clock);
//! let echo = Lines::new(|line, _session| Some(line.to_owned()));
//! let listener = network.listener();
//! let endpoint = Endpoint::messages(listener.address().clone(), Arc::new(echo));
//! let settings = Settings::default().with_clock(&clock);
//! let engine = Engine::start(settings, vec![(endpoint, listener)])?;
//!
//! let peer = network.connect();
//! peer.send_pieces(["on", "e\ntwo", "\n"]);
//! peer.expect("one\ntwo\n");
//! // It is idle now, for longer than the default deadline.
//! engine.settle();
//! clock.advance(Duration::from_secs(90));
//! peer.expect_end();
//! assert_eq!(engine.counts().timeouts_idle, 1);
//! # Ok(())
//! # }
//! ```
//!
//! What fails fails loudly: waits of a peer and of `settle` panic after 10 s of real time and say what they
//! have waited for.

mod clock;
mod network;
mod peer;
mod probes;
mod settle;

pub use clock::Clock;
pub(crate) use clock::Sleeper;
pub use network::Network;
pub(crate) use network::{Backlog, Share};
pub use peer::Peer;
pub(crate) use probes::Probes;

use std::time::Duration;

/// Longer than anything takes in a test that does not hang.
const PATIENCE: Duration = Duration::from_secs(10);
