//! What can go wrong before a service runs and when it ends.

use std::fmt;
use std::io;

use threadline_engine::BadAddress;
use threadline_http::RouterError;
use threadline_service::logging::StartError;

use crate::Drained;

/// "Too many open files", errno(3): the same number on every Linux.
const EMFILE: i32 = 24;

/// The result of starting or running a service.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a service does not run, or has not ended well. Once it runs, nothing that clients do ends it.
///
/// Its `Debug` is its message: `fn main() -> threadline::Result<()>` prints that.
#[non_exhaustive]
pub enum Error {
    /// An address cannot be read. The caller's mistake; the message says what to write.
    Address(BadAddress),
    /// An address cannot be listened on, or threads or descriptors cannot be had. The message names
    /// the address and, where the cause is likely, what to do.
    Io(io::Error),
    /// Routes that cannot stand beside each other. The caller's mistake; the message names them.
    Router(RouterError),
    /// Settings that make no sense together, or nothing to serve. The caller's mistake.
    Settings(String),
    /// Logging cannot be started: `THREADLINE_LOG` is not understood, or no thread can be had.
    Logging(StartError),
    /// The service ran and was asked to stop, and not everything was finished when
    /// [`Server::drain_timeout`](crate::Server::drain_timeout) was over. The counts say what was cut off.
    Drain(Drained),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Address(error) => error.fmt(f),
            Error::Io(error) => {
                error.fmt(f)?;
                match error.raw_os_error() {
                    Some(EMFILE) => f.write_str(": raise the descriptor limit (ulimit -n)"),
                    _ => Ok(()),
                }
            }
            Error::Router(error) => error.fmt(f),
            Error::Settings(message) => write!(f, "bad settings: {message}"),
            Error::Logging(error) => error.fmt(f),
            Error::Drain(drained) => write!(f, "stopped at the drain deadline: {drained}"),
        }
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            // Their messages are this error's own: the chain goes on behind them.
            Error::Address(error) => error.source(),
            Error::Io(error) => error.source(),
            Error::Router(error) => error.source(),
            Error::Settings(_) | Error::Drain(_) => None,
            Error::Logging(error) => error.source(),
        }
    }
}

impl From<BadAddress> for Error {
    fn from(error: BadAddress) -> Self {
        Error::Address(error)
    }
}

impl From<RouterError> for Error {
    fn from(error: RouterError) -> Self {
        Error::Router(error)
    }
}

impl From<StartError> for Error {
    fn from(error: StartError) -> Self {
        Error::Logging(error)
    }
}

impl From<io::Error> for Error {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::InvalidInput => Error::Settings(error.to_string()),
            _ => Error::Io(error),
        }
    }
}
