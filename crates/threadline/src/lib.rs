//! Network services in plain blocking Rust, on threads, at event-loop speed. No `async`.
//!
//! ```no_run
//! use std::io::{self, Read, Write};
//! use threadline::http::{Path, Router};
//! use threadline::{Connection, Server};
//!
//! fn greet(Path(name): Path<String>) -> String {
//!     format!("hello, {name}\n") // may block: nobody else waits
//! }
//!
//! fn echo(mut conn: Connection) -> io::Result<()> {
//!     let mut buf = [0; 1024];
//!     loop {
//!         let n = conn.read(&mut buf)?;
//!         if n == 0 {
//!             return Ok(());
//!         }
//!         conn.write_all(&buf[..n])?;
//!     }
//! }
//!
//! fn main() -> threadline::Result<()> {
//!     Server::new()
//!         .http("127.0.0.1:8080", Router::new().get("/hello/{name}", greet))
//!         .stream("127.0.0.1:12345", echo)
//!         .run() // until SIGTERM or Ctrl-C, then drains
//! }
//! ```
//!
//! An idle connection costs no thread and no buffer; a fast handler runs right on the thread that read
//! the request; a slow handler does not hold up anybody else's request. How that is done is told in the
//! repository's `ARCHITECTURE.md`; which [`Model`] suits what, in its `docs/models.md`.
//!
//! # Features
//!
//! | feature | what it adds | default |
//! | --- | --- | --- |
//! | `form` | `Query` and `Form`: fields as types that derive serde's traits | yes |
//! | `json` | `Json`, `Problem` | yes |
//! | `multipart` | forms with files | |
//! | `openapi` | OpenAPI 3.1 from the types of handlers | |
//! | `gzip`, `brotli`, `zstd` | content codings for `Compression` and `Decompression` | |
//! | `cookies-secure` | signed and private cookies | |
//! | `hmac` | `SignedRequests` | |
//! | `http` | conversions to and from the types of the `http` crate | |
//! | `cron` | cron expressions for [`Scheduler`](pool::schedule::Scheduler) | |

#![forbid(unsafe_code)]

mod drain;
mod endpoint;
mod error;
mod server;
mod testing;

pub use drain::{Drain, DrainOrder, Drained};
pub use endpoint::{Endpoint, ToAddress};
pub use error::{Error, Result};
pub use server::{Monitor, Running, Server};
pub use testing::TestServer;

pub use threadline_engine::{
    Address, Class, Connection, Counts, Deferred, Frames, Gauges, Hint, Invalid, Lines,
    MessageService, Model, NotAwaited, Route, SendError, Sender, Session, Settings, SlowReceiver,
    StreamOptions, TcpKeepAlive, ThreadHook, Timeouts, WhenDrained,
};
pub use threadline_http as http;
/// Threads, tasks, queues and synchronisation for the rest of a service, and useful without one:
/// [`ThreadPool`](pool::ThreadPool), [`Task`](pool::Task), [`Scheduler`](pool::schedule::Scheduler),
/// [`sync`](pool::sync), and [`blocking`](pool::blocking()), by which a handler hands its shard on at once.
pub use threadline_pool as pool;

/// For protocols of one's own.
pub mod protocol {
    pub use threadline_engine::protocol::*;
}

/// Coloured log lines on a terminal, plain ones in a pipe: [`Server::run`] starts it. And what handlers need
/// to log as the library does: [`limited!`](logging::limited), [`Escaped`](logging::Escaped),
/// [`LogWriter`](logging::LogWriter).
pub use threadline_service::logging;
