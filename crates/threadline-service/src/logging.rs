//! Log lines on standard error: coloured on a terminal, plain in a pipe.

use std::io::{self, IsTerminal};

use tracing_subscriber::EnvFilter;

/// The environment variable that says what is logged, for example `debug` or `threadline_engine=trace`.
pub const FILTER_VARIABLE: &str = "THREADLINE_LOG";

/// Starts logging to standard error: `info` and above, or what [`FILTER_VARIABLE`] says. A program
/// that has set up `tracing` itself keeps its own.
///
/// Colours are left out where standard error is no terminal or `NO_COLOR` is set.
pub fn start() {
    let filter =
        EnvFilter::try_from_env(FILTER_VARIABLE).unwrap_or_else(|_| EnvFilter::new("info"));
    let colours = io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let lines = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(colours)
        .with_target(false)
        .with_writer(io::stderr);
    // An error means that the program has a subscriber already.
    let _ = lines.try_init();
}
