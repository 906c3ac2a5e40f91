//! Simulated connections and time, for tests of the engine, of protocols and of handlers. Needs the feature
//! `testing`.
//!
//! The engine under test is real: shards, threads, epoll. Its connections and its time are simulated. A
//! [`Network`] creates [`Listener`](crate::Listener)s without sockets; their clients are [`Peer`]s. A peer
//! decides how its bytes are cut into reads, when a read or write of the engine would block, is interrupted or
//! fails, and how much room for output there is. A [`Clock`] only moves when the test advances it.
//! [`Engine::settle`](crate::Engine::settle) waits until the engine has nothing left to do. So a test of a
//! deadline of one minute takes milliseconds.
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
//! // The connection is idle for longer than the default deadline.
//! engine.settle();
//! clock.advance(Duration::from_secs(90));
//! peer.expect_end();
//! assert_eq!(engine.counts().timeouts_idle, 1);
//! # Ok(())
//! # }
//! ```
//!
//! The waits of a peer and of `settle` panic after 10 s of real time, with a message that names what is missing.

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

/// The real time after which a wait is a failure.
const PATIENCE: Duration = Duration::from_secs(10);
