//! What makes a program a service: signals, drain, worker processes, logging.
//!
//! - [`signals`]: waiting for SIGTERM or Ctrl-C
//! - [`prefork`]: worker processes that share listeners, restarted when they die
//! - [`logging`]: coloured lines on a terminal, plain ones in a pipe
//!
//! Out of scope: what is served. That is the engine's, and the facade puts both together.

#![forbid(unsafe_code)]

pub mod logging;
pub mod prefork;
pub mod signals;
