//! What can go wrong before a service runs and when it ends.

use std::fmt;
use std::io;

use threadline_engine::{Address, BadAddress, ListenError};
use threadline_http::RouterError;
use threadline_service::logging::StartError;

use crate::Drained;

/// "Too many open files", errno(3), of this process and of the system: the same numbers on every Linux.
const EMFILE: i32 = 24;
const ENFILE: i32 = 23;

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
    Router {
        /// Where they were to be served. `None` if the caller has built the router by itself.
        address: Option<Address>,
        /// What is wrong with them.
        error: RouterError,
    },
    /// Settings that make no sense together, or nothing to serve. The caller's mistake.
    Settings(String),
    /// Logging cannot be started: `THREADLINE_LOG` is not understood, or no thread can be had.
    Logging(StartError),
    /// The service ran and was asked to stop, and not everything was finished when
    /// [`Server::drain_timeout`](crate::Server::drain_timeout) was over. The counts say what was cut off.
    Drain(Drained),
}

/// The number of the system's error, also where an address has been added to the message.
fn number_of(error: &io::Error) -> Option<i32> {
    let listen_error = || error.get_ref()?.downcast_ref::<ListenError>()?.raw_os_error();
    error.raw_os_error().or_else(listen_error)
}

impl Error {
    /// The number of the system's error (errno(3)) where the system has refused something. An
    /// [`io::Error`] with a message of its own, as [`Error::Io`] has for addresses, does not have it.
    ///
    /// ```
    /// use threadline::{Lines, Server};
    ///
    /// let server = || Lines::new(|line, _| Some(line.to_owned()));
    /// let first = Server::new().lines("127.0.0.1:0", server()).start()?;
    /// let address = first.addresses()[0].clone();
    /// let error = Server::new().lines(address, server()).start().expect_err("it is in use");
    /// assert_eq!(error.raw_os_error(), Some(98)); // EADDRINUSE
    /// # Ok::<(), threadline::Error>(())
    /// ```
    pub fn raw_os_error(&self) -> Option<i32> {
        match self {
            Error::Io(error) => number_of(error),
            _ => None,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Address(error) => error.fmt(f),
            Error::Io(error) => {
                error.fmt(f)?;
                match number_of(error) {
                    Some(EMFILE) => f.write_str(": raise the descriptor limit (ulimit -n)"),
                    Some(ENFILE) => f.write_str(": raise the system's limit (sysctl fs.file-max)"),
                    _ => Ok(()),
                }
            }
            Error::Router { address: Some(address), error } => {
                write!(f, "http on {address}: {error}")
            }
            Error::Router { address: None, error } => error.fmt(f),
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
            Error::Router { error, .. } => error.source(),
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
        Error::Router { address: None, error }
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
