//! Event-driven shards whose blocking handlers never hold up anyone else.
//!
//! The engine owns sockets, threads, buffers and time. It serves [`Protocol`]s (messages, between
//! which a connection is parked: no thread, no buffer), stream handlers (the whole [`Connection`], on
//! a pool thread) and datagrams, under four concurrency [`Model`]s that are one setting apart. It
//! knows no HTTP.
//!
//! ```no_run
//! use std::sync::Arc;
//! use threadline_engine::{Endpoint, Engine, Lines, Settings};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let settings = Settings::default();
//! let echo = Lines::new(|line, _session| Some(line.to_owned()));
//! let endpoint = Endpoint::messages("127.0.0.1:12345".parse()?, Arc::new(echo));
//! let listener = endpoint.bind(settings.shards, settings.backlog)?;
//! let engine = Engine::start(settings, vec![(endpoint, listener)])?;
//! // ... until it is time to go:
//! engine.drain(std::time::Duration::from_secs(8));
//! # Ok(())
//! # }
//! ```
//!
//! Where things are: `lease/` (who runs a shard, with its proof in `lease/README.md`), `shard/` (the
//! loop), `connection/` (what is kept of a client), `transport/` (a connection's bytes), `handlers/` (lines,
//! frames, streams), `shared/` (what all threads of an engine share), `route/` (what is known of user code, and how
//! it is found out), `workers/` (threads for trials and for computing, and gates), `receiving/` (content that is
//! received before its call), `deadline.rs` (how long a connection may wait), `monitor.rs` and `spares.rs` (the safety net), `log.rs` (how often log lines
//! are repeated), `sys/` (system calls).

#![deny(unsafe_code)]

mod bell;
mod connection;
mod contained;
mod counters;
mod deadline;
mod endpoint;
mod engine;
pub mod handlers;
mod inbox;
mod lease;
mod listener;
pub mod log;
mod model;
mod monitor;
mod primitive;
pub mod protocol;
mod receiving;
mod route;
mod service;
mod settings;
mod shard;
mod shared;
mod spares;
mod sys;
#[cfg(feature = "testing")]
pub mod testing;
mod threads;
mod transport;
mod turn;
mod wheel;
mod workers;

pub use connection::{
    Answer, Bytes, Deferred, Fill, NotAwaited, Outcome, SendError, Sender, Session, SlowReceiver,
    Source, SourceError, WhenDrained,
};
#[doc(hidden)] // for the protocols of this workspace
pub use contained::Contained;
pub use counters::Counts;
pub use endpoint::Endpoint;
pub use engine::{Drained, Engine, Gauges};
pub use handlers::{Connection, Frames, Invalid, Lines, StreamOptions};
pub use listener::{Address, BadAddress, ListenError, Listener, TcpKeepAlive, take_inherited};
pub use model::{Model, UnknownModel};
pub use protocol::{AfterRefusal, CallError, Phase, Protocol, Refusal, Step, Timeouts, Turn};
pub use route::{Class, Hint, Route};
pub use service::MessageService;
pub use settings::Settings;
pub use threads::ThreadHook;
/// For the service crate: see `sys/signals.rs`.
#[doc(hidden)]
pub mod signals {
    pub use crate::sys::{Ignored, TakenSignal, taken_signals, wake_reader};
}
