//! Ready-made middleware, to be put around handlers with [`Router::layer`](crate::Router::layer).
//!
//! A layer that is added later is around those before it. From the inside out, this order serves
//! most services:
//!
//! * what changes content is next to the handler;
//! * what refuses requests (authentication, limits) is around that, and so is [`CatchPanic`]. Without it the 500 of a
//!   panic passes through the layers, too, and closes the connection;
//! * [`Cors`] is around all of these: a script of another site can read their 401, 429, 500 and 503 then, and
//!   a preflight, which has no credentials, is answered before anything counts or refuses it;
//! * what every response has, and the log, are outermost.
//!
//! `tests/layers/order.rs` holds this order to it.
//!
//! ```
//! use std::time::Duration;
//! use threadline_http::Router;
//! use threadline_http::middleware::{
//!     AccessLog, CatchPanic, ConcurrencyLimit, Cors, Etag, RateLimit, RequestIds, SecurityHeaders,
//! };
//!
//! let router = Router::new()
//!     .get("/", || "front page")
//!     // Here: BodyLimit.
//!     .layer(Etag::new())
//!     // Here: Compression, Decompression, TimeLimit, a RateLimit by user, and then one of BasicAuth,
//!     // BearerAuth and SignedRequests.
//!     .layer(RateLimit::new(100, Duration::from_secs(60)))
//!     .layer(ConcurrencyLimit::new(500))
//!     // Here: HttpsRedirect.
//!     .layer(CatchPanic::new())
//!     // Here: Problems.
//!     .layer(Cors::origins(["https://app.example.org"]))
//!     .layer(SecurityHeaders::new())
//!     .layer(AccessLog::new())
//!     .layer(RequestIds::new());
//! # router.build().unwrap();
//! ```
//!
//! | file | |
//! | --- | --- |
//! | `layer.rs` | [`Middleware`](crate::Middleware), and [`Next`](crate::Next), what it is around |
//! | `access_log/` | [`AccessLog`]: a line for each request, as text, JSON or a `tracing` event |
//! | `auth/` | [`BasicAuth`], [`BearerAuth`], `SignedRequests`: who is asking |
//! | `body_limit.rs` | [`BodyLimit`]: how long request bodies may be |
//! | `catch_panic.rs` | [`CatchPanic`]: a panic is a response of your own, and the connection stays |
//! | `compression/` | `Compression` and `Decompression`: gzip, brotli, zstd |
//! | `concurrency.rs` | [`ConcurrencyLimit`]: how many requests at a time |
//! | `cors.rs` | [`Cors`]: which other sites' scripts may ask |
//! | `etag.rs` | [`Etag`]: what has not changed is not sent again |
//! | `https.rs` | [`HttpsRedirect`]: go and ask again, encrypted |
//! | `method_override.rs` | [`MethodOverride`]: `PUT` for clients that can only `POST` |
//! | `rate_limit/` | [`RateLimit`]: how many requests in how long, by client |
//! | `request_id.rs` | [`RequestIds`]: a name for each request |
//! | `security_headers.rs` | [`SecurityHeaders`]: what browsers shall not do |
//! | `time_limit.rs` | [`TimeLimit`]: when it is too late to answer |
//! | `fields.rs`, `noted.rs`, `watched.rs` | header lists; what layers know before a body; streamed content with something that lives as long |

mod access_log;
mod auth;
mod body_limit;
pub(crate) mod catch_panic;
#[cfg(any(feature = "gzip", feature = "brotli", feature = "zstd"))]
mod compression;
mod concurrency;
mod cors;
mod etag;
pub(crate) mod fields;
mod https;
pub(crate) mod layer;
pub(crate) mod method_override;
mod noted;
mod rate_limit;
mod request_id;
mod security_headers;
#[cfg(test)]
pub(crate) mod testing;
mod time_limit;
mod watched;

pub use access_log::{AccessLog, LogFormat};
pub use auth::{BasicAuth, BearerAuth, Principal};
#[cfg(feature = "hmac")]
pub use auth::{SignedBy, SignedRequests};
pub use body_limit::BodyLimit;
pub use catch_panic::CatchPanic;
#[cfg(any(feature = "gzip", feature = "brotli", feature = "zstd"))]
pub use compression::{Coding, Compression, Decompression, Effort};
pub use concurrency::ConcurrencyLimit;
pub use cors::Cors;
pub use etag::Etag;
pub use https::HttpsRedirect;
pub use method_override::MethodOverride;
pub use rate_limit::RateLimit;
pub use request_id::{RequestId, RequestIds};
pub use security_headers::SecurityHeaders;
pub use time_limit::{Deadline, DeadlinePassed, TimeLimit};
