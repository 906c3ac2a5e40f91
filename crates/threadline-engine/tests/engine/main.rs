//! Tests of the engine with simulated connections and time: see `threadline_engine::testing`.
//!
//! Threads and shards are real. There are no sockets, and no test waits for a deadline in real time. Tests that
//! need the kernel's own behaviour are in `crates/threadline/tests/service`.

mod budget;
mod calls;
mod common;
mod conversations;
mod deadlines;
mod flushing;
mod leftovers;
mod limits;
mod numbered;
mod odd;
mod output;
mod ownership;
mod properties;
mod punctual;
mod queued;
mod receiving;
mod sources;
mod toy;
mod upgrades;
