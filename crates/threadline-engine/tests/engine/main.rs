//! The engine on scripted connections and a clock of the test: see `threadline_engine::testing`.
//!
//! Real threads and shards; no sockets, no waiting for deadlines. What needs a kernel's own behaviour is
//! tested over sockets in `crates/threadline/tests/service`.

mod common;
mod conversations;
mod deadlines;
mod limits;
mod odd;
mod output;
mod ownership;
mod properties;
mod toy;
