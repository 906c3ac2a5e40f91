//! Log lines on standard error: coloured on a terminal, plain in a pipe.

use std::io::{self, IsTerminal};

use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::ParseError;

/// The environment variable that says what is logged: a level (`off`, `error`, `warn`, `info`, `debug`,
/// `trace`) for all, or levels for modules, like `threadline_engine=trace,my_service=debug`. What is not
/// named stays at `info`.
pub const FILTER_VARIABLE: &str = "THREADLINE_LOG";

/// Starts logging to standard error: `info` and above, or what [`FILTER_VARIABLE`] says. A program
/// that has set up `tracing` itself keeps its own.
///
/// Colours are left out where standard error is no terminal or `NO_COLOR` is set.
pub fn start() {
    let said = std::env::var(FILTER_VARIABLE).unwrap_or_default();
    let understood = filter(&said);
    let mistake = understood.as_ref().err().map(ToString::to_string);
    let filter = understood.unwrap_or_else(|_| EnvFilter::new(DEFAULT));
    let colours = io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let lines = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(colours)
        .with_target(false)
        .with_writer(io::stderr);
    // An error means that the program has a subscriber already.
    if let (Ok(()), Some(mistake)) = (lines.try_init(), mistake) {
        tracing::warn!(
            "{FILTER_VARIABLE}={said} is not understood ({mistake}): write `debug`, for example"
        );
    }
}

const DEFAULT: &str = "info";

/// A name alone is a module at every level to the library: with a mistyped level, nothing else would
/// be logged. The default stands in front, so that only what is named changes.
fn filter(said: &str) -> Result<EnvFilter, ParseError> {
    EnvFilter::builder().parse(format!("{DEFAULT},{said}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_named_changes_and_the_rest_stays() {
        let understood = |said| filter(said).expect("a filter").to_string();
        assert_eq!(understood(""), "info");
        assert_eq!(understood("debug"), "debug");
        assert_eq!(understood("off"), "off");
        assert_eq!(understood("debgu"), "debgu=trace,info");
        assert_eq!(understood("threadline_engine=trace"), "threadline_engine=trace,info");
        assert!(filter("threadline_engine=loud").is_err());
    }
}
