//! The `threadline` program: a demonstration of the library, and a small network service of its own.
//!
//! - `arguments`: what can be said on the command line
//! - `access_log`: a line for each request, where it is asked for
//! - `demo`: echo, chat and HTTP services, side by side
//! - `echo`: an echo service on any address
//! - `serve`: a file server
//!
//! Errors are printed in one place, below, as one line. The exit code is 1 for a service that cannot
//! run, 2 for a command line, or a `THREADLINE_LOG`, that cannot be understood and 3 for a service that was
//! asked to stop and did not finish everything in time; `--help` lists them. Nothing is printed with
//! `eprintln!`, which panics where standard error is closed.

#![forbid(unsafe_code)]

mod access_log;
mod arguments;
mod demo;
mod echo;
mod serve;

use std::error::Error;
use std::process::ExitCode;

use clap::Parser;
use threadline::logging::{self, StartError};

use arguments::{Arguments, Command};

/// The exit code of a service that was asked to stop and did not finish everything in time.
const NOT_DRAINED: u8 = 3;

fn main() -> ExitCode {
    let Arguments { command } = Arguments::parse();
    // Before anything is opened or bound.
    let result = logging::start().map_err(Into::into).and_then(|()| match command {
        Command::Demo(arguments) => demo::run(&arguments),
        Command::Echo(arguments) => echo::run(&arguments),
        Command::Serve(arguments) => serve::run(&arguments),
    });
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            logging::write_line(&format!("threadline: {}", logging::Escaped(chain(&error))));
            match error {
                threadline::Error::Logging(StartError::Filter(_)) => ExitCode::from(2),
                threadline::Error::Drain(_) => ExitCode::from(NOT_DRAINED),
                _ => ExitCode::FAILURE,
            }
        }
    }
}

/// An error and its causes, in one line.
fn chain(error: &dyn Error) -> String {
    let mut line = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        line += &format!(": {error}");
        cause = error.source();
    }
    line
}
