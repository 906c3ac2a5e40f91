//! HTTP/1.1 for threadline: requests, responses, a router, and the service that drives
//! `threadline-proto` over the engine.
//!
//! Handlers are plain functions that may block. What they take out of a request they name as
//! parameters, what they return becomes the response:
//!
//! ```
//! use threadline_http::{Path, Response, Router, Status};
//!
//! fn greet(Path(name): Path<String>) -> String {
//!     format!("hello, {name}\n")
//! }
//!
//! fn store(Path(id): Path<u32>, note: Vec<u8>) -> Result<Response, Status> {
//!     if note.is_empty() {
//!         return Err(Status::UNPROCESSABLE_CONTENT);
//!     }
//!     Ok(Response::new(Status::CREATED).with_header("location", format!("/notes/{id}")))
//! }
//!
//! let service = Router::new()
//!     .get("/", || "it works\n")
//!     .get("/hello/{name}", greet)
//!     .put("/notes/{id}", store)
//!     .build()?;
//! # Ok::<(), threadline_http::RouterError>(())
//! ```
//!
//! In scope: what a message means and what it is answered. Out of scope: bytes of the protocol
//! (`threadline-proto`), sockets, threads and time (`threadline-engine`).
//!
//! A request's way: [`HttpService`] parses it, finds its endpoint in the `router/`, runs the handler
//! inside the engine's [`Turn::call`](threadline_engine::Turn::call), and writes the [`Response`]
//! behind whatever the connection has to send already. What is wrong with a message is answered by
//! the service itself: no user code runs.

#![forbid(unsafe_code)]

mod body;
mod conditional;
pub mod cookies;
mod date;
mod deferred;
mod exchange;
mod extensions;
pub mod extract;
mod fault;
pub mod files;
mod framework_error;
mod handler;
mod header_value;
#[cfg(feature = "http")]
mod http_types;
pub mod middleware;
#[cfg(feature = "multipart")]
pub mod multipart;
#[cfg(feature = "openapi")]
pub mod openapi;
mod refusal;
mod reply;
mod request;
mod response;
mod router;
mod selected;
mod service;
mod settings;
pub mod testing;
mod upgrade;
mod weights;
mod write;

pub use body::{Body, BodyError, BodyReader, BodySender};
pub use deferred::{Deferred, Reply};
pub use extensions::Extensions;
#[cfg(any(feature = "form", feature = "json"))]
pub use extract::WrongField;
#[cfg(feature = "form")]
pub use extract::{Form, FormRejection, Query, QueryRejection};
pub use extract::{
    FromHeader, Header, HeaderRejection, NoPeerAddr, OptionalFromRequest, PeerAddr, TextRejection,
};
#[cfg(feature = "json")]
pub use extract::{Json, JsonRejection};
pub use framework_error::{ErrorKind, FrameworkError};
#[cfg(feature = "multipart")]
pub use handler::AndMultipart;
pub use handler::{
    AndRequest, Extension, Extracted, FromParam, FromParams, FromRequest, Handler, IntoResponse,
    Needs, NotThere, Path, PathRejection, State,
};
pub use header_value::HeaderValue;
pub use middleware::layer::{BeforeBody, Middleware, Next, OwnedNext, Refused};
pub use reply::{Html, Redirect};
#[cfg(feature = "json")]
pub use reply::{Problem, Problems};
pub use request::{OwnedRequest, Request};
pub use response::Response;
pub use router::{
    Fallback, Methods, RouteOptions, Router, RouterError, delete, get, head, on, options, patch,
    post, put,
};
pub use service::HttpService;
pub use settings::HttpSettings;
pub use threadline_engine::{Connection, Hint, MessageService, NotAwaited, Timeouts};
pub use threadline_proto::Method;
pub use threadline_proto::body::Limits as ChunkLimits;
pub use threadline_proto::request::{Headers, Limits, Version};
pub use threadline_proto::response::{HeaderError, Status};
