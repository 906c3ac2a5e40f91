//! The access log of `serve` and `demo`: which lines, and where they go.
//!
//! Lines are written by a thread of their own: a disk that is full and a reader that does not read cost lines,
//! which are counted, and no request. Files are appended to, a whole line at a time, so that worker processes
//! can share one.

use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use rustix::fs::OFlags;
use rustix::io::Errno;
use threadline::http::Router;
use threadline::http::middleware::{AccessLog, LogFormat};
use threadline::logging::LogWriter;

#[derive(Debug, Args)]
#[command(next_help_heading = "Access log")]
pub(crate) struct AccessLogArguments {
    /// Write a line for each request, and its answer, to FILE, behind what is there; `-` is standard output
    ///
    /// A request that is refused before it has a path, since it is malformed, too large or too slow, has no
    /// line here: THREADLINE_LOG=debug shows those. Lines that cannot be written are lost and counted, and
    /// the log on standard error says so.
    #[arg(long, value_name = "FILE")]
    access_log: Option<PathBuf>,
    /// What a line of the access log has
    #[arg(long, value_enum, value_name = "FORMAT", default_value_t = Format::Combined, requires = "access_log")]
    access_log_format: Format,
}

/// How a line of the access log is written.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Format {
    /// Host, user, time, "request", status and bytes: the Common Log Format
    Common,
    /// The same, with referrer and user agent
    Combined,
    /// A JSON object, with route and duration besides
    Json,
}

impl AccessLogArguments {
    /// The router with the log around it, if one is asked for.
    pub(crate) fn around(&self, router: Router) -> io::Result<Router> {
        let Some(path) = &self.access_log else { return Ok(router) };
        let format = match self.access_log_format {
            Format::Common => LogFormat::Common,
            Format::Combined => LogFormat::Combined,
            Format::Json => LogFormat::Json,
        };
        let writer = match path.to_str() {
            // Not `io::stdout()`, which keeps what it could not write.
            Some("-") => {
                let stdout = File::from(io::stdout().as_fd().try_clone_to_owned()?);
                LogWriter::new("standard output", stdout)?
            }
            _ => LogWriter::new(path.display(), open(path)?)?,
        };
        Ok(router.layer(AccessLog::to(writer, format)))
    }
}

fn open(path: &Path) -> io::Result<File> {
    // Without waiting: the open of a FIFO that nobody reads would block (fifo(7)).
    let flags = OFlags::NONBLOCK.bits() as i32;
    let opened = File::options().append(true).create(true).custom_flags(flags).open(path);
    opened.map_err(|error| {
        let hint = match error.raw_os_error().map(Errno::from_raw_os_error) {
            Some(Errno::NXIO) => ": nobody reads this FIFO; start its reader first",
            _ => "",
        };
        let message = format!("cannot write the access log to {}: {error}{hint}", path.display());
        io::Error::new(error.kind(), message)
    })
}
