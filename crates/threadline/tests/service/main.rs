//! Black-box tests of a running service, over real sockets.
//!
//! Every behaviour that does not belong to one model is tested under each of them: `every_model!`.

mod abandoned;
mod common;
mod conformance;

mod classes;
mod deferred;
mod drain;
mod faults;
mod flushing;
mod frames;

mod http;
mod http_bodies;
mod http_client;
mod http_deferred;
mod http_faults;
mod http_middleware;
mod http_options;
#[cfg(all(feature = "form", feature = "json"))]
mod http_panics;
mod http_received;
#[cfg(all(feature = "form", feature = "json"))]
mod http_refusals;
mod http_slow_replies;
mod http_stress;
mod http_threads;
mod http_truncated;
mod isolation;
mod limits;
mod lines;
mod lingering;
mod listeners;
mod panics;
mod push;
mod routes;
mod shout;
mod stream;
mod stress;
mod stuck;
mod thread_hooks;
mod timeouts;
mod upgrade;
mod upgrade_to_stream;
mod withdrawn;
mod write_deadlines;
