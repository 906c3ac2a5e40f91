//! HTTP/1.1 as a pure state machine: bytes in, events and bytes out.
//!
//! In scope: request heads and their framing ([`request`]), response heads ([`response`]), methods,
//! status codes and percent-encoding. Out of scope, for good: sockets, threads, clocks, allocation
//! on the way in. Whoever drives this crate owns the buffers and the time; it says what the bytes
//! mean and what is needed next. It is strict: what RFC 9112 lets a recipient tolerate is refused
//! wherever two recipients could understand it differently.
//!
//! One connection, seen from here. Each box is what [`request::parse`] says of the bytes that begin
//! where the last message ended:
//!
//! ```text
//!                       more bytes
//!                      +----------+
//!                      v          |
//!      +-----> Parsed::Partial ---+
//!      |               |
//!      |               +-- a rule is broken --> ParseError -- its status --> closed
//!      |               |                                                       ^
//!      |               v                                                       |
//!      |         Parsed::Head { framing }                                      |
//!      |               |                                                       |
//!      |               +-- Body::Empty -------------> whole                    |
//!      |               +-- Body::Length(n) -- n more bytes --> whole           |
//!      |               +-- Body::Chunked -- the driver decodes --> whole       |
//!      |                                                |                      |
//!      |                                     response::HeadWriter              |
//!      |                                                |                      |
//!      +------------- keep_alive -----------------------+----- otherwise ------+
//! ```
//!
//! Walking it, with a request that comes in pieces and another one behind it:
//!
//! ```
//! use threadline_proto::request::{self, Body, HeaderSlots, Limits, Parsed};
//! use threadline_proto::response::{HeadWriter, Payload, Persistence, Status};
//!
//! let input = b"POST /notes?draft HTTP/1.1\r\nHost: example.org\r\nContent-Length: 5\r\n\r\nhello\
//!               GET / HTTP/1.1\r\nHost: example.org\r\nConnection: close\r\n\r\n";
//! let limits = Limits::default();
//!
//! // Partial: nothing is wrong with these bytes, and nothing is decided.
//! let mut slots = HeaderSlots::new();
//! assert!(matches!(request::parse(&input[..40], &mut slots, &limits), Ok(Parsed::Partial)));
//!
//! // Head: the framing is decided before anybody looks at the body.
//! let mut slots = HeaderSlots::new();
//! let Ok(Parsed::Head(head)) = request::parse(input, &mut slots, &limits) else { panic!() };
//! assert_eq!((head.target.path(), head.target.query()), ("/notes", Some("draft")));
//! assert_eq!(head.body, Body::Length(5));
//! assert!(head.keep_alive);
//! let whole = head.len + 5;
//!
//! // The answer; its framing belongs to the writer.
//! let mut out = Vec::new();
//! let mut writer = HeadWriter::new(&mut out, Status::CREATED);
//! writer.header("location", b"/notes/1")?;
//! writer.finish(Payload::Length(0), Persistence::Implied);
//! assert_eq!(out, b"HTTP/1.1 201 Created\r\nlocation: /notes/1\r\ncontent-length: 0\r\n\r\n");
//!
//! // keep_alive: the next message begins where this one ended, and says that it is the last.
//! let mut slots = HeaderSlots::new();
//! let Ok(Parsed::Head(head)) = request::parse(&input[whole..], &mut slots, &limits) else { panic!() };
//! assert_eq!(head.body, Body::Empty);
//! assert!(!head.keep_alive);
//!
//! // A broken rule: the error knows its status, and the connection ends.
//! let mut slots = HeaderSlots::new();
//! let error = request::parse(b"GET / HTTP/1.1\r\n\r\n", &mut slots, &limits).unwrap_err();
//! assert_eq!(error, request::ParseError::HostMissing);
//! assert_eq!(error.status(), Status::BAD_REQUEST);
//! # Ok::<(), threadline_proto::response::HeaderError>(())
//! ```

#![forbid(unsafe_code)]

mod method;
pub mod percent;
pub mod request;
pub mod response;
mod token;

pub use method::Method;
